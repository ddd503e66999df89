package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParseOverrides(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, ``},
		{`  `, ``},
		{`A=1`, `A="1"`},
		{`A=1 B=2  C=3`, `A="1" B="2" C="3"`},
		{`A= B=x`, `A="" B="x"`},
		{`A='a b' B="c d"`, `A="a b" B="c d"`},
		{`"A=a b"`, `A="a b"`},
		{`A="say \"hi\"" B='no \escape'`, `A="say \"hi\"" B="no \\escape"`},
		{`A=a\ b`, `A="a b"`},
		{`A=x=y&z=1`, `A="x=y&z=1"`},
		{`A=1 A=2`, `A="2"`},
		{`ParameterKey=A,ParameterValue=1 ParameterKey=B,ParameterValue="c d"`, `A="1" B="c d"`},
		{`ParameterKey=A,ParameterValue=a,b`, `A="a,b"`},
		{`A=täst`, `A="täst"`},
		{`A`, `error`},
		{`=1`, `error`},
		{`A-B=1`, `error`},
		{`A="open`, `error`},
		{`A=x\`, `error`},
		{`ParameterKey=A`, `error`},
		{`ParameterKey=A,Value=1`, `error`},
	} {
		got := ""
		m, err := parseOverrides([]string{c.in})
		if err != nil {
			got = "error"
			if _, usage := errors.AsType[*usageError](err); !usage {
				t.Errorf("%s: %v is no usage error", c.in, err)
			}
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			got = strings.TrimSpace(fmt.Sprintf("%s %s=%q", got, k, m[k]))
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.in, got, c.want)
		}
	}
}

// A value that is quoted the way the help says comes back as it was.
func FuzzParseOverrides(f *testing.F) {
	f.Add("a b", "x")
	f.Add(`"\'`, " \t\n")
	f.Add("ParameterKey=", "=")
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, a, b string) {
		a, b = strings.ToValidUTF8(a, "?"), strings.ToValidUTF8(b, "?")
		in := fmt.Sprintf(`A="%s" B="%s"`, quote.Replace(a), quote.Replace(b))
		m, err := parseOverrides([]string{in})
		if err != nil || m["A"] != a || m["B"] != b || len(m) != 2 {
			t.Fatalf("%s: %q, %v", in, m, err)
		}
		if _, err := parseOverrides([]string{a}); err != nil {
			if _, usage := errors.AsType[*usageError](err); !usage {
				t.Fatalf("%q: %v", a, err)
			}
		}
	})
}

func TestParseMapHosts(t *testing.T) {
	m, err := parseMapHosts([]string{"A.example=127.0.0.1:9000,b.example=[::1]:1", " c=localhost:65535 "})
	if err != nil || m["a.example"] != "127.0.0.1:9000" || m["b.example"] != "[::1]:1" || m["c"] != "localhost:65535" || len(m) != 3 {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []string{"a", "a=", "=127.0.0.1:1", "a=127.0.0.1", "a=127.0.0.1:0", "a=127.0.0.1:99999", "a=x:y"} {
		if m, err := parseMapHosts([]string{bad}); err == nil {
			t.Errorf("%q: %v", bad, m)
		}
	}
}
