package stack

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/livegate/livegate/internal/model"
)

var update = flag.Bool("update", false, "rewrite the want files of testdata")

// Each archive in testdata/app is a project; its comment may hold
// --parameter-overrides words after "params:". "want" is what it becomes.
func TestAppGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/app/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no test data", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "demo")
			unpack(t, dir, txtar.Parse([]byte(around)))
			unpack(t, dir, a)
			params := map[string]string{}
			if _, words, ok := strings.Cut(string(a.Comment), "params:"); ok {
				if params, err = ParseOverrides(words); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Load(context.Background(), Options{Path: dir, Dir: dir, Region: "eu-west-1", Parameters: params})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				screen(t, f)
			}
			got := strings.ReplaceAll(summary(r), dir+"/", "DIR/")
			for i, f := range a.Files {
				if f.Name != "want" {
					continue
				}
				if *update {
					a.Files[i].Data = []byte(got)
					if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != string(f.Data) {
					t.Errorf("got:\n%s\nwant:\n%s", got, f.Data)
				}
			}
		})
	}
}

// summary is an App in lines: every field that was set, none that was not.
func summary(r *Result) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, a := range r.App.APIs {
		line("api %s %s", a.LogicalID, set(a, "LogicalID", "Routes", "Stages", "Authorizers", "Models"))
		for _, rt := range a.Routes {
			line("  route %s %s", rt.Key, set(rt, "Key", "Integration"))
			if i := rt.Integration; i != nil {
				line("    %s %s", i.Type, set(i, "Type", "Responses"))
				for _, ir := range i.Responses {
					line("    response %s %s", ir.Key, set(ir, "Key"))
				}
			}
		}
		for _, s := range a.Stages {
			line("  stage %s %s", s.Name, set(s, "Name"))
		}
		for _, x := range a.Authorizers {
			line("  authorizer %s", set(x))
		}
		for _, x := range a.Models {
			line("  model %s", set(x))
		}
	}
	for _, f := range r.App.Functions {
		line("function %s %s", f.LogicalID, set(f, "LogicalID"))
	}
	for _, l := range r.App.Layers {
		line("layer %s %s", l.LogicalID, set(l, "LogicalID"))
	}
	for _, x := range r.App.Tables {
		line("table %s %s", x.LogicalID, set(x, "LogicalID"))
	}
	for _, x := range r.App.Sources {
		line("source %s", set(x))
	}
	for _, x := range r.App.Domains {
		line("domain %s", set(x))
	}
	for _, o := range r.App.Outputs {
		line("output %s = %s", o.Name, o.Value)
	}
	for _, f := range r.Findings {
		line("%s", f)
	}
	return b.String()
}

// set renders the fields of v that are not zero, sorted; positions and what
// stands in omit are left out.
func set(v any, omit ...string) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		return err.Error()
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(prune(m).(map[string]any))) {
		if !slices.Contains(omit, k) && !strings.HasSuffix(k, "Pos") {
			val, _ := json.Marshal(prune(m[k]))
			out = append(out, k+"="+string(val))
		}
	}
	return strings.Join(out, " ")
}

func prune(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for k, e := range m {
		e = prune(e)
		inner, isMap := e.(map[string]any)
		switch {
		case e == nil, e == "", e == false, e == 0.0, k == "Pos", isMap && len(inner) == 0:
		default:
			out[k] = e
		}
	}
	return out
}

func TestIDsAreStableAcrossLoads(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, txtar.Parse([]byte(around)))
	unpack(t, dir, txtar.Parse([]byte("-- template.yaml --\nResources:\n  Api: {Type: AWS::ApiGatewayV2::Api, Properties: {Name: a, ProtocolType: WEBSOCKET, RouteSelectionExpression: x}}\n")))
	load := func(stack string) *model.API {
		r, err := Load(context.Background(), Options{Path: dir, StackName: stack})
		if err != nil || len(r.App.APIs) != 1 {
			t.Fatal(err, r.Findings)
		}
		return r.App.APIs[0]
	}
	first := load("one").ID
	if load("one").ID != first || first == load("two").ID || len(load("one").ID) != 10 {
		t.Fatal("the API id must depend on the stack name and nothing else")
	}
}
