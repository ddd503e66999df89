package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// around is what every template of the tests finds beside itself.
const around = `
-- fn/index.js --
exports.handler = async () => ({statusCode: 200})
-- py/app.py --
def handler(event, context): pass
-- gofn/go.mod --
module fn
-- inner.yaml --
Resources:
  T: {Type: AWS::SNS::Topic}
Outputs:
  Name: {Value: !GetAtt T.TopicName}
`

func unpack(t *testing.T, dir string, a *txtar.Archive) {
	t.Helper()
	for _, f := range a.Files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMalformedTemplates(t *testing.T) {
	a, err := txtar.ParseFile("testdata/malformed.txtar")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for i := 0; i+1 < len(a.Files); i += 2 {
		file, want := a.Files[i], a.Files[i+1]
		name, ext := strings.TrimSuffix(file.Name, filepath.Ext(file.Name)), filepath.Ext(file.Name)
		if want.Name != name+".want" {
			t.Fatalf("%s is followed by %s", file.Name, want.Name)
		}
		cases++
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, dir, txtar.Parse([]byte(around)))
			path := filepath.Join(dir, "template"+ext)
			if err := os.WriteFile(path, file.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			r, err := Load(context.Background(), Options{Path: dir, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			left := map[string]bool{}
			var errors []Finding
			for _, f := range r.Findings {
				screen(t, f)
				if f.Severity == Error {
					errors = append(errors, f)
				}
			}
			for line := range strings.Lines(string(want.Data)) {
				left[strings.TrimSpace(line)] = true
			}
			for _, f := range errors {
				if w := match(left, f); w != "" {
					delete(left, w)
				} else {
					t.Errorf("unexpected: %s", f)
				}
			}
			for w := range left {
				t.Errorf("missing: %s", w)
			}
			if !r.Failed() {
				t.Error("the result does not count as failed")
			}
		})
	}
	if cases < 50 {
		t.Errorf("only %d malformed templates", cases)
	}
}

func match(left map[string]bool, f Finding) string {
	for w := range left {
		at, rest, _ := strings.Cut(w, " ")
		code, fragment, _ := strings.Cut(rest, " ")
		if at == fmt.Sprint(f.Pos.Line) && code == f.Code && strings.Contains(f.Message, fragment) && strings.HasPrefix(f.Pos.File, "template.") {
			return w
		}
	}
	return ""
}

// screen checks what every finding promises: a place, a code, and few lines.
func screen(t *testing.T, f Finding) {
	t.Helper()
	if f.Pos.Line == 0 || f.Pos.File == "" || f.Code == "" || f.Message == "" {
		t.Errorf("incomplete finding: %+v", f)
	}
	if s := f.String(); strings.Count(s, "\n") > 10 || len(s) > 1600 {
		t.Errorf("does not fit on a screen: %s", s)
	}
}
