package stack

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/livegate/livegate/internal/fault"
)

const params = `
-- template.yaml --
Parameters:
  Name: {Type: String, Default: from-default}
  Secret: {Type: String, Default: hush, NoEcho: true, MinLength: 3}
  Mode: {Type: "AWS::SSM::Parameter::Value<String>", Default: /mode}
Resources:
  T: {Type: AWS::SNS::Topic, Properties: {TopicName: !Sub "${Name}-${Mode}"}}
Outputs:
  Name: {Value: !Ref Name}
  Mode: {Value: !Ref Mode}
  Import: {Value: !ImportValue shared}
  Where: {Value: !Sub "${AWS::StackName} ${AWS::Region} ${AWS::AccountId} ${AWS::Partition} ${AWS::URLSuffix}"}
`

func project(t *testing.T, archive string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "my_project 2")
	unpack(t, dir, txtar.Parse([]byte(archive)))
	return dir
}

func load(t *testing.T, o Options) (*Result, map[string]string) {
	t.Helper()
	r, err := Load(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, v := range r.App.Outputs {
		out[v.Name] = v.Value
	}
	return r, out
}

func TestOptionsReachTheTemplate(t *testing.T) {
	dir := project(t, params)
	o := Options{Dir: dir, SSM: map[string]string{"/mode": "fast"}, Imports: map[string]string{"shared": "s1"}}
	r, out := load(t, o)
	want := map[string]string{"Name": "from-default", "Mode": "fast", "Import": "s1", "Where": "my-project-2 us-east-1 123456789012 aws amazonaws.com"}
	if !maps.Equal(out, want) || r.Failed() {
		t.Errorf("got %v, want %v\n%v", out, want, r.Findings)
	}
	o.StackName, o.Region, o.AccountID, o.Parameters = "s", "cn-north-1", "000011112222", map[string]string{"Name": "given", "Nmae": "x"}
	r, out = load(t, o)
	if out["Name"] != "given" || out["Where"] != "s cn-north-1 000011112222 aws-cn amazonaws.com.cn" {
		t.Error(out)
	}
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Code == "unknown-parameter" && strings.Contains(f.Hint, `"Name"`) && f.Severity == Warning
	}) {
		t.Errorf("a misspelt override is not reported: %v", r.Findings)
	}
	if p := r.Parameters[1]; p.Value != "****" || !p.NoEcho {
		t.Errorf("NoEcho shows: %+v", p)
	}
}

// A NoEcho value must not reach the screen through the finding about it either.
func TestNoEchoStaysHiddenInFindings(t *testing.T) {
	r, _ := load(t, Options{Dir: project(t, params), Parameters: map[string]string{"Secret": "ab"}})
	for _, f := range r.Findings {
		if strings.Contains(f.String(), `"ab"`) {
			t.Error(f)
		}
	}
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == "parameter-value" }) {
		t.Error("the short value passed")
	}
}

func TestSSMParameterIsNamedWithHowToGiveIt(t *testing.T) {
	r, _ := load(t, Options{Dir: project(t, params), Imports: map[string]string{"shared": "s1"}})
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Code == "ssm-parameter" })
	if i < 0 || !strings.Contains(r.Findings[i].Message, "Mode") || !strings.Contains(r.Findings[i].Hint, "--ssm-parameter /mode=") {
		t.Errorf("%v", r.Findings)
	}
}

func TestSamconfig(t *testing.T) {
	dir := project(t, params+`
-- samconfig.toml --
version = 0.1
[default.global.parameters]
stack_name = "from-global"
region = "eu-north-1"
[default.deploy.parameters]
stack_name = "from-deploy"
parameter_overrides = "Name=\"two words\" ParameterKey=Mode,ParameterValue=/other"
[prod.deploy.parameters]
parameter_overrides = ["Name=prod", "Mode='/p'"]
[bad.deploy.parameters]
parameter_overrides = "Name"
`)
	o := Options{Dir: dir, SSM: map[string]string{"/other": "o", "/p": "p", "/mode": "m"}, Imports: map[string]string{"shared": "s"}}
	r, out := load(t, o)
	if out["Name"] != "two words" || out["Mode"] != "o" || !strings.HasPrefix(out["Where"], "from-deploy eu-north-1 ") {
		t.Errorf("%v %v", out, r.Findings)
	}
	if want := []string{filepath.Join(dir, "template.yaml"), filepath.Join(dir, "samconfig.toml")}; !slices.Equal(r.Files, want) {
		t.Errorf("watched: %v", r.Files)
	}
	o.ConfigEnv, o.StackName = "prod", "mine"
	if _, out = load(t, o); out["Name"] != "prod" || out["Mode"] != "p" || !strings.HasPrefix(out["Where"], "mine us-east-1") {
		t.Errorf("%v", out)
	}
	o.Parameters = map[string]string{"Name": "cli"}
	if _, out = load(t, o); out["Name"] != "cli" {
		t.Errorf("options must win: %v", out)
	}
	for env, line := range map[string]int{"bad": 11, "prd": 1} {
		o.ConfigEnv = env
		r, _ = load(t, o)
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
			return f.Code == "samconfig" && f.Severity == Error && f.Pos.Line == line && f.Pos.File == "samconfig.toml"
		}) {
			t.Errorf("%s: %v", env, r.Findings)
		}
	}
	broken := project(t, params+"-- samconfig.toml --\nversion = 0.1\n[default\n")
	r, _ = load(t, Options{Dir: broken})
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == "samconfig" && f.Pos.Line == 2 }) {
		t.Errorf("%v", r.Findings)
	}
}

