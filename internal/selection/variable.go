package selection

import (
	"fmt"
	"strings"
)

type root uint8

const (
	rootBody                root = iota // request.body
	rootHeader                          // request.header.H
	rootMultiHeader                     // request.multivalueheader.H
	rootQuery                           // request.querystring.P
	rootMultiQuery                      // request.multivaluequerystring.P
	rootContext                         // context.V
	rootStageVariables                  // stageVariables.V
	rootResponseStatus                  // integration.response.statuscode
	rootResponseHeader                  // integration.response.header.H
	rootResponseMultiHeader             // integration.response.multivalueheader.H
	rootResponseBody                    // integration.response.body
)

// roots maps the spelling of a variable's beginning to its root. Names are as in
// the Developer Guide; "response.statuscode" is what older CLI output shows.
var roots = [...]struct {
	prefix string
	root   root
	bare   bool // may stand without ".name"
}{
	{"request.body", rootBody, true},
	{"request.header", rootHeader, false},
	{"request.multivalueheader", rootMultiHeader, false},
	{"request.querystring", rootQuery, false},
	{"request.multivaluequerystring", rootMultiQuery, false},
	{"context", rootContext, false},
	{"stageVariables", rootStageVariables, false},
	{"integration.response.statuscode", rootResponseStatus, true},
	{"response.statuscode", rootResponseStatus, true},
	{"integration.response.header", rootResponseHeader, false},
	{"integration.response.multivalueheader", rootResponseMultiHeader, false},
	{"integration.response.body", rootResponseBody, true},
}

const rootNames = "request.body.…, request.header.…, request.querystring.…, context.…, stageVariables.…, integration.response.statuscode, integration.response.header.…, integration.response.body.…"

// variable is one compiled variable: a root and a name or a path below it.
type variable struct {
	text string // as written, without $ and braces
	root root
	name string // header, parameter, context path, stage variable
	path path   // bodies
}

func compileVariable(text string) (variable, error) {
	for _, r := range roots {
		rest, ok := strings.CutPrefix(text, r.prefix)
		if !ok || (rest != "" && rest[0] != '.' && rest[0] != '[') {
			continue
		}
		v := variable{text: text, root: r.root}
		if rest == "" {
			if !r.bare {
				return v, fmt.Errorf("%q needs a name after it, such as %s.name", text, r.prefix)
			}
			return v, nil
		}
		if r.root == rootBody || r.root == rootResponseBody {
			var err error
			v.path, err = compilePath(rest)
			return v, err
		}
		name, err := subscript(rest)
		if err != nil || r.root == rootResponseStatus {
			return v, fmt.Errorf("%q is not a variable: %s takes no such suffix", text, r.prefix)
		}
		v.name = name
		return v, nil
	}
	return variable{}, fmt.Errorf("unknown variable %q; variables are %s", text, rootNames)
}

// subscript reads ".name" or "['name']" as a single name; dots inside a dotted
// name are kept ("identity.sourceIp").
func subscript(rest string) (string, error) {
	if name, ok := strings.CutPrefix(rest, "."); ok && name != "" {
		return name, nil
	}
	if len(rest) > 4 && rest[0] == '[' && rest[len(rest)-1] == ']' && rest[1] == rest[len(rest)-2] && (rest[1] == '\'' || rest[1] == '"') {
		return rest[2 : len(rest)-2], nil
	}
	return "", fmt.Errorf("bad name %q", rest)
}

// whole reports whether the variable is a body as it is, which needs no JSON.
func (v *variable) whole() bool { return v.path.empty() }

// append appends the variable's text; found is false when it is not there.
// Body paths require that the body was checked with validJSON.
func (v *variable) append(dst []byte, vars *Vars) (out []byte, found bool) {
	switch v.root {
	case rootBody:
		return v.path.append(dst, vars.Body)
	case rootHeader:
		return appendLast(dst, vars.Header, v.name)
	case rootMultiHeader:
		return appendAll(dst, vars.Header, v.name)
	case rootQuery:
		return appendLast(dst, vars.Query, v.name)
	case rootMultiQuery:
		return appendAll(dst, vars.Query, v.name)
	case rootContext:
		if vars.Context != nil {
			if s, ok := vars.Context(v.name); ok {
				return append(dst, s...), true
			}
		}
		return dst, false
	case rootStageVariables:
		s, ok := vars.StageVariables[v.name]
		return append(dst, s...), ok
	}
	r := vars.Response
	if r == nil {
		return dst, false
	}
	switch v.root {
	case rootResponseStatus:
		return append(dst, r.Status...), r.Status != ""
	case rootResponseHeader:
		return appendLast(dst, r.Header, v.name)
	case rootResponseMultiHeader:
		return appendAll(dst, r.Header, v.name)
	default:
		if !v.whole() && !validJSON(r.Body) {
			return dst, false
		}
		return v.path.append(dst, r.Body)
	}
}

// appendLast: of a repeated header or parameter the last value counts (REST rule).
func appendLast(dst []byte, get func(string) []string, name string) ([]byte, bool) {
	if get == nil {
		return dst, false
	}
	values := get(name)
	if len(values) == 0 {
		return dst, false
	}
	return append(dst, values[len(values)-1]...), true
}

// appendAll joins repeated values with "," (Appendix B, B10).
func appendAll(dst []byte, get func(string) []string, name string) ([]byte, bool) {
	if get == nil {
		return dst, false
	}
	values := get(name)
	for i, s := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, s...)
	}
	return dst, len(values) > 0
}
