package cfn

import (
	"strings"
	"testing"
)

func TestDidYouMean(t *testing.T) {
	known := []string{"Name", "Mode", "RouteSelectionExpression", "AWS::Region"}
	for word, want := range map[string]string{
		"Nmae": "Name", "name": "Name", "Mod": "Mode", "RouteSelectionExpresion": "RouteSelectionExpression",
		"AWS::Regoin": "AWS::Region", "Xyzzy": "", "Nxxe": "",
	} {
		if got := Closest(word, known); got != want {
			t.Errorf("Closest(%q) = %q, want %q", word, got, want)
		}
	}
	if hint := DidYouMean("Xyzzy", known); !strings.Contains(hint, "AWS::Region, Mode, Name") {
		t.Error(hint)
	}
}

// A name that holds another name twice doubles with every step; forty steps
// would fill the memory of any machine, and without remembered values its time.
func TestDoublingNamesAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("Resources:\n")
	for i := range 60 {
		b.WriteString("  R" + itoa(i) + ": {Type: T::T::T, Properties: {Name: !Sub '${R" + itoa(i+1) + "}${R" + itoa(i+1) + "}'}}\n")
	}
	b.WriteString("  R60: {Type: T::T::T, Properties: {Name: x}}\nOutputs: {O: {Value: !Ref R0}}\n")
	var tpl *Template
	bind := Binding{Attributes: func(r *Resource, attr string, at Pos) (*Node, []string) {
		return tpl.Eval(r.Properties.Get("Name")), nil
	}}
	tpl = Load("t.yaml", []byte(b.String()), bind)
	if v := tpl.Eval(tpl.Outputs[0].Value); v.Kind != Bad {
		t.Fatalf("resolved to %d characters", len(v.Text))
	}
	if p := tpl.Problems(); len(p) != 1 || p[0].Code != "template-too-large" {
		t.Fatal(p)
	}
}
