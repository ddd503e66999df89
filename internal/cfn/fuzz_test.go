package cfn

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever the bytes, loading ends, problems carry a line, and every resolved
// value renders as JSON.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		"Resources:\n  A:\n    Type: T::T::T\n    Properties: {B: !Sub '${A.B}-${!x}', C: !If [C, 1, 2]}\n",
		`{"Resources": {"A": {"Type": "T", "Properties": {"X": {"Fn::GetAtt": ["A", "B"]}}}}}`,
		"Transform: AWS::LanguageExtensions\nResources:\n  Fn::ForEach::A:\n    - X\n    - [a, b]\n    - '${X}': {Type: T, Properties: {Fn::ForEach::B: [Y, [c], {'${Y}': !Ref X}]}}\n",
		"Transform: AWS::Serverless-2016-10-31\nGlobals: {Function: {Timeout: 1}}\nResources:\n  F: {Type: 'AWS::Serverless::Function', Properties: {AutoPublishAlias: x, Events: {A: {Type: SQS}}}}\n" +
			"  W: {Type: 'AWS::Serverless::WebSocketApi', Properties: {Routes: {$connect: {FunctionArn: a}}, Domain: {DomainName: x}}}\n",
		"a: &a [*a]\n", "a: &a {b: 1}\nc: {<<: *a}\n", "\t", "{", "Conditions: {A: {Condition: A}}\nResources: {}\n",
		"Mappings: {A: {b: {c: d}}}\nParameters: {P: {Type: Number, Default: x, MinValue: y}}\nResources: {A: {Type: T, DependsOn: [A, B]}}\n",
		"Resources: {A: {Type: T, Properties: {X: !Cidr [10.0.0.0/8, 256, 31], Y: !Select [9, []], Z: '{{resolve:ssm:a}}'}}}\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		tpl := Load("f.yaml", data, binding("", map[string]string{"x": string(data)}))
		for _, r := range tpl.Resources {
			if !json.Valid([]byte(tpl.Eval(r.Properties).JSON())) && strings.ToValidUTF8(string(data), "") == string(data) {
				t.Errorf("%s does not render as JSON", r.ID)
			}
		}
		for _, o := range tpl.Outputs {
			tpl.Eval(o.Value)
		}
		for _, p := range tpl.Problems() {
			if p.Pos.Line < 1 || p.Code == "" || p.Message == "" {
				t.Errorf("problem without line, code or message: %+v", p)
			}
		}
	})
}

// The naive model: without variables replaced, the parts put together again are
// the text with its "${!" turned into "${".
func FuzzSub(f *testing.F) {
	for _, s := range []string{"a${B}c", "${!x}${}${ Y }", "${", "$${a}}", "${A.B.C}${AWS::Region}", "${!${a}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got strings.Builder
		for _, p := range splitSub(s) {
			if p.variable && !strings.HasPrefix(s[p.off:], p.text) {
				t.Errorf("variable %q is not at %d of %q", p.text, p.off, s)
			}
			if p.variable && strings.Contains(p.name, "}") {
				t.Errorf("variable name %q holds a brace", p.name)
			}
			got.WriteString(p.text)
		}
		if want := naiveLiteral(s); got.String() != want {
			t.Errorf("splitSub(%q) = %q, want %q", s, got.String(), want)
		}
	})
}

func naiveLiteral(s string) string {
	open := strings.Index(s, "${")
	if open < 0 {
		return s
	}
	end := strings.Index(s[open:], "}")
	if end < 0 {
		return s
	}
	inside := s[open+2 : open+end]
	return s[:open] + "${" + strings.TrimPrefix(inside, "!") + "}" + naiveLiteral(s[open+end+1:])
}

// The JSON reader accepts what encoding/json accepts, and nothing else, except
// for duplicate keys (a finding) and depth (bounded lower).
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a": [1, -0.5e+3, true, null, "x\u00e9\/"]}`, `{"a":1,}`, `[`, `{"a" "b"}`, `"\ud83d\ude00"`, `"\ud800"`, "\"\t\"", `01`, `1 2`, "{\"a\":\n// x\n1}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4096 || strings.Count(s, "[")+strings.Count(s, "{") > maxDepth || strings.ToValidUTF8(s, "") != s {
			return
		}
		r := &report{}
		n := parseJSON("f.json", []byte(s), r)
		if valid := json.Valid([]byte(s)); (n != nil) != valid {
			t.Fatalf("parseJSON(%q) accepted: %v, encoding/json: %v (%v)", s, n != nil, valid, r.list)
		}
		if n != nil && !json.Valid([]byte(n.JSON())) {
			t.Fatalf("%q renders as %q", s, n.JSON())
		}
		if n == nil && len(r.list) == 0 {
			t.Fatalf("%q refused without a reason", s)
		}
	})
}
