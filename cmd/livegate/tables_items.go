package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/terminal"
)

// item is an item in DynamoDB JSON: attribute → {"S": …}.
type item map[string]map[string]any

// scanFlags are how scan and export read.
type scanFlags struct {
	index         string
	plain, asJSON bool
	limit         int
}

func (c *cli) tablesScanCommand() *cobra.Command {
	var f scanFlags
	cmd := &cobra.Command{
		Use:   "scan TABLE",
		Short: "Show the items of a table",
		Long: `Show the items of a table: aligned columns, keys first, or with --json one item per
line, in DynamoDB JSON or (--plain) in plain JSON, where binary values are base64
text and sets are lists.`,
		Args:              exactly("TABLE"),
		ValidArgsFunction: c.tableNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.plain && !f.asJSON {
				return usagef("--plain goes with --json")
			}
			if f.limit < 0 {
				return usagef("--limit %d: want 0 for all, or more", f.limit)
			}
			return c.scan(cmd, args[0], f)
		},
	}
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "one item per line, in DynamoDB JSON")
	cmd.Flags().BoolVar(&f.plain, "plain", false, "with --json: plain JSON")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "show so many items at most; 0 is all")
	cmd.Flags().StringVar(&f.index, "index", "", "read this index")
	return cmd
}

func (c *cli) scan(cmd *cobra.Command, table string, f scanFlags) error {
	db, err := c.database(cmd.Context())
	if err != nil {
		return err
	}
	d, _, err := db.describe(cmd.Context(), table)
	if err != nil {
		return err
	}
	in := map[string]any{"TableName": table}
	if f.index != "" {
		in["IndexName"] = f.index
	}
	var rows []item
	shown, more := 0, false
	for !more {
		if f.limit > 0 {
			in["Limit"] = f.limit - shown
		}
		var page scanPage
		if err := db.call(cmd.Context(), "Scan", in, &page); err != nil {
			return err
		}
		for _, it := range page.Items {
			if shown++; f.asJSON {
				fmt.Fprintln(c.out, string(line(it, f.plain)))
			} else {
				rows = append(rows, it)
			}
		}
		if in["ExclusiveStartKey"] = page.LastEvaluatedKey; page.LastEvaluatedKey == nil {
			break
		}
		more = f.limit > 0 && shown >= f.limit
	}
	if !f.asJSON {
		fmt.Fprint(c.out, itemTable(d, rows).Render(c.look(c.out)))
		fmt.Fprintln(c.out, c.look(c.out).Paint(terminal.Dim, count(shown, "item")))
	}
	if more {
		fmt.Fprintf(c.err, "there may be more: --limit 0 shows all\n")
	}
	return nil
}

// scanPage is a page of Scan's answer.
type scanPage struct {
	Items            []item
	LastEvaluatedKey item
}

