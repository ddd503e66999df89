// Package selection is the selection expression language of API Gateway
// WebSocket APIs: route, model, template and response selection, the keys such
// an expression is matched against, and the sources of parameter mappings
// (Developer Guide, "Selection expressions" and "Data mapping").
//
// An expression is compiled once and evaluated against [Vars] any number of
// times, by any number of goroutines. Evaluation never blocks, never recurses
// into its own result and does not allocate beyond the value it returns.
//
// What it promises:
//   - a variable that is not there is the empty text:
//     "${request.body.action}-${request.body.nope}" of {"action":"join"} is "join-";
//   - a body that is not JSON makes an expression that reads it not evaluable
//     (ok is false), which callers answer with $default;
//   - numbers and booleans are their source text, null is "", arrays and objects
//     print as the service's Java does: [a, b] and {k=v};
//   - of duplicate keys the last one counts, as in every JSON parser that
//     functions use. Picking the first would run one route and show the function
//     another value.
//
// The package knows no routes and no HTTP. Test it with golden pairs: see
// testdata/*.txtar.
package selection

import (
	"fmt"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Vars is where variables come from. Nil members read as "not there"; the
// functions are called at most once per occurrence of a variable.
type Vars struct {
	// Body is the message, or the back end's answer in a response expression's
	// integration.response.body.
	Body []byte
	// Header and Query return every value of a handshake header (names match
	// without case) or query parameter, in order.
	Header func(name string) []string
	Query  func(name string) []string
	// Context is $context: "connectionId", "identity.sourceIp", …
	Context func(path string) (string, bool)
	// StageVariables are $stageVariables.
	StageVariables map[string]string
	// Response is the integration's answer, for response expressions.
	Response *Response
}

// Response is what integration.response.* reads.
type Response struct {
	Status string // "200"
	Header func(name string) []string
	Body   []byte
}

// Expr is a compiled expression.
type Expr struct {
	source string
	parts  []part
}

// part is a literal or, when literal is "", a variable.
type part struct {
	literal string
	v       variable
}

// Compile reads an expression: static text, $name.path, ${name.path}, several of
// them, and \$ for a dollar sign. The bare key "$default" is accepted as itself,
// because templates write it both ways.
func Compile(expr string) (*Expr, error) {
	e := &Expr{source: expr}
	if expr == "$default" {
		e.parts = []part{{literal: expr}}
		return e, nil
	}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			e.parts = append(e.parts, part{literal: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(expr); {
		switch c := expr[i]; {
		case c == '\\' && i+1 < len(expr) && expr[i+1] == '$':
			text.WriteByte('$')
			i += 2
		case c != '$':
			text.WriteByte(c)
			i++
		default:
			name, n, err := cutVariable(expr[i:])
			if err != nil {
				return nil, fault.New(fault.BadRequest, "selection expression %q, position %d: %v", expr, i+1, err)
			}
			v, err := compileVariable(name)
			if err != nil {
				return nil, fault.New(fault.BadRequest, "selection expression %q, position %d: %v", expr, i+1, err)
			}
			flush()
			e.parts = append(e.parts, part{v: v})
			i += n
		}
	}
	flush()
	return e, nil
}

// String is the expression as written.
func (e *Expr) String() string { return e.source }

// Static returns the value of an expression without variables.
func (e *Expr) Static() (string, bool) {
	switch {
	case len(e.parts) == 0:
		return "", true
	case len(e.parts) == 1 && e.parts[0].literal != "":
		return e.parts[0].literal, true
	}
	return "", false
}

// UsesBody reports whether the expression reads the message.
func (e *Expr) UsesBody() bool {
	for i := range e.parts {
		if e.parts[i].literal == "" && e.parts[i].v.root == rootBody {
			return true
		}
	}
	return false
}

// Eval returns the expression's value. ok is false when it reads a body that is
// not JSON.
func (e *Expr) Eval(vars *Vars) (value string, ok bool) {
	if s, static := e.Static(); static {
		return s, true
	}
	out, ok := e.Append(nil, vars)
	return string(out), ok
}

// Append is Eval into dst: with a reused buffer, selecting a route allocates
// nothing.
func (e *Expr) Append(dst []byte, vars *Vars) (out []byte, ok bool) {
	checked := false
	for i := range e.parts {
		p := &e.parts[i]
		if p.literal != "" {
			dst = append(dst, p.literal...)
			continue
		}
		if p.v.root == rootBody && !p.v.whole() && !checked {
			if !validJSON(vars.Body) {
				return dst, false
			}
			checked = true
		}
		dst, _ = p.v.append(dst, vars)
	}
	return dst, true
}

// AppendFit is Append for texts in which every variable must be there and have a
// value that fits accepts. bad names the first that does not, and is "" otherwise.
func (e *Expr) AppendFit(dst []byte, vars *Vars, fits func(value []byte) bool) (out []byte, bad string) {
	if e.UsesBody() && !validJSON(vars.Body) {
		return dst, "request.body"
	}
	for i := range e.parts {
		p := &e.parts[i]
		if p.literal != "" {
			dst = append(dst, p.literal...)
			continue
		}
		from := len(dst)
		var found bool
		if dst, found = p.v.append(dst, vars); !found || !fits(dst[from:]) {
			return dst, p.v.text
		}
	}
	return dst, ""
}

// Example is the expression's text with one value for every variable, for checking
// the text around them.
func (e *Expr) Example(value string) string {
	var b strings.Builder
	for i := range e.parts {
		if literal := e.parts[i].literal; literal != "" {
			b.WriteString(literal)
			continue
		}
		b.WriteString(value)
	}
	return b.String()
}

// Variables are the names of the expression's variables, as written but without $
// and braces: "request.body.action".
func (e *Expr) Variables() (names []string) {
	for i := range e.parts {
		if e.parts[i].literal == "" {
			names = append(names, e.parts[i].v.text)
		}
	}
	return names
}

// cutVariable splits "$name.path…" or "${name.path}…" off the front of s and says
// how many bytes it took.
func cutVariable(s string) (name string, n int, err error) {
	if strings.HasPrefix(s, "${") {
		end := nameEnd(s[2:], true)
		if 2+end >= len(s) || s[2+end] != '}' {
			return "", 0, fmt.Errorf(`"${" is not closed: write ${request.body.action}`)
		}
		return s[2 : 2+end], end + 3, nil
	}
	end := nameEnd(s[1:], false)
	name = strings.TrimRight(s[1:1+end], ".")
	if name == "" {
		return "", 0, fmt.Errorf(`a lone "$": write \$ for a dollar sign`)
	}
	return name, 1 + len(name), nil
}

// nameEnd is where a variable's name stops. Brackets (JSONPath subscripts) hide
// every character up to their end, quotes inside brackets hide brackets.
func nameEnd(s string, wrapped bool) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case depth > 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth > 0:
		case wrapped && c == '}':
			return i
		case !wrapped && !nameByte(c):
			return i
		}
	}
	return len(s)
}

func nameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '-' || c == '.' || c == '*' || c == '@' || c >= 0x80
}
