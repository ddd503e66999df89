package stack

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/livegate/livegate/internal/fault"
)

func golden(t *testing.T, name string) string {
	t.Helper()
	a, err := txtar.ParseFile(filepath.Join("testdata", "app", name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	unpack(t, dir, a)
	return dir
}

// Region, account and stack name come from the packager; options win.
func TestPackagersKnowWhereTheyDeployTo(t *testing.T) {
	dir := golden(t, "cdk")
	r, out := load(t, Options{Path: dir})
	if r.App.Region != "eu-west-3" || r.App.AccountID != "111122223333" || r.App.StackName != "Prod-Ws" || r.Failed() {
		t.Errorf("%s %s %s\n%v", r.App.Region, r.App.AccountID, r.App.StackName, r.Findings)
	}
	if table := r.App.Functions[0].Env["TABLE"]; !strings.HasPrefix(table, "Prod-Data-Table-") || out["ExportsOutputRefTable"] != table {
		t.Errorf("the import is %q, the table %q", table, out["ExportsOutputRefTable"])
	}
	r, _ = load(t, Options{Path: filepath.Join(dir, "cdk.out"), Region: "us-west-2", Imports: map[string]string{"Prod-Data:ExportsOutputRefTable": "given"}})
	if r.App.Region != "us-west-2" || r.App.Functions[0].Env["TABLE"] != "given" {
		t.Errorf("options must win: %s %v", r.App.Region, r.App.Functions[0].Env)
	}
	dir = golden(t, "serverless")
	r, out = load(t, Options{Path: dir})
	if r.App.StackName != "rooms-qa" || out["Where"] != "rooms-qa in eu-central-1" || r.Failed() {
		t.Errorf("%s %v\n%v", r.App.StackName, out, r.Findings)
	}
}

// An artifact that is a plain copy is run from its original.
func TestSourcesReplaceArtifacts(t *testing.T) {
	dir := golden(t, "serverless")
	zip := filepath.Join(dir, ".serverless", "rooms.zip")
	r, _ := load(t, Options{Path: dir, Sources: map[string]string{zip: dir}})
	if f := r.App.Functions[0]; f.CodeDir != dir || f.CodeFile != "" {
		t.Errorf("%q %q", f.CodeDir, f.CodeFile)
	}
	if f := r.App.Functions[1]; f.CodeFile != filepath.Join(dir, "build", "own.zip") {
		t.Errorf("%q", f.CodeFile)
	}
	dir = golden(t, "cdk")
	asset := filepath.Join(dir, "cdk.out", "assembly-Prod", "asset.aaa")
	r, _ = load(t, Options{Path: dir, Sources: map[string]string{asset: filepath.Join(dir, "lambda")}})
	if f := r.App.Functions[0]; f.CodeDir != filepath.Join(dir, "lambda") {
		t.Errorf("%q", f.CodeDir)
	}
}

func TestChoosingAStack(t *testing.T) {
	dir := golden(t, "cdk")
	for name, stack := range map[string]string{"Prod/Data": "Prod-Data", "Prod-Data": "Prod-Data", "ProdData1": "Prod-Data", "Pipeline": "Pipeline", "Prod/Ws": "Prod-Ws"} {
		if r, _ := load(t, Options{Path: dir, Stack: name}); r.App.StackName != stack {
			t.Errorf("%s gives %s", name, r.App.StackName)
		}
	}
	_, err := Load(context.Background(), Options{Path: dir, Stack: "Prod/Wz"})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), `Did you mean "Prod/Ws"?`) {
		t.Error(err)
	}
}

