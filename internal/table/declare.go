package table

import (
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

// Declare brings the tables of a template into being. Tables that exist keep
// their items; indexes, stream and TTL follow the template. A table that is no
// longer declared keeps its data. A changed primary key is a Conflict, because
// the items could not be found by it any more. All or nothing.
func (e *Engine) Declare(ctx context.Context, tables []*model.Table) error {
	if len(tables) == 0 {
		return nil
	}
	return e.change(ctx, func(tx Tx) error {
		for _, m := range tables {
			if err := e.declare(tx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (e *Engine) declare(tx Tx, m *model.Table) error {
	old := e.lookup(m.Name)
	def := definition{Name: m.Name, ID: id.NewUUID(), Created: e.cfg.Clock.Now().UnixMilli()}
	if old != nil {
		def = old.def
	}
	def.fromModel(m)
	if err := def.checkDeclared(m); err != nil {
		return err
	}
	if old != nil && !reflect.DeepEqual(newState(def, nil).key, old.key) {
		return fault.New(fault.Conflict, "%s: table %s: its primary key is now %s and was %s, and the stored items cannot follow; change it back, rename the table, or clear the data with `livegate reset`",
			m.Pos, m.Name, shownKey(def), shownKey(old.def))
	}
	was := &definition{}
	if old != nil {
		was = &old.def
	}
	if err := e.switchStream(tx, was, &def); err != nil {
		return err
	}
	if old == nil {
		return e.save(tx, newState(def, &counts{}))
	}
	if reflect.DeepEqual(def, old.def) {
		return nil
	}
	t := newState(def, old.counts)
	for _, i := range t.indexes { // an index with another key is another index
		if was := old.index(i.name); was != nil && was.key != i.key {
			if err := i.refill(tx, t); err != nil {
				return err
			}
		}
	}
	if _, err := reindex(tx, old, t); err != nil {
		return err
	}
	if err := t.refillDue(tx, old.def.TTL); err != nil {
		return err
	}
	return e.save(tx, t)
}

// refill rebuilds an index in place: its space cannot be dropped and written in
// one transaction, so its entries are deleted one by one.
func (i *index) refill(tx Tx, t *state) error {
	if err := clearSpace(tx, i.space); err != nil {
		return err
	}
	return i.fill(tx, t)
}

func clearSpace(tx Tx, space string) error {
	var keys [][]byte
	tx.Ascend(space, nil, nil, func(k, _ []byte) bool {
		keys = append(keys, slices.Clone(k))
		return true
	})
	for _, k := range keys {
		if err := tx.Delete(space, k); err != nil {
			return err
		}
	}
	return nil
}

// fromModel takes over what the template says.
func (def *definition) fromModel(m *model.Table) {
	def.FromTemplate = true
	def.Attributes = nil
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		def.Attributes = append(def.Attributes, AttributeDefinition{name, m.Attributes[name]})
	}
	def.KeySchema = schemaOf(m.Key)
	def.Locals, def.Globals = nil, nil
	for _, x := range m.LSIs {
		def.Locals = append(def.Locals, indexOf(x))
	}
	for _, x := range m.GSIs {
		def.Globals = append(def.Globals, indexOf(x))
	}
	def.OnDemand, def.Read, def.Write = m.OnDemand, m.Read, m.Write
	if def.OnDemand && def.OnDemandAt == 0 {
		def.OnDemandAt = def.Created
	}
	for i := range def.Globals {
		if !def.OnDemand {
			read, write := max(m.Read, 1), max(m.Write, 1)
			def.Globals[i].ProvisionedThroughput = &Throughput{&read, &write}
		}
	}
	def.TTL, def.Stream, def.Protected = m.TTL, m.StreamView, m.Protected
}

func schemaOf(k model.KeySchema) []KeySchemaElement {
	schema := []KeySchemaElement{{k.Hash, "HASH"}}
	if k.Range != "" {
		schema = append(schema, KeySchemaElement{k.Range, "RANGE"})
	}
	return schema
}

func indexOf(x model.Index) SecondaryIndex {
	p := &Projection{ProjectionType: x.Projection, NonKeyAttributes: x.NonKey}
	if p.ProjectionType == "" {
		p.ProjectionType = "ALL"
	}
	return SecondaryIndex{IndexName: x.Name, KeySchema: schemaOf(x.Key), Projection: p}
}

// checkDeclared applies CreateTable's rules to a template's table.
func (def *definition) checkDeclared(m *model.Table) error {
	var c constraints
	c.attributes(def.Attributes)
	for _, schema := range def.schemas() {
		c.schema(schema, "keySchema")
	}
	_, err := newTableName(&m.Name)
	for _, check := range []func() error{
		c.err,
		func() error { return checkSchema(def.KeySchema, def.Attributes, "") },
		def.checkIndexes,
		def.checkAllUsed,
	} {
		if err == nil {
			err = check()
		}
	}
	if err != nil {
		return fault.New(fault.BadRequest, "%s: table %s: %s", m.Pos, m.LogicalID, fault.Message(err))
	}
	return nil
}

func shownKey(def definition) string {
	k := newKeySpec(def.KeySchema, def.Attributes)
	text := k.hash + " (" + k.hashKind.String() + ")"
	if k.rng != "" {
		text += ", " + k.rng + " (" + k.rngKind.String() + ")"
	}
	return text
}
