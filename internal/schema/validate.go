package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/livegate/livegate/internal/fault"
)

// Validate checks a message. The error, of kind fault.BadRequest, says for the log
// where the message differs and what was wanted; it never shows a value of it.
func (s *Schema) Validate(message []byte) error {
	v, err := parse(message)
	if err != nil {
		return err
	}
	w := walk{schema: s}
	if ok := w.check(s.root, v); ok && !w.exhausted {
		return nil
	}
	if w.exhausted {
		return fault.New(fault.BadRequest, "checking it takes more than %d steps", maxSteps)
	}
	return fault.New(fault.BadRequest, "at %s: %s", at(w.where), w.why)
}

// walk is one validation.
type walk struct {
	schema    *Schema
	path      []string
	steps     int
	nesting   int
	exhausted bool // no more steps: the outcome means nothing
	trial     int  // within anyOf, oneOf or not, where a mismatch is no outcome yet

	// The first mismatch that counts.
	where []string
	why   string
}

// Bytes of text that are one step: to look at, to run a pattern on, and to write out as
// canonical text.
const (
	scanned = 64
	matched = 16
	written = 8
)

// spend counts work; false when there was too much.
func (w *walk) spend(n int) bool {
	if w.steps += n; w.steps > maxSteps {
		w.exhausted = true
	}
	return !w.exhausted
}

// fail notes a mismatch.
func (w *walk) fail(format string, args ...any) bool {
	if w.trial == 0 && w.why == "" {
		w.where, w.why = slices.Clone(w.path), fmt.Sprintf(format, args...)
	}
	return false
}

// check reports whether v fits s. Keywords are those of draft-04, validation §5.
func (w *walk) check(s *jsonschema.Schema, v any) bool {
	const maxNesting = 8 * maxDepth // a $ref may lead to itself without going deeper into the message
	if w.nesting++; w.nesting > maxNesting {
		w.exhausted = true
	}
	defer func() { w.nesting-- }()
	switch {
	case !w.spend(1):
		return false
	case s.Bool != nil:
		return *s.Bool || w.fail("nothing is allowed here")
	case s.Ref != nil:
		return w.check(s.Ref, v) // the neighbours of a $ref are ignored (draft-04 core §7)
	}
	return w.kind(s, v) && w.enum(s, v) && w.format(s, v) && w.value(s, v) && w.combined(s, v)
}

func (w *walk) value(s *jsonschema.Schema, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return w.object(s, v)
	case []any:
		return w.array(s, v)
	case string:
		return w.text(s, v)
	case json.Number:
		return w.number(s, v)
	}
	return true
}

// in checks v one level further in.
func (w *walk) in(name string, s *jsonschema.Schema, v any) bool {
	w.path = append(w.path, name)
	ok := w.check(s, v)
	w.path = w.path[:len(w.path)-1]
	return ok
}

func (w *walk) kind(s *jsonschema.Schema, v any) bool {
	if s.Types == nil || s.Types.IsEmpty() {
		return true
	}
	got := typeName(v)
	want := s.Types.ToStrings()
	if slices.Contains(want, got) {
		return true
	}
	if n, isNumber := v.(json.Number); isNumber && slices.Contains(want, "integer") {
		if r := rat(n); r != nil && r.IsInt() {
			return true
		}
	}
	return w.fail("it is of type %s, want %s", got, strings.Join(want, " or "))
}

func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	}
	return "object"
}

func (w *walk) enum(s *jsonschema.Schema, v any) bool {
	if s.Enum == nil {
		return true
	}
	key := canonical(nil, v)
	if !w.spend(1 + len(key)/written) {
		return false
	}
	if w.schema.values(s.Enum)[string(key)] {
		return true
	}
	return w.fail("it is none of the %d values of enum", len(s.Enum.Values))
}

func (w *walk) format(s *jsonschema.Schema, v any) bool {
	if s.Format == nil || s.Format.Validate == nil {
		return true
	}
	if text, ok := v.(string); ok && !w.spend(len(text)/scanned) {
		return false
	}
	if s.Format.Validate(v) == nil {
		return true
	}
	return w.fail("it is not of the format %s", s.Format.Name)
}

