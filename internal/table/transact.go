package table

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
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
	var writes []*write
	repeated := false
	for {
		var err error
		if writes, err = e.bindTransaction(in); err != nil {
			return nil, err
		}
		err = e.store.Update(ctx, func(tx Tx) (err error) {
			if repeated, err = e.claimToken(tx, in); err != nil || repeated {
				return err
			}
			return e.transact(tx, writes)
		})
		if errors.Is(err, errChanged) {
			continue
		}
		if err != nil {
			return nil, err
		}
		break
	}
	out := &TransactWriteOutput{}
	for _, w := range writes {
		c := w.capacity(in.Capacity, 2)
		if c != nil && repeated {
			c = &Capacity{Table: c.Table, Detail: c.Detail, Units: 2, OnTable: 2, ReadUnits: 2}
		} else if c != nil {
			c.WriteUnits = c.Units
		}
		out.Capacity = mergeCapacity(out.Capacity, c)
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
	switch n := len(in.Actions); {
	case n == 0:
		c.add("'[]'", "transactItems", "Member must have length greater than or equal to 1")
	case n > maxTransaction:
		c.add("'["+strconv.Itoa(n)+" actions]'", "transactItems", "Member must have length less than or equal to 100")
	}
	if in.Token != nil && (len(*in.Token) < 1 || len(*in.Token) > 36) {
		c.add(quoted(*in.Token), "clientRequestToken", "Member must have length less than or equal to 36")
	}
	return c.err()
}

// bindTransaction validates every action against its table.
func (e *Engine) bindTransaction(in *TransactWriteInput) ([]*write, error) {
	var writes []*write
	seen := map[string]bool{}
	size := 0
	var reasons []Reason
	failed := false
	for i := range in.Actions {
		w, err := e.bindAction(&in.Actions[i])
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
		w.needOld = wantsCapacity(in.Capacity)
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
		return Reason{"ConditionalCheckFailed", f.Fault.Msg, f.Item}, true
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
func (e *Engine) claimToken(tx Tx, in *TransactWriteInput) (repeated bool, err error) {
	if in.Token == nil {
		return false, nil
	}
	now := e.cfg.Clock.Now()
	if v := tx.Get(tokensSpace, []byte(*in.Token)); len(v) >= 8 && int64(binary.BigEndian.Uint64(v)) > now.Unix() {
		if slices.Equal(v[8:], in.Fingerprint) {
			return true, nil
		}
		return false, fault.Typed(fault.BadRequest, "IdempotentParameterMismatchException", "Another request with the same idempotent token but different parameters has been seen")
	}
	v := binary.BigEndian.AppendUint64(nil, uint64(now.Add(tokenLife).Unix()))
	return false, tx.Put(tokensSpace, []byte(*in.Token), append(v, in.Fingerprint...))
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

// TransactGetItems reads up to 100 items from one snapshot.
func (e *Engine) TransactGetItems(_ context.Context, in *TransactGetInput) (*TransactGetOutput, error) {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	switch n := len(in.Gets); {
	case n == 0:
		c.add("'[]'", "transactItems", "Member must have length greater than or equal to 1")
	case n > maxTransaction:
		c.add("'["+strconv.Itoa(n)+" gets]'", "transactItems", "Member must have length less than or equal to 100")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	gets, err := e.bindGets(in.Gets)
	if err != nil {
		return nil, err
	}
	out := &TransactGetOutput{}
	err = e.store.View(func(tx Tx) error {
		for _, g := range gets {
			item, size, err := g.t.get(tx, g.key, g.projection)
			if err != nil {
				return err
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
