package integration

import (
	"maps"
	"slices"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
)

// templates is a set of literal templates and the expression that picks one
// (§4.6 of the reference).
type templates struct {
	expr  *selection.Expr   // nil: none set
	byKey map[string]string // "\$default" is kept as "$default"
}

const (
	defaultKey = "$default"
	jsonKey    = "application/json"
)

func compileTemplates(where, expr string, byKey map[string]string) (*templates, error) {
	t := &templates{byKey: make(map[string]string, len(byKey))}
	if expr != "" {
		var err error
		if t.expr, err = selection.Compile(expr); err != nil {
			return nil, err
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		text := byKey[key]
		if UsesVTL(text) {
			return nil, fault.New(fault.Unsupported, "%s, template %q: mapping templates with Velocity ($… or #…) are not supported yet; literal text is", where, key)
		}
		if selection.IsDefault(key) {
			key = defaultKey
		}
		t.byKey[key] = text
	}
	return t, nil
}

// static reports whether the choice never depends on the message.
func (t *templates) static() bool {
	if t.expr == nil {
		return true
	}
	_, ok := t.expr.Static()
	return ok
}

// choose picks a template: by the expression's value, else $default, else, when no
// expression is set, application/json.
func (t *templates) choose(vars *selection.Vars) (text string, found bool) {
	if t.expr != nil {
		if key, ok := t.expr.Eval(vars); ok {
			if text, found = t.byKey[key]; found {
				return text, true
			}
		}
	}
	if text, found = t.byKey[defaultKey]; found || t.expr != nil {
		return text, found
	}
	text, found = t.byKey[jsonKey]
	return text, found
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
