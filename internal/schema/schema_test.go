package schema

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/livegate/livegate/internal/fault"
)

func compile(t testing.TB, text string) *Schema {
	t.Helper()
	s, err := NewSet(map[string]string{"M": text}).Compile("M")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// rules are one keyword each: a schema, messages that fit and messages that do not,
// with the words of the log.
var rules = []struct {
	schema string
	good   []string
	bad    map[string]string
}{
	{`{"type":"object"}`, []string{`{}`}, map[string]string{`[]`: "at the top: it is of type array, want object", `nope`: "it is not JSON", `{} x`: "something follows", ``: "it is not JSON"}},
	{`{"type":["string","null"]}`, []string{`"x"`, `null`}, map[string]string{`1`: "want null or string"}},
	{`{"type":"integer"}`, []string{`1`, `1.0`, `1e2`}, map[string]string{`1.5`: "it is of type number, want integer", `1e-2`: "number"}},
	{`{"required":["a","b"]}`, []string{`{"a":1,"b":2}`, `7`}, map[string]string{`{"a":1}`: `the property "b" is missing`}},
	{`{"properties":{"a":{"type":"string"}}}`, []string{`{"a":"x"}`, `{"b":1}`}, map[string]string{`{"a":1}`: "at /a: it is of type number, want string"}},
	{`{"properties":{"a":{}},"additionalProperties":false}`, []string{`{"a":1}`}, map[string]string{`{"a":1,"b":2}`: `the property "b" is not allowed`}},
	{`{"additionalProperties":{"type":"number"},"patternProperties":{"^s_":{"type":"string"}}}`, []string{`{"n":1,"s_a":"x"}`}, map[string]string{`{"n":"x"}`: "at /n", `{"s_a":1}`: "at /s_a"}},
	{`{"minProperties":1,"maxProperties":2}`, []string{`{"a":1}`}, map[string]string{`{}`: "at least 1", `{"a":1,"b":1,"c":1}`: "at most 2"}},
	{`{"dependencies":{"a":["b"],"c":{"required":["d"]}}}`, []string{`{}`, `{"a":1,"b":1}`, `{"c":1,"d":1}`}, map[string]string{`{"a":1}`: `"b" is missing`, `{"c":1}`: `"d" is missing`}},
	{`{"minLength":2,"maxLength":3}`, []string{`"ab"`, `"äöü"`}, map[string]string{`"a"`: "at least 2", `"abcd"`: "at most 3"}},
	{`{"pattern":"^a+$"}`, []string{`"aa"`, `1`}, map[string]string{`"b"`: "does not match the pattern ^a+$"}},
	{`{"minimum":1,"maximum":3,"exclusiveMaximum":true}`, []string{`1`, `2.9`}, map[string]string{`0.9`: "less than the minimum 1", `3`: "not less than 3"}},
	{`{"minimum":1,"exclusiveMinimum":true}`, []string{`1.1`}, map[string]string{`1`: "not more than 1"}},
	{`{"multipleOf":0.01}`, []string{`0.07`, `19.99`}, map[string]string{`0.075`: "no multiple of 1/100"}},
	{`{"enum":["a",1,{"x":[1]}]}`, []string{`"a"`, `1.0`, `{"x":[1.0]}`}, map[string]string{`"b"`: "none of the 3 values", `"1"`: "none of"}},
	{`{"items":{"type":"number"},"minItems":1,"maxItems":2,"uniqueItems":true}`, []string{`[1]`, `[1,2]`}, map[string]string{`[]`: "at least 1", `[1,2,3]`: "at most 2", `[1,1.0]`: "item 1 is there twice", `["a"]`: "at /0"}},
	{`{"items":[{"type":"number"}],"additionalItems":false}`, []string{`[1]`, `[]`}, map[string]string{`[1,2]`: "want at most 1"}},
	{`{"items":[{}],"additionalItems":{"type":"string"}}`, []string{`[1,"a"]`}, map[string]string{`[1,2]`: "at /1"}},
	{`{"allOf":[{"required":["a"]},{"required":["b"]}]}`, []string{`{"a":1,"b":1}`}, map[string]string{`{"a":1}`: `"b" is missing`}},
	{`{"anyOf":[{"type":"string"},{"minimum":5}]}`, []string{`"x"`, `6`}, map[string]string{`4`: "none of the 2 schemas of anyOf"}},
	{`{"oneOf":[{"minimum":2},{"maximum":4}]}`, []string{`1`, `5`}, map[string]string{`3`: "it fits 2 of the 2"}},
	{`{"not":{"type":"string"}}`, []string{`1`}, map[string]string{`"x"`: "what it must not"}},
	{`{"definitions":{"n":{"type":"number"}},"properties":{"a":{"$ref":"#/definitions/n","type":"string"}}}`, []string{`{"a":1}`}, map[string]string{`{"a":"x"}`: "at /a"}},
	{`{"properties":{"next":{"$ref":"#"},"v":{"type":"number"}}}`, []string{`{"next":{"next":{"v":1}}}`}, map[string]string{`{"next":{"next":{"v":"x"}}}`: "at /next/next/v"}},
	{`{"format":"email"}`, []string{`"a@b.example"`, `1`}, map[string]string{`"nope"`: "not of the format email"}},
	{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object"}`, []string{`{}`}, map[string]string{`1`: "want object"}},
	// Of duplicate names the last one counts, here as in what the function sees.
	{`{"properties":{"a":{"type":"string"}}}`, []string{`{"a":1,"a":"x"}`}, map[string]string{`{"a":"x","a":1}`: "at /a"}},
	{`{"properties":{"a/b":{"type":"string"}}}`, nil, map[string]string{`{"a/b":1}`: "at /a~1b"}},
}

func TestRules(t *testing.T) {
	for _, r := range rules {
		s := compile(t, r.schema)
		for _, m := range r.good {
			if err := s.Validate([]byte(m)); err != nil {
				t.Errorf("%s: %s should fit: %v", r.schema, m, err)
			}
		}
		for m, want := range r.bad {
			err := s.Validate([]byte(m))
			if !fault.Is(err, fault.BadRequest) || !strings.Contains(fault.Message(err), want) {
				t.Errorf("%s: %s: %v, want %q", r.schema, m, err, want)
			}
		}
	}
}

// A model may refer to another of its API by API Gateway's URL, and to nothing else.
func TestReferences(t *testing.T) {
	ref := func(url string) string { return fmt.Sprintf(`{"properties":{"a":{"$ref":%q}}}`, url) }
	set := NewSet(map[string]string{
		"Address": `{"required":["street"]}`,
		"User":    ref("https://apigateway.amazonaws.com/restapis/k3v9x1m2qz/models/Address"),
		"Other":   ref("https://apigateway.eu-west-1.amazonaws.com/v2/apis/other/models/Address"),
		"Loop":    ref("https://apigateway.amazonaws.com/restapis/x/models/Loop"),
		"Self":    `{"$ref":"#"}`,
		"Remote":  ref("https://schemas.example.com/address.json"),
		"Inside":  ref("http://169.254.169.254/latest/meta-data"),
		"File":    ref("file:///etc/passwd"),
		"Missing": ref("https://apigateway.amazonaws.com/restapis/x/models/Nope"),
		"Based":   `{"id":"https://evil.example.com/x.json","properties":{"a":{"$ref":"y.json"}}}`,
		"Draft":   `{"$ref":"http://json-schema.org/draft-04/schema#"}`,
	})
	for _, name := range []string{"User", "Other"} {
		s, err := set.Compile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate([]byte(`{"a":{}}`)); err == nil || !strings.Contains(err.Error(), `at /a: the property "street" is missing`) {
			t.Errorf("%s: %v", name, err)
		}
		if err := s.Validate([]byte(`{"a":{"street":"x"}}`)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"Remote": "leads out of the API", "Inside": "leads out of the API", "File": "leads out of the API", "Based": "leads out of the API",
		"Missing": `the model "Nope", which the API does not have`, "Nobody": `there is no model "Nobody"`,
	} {
		if _, err := set.Compile(name); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	for _, name := range []string{"Loop", "Draft"} {
		if _, err := set.Compile(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := set.Compile("Self"); err == nil { // a circle that goes nowhere
		if err := s.Validate([]byte(`1`)); err == nil || !strings.Contains(err.Error(), "steps") {
			t.Errorf("Self: %v", err)
		}
	}
}

func TestSchemasThatAreNone(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":`:            "not JSON",
		`[]`:                  "a schema is a JSON object",
		`{"type":"strin"}`:    "at /type",
		`{"required":"a"}`:    "at /required",
		`{"minimum":"x"}`:     "at /minimum",
		`{"pattern":"(?=x)"}`: "M",
		`{"properties":{"a":{"$ref":"#/definitions/no"}}}`:                   "definitions",
		`{"description":"` + strings.Repeat("x", MaxSchema) + `"}`:           "a schema may have 32768",
		strings.Repeat(`{"not":`, 70) + `{}` + strings.Repeat(`}`, 70):       "more than 64 levels",
		`{"minimum":1e999999999}`:                                            "exponent",
		`{"exclusiveMinimum":5}`:                                             "exclusiveMinimum", // draft-06
		`{"enum":[]}`:                                                        "enum",
		`{"properties":{"a":{"items":{"maxLength":-1}}}}`:                    "maxLength",
		`{"id":"http://json-schema.org/draft-04/schema#","type":"nonsense"}`: "type",
	} {
		_, err := NewSet(map[string]string{"M": text}).Compile("M")
		if !fault.Is(err, fault.BadRequest) || !strings.Contains(fault.Message(err), want) || strings.Contains(fault.Message(err), "\n") {
			t.Errorf("%.60s: %v, want %q", text, err, want)
		}
	}
}

// What would take a naive validator forever is refused soon: depth, number of
// values, numbers that are written out, and branches that multiply.
func TestBombs(t *testing.T) {
	doubling := `{"definitions":{"d":{"allOf":[{"items":{"$ref":"#/definitions/d"}},{"items":{"$ref":"#/definitions/d"}}]}},"$ref":"#/definitions/d"}`
	var chain strings.Builder
	chain.WriteString(`{"definitions":{`)
	for i := range 60 {
		fmt.Fprintf(&chain, `"d%d":{"anyOf":[{"$ref":"#/definitions/d%d"},{"$ref":"#/definitions/d%d"}]},`, i, i+1, i+1)
	}
	chain.WriteString(`"d60":{"type":"null"}},"$ref":"#/definitions/d0"}`)
	unique := `{"uniqueItems":true}`
	for name, v := range map[string]struct{ schema, message, want string }{
		"depth":           {`{}`, strings.Repeat("[", 100_000), "more than 64 levels"},
		"values":          {`{}`, "[" + strings.Repeat("1,", 60_000) + "1]", "more than 50000 values"},
		"exponent":        {`{"type":"integer"}`, `1e999999999`, "exponent beyond 400"},
		"small exponent":  {`{"type":"integer"}`, `1e-999999999`, "exponent beyond 400"},
		"digits":          {`{"minimum":1}`, strings.Repeat("9", 10_000), "more than 256 characters"},
		"doubling":        {doubling, strings.Repeat("[", 60) + strings.Repeat("]", 60), "more than 200000 steps"},
		"2^60 branches":   {chain.String(), `1`, "more than 200000 steps"},
		"unique and long": {unique, "[" + strings.Repeat(`"`+strings.Repeat("x", 1000)+`",`, 900) + `1]`, "item 1 is there twice"},
	} {
		s := compile(t, v.schema)
		started := time.Now()
		err := s.Validate([]byte(v.message))
		if err == nil || !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: %v, want %q", name, err, v.want)
		}
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// The log says where and what, and nothing that the client wrote as a value.
func TestErrorsDoNotQuoteTheMessage(t *testing.T) {
	const canary = "canary-7f3a"
	for _, text := range []string{`{"type":"object"}`, `{"enum":["a"]}`, `{"pattern":"^a$"}`, `{"format":"email"}`, `{"maxLength":1}`, `{"not":{}}`, `{"oneOf":[{"type":"null"}]}`} {
		s := compile(t, text)
		for _, m := range []string{`"` + canary + `"`, canary, `{"a":"` + canary} {
			if err := s.Validate([]byte(m)); err != nil && strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
}

// library is what the library itself says, the naive model of the fuzz target.
func library(s *Schema, message []byte) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(message))
	return err == nil && s.root.Validate(v) == nil
}

func TestAgreesWithTheLibrary(t *testing.T) {
	for _, r := range rules {
		s := compile(t, r.schema)
		for _, other := range rules {
			for _, m := range other.good {
				if got, want := s.Validate([]byte(m)) == nil, library(s, []byte(m)); got != want {
					t.Errorf("%s: %s: %v, the library says %v", r.schema, m, got, want)
				}
			}
			for m := range other.bad {
				if got, want := s.Validate([]byte(m)) == nil, library(s, []byte(m)); got != want {
					t.Errorf("%s: %s: %v, the library says %v", r.schema, m, got, want)
				}
			}
		}
	}
}

func FuzzValidate(f *testing.F) {
	for _, r := range rules {
		for _, m := range r.good {
			f.Add(r.schema, []byte(m))
		}
		for m := range r.bad {
			f.Add(r.schema, []byte(m))
		}
	}
	f.Fuzz(func(t *testing.T, text string, message []byte) {
		if len(text) > 2000 || len(message) > 2000 {
			return
		}
		s, err := NewSet(map[string]string{"M": text}).Compile("M")
		if err != nil {
			return
		}
		err = s.Validate(message)
		if err != nil && (strings.Contains(err.Error(), "steps") || strings.Contains(err.Error(), "more than") && !strings.Contains(err.Error(), "at ")) {
			return // a bound that the library does not have
		}
		if (err == nil) != library(s, message) {
			t.Fatalf("%s: %q: %v, the library says %v", text, message, err, library(s, message))
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	s := compile(b, `{"type":"object","required":["action","to"],"properties":{"action":{"type":"string"},"to":{"type":"string","minLength":1},"text":{"type":"string","maxLength":500}}}`)
	msg := []byte(`{"action":"send","to":"ann","text":"` + strings.Repeat("x", 80) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Validate(msg); err != nil {
			b.Fatal(err)
		}
	}
}
