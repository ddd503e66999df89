package table

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
	"github.com/livegate/livegate/internal/fault"
)

// PutInput is the PutItem request.
type PutInput struct {
	Table *string
	Item  attr.Document
	Expressions
	Returning
	Legacy LegacyConditions // Expected
}

// DeleteInput is the DeleteItem request.
type DeleteInput struct {
	Table *string
	Key   attr.Document
	Expressions
	Returning
	Legacy LegacyConditions // Expected
}

// UpdateInput is the UpdateItem request.
type UpdateInput struct {
	Table *string
	Key   attr.Document
	Expressions
	Returning
	Legacy  LegacyConditions // Expected
	Updates LegacyUpdates    // AttributeUpdates
}

// WriteOutput answers PutItem, DeleteItem and UpdateItem.
type WriteOutput struct {
	Attributes attr.Map // nil: none
	Capacity   *Capacity
	Collection *Collection
}

// action is what one write does.
type action uint8

const (
	actPut action = iota
	actDelete
	actUpdate
	actCheck // of a transaction: only the condition
)

// write is one write, validated and bound to a table, ready for the transaction.
type write struct {
	t         *state
	act       action
	key       attr.Map
	keyBytes  []byte
	item      attr.Map // actPut
	record    []byte   // actPut: encoded outside of the transaction
	condition matcher
	update    updater
	onFailure bool // return the item when the condition fails
	needOld   bool // the answer needs the old image
	expired   bool // a deletion by time to live
	insert    bool // an INSERT: that its condition fails means that the item exists

	old, new attr.Map // images, after perform
	oldSize  int
	newSize  int
	items    int64 // how the table's counts change
	bytes    int64
}

// PutItem stores an item in place of the one with its key.
func (e *Engine) PutItem(ctx context.Context, in *PutInput) (*WriteOutput, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	var c constraints
	in.check(&c)
	c.present(in.Item.Map != nil, "item")
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := in.checkMix(in.Legacy.given("Expected")); err != nil {
		return nil, err
	}
	switch {
	case in.Item.Invalid != nil:
		return nil, in.Item.Invalid
	case in.ReturnValues != "" && in.ReturnValues != "ALL_OLD" && in.ReturnValues != "NONE":
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	case in.Item.Map.Size() > MaxItem:
		return nil, invalid("Item size has exceeded the maximum allowed size")
	}
	p, err := in.parseWrite("ConditionExpression is null", &in.Legacy)
	if err != nil {
		return nil, err
	}
	return e.writeOne(ctx, name, &in.Returning, func(t *state) (*write, error) {
		return newPut(t, in.Item.Map, p.condition)
	})
}

