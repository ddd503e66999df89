package selection

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/livegate/livegate/internal/fault"
)

// golden is one case of a txtar file.
type golden struct {
	name, expr, want string
	unevaluable      bool
	absent           bool
	err              string
	vars             Vars
}

func load(t *testing.T, file string) []golden {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	var out []golden
	for _, f := range a.Files {
		g := golden{name: f.Name}
		headers, query, context := map[string][]string{}, map[string][]string{}, map[string]string{}
		g.vars.StageVariables = map[string]string{}
		for line := range strings.Lines(string(f.Data)) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			k, v, _ := strings.Cut(value, "=")
			switch key {
			case "expr":
				g.expr = value
			case "body":
				g.vars.Body = []byte(value)
			case "header":
				headers[strings.ToLower(k)] = append(headers[strings.ToLower(k)], v)
			case "query":
				query[k] = append(query[k], v)
			case "context":
				context[k] = v
			case "stage":
				g.vars.StageVariables[k] = v
			case "status":
				g.vars.Response = &Response{Status: value}
			case "want":
				if g.want, err = strconv.Unquote(value); err != nil {
					t.Fatalf("%s: want %s: %v", f.Name, value, err)
				}
			case "want not evaluable":
				g.unevaluable = true
			case "want absent":
				g.absent = true
			case "want error":
				g.err = value
			default:
				t.Fatalf("%s: unknown line %q", f.Name, line)
			}
		}
		g.vars.Header = func(name string) []string { return headers[strings.ToLower(name)] }
		g.vars.Query = func(name string) []string { return query[name] }
		g.vars.Context = func(path string) (string, bool) { v, ok := context[path]; return v, ok }
		out = append(out, g)
	}
	return out
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || !fault.Is(err, fault.BadRequest) {
		t.Fatalf("error %v, want a BadRequest with %q", err, want)
	}
}

