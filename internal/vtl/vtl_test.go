package vtl

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

// render compiles and executes with the default limits.
func render(t *testing.T, text, vars string) string {
	t.Helper()
	tmpl, err := Compile("t", text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := tmpl.Execute(nil, variables(t, vars), Limits{})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return string(out)
}

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		line int
		col  int
		msg  string
	}{
		{"#if(true)", 1, 1, "#if has no #end"},
		{"a\n  #foreach($i in $l)\nx", 2, 3, "#foreach has no #end"},
		{"#macro(m)x", 1, 1, "#macro has no #end"},
		{"#define($d)x", 1, 1, "#define has no #end"},
		{"#if(true)a#else b", 1, 1, "#else has no #end"},
		{"#if(true)a#else b#else c#end", 1, 18, "#else does not belong in #else"},
		{"x #end", 1, 3, "#end closes nothing"},
		{"x\n#else", 2, 1, "#else without #if"},
		{"#foreach($i in $l)#else#end", 1, 19, "#else does not belong in #foreach"},
		{"#if true)", 1, 5, `"(" after #if`},
		{"#if()x#end", 1, 5, "a value"},
		{"#if($a x)y#end", 1, 8, `")"`},
		{"#if($a = 1)y#end", 1, 8, `")"`},
		{"#if($a == )y#end", 1, 11, "a value"},
		{"#if(($a)y#end", 1, 9, `")"`},
		{"#if($a -1)y#end", 1, 8, `")"`},
		{"#set(x = 1)", 1, 6, "a reference"},
		{"#set($x)", 1, 8, `"="`},
		{"#set($x == 1)", 1, 9, `"="`},
		{"#set($x = )", 1, 11, "a value"},
		{"#set($x = null)", 1, 11, "a value"},
		{"#set($x = 1", 1, 12, "ends where"},
		{"#set($x.y() = 1)", 1, 6, "cannot be assigned to"},
		{"#set($x = [1,2)", 1, 15, `"," or "]"`},
		{"#set($x = [1,])", 1, 14, "after the comma"},
		{"#set($x = {\"a\" 1})", 1, 16, `":"`},
		{"#set($x = {\"a\":1 \"b\":2})", 1, 18, `"," or "}"`},
		{"#set($x = {\"a\":1,})", 1, 18, "a key"},
		{"#set($x = [1..\"a\"])", 1, 15, "bounds of a range"},
		{"#set($x = \"abc)", 1, 11, "no closing \""},
		{"é\n\n  $a.b('abc)", 3, 8, "no closing '"},
		{"#set($x = \"a\n$b.c(1+2)\")", 2, 7, "#set first"},
		{"#foreach(i in $l)#end", 1, 10, "the loop variable"},
		{"#foreach($i.x in $l)#end", 1, 10, "plain name"},
		{"#foreach($i $l)#end", 1, 13, `"in"`},
		{"#foreach($i in)#end", 1, 15, "a list"},
		{"#macro($x)#end", 1, 8, "the macro's name"},
		{"#macro(m $a $a)#end", 1, 13, "name of its own"},
		{"#macro(m $a.b)#end", 1, 10, "name of its own"},
		{"#define(x)#end", 1, 9, "a plain reference"},
		{"#evaluate()", 1, 11, "a template text"},
		{"#foo($a", 1, 8, "an argument"},
		{"#foo($a > 1)", 1, 9, "an argument"},
		{"${a", 1, 4, `"}" of ${a`},
		{"x ${a b}", 1, 6, `"}" of ${a`},
		{"$a[x]", 1, 4, "an index"},
		{"$a[1", 1, 5, `"]"`},
		{"$a[1.5]", 1, 4, "no index"},
		{"$a[[1]]", 1, 4, "an index"},
		{"$a.b(1+2)", 1, 7, "#set first"},
		{"$a.b(1", 1, 7, "#set first"},
		{"$a.b(,)", 1, 6, "an argument"},
		{"a\n #[[x", 2, 2, `no "]]#"`},
		{"a #", 1, 3, `ends in "#"`},
		{"a $", 1, 3, `ends in "$"`},
		{"#break($x)", 1, 1, "#break takes"},
		{"#parse('x')", 1, 1, "#parse is not available"},
		{"\r\n#include('x')", 2, 1, "#include is not available"},
		{strings.Repeat("#if(true)", 101), 1, 0, "nested more than 100"},
		{"#set($x = " + strings.Repeat("(", 200), 1, 0, "nested more than 100"},
		{"#set($x = " + strings.Repeat("[", 200), 1, 0, "nested more than 100"},
		{"#set($x = " + strings.Repeat("!", 200) + "true)", 1, 0, "nested more than 100"},
		{"#set($x = 1" + strings.Repeat(" + 1", 200) + ")", 1, 0, "more than 100 operators"},
		{strings.Repeat("$a.b(", 200), 1, 0, "nested more than 100"},
	} {
		_, err := Compile("t", c.text)
		var e *SyntaxError
		if !errors.As(err, &e) {
			t.Errorf("%.60q compiles: %v", c.text, err)
			continue
		}
		if c.col != 0 && (e.Line != c.line || e.Col != c.col) || !strings.Contains(e.Msg, c.msg) {
			t.Errorf("%.60q: %v, want %d:%d %s", c.text, err, c.line, c.col, c.msg)
		}
		if want := fmt.Sprintf("t:%d:%d: ", e.Line, e.Col); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %q does not begin with %q", c.text, err, want)
		}
		kind := fault.BadRequest
		if strings.HasPrefix(strings.TrimSpace(c.text), "#parse") || strings.Contains(c.text, "#include") || strings.HasPrefix(c.text, "#break") {
			kind = fault.Unsupported
		}
		if fault.KindOf(err) != kind {
			t.Errorf("%.60q: kind %v, want %v", c.text, fault.KindOf(err), kind)
		}
	}
}

