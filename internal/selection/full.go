package selection

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ohler55/ojg/jp"
)

// JSONPath beyond plain steps: wildcards, filters, slices, unions, descent. A
// library evaluates it over a document that keeps the order of its members, as
// the service's Java does and as Go's maps would not.

// compileFull reads what follows "$". A path may descend (..) once: every further
// descent multiplies the matches by the depth of a client's document.
func compileFull(rest string) (path, error) {
	switch {
	case strings.HasSuffix(rest, "."):
		return path{}, fmt.Errorf("JSON path %q ends in a dot", rest)
	case strings.Count(rest, "..") > 1:
		return path{}, fmt.Errorf("JSON path %q descends with .. more than once", rest)
	}
	if _, filter, ok := strings.Cut(rest, "?"); ok && strings.Contains(filter, "$") && (strings.Contains(filter, "..") || strings.Contains(filter, "*")) {
		return path{}, fmt.Errorf("JSON path %q searches the whole document for each element of a list", rest)
	}
	if _, filter, ok := strings.Cut(rest, "?"); ok && strings.Count(filter, ",") > maxCommas {
		return path{}, fmt.Errorf("JSON path %q has a filter with more than %d commas", rest, maxCommas)
	}
	x, err := jp.ParseString("$" + rest)
	if err != nil {
		return path{}, fmt.Errorf("JSON path %q: %w", rest, err)
	}
	// [0,0][0,0]… doubles the matches with each step, whatever the document holds.
	picks := 1
	for _, f := range x {
		if u, ok := f.(jp.Union); ok {
			picks *= len(u)
		}
		if picks > maxPicks {
			return path{}, fmt.Errorf("JSON path %q picks more than %d members by lists of names or indices", rest, maxPicks)
		}
	}
	return path{full: x}, nil
}

// maxPicks bounds what the unions of a path multiply to, maxCommas those in its
// filters (n commas make 2ⁿ at most).
const (
	maxPicks  = 256
	maxCommas = 8
)

// object is a JSON object in source order.
type object struct {
	keys   []string
	values map[string]any
}

func (o *object) ValueForKey(key string) (any, bool) { v, ok := o.values[key]; return v, ok }
func (o *object) Keys() []string                     { return o.keys }

// SetValueForKey and RemoveValueForKey are of the library's interface; reading
// never calls them.
func (o *object) SetValueForKey(key string, value any) {
	if _, ok := o.values[key]; !ok {
		o.keys = append(o.keys, key)
	}
	o.values[key] = value
}

func (o *object) RemoveValueForKey(key string) { delete(o.values, key) }

// document reads valid JSON of sane depth into objects, []any and scalars. It goes
// over the text once: splitting each level from the outside, as the walk of plain
// paths does, would read the innermost brackets as often as they are nested.
func document(b []byte) any {
	v, _ := documentAt(skipSpace(b))
	return v
}

func documentAt(b []byte) (v any, rest []byte) {
	if len(b) == 0 {
		return nil, b
	}
	switch b[0] {
	case '{':
		o := &object{values: map[string]any{}}
		rest = skipSpace(b[1:])
		for len(rest) > 0 && rest[0] == '"' {
			n := stringEnd(rest)
			name := string(appendString(nil, rest[:n]))
			var value any
			value, rest = documentAt(skipSpace(skipSpace(rest[n:])[1:])) // past the colon
			o.SetValueForKey(name, value)
			rest = next(rest)
		}
		return o, past(rest)
	case '[':
		list := []any{}
		rest = skipSpace(b[1:])
		for len(rest) > 0 && rest[0] != ']' {
			var e any
			e, rest = documentAt(rest)
			list = append(list, e)
			rest = next(rest)
		}
		return list, past(rest)
	case '"':
		n := stringEnd(b)
		return string(appendString(nil, b[:n])), b[n:]
	}
	n := valueEnd(b)
	return scalar(string(b[:n])), b[n:]
}

func scalar(text string) any {
	switch text {
	case "true", "false":
		return text == "true"
	case "null":
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	f, _ := strconv.ParseFloat(text, 64) // beyond the range it is ±Inf, and then printed as null
	return f
}

// find evaluates a full path over valid JSON. A definite path gives its value, any
// other the list of its matches, which may be empty.
func (p *path) find(body []byte) (value any, found bool) {
	// The library walks whatever a client sends; a fault of its own must cost one
	// message and not the process.
	defer func() {
		if recover() != nil {
			value, found = nil, false
		}
	}()
	results := matches(p.full, document(body))
	if !p.full.Normal() {
		return results, true
	}
	if len(results) == 0 {
		return nil, false
	}
	return results[0], true
}

// matches is what x finds in doc. The library descends into children before it
// looks at a node; Jayway's, as everybody expects, the other way round:
// $..id of {"id":1,"a":{"id":2}} is [1,2].
func matches(x jp.Expr, doc any) []any {
	i := slices.IndexFunc(x, func(f jp.Frag) bool { _, descends := f.(jp.Descent); return descends })
	if i < 0 {
		return x.Get(doc)
	}
	out := []any{}
	rest := x[i+1:]
	for _, node := range x[:i].Get(doc) {
		eachNode(node, func(n any) {
			if len(rest) == 0 {
				out = append(out, n)
			} else {
				out = append(out, rest.Get(n)...)
			}
		})
	}
	return out
}

// eachNode visits a list or an object and those inside it, outermost first.
func eachNode(v any, visit func(any)) {
	switch v := v.(type) {
	case []any:
		visit(v)
		for _, e := range v {
			eachNode(e, visit)
		}
	case *object:
		visit(v)
		for _, key := range v.keys {
			eachNode(v.values[key], visit)
		}
	}
}

// appendFull is append for full paths: no match is nothing.
func (p *path) appendFull(dst, body []byte) (out []byte, found bool) {
	v, found := p.find(body)
	if list, ok := v.([]any); !found || ok && len(list) == 0 && !p.full.Normal() {
		return dst, false
	}
	raw, found := printed(nil, v)
	if !found {
		return dst, false
	}
	return appendText(dst, raw), true
}

// maxPrinted bounds what a path finds. A descent finds a value once more inside each
// of its parents: 128 KB in 250 brackets are 30 MB of text. Nothing that is sent can
// be so long, and no key is.
const maxPrinted = 1 << 20

// printed is v as JSON; found is false when it is longer than maxPrinted.
func printed(dst []byte, v any) (out []byte, found bool) {
	from := len(dst)
	if out = appendJSON(dst, v, from+maxPrinted); len(out) > from+maxPrinted {
		return dst[:from], false
	}
	return out, true
}

const hexDigits = "0123456789abcdef"

// appendJSON prints a value of document without spaces. It stops soon after most bytes.
func appendJSON(dst []byte, v any, most int) []byte {
	if len(dst) > most {
		return dst
	}
	switch v := v.(type) {
	case string:
		return quoteJSON(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		if v-v != 0 { // ±Inf
			return append(dst, "null"...)
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, e, most)
		}
		return append(dst, ']')
	case *object:
		dst = append(dst, '{')
		for i, key := range v.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(quoteJSON(dst, key), ':')
			dst = appendJSON(dst, v.values[key], most)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

// quoteJSON appends a JSON string; what is not UTF-8 becomes U+FFFD.
func quoteJSON(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

var _ jp.Keyed = (*object)(nil)
