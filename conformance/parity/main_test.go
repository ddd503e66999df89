package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/parity"
)

func line(action, pkg, test, output string) string {
	return fmt.Sprintf(`{"Action":%q,"Package":%q,"Test":%q,"Output":%q}`, action, pkg, test, output) + "\n"
}

func TestReport(t *testing.T) {
	r := newReport([]string{"x.TestA", "x.TestB", "x.TestV/A1", "x.TestGone", "y.TestElsewhere"})
	stream := line("output", "m/x", "TestA", "quiet\n") + line("pass", "m/x", "TestA", "") +
		line("output", "m/x", "TestV/A1_one", "fine\n") + line("pass", "m/x", "TestV/A1_one", "") +
		line("fail", "m/x", "TestV/A14", "") + // another vector: no verdict on A1
		line("output", "m/x", "TestB", "what went wrong\n") + line("fail", "m/x", "TestB", "") +
		line("output", "m/x", "", "PASS\n") + line("output", "m/x", "", "FAIL\tm/x\t0.1s\n") + line("fail", "m/x", "", "")
	var out strings.Builder
	if err := r.read(strings.NewReader(stream), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "what went wrong\nFAIL\tm/x\t0.1s\n" {
		t.Errorf("printed %q", got)
	}
	for p, want := range map[string]string{"x.TestA": "pass", "x.TestB": "fail", "x.TestV/A1": "pass", "x.TestGone": ""} {
		if r.verdicts[p] != want {
			t.Errorf("%s: %q, want %q", p, r.verdicts[p], want)
		}
	}
	row := func(id string, proofs ...string) parity.Row { return parity.Row{ID: id, Proofs: proofs, Proved: true} }
	for _, c := range []struct {
		row  parity.Row
		want string // "" holds
	}{
		{row("1", "x.TestA", "x.TestV/A1"), ""},
		{row("2", "x.TestA", "x.TestB"), "x.TestB: fail"},
		{row("3", "x.TestGone"), "does not exist"},
		{row("4", "y.TestElsewhere"), ""},                      // y was not tested now
		{parity.Row{ID: "5", Proofs: []string{"x.TestB"}}, ""}, // claims nothing
	} {
		err := r.hold([]parity.Row{c.row})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("row %s: %v, want %q", c.row.ID, err, c.want)
		}
	}
}

func TestTheWorstOfSeveralCounts(t *testing.T) {
	for _, c := range []struct{ verdicts, want string }{
		{"pass skip", "skip"}, {"skip pass", "skip"}, {"fail pass", "fail"}, {"pass fail", "fail"}, {"skip fail", "fail"}, {"pass pass", "pass"},
	} {
		r := newReport([]string{"x.TestV/A1"})
		for i, v := range strings.Fields(c.verdicts) {
			r.judge(fmt.Sprintf("x.TestV/A1_%d", i), v)
		}
		if got := r.verdicts["x.TestV/A1"]; got != c.want {
			t.Errorf("%s: %s, want %s", c.verdicts, got, c.want)
		}
	}
}
