package vtl

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

func TestFromJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"b":1,"a":{"z":[1,2.5,"x",null,true]}}`: `{b=1, a={z=[1, 2.5, x, null, true]}}`,
		`{"k":1,"o":2,"k":3}`:                     `{k=3, o=2}`,
		`9223372036854775807`:                     `9223372036854775807`,
		`9223372036854775808`:                     `9223372036854775808`,
		`-123456789012345678901234567890`:         `-123456789012345678901234567890`,
		`1e400`:                                   `1e400`,
		`1e2`:                                     `100.0`,
		`-0`:                                      `0`,
		`-0.0`:                                    `-0.0`,
		`1652716274.909`:                          `1.652716274909E9`,
		`0.00012`:                                 `1.2E-4`,
		`12345678.9`:                              `1.23456789E7`,
		`1234567.9`:                               `1234567.9`,
		`"\u0041\n\"\\\/\ud834\udd1e"`:            "A\n\"\\/\U0001D11E",
		"\"\xff\"":                                "\uFFFD",
		" \t\r\n[ ] ":                             `[]`,
		`{ }`:                                     `{}`,
	} {
		v, err := FromJSON([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(AppendString(nil, v)); got != want {
			t.Errorf("%s prints %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{
		"", " ", "{", "[", `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, "01", "1.", ".5", "+1", "-", "1e", "nul", "tru", `"a`, `"\x"`,
		"\"a\nb\"", `{a:1}`, "1 2", "[1}", `"\u12"`, "NaN", strings.Repeat("[", 600) + strings.Repeat("]", 600),
	} {
		if v, err := FromJSON([]byte(text)); !fault.Is(err, fault.BadRequest) {
			t.Errorf("%.40q parses as %v, %v", text, v, err)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	m := NewMap()
	m.Set("s", "q\" b\\ \n\r\t\b\f\x01 é <&> \u2028 /")
	m.Set("l", NewList(int64(1), 2.0, nil, false, Number("12345678901234567890")))
	m.Set("x", math.NaN())
	m.Set("i", math.Inf(-1))
	m.Set("bad", "\xff!")
	m.Set("e", &entry{"k", "v"})
	want := `{"s":"q\" b\\ \n\r\t\b\f\u0001 é <&> ` + "\u2028" + ` /","l":[1,2.0,null,false,12345678901234567890],"x":"NaN","i":"-Infinity","bad":"` + "\uFFFD" + `!","e":{"k":"v"}}`
	got, err := AppendJSON([]byte(">"), m)
	if err != nil || string(got) != ">"+want {
		t.Fatalf("\n got %s %v\nwant >%s", got, err, want)
	}
	if !json.Valid(got[1:]) {
		t.Fatal("not JSON")
	}
	self := NewList()
	self.Append(self)
	if out, err := AppendJSON([]byte("dst"), self); !fault.Is(err, fault.TooLarge) || string(out) != "dst" {
		t.Fatalf("%q %v", out, err)
	}
	v := any(NewList(strings.Repeat("x", 1000)))
	for range 60 {
		v = NewList(v, v)
	}
	if _, err := AppendJSON(nil, v); !fault.Is(err, fault.TooLarge) {
		t.Fatal(err)
	}
	if n := len(AppendString(nil, v)); n > maxText+2000 {
		t.Fatalf("%d bytes", n)
	}
}

// Doubles read back exactly, in Java's spelling.
func TestDoublesReadBack(t *testing.T) {
	for _, f := range []float64{0, 1, -1, 0.1, 1e-3, 9.999e-4, 1e7, 9999999.999, 1e21, 1e22, 5e-324, math.MaxFloat64, 1.0 / 3, 123456789.125, -2.5e-10} {
		s := string(AppendString(nil, f))
		if back, err := strconv.ParseFloat(s, 64); err != nil || back != f {
			t.Errorf("%v prints %s, which reads %v %v", f, s, back, err)
		}
		if !strings.Contains(s, ".") {
			t.Errorf("%v prints %s: Java always has a point", f, s)
		}
	}
}

func TestMap(t *testing.T) {
	m := NewMap()
	model := map[string]int{}
	var order []string
	for i := range 300 { // grows past smallMap, with deletions on either side of it
		k := strconv.Itoa(i * 7 % 40)
		if i%5 == 4 {
			if _, had := m.Delete(k); had != (model[k] != 0) {
				t.Fatalf("round %d: deleting %s said %v", i, k, had)
			}
			delete(model, k)
			order = without(order, k)
			continue
		}
		if model[k] == 0 {
			order = append(order, k)
		}
		model[k] = i + 1
		m.Set(k, i+1)
		var keys []string
		for k, v := range m.All() {
			keys = append(keys, k)
			if v != model[k] {
				t.Fatalf("round %d: %s is %v, want %d", i, k, v, model[k])
			}
			if got, ok := m.Get(k); !ok || got != v {
				t.Fatalf("round %d: Get(%s) is %v %v", i, k, got, ok)
			}
		}
		if strings.Join(keys, ",") != strings.Join(order, ",") || m.Len() != len(order) {
			t.Fatalf("round %d: order %v, want %v", i, keys, order)
		}
	}
	if _, ok := m.Get("nope"); ok {
		t.Fatal("found what is not there")
	}
}

func without(s []string, k string) []string {
	var out []string
	for _, v := range s {
		if v != k {
			out = append(out, v)
		}
	}
	return out
}

func TestList(t *testing.T) {
	l := NewList("a")
	l.Append("b", "c")
	l.Set(1, "B")
	var got []string
	for i, v := range l.All() {
		got = append(got, strconv.Itoa(i)+v.(string))
	}
	if strings.Join(got, " ") != "0a 1B 2c" || l.Len() != 3 || l.Get(2) != "c" {
		t.Fatal(got)
	}
}

// Patterns that RE2 cannot run are refused by name; the others match as in Java.
func TestPatterns(t *testing.T) {
	for pattern, what := range map[string]string{
		`(?=a)`: "look-ahead", `(?!a)`: "negative look-ahead", `(?<=a)b`: "look-behind", `(?<!a)b`: "negative look-behind",
		`(?>a)`: "an atomic group", `a*+`: "a possessive quantifier (*+)", `a{1,2}+`: "a possessive quantifier (}+)",
		`(a)\1`: "a back reference", `\k<n>`: "a back reference", `[a[b]]`: "a character class inside another",
		`[a&&b]`: "an intersection", `\G`: `\G`, `\h`: `\h`, `\Z`: `\Z`, `(?x)a`: "the flags", `\p{javaLowerCase}`: "javaLowerCase",
	} {
		tmpl, err := Compile("t", `$s.replaceAll($p, "")`)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tmpl.Execute(nil, map[string]any{"s": "abc", "p": pattern}, Limits{})
		if !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v, want a refusal of %s", pattern, err, what)
		}
	}
	for _, c := range []struct{ s, pattern, to, want string }{
		{"a.b", ".", "x", "xxx"}, {"a.b", `\.`, "x", "axb"}, {"a\rb", ".", "x", "x\rx"}, {"a\nb", "(?s).", "x", "xxx"},
		{"a\x0bb", `\s`, "_", "a_b"}, {"a b", `\S`, "_", "_ _"}, {"a1-", `[\s\d]`, "_", "a_-"}, {"€", `\u20AC`, "E", "E"},
		{"it's", `\'`, "-", "it-s"}, {"a\\b", `\\`, "/", "a/b"}, {"aXb", "(?i)x", "-", "a-b"}, {"a+b", `\Qa+\E`, "-", "-b"},
		{"aB1", `\p{Lower}\p{Upper}`, "-", "-1"}, {"aé", `[^\p{ASCII}]`, "?", "a?"}, {"aé", `\P{ASCII}`, "?", "a?"},
		{"2024-01", `(?<y>\d+)-(?<m>\d+)`, "${m}/${y}", "01/2024"}, {"abc", "(b)", "$1$1", "abbc"}, {"abc", "(b)", "$12", "ab2c"},
		{"abc", "x|(b)", "[$1]", "a[b]c"}, {"xbc", "x|(b)", "[$1]", "[][b]c"}, {"abc", "", "-", "-a-b-c-"}, {"a}b", "}", "-", "a-b"},
		{"a{2}", `a\{2\}`, "-", "-"}, {"aaa", "a{2}", "-", "-a"}, {"<a>", `\<`, "-", "-a>"}, {"x", `[\]x]`, "-", "-"}, {"é", `\w`, "-", "é"},
	} {
		tmpl, err := Compile("t", "$s.replaceAll($p, $to)")
		if err != nil {
			t.Fatal(err)
		}
		out, err := tmpl.Execute(nil, map[string]any{"s": c.s, "p": c.pattern, "to": c.to}, Limits{})
		if err != nil || string(out) != c.want {
			t.Errorf("%q.replaceAll(%q, %q) is %q %v, want %q", c.s, c.pattern, c.to, out, err, c.want)
		}
	}
}

