// Package table is DynamoDB's semantics over an ordered key-value store: tables,
// items, conditions, secondary indexes, transactions, PartiQL, streams and time to
// live.
//
// # Promises
//
// A write that was answered is durable (as the store defines it). A write, its
// index entries and its stream record are one transaction: nobody sees one
// without the others, whatever instant the process dies at. Reads are strongly
// consistent, on indexes too. Writes to one table and to many tables are
// serialised by the store; TransactWriteItems therefore never conflicts.
//
// # Layout
//
// A table owns one space for its items and one per index, named by the table's
// id, so that a table that was deleted and created again shares nothing with its
// former self. An item's key is a 32-bit hash of its partition key, then its
// partition key, then its sort key, in an order-preserving encoding: a Query is
// one range, and segment i of n of a parallel Scan is one range too. The value
// is the item's size and its wire form, so reads copy bytes and decode only
// when a filter or projection asks.
//
// An index entry's key is the index's own key followed by the item's; its value
// is empty. Reading an index looks the items up: an index can therefore never
// disagree with its table, and a write that does not touch an index's keys does
// not touch the index.
//
// A stream owns one space: sequence number → record, kept for 24 hours, also when
// the stream or its table is gone. A sequence number holds the millisecond it was
// given out in, so what is too old is a range.
//
// The catalog of tables and streams is in memory and changes only inside the
// transaction that persists it, on the store's writer, so a write always meets
// the catalog it will be committed with.
//
// [Engine.Tail] is how the rest of Livegate follows a table; clients use
// [Engine.GetRecords] on the same records.
//
// Errors are DynamoDB's exceptions as fault.Error; those that carry more than a
// message are a *[Failure]. The package knows no HTTP and no disk.
package table

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/fault"
)

// Tx is a transaction of the store: six operations over named ordered spaces.
// Slices it returns live until the transaction ends.
type Tx interface {
	Get(space string, key []byte) []byte
	Put(space string, key, value []byte) error
	Delete(space string, key []byte) error
	Drop(space string) error
	Ascend(space string, from, to []byte, fn func(key, value []byte) bool)
	Descend(space string, from, to []byte, fn func(key, value []byte) bool)
}

// Store runs functions in transactions. Update is durable when it returns and
// takes a failed function's writes back; View reads a snapshot.
type Store interface {
	Update(ctx context.Context, fn func(Tx) error) error
	View(fn func(Tx) error) error
}

// Database is a store whose transactions have a type of their own.
type Database[T Tx] interface {
	Update(ctx context.Context, fn func(T) error) error
	View(fn func(T) error) error
}

// Over makes a Store of any such database: table.Over(db) for a *storage.DB.
func Over[T Tx](db Database[T]) Store { return over[T]{db} }

type over[T Tx] struct{ db Database[T] }

func (o over[T]) Update(ctx context.Context, fn func(Tx) error) error {
	return o.db.Update(ctx, func(tx T) error { return fn(tx) })
}

func (o over[T]) View(fn func(Tx) error) error {
	return o.db.View(func(tx T) error { return fn(tx) })
}

// Config of an engine. Only Store is required.
type Config struct {
	Store     Store
	Clock     clock.Clock
	Region    string // in ARNs; "" means us-east-1
	AccountID string // in ARNs; "" means 000000000000
}

// Engine is all tables of one store. Safe for concurrent use.
type Engine struct {
	cfg   Config // static after New
	store Store

	// The catalog is replaced, never changed; guarded by mu. Written only on the
	// store's writer, see the package comment.
	mu   sync.RWMutex
	held *catalog
}

// catalog is all tables by name, and all streams by [stream.id].
type catalog struct {
	tables  map[string]*state
	streams map[string]*stream
}

const (
	catalogSpace = "tables"   // name → definition, JSON
	streamsSpace = "streams"  // stream id → streamDefinition, JSON
	trimmedSpace = "trimmed"  // stream id → the last sequence number that was trimmed
	countsSpace  = "counts"   // table id → items, bytes
	tokensSpace  = "requests" // idempotency token → outcome
)

