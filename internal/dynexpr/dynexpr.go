// Package dynexpr is DynamoDB's expression language: condition, filter, key
// condition, update and projection expressions, parsed once and evaluated on
// items.
//
// All expressions of one request share a [Scope], which holds the placeholders
// (#name, :value) and remembers which were used, because an unused one is an
// error of the request and not of an expression.
//
// Parsing never looks at an item and evaluation never fails on a condition:
// a comparison of things that have no order is false. Updates can fail on the
// item they meet. All errors are ValidationExceptions with DynamoDB's texts.
// The package knows no tables, except that key conditions are given the names
// of the key attributes they may use.
//
// Bounds: 4096 bytes per expression, and with it the depth of the parser's
// recursion (Developer Guide, "Service quotas": expression parameters).
package dynexpr

import (
	"maps"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/attr"
)

// Limits of one expression.
const (
	MaxLength    = 4096
	MaxOperators = 300
)

// Scope is the placeholders of one request. Not safe for concurrent use.
type Scope struct {
	names  map[string]string
	values attr.Map

	usedNames  map[string]bool
	usedValues map[string]bool
}

// NewScope takes ExpressionAttributeNames and ExpressionAttributeValues; nil
// means the request has none. Both are checked for form.
func NewScope(names map[string]string, values attr.Map) (*Scope, error) {
	if names != nil && len(names) == 0 {
		return nil, attr.Invalid("ExpressionAttributeNames must not be empty")
	}
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if !isPlaceholder(key, '#') {
			return nil, attr.Invalid("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", key)
		}
	}
	if values != nil && len(values) == 0 {
		return nil, attr.Invalid("ExpressionAttributeValues must not be empty")
	}
	for i := range values {
		if !isPlaceholder(values[i].Name, ':') {
			return nil, attr.Invalid("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", values[i].Name)
		}
	}
	return &Scope{names: names, values: values}, nil
}

func isPlaceholder(s string, mark byte) bool {
	if len(s) < 2 || s[0] != mark {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return true
}

// CheckUnused fails when a placeholder was given that no expression used.
func (s *Scope) CheckUnused() error {
	var unused []string
	for name := range s.names {
		if !s.usedNames[name] {
			unused = append(unused, name)
		}
	}
	if unused != nil {
		slices.Sort(unused)
		return attr.Invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", strings.Join(unused, ", "))
	}
	for i := range s.values {
		if !s.usedValues[s.values[i].Name] {
			unused = append(unused, s.values[i].Name)
		}
	}
	if unused != nil {
		return attr.Invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", strings.Join(unused, ", "))
	}
	return nil
}

func (s *Scope) name(placeholder string) (string, bool) {
	name, ok := s.names[placeholder]
	if ok {
		if s.usedNames == nil {
			s.usedNames = make(map[string]bool, len(s.names))
		}
		s.usedNames[placeholder] = true
	}
	return name, ok
}

func (s *Scope) value(placeholder string) (attr.Value, bool) {
	v, ok := s.values.Get(placeholder)
	if ok {
		if s.usedValues == nil {
			s.usedValues = make(map[string]bool, len(s.values))
		}
		s.usedValues[placeholder] = true
	}
	return v, ok
}