func TestSelect(t *testing.T) {
	for _, g := range load(t, "select.txtar") {
		t.Run(g.name, func(t *testing.T) {
			e, err := Compile(g.expr)
			if g.err != "" {
				checkError(t, err, g.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, ok := e.Eval(&g.vars)
			if ok == g.unevaluable || (ok && got != g.want) {
				t.Fatalf("%s = %q, %v; want %q, evaluable %v", g.expr, got, ok, g.want, !g.unevaluable)
			}
		})
	}
}

func TestMap(t *testing.T) {
	for _, g := range load(t, "map.txtar") {
		t.Run(g.name, func(t *testing.T) {
			m, err := CompileMapping(g.expr)
			if g.err != "" {
				checkError(t, err, g.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, found := m.Value(&g.vars)
			if found == g.absent || (found && got != g.want) {
				t.Fatalf("%s = %q, %v; want %q, there %v", g.expr, got, found, g.want, !g.absent)
			}
		})
	}
}

func TestKeysMatchLiteralThenRegexThenDefault(t *testing.T) {
	k, err := CompileKeys([]string{`/2\d\d/`, "200", `\$default`, "/.*Invalid.*/", "/4/"})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]int{
		"200": 1, "201": 0, "2011": 2, "x Invalid y": 3,
		"404":          2, // a regex must match the whole value
		"x Invalid\ny": 2, // and "." no line break: the guide writes (.|\n)+
	} {
		if got, ok := k.Match(value); !ok || got != want {
			t.Errorf("Match(%q) = %d, %v; want %d", value, got, ok, want)
		}
	}
	k, err = CompileKeys([]string{"200"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := k.Match("500"); ok {
		t.Error("500 matched without a $default key")
	}
	for _, key := range []string{"/(/", ""} {
		if _, err := CompileKeys([]string{key}); !fault.Is(err, fault.BadRequest) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// A body of brackets is not JSON to us long before it can exhaust a stack.
func TestDeepBodyIsNotEvaluable(t *testing.T) {
	e, err := Compile("$request.body.a")
	if err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat("[", 60_000) + strings.Repeat("]", 60_000)
	if _, ok := e.Eval(&Vars{Body: []byte(deep)}); ok {
		t.Fatal("60 000 nested arrays were evaluated")
	}
	sane := `{"a":"` + strings.Repeat("[", 5000) + `"}`
	if got, ok := e.Eval(&Vars{Body: []byte(sane)}); !ok || len(got) != 5000 {
		t.Fatalf("brackets inside a string counted as nesting: %d, %v", len(got), ok)
	}
}

// Deep values print in one pass over their text: 200 brackets around a list must not
// make it 200 times dearer. The best of several runs of both, in turn, keeps other
// load on the machine out of the ratio.
func TestDeepValuesPrintInOnePass(t *testing.T) {
	e, err := Compile("$request.body.a")
	if err != nil {
		t.Fatal(err)
	}
	list := "[" + strings.Repeat("1,", 60_000) + "null]"
	best := func(depth int, least time.Duration) time.Duration {
		vars := &Vars{Body: []byte(`{"a":` + strings.Repeat("[", depth) + list + strings.Repeat("]", depth) + "}")}
		began := time.Now()
		if got, ok := e.Eval(vars); !ok || len(got) != 2*depth+len(list)+60_000 {
			t.Fatalf("%d bytes, %v", len(got), ok)
		}
		return min(least, time.Since(began))
	}
	flat, deep := time.Hour, time.Hour
	for range 20 {
		flat, deep = best(0, flat), best(200, deep)
	}
	if deep > 10*flat {
		t.Errorf("%v flat, %v deep", flat, deep)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	e, err := Compile("$request.body.action")
	if err != nil {
		t.Fatal(err)
	}
	vars := &Vars{Body: []byte(`{"action":"sendMessage","data":{"text":"hello","n":[1,2,3]}}`)}
	buf := make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { buf, _ = e.Append(buf[:0], vars) }); n > 0 {
		t.Fatalf("%v allocations per selection", n)
	}
}

// The walk over the text agrees with encoding/json about what a key holds.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{`{"a":{"b":"x"}}`, `{"a":{"b":1,"b":2}}`, `{"a":[1,{"b":null}]}`, `{"a":{"\u0062":"\ud83d\ude00"}}`, ` { "a" : { "b" : true } } `, `{"a":{"b":"\ud800"}}`} {
		f.Add([]byte(s))
	}
	e, err := Compile("$request.body.a.b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := e.Eval(&Vars{Body: body})
		var doc any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber() // 2E2200 is JSON, and no float64
		if ok != json.Valid(body) && !tooDeep(body) || ok && dec.Decode(&doc) != nil {
			t.Fatalf("%q: evaluable %v, encoding/json disagrees", body, ok)
		}
		m, _ := doc.(map[string]any)
		inner, _ := m["a"].(map[string]any)
		if want, isString := inner["b"].(string); ok && isString && string([]rune(got)) != want && len(m) == 1 {
			t.Fatalf("%q: %q, encoding/json says %q", body, got, want)
		}
	})
}

func TestAppendFit(t *testing.T) {
	e, err := Compile("news/${request.body.ch}/$context.who")
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Example("x"); got != "news/x/x" {
		t.Errorf("example %q", got)
	}
	who := func(string) (string, bool) { return "me", true }
	short := func(value []byte) bool { return len(value) < 3 }
	for _, v := range []struct {
		body    string
		context func(string) (string, bool)
		bad     string
	}{
		{`{"ch":"a"}`, who, ""},
		{`{"ch":"abc"}`, who, "request.body.ch"},
		{`{}`, who, "request.body.ch"},
		{`no JSON`, who, "request.body"},
		{`{"ch":"a"}`, nil, "context.who"},
	} {
		got, bad := e.AppendFit(nil, &Vars{Body: []byte(v.body), Context: v.context}, short)
		if bad != v.bad || bad == "" && string(got) != "news/a/me" {
			t.Errorf("%s: %q, bad %q, want %q", v.body, got, bad, v.bad)
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"$request.body.a", "${request.body.a[0]['x']}-\\$", "${request.body..a[?(@.x>1)]}", "$context.a$stageVariables.b"} {
		f.Add(s, []byte(`{"a":[1]}`))
	}
	f.Fuzz(func(t *testing.T, expr string, body []byte) {
		if e, err := Compile(expr); err == nil {
			e.Eval(&Vars{Body: body})
		}
		if m, err := CompileMapping(expr); err == nil {
			m.Value(&Vars{Body: body})
		}
		if p, err := CompilePath(expr); err == nil && ValidJSON(body) {
			if out, found := p.Append(nil, body); found && !json.Valid(out) {
				t.Fatalf("%q of %q is %q, no JSON", expr, body, out)
			}
		}
	})
}

func BenchmarkRouteKey(b *testing.B) {
	e, err := Compile("$request.body.action")
	if err != nil {
		b.Fatal(err)
	}
	vars := &Vars{Body: []byte(`{"action":"sendMessage","data":"` + strings.Repeat("x", 100) + `"}`)}
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = e.Append(buf[:0], vars)
	}
}