// itemTable puts the keys first, the other attributes by name.
func itemTable(d description, rows []item) terminal.Table {
	var t terminal.Table
	others := map[string]bool{}
	for _, it := range rows {
		for name := range it {
			others[name] = true
		}
	}
	for _, k := range d.Keys {
		delete(others, k.AttributeName)
		t.Head = append(t.Head, k.AttributeName)
	}
	t.Head = append(t.Head, slices.Sorted(maps.Keys(others))...)
	for _, it := range rows {
		cells := make([]string, len(t.Head))
		for i, name := range t.Head {
			if v, ok := it[name]; ok {
				cells[i] = cell(plainValue(v))
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	if len(rows) == 0 {
		return terminal.Table{}
	}
	return t
}

func cell(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	return string(compact(v))
}

// line is an item as one line of JSON.
func line(it item, plain bool) []byte {
	if !plain {
		return compact(it)
	}
	return compact(plainItem(it))
}

// compact is JSON without needless escapes. Values here were JSON before.
func compact(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func plainItem(it item) map[string]any {
	out := make(map[string]any, len(it))
	for name, v := range it {
		out[name] = plainValue(v)
	}
	return out
}

// plainValue is an attribute value in plain JSON.
func plainValue(v map[string]any) any {
	for kind, x := range v {
		switch kind {
		case "N":
			if s, ok := x.(string); ok {
				return json.Number(s)
			}
		case "NULL":
			return nil
		case "NS":
			return each(x, func(e any) any { s, _ := e.(string); return json.Number(s) })
		case "L":
			return each(x, func(e any) any { m, _ := e.(map[string]any); return plainValue(m) })
		case "M":
			m, _ := x.(map[string]any)
			out := make(map[string]any, len(m))
			for name, e := range m {
				inner, _ := e.(map[string]any)
				out[name] = plainValue(inner)
			}
			return out
		}
		return x
	}
	return nil
}

func each(x any, fn func(any) any) []any {
	list, _ := x.([]any)
	out := make([]any, len(list))
	for i, e := range list {
		out[i] = fn(e)
	}
	return out
}

// typed is a plain JSON value as an attribute value.
func typed(v any) map[string]any {
	switch v := v.(type) {
	case string:
		return map[string]any{"S": v}
	case json.Number:
		return map[string]any{"N": v.String()}
	case bool:
		return map[string]any{"BOOL": v}
	case []any:
		return map[string]any{"L": each(v, func(e any) any { return typed(e) })}
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, e := range v {
			m[name] = typed(e)
		}
		return map[string]any{"M": m}
	}
	return map[string]any{"NULL": true}
}

// readItem reads an item or key in either notation.
func readItem(text []byte, plain bool) (item, error) {
	var attributes map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&attributes); err != nil {
		return nil, fault.New(fault.BadRequest, "not a JSON object: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fault.New(fault.BadRequest, "something follows the JSON object")
	}
	out := make(item, len(attributes))
	for name, v := range attributes {
		if plain {
			out[name] = typed(v)
			continue
		}
		m, ok := v.(map[string]any)
		if !ok || len(m) != 1 {
			return nil, fault.New(fault.BadRequest, "%q is not DynamoDB JSON, which has a type around each value: {%q: {\"S\": \"…\"}}; with --plain, plain JSON is read", name, name)
		}
		out[name] = m
	}
	return out, nil
}

// fitKeys makes text into binary where a key is binary: plain JSON has no binary.
func fitKeys(d description, it item) {
	for _, a := range d.Attributes {
		v := it[a.AttributeName]
		if s, ok := v["S"].(string); ok && a.AttributeType == "B" {
			if _, err := base64.StdEncoding.DecodeString(s); err == nil {
				it[a.AttributeName] = map[string]any{"B": s}
			}
		}
	}
}

// itemArgument reads an argument that is an item, "-" for standard input.
func (c *cli) itemArgument(name, text string, plain bool) (item, error) {
	b := []byte(text)
	if text == "-" {
		var err error
		if b, err = io.ReadAll(c.in); err != nil {
			return nil, usagef("standard input: %v", err)
		}
	}
	it, err := readItem(b, plain)
	if err != nil {
		return nil, usagef("%s: %s", name, fault.Message(err))
	}
	return it, nil
}

func (c *cli) tablesPutCommand() *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:               "put TABLE ITEM",
		Short:             "Store an item, in place of the one with its key",
		Example:           "  livegate tables put Users '{\"id\": {\"S\": \"u1\"}}'\n  livegate tables put Users '{\"id\": \"u1\"}' --plain\n  jq … | livegate tables put Users -",
		Args:              exactly("TABLE", "ITEM"),
		ValidArgsFunction: c.tableNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.change(cmd, args, plain, "PutItem", "Item", "stored", "stored; an item with this key was replaced")
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "ITEM is plain JSON")
	return cmd
}

func (c *cli) tablesDeleteCommand() *cobra.Command {
	var plain bool
	cmd := &cobra.Command{
		Use:               "delete TABLE KEY",
		Short:             "Remove an item",
		Example:           "  livegate tables delete Users '{\"id\": \"u1\"}' --plain",
		Args:              exactly("TABLE", "KEY"),
		ValidArgsFunction: c.tableNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.change(cmd, args, plain, "DeleteItem", "Key", "there was no such item", "deleted")
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "KEY is plain JSON")
	return cmd
}

// change does a put or delete and says what was there before.
func (c *cli) change(cmd *cobra.Command, args []string, plain bool, operation, field, absent, present string) error {
	it, err := c.itemArgument(strings.ToUpper(field), args[1], plain)
	if err != nil {
		return err
	}
	db, err := c.database(cmd.Context())
	if err != nil {
		return err
	}
	d, _, err := db.describe(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if plain {
		fitKeys(d, it)
	}
	var old struct{ Attributes item }
	if err := db.call(cmd.Context(), operation, map[string]any{"TableName": args[0], field: it, "ReturnValues": "ALL_OLD"}, &old); err != nil {
		return err
	}
	if old.Attributes == nil {
		fmt.Fprintln(c.out, absent)
	} else {
		fmt.Fprintln(c.out, present)
	}
	return nil
}
