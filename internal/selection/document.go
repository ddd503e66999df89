package selection

import (
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Path is a compiled JSONPath over a whole document, in the dialect of Goessner
// and Jayway that mapping templates use: "$", "$.a.b[0]", "$..name",
// "$.list[?(@.n > 1)]", with .length() or .size() at the end for a count.
type Path struct {
	path  path
	count bool
}

// CompilePath reads a path. As in Jayway's library, one without $ in front starts
// at the root.
func CompilePath(text string) (*Path, error) {
	rest := strings.TrimSpace(text)
	p := &Path{}
	for _, suffix := range []string{".length()", ".size()"} {
		if cut, ok := strings.CutSuffix(rest, suffix); ok {
			rest, p.count = cut, true
			break
		}
	}
	switch {
	case strings.HasPrefix(rest, "$"):
		rest = rest[1:]
	case rest != "" && rest[0] != '[' && rest[0] != '.':
		rest = "." + rest
	}
	var err error
	if p.path, err = compilePath(rest); err != nil {
		return nil, fault.New(fault.BadRequest, "%v", err)
	}
	return p, nil
}

// Plain reports whether the path has only names and indices, which cost a walk over
// the text and nothing else.
func (p *Path) Plain() bool { return p.path.full == nil }

// Append appends the JSON text of what the path names in doc, which [ValidJSON]
// has accepted. A path with wildcards, filters or descent always finds a list. Of
// plain paths the text is as it stands in doc, spaces included. What a path with
// descent finds is not there when it is longer than 1 MB.
func (p *Path) Append(dst, doc []byte) (out []byte, found bool) {
	if !p.count {
		return p.append(dst, doc)
	}
	raw, found := p.append(nil, doc)
	if !found {
		return dst, false
	}
	n := 0
	switch raw[0] {
	case '[':
		eachElement(raw, func([]byte) { n++ })
	case '{':
		eachMember(raw, func(_, _ []byte) { n++ })
	case '"':
		n = len([]rune(string(appendString(nil, raw))))
	default:
		return dst, false
	}
	return strconv.AppendInt(dst, int64(n), 10), true
}

func (p *Path) append(dst, doc []byte) (out []byte, found bool) {
	if p.path.full != nil {
		v, found := p.path.find(doc)
		if !found {
			return dst, false
		}
		return printed(dst, v)
	}
	v, found := p.path.walk(doc)
	return append(dst, v...), found && len(v) > 0
}

// ValidJSON reports whether doc is one JSON value, nested no deeper than paths
// are walked (256).
func ValidJSON(doc []byte) bool { return validJSON(doc) }
