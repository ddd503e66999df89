// Package schema checks messages against the models of an API: JSON Schema
// draft-04, the dialect of API Gateway (Developer Guide, "Set up a WebSocket API
// request validation").
//
// A [Set] holds the models of one API, because models may refer to each other by
// the URLs that API Gateway gives them. [Set.Compile] reads one, once per
// deployment; [Schema.Validate] may then be called by any number of goroutines.
//
// Schemas are written by the owner of an application and messages by anybody, and
// both are bounded:
//   - a schema has at most 32 768 characters (AWS's quota) and 64 levels;
//   - a message has at most 64 levels and 50 000 values, its numbers at most 256
//     characters and an exponent of at most 400: one such as 1e999999999 would
//     otherwise be written out in full to be compared;
//   - a validation takes at most 200 000 steps, so that a schema whose branches
//     multiply ends in a refusal, not in a stuck process;
//   - patterns are RE2, which is linear; one that is not (look-ahead, back
//     references) is refused by Compile.
//
// Nothing is ever fetched: a $ref leads into the same schema, to a model of the
// same API, or to the draft-04 meta-schema.
//
// Compiling is the library's; evaluation is our own walk over what it compiled,
// because the library's has no bound on steps. The tests compare the two.
package schema

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/livegate/livegate/internal/fault"
)

// Bounds of a schema and of a message.
const (
	MaxSchema = 32768 // characters

	maxDepth    = 64
	maxValues   = 50_000
	maxSteps    = 200_000
	maxNumber   = 256
	maxExponent = 400
)

// Set is the models of one API by name.
type Set struct {
	texts map[string]string
}

// NewSet returns a set of models: name → JSON text.
func NewSet(texts map[string]string) *Set { return &Set{texts: texts} }

// Schema is a compiled model.
type Schema struct {
	root  *jsonschema.Schema
	enums sync.Map // *jsonschema.Enum → map[string]bool, the values in their canonical form
}

// values are what an enum allows.
func (s *Schema) values(e *jsonschema.Enum) map[string]bool {
	if known, ok := s.enums.Load(e); ok {
		return known.(map[string]bool)
	}
	set := make(map[string]bool, len(e.Values))
	for _, v := range e.Values {
		set[string(canonical(nil, v))] = true
	}
	s.enums.Store(e, set)
	return set
}

// Compile reads a model. Errors are of kind fault.BadRequest and say what is wrong
// and where in the schema.
func (s *Set) Compile(name string) (*Schema, error) {
	if _, ok := s.texts[name]; !ok {
		return nil, fault.New(fault.BadRequest, "there is no model %q", name)
	}
	if _, err := s.document(name); err != nil { // the plainest words for the most common mistakes
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft4)
	c.UseLoader(s)
	compiled, err := c.Compile(modelURL(name))
	if err != nil {
		return nil, fault.New(fault.BadRequest, "model %s is not a draft-04 JSON schema: %s", name, explain(err))
	}
	return &Schema{root: compiled}, nil
}

// modelURL is a model's address, in the form that a schema refers to it by.
func modelURL(name string) string {
	return "https://apigateway.amazonaws.com/restapis/api/models/" + url.PathEscape(name)
}

// Load finds what a schema refers to. It is the library's way to ask.
func (s *Set) Load(raw string) (any, error) {
	name, ok := modelName(raw)
	if !ok {
		return nil, fault.New(fault.BadRequest, "$ref %q leads out of the API: refer to #/definitions/… or to https://apigateway.amazonaws.com/restapis/API/models/NAME", raw)
	}
	if _, ok := s.texts[name]; !ok {
		return nil, fault.New(fault.BadRequest, "$ref leads to the model %q, which the API does not have", name)
	}
	return s.document(name)
}

// modelName takes the model out of its URL. Whatever API and region it names, only
// this API's own models can be meant.
func modelName(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || !strings.HasPrefix(u.Host, "apigateway.") || !strings.Contains(u.Host, ".amazonaws.com") {
		return "", false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) == 5 && parts[0] == "v2" {
		parts = parts[1:]
	}
	if len(parts) != 4 || parts[0] != "restapis" && parts[0] != "apis" || parts[2] != "models" {
		return "", false
	}
	return parts[3], true
}

// document reads a model's text. Its $schema is left out: API Gateway reads every
// schema as draft-04.
func (s *Set) document(name string) (any, error) {
	text := s.texts[name]
	if n := len([]rune(text)); n > MaxSchema {
		return nil, fault.New(fault.BadRequest, "model %s has %d characters; a schema may have %d", name, n, MaxSchema)
	}
	doc, err := parse([]byte(text))
	if err != nil {
		return nil, fault.New(fault.BadRequest, "model %s: its schema is not JSON that can be used: %s", name, fault.Message(err))
	}
	object, ok := doc.(map[string]any)
	if !ok {
		return nil, fault.New(fault.BadRequest, "model %s: a schema is a JSON object", name)
	}
	delete(object, "$schema")
	return object, nil
}

// explain is a compile error in one line, without our own URLs.
func explain(err error) string {
	if e, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](e.Err); ok {
			return leaf(v)
		}
	}
	if e, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return fault.Message(e.Err)
	}
	text := strings.ReplaceAll(err.Error(), "https://apigateway.amazonaws.com/restapis/api/models/", "")
	return strings.Join(strings.Fields(text), " ")
}

// leaf is the first innermost cause: the others say the same from further away.
func leaf(v *jsonschema.ValidationError) string {
	for len(v.Causes) > 0 {
		v = slices.MinFunc(v.Causes, func(a, b *jsonschema.ValidationError) int {
			return strings.Compare(at(a.InstanceLocation), at(b.InstanceLocation))
		})
	}
	words := strings.Fields(v.Error())
	if i := slices.Index(words, "validation"); i >= 0 && i+1 < len(words) { // "at '/x': …" without the URL
		words = words[i:]
	}
	return fmt.Sprintf("at %s: %s", at(v.InstanceLocation), strings.Join(words, " "))
}

// at is a JSON pointer (RFC 6901) for people: bounded, and printable.
func at(path []string) string {
	if len(path) == 0 {
		return "the top"
	}
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
		if b.Len() > 200 {
			return fmt.Sprintf("%.200q…", b.String())
		}
	}
	quoted := fmt.Sprintf("%q", b.String())
	return quoted[1 : len(quoted)-1]
}

var _ jsonschema.URLLoader = (*Set)(nil)