// What Java answers with an exception ends the template, with the place.
func TestRunErrors(t *testing.T) {
	const vars = `{"s":"str","l":[1,2,3],"a":1,"m":{}}`
	for _, c := range []struct {
		text, place, msg string
	}{
		{"$l[9]", "1:3", "index 9 is out of bounds of a list of 3"},
		{"x\n $!l[9]", "2:5", "out of bounds"},
		{"$l.get(3)", "1:3", "IndexOutOfBoundsException"},
		{"$l.get(-1)", "1:3", "IndexOutOfBoundsException"},
		{"#set($l[7] = 1)", "1:8", "out of bounds"},
		{"$l.set(3, 1)", "1:3", "IndexOutOfBoundsException"},
		{"$l.add(9, 1)", "1:3", "IndexOutOfBoundsException"},
		{"$l.remove(3)", "1:3", "IndexOutOfBoundsException"},
		{"$l.subList(2, 1)", "1:3", "IndexOutOfBoundsException"},
		{"$s.substring(4)", "1:3", "StringIndexOutOfBoundsException"},
		{"$s.substring(2, 1)", "1:3", "StringIndexOutOfBoundsException"},
		{"$s.charAt(3)", "1:3", "StringIndexOutOfBoundsException"},
		{"$s.codePointAt(3)", "1:3", "StringIndexOutOfBoundsException"},
		{"$a.parseInt('x')", "1:3", "NumberFormatException"},
		{"$a.parseInt('3000000000')", "1:3", "NumberFormatException"},
		{"$a.parseDouble('1_0')", "1:3", "NumberFormatException"},
		{"$s.replaceAll('(', '')", "1:3", "PatternSyntaxException"},
		{"$s.replaceAll('{', '')", "1:3", "PatternSyntaxException"},
		{"$s.replaceAll('t', '$9')", "1:3", "without a group"},
		{`$s.replaceAll('t', '\')`, "1:3", "ends in a backslash"},
		{"$s.format('%d', 'x')", "1:3", "IllegalFormatConversionException"},
		{"$s.format('%d')", "1:3", "MissingFormatArgumentException"},
		{"$s.format('%q', 1)", "1:3", "UnknownFormatConversionException"},
		{"$s.format('%1000000000d', 1)", "1:3", "a width of more than 1000"},
		{"#foreach($i in $l)$l.add(1)#end", "1:1", "changed meanwhile"},
		{"#foreach($i in [1])#foreach($j in $l)#set($k = $l.add($j))#end#end", "1:20", "changed meanwhile"},
		{"#set($m.a = 1)#set($m.b = 2)#foreach($v in $m)#set($m.c = 3)#end", "1:29", "changed meanwhile"},
		{"#set($m.a = 1)#set($m.b = 2)#foreach($k in $m.keySet())$m.remove($k)#end", "1:29", "changed meanwhile"},
		{"#evaluate('$a #if(')", "1:7", "a value"},
		{"#set($x = \"one\n$l[9]\")", "2:3", "out of bounds"},
	} {
		tmpl, err := Compile("t", c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		out, err := tmpl.Execute([]byte("dst"), variables(t, vars), Limits{})
		var e *RunError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if string(out) != "dst" {
			t.Errorf("%q: dst became %q", c.text, out)
		}
		if got := fmt.Sprintf("%d:%d", e.Line, e.Col); !strings.Contains(err.Error(), c.msg) || got != c.place && !strings.HasPrefix(c.text, "#evaluate") {
			t.Errorf("%q: %v, want %s %s", c.text, err, c.place, c.msg)
		}
		if k := fault.KindOf(err); k != fault.Upstream && !strings.HasPrefix(c.text, "#evaluate") {
			t.Errorf("%q: kind %v", c.text, k)
		}
	}
}

// Each of these would run forever, or take all memory, without its bound.
func TestLimits(t *testing.T) {
	double := strings.Repeat("#set($x = \"$x$x\")", 60)
	nest := "#set($x = [1])" + strings.Repeat("#set($x = [$x,$x])", 60)
	for name, c := range map[string]struct {
		text   string
		limits Limits
		msg    string
	}{
		"steps":             {"#foreach($i in [1..900])#foreach($j in [1..900])#foreach($k in [1..900])#end#end#end", Limits{}, "1000000 steps"},
		"own steps":         {"$a$a$a$a", Limits{Steps: 3}, "3 steps"},
		"rounds":            {"#foreach($i in [1..1001])x#end", Limits{}, "1000 rounds"},
		"output":            {"0123456789", Limits{Output: 9}, "9 bytes"},
		"output of a value": {"#foreach($i in [1..1000])$s#end", Limits{Output: 500}, "500 bytes"},
		"doubling text":     {"#set($x = 'aaaaaaaaaa')" + double, Limits{Output: 1 << 20}, "more than"},
		"doubling lists":    {nest + "$x", Limits{Output: 1 << 20}, "output is more than"},
		"comparing lists":   {nest + "#set($y = $x)#set($x = [1])" + strings.Repeat("#set($x = [$x,$x])", 60) + "#if($x == $y)#end", Limits{Steps: 100_000}, "steps"},
		"list in itself":    {"#set($x = [])$x.add($x)$x", Limits{}, "contains itself"},
		"map in itself":     {"#set($x = {})$!x.put('a',$x)$x", Limits{}, "contains itself"},
		"equal to itself":   {"#set($x = [])#set($y = [])$x.add($x)$y.add($y)$x.equals($y)", Limits{}, "512 deep"},
		"range":             {"#set($x = [1..9000000000000000000])", Limits{}, "builds more than"},
		"range of it all":   {"#set($x = [-9223372036854775808..9223372036854775807])", Limits{}, "builds more than"},
		"macro in itself":   {"#macro(m)#m()#end#m()", Limits{}, "20 deep, here #m"},
		"argument depth":    {"#macro(m $p)$p#end#macro(n $p)#m($p)#end#n($s)", Limits{Depth: 2}, "2 deep"},
		"evaluate":          {"#set($e = '#evaluate($e)')#evaluate($e)", Limits{}, "64 deep"},
		"squares":           {"#set($x = 9)#foreach($i in [1..40])#set($x = $x * $x)#end", Limits{}, "4096 digits"},
		"replace":           {"#set($x = 'aaaaaaaaaaaaaaaa')#foreach($i in [1..20])#set($x = $x.replace('a', 'aaaaaaaaaaaaaaaa'))#end", Limits{}, "builds more than"},
		"replaceAll":        {"#set($x = 'aaaaaaaaaaaaaaaa')#foreach($i in [1..20])#set($x = $x.replaceAll('.', '$0$0$0$0$0$0$0$0'))#end", Limits{Data: 4 << 20}, "builds more than"},
		"repeat":            {"#set($x = $s.repeat(9000000000000000000))", Limits{}, "builds more than"},
		"grow":              {"#foreach($i in [1..1000])#foreach($j in [1..900])$l.add($l.toString())#end#end", Limits{}, "than"},
		"scan":              {"#set($x = $s.repeat(1000000))#foreach($i in [1..1000])#if($x.contains('zz'))#end#end", Limits{}, "steps"},
		"pattern":           {"#set($x = $s.repeat(100000))#foreach($i in [1..1000])$x.matches('(a|b|c|s)*x')#end", Limits{Steps: 200_000}, "steps"},
		"long pattern":      {"$s.matches($s.repeat(1000).concat('.'))", Limits{}, "regular expression has"},
		"repeated pattern":  {"$s.matches('((a{9}){9}){9}.{1000}(b{99}|.{99}){99}')", Limits{}, "multiplies to more"},
		"slow pattern":      {"#set($x = $s.repeat(20000))#foreach($i in [1..1000])$x.matches('(.{500})+x')#end", Limits{Steps: 200_000}, "steps"},
		"comparing numbers": {"#set($x = 9)#foreach($i in [1..11])#set($x = $x * $x)#end#foreach($i in [1..1000])#foreach($j in [1..1000])#if($x < 1)#end#end#end", Limits{Steps: 100_000}, "steps"},
		"long evaluate":     {"#evaluate($s.repeat(200000))", Limits{}, "#evaluate is given"},
		"own data":          {"#set($x = 'abcdefgh' + 'ijklmnop')", Limits{Data: 15}, "15 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := Compile("t", c.text)
			if err != nil {
				t.Fatal(err)
			}
			out, err := tmpl.Execute(nil, variables(t, `{"a":1,"s":"str","l":[1]}`), c.limits)
			if !fault.Is(err, fault.TooLarge) || !strings.Contains(err.Error(), c.msg) {
				t.Fatalf("%d bytes, %v; want TooLarge: %s", len(out), err, c.msg)
			}
		})
	}
}

