package parity

import (
	"os"
	"strings"
	"testing"
)

func TestTheTableIsWhole(t *testing.T) {
	table, err := Rows()
	if err != nil {
		t.Fatal(err)
	}
	if len(table) < 150 {
		t.Errorf("%d rows, want at least 150", len(table))
	}
	ids := map[string]bool{}
	for _, r := range table {
		ids[r.ID] = true
	}
	for _, set := range []struct {
		letter string
		n      int
	}{{"A", 42}, {"B", 22}} { // the vectors and the open questions of the contract
		for i := 1; i <= set.n; i++ {
			if id := set.letter + itoa(i); !ids[id] {
				t.Errorf("row %s is missing", id)
			}
		}
	}
	for _, r := range table {
		if strings.HasPrefix(r.ID, "B") && len(r.ID) <= 3 && r.Basis != Unconfirmed {
			t.Errorf("row %s is one of the open questions and says %s", r.ID, r.Basis)
		}
	}
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + itoa(i%10)
}

func TestThePageIsTheTable(t *testing.T) {
	table, err := Rows()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/compat/websocket-api.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != Page(table) {
		t.Error("docs/compat/websocket-api.md is not what the rows say: run make parity")
	}
}

func TestOnlyPassingTestsProve(t *testing.T) {
	const text = `{"id":"x","section":"s","behaviour":"b","aws":"a","livegate":"same","basis":"beyond AWS","proofs":["p.TestA","p.TestB"]}`
	for _, c := range []struct {
		passed string
		want   string
	}{{"p.TestA p.TestB", "✓"}, {"p.TestA", "not shown"}, {"", "not shown"}} {
		table, err := read([]byte(text), strings.Fields(c.passed))
		if err != nil {
			t.Fatal(err)
		}
		if got := table[0].Mark(); got != c.want {
			t.Errorf("with %q passed: %s, want %s", c.passed, got, c.want)
		}
	}
}

func TestBadRows(t *testing.T) {
	const ok = `{"id":"x","section":"s","behaviour":"b","aws":"a","livegate":"same","basis":"beyond AWS"}`
	for name, c := range map[string]struct{ text, want string }{
		"not JSON":        {`{`, "rows.jsonl:1"},
		"unknown member":  {`{"id":"x","colour":"red"}`, "colour"},
		"nothing said":    {`{"id":"x"}`, "required"},
		"twice":           {ok + "\n" + ok, "twice"},
		"basis":           {strings.Replace(ok, "beyond AWS", "rumour", 1), "rumour"},
		"no source":       {strings.Replace(ok, "beyond AWS", "observed", 1), "names no source"},
		"proved by hand":  {strings.Replace(ok, `"id"`, `"proved":true,"id"`, 1), "by hand"},
		"second line bad": {ok + "\n{", "rows.jsonl:2"},
	} {
		if _, err := read([]byte(c.text), nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
