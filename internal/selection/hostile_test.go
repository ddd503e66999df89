package selection

import (
	"runtime"
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

// A descent prints a value once more for each of its parents: of one message of 128 KB
// came 30 MB of text, and five times as much garbage.
func TestDescentIsBounded(t *testing.T) {
	doc := []byte(strings.Repeat(`{"a":`, 250) + `"` + strings.Repeat("x", 120<<10) + `"` + strings.Repeat("}", 250))
	p, err := CompilePath("$..a")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	out, found := p.Append(nil, doc)
	e, err := Compile("${request.body..a}")
	if err != nil {
		t.Fatal(err)
	}
	key, _ := e.Eval(&Vars{Body: doc})
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 || found || len(out) > 0 || key != "" {
		t.Errorf("%d bytes for %v, %d and %d bytes", n, found, len(out), len(key))
	}
	if out, found := p.Append([]byte("> "), []byte(`{"a":{"a":1}}`)); !found || string(out) != `> [{"a":1},1]` {
		t.Errorf("%s %v", out, found)
	}
}
