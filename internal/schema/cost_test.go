package schema

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What a message costs is bounded by steps wherever the work is: in objects with many
// members under many schemas, in long values of enum, in numbers that are written out.
func TestCostIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("it is about time")
	}
	repeated := func(n int, one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	var members strings.Builder
	for i := range 12_000 {
		fmt.Fprintf(&members, `"k%d":1,`, i)
	}
	wide := "{" + strings.TrimSuffix(members.String(), ",") + "}"
	for name, v := range map[string]struct{ schema, message string }{
		"many schemas for a wide object": {`{"allOf":[` + repeated(1200, `{"properties":{"a":{}}}`) + `]}`, wide},
		"patterns of names":              {`{"allOf":[` + repeated(1000, `{"patternProperties":{"x":{}}}`) + `]}`, wide},
		"a long value of enum":           {`{"items":{"enum":[[` + repeated(5000, "1e400") + `]]}}`, "[" + repeated(20_000, "[1]") + "]"},
		"many values of enum":            {`{"items":{"enum":[` + numbers(3000) + `,-2]}}`, "[" + repeated(20_000, "-2") + "]"},
		"numbers written out":            {`{"allOf":[` + repeated(1000, `{"not":{"enum":[0]}}`) + `]}`, "[" + repeated(15_000, "1.5") + "]"},
		"unique numbers":                 {`{"allOf":[` + repeated(1000, `{"uniqueItems":true}`) + `]}`, "[" + numbers(15_000) + "]"},
		"a format of a long text":        {`{"allOf":[` + repeated(1000, `{"format":"uri"}`) + `]}`, `"http://` + strings.Repeat("a", 120_000) + `"`},
		"a pattern on a long text":       {`{"allOf":[` + repeated(800, `{"pattern":"(a|b|ab)*c"}`) + `]}`, `"` + strings.Repeat("ab", 60_000) + `c"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := compile(t, v.schema)
			started := time.Now()
			err := s.Validate([]byte(v.message))
			took := time.Since(started)
			t.Logf("%v: %v", took, err)
			if took > 2*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d.25,", i)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// An enumeration of any length is one look.
func TestLongEnumerations(t *testing.T) {
	var names strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&names, `"name-%d",`, i)
	}
	s := compile(t, `{"items":{"enum":[`+names.String()+`1.0]}}`)
	message := "[" + strings.Repeat(`"name-1999",`, 2000) + "1]"
	if err := s.Validate([]byte(message)); err != nil {
		t.Error(err)
	}
	if s.Validate([]byte(`["name-2000"]`)) == nil || s.Validate([]byte(`[true]`)) == nil || s.Validate([]byte(`["1"]`)) == nil {
		t.Error("let through")
	}
}
