package vtl

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

func seed(f *testing.F, add func(template, vars string)) {
	f.Helper()
	for _, g := range goldens(f) {
		add(g.template, g.vars)
	}
	for _, s := range []string{
		"#if", "#if(", "${", "$a.", "$a[", "#set($a", "#{", "#[[", "#*", "\\", "\\\\$a", "#foreach($i in [1..3])", "#macro(m $a)#m($a)#end#m(1)",
		"#evaluate('#evaluate($a)')", "$a.replaceAll('(a*)*', '$1')", "#return($a)", "\"$a\"", "#set($x=\"#set($y=\"\"$a\"\")\")", "$#end", "$a.b##c",
	} {
		add(s, `{"a":"aaa"}`)
	}
}

// Compiling any text ends in a template or a *SyntaxError with a place in it.
func FuzzCompile(f *testing.F) {
	seed(f, func(template, _ string) { f.Add(template) })
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range []Dialect{Gateway, AppSync} {
			_, err := d.Compile("t", text)
			if err == nil {
				continue
			}
			var e *SyntaxError
			if !errors.As(err, &e) || e.Line < 1 || e.Col < 1 || e.Msg == "" {
				t.Fatalf("%q: %#v", text, err)
			}
		}
	})
}

// Any template over any variables ends within its limits, in output or in a
// *RunError, and twice the same.
func FuzzExecute(f *testing.F) {
	seed(f, func(template, vars string) { f.Add(template, vars) })
	f.Fuzz(func(t *testing.T, text, vars string) {
		tmpl, err := AppSync.Compile("t", text)
		if err != nil {
			return
		}
		run := func() (string, error) {
			v, err := FromJSON([]byte(vars))
			m, ok := v.(*Map)
			if err != nil || !ok {
				t.Skip()
			}
			in := map[string]any{"util": testUtil{}}
			for k, v := range m.All() {
				in[k] = v
			}
			in["input"] = &testInput{m}
			l := Limits{Steps: 20_000, Output: 1 << 16, Depth: 16, Data: 1 << 20}
			r, err := tmpl.Run([]byte("dst"), in, l)
			var e *RunError
			if err != nil && (!errors.As(err, &e) || string(r.Output) != "dst") {
				t.Fatalf("%q: %v, output %q", text, err, r.Output)
			}
			if len(r.Output) > len("dst")+l.Output {
				t.Fatalf("%q: %d bytes", text, len(r.Output))
			}
			return string(r.Output), err
		}
		a, err1 := run()
		b, err2 := run()
		if a != b || (err1 == nil) != (err2 == nil) {
			t.Fatalf("%q: %q %v, then %q %v", text, a, err1, b, err2)
		}
	})
}

// FromJSON takes exactly what encoding/json takes, and AppendJSON writes it back
// so that a second trip changes nothing.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u00e9",null,true]}`, `-0`, `"\ud800"`, `1e999`, `[[[]]]`, `{"a":1,"a":2}`, "\"\x80\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := FromJSON(data)
		if valid := json.Valid(data); valid != (err == nil) {
			if valid && len(data) > maxDepth {
				return // deeper than we follow
			}
			t.Fatalf("%q: %v, encoding/json says %v", data, err, valid)
		}
		if err != nil {
			return
		}
		once, err := AppendJSON(nil, v)
		if err != nil || !json.Valid(once) || !utf8.Valid(once) {
			t.Fatalf("%q becomes %q %v", data, once, err)
		}
		w, err := FromJSON(once)
		if err != nil {
			t.Fatal(err)
		}
		twice, err := AppendJSON(nil, w)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%q, then %q %v", once, twice, err)
		}
		AppendString(nil, v)
	})
}