// New opens the tables that the store holds.
func New(cfg Config) (*Engine, error) {
	if cfg.Store == nil {
		return nil, fault.New(fault.Internal, "table.New: no store")
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.AccountID == "" {
		cfg.AccountID = "000000000000"
	}
	e := &Engine{cfg: cfg, store: cfg.Store, held: &catalog{}}
	if err := e.store.View(e.load); err != nil {
		return nil, fmt.Errorf("table.New: %w", err)
	}
	if err := e.adoptStreams(); err != nil {
		return nil, fmt.Errorf("table.New: %w", err)
	}
	return e, nil
}

// load makes the catalog what the store holds.
func (e *Engine) load(tx Tx) error {
	tables := map[string]*state{}
	var bad error
	tx.Ascend(catalogSpace, nil, nil, func(k, v []byte) bool {
		var def definition
		if bad = json.Unmarshal(v, &def); bad != nil {
			bad = fmt.Errorf("definition of table %q: %w", k, bad)
			return false
		}
		tables[def.Name] = newState(def, &counts{})
		return true
	})
	if bad != nil {
		return bad
	}
	for _, t := range tables {
		t.counts.load(tx, t)
	}
	streams, err := e.loadStreams(tx)
	if err != nil {
		return err
	}
	e.replace(&catalog{tables, streams})
	return nil
}

func (e *Engine) replace(c *catalog) {
	e.mu.Lock()
	e.held = c
	e.mu.Unlock()
}

// Status is one table at a glance.
type Status struct {
	Name  string
	Items int64
	Bytes int64 // as DynamoDB counts item sizes; approximate after a crash
}

// Tables lists the tables by name.
func (e *Engine) Tables() []Status {
	tables := e.snapshot().tables
	out := make([]Status, 0, len(tables))
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		items, bytes := tables[name].counts.read()
		out = append(out, Status{name, items, bytes})
	}
	return out
}

func (e *Engine) snapshot() *catalog {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.held
}

func (e *Engine) lookup(name string) *state { return e.snapshot().tables[name] }

// publish puts a new state of one table into the catalog; nil removes it. Only
// inside a write transaction.
func (e *Engine) publish(name string, t *state) {
	c := e.snapshot()
	e.replace(&catalog{replaced(c.tables, name, t), c.streams})
}

// replaced is a copy of m in which key is v, or gone when v is nil.
func replaced[T any](m map[string]*T, key string, v *T) map[string]*T {
	next := maps.Clone(m)
	if next == nil {
		next = map[string]*T{}
	}
	if v == nil {
		delete(next, key)
	} else {
		next[key] = v
	}
	return next
}

// change runs a function that may publish; when the transaction fails after all,
// the catalog goes back to what is on disk. That happens on the store's writer
// too: by the time a failed Update has returned, the writer may have published
// other tables, and going back then would make it forget them.
func (e *Engine) change(ctx context.Context, fn func(Tx) error) error {
	published := false
	var before *catalog
	err := e.store.Update(ctx, func(tx Tx) error {
		before = e.snapshot()
		err := fn(tx)
		if err != nil {
			e.replace(before)
		}
		published = err == nil
		return err
	})
	if err != nil && published { // the commit failed, and its neighbours' with it
		reloaded := errors.New("nothing to write")
		again := e.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
			return cmp.Or(e.load(tx), reloaded)
		})
		if !errors.Is(again, reloaded) {
			return errors.Join(err, again)
		}
	}
	if err == nil { // who follows a stream must see that it was closed
		after := e.snapshot().streams
		for id, s := range before.streams {
			if after[id] != s {
				s.log.wake()
			}
		}
	}
	return err
}

// errChanged makes a write start over: its table was changed or replaced between
// the validation and the transaction.
var errChanged = fault.New(fault.Internal, "table changed")

// Failure is an error that carries more than its message.
type Failure struct {
	Fault   *fault.Error
	Item    []byte   // wire form of the item that failed a condition, if asked for
	Reasons []Reason // of a cancelled transaction, one per action
}

func (f *Failure) Error() string { return f.Fault.Error() }
func (f *Failure) Unwrap() error { return f.Fault }

// Reason says why one action of a transaction failed; Code is "None" for those
// that did not.
type Reason struct {
	Code    string
	Message string
	Item    []byte
}

func notFound(format string, args ...any) error {
	return fault.Typed(fault.BadRequest, "ResourceNotFoundException", format, args...)
}

func inUse(format string, args ...any) error {
	return fault.Typed(fault.BadRequest, "ResourceInUseException", format, args...)
}

func invalid(format string, args ...any) error { return attr.Invalid(format, args...) }
