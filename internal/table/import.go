package table

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/fault"
)

// importBatch is how many items one transaction of an import stores.
const importBatch = 100

// maxLine bounds a line of an import: an item of 400 KB whose every byte is
// escaped, and some room.
const maxLine = 4 << 20

// Import puts items into a table, one JSON object a line: an item in wire form,
// {"pk":{"S":"a"},…}, or as DynamoDB exports it, {"Item":{"pk":{"S":"a"},…}}.
// Empty lines are skipped. Items replace those with their keys; streams see them.
// It returns how many items are stored, which are those of the lines before the
// one that an error names: an import is not one transaction.
func (e *Engine) Import(ctx context.Context, table string, r io.Reader) (stored int, err error) {
	defer fault.Wrap(&err, "table.Import(%q)", table)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	var items []attr.Map
	flush := func() error {
		err := e.putAll(ctx, table, items)
		if err == nil {
			stored += len(items)
		}
		items = items[:0]
		return err
	}
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		item, err := e.importedItem(table, line)
		if err != nil {
			err = fmt.Errorf("line %d: %w", n, err)
			err = errors.Join(flush(), err)
			return stored, err
		}
		if items = append(items, item); len(items) == importBatch {
			if err = flush(); err != nil {
				return stored, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		err = fmt.Errorf("line %d: %w", n+1, err)
		err = errors.Join(flush(), err)
		return stored, err
	}
	err = flush()
	return stored, err
}

// importedItem reads and checks one line.
func (e *Engine) importedItem(table string, line []byte) (attr.Map, error) {
	t := e.lookup(table)
	if t == nil {
		return nil, notFound("Requested resource not found: Table: %s not found", table)
	}
	item, err := attr.ParseItem(line)
	if err != nil {
		inner, isExport := exportedItem(line)
		if !isExport {
			return nil, err
		}
		item = inner
	}
	if item.Size() > MaxItem {
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	return item, t.checkItem(item)
}

// exportedItem reads {"Item":{…}}.
func exportedItem(line []byte) (item attr.Map, ok bool) {
	r := attr.NewReader(line)
	only := true
	var doc attr.Document
	r.Object(func(name string) {
		if only = only && name == "Item"; only {
			doc = r.ReadItem()
		} else {
			r.Skip()
		}
	})
	r.End()
	return doc.Map, only && r.Err() == nil && doc.Invalid == nil && doc.Map != nil
}

// putAll stores items in one transaction.
func (e *Engine) putAll(ctx context.Context, table string, items []attr.Map) error {
	if len(items) == 0 {
		return nil
	}
	for {
		t := e.lookup(table)
		if t == nil {
			return notFound("Requested resource not found: Table: %s not found", table)
		}
		err := e.store.Update(ctx, func(tx Tx) error {
			for _, item := range items { // bound here: a line may repeat the key of one before
				w, err := newPut(t, item, nil)
				if err != nil {
					return err
				}
				if err := e.performAll(tx, []*write{w}); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err == nil {
			e.wake(t)
		}
		return err
	}
}
