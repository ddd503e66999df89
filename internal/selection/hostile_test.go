package selection

import (
	"strings"
	"testing"
	"time"
)

// A pattern is one expression, not two halves that close and open our group.
func TestPatternsAreWhole(t *testing.T) {
	for _, key := range []string{"/a)|(?:b/", "/)/", "/(/", "/a)(b/"} {
		if k, err := CompileKeys([]string{key}); err == nil {
			i, ok := k.Match("xxb")
			t.Errorf("%s is taken; xxb matches: %d %v", key, i, ok)
		}
	}
}

// A template may take a path from a client: unions multiply what they find.
func TestUnionsDoNotMultiply(t *testing.T) {
	doc := []byte(strings.Repeat("[", 30) + "1" + strings.Repeat("]", 30))
	for _, source := range []string{
		"$" + strings.Repeat("[0,0]", 22), "$" + strings.Repeat("[0,0,0,0]", 11), "$" + strings.Repeat("[0,-1]", 22),
		"$[?(@" + strings.Repeat("[0,0]", 22) + ")]",
	} {
		began := time.Now()
		p, err := CompilePath(source)
		if err == nil {
			out, _ := p.Append(nil, doc)
			if len(out) > 1<<20 || time.Since(began) > time.Second {
				t.Errorf("%s: %d bytes, %v", source, len(out), time.Since(began))
			}
		}
	}
}