// DeleteItem removes the item with a key, if there is one.
func (e *Engine) DeleteItem(ctx context.Context, in *DeleteInput) (*WriteOutput, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	var c constraints
	in.check(&c)
	c.present(in.Key.Map != nil, "key")
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := in.checkMix(in.Legacy.given("Expected")); err != nil {
		return nil, err
	}
	switch {
	case in.Key.Invalid != nil:
		return nil, in.Key.Invalid
	case in.ReturnValues != "" && in.ReturnValues != "ALL_OLD" && in.ReturnValues != "NONE":
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	p, err := in.parseWrite("ConditionExpression is null", &in.Legacy)
	if err != nil {
		return nil, err
	}
	return e.writeOne(ctx, name, &in.Returning, func(t *state) (*write, error) {
		return newKeyed(t, actDelete, in.Key.Map, p)
	})
}

// UpdateItem changes attributes of the item with a key, or creates it.
func (e *Engine) UpdateItem(ctx context.Context, in *UpdateInput) (*WriteOutput, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	var c constraints
	in.check(&c)
	c.present(in.Key.Map != nil, "key")
	if err := c.err(); err != nil {
		return nil, err
	}
	legacy := append(in.Updates.given(), in.Legacy.given("Expected")...)
	if err := in.checkMix(legacy); err != nil {
		return nil, err
	}
	if in.Key.Invalid != nil {
		return nil, in.Key.Invalid
	}
	p, err := in.parseWrite("UpdateExpression and ConditionExpression are null", &in.Legacy)
	if err != nil {
		return nil, err
	}
	if in.Updates.List != nil {
		if p.update, err = in.Updates.compile(); err != nil {
			return nil, err
		}
	}
	return e.writeOne(ctx, name, &in.Returning, func(t *state) (*write, error) {
		return newKeyed(t, actUpdate, in.Key.Map, p)
	})
}

// parseWrite parses a write's expressions, or its legacy condition.
func (x *Expressions) parseWrite(takesValues string, legacy *LegacyConditions) (*parsed, error) {
	p, err := x.parse(takesValues)
	if err != nil {
		return nil, err
	}
	if legacy.List != nil {
		if p.condition, err = legacy.compile(true); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// newPut binds a put to a table.
func newPut(t *state, item attr.Map, condition matcher) (*write, error) {
	if err := t.checkItem(item); err != nil {
		return nil, err
	}
	w := &write{t: t, act: actPut, item: item, key: t.key.pick(item), condition: condition}
	w.keyBytes, _ = t.key.encode(nil, item) // checkItem has seen the keys
	w.newSize = item.Size()
	w.record = appendRecord(make([]byte, 0, w.newSize*3/2+64), item, w.newSize)
	return w, nil
}

// newKeyed binds a write that names its item by key.
func newKeyed(t *state, act action, key attr.Map, p *parsed) (*write, error) {
	if err := t.checkKey(key); err != nil {
		return nil, err
	}
	w := &write{t: t, act: act, key: key, condition: p.condition, update: p.update}
	w.keyBytes, _ = t.key.encode(nil, key) // checkKey has seen the keys
	if act == actUpdate && p.update != nil {
		for _, path := range p.update.Paths() {
			if slices.Contains(t.key.names(), path.Top()) {
				return nil, invalid("One or more parameter values were invalid: Cannot update attribute %s. This attribute is part of the key", path.Top())
			}
		}
	}
	return w, nil
}

// writeOne runs a single write; bind is called again when the table has changed
// in between.
func (e *Engine) writeOne(ctx context.Context, name string, r *Returning, bind func(*state) (*write, error)) (*WriteOutput, error) {
	for {
		t := e.lookup(name)
		if t == nil {
			return nil, notFound("Requested resource not found")
		}
		w, err := bind(t)
		if err != nil {
			return nil, err
		}
		w.onFailure = r.OnFailure == "ALL_OLD"
		w.needOld = r.ReturnValues != "" && r.ReturnValues != "NONE" || r.Capacity == "TOTAL" || r.Capacity == "INDEXES"
		err = e.store.Update(ctx, func(tx Tx) error {
			if err := e.perform(tx, w); err != nil {
				return err
			}
			return w.count(tx)
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		e.wake(w.t)
		return w.output(r), nil
	}
}

// output builds the answer the request asked for.
func (w *write) output(r *Returning) *WriteOutput {
	out := &WriteOutput{}
	switch r.ReturnValues {
	case "ALL_OLD":
		out.Attributes = w.old
	case "ALL_NEW":
		out.Attributes = w.new
	case "UPDATED_OLD":
		out.Attributes = w.touched(w.old)
	case "UPDATED_NEW":
		out.Attributes = w.touched(w.new)
	}
	out.Capacity = w.capacity(r.Capacity, 1)
	if r.CollectionSizes == "SIZE" {
		out.Collection = w.collection()
	}
	return out
}

// touched is the part of an image that the update's paths lead to.
func (w *write) touched(image attr.Map) attr.Map {
	if w.update == nil || image == nil {
		return nil
	}
	m := dynexpr.NewProjection(w.update.Paths()...).Apply(image)
	if len(m) == 0 {
		return nil
	}
	return m
}

// perform does one write inside a transaction; count must follow once everything
// in the transaction has succeeded.
func (e *Engine) perform(tx Tx, w *write) error {
	t := w.t
	if e.lookup(t.def.Name) != t {
		return errChanged
	}
	record := tx.Get(t.space, w.keyBytes)
	w.oldSize, _ = splitRecord(record)
	stream := e.streamOf(&t.def)
	if stream != nil && !stream.open() {
		stream = nil
	}
	if record != nil && (w.needOld || w.condition != nil || w.act == actUpdate || len(t.indexes) > 0 || t.def.TTL != "" || stream != nil) {
		var err error
		if w.old, err = decodeRecord(record); err != nil {
			return err
		}
	}
	if w.condition != nil && !w.condition.Match(w.old) {
		return w.conditionFailed()
	}
	if err := w.apply(); err != nil {
		return err
	}
	if w.act == actCheck || w.act == actDelete && record == nil {
		return nil
	}
	if err := w.store(tx, record); err != nil {
		return err
	}
	if stream != nil && !sameItem(w.old, w.new) { // an unchanged item makes no record, as on AWS
		_, old := splitRecord(record)
		return stream.append(tx, e.cfg.Clock.Now(), w, old)
	}
	return nil
}

// sameItem compares two images; nil is no item.
func sameItem(a, b attr.Map) bool {
	return (a == nil) == (b == nil) && attr.Equal(attr.Value{Kind: attr.M, Map: a}, attr.Value{Kind: attr.M, Map: b})
}

func (w *write) conditionFailed() error {
	f := &Failure{Fault: fault.Typed(fault.BadRequest, "ConditionalCheckFailedException", "The conditional request failed")}
	if w.insert {
		f.Fault = fault.Typed(fault.BadRequest, "DuplicateItemException", "Duplicate primary key exists in table")
	}
	if w.onFailure && w.old != nil {
		f.Item = attr.AppendItem(nil, w.old)
	}
	return f
}

// apply computes the new image and its record.
func (w *write) apply() error {
	switch w.act {
	case actPut:
		w.new = w.item
	case actUpdate:
		base := w.old
		if base == nil {
			base = w.key
		}
		w.new = base
		if w.update != nil {
			var err error
			if w.new, err = w.update.Apply(base); err != nil {
				return err
			}
		}
		if err := w.t.checkIndexKeys(w.new, w.changed); err != nil {
			return err
		}
		if w.new.Depth() > attr.MaxDepth {
			return invalid("Nesting Levels have exceeded supported limits")
		}
		if w.newSize = w.new.Size(); w.newSize > MaxItem {
			return invalid("Item size to update has exceeded the maximum allowed size")
		}
		w.record = appendRecord(nil, w.new, w.newSize)
	}
	return nil
}

// changed reports whether an update gives an attribute another value. One that it
// leaves alone is not checked again: it may be older than the index it is in the
// key of.
func (w *write) changed(name string) bool {
	before, was := w.old.Get(name)
	after, is := w.new.Get(name)
	return is && (!was || !attr.Equal(before, after))
}

// store writes the item and its index entries.
func (w *write) store(tx Tx, record []byte) error {
	t := w.t
	w.items, w.bytes = 1, int64(w.newSize)
	if record != nil {
		w.items, w.bytes = 0, w.bytes-int64(w.oldSize)
	}
	var err error
	if w.act == actDelete {
		w.items = -1
		err = tx.Delete(t.space, w.keyBytes)
	} else {
		err = tx.Put(t.space, w.keyBytes, w.record)
	}
	if err != nil {
		return err
	}
	for _, i := range t.indexes {
		if err := i.move(tx, w.old, w.new, w.keyBytes); err != nil {
			return err
		}
	}
	if t.def.TTL != "" {
		return t.moveDue(tx, w.old, w.new, w.keyBytes)
	}
	return nil
}

func (w *write) count(tx Tx) error {
	if w.items == 0 && w.bytes == 0 {
		return nil
	}
	return w.t.counts.add(tx, w.t.def.ID, w.items, w.bytes)
}

// move brings the index entry of an item from its old image to its new one.
func (i *index) move(tx Tx, old, new attr.Map, itemKey []byte) error {
	from, was := i.key.encode(nil, old)
	to, is := i.key.encode(nil, new)
	if was && is && bytes.Equal(from, to) {
		return nil
	}
	if was {
		if err := tx.Delete(i.space, append(from, itemKey...)); err != nil {
			return err
		}
	}
	if is {
		return tx.Put(i.space, append(to, itemKey...), nil)
	}
	return nil
}
