package parity

import (
	"fmt"
	"strings"
)

const preamble = `# WebSocket APIs: what AWS does, what Livegate does

%d rows: %s. Made from internal/parity by ` + "`make parity`" + `; ` + "`livegate compat`" + ` prints the same table.

**Basis**: *documented* (the Developer Guide, "DG:page", or an API model says so), *observed* (public captures, issues or tests of the real
service), *unconfirmed* (no source shows it: the Livegate column is the default taken until somebody measures it), *beyond AWS* (additive).
**✓** means that the row holds and that its tests passed in the recorded run; *differs* is on purpose, with the reason; *not shown* means that
no passing test shows it yet. Nothing here was measured on AWS by this project.
`

// Page is the table in Markdown.
func Page(table []Row) string {
	counts := map[string]int{}
	for i := range table {
		counts[table[i].Mark()]++
	}
	var parts []string
	for _, m := range []string{"✓", "differs", "not shown"} {
		if counts[m] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[m], m))
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, preamble, len(table), strings.Join(parts, ", "))
	section := ""
	for i := range table {
		r := &table[i]
		if r.Section != section {
			section = r.Section
			fmt.Fprintf(&b, "\n## %s\n\n| id | behaviour | AWS | Livegate | | basis | proof |\n|---|---|---|---|---|---|---|\n", section)
		}
		does := r.Livegate
		if r.Differs != "" {
			does += "; because " + r.Differs
		}
		basis := string(r.Basis)
		if r.Source != "" {
			basis += " (" + r.Source + ")"
		}
		proofs := make([]string, len(r.Proofs))
		for j, p := range r.Proofs {
			proofs[j] = "`" + p + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n",
			r.ID, cell(r.Behaviour), cell(r.AWS), cell(does), r.Mark(), cell(basis), strings.Join(proofs, ", "))
	}
	return b.String()
}

// cell keeps text inside one table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
