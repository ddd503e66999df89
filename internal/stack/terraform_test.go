package stack

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/livegate/livegate/internal/fault"
)

// What is not understood in a configuration is said with its line; nothing
// panics and nothing is left out in silence.
func TestMalformedTerraform(t *testing.T) {
	const api = "\nresource \"aws_apigatewayv2_api\" \"ws\" {\n  name = \"a\"\n  protocol_type = \"WEBSOCKET\"\n  route_selection_expression = \"x\"\n}\n"
	for name, c := range map[string]struct{ text, says string }{
		"not hcl":                     {"resource {", "main.tf:1"},
		"labels":                      {"resource \"a\" {\n}\n", "main.tf:1: error: A resource block has two labels"},
		"unknown block":               {"thing \"a\" {}\n", "main.tf:1: error: A configuration has no block \"thing\""},
		"declared twice":              {api + api, "aws_apigatewayv2_api.ws is declared twice"},
		"nothing":                     {"locals {\n a = 1\n}\n", "declares no resource"},
		"unknown variable":            {"output \"o\" {\n value = var.gone\n}\n" + api, "main.tf:2: error: There is no variable gone"},
		"unknown local":               {"locals {\n name = 1\n}\noutput \"o\" {\n value = local.nmae\n}\n" + api, "Did you mean \"name\"?"},
		"unknown resource":            {"output \"o\" {\n value = aws_apigatewayv2_api.wz.id\n}\n" + api, "There is no resource aws_apigatewayv2_api.wz"},
		"unknown module":              {"output \"o\" {\n value = module.x.y\n}\n" + api, "There is no module x"},
		"unknown function":            {"output \"o\" {\n value = frobnicate(1)\n}\n" + api, "main.tf:2: error: Call to unknown function"},
		"variable without value":      {"variable \"v\" {}\noutput \"o\" {\n value = var.v\n}\n" + api, "main.tf:1: error: The variable v has no value"},
		"variable of a wrong type":    {"variable \"v\" {\n type = number\n default = \"x\"\n}\noutput \"o\" {\n value = var.v\n}\n" + api, "does not fit its type"},
		"circle of locals":            {"locals {\n a = local.b\n b = local.a\n}\noutput \"o\" {\n value = local.a\n}\n" + api, "depends on itself"},
		"circle of resources":         {"resource \"aws_sqs_queue\" \"a\" {\n name = aws_sqs_queue.b.name\n}\nresource \"aws_sqs_queue\" \"b\" {\n name = aws_sqs_queue.a.name\n}\n", "depends on itself"},
		"count of text":               {"resource \"aws_sqs_queue\" \"a\" {\n count = \"x\"\n}\n", "count must be a whole number"},
		"count too large":             {"resource \"aws_sqs_queue\" \"a\" {\n count = 1e12\n}\n", "count must be a whole number"},
		"negative count":              {"resource \"aws_sqs_queue\" \"a\" {\n count = -1\n}\n", "count must be a whole number"},
		"for_each of a list":          {"resource \"aws_sqs_queue\" \"a\" {\n for_each = [\"x\"]\n}\n", "Write a map, or toset"},
		"for_each of unknown":         {api + "resource \"aws_sqs_queue\" \"a\" {\n for_each = toset([aws_apigatewayv2_api.ws.id])\n}\n", "known before apply"},
		"dynamic without content":     {"resource \"aws_dynamodb_table\" \"a\" {\n dynamic \"attribute\" {\n  for_each = []\n }\n}\n", "needs for_each and content"},
		"module from elsewhere":       {"module \"m\" {\n source = \"terraform-aws-modules/lambda/aws\"\n}\n" + api, "main.tf:1: warning: The module m comes from elsewhere"},
		"module that is not there":    {"module \"m\" {\n source = \"./gone\"\n}\n" + api, "directory cannot be read"},
		"module that calls itself":    {"module \"m\" {\n source = \"./\"\n}\n" + api, "is one of its own callers"},
		"module with count":           {"module \"m\" {\n source = \"./x\"\n count = 2\n}\n" + api, "count or for_each"},
		"text taken apart":            {api + "output \"o\" {\n value = substr(\"x${aws_apigatewayv2_api.ws.id}\", 0, 2)\n}\n", "known only after apply"},
		"template that is not there":  {"output \"o\" {\n value = templatefile(\"gone\", {})\n}\n" + api, "main.tf:2"},
		"unknown type":                {api + "resource \"aws_mq_broker\" \"b\" {}\n", "warning: aws_mq_broker is not understood"},
		"unknown data source":         {api + "data \"aws_ami\" \"a\" {}\noutput \"o\" {\n value = data.aws_ami.a.id\n}\n", "data source aws_ami is not understood"},
		"provisioner":                 {"resource \"aws_sqs_queue\" \"a\" {\n provisioner \"local-exec\" {}\n}\n", "Provisioners are not run"},
		"function of an unknown file": {"resource \"aws_lambda_function\" \"f\" {\n function_name = \"f\"\n handler = \"a.b\"\n runtime = \"nodejs20.x\"\n filename = \"gone.zip\"\n}\n", "missing-code"},
		"wrong property":              {"resource \"aws_lambda_function\" \"f\" {\n function_name = \"f\"\n handler = \"index.handler\"\n runtime = \"nodejs20.x\"\n filename = \"fn/index.js\"\n timeout = 1000\n}\n", "main.tf:6: error: Timeout of"},
		"misspelt argument":           {"resource \"aws_lambda_function\" \"f\" {\n handlr = \"x\"\n}\n", "main.tf:2: warning: aws_lambda_function has no argument \"handlr\""},
		"argument without effect":     {api + "resource \"aws_sqs_queue\" \"q\" {\n zzz = 1\n}\n", "The argument zzz of aws_sqs_queue has no effect here"},
		"key after apply":             {api + "resource \"aws_apigatewayv2_stage\" \"s\" {\n api_id = aws_apigatewayv2_api.ws.id\n name = \"a\"\n stage_variables = { (aws_apigatewayv2_api.ws.id) = 1 }\n}\n", "A key of this map is known only after apply"},
		"encoded after apply":         {api + "output \"o\" {\n value = base64encode(aws_apigatewayv2_api.ws.id)\n}\n", "cannot be encoded here"},
		"a bare root":                 {"output \"o\" {\n value = local\n}\n" + api, "is not a value"},
		"endless template":            {"output \"o\" {\n value = templatefile(\"self.tftpl\", {})\n}\n" + api, "main.tf:2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, dir, txtar.Parse([]byte(around)))
			unpack(t, dir, &txtar.Archive{Files: []txtar.File{{Name: "main.tf", Data: []byte(c.text)}, {Name: "self.tftpl", Data: []byte(`${templatefile("self.tftpl", {})}`)}}})
			r, err := Load(context.Background(), Options{Path: dir, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Pos.Line > 0 && strings.Contains(f.String(), c.says) }) {
				t.Errorf("nothing says %q: %v", c.says, r.Findings)
			}
		})
	}
}