func (w *walk) text(s *jsonschema.Schema, v string) bool {
	cost := len(v) / scanned
	if s.Pattern != nil {
		cost = len(v) / matched // an automaton, not a look
	}
	if !w.spend(cost) {
		return false
	}
	n := 0
	if s.MinLength != nil || s.MaxLength != nil {
		n = utf8.RuneCountInString(v)
	}
	switch {
	case s.MinLength != nil && n < *s.MinLength:
		return w.fail("it has %d characters, want at least %d", n, *s.MinLength)
	case s.MaxLength != nil && n > *s.MaxLength:
		return w.fail("it has %d characters, want at most %d", n, *s.MaxLength)
	case s.Pattern != nil && !s.Pattern.MatchString(v):
		return w.fail("it does not match the pattern %s", s.Pattern)
	}
	return true
}

func (w *walk) number(s *jsonschema.Schema, v json.Number) bool {
	if s.Minimum == nil && s.Maximum == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil && s.MultipleOf == nil {
		return true
	}
	r := rat(v)
	switch {
	case r == nil:
		return w.fail("it is no number that can be compared")
	case s.Minimum != nil && r.Cmp(s.Minimum) < 0:
		return w.fail("it is less than the minimum %s", s.Minimum.RatString())
	case s.Maximum != nil && r.Cmp(s.Maximum) > 0:
		return w.fail("it is more than the maximum %s", s.Maximum.RatString())
	case s.ExclusiveMinimum != nil && r.Cmp(s.ExclusiveMinimum) <= 0:
		return w.fail("it is not more than %s", s.ExclusiveMinimum.RatString())
	case s.ExclusiveMaximum != nil && r.Cmp(s.ExclusiveMaximum) >= 0:
		return w.fail("it is not less than %s", s.ExclusiveMaximum.RatString())
	case s.MultipleOf != nil && !new(big.Rat).Quo(r, s.MultipleOf).IsInt():
		return w.fail("it is no multiple of %s", s.MultipleOf.RatString())
	}
	return true
}

func rat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	return r
}

func (w *walk) array(s *jsonschema.Schema, v []any) bool {
	switch {
	case s.MinItems != nil && len(v) < *s.MinItems:
		return w.fail("it has %d items, want at least %d", len(v), *s.MinItems)
	case s.MaxItems != nil && len(v) > *s.MaxItems:
		return w.fail("it has %d items, want at most %d", len(v), *s.MaxItems)
	case s.UniqueItems && !w.unique(v):
		return false
	}
	one, _ := s.Items.(*jsonschema.Schema)
	several, _ := s.Items.([]*jsonschema.Schema)
	if one == nil && several == nil {
		return true // additionalItems has no meaning without a list of items (§5.3.1)
	}
	for i, item := range v {
		sub := one
		if one == nil {
			var allowed bool
			if sub, allowed = itemSchema(s, several, i); !allowed {
				return w.fail("it has %d items, want at most %d", len(v), len(several))
			}
		}
		if sub != nil && !w.in(strconv.Itoa(i), sub, item) {
			return false
		}
	}
	return true
}

// itemSchema is what the i-th item of a tuple must fit; nil: anything.
func itemSchema(s *jsonschema.Schema, several []*jsonschema.Schema, i int) (sub *jsonschema.Schema, allowed bool) {
	if i < len(several) {
		return several[i], true
	}
	switch more := s.AdditionalItems.(type) {
	case bool:
		return nil, more
	case *jsonschema.Schema:
		return more, true
	}
	return nil, true
}

// unique compares by canonical text, which takes one look at each item.
func (w *walk) unique(v []any) bool {
	seen := make(map[string]bool, len(v))
	for i, item := range v {
		key := string(canonical(nil, item))
		if !w.spend(1 + len(key)/written) {
			return false
		}
		if seen[key] {
			return w.fail("its item %d is there twice", i)
		}
		seen[key] = true
	}
	return true
}

