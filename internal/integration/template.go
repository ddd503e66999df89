package integration

import (
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/vtl"
)

// Bounds of one run of a template. None can be reached by what apps do; together
// they keep a hostile message, or a careless #foreach over it, from taking a core
// or the memory.
const (
	MaxSteps  = 200_000  // nodes evaluated, plus work inside methods in units of 64 bytes
	MaxOutput = 1 << 20  // bytes; PutEvents and Lambda's events take no more either
	MaxDepth  = 64       // of nested macros and blocks
	MaxData   = 16 << 20 // bytes of all values built in one run
)

// templates is a set of templates and the expression that picks one (§4.6 of the
// reference).
type templates struct {
	expr     *selection.Expr      // nil: none set
	byKey    map[string]*template // "\$default" is kept as "$default"
	velocity bool                 // some template uses Velocity
}

// template is literal text or a program.
type template struct {
	literal string
	program *vtl.Template // nil: literal
}

const (
	defaultKey = "$default"
	jsonKey    = "application/json"
)

func compileTemplates(property, expr string, byKey map[string]string) (*templates, error) {
	t := &templates{byKey: make(map[string]*template, len(byKey))}
	if expr != "" {
		var err error
		if t.expr, err = selection.Compile(expr); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		source := &template{literal: byKey[key]}
		if UsesVTL(source.literal) {
			var err error
			if source.program, err = vtl.Compile(property+" "+strconv.Quote(key), source.literal); err != nil {
				return nil, syntaxError(property, key, err)
			}
			t.velocity = true
		}
		if selection.IsDefault(key) {
			key = defaultKey
		}
		t.byKey[key] = source
	}
	return t, nil
}

// syntaxError names the place inside the template; the integration's own place in
// the user's file stands in front of it.
func syntaxError(property, key string, err error) error {
	if e, ok := errors.AsType[*vtl.SyntaxError](err); ok {
		return fault.New(fault.KindOf(err), "%s %q, line %d, column %d: %s", property, key, e.Line, e.Col, e.Msg)
	}
	return fault.New(fault.BadRequest, "%s %q: %v", property, key, err)
}

// static reports whether neither the choice nor the text depends on the message.
func (t *templates) static() bool {
	if t.velocity {
		return false
	}
	if t.expr == nil {
		return true
	}
	_, ok := t.expr.Static()
	return ok
}

// choose picks a template: by the expression's value, else $default, else, when no
// expression is set, application/json. nil when none fits.
func (t *templates) choose(vars *selection.Vars) *template {
	if t.expr != nil {
		if key, ok := t.expr.Eval(vars); ok {
			if found := t.byKey[key]; found != nil {
				return found
			}
		}
	}
	if found := t.byKey[defaultKey]; found != nil || t.expr != nil {
		return found
	}
	return t.byKey[jsonKey]
}

// render runs a template over a payload: the message, or the back end's answer.
func (t *template) render(r *Request, payload []byte, status string) ([]byte, error) {
	if t.program == nil {
		return []byte(t.literal), nil
	}
	out, err := t.program.Execute(nil, variables(r, payload, status), vtl.Limits{Steps: MaxSteps, Output: MaxOutput, Depth: MaxDepth, Data: MaxData})
	if err != nil {
		return nil, fault.New(fault.Internal, "integration %s: %v", r.Plan.name, err)
	}
	return out, nil
}

// UsesVTL reports whether a template holds a Velocity reference or directive.
// "$5" and "#1" are plain text there, and so they are here.
func UsesVTL(text string) bool {
	for i := 0; i+1 < len(text); i++ {
		c := text[i+1]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		switch text[i] {
		case '$':
			if letter || c == '_' || c == '{' || c == '!' {
				return true
			}
		case '#':
			if letter || c == '#' || c == '*' || c == '@' || c == '{' || c == '[' {
				return true
			}
		}
	}
	return false
}
