package table

import (
	"context"
	"errors"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

const (
	maxBatchWrites = 25
	maxBatchKeys   = 100
	maxBatchBytes  = 16 << 20
)

// BatchWriteInput is the BatchWriteItem request.
type BatchWriteInput struct {
	Tables          []TableWrites // nil: RequestItems is absent
	Capacity        string
	CollectionSizes string
}

// TableWrites is the writes to one table.
type TableWrites struct {
	Table  string
	Writes []BatchWrite
}

// BatchWrite is one put or delete; exactly one is set in a good request.
type BatchWrite struct {
	Put    *attr.Document
	Delete *attr.Document
}

// BatchWriteOutput answers BatchWriteItem. Nothing is ever left unprocessed.
type BatchWriteOutput struct {
	Capacity    []*Capacity
	Collections map[string][]*Collection
}

// BatchWriteItem puts and deletes up to 25 items. They are independent by
// contract; here they share one transaction.
func (e *Engine) BatchWriteItem(ctx context.Context, in *BatchWriteInput) (*BatchWriteOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var writes []*write
	for {
		var err error
		if writes, err = e.bindBatch(in); err != nil {
			return nil, err
		}
		err = e.store.Update(ctx, func(tx Tx) error { return e.performAll(tx, writes) })
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	out := &BatchWriteOutput{}
	for _, w := range writes {
		e.wake(w.t)
		out.Capacity = mergeCapacity(out.Capacity, w.capacity(in.Capacity, 1))
		if in.CollectionSizes != "SIZE" {
			continue
		}
		if c := w.collection(); c != nil {
			if out.Collections == nil {
				out.Collections = map[string][]*Collection{}
			}
			out.Collections[w.t.def.Name] = append(out.Collections[w.t.def.Name], c)
		}
	}
	return out, nil
}

func (in *BatchWriteInput) check() error {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.enum(in.CollectionSizes, "returnItemCollectionMetrics", "SIZE", "NONE")
	if err := c.err(); err != nil {
		return err
	}
	total := 0
	for _, t := range in.Tables {
		total += len(t.Writes)
		if n := len(t.Writes); n == 0 || n > maxBatchWrites {
			// AWS prints the whole map here, in Java's notation.
			return invalid("1 validation error detected: Value '{%s=[%d requests]}' at 'requestItems' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 25, Member must have length greater than or equal to 1]", t.Table, n)
		}
	}
	switch {
	case len(in.Tables) == 0:
		return invalid("The requestItems parameter is required for BatchWriteItem")
	case total > maxBatchWrites:
		return invalid("Too many items requested for the BatchWriteItem call")
	}
	for _, t := range in.Tables {
		for _, w := range t.Writes {
			if err := w.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *BatchWrite) check() error {
	switch {
	case w.Put != nil && w.Delete != nil:
		return invalid("Supplied WriteRequest has more than one action set, must contain exactly one of DeleteRequest or PutRequest")
	case w.Put != nil && w.Put.Invalid != nil:
		return w.Put.Invalid
	case w.Put != nil && w.Put.Map.Size() > MaxItem:
		return invalid("Item size has exceeded the maximum allowed size")
	case w.Delete != nil && w.Delete.Invalid != nil:
		return w.Delete.Invalid
	case w.Put == nil && w.Delete == nil:
		return invalid("Supplied WriteRequest is empty, must contain exactly one of DeleteRequest or PutRequest")
	}
	return nil
}

func (e *Engine) bindBatch(in *BatchWriteInput) ([]*write, error) {
	var writes []*write
	seen := map[string]bool{}
	for _, tw := range in.Tables {
		name, err := tableName(&tw.Table)
		if err != nil {
			return nil, err
		}
		t := e.lookup(name)
		if t == nil {
			return nil, notFound("Requested resource not found")
		}
		for _, bw := range tw.Writes {
			var w *write
			if bw.Put != nil {
				w, err = newPut(t, bw.Put.Map, nil)
			} else {
				w, err = newKeyed(t, actDelete, bw.Delete.Map, &parsed{})
			}
			if err != nil {
				return nil, err
			}
			if at := t.space + string(w.keyBytes); seen[at] {
				return nil, invalid("Provided list of item keys contains duplicates")
			} else {
				seen[at] = true
			}
			w.needOld = wantsCapacity(in.Capacity)
			writes = append(writes, w)
		}
	}
	return writes, nil
}

// performAll does writes that have no conditions.
func (e *Engine) performAll(tx Tx, writes []*write) error {
	for _, w := range writes {
		if err := e.perform(tx, w); err != nil {
			return err
		}
	}
	for _, w := range writes {
		if err := w.count(tx); err != nil {
			return err
		}
	}
	return nil
}

// mergeCapacity adds a cost to the entry of its table.
func mergeCapacity(list []*Capacity, c *Capacity) []*Capacity {
	if c == nil {
		return list
	}
	for _, have := range list {
		if have.Table == c.Table {
			have.merge(c)
			return list
		}
	}
	return append(list, c)
}

// BatchGetInput is the BatchGetItem request.
type BatchGetInput struct {
	Tables   []TableKeys // nil: RequestItems is absent
	Capacity string
}

// TableKeys is the keys to read from one table.
type TableKeys struct {
	Table string
	Keys  []attr.Document
	Expressions
	AttributesToGet []string
	Consistent      bool
	// Raw is the request's own text, to send back what was not read.
	Raw []byte
}

// BatchGetOutput answers BatchGetItem, in the order of the request.
type BatchGetOutput struct {
	Tables   []TableItems
	Capacity []*Capacity
}

// TableItems is what was read from one table: items in wire form, and the keys
// that no longer fitted into the answer.
type TableItems struct {
	Table     string
	Items     [][]byte
	Remaining []attr.Map
	Request   *TableKeys
}

// BatchGetItem reads up to 100 items, and up to 16 MB of them.
func (e *Engine) BatchGetItem(_ context.Context, in *BatchGetInput) (*BatchGetOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	type bound struct {
		t          *state
		keys       [][]byte
		projection *dynexpr.Projection
	}
	var tables []bound
	for i := range in.Tables {
		tk := &in.Tables[i]
		name, err := tableName(&tk.Table)
		if err != nil {
			return nil, err
		}
		b := bound{}
		if b.projection, err = tk.projection(tk.AttributesToGet); err != nil {
			return nil, err
		}
		if b.t = e.lookup(name); b.t == nil {
			return nil, notFound("Requested resource not found")
		}
		if b.keys, err = b.t.encodeKeys(tk.Keys); err != nil {
			return nil, err
		}
		tables = append(tables, b)
	}
	out := &BatchGetOutput{}
	total := 0
	err := e.store.View(func(tx Tx) error {
		for i, b := range tables {
			tk := &in.Tables[i]
			items := TableItems{Table: tk.Table, Request: tk}
			for n, key := range b.keys {
				if total >= maxBatchBytes {
					items.Remaining = append(items.Remaining, tk.Keys[n].Map)
					continue
				}
				item, size, err := b.t.get(tx, key, b.projection)
				if err != nil {
					return err
				}
				if total += size; total > maxBatchBytes {
					items.Remaining = append(items.Remaining, tk.Keys[n].Map)
					continue
				}
				if item != nil {
					items.Items = append(items.Items, item)
				}
				out.Capacity = mergeCapacity(out.Capacity, b.t.readCapacity(in.Capacity, readUnits(size, tk.Consistent)))
			}
			out.Tables = append(out.Tables, items)
		}
		return nil
	})
	return out, err
}

// encodeKeys checks and encodes keys, all different.
func (t *state) encodeKeys(keys []attr.Document) ([][]byte, error) {
	seen := map[string]bool{}
	var out [][]byte
	for _, k := range keys {
		if k.Invalid != nil {
			return nil, k.Invalid
		}
		if err := t.checkKey(k.Map); err != nil {
			return nil, err
		}
		b, _ := t.key.encode(nil, k.Map) // checkKey has seen the keys
		if seen[string(b)] {
			return nil, invalid("Provided list of item keys contains duplicates")
		}
		seen[string(b)] = true
		out = append(out, b)
	}
	return out, nil
}

func (in *BatchGetInput) check() error {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	if err := c.err(); err != nil {
		return err
	}
	if len(in.Tables) == 0 {
		return invalid("The requestItems parameter is required for BatchGetItem")
	}
	total := 0
	for i := range in.Tables {
		t := &in.Tables[i]
		total += len(t.Keys)
		if n := len(t.Keys); n == 0 || n > maxBatchKeys {
			bound := "greater than or equal to 1"
			if n > 0 {
				bound = "less than or equal to 100"
			}
			return invalid("1 validation error detected: Value at 'RequestItems.%s.member.Keys' failed to satisfy constraint: Member must have length %s", t.Table, bound)
		}
		if err := t.checkMix(given("AttributesToGet", t.AttributesToGet != nil)); err != nil {
			return err
		}
	}
	if total > maxBatchKeys {
		return invalid("Too many items requested for the BatchGetItem call")
	}
	return nil
}
