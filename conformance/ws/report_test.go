package ws

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// verdicts are kept for the report; rows run in parallel.
var verdicts struct {
	sync.Mutex
	lines []verdict
}

type verdict struct{ section, what, engine, result string }

// judged records the outcome of a row, or of an attack, when it ends.
func judged(t *testing.T, section, what, engine string) {
	t.Cleanup(func() {
		result := "pass"
		switch {
		case t.Failed():
			result = "FAIL"
		case t.Skipped():
			result = "skipped"
		}
		verdicts.Lock()
		defer verdicts.Unlock()
		verdicts.lines = append(verdicts.lines, verdict{section, what, engine, result})
	})
}

// writeReport writes one line per row as Markdown; no file, no report.
func writeReport(file string) error {
	if file == "" {
		return nil
	}
	verdicts.Lock()
	defer verdicts.Unlock()
	slices.SortStableFunc(verdicts.lines, func(a, b verdict) int {
		return strings.Compare(a.section+"\x00"+a.what+"\x00"+a.engine, b.section+"\x00"+b.what+"\x00"+b.engine)
	})
	count := map[string]int{}
	var table bytes.Buffer
	for _, v := range verdicts.lines {
		count[v.result]++
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", v.section, cell(v.what), v.engine, v.result)
	}
	head := fmt.Sprintf("# WebSocket conformance\n\n%d rows: %d passed, %d failed, %d skipped.\n\n| Section | Row | Engine | Result |\n|--|--|--|--|\n",
		len(verdicts.lines), count["pass"], count["FAIL"], count["skipped"])
	if err := os.WriteFile(file, append([]byte(head), table.Bytes()...), 0o644); err != nil {
		return fmt.Errorf("LIVEGATE_WS_REPORT: %w", err)
	}
	return nil
}

// cell makes s safe inside a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", "*", `\*`, "`", "\\`").Replace(s)
}

// TestConformance runs every row against every server.
func TestConformance(t *testing.T) {
	rows := allRows()
	for _, s := range servers(t) {
		t.Run(s.name, func(t *testing.T) {
			for i := range rows {
				r := &rows[i]
				t.Run(r.name(), func(t *testing.T) {
					t.Parallel()
					judged(t, r.section, r.what, s.name)
					r.run(t, s)
				})
			}
		})
	}
}

// minRows is how many rows the table may not fall below.
const minRows = 280

// The table is as large as it claims, and every row has a name of its own.
func TestTable(t *testing.T) {
	rows := allRows()
	if len(rows) < minRows {
		t.Errorf("%d rows, at least %d expected", len(rows), minRows)
	}
	names := map[string]bool{}
	sections := map[string]int{}
	always := 0
	for _, r := range rows {
		if names[r.name()] {
			t.Errorf("two rows are named %q", r.name())
		}
		names[r.name()] = true
		sections[r.section]++
		if !r.deflate {
			always++
		}
		if !strings.HasPrefix(r.section, "RFC ") || !strings.Contains(r.section, " §") || r.what == "" || len(r.steps) == 0 {
			t.Errorf("row %q %q has no section, name or steps", r.section, r.what)
		}
	}
	if always < minRows {
		t.Errorf("%d rows need no extension, at least %d expected", always, minRows)
	}
	t.Logf("%d rows, %d without permessage-deflate, in %d sections", len(rows), always, len(sections))
}