func (w *walk) object(s *jsonschema.Schema, v map[string]any) bool {
	switch {
	case s.MinProperties != nil && len(v) < *s.MinProperties:
		return w.fail("it has %d properties, want at least %d", len(v), *s.MinProperties)
	case s.MaxProperties != nil && len(v) > *s.MaxProperties:
		return w.fail("it has %d properties, want at most %d", len(v), *s.MaxProperties)
	case !w.has(v, s.Required):
		return false
	}
	for name, dep := range s.Dependencies {
		if _, there := v[name]; !there {
			continue
		}
		switch dep := dep.(type) {
		case []string:
			if !w.has(v, dep) {
				return false
			}
		case *jsonschema.Schema:
			if !w.check(dep, v) {
				return false
			}
		}
	}
	// In order, so that the log names the same one each time.
	if len(s.PatternProperties) == 0 && s.AdditionalProperties == nil {
		if !w.spend(len(s.Properties)) {
			return false
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if value, there := v[name]; there && !w.in(name, s.Properties[name], value) {
				return false
			}
		}
		return true
	}
	if !w.spend(len(v)) {
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if !w.property(s, name, v[name]) {
			return false
		}
	}
	return true
}

func (w *walk) has(v map[string]any, names []string) bool {
	for _, name := range names {
		if !w.spend(1) {
			return false
		}
		if _, there := v[name]; !there {
			return w.fail("the property %q is missing", name)
		}
	}
	return true
}

// property checks one property against all the schemas that apply to it.
func (w *walk) property(s *jsonschema.Schema, name string, v any) bool {
	sub, known := s.Properties[name]
	if known && !w.in(name, sub, v) {
		return false
	}
	for pattern, sub := range s.PatternProperties {
		if !w.spend(1 + len(name)/matched) {
			return false
		}
		if pattern.MatchString(name) {
			known = true
			if !w.in(name, sub, v) {
				return false
			}
		}
	}
	if known {
		return true
	}
	switch more := s.AdditionalProperties.(type) {
	case bool:
		return more || w.fail("the property %.80q is not allowed", name)
	case *jsonschema.Schema:
		return w.in(name, more, v)
	}
	return true
}

// combined checks allOf, anyOf, oneOf and not (§5.5).
func (w *walk) combined(s *jsonschema.Schema, v any) bool {
	for _, sub := range s.AllOf {
		if !w.check(sub, v) {
			return false
		}
	}
	if len(s.AnyOf) > 0 && !slices.ContainsFunc(s.AnyOf, func(sub *jsonschema.Schema) bool { return w.try(sub, v) }) {
		return w.fail("it fits none of the %d schemas of anyOf", len(s.AnyOf))
	}
	fits := 0
	for _, sub := range s.OneOf {
		if w.try(sub, v) {
			fits++
		}
	}
	switch {
	case len(s.OneOf) > 0 && fits != 1:
		return w.fail("it fits %d of the %d schemas of oneOf, want exactly one", fits, len(s.OneOf))
	case s.Not != nil && w.try(s.Not, v):
		return w.fail("it fits what it must not")
	}
	return true
}

// try checks without an outcome of its own.
func (w *walk) try(s *jsonschema.Schema, v any) bool {
	w.trial++
	ok := w.check(s, v)
	w.trial--
	return ok && !w.exhausted
}

// canonical appends a text that two values share exactly if they are equal
// (draft-04 core §3.6): 1, 1.0 and 10e-1 are.
func canonical(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case json.Number:
		if v != "-0" && !strings.ContainsAny(string(v), ".eE") {
			return append(dst, v...) // an integer is written in one way only (RFC 8259 §6)
		}
		if r := rat(v); r != nil {
			return append(dst, r.RatString()...)
		}
		return append(dst, v...)
	case string:
		return strconv.AppendQuote(dst, v)
	case []any:
		dst = append(dst, '[')
		for _, item := range v {
			dst = append(canonical(dst, item), ',')
		}
		return append(dst, ']')
	case map[string]any:
		dst = append(dst, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			dst = append(strconv.AppendQuote(dst, name), ':')
			dst = append(canonical(dst, v[name]), ',')
		}
		return append(dst, '}')
	}
	return dst
}
