package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/fault"
)

// perBatch is BatchWriteItem's limit.
const perBatch = 25

// tellEvery is how often a transfer says how far it is.
const tellEvery = 2 * time.Second

// progress says how far a transfer is, on standard error.
type progress struct {
	out  io.Writer
	verb string
	last time.Time
}

func (p *progress) at(n int) {
	if time.Since(p.last) >= tellEvery {
		p.last = time.Now()
		fmt.Fprintf(p.out, "%s %s so far\n", count(n, "item"), p.verb)
	}
}

func (c *cli) progress(verb string) *progress {
	return &progress{out: c.err, verb: verb, last: time.Now()}
}

func (c *cli) tablesExportCommand() *cobra.Command {
	var out, after string
	var plain bool
	cmd := &cobra.Command{
		Use:   "export TABLE",
		Short: "Write the items of a table as JSON lines",
		Long: `Write the items of a table, one per line: {"Item": {…}} in DynamoDB JSON, as AWS's
own export does, or plain JSON with --plain. Items are read in pages while the
application goes on. An export that breaks off says how to continue it.`,
		Example:           "  livegate tables export Users > users.jsonl\n  livegate tables export Users --out users.jsonl",
		Args:              exactly("TABLE"),
		ValidArgsFunction: c.tableNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]any{"TableName": args[0]}
			if after != "" {
				key, err := c.itemArgument("--after", after, false)
				if err != nil {
					return err
				}
				in["ExclusiveStartKey"] = key
			}
			db, err := c.database(cmd.Context())
			if err != nil {
				return err
			}
			if _, _, err := db.describe(cmd.Context(), args[0]); err != nil {
				return err
			}
			w, closer := c.out, func() error { return nil }
			if out != "" {
				f, err := destination(out, after != "")
				if err != nil {
					return err
				}
				w, closer = f, f.Close
			}
			n, last, err := export(cmd.Context(), db, in, w, plain, c.progress("exported"))
			if err = errors.Join(err, closer()); err == nil {
				fmt.Fprintf(c.err, "%s exported\n", count(n, "item"))
				return nil
			}
			if last != nil {
				fmt.Fprintf(c.err, "%s exported; to continue: the same command with --after '%s'\n", count(n, "item"), compact(last))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write to this new file; with --after, append to it")
	cmd.Flags().StringVar(&after, "after", "", "continue after the item with this key, in DynamoDB JSON")
	cmd.Flags().BoolVar(&plain, "plain", false, "plain JSON")
	return cmd
}

// destination opens a file that does not exist, or one to go on with.
func destination(path string, again bool) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if again {
		flags = os.O_WRONLY | os.O_APPEND
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, fault.New(fault.Conflict, "%s exists: name another file, or remove it", path)
	}
	return f, err
}

// export writes whole pages, so that the key it returns (nil: none yet) is where
// to go on.
func export(ctx context.Context, db *database, in map[string]any, w io.Writer, plain bool, p *progress) (n int, last item, err error) {
	for {
		var page scanPage
		if err := db.call(ctx, "Scan", in, &page); err != nil {
			return n, last, err
		}
		var b bytes.Buffer
		for _, it := range page.Items {
			if plain {
				b.Write(line(it, true))
			} else {
				b.Write(compact(map[string]item{"Item": it}))
			}
			b.WriteByte('\n')
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return n, last, err
		}
		n += len(page.Items)
		p.at(n)
		if page.LastEvaluatedKey == nil {
			return n, nil, nil
		}
		last = page.LastEvaluatedKey
		in["ExclusiveStartKey"] = last
	}
}

