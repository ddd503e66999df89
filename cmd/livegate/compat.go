package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/parity"
	"github.com/livegate/livegate/internal/terminal"
)

func (c *cli) compatCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "compat [words]", Short: "What AWS's WebSocket APIs do, and what Livegate does",
		Long: "Prints the compatibility table, row by row, as docs/compat/websocket-api.md shows it.\n" +
			"Words narrow it to rows that hold all of them, and show those in full:\n\n  livegate compat close code",
		RunE: func(_ *cobra.Command, words []string) error {
			table, err := parity.Rows()
			if err != nil {
				return err
			}
			if table = holding(table, words); len(table) == 0 {
				return fault.New(fault.NotFound, "no row holds %q", strings.Join(words, " "))
			}
			if asJSON {
				out := json.NewEncoder(c.out)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				return out.Encode(table)
			}
			return c.printParity(table, len(words) > 0)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// holding are the rows that hold every word, in any case, in any column.
func holding(table []parity.Row, words []string) (out []parity.Row) {
rows:
	for i := range table {
		r := &table[i]
		text := strings.ToLower(strings.Join([]string{r.ID, r.Section, r.Behaviour, r.AWS, r.Livegate, r.Differs, string(r.Basis), r.Source, r.Mark()}, "\n"))
		for _, w := range words {
			if !strings.Contains(text, strings.ToLower(w)) {
				continue rows
			}
		}
		out = append(out, *r)
	}
	return out
}

func (c *cli) printParity(table []parity.Row, full bool) error {
	view := terminal.Table{Head: []string{"ID", "", "BEHAVIOUR"}}
	if full {
		view.Head = append(view.Head, "AWS", "LIVEGATE")
	}
	proved := 0
	for i := range table {
		r := &table[i]
		if r.Proved {
			proved++
		}
		cells := []string{r.ID, r.Mark(), plainCode(r.Behaviour)}
		if full {
			does := r.Livegate
			if r.Differs != "" {
				does += "; because " + r.Differs
			}
			cells = append(cells, plainCode(r.AWS), plainCode(does))
		}
		view.Rows = append(view.Rows, cells)
	}
	_, err := fmt.Fprintf(c.out, "%s\n%d rows, %d with tests that passed. More: livegate compat WORDS, --json\n", view.Render(c.look(c.out)), len(table), proved)
	return err
}

// plainCode takes Markdown's code marks off.
func plainCode(s string) string { return strings.ReplaceAll(s, "`", "") }
