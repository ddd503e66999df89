package cfn

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite the want files of testdata")

func binding(params string, files map[string]string) Binding {
	b := Binding{StackName: "demo", StackID: "arn:aws:cloudformation:eu-west-1:111122223333:stack/demo/1", Region: "eu-west-1",
		AccountID: "111122223333", Partition: "aws", URLSuffix: "amazonaws.com", NotificationARNs: []string{"arn:aws:sns:::n"},
		Parameters: map[string]*Node{}, SSM: map[string]string{"/app/mode": "fast", "/app/zones": "a, b"}, Imports: map[string]string{"shared-vpc": "vpc-1"},
		Read: func(path string) (string, []byte, error) {
			if text, ok := files[path]; ok {
				return path, []byte(text), nil
			}
			return path, nil, os.ErrNotExist
		}}
	for line := range strings.Lines(params) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			b.Parameters[name] = Text(value, Pos{})
		}
	}
	return b
}

// render shows a template as the tests compare it: active resources with their
// resolved properties, outputs, then problems.
func render(t *Template) string {
	var out strings.Builder
	for _, r := range t.Resources {
		fmt.Fprintf(&out, "%s %s %s\n", r.ID, r.Type, t.Eval(r.Properties).JSON())
	}
	for _, o := range t.Outputs {
		fmt.Fprintf(&out, "output %s = %s\n", o.Name, t.Eval(o.Value).JSON())
	}
	for _, p := range t.Problems() {
		fmt.Fprintf(&out, "%s:%d: %s: %s [%s]\n", p.Pos.File, p.Pos.Line, p.Severity, p.Message, p.Code)
	}
	return out.String()
}

// Each archive in testdata/eval holds a template, optionally "params" and files
// to include, and "want": what it resolves to.
func TestEvalGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/eval/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no test data", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files := map[string]string{}
			for _, f := range a.Files {
				files[f.Name] = string(f.Data)
			}
			name := "template.yaml"
			if _, ok := files[name]; !ok {
				name = "template.json"
			}
			got := render(Load(name, []byte(files[name]), binding(files["params"], files)))
			if *update {
				for i := range a.Files {
					if a.Files[i].Name == "want" {
						a.Files[i].Data = []byte(got)
					}
				}
				if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != files["want"] {
				t.Errorf("got:\n%s\nwant:\n%s", got, files["want"])
			}
		})
	}
}