// What a packager left behind may be cut short, of another version or made by
// somebody else: every mistake is an error or a finding that says where.
func TestMalformedPackages(t *testing.T) {
	const template = "\n-- cdk.out/S.template.json --\n{\"Resources\": {\"T\": {\"Type\": \"AWS::SNS::Topic\"}}}\n"
	stackOf := func(props string) string {
		return "-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {\n\"S\": {\"type\": \"aws:cloudformation:stack\", \"properties\": " + props + "}}}\n"
	}
	update := "\n-- .serverless/cloudformation-template-update-stack.json --\n"
	for name, c := range map[string]struct{ files, says string }{
		"no stack":                 {"-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {}}\n", "holds no stack"},
		"wrong kind of artifacts":  {"-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {\"S\": {\"type\": \"aws:cloudformation:stack\", \"dependencies\": 1}}}\n", "not a cloud assembly's manifest"},
		"template outside":         {stackOf(`{"templateFile": "../../etc/passwd"}`) + template, "cdk.out/manifest.json:2: error: The manifest names the file"},
		"no template file":         {stackOf(`{}`) + template, "which is not inside the assembly"},
		"template missing":         {stackOf(`{"templateFile": "Gone.json"}`), "Gone.json"},
		"template not json":        {stackOf(`{"templateFile": "S.template.json"}`) + "-- cdk.out/S.template.json --\n{", "S.template.json:2"},
		"assembly missing":         {"-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {\"A\": {\"type\": \"cdk:cloud-assembly\", \"properties\": {\"directoryName\": \"gone\"}}}}\n", "synthesise again"},
		"assembly within itself":   {"-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {\"A\": {\"type\": \"cdk:cloud-assembly\", \"properties\": {\"directoryName\": \".\"}}}}\n", "nested deeper than"},
		"asset manifest not json":  {"-- cdk.out/manifest.json --\n{\"version\": \"1\", \"artifacts\": {\"S\": {\"type\": \"aws:cloudformation:stack\", \"properties\": {\"templateFile\": \"S.template.json\"}}, \"A\": {\"type\": \"cdk:asset-manifest\", \"properties\": {\"file\": \"a.json\"}}}}\n-- cdk.out/a.json --\n[" + template, "cdk.out/a.json:1: error: The asset manifest cannot be read"},
		"state missing":            {update + "{\"Resources\": {\"T\": {\"Type\": \"AWS::SNS::Topic\"}}}", "The packager's state cannot be read"},
		"state not json":           {update + "{\"Resources\": {\"T\": {\"Type\": \"AWS::SNS::Topic\"}}}\n-- .serverless/serverless-state.json --\nx", "The packager's state cannot be read"},
		"serverless template cut":  {update + "{\"Resources\": {\n-- .serverless/serverless-state.json --\n{}", "update-stack.json:"},
		"artifact that is no file": {update + "{\"Resources\": {\"F\": {\"Type\": \"AWS::Lambda::Function\", \"Properties\": {\"Code\": {\"S3Key\": \"a/..\"}, \"Handler\": \"a.b\", \"Runtime\": \"nodejs20.x\"}}}}\n-- .serverless/serverless-state.json --\n{}", "its code is in S3"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, dir, txtar.Parse([]byte(c.files)))
			r, err := Load(context.Background(), Options{Path: dir, Dir: dir})
			if err != nil {
				if !strings.Contains(err.Error(), c.says) {
					t.Error(err)
				}
				return
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Pos.Line > 0 && strings.Contains(f.String(), c.says) }) {
				t.Errorf("nothing says %q: %v", c.says, r.Findings)
			}
		})
	}
}

func FuzzAssembly(f *testing.F) {
	f.Add([]byte(`{"version": "1", "artifacts": {"S": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "manifest.json"}, "dependencies": ["S"]}}}`))
	f.Add([]byte(`{"version": "1", "artifacts": {"A": {"type": "cdk:asset-manifest", "properties": {"file": "manifest.json"}}}, "missing": [{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		unpack(t, dir, &txtar.Archive{Files: []txtar.File{{Name: "manifest.json", Data: data}}})
		r, err := Load(context.Background(), Options{Path: dir, Dir: dir})
		if (r == nil) == (err == nil) {
			t.Errorf("%v %v", r, err)
		}
	})
}
