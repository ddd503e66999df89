package stack

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// Severity of a Finding.
type Severity string

const (
	Error   Severity = "error"   // it would not deploy, or what runs needs it
	Warning Severity = "warning" // accepted, and something will not work as written
	Note    Severity = "note"    // worth knowing
)

// Finding is one thing to know about a template.
type Finding struct {
	Severity Severity  `json:"severity"`
	Code     string    `json:"code"` // stable, kebab-case
	Message  string    `json:"message"`
	Hint     string    `json:"hint,omitempty"`     // what to do
	Resource string    `json:"resource,omitempty"` // logical id
	Pos      model.Pos `json:"pos"`
}

// String is the finding as a user reads it: one line, and the hint below.
func (f Finding) String() string {
	s := fmt.Sprintf("%s: %s [%s]", f.Severity, f.Message, f.Code)
	if at := f.Pos.String(); at != "" {
		s = at + ": " + s
	}
	if f.Hint != "" {
		s += "\n    " + f.Hint
	}
	return s
}

// findings collects, each once.
type findings struct {
	list []Finding
	seen map[Finding]bool
}

func (f *findings) add(n Finding) {
	if f.seen[n] {
		return
	}
	if f.seen == nil {
		f.seen = map[Finding]bool{}
	}
	f.seen[n] = true
	f.list = append(f.list, n)
}

// sorted orders by file (rank gives the order of loading), line and column.
func (f *findings) sorted(rank map[string]int) []Finding {
	slices.SortStableFunc(f.list, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(rank[a.Pos.File], rank[b.Pos.File]), strings.Compare(a.Pos.File, b.Pos.File),
			cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Col, b.Pos.Col), cmp.Compare(a.Code, b.Code))
	})
	return f.list
}

func position(p cfn.Pos) model.Pos { return model.Pos{File: p.File, Line: p.Line, Col: p.Col} }

func fromProblem(p cfn.Problem) Finding {
	return Finding{Severity: Severity(p.Severity.String()), Code: p.Code, Message: p.Message, Hint: p.Hint, Resource: p.Resource, Pos: position(p.Pos)}
}

// quote shows a value of the template, shortened.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
