package selection

import (
	"regexp"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Keys is a compiled set of selection keys: literal keys, "/regex/" keys as
// integration responses have them, and "$default" (also written "\$default").
type Keys struct {
	exact    map[string]int
	patterns []pattern
	fallback int // -1: none
}

type pattern struct {
	re    *regexp.Regexp
	index int
}

// CompileKeys compiles keys; Match answers with positions in this slice. A regex
// must match the whole value, and "." no line break, as in API Gateway, whose guide
// writes (.|\n)+ for a message of several lines. The dialect is RE2, so that no
// pattern can take exponential time on a back end's text.
func CompileKeys(keys []string) (*Keys, error) {
	k := &Keys{exact: make(map[string]int, len(keys)), fallback: -1}
	for i, key := range keys {
		switch {
		case key == "":
			return nil, fault.New(fault.BadRequest, `a selection key is empty: write "$default", a text or /a pattern/`)
		case IsDefault(key):
			k.fallback = i
		case len(key) > 2 && key[0] == '/' && strings.HasSuffix(key, "/"):
			// Alone first: "a)|(?:b" would be two halves of the whole below.
			_, err := regexp.Compile(key[1 : len(key)-1])
			if err != nil {
				return nil, fault.New(fault.BadRequest, "selection key %s is not a regular expression this gateway can run (RE2): %v", key, err)
			}
			re, err := regexp.Compile(`\A(?:` + key[1:len(key)-1] + `)\z`)
			if err != nil {
				return nil, fault.New(fault.BadRequest, "selection key %s is too large a regular expression: %v", key, err)
			}
			k.patterns = append(k.patterns, pattern{re, i})
		default:
			k.exact[key] = i
		}
	}
	return k, nil
}

// Match finds the key for a value: literal keys first, then regexes in their
// order, then $default.
func (k *Keys) Match(value string) (index int, ok bool) {
	if i, ok := k.exact[value]; ok {
		return i, true
	}
	for _, p := range k.patterns {
		if p.re.MatchString(value) {
			return p.index, true
		}
	}
	return k.fallback, k.fallback >= 0
}

// IsDefault reports whether a key is the catch-all, in either spelling.
func IsDefault(key string) bool { return key == "$default" || key == `\$default` }
