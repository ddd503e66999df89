package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/terminal"
)

func (c *cli) tablesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tables",
		Short: "Look into, change and move the tables of an application",
		Long: `Look into, change and move the tables of the running application, through its
DynamoDB API. Items are in DynamoDB JSON, {"id": {"S": "a"}}, or with --plain in
plain JSON, {"id": "a"}. Only compact works on the data itself, and needs the
application stopped.`,
		Example: `  livegate tables list
  livegate tables scan Connections
  livegate tables put Users '{"id": "u1", "age": 33}' --plain
  livegate tables export Users --out users.jsonl`,
		Args: func(cmd *cobra.Command, args []string) error { return unknown(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.tablesListCommand(), c.tablesDescribeCommand(), c.tablesScanCommand(), c.tablesPutCommand(),
		c.tablesDeleteCommand(), c.tablesExportCommand(), c.tablesImportCommand(), c.tablesCompactCommand())
	return cmd
}

// exactly asks for arguments by name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return &usageError{msg: "missing " + names[len(args)], hint: "usage: " + cmd.UseLine()}
		}
		return atMost(len(names))(cmd, args)
	}
}

func (c *cli) tablesListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Names, keys and sizes of the tables",
		Args:  atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			db, err := c.database(cmd.Context())
			if err != nil {
				return err
			}
			names, err := db.list(cmd.Context())
			if err != nil {
				return err
			}
			shown := []description{}
			t := terminal.Table{Head: []string{"name", "key", "items", "size", "indexes", "stream"}}
			for _, name := range names {
				d, _, err := db.describe(cmd.Context(), name)
				if err != nil {
					return err
				}
				shown = append(shown, d)
				t.Rows = append(t.Rows, []string{d.Name, d.keyText(), fmt.Sprint(d.Items), humanBytes(d.Bytes), joined(d.indexNames()), d.streamText()})
			}
			switch {
			case asJSON:
				return c.printJSON(shown)
			case len(shown) == 0:
				fmt.Fprintln(c.out, "there are no tables")
			default:
				fmt.Fprint(c.out, t.Render(c.look(c.out)))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for scripts: what DescribeTable says, as a list")
	return cmd
}

func (c *cli) tablesDescribeCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "describe TABLE",
		Short:             "Keys, indexes, size and stream of a table",
		Args:              exactly("TABLE"),
		ValidArgsFunction: c.tableNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			db, err := c.database(cmd.Context())
			if err != nil {
				return err
			}
			d, raw, err := db.describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return c.printJSON(raw)
			}
			p := page{look: c.look(c.out)}
			p.text(d.Name + ": " + strings.ToLower(d.Status) + "\n")
			p.section("Table", terminal.Table{Indent: 2, Keep: []int{1}, Rows: [][]string{
				{"ARN", d.ARN}, {"key", d.keyText()}, {"items", fmt.Sprint(d.Items)}, {"size", humanBytes(d.Bytes)}, {"stream", d.streamText()},
			}})
			indexes := terminal.Table{Indent: 2, Head: []string{"name", "kind", "key", "projection", "items"}}
			for _, i := range d.Globals {
				indexes.Rows = append(indexes.Rows, []string{i.Name, "global", d.schemaText(i.Keys), i.Projection.text(), fmt.Sprint(i.Items)})
			}
			for _, i := range d.Locals {
				indexes.Rows = append(indexes.Rows, []string{i.Name, "local", d.schemaText(i.Keys), i.Projection.text(), fmt.Sprint(i.Items)})
			}
			p.section("Indexes", indexes)
			fmt.Fprint(c.out, p.b.String())
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what DescribeTable answers")
	return cmd
}

func (c *cli) tablesCompactCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Give the disk space of deleted data back; needs the application stopped",
		Long: `Rewrite the file that holds the tables without the room that deleted data left.
The application must be stopped. The new file is read back and compared before it
takes the old one's place in one step, so an interruption loses nothing; it needs
as much free space as there is data.`,
		Args: atMost(0),
		RunE: func(*cobra.Command, []string) error {
			data, _, err := c.dirs("")
			if err != nil {
				return err
			}
			if run, err := client.ReadRunFile(data); err == nil {
				return fault.New(fault.Conflict, "an instance uses %s (stack %s, pid %d, %s): stop it first", data, run.Stack, run.PID, run.URL)
			} else if !errors.Is(err, client.ErrNotRunning) {
				return err
			}
			path := filepath.Join(data, "state.db")
			before, after, err := storage.Compact(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s: %s, was %s\n", path, humanBytes(after), humanBytes(before))
			return nil
		},
	}
}

// printJSON writes a value for scripts.
func (c *cli) printJSON(v any) error {
	out := json.NewEncoder(c.out)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// tableNames completes names from the running instance.
func (c *cli) tableNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	db, err := c.database(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := db.list(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