func (c *cli) tablesImportCommand() *cobra.Command {
	var from int
	var plain bool
	cmd := &cobra.Command{
		Use:   "import TABLE FILE",
		Short: "Store the items of a file of JSON lines",
		Long: `Store the items of a file, one per line: what export writes, or DynamoDB JSON
without the "Item" around it, or plain JSON with --plain. FILE may be - for
standard input. Items replace those with the same key. An import that breaks off
says from which line to continue it; doing a line twice does no harm.`,
		Example: "  livegate tables import Users users.jsonl\n  jq -c … people.json | livegate tables import Users - --plain",
		Args:    exactly("TABLE", "FILE"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			return c.tableNames(cmd, args, typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if from < 1 {
				return usagef("--from %d: lines count from 1", from)
			}
			r := c.in
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return usagef("%v", err)
				}
				defer f.Close()
				r = f
			}
			db, err := c.database(cmd.Context())
			if err != nil {
				return err
			}
			d, _, err := db.describe(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			l := &loader{db: db, table: d, plain: plain, next: from, progress: c.progress("imported")}
			if err := l.load(cmd.Context(), r, from); err != nil {
				fmt.Fprintf(c.err, "%s imported; to continue: the same command with --from %d\n", count(l.stored, "item"), l.next)
				return err
			}
			fmt.Fprintf(c.err, "%s imported\n", count(l.stored, "item"))
			return nil
		},
	}
	cmd.Flags().IntVar(&from, "from", 1, "begin at this line")
	cmd.Flags().BoolVar(&plain, "plain", false, "lines are plain JSON")
	return cmd
}

// loader is one import.
type loader struct {
	db       *database
	table    description
	plain    bool
	stored   int
	next     int // first line that is not stored
	progress *progress
}

// maxLine bounds a line: an item of 400 KB in DynamoDB's notation.
const maxLine = 16 << 20

func (l *loader) load(ctx context.Context, r io.Reader, from int) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var batch []item
	n := 0
	for lines.Scan() {
		if n++; n < from || len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		it, err := l.parse(lines.Bytes())
		if err != nil {
			if stored := l.store(ctx, batch, n); stored != nil {
				return stored
			}
			return fault.New(fault.BadRequest, "line %d: %s", n, fault.Message(err))
		}
		if batch = append(batch, it); len(batch) == perBatch {
			if err := l.store(ctx, batch, n+1); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if err := l.store(ctx, batch, n+1); err != nil {
		return err
	}
	if err := lines.Err(); err != nil {
		return fault.New(fault.BadRequest, "line %d: %v", n+1, err)
	}
	return nil
}

// parse reads a line in any of the notations.
func (l *loader) parse(text []byte) (item, error) {
	if l.plain {
		it, err := readItem(text, true)
		if err == nil {
			fitKeys(l.table, it)
		}
		return it, err
	}
	// {"Item": {"id": {"S": …}}} wraps an item; an attribute called Item has a
	// type in it, whose value is no object, or is one called M.
	var wrapped map[string]map[string]json.RawMessage
	if json.Unmarshal(text, &wrapped) == nil && len(wrapped) == 1 {
		if inner, ok := wrapped["Item"]; ok && l.keyed(inner) {
			var line struct{ Item json.RawMessage }
			if err := json.Unmarshal(text, &line); err != nil {
				return nil, err
			}
			text = line.Item
		}
	}
	return readItem(text, false)
}

// keyed says whether attributes hold the table's partition key.
func (l *loader) keyed(attributes map[string]json.RawMessage) bool {
	for _, k := range l.table.Keys {
		if _, ok := attributes[k.AttributeName]; !ok {
			return false
		}
	}
	return true
}

// store writes a batch; then every line before next is stored. Lines with the
// same key in one batch, which DynamoDB refuses, are written one by one.
func (l *loader) store(ctx context.Context, batch []item, next int) error {
	var requests []any
	for _, it := range batch {
		requests = append(requests, map[string]any{"PutRequest": map[string]any{"Item": it}})
	}
	pending := map[string][]any{l.table.Name: requests}
	for len(pending[l.table.Name]) > 0 {
		var out struct{ UnprocessedItems map[string][]any }
		err := l.db.call(ctx, "BatchWriteItem", map[string]any{"RequestItems": pending}, &out)
		if err != nil && fault.Is(err, fault.BadRequest) {
			err = l.oneByOne(ctx, batch)
		}
		if err != nil {
			return err
		}
		pending = out.UnprocessedItems
	}
	l.stored += len(batch)
	l.next = next
	l.progress.at(l.stored)
	return nil
}

// oneByOne also tells which item of a batch is wrong.
func (l *loader) oneByOne(ctx context.Context, batch []item) error {
	for _, it := range batch {
		var out struct{}
		if err := l.db.call(ctx, "PutItem", map[string]any{"TableName": l.table.Name, "Item": it}, &out); err != nil {
			key := item{}
			for _, k := range l.table.Keys {
				key[k.AttributeName] = it[k.AttributeName]
			}
			return fault.New(fault.KindOf(err), "the item with the key %s: %s", compact(key), fault.Message(err))
		}
	}
	return nil
}
