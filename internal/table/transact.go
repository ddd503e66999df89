package table

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
	"github.com/livegate/livegate/internal/fault"
)

const (
	maxTransaction      = 100     // actions
	maxTransactionBytes = 4 << 20 // of all items
	tokenLife           = 10 * time.Minute
)

// TransactWriteInput is the TransactWriteItems request.
type TransactWriteInput struct {
	Actions         []TransactAction
	Token           *string // ClientRequestToken
	Fingerprint     []byte  // of the actions, to tell a repeated request from another
	Capacity        string
	CollectionSizes string
}

// TransactAction is one action. Kind is "Put", "Delete", "Update" or
// "ConditionCheck"; "" when the request has none or several.
type TransactAction struct {
	Kind      string
	Table     *string
	Item      attr.Document // Put
	Key       attr.Document // the others
	OnFailure string        // ReturnValuesOnConditionCheckFailure
	Expressions
}

// TransactWriteOutput answers TransactWriteItems.
type TransactWriteOutput struct {
	Capacity    []*Capacity
	Collections map[string][]*Collection
}

// TransactWriteItems does up to 100 writes, all or none.
func (e *Engine) TransactWriteItems(ctx context.Context, in *TransactWriteInput) (*TransactWriteOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	writes, repeated, err := e.commit(ctx, in.Token, in.Fingerprint, func() ([]*write, error) {
		return bindAll(len(in.Actions), func(i int) (*write, error) {
			w, err := e.bindAction(&in.Actions[i])
			if err == nil {
				w.needOld = wantsCapacity(in.Capacity)
			}
			return w, err
		})
	})
	if err != nil {
		return nil, err
	}
	out := &TransactWriteOutput{}
	for _, w := range writes {
		out.Capacity = mergeCapacity(out.Capacity, w.transactionCapacity(in.Capacity, repeated))
		if k := w.collection(); k != nil && in.CollectionSizes == "SIZE" {
			if out.Collections == nil {
				out.Collections = map[string][]*Collection{}
			}
			out.Collections[w.t.def.Name] = append(out.Collections[w.t.def.Name], k)
		}
	}
	return out, nil
}

func (in *TransactWriteInput) check() error {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.enum(in.CollectionSizes, "returnItemCollectionMetrics", "SIZE", "NONE")
	c.count(len(in.Actions), "transactItems", maxTransaction)
	c.token(in.Token)
	return c.err()
}

