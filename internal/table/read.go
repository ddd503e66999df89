package table

import (
	"context"
	"slices"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// GetInput is the GetItem request.
type GetInput struct {
	Table *string
	Key   attr.Document
	Expressions
	AttributesToGet []string // legacy
	Consistent      bool
	Capacity        string
}

// GetOutput answers GetItem. Item is wire form, nil when there is no item.
type GetOutput struct {
	Item     []byte
	Capacity *Capacity
}

// GetItem reads one item.
func (e *Engine) GetItem(_ context.Context, in *GetInput) (*GetOutput, error) {
	name, err := tableName(in.Table)
	if err != nil {
		return nil, err
	}
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.present(in.Key.Map != nil, "key")
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := in.checkMix(given("AttributesToGet", in.AttributesToGet != nil)); err != nil {
		return nil, err
	}
	if in.Key.Invalid != nil {
		return nil, in.Key.Invalid
	}
	projection, err := in.projection(in.AttributesToGet)
	if err != nil {
		return nil, err
	}
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	if err := t.checkKey(in.Key.Map); err != nil {
		return nil, err
	}
	key, _ := t.key.encode(nil, in.Key.Map) // checkKey has seen the keys
	out := &GetOutput{}
	var size int
	err = e.store.View(func(tx Tx) (err error) {
		out.Item, size, err = t.get(tx, key, projection)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.Capacity = t.readCapacity(in.Capacity, readUnits(size, in.Consistent))
	return out, nil
}

// projection parses the expression or the legacy list.
func (x *Expressions) projection(legacy []string) (*dynexpr.Projection, error) {
	if legacy != nil {
		return attributesToGet(legacy)
	}
	p, err := x.parse("")
	if err != nil {
		return nil, err
	}
	return p.projection, nil
}

// get copies an item's wire form out of a transaction; size is the whole item's.
func (t *state) get(tx Tx, key []byte, projection *dynexpr.Projection) (item []byte, size int, err error) {
	record := tx.Get(t.space, key)
	if record == nil {
		return nil, 0, nil
	}
	size, wire := splitRecord(record)
	if projection == nil {
		return slices.Clone(wire), size, nil
	}
	m, err := attr.DecodeItem(wire)
	if err != nil {
		return nil, 0, err
	}
	return attr.AppendItem(nil, projection.Apply(m)), size, nil
}

// readCapacity is a read of the table itself.
func (t *state) readCapacity(mode string, units float64) *Capacity {
	if !wantsCapacity(mode) {
		return nil
	}
	return &Capacity{Table: t.def.Name, Units: units, OnTable: units, Detail: mode == "INDEXES"}
}
