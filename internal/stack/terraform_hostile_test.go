package stack

import (
	"context"
	"strings"
	"testing"
)

// A configuration must not take the memory of the machine.
func TestTerraformProductIsBounded(t *testing.T) {
	for expr, bad := range map[string]bool{"setproduct(range(1000), range(1000), range(1000))": true, "setproduct([1, 2], [\"a\", \"b\"])": false} {
		dir := project(t, "-- main.tf --\nresource \"aws_apigatewayv2_api\" \"a\" {\n  name = \"a${length("+expr+")}\"\n  protocol_type = \"WEBSOCKET\"\n  route_selection_expression = \"$request.body.action\"\n}\n")
		r, err := Load(context.Background(), Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range r.Findings {
			found = found || strings.Contains(f.Message, "more than 10000 elements")
		}
		if found != bad || !bad && r.App.APIs[0].Name != "a4" {
			t.Errorf("%s: %v", expr, r.Findings)
		}
	}
}