// commit does all writes that bind returns, or none. repeated says that the token
// was used for the same request before, and nothing was done now.
func (e *Engine) commit(ctx context.Context, token *string, fingerprint []byte, bind func() ([]*write, error)) (writes []*write, repeated bool, err error) {
	for {
		if writes, err = bind(); err != nil {
			return nil, false, err
		}
		err = e.store.Update(ctx, func(tx Tx) (err error) {
			if repeated, err = e.claimToken(tx, token, fingerprint); err != nil || repeated {
				return err
			}
			return e.transact(tx, writes)
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		for _, w := range writes {
			e.wake(w.t)
		}
		return writes, repeated, nil
	}
}

// transactionCapacity is a write's share: twice what it costs alone. A repeated
// request costs reading its result.
func (w *write) transactionCapacity(mode string, repeated bool) *Capacity {
	c := w.capacity(mode, 2)
	if c == nil {
		return nil
	}
	if repeated {
		return &Capacity{Table: c.Table, Detail: c.Detail, Units: 2, OnTable: 2, ReadUnits: 2}
	}
	c.WriteUnits = c.Units
	return c
}

// bindAll validates n actions against their tables.
func bindAll(n int, bind func(i int) (*write, error)) ([]*write, error) {
	var writes []*write
	seen := map[string]bool{}
	size := 0
	var reasons []Reason
	failed := false
	for i := range n {
		w, err := bind(i)
		reason := Reason{Code: "None"}
		if err != nil {
			var late *lateError
			if !errors.As(err, &late) {
				return nil, err
			}
			failed = true
			reason = Reason{Code: "ValidationError", Message: fault.Message(late.err)}
		}
		reasons = append(reasons, reason)
		if w == nil {
			continue
		}
		if at := w.t.space + string(w.keyBytes); seen[at] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		} else {
			seen[at] = true
		}
		if size += w.newSize; size > maxTransactionBytes {
			return nil, invalid("Transaction request size has exceeded the maximum allowed size")
		}
		writes = append(writes, w)
	}
	if failed {
		return nil, cancelled(reasons)
	}
	return writes, nil
}

// lateError is a finding that DynamoDB reports as a cancellation reason, not as
// an error of the request.
type lateError struct{ err error }

func (l *lateError) Error() string { return l.err.Error() }
func (l *lateError) Unwrap() error { return l.err }

func (e *Engine) bindAction(a *TransactAction) (*write, error) {
	act, ok := map[string]action{"Put": actPut, "Delete": actDelete, "Update": actUpdate, "ConditionCheck": actCheck}[a.Kind]
	if !ok {
		return nil, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	name, err := tableName(a.Table)
	if err != nil {
		return nil, err
	}
	var c constraints
	c.enum(a.OnFailure, "returnValuesOnConditionCheckFailure", "ALL_OLD", "NONE")
	if act == actCheck {
		c.present(a.Condition != nil, "conditionExpression")
	}
	if act == actUpdate {
		c.present(a.Update != nil, "updateExpression")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	for _, d := range []attr.Document{a.Item, a.Key} {
		if d.Invalid != nil {
			return nil, d.Invalid
		}
	}
	p, err := a.parse("ConditionExpression is null")
	if err != nil {
		return nil, err
	}
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	var w *write
	if act == actPut {
		if a.Item.Map.Size() > MaxItem {
			return nil, invalid("Item size has exceeded the maximum allowed size")
		}
		w, err = newPut(t, a.Item.Map, p.condition)
	} else {
		w, err = newKeyed(t, act, a.Key.Map, p)
	}
	if err != nil {
		return nil, &lateError{err}
	}
	w.onFailure = a.OnFailure == "ALL_OLD"
	return w, nil
}

// transact performs all writes; when one fails it goes on, to report on each,
// and the transaction takes everything back.
func (e *Engine) transact(tx Tx, writes []*write) error {
	reasons := make([]Reason, len(writes))
	failed := false
	for i, w := range writes {
		reasons[i] = Reason{Code: "None"}
		err := e.perform(tx, w)
		if err == nil {
			continue
		}
		reason, ok := reasonFor(err)
		if !ok {
			return err
		}
		failed = true
		reasons[i] = reason
	}
	if failed {
		return cancelled(reasons)
	}
	for _, w := range writes {
		if err := w.count(tx); err != nil {
			return err
		}
	}
	return nil
}

// reasonFor turns an action's error into a reason; false for errors that are not
// the action's.
func reasonFor(err error) (Reason, bool) {
	var f *Failure
	if errors.As(err, &f) {
		return Reason{strings.TrimSuffix(f.Fault.Type, "Exception"), f.Fault.Msg, f.Item}, true
	}
	var e *fault.Error
	if errors.As(err, &e) && e.Type == "ValidationException" {
		return Reason{Code: "ValidationError", Message: e.Msg}, true
	}
	return Reason{}, false
}

func cancelled(reasons []Reason) error {
	codes := make([]string, len(reasons))
	for i, r := range reasons {
		codes[i] = r.Code
	}
	return &Failure{
		Fault: fault.Typed(fault.BadRequest, "TransactionCanceledException",
			"Transaction cancelled, please refer cancellation reasons for specific reasons [%s]", strings.Join(codes, ", ")),
		Reasons: reasons,
	}
}

// claimToken records an idempotency token, or finds that it was used: with the
// same request, which is then done already, or with another.
func (e *Engine) claimToken(tx Tx, token *string, fingerprint []byte) (repeated bool, err error) {
	if token == nil {
		return false, nil
	}
	now := e.cfg.Clock.Now()
	if v := tx.Get(tokensSpace, []byte(*token)); len(v) >= 8 && int64(binary.BigEndian.Uint64(v)) > now.Unix() {
		if slices.Equal(v[8:], fingerprint) {
			return true, nil
		}
		return false, fault.Typed(fault.BadRequest, "IdempotentParameterMismatchException", "Another request with the same idempotent token but different parameters has been seen")
	}
	v := binary.BigEndian.AppendUint64(nil, uint64(now.Add(tokenLife).Unix()))
	return false, tx.Put(tokensSpace, []byte(*token), append(v, fingerprint...))
}

// forgetTokens deletes tokens whose time is over.
func (e *Engine) forgetTokens(ctx context.Context, now time.Time) error {
	var old [][]byte
	err := e.store.View(func(tx Tx) error {
		tx.Ascend(tokensSpace, nil, nil, func(k, v []byte) bool {
			if len(v) < 8 || int64(binary.BigEndian.Uint64(v)) <= now.Unix() {
				old = append(old, slices.Clone(k))
			}
			return true
		})
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	return e.store.Update(ctx, func(tx Tx) error {
		for _, k := range old {
			if err := tx.Delete(tokensSpace, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// TransactGetInput is the TransactGetItems request.
type TransactGetInput struct {
	Gets     []TransactGet
	Capacity string
}

// TransactGet is one Get; Present is false when the element has none.
type TransactGet struct {
	Present bool
	Table   *string
	Key     attr.Document
	Expressions
}

// TransactGetOutput answers TransactGetItems: items in wire form, nil where
// there is none.
type TransactGetOutput struct {
	Items    [][]byte
	Capacity []*Capacity
}

// errTooMuchToGet: the items of a reading transaction are more than 4 MB together
// (API reference, TransactGetItems).
var errTooMuchToGet = attr.Invalid("Transaction request size has exceeded the maximum allowed size: the items are larger than 4 MB together")

// TransactGetItems reads up to 100 items from one snapshot, and up to 4 MB of
// them.
func (e *Engine) TransactGetItems(_ context.Context, in *TransactGetInput) (*TransactGetOutput, error) {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.count(len(in.Gets), "transactItems", maxTransaction)
	if err := c.err(); err != nil {
		return nil, err
	}
	gets, err := e.bindGets(in.Gets)
	if err != nil {
		return nil, err
	}
	out := &TransactGetOutput{}
	err = e.store.View(func(tx Tx) error {
		total := 0
		for _, g := range gets {
			item, size, err := g.t.get(tx, g.key, g.projection)
			if err != nil {
				return err
			}
			if total += size; total > maxTransactionBytes {
				return errTooMuchToGet
			}
			out.Items = append(out.Items, item)
			if c := g.t.readCapacity(in.Capacity, 2*readUnits(size, true)); c != nil {
				c.ReadUnits = c.Units
				out.Capacity = mergeCapacity(out.Capacity, c)
			}
		}
		return nil
	})
	return out, err
}

// get is one read, validated and bound to a table.
type get struct {
	t          *state
	key        []byte
	projection *dynexpr.Projection
}

func (e *Engine) bindGets(list []TransactGet) ([]get, error) {
	var gets []get
	var reasons []Reason
	failed := false
	seen := map[string]bool{}
	for i := range list {
		g, err := e.bindGet(&list[i])
		reason := Reason{Code: "None"}
		var late *lateError
		switch {
		case errors.As(err, &late):
			failed = true
			reason = Reason{Code: "ValidationError", Message: fault.Message(late.err)}
		case err != nil:
			return nil, err
		}
		if at := g.t.space + string(g.key); g.key != nil && seen[at] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		} else {
			seen[at] = true
		}
		reasons = append(reasons, reason)
		gets = append(gets, g)
	}
	if failed {
		return nil, cancelled(reasons)
	}
	return gets, nil
}

func (e *Engine) bindGet(in *TransactGet) (get, error) {
	var g get
	if !in.Present {
		return g, invalid("TransactItems can only contain Get")
	}
	name, err := tableName(in.Table)
	if err != nil {
		return g, err
	}
	if in.Key.Invalid != nil {
		return g, in.Key.Invalid
	}
	if g.projection, err = in.projection(nil); err != nil {
		return g, err
	}
	if g.t = e.lookup(name); g.t == nil {
		return g, notFound("Requested resource not found")
	}
	if err := g.t.checkKey(in.Key.Map); err != nil {
		return g, &lateError{err}
	}
	g.key, _ = g.t.key.encode(nil, in.Key.Map) // checkKey has seen the keys
	return g, nil
}