// A plan gives the values of variables; the configuration is read beside it.
func TestTerraformPlan(t *testing.T) {
	dir := t.TempDir()
	unpack(t, dir, txtar.Parse([]byte(`
-- main.tf --
variable "name" {}
variable "n" { type = number }
resource "aws_sqs_queue" "q" {
  count = var.n
  name  = "${var.name}-${count.index}"
}
output "names" { value = join(",", aws_sqs_queue.q[*].name) }
-- plan.json --
{"format_version": "1.2", "variables": {"name": {"value": "planned"}, "n": {"value": 2}}, "planned_values": {"root_module": {}}}
`)))
	r, out := load(t, Options{Path: filepath.Join(dir, "plan.json")})
	if out["names"] != "planned-0,planned-1" || r.Failed() {
		t.Errorf("%v %v", out, r.Findings)
	}
	if err := os.Remove(filepath.Join(dir, "main.tf")); err != nil {
		t.Fatal(err)
	}
	_, err := Load(context.Background(), Options{Path: filepath.Join(dir, "plan.json")})
	if !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "not beside it") {
		t.Error(err)
	}
}

func FuzzTerraform(f *testing.F) {
	for _, s := range []string{
		"resource \"aws_apigatewayv2_api\" \"ws\" {\n  name = \"a-${var.x}\"\n  count = 2\n}\nvariable \"x\" {\n default = [1]\n}\noutput \"o\" { value = aws_apigatewayv2_api.ws[*] }\n",
		"locals {\n a = { for k, v in local.b : k => jsonencode(v) }\n b = { x = aws_sqs_queue.q.arn }\n}\nresource \"aws_sqs_queue\" \"q\" {\n for_each = local.a\n name = each.key\n}\n",
		"resource \"aws_dynamodb_table\" \"t\" {\n hash_key = 1\n dynamic \"attribute\" {\n for_each = [1, {}]\n iterator = i\n content {\n name = i.value\n }\n }\n}\n",
		"module \"m\" {\n source = \"./\"\n}\n", "output \"o\" { value = one([null]) == try(local.x, 1) }\n", "data \"template_file\" \"a\" {\n template = \"${b}\"\n vars = 1\n}\noutput \"o\" { value = data.template_file.a.rendered }",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4<<10 {
			return
		}
		dir := t.TempDir()
		unpack(t, dir, &txtar.Archive{Files: []txtar.File{{Name: "main.tf", Data: data}}})
		r, err := Load(context.Background(), Options{Path: dir, Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r.Findings {
			if strings.ContainsAny(p.Message, "\uE000\uE001") {
				t.Errorf("a mark shows: %q", p.Message)
			}
		}
	})
}