// Known differences to java.util and java.lang that templates can see.
func TestOwnMethods(t *testing.T) {
	const vars = `{"l":["a",1,null],"m":{"k":1},"s":"a𝄞b","t":true,"d":2.5,"n":7,"big":12345678901234567890,"long":30000000000}`
	for text, want := range map[string]string{
		"$l.join('-')":                         "a-1-null",
		"$m.keySet().get(0)":                   "$m.keySet().get(0)",
		"$m.keySet()[0]":                       "$m.keySet()[0]",
		"$m.keySet().toArray()[0]":             "k",
		"$s.length() $s.substring(3)":          "4 b",
		"$s.substring(2) $s.substring(0,2)":    "?b a?",
		"$s.substring(1,3) $s.substring(2,2)|": "𝄞 |",
		"$s.charAt(0)$s.charAt(3) $s.codePointAt(1) $s.codePointAt(2)":                                                          "ab 119070 56606",
		"$s.compareTo('a𝄟') $s.compareTo('b') $s.compareTo('')":                                                                 "-1 -1 4",
		"$s.isBlank() $s.strip() $s.repeat(0)|$s.toCharArray().size()":                                                          "false a𝄞b |4",
		"$big.intValue() $big.longValue() $big.compareTo(1) $big.doubleValue() $big.equals($big)":                               "-350287150 -6101065172474983726 1 1.2345678901234567E19 true",
		"$d.hashCode() $n.hashCode() $long.hashCode() $t.hashCode()":                                                            "1074003968 7 -64771066 1231",
		"$d.equals(2.5) $n.equals(7.0) $d.compareTo(3)":                                                                         "true false -1",
		"$n.max(1,2) $n.min(1,2) $n.sum(1,2) $n.compare(1,2) $n.toString(5) $n.toOctalString(8) $n.signum(-3)":                  "2 1 3 -1 5 10 -1",
		"$n.parseInt('ff', 16) $n.valueOf('5') $long.valueOf('3000000000') $n.parseDouble('1.5') $n.parseLong('-1')":            "255 5 3000000000 1.5 -1",
		"$l.iterator().next() $l.contains(null) $l.indexOf(null) $l.containsAll([1])":                                           "a true 2 true",
		"#set($x = [1,2,3])$x.retainAll([2,3]) $x.removeAll([3]) $x $x.toArray().size() $x.isEmpty()":                           "true true [2] 1 false",
		"#set($x = {})$!x.putIfAbsent('a',1)$x.putIfAbsent('a',2) $x $x.equals({'a':1}) $x.toString()":                          "1 {a=1} true {a=1}",
		"#foreach($e in $m.entrySet())$e $e.nope#end $util.toJson($m.entrySet())":                                               `k=1 $e.nope [{"k":1}]`,
		"$t.valueOf('true') $t.compareTo(true) $t.parseBoolean('x')":                                                            "true 0 false",
		"$s.format('%S|%c|%c|%b|%+d|%e|%X|%n|%8.3f|%08.2f|%-4d|%s', 'x', 65, 'y', true, 5, 12345.678, 255, 1.5, -1.5, 3, null)": "X|A|y|true|+5|1.234568e+04|FF|\n|   1.500|-0001.50|3   |null",
	} {
		if got := render(t, text, vars); got != want {
			t.Errorf("%s\n is %q\nwant %q", text, got, want)
		}
	}
}
