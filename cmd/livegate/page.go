package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/terminal"
)

// page collects what one screenful says.
type page struct {
	look terminal.Look
	b    strings.Builder
}

func (p *page) text(s string) { p.b.WriteString(s) }

// section writes a titled table; an empty one leaves no title behind.
func (p *page) section(title string, t terminal.Table) {
	if len(t.Rows) == 0 {
		return
	}
	p.text("\n" + p.look.Paint(terminal.Bold, title) + "\n" + t.Render(p.look))
}

// stack writes what an instance runs: addresses, functions, tables, outputs.
func (p *page) stack(s client.Status) {
	for _, api := range s.APIs {
		t := terminal.Table{Indent: 2, Keep: []int{1}, Paints: []terminal.Paint{terminal.Plain, terminal.Cyan}}
		for _, st := range api.Stages {
			t.Rows = append(t.Rows, []string{st.Name, st.WebSocketURL}, []string{"", st.SecureWebSocketURL},
				[]string{"", st.ManagementURL + "/@connections/{connectionId}"})
		}
		p.section("WebSocket API "+api.Name+" ("+api.ID+")", t)
	}
	functions := terminal.Table{Indent: 2, Head: []string{"name", "runtime", "runs on"}}
	for _, f := range s.Functions {
		functions.Rows = append(functions.Rows, []string{f.LogicalID, f.Runtime, f.RunsOn})
	}
	p.section("Functions", functions)
	tables := terminal.Table{Indent: 2, Head: []string{"name", "key", "indexes"}}
	for _, t := range s.Tables {
		tables.Rows = append(tables.Rows, []string{t.Name, tableKey(t), joined(t.Indexes)})
	}
	p.section("Tables", tables)
	p.section("Outputs", outputs(s.Outputs))
	local := terminal.Table{Indent: 2, Keep: []int{1}, Rows: [][]string{{"console", consoleURL(s)}, {"AWS endpoint", s.EndpointURL}, {"CA certificate", s.CAFile}}}
	p.section("Local", local)
}

// findings writes warnings with their place and collects notes, one line each.
func (p *page) findings(list []client.Finding, read sources) {
	var notes [][]string
	title := "\n" + p.look.Paint(terminal.Bold, "Not as on AWS") + "\n"
	for _, f := range list {
		if f.Severity == client.SeverityNote {
			notes = append(notes, []string{f.Pos.String(), terminal.About(f.Resource, f.Message)})
			continue
		}
		p.text(title + problem(f, read).Render(p.look))
		title = ""
	}
	p.section("Good to know", terminal.Table{Indent: 2, Rows: notes, Paints: []terminal.Paint{terminal.Dim}})
}

func outputs(m map[string]string) terminal.Table {
	t := terminal.Table{Indent: 2, Keep: []int{1}}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t.Rows = append(t.Rows, []string{name, m[name]})
	}
	return t
}

func joined(list []string) string { return strings.Join(list, ", ") }

// sources reads a line of a file the user named; "" when it cannot.
type sources func(file string, line int) string

// sources looks a file up as it was named, then beside the template.
func (c *cli) sources(path string) sources {
	dir := path
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		dir = filepath.Dir(path)
	}
	return func(file string, line int) string {
		if file == "" || line <= 0 {
			return ""
		}
		for _, name := range []string{file, filepath.Join(dir, file)} {
			f, err := os.Open(name)
			if err != nil {
				continue
			}
			defer f.Close()
			return nthLine(f, line)
		}
		return ""
	}
}

func nthLine(r io.Reader, n int) string {
	lines := bufio.NewScanner(io.LimitReader(r, 8<<20))
	lines.Buffer(nil, 1<<20)
	for i := 1; lines.Scan(); i++ {
		if i == n {
			return lines.Text()
		}
	}
	return ""
}

func problem(f client.Finding, read sources) terminal.Problem {
	return terminal.Problem{
		Severity: f.Severity, Code: f.Code, Message: f.Message, Hint: f.Hint, Resource: f.Resource,
		File: f.Pos.File, Line: f.Pos.Line, Col: f.Pos.Col, Source: read(f.Pos.File, f.Pos.Line),
	}
}

// maxShown keeps a report on one screen: what is wrong first, then how much more.
const maxShown = 20

// showFindings writes errors first, then warnings, then notes, and a line that
// counts them.
func (c *cli) showFindings(w io.Writer, look terminal.Look, list []client.Finding) {
	rank := map[string]int{client.SeverityError: 0, client.SeverityWarning: 1, client.SeverityNote: 2}
	sorted := slices.Clone(list)
	slices.SortStableFunc(sorted, func(a, b client.Finding) int { return rank[a.Severity] - rank[b.Severity] })
	read := c.sources("")
	counts := map[string]int{}
	for i, f := range sorted {
		counts[f.Severity]++
		if i < maxShown {
			fmt.Fprint(w, problem(f, read).Render(look))
		}
	}
	if len(sorted) > maxShown {
		fmt.Fprintf(w, "… and %d more\n", len(sorted)-maxShown)
	}
	var parts []string
	for _, severity := range []string{client.SeverityError, client.SeverityWarning, client.SeverityNote} {
		if n := counts[severity]; n > 0 {
			parts = append(parts, count(n, severity))
		}
	}
	fmt.Fprintln(w, strings.Join(parts, ", "))
}
