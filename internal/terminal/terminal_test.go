package terminal

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "rewrite testdata/*.txtar from what the code does now")

// golden compares sections of a txtar file with what render makes for each of its
// file names.
func golden(t *testing.T, file string, render func(name string) string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range archive.Files {
		got := visible(render(f.Name))
		if *update {
			archive.Files[i].Data = []byte(got)
		} else if got != string(f.Data) {
			t.Errorf("%s: %s\ngot:\n%s\nwant:\n%s", file, f.Name, got, f.Data)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// visible shows escape sequences, so that golden files are plain text.
func visible(s string) string { return strings.ReplaceAll(s, "\x1b", "␛") }

func at(ms int) time.Time {
	return time.Date(2026, 11, 22, 12, 4, 5, ms*int(time.Millisecond), time.UTC)
}

func entries() []Entry {
	return []Entry{
		{At: at(1), Level: "info", Source: "gateway", Text: "listening"},
		{At: at(23), Level: "info", Source: "SendMessageFunction", RequestID: "1f2e3d4c-5b6a-7980-aabb-ccddeeff0011", Text: "posting to R0oXAdfD0kwCH6w=\n", Stream: "stdout"},
		{At: at(124), Level: "error", Source: "SendMessageFunction", RequestID: "1f2e3d4c-5b6a-7980-aabb-ccddeeff0011",
			Text: "TypeError: Cannot read properties of undefined\n    at handler (/app/app.js:3:1)\n    at async run (/app/b.js:9:2)", Stream: "stderr"},
		{At: at(200), Level: "error", Source: "py", RequestID: "R0oXAdfD0kwCH6w=", Text: "Traceback (most recent call last):\n  File \"/app/x.py\", line 3, in handler\n    raise KeyError('a')\nKeyError: 'a'"},
		{At: at(300), Level: "warn", Source: "livegate", Text: "nodejs18.x runs on node 20.20.2"},
		{At: at(400), Level: "error", Source: "livegate", Text: "the template was not applied\ntemplate.yaml:3: no"},
		{At: at(500), Level: "info", Source: "a-function-with-a-name-longer-than-the-column", Text: "cut"},
		{At: at(600), Level: "info", Source: "evil\x1b[2J\nname", RequestID: "\x1b[31mabc", Text: "\x1b]0;title\x07\x1b[2Jcleared? \x1b[32mgreen\x1b[0m back\bspace \u202eright-to-left", Stream: "stdout"},
	}
}

func TestLogLines(t *testing.T) {
	golden(t, "log.txtar", func(name string) string {
		l := Log{Look: Look{Color: name == "color"}, Local: time.UTC}
		l.Reserve("SendMessageFunction")
		var b strings.Builder
		for _, e := range entries() {
			b.WriteString(l.Line(e))
		}
		return b.String()
	})
}

func functionsTable() Table {
	return Table{Indent: 2, Head: []string{"name", "runtime", "runs on"}, Rows: [][]string{
		{"simple-websockets-chat-OnConnectFunction-1A2B3C4D5E6F", "nodejs18.x", "node 20.20.2"},
		{"short", "python3.12", "python 3.11.7, the nearest one that is installed on this machine"},
		{"日本語の関数", "go", "go 1.26"},
		{"ctrl\x1b[31m\tx", "", ""},
	}}
}

func TestTables(t *testing.T) {
	golden(t, "table.txtar", func(name string) string {
		switch name {
		case "80 columns":
			return functionsTable().Render(Look{Columns: 80})
		case "40 columns":
			return functionsTable().Render(Look{Columns: 40})
		case "urls are never cut":
			return Table{Indent: 2, Keep: []int{1}, Paints: []Paint{Plain, Cyan}, Rows: [][]string{
				{"Prod", "ws://localhost:3001/Prod"},
				{"", "https://k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com/Prod/@connections/{connectionId}"},
			}}.Render(Look{Columns: 40, Color: true})
		}
		return "no case " + name
	})
}

// Whatever is in a table, no line of it is wider than the terminal while the
// columns can give way.
func TestTablesFit(t *testing.T) {
	for columns := 32; columns <= 120; columns++ {
		for line := range strings.Lines(functionsTable().Render(Look{Columns: columns})) {
			if w := columns - width(strings.TrimRight(line, "\n")); w < 0 {
				t.Fatalf("%d columns: %q is %d too wide", columns, line, -w)
			}
		}
	}
}

func width(s string) int { return columns(s) }

func TestProblems(t *testing.T) {
	golden(t, "problem.txtar", func(name string) string {
		look := Look{Columns: 80, Color: name == "color"}
		p := Problem{Severity: "error", Message: `CodeUri "src" does not exist`, File: "template.yaml", Line: 12, Col: 16,
			Source: "      CodeUri: src", Hint: "create the directory, or correct CodeUri", Code: "missing-code", Resource: "OnConnect"}
		switch name {
		case "plain", "color":
		case "no place":
			p = Problem{Severity: "warning", Message: "nothing is deployed"}
		case "long":
			p.Message = strings.Repeat("a rather long explanation of what went wrong ", 4) + "end"
			p.Source, p.Col = "  X: "+strings.Repeat("abcdefghi ", 30), 200
			p.Hint = strings.Repeat("do this and then that ", 6)
		case "no column":
			p.Col, p.Resource = 0, ""
		case "hostile":
			p = Problem{Severity: "error", Message: "unknown key \x1b[2J", File: "t.yaml", Line: 1, Col: 3, Source: "\x1b]0;x\x07a\u202eb"}
		}
		return p.Render(look)
	})
}

func TestJSONKeepsEveryCharacter(t *testing.T) {
	look := Look{Color: true}
	for _, s := range []string{`{"a":1,"b":[true,null,-1.5e+3],"c":{"d":"x\"y\\"}}`, ` [ ] `, `"s"`, `12`, "{\n  \"k\" : \"v\"\n}"} {
		got := look.JSON(s)
		if strip(got) != s {
			t.Errorf("%q became %q", s, strip(got))
		}
		if !strings.Contains(got, "\x1b[") && strings.ContainsAny(s, `"1`) {
			t.Errorf("%q has no colour", s)
		}
	}
	if got := look.JSON(`{"k":"v"}`); got != `{`+look.Paint(Blue, `"k"`)+`:`+look.Paint(Green, `"v"`)+`}` {
		t.Errorf("%q", got)
	}
	if got := look.JSON(`{"broken"`); got != `{"broken"` {
		t.Errorf("not JSON, and still changed: %q", got)
	}
	if got := (Look{}).JSON(`{"a":1}`); got != `{"a":1}` {
		t.Errorf("plain output: %q", got)
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1 ms", 9 * time.Millisecond: "9 ms", 40 * time.Millisecond: "0.1 s",
		1234 * time.Millisecond: "1.2 s", 42 * time.Second: "42 s", 72 * time.Second: "1 min 12 s"} {
		if got := Took(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestDetectIsPlainForPipesAndFiles(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if got := Detect(w, func(string) string { return "" }); got != (Look{}) {
		t.Errorf("a pipe looks like %+v", got)
	}
	if got := Detect(&strings.Builder{}, os.Getenv); got != (Look{}) {
		t.Errorf("a buffer looks like %+v", got)
	}
}

// Nothing from outside can leave an escape sequence on a plain output, or anything
// but a colour on a coloured one.
func FuzzClean(f *testing.F) {
	for _, e := range entries() {
		f.Add(e.Text)
	}
	f.Add("\x1b[38;5;1mred\x1b[")
	f.Add("\x1b[?25l\x9b2J\r\nok\rx\x1bP1;2q\x1b\\")
	f.Fuzz(func(t *testing.T, s string) {
		if got := (Look{}).Clean(s); strings.ContainsAny(got, "\x1b\x07\x00\r\x7f\u009b") || !utf8.ValidString(got) {
			t.Errorf("plain: %q became %q", s, got)
		}
		got := (Look{Color: true}).Clean(s)
		for i := 0; i < len(got); {
			if got[i] != 0x1b {
				i++
				continue
			}
			n, sgr := sequence(got[i:])
			if !sgr {
				t.Fatalf("%q became %q: %q is not a colour", s, got, got[i:i+n])
			}
			i += n
		}
	})
}