func TestParseOverrides(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"":                                       {},
		`A=1 B="x y" C='it"s' D=a\ b`:            {"A": "1", "B": "x y", "C": `it"s`, "D": "a b"},
		"ParameterKey=A,ParameterValue=1,2":      {"A": "1,2"},
		"A=k=v  B=":                              {"A": "k=v", "B": ""},
		"\tA=1\n ParameterKey=B,ParameterValue=": {"A": "1", "B": ""},
	} {
		got, err := ParseOverrides(in)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("ParseOverrides(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"A", `A="x`, "=1", "ParameterKey=A", "ParameterKey=,ParameterValue=x"} {
		if got, err := ParseOverrides(in); err == nil {
			t.Errorf("ParseOverrides(%q) = %v, want an error", in, got)
		}
	}
}

func FuzzParseOverrides(f *testing.F) {
	f.Add(`A=1 B="x y"`)
	f.Add("ParameterKey=A,ParameterValue='")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseOverrides(s)
		if err == nil && got == nil {
			t.Error("neither values nor an error")
		}
		for name := range got {
			if name == "" || strings.ContainsAny(name, "\"' \t") {
				t.Errorf("%q gives the name %q", s, name)
			}
		}
	})
}

func TestTemplateDiscovery(t *testing.T) {
	for _, name := range []string{"template.yaml", "template.yml", "template.json", "template.sam.yaml"} {
		dir := project(t, "-- "+name+" --\n{\"Resources\": {\"T\": {\"Type\": \"AWS::SNS::Topic\"}}}\n")
		if r, _ := load(t, Options{Path: dir}); filepath.Base(r.Template) != name || r.Failed() {
			t.Errorf("%s: %v %v", name, r.Template, r.Findings)
		}
	}
	dir := project(t, "-- cdk.json --\n-- app.yaml --\nResources: {T: {Type: AWS::SNS::Topic}}\n")
	_, err := Load(context.Background(), Options{Path: dir})
	if !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "template.yaml") || !strings.Contains(err.Error(), "npx cdk synth") {
		t.Error(err)
	}
	if r, _ := load(t, Options{Dir: dir, Path: "app.yaml"}); r.Findings[0].Pos.File != "app.yaml" {
		t.Error(r.Findings)
	}
	if _, err := Load(context.Background(), Options{Dir: dir, Path: "gone"}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	if _, err := Load(context.Background(), Options{Dir: dir, Path: "app.yaml", ConfigFile: "none.toml"}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}

// Findings come by file in the order of loading, then by line.
func TestFindingsAreSorted(t *testing.T) {
	dir := project(t, `
-- template.yaml --
Resources:
  N: {Type: AWS::CloudFormation::Stack, Properties: {TemplateURL: a.yaml}}
  B: {Type: AWS::SNS::Topic, Properties: {TopicName: !Ref Missing}}
  C: {Type: AWS::SQS::Queue, Oops: 1}
-- a.yaml --
Resources:
  D: {Type: AWS::SNS::Topic, Properties: {TopicName: !Ref Gone}}
`)
	r, _ := load(t, Options{Dir: dir})
	var got []string
	for _, f := range r.Findings {
		got = append(got, f.Pos.String())
	}
	want := []string{"template.yaml:3", "template.yaml:3", "template.yaml:4", "template.yaml:4", "a.yaml:2", "a.yaml:2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", r.Findings)
	}
}

func TestGeneratedNamesFitTheirLimits(t *testing.T) {
	in := &instance{name: strings.Repeat("stack", 20)}
	for _, logical := range []string{"F", strings.Repeat("Function", 12)} {
		for _, most := range []int{63, 64, 80, 255} {
			name := in.generated(logical, most, ".fifo")
			if len(name) > most || !strings.HasSuffix(name, ".fifo") || strings.Count(name, "-") < 2 {
				t.Errorf("%d: %s", len(name), name)
			}
		}
	}
	if a, b := in.generated("A", 64, ""), in.generated("B", 64, ""); a == b {
		t.Error("two resources share a name")
	}
}
