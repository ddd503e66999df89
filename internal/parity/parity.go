// Package parity is the table of what Amazon API Gateway's WebSocket APIs do and
// what Livegate does, row by row, each with the tests that prove it.
//
// rows.jsonl is written by hand: one [Row] per line, in the order of the page.
// proved.txt is written by a test run (conformance/parity): the proofs that passed
// in it. A row shows ✓ only when all of its proofs stand there, and CI fails when
// one of them does not pass again, so the table cannot say what no test shows.
// docs/compat/websocket-api.md and `livegate compat` are this table.
//
// The package does no I/O: both files are part of the program.
package parity

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Basis is why we say that AWS does something.
type Basis string

const (
	Documented  Basis = "documented"  // the Developer Guide or an API model says so
	Observed    Basis = "observed"    // public captures, issues or tests against the real service
	Unconfirmed Basis = "unconfirmed" // no source shows it: the row says which default was taken
	Beyond      Basis = "beyond AWS"  // AWS has nothing like it; off or invisible unless asked for
)

// Row is one behaviour.
type Row struct {
	ID        string   `json:"id"` // unique: "A14", "B6", "connect-status"
	Section   string   `json:"section"`
	Behaviour string   `json:"behaviour"`
	AWS       string   `json:"aws"`
	Livegate  string   `json:"livegate"` // "same", or what it does
	Basis     Basis    `json:"basis"`
	Source    string   `json:"source,omitempty"`  // page, thread or table the AWS column is from
	Differs   string   `json:"differs,omitempty"` // why Livegate does otherwise; "" when it does not
	Proofs    []string `json:"proofs,omitempty"`  // "gateway.TestVectors/A14"
	// Proved is filled in: all proofs passed in the recorded run.
	Proved bool `json:"proved"`
}

// Mark is the row's verdict: "✓", "differs", "not shown".
func (r *Row) Mark() string {
	switch {
	case !r.Proved:
		return "not shown"
	case r.Differs != "":
		return "differs"
	}
	return "✓"
}

//go:embed rows.jsonl
var rows []byte

//go:embed proved.txt
var proved string

// Rows is the table, in order, with Proved as of the recorded run.
func Rows() ([]Row, error) { return read(rows, Passed()) }

// Passed are the proofs of the recorded run.
func Passed() []string { return strings.Fields(proved) }

// With is the table as another run would prove it.
func With(passed []string) ([]Row, error) { return read(rows, passed) }

func read(text []byte, passed []string) (out []Row, err error) {
	known := make(map[string]bool, len(passed))
	for _, p := range passed {
		known[p] = true
	}
	seen := make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var r Row
		dec := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&r); err != nil {
			return nil, fault.New(fault.BadRequest, "rows.jsonl:%d: %v", n, err)
		}
		if why := r.check(seen); why != "" {
			return nil, fault.New(fault.BadRequest, "rows.jsonl:%d: %s", n, why)
		}
		seen[r.ID] = true
		r.Proved = len(r.Proofs) > 0 && !slices.ContainsFunc(r.Proofs, func(p string) bool { return !known[p] })
		out = append(out, r)
	}
	return out, lines.Err()
}

func (r *Row) check(seen map[string]bool) string {
	switch {
	case r.ID == "" || r.Section == "" || r.Behaviour == "" || r.AWS == "" || r.Livegate == "":
		return "id, section, behaviour, aws and livegate are required"
	case seen[r.ID]:
		return fmt.Sprintf("id %q is there twice", r.ID)
	case !slices.Contains([]Basis{Documented, Observed, Unconfirmed, Beyond}, r.Basis):
		return fmt.Sprintf("basis %q: use documented, observed, unconfirmed or beyond AWS", r.Basis)
	case r.Source == "" && (r.Basis == Documented || r.Basis == Observed):
		return fmt.Sprintf("row %s says %s and names no source", r.ID, r.Basis)
	case r.Proved:
		return "proved is not written by hand"
	}
	return ""
}

// Proofs are the distinct proofs of a table, sorted.
func Proofs(table []Row) []string {
	var all []string
	for i := range table {
		all = append(all, table[i].Proofs...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
