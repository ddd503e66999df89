package vtl

import "testing"

// A mapping template as chat samples have it: an assignment, a loop, escaping.
const typical = `#set($in = $input.path('$'))
{
  "TableName": "$stageVariables.table",
  "Item": {
    "connectionId": {"S": "$context.connectionId"},
    "room": {"S": "$in.room"},
    "tags": {"L": [#foreach($t in $in.tags){"S": "$t"}#if($foreach.hasNext),#end#end]},
    "at": {"N": "$context.requestTimeEpoch"}
  }
}
`

const typicalVars = `{"INPUT":{"room":"lobby","tags":["a","b","c"]},"context":{"connectionId":"L0SM9cOFvHcCIhw=","requestTimeEpoch":1700000000123},"stageVariables":{"table":"Messages"}}`

func TestAllocsOfTypicalTemplate(t *testing.T) {
	tmpl, err := Compile("typical", typical)
	if err != nil {
		t.Fatal(err)
	}
	vars := variables(t, typicalVars)
	buf := make([]byte, 0, 4096)
	allocs := testing.AllocsPerRun(200, func() {
		out, err := tmpl.Execute(buf, vars, Limits{})
		if err != nil || len(out) == 0 {
			t.Fatal(err)
		}
	})
	t.Logf("%.0f allocations", allocs)
	if allocs > 16 {
		t.Errorf("%.0f allocations, expected at most 16", allocs)
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile("typical", typical); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExecute(b *testing.B) {
	tmpl, err := Compile("typical", typical)
	if err != nil {
		b.Fatal(err)
	}
	vars := variables(b, typicalVars)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tmpl.Execute(buf, vars, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