func TestNoReflection(t *testing.T) {
	const vars = `{"s":"str","l":[1],"m":{"class":"mine"},"a":1}`
	for text, want := range map[string]string{
		"$s.class":                     "$s.class",
		"$s.getClass()":                "$s.getClass()",
		"$s.class.forName('x')":        "$s.class.forName('x')",
		"$l.class.name $!l.getClass()": "$l.class.name ",
		"$m.class":                     "mine",
		"$util.class $util.getClass()": "$util.class $util.getClass()",
		"$foreach.class":               "$foreach.class",
		"$s.getBytes() $s.wait()":      "$s.getBytes() $s.wait()",
	} {
		if got := render(t, text, vars); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

func TestReturn(t *testing.T) {
	for text, want := range map[string]struct {
		out      string
		returned bool
		value    string
	}{
		"a#return b":                          {"a", true, "null"},
		"a#return()b":                         {"a", true, "null"},
		"#return($x.y)":                       {"", true, "2"},
		"#return( {\"a\": $x, \"b\": [1]} )z": {"", true, `{"a":{"y":2},"b":[1]}`},
		"#return($x.y == 2)":                  {"", true, "true"},
		"#foreach($i in [1..3])$i#if($i == 2)#return($i)#end#end": {"12", true, "2"},
		"#macro(m)#return('m')#end#m()rest":                       {"", true, `"m"`},
		"#set($s = \"a#return(1)\")b":                             {"", true, "1"},
		"a#stop b":                                                {"a", false, "null"},
		"\\#return":                                               {"#return", false, "null"},
	} {
		tmpl, err := AppSync.Compile("t", text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		r, err := tmpl.Run(nil, variables(t, `{"x":{"y":2}}`), Limits{})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		value, err := AppendJSON(nil, r.Value)
		if err != nil || string(r.Output) != want.out || r.Returned != want.returned || string(value) != want.value {
			t.Errorf("%s: %q %v %s %v, want %v", text, r.Output, r.Returned, value, err, want)
		}
	}
	if got := render(t, "#return x", `{}`); got != "#return x" {
		t.Errorf("API Gateway has no #return, yet it printed %q", got)
	}
}

// An object's error ends the template and stays recognisable: $util.error of
// AppSync is one.
func TestObjectErrors(t *testing.T) {
	tmpl, err := Compile("t", "a\n  $o.fail(1)")
	if err != nil {
		t.Fatal(err)
	}
	mine := errors.New("mine")
	_, err = tmpl.Execute(nil, map[string]any{"o": failing{mine}}, Limits{})
	var e *RunError
	if !errors.Is(err, mine) || !errors.As(err, &e) || e.Line != 2 || e.Col != 5 {
		t.Fatalf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Get(string) (any, bool)          { return nil, false }
func (f failing) Call(string, []any) (any, error) { return nil, f.err }

// An object may be of a type that Go cannot compare.
func TestUncomparableObject(t *testing.T) {
	tmpl, err := Compile("t", "#if($o == $o)y#{else}n#end $l.contains($o)")
	if err != nil {
		t.Fatal(err)
	}
	out, err := tmpl.Execute(nil, map[string]any{"o": bag{"a": 1}, "l": NewList(bag{}, int64(1))}, Limits{})
	if err != nil || string(out) != "n false" {
		t.Fatalf("%q %v", out, err)
	}
}

type bag map[string]int

func (bag) Get(string) (any, bool)          { return nil, false }
func (bag) Call(string, []any) (any, error) { return nil, ErrNoMethod }

func TestVariablesStayTheCallers(t *testing.T) {
	vars := map[string]any{"a": 1, "m": NewMap()}
	tmpl, err := Compile("t", "#set($a = $a + 1)#set($b = 3)#foreach($m in [1])#end#set($m.k = $a)$a")
	if err != nil {
		t.Fatal(err)
	}
	out, err := tmpl.Execute(nil, vars, Limits{})
	if err != nil || string(out) != "2" {
		t.Fatalf("%q %v", out, err)
	}
	if len(vars) != 2 || vars["a"] != 1 {
		t.Fatalf("the caller's map became %v", vars)
	}
	if v, _ := vars["m"].(*Map).Get("k"); v != int64(2) {
		t.Fatalf("a map reachable from the variables is the template's to change, got %v", v)
	}
}

func TestOneTemplateManyGoroutines(t *testing.T) {
	tmpl, err := Compile("t", `#macro(m $p)[$p]#end#define($d)<$a>#end#set($x = {"k": $a})#foreach($i in [1..20])#m($i)#end$d$x.k "$a".replaceAll("(.)","$1")`)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for range 50 {
				out, err := tmpl.Execute(nil, map[string]any{"a": g}, Limits{})
				if want := fmt.Sprintf("<%d>%d", g, g); err != nil || !strings.Contains(string(out), want) {
					t.Errorf("%q %v", out, err)
				}
			}
		})
	}
	wg.Wait()
}
