package table

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
	"github.com/livegate/livegate/internal/fault"
)

// PartiQL: a statement is a Query or Scan, or one write, in another spelling.

const (
	maxBatchStatements = 25
	noFullKey          = "Where clause does not contain a mandatory equality on all key attributes"
)

// Statement is one PartiQL statement of a request. Limit, NextToken and Capacity
// are ExecuteStatement's alone.
type Statement struct {
	Text       *string
	Parameters []attr.Value
	Invalid    error // the first parameter that breaks a rule
	Consistent bool
	OnFailure  string // ReturnValuesOnConditionCheckFailure
	Limit      *int64
	NextToken  *string
	Capacity   string
}

// StatementOutput answers ExecuteStatement. Items is a JSON array of items in
// wire form.
type StatementOutput struct {
	Items     []byte
	LastKey   attr.Map
	NextToken string
	Capacity  *Capacity
}

func (c *constraints) statement(s *Statement, at string) {
	switch {
	case s.Text == nil:
		c.present(false, at)
	case *s.Text == "":
		c.add("''", at, "Member must have length greater than or equal to 1")
	case len(*s.Text) > dynexpr.MaxStatement:
		c.add(quoted((*s.Text)[:40]+"…"), at, "Member must have length less than or equal to 8192")
	}
}

func (s *Statement) parse() (*dynexpr.Statement, error) {
	if s.Invalid != nil {
		return nil, s.Invalid
	}
	return dynexpr.ParseStatement(*s.Text, s.Parameters)
}

// ExecuteStatement runs one statement. A SELECT answers a page, other statements
// what RETURNING asks for.
func (e *Engine) ExecuteStatement(ctx context.Context, in *Statement) (*StatementOutput, error) {
	var c constraints
	c.statement(in, "statement")
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.enum(in.OnFailure, "returnValuesOnConditionCheckFailure", "ALL_OLD", "NONE")
	c.atLeast(in.Limit, "limit", 1)
	if err := c.err(); err != nil {
		return nil, err
	}
	s, err := in.parse()
	if err != nil {
		return nil, err
	}
	name, err := tableName(&s.Table)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case dynexpr.Select:
		return e.selectPage(name, s, in)
	case dynexpr.Exists:
		return nil, invalid("EXISTS() can only be used as a statement of a transaction")
	}
	r := &Returning{ReturnValues: returnValues(s), OnFailure: in.OnFailure, Capacity: in.Capacity}
	w, err := e.writeOne(ctx, name, r, func(t *state) (*write, error) { return bindStatement(t, s) })
	if err != nil {
		return nil, err
	}
	out := &StatementOutput{Items: []byte("[]"), Capacity: w.Capacity}
	if w.Attributes != nil {
		out.Items = append(attr.AppendItem([]byte("["), w.Attributes), ']')
	}
	return out, nil
}

// returnValues is RETURNING in the words of UpdateItem.
func returnValues(s *dynexpr.Statement) string {
	return strings.ReplaceAll(strings.Replace(s.Returning, "MODIFIED", "UPDATED", 1), " ", "_")
}

// absent holds where there is no item.
type absent struct{}

func (absent) Match(item attr.Map) bool { return item == nil }

// absentOr lets a DELETE of what is not there succeed, whatever its WHERE says.
type absentOr struct{ where *dynexpr.Condition }

func (a absentOr) Match(item attr.Map) bool { return item == nil || a.where.Match(item) }

// bindStatement makes a write of a statement that is not a SELECT. The WHERE
// clause as a whole is the write's condition: an item that is not there, or has
// other keys, does not fulfil it.
func bindStatement(t *state, s *dynexpr.Statement) (*write, error) {
	if s.Kind == dynexpr.Insert {
		switch {
		case s.Item.Depth() > attr.MaxDepth:
			return nil, invalid("Nesting Levels have exceeded supported limits")
		case s.Item.Size() > MaxItem:
			return nil, invalid("Item size has exceeded the maximum allowed size")
		}
		w, err := newPut(t, s.Item, absent{})
		if err != nil {
			return nil, err
		}
		w.insert = true
		return w, nil
	}
	key, ok := s.Where.Equalities(t.key.names())
	if !ok {
		return nil, invalid("%s", noFullKey)
	}
	switch s.Kind {
	case dynexpr.Change:
		return newKeyed(t, actUpdate, key, &parsed{condition: s.Where, update: s.Update})
	case dynexpr.Remove:
		return newKeyed(t, actDelete, key, &parsed{condition: absentOr{s.Where}})
	}
	return newKeyed(t, actCheck, key, &parsed{condition: s.Where})
}

// pick is a SELECT of one item by its whole key.
type pick struct {
	t          *state
	s          *dynexpr.Statement
	key        []byte
	consistent bool
}

// bindPick makes one of a SELECT; otherwise is what to say when it names no key.
func bindPick(t *state, s *dynexpr.Statement, consistent bool, otherwise string) (*pick, error) {
	key, ok := s.Where.Equalities(t.key.names())
	if !ok || s.Index != "" {
		return nil, invalid("%s", otherwise)
	}
	if err := t.checkKey(key); err != nil {
		return nil, err
	}
	p := &pick{t: t, s: s, consistent: consistent}
	p.key, _ = t.key.encode(nil, key) // checkKey has seen the keys
	return p, nil
}

func (p *pick) read(tx Tx) (item []byte, size int, err error) {
	item, size, err = p.t.get(tx, p.key, nil)
	if item == nil || err != nil {
		return nil, size, err
	}
	m, err := attr.DecodeItem(item)
	if err != nil || !p.s.Where.Match(m) {
		return nil, size, err
	}
	if p.s.Projection != nil {
		item = attr.AppendItem(nil, p.s.Projection.Apply(m))
	}
	return item, size, nil
}

// StatementResult is the outcome of one statement of a batch or transaction:
// Code is "" when it was done.
type StatementResult struct {
	Table         string
	Item          []byte // wire form; nil: none
	Code, Message string
}

// StatementsOutput answers BatchExecuteStatement and ExecuteTransaction.
type StatementsOutput struct {
	Results  []StatementResult
	Capacity []*Capacity
}

// fail records an error of one statement; false when it is not the statement's.
func (r *StatementResult) fail(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	code, ok := map[string]string{
		"ConditionalCheckFailedException": "ConditionalCheckFailed",
		"DuplicateItemException":          "DuplicateItem",
		"ResourceNotFoundException":       "ResourceNotFound",
		"ValidationException":             "ValidationError",
	}[f.Type]
	if !ok {
		return false
	}
	r.Code, r.Message = code, f.Msg
	var failure *Failure
	if errors.As(err, &failure) {
		r.Item = failure.Item
	}
	return true
}

// boundStatement is a statement of a batch that can run: one of the two is set.
type boundStatement struct {
	pick  *pick
	write *write
	s     *dynexpr.Statement
}

// BatchExecuteStatement runs up to 25 statements, all reads or all writes, each
// for itself: one that fails does not stop the others.
func (e *Engine) BatchExecuteStatement(ctx context.Context, in []Statement, capacity string) (*StatementsOutput, error) {
	var c constraints
	c.enum(capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.count(len(in), "statements", maxBatchStatements)
	for i := range in {
		c.statement(&in[i], "statements."+strconv.Itoa(i+1)+".member.statement")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	statements := make([]*dynexpr.Statement, len(in))
	problems := make([]error, len(in))
	reads, writes := 0, 0
	for i := range in {
		switch statements[i], problems[i] = in[i].parse(); {
		case problems[i] != nil:
		case statements[i].Kind.IsRead():
			reads++
		default:
			writes++
		}
	}
	if reads > 0 && writes > 0 {
		return nil, invalid("Reads and writes cannot be mixed in one BatchExecuteStatement request")
	}
	for {
		out := &StatementsOutput{Results: make([]StatementResult, len(in))}
		todo := make([]*boundStatement, len(in))
		for i, s := range statements {
			err := problems[i]
			if err == nil {
				out.Results[i].Table = s.Table
				todo[i], err = e.bindMember(s, &in[i], capacity)
			}
			if err != nil && !out.Results[i].fail(err) {
				return nil, err
			}
		}
		err := e.runBatch(ctx, out, todo, capacity, writes > 0)
		if errors.Is(err, errChanged) {
			continue
		}
		return out, err
	}
}

// bindMember binds one statement of a batch to its table.
func (e *Engine) bindMember(s *dynexpr.Statement, in *Statement, capacity string) (*boundStatement, error) {
	name, err := tableName(&s.Table)
	if err != nil {
		return nil, err
	}
	t := e.lookup(name)
	b := &boundStatement{s: s}
	switch {
	case t == nil:
		return nil, notFound("Requested resource not found")
	case s.Kind == dynexpr.Exists:
		return nil, invalid("EXISTS() can only be used as a statement of a transaction")
	case s.Kind.IsRead():
		if b.pick, err = bindPick(t, s, in.Consistent, "Select statements within BatchExecuteStatement must specify the primary key in the where clause."); err != nil {
			return nil, err
		}
		return b, nil
	}
	if b.write, err = bindStatement(t, s); err != nil {
		return nil, err
	}
	b.write.onFailure = in.OnFailure == "ALL_OLD"
	b.write.needOld = s.Returning != "" || wantsCapacity(capacity)
	return b, nil
}

// runBatch runs what was bound in one transaction of the store. A write that
// fails has changed nothing yet, so the others can go on.
func (e *Engine) runBatch(ctx context.Context, out *StatementsOutput, todo []*boundStatement, capacity string, writes bool) error {
	run := func(tx Tx) error {
		for i, b := range todo {
			if b == nil {
				continue
			}
			r := &out.Results[i]
			c, err := e.runMember(tx, b, r, capacity)
			if errors.Is(err, errChanged) || err != nil && !r.fail(err) {
				return err
			}
			out.Capacity = mergeCapacity(out.Capacity, c)
		}
		return nil
	}
	if !writes {
		return e.store.View(run)
	}
	if err := e.store.Update(ctx, run); err != nil {
		return err
	}
	for _, b := range todo {
		if b != nil {
			e.wake(b.write.t)
		}
	}
	return nil
}

func (e *Engine) runMember(tx Tx, b *boundStatement, r *StatementResult, capacity string) (*Capacity, error) {
	if p := b.pick; p != nil {
		item, size, err := p.read(tx)
		r.Item = item
		return p.t.readCapacity(capacity, readUnits(size, p.consistent)), err
	}
	w := b.write
	if err := e.perform(tx, w); err != nil {
		return nil, err
	}
	if err := w.count(tx); err != nil {
		return nil, err
	}
	out := w.output(&Returning{ReturnValues: returnValues(b.s), Capacity: capacity})
	if out.Attributes != nil {
		r.Item = attr.AppendItem(nil, out.Attributes)
	}
	return out.Capacity, nil
}

// TransactionInput is the ExecuteTransaction request.
type TransactionInput struct {
	Statements  []Statement
	Token       *string // ClientRequestToken
	Fingerprint []byte  // of the statements
	Capacity    string
}

// ExecuteTransaction runs up to 100 statements, all or none: either SELECTs of
// single items, or writes and EXISTS conditions.
func (e *Engine) ExecuteTransaction(ctx context.Context, in *TransactionInput) (*StatementsOutput, error) {
	var c constraints
	c.enum(in.Capacity, "returnConsumedCapacity", "INDEXES", "TOTAL", "NONE")
	c.count(len(in.Statements), "transactStatements", maxTransaction)
	for i := range in.Statements {
		c.statement(&in.Statements[i], "transactStatements."+strconv.Itoa(i+1)+".member.statement")
	}
	c.token(in.Token)
	if err := c.err(); err != nil {
		return nil, err
	}
	statements := make([]*dynexpr.Statement, len(in.Statements))
	reads := 0
	for i := range in.Statements {
		s, err := in.Statements[i].parse()
		switch {
		case err != nil:
		case s.Returning != "":
			err = invalid("RETURNING clause is not supported in ExecuteTransaction.")
		case s.Index != "":
			err = invalid("Reads on indices are not supported within transactions.")
		case s.Kind.IsRead():
			reads++
		}
		if err != nil {
			return nil, invalid("Validation failed in TransactStatements[%d]: %s", i, fault.Message(err))
		}
		statements[i] = s
	}
	switch {
	case reads == len(statements):
		return e.readTransaction(in, statements)
	case reads > 0:
		return nil, invalid("Reads and writes cannot be mixed in one ExecuteTransaction request")
	}
	writes, repeated, err := e.commit(ctx, in.Token, in.Fingerprint, func() ([]*write, error) {
		return bindAll(len(statements), func(i int) (*write, error) {
			t, err := e.tableOf(statements[i])
			if err != nil {
				return nil, err
			}
			w, err := bindStatement(t, statements[i])
			if err != nil {
				return nil, &lateError{err}
			}
			w.onFailure = in.Statements[i].OnFailure == "ALL_OLD"
			w.needOld = wantsCapacity(in.Capacity)
			return w, nil
		})
	})
	if err != nil {
		return nil, err
	}
	out := &StatementsOutput{Results: make([]StatementResult, len(writes))}
	for _, w := range writes {
		out.Capacity = mergeCapacity(out.Capacity, w.transactionCapacity(in.Capacity, repeated))
	}
	return out, nil
}

func (e *Engine) tableOf(s *dynexpr.Statement) (*state, error) {
	name, err := tableName(&s.Table)
	if err != nil {
		return nil, err
	}
	t := e.lookup(name)
	if t == nil {
		return nil, notFound("Requested resource not found")
	}
	return t, nil
}

func (e *Engine) readTransaction(in *TransactionInput, statements []*dynexpr.Statement) (*StatementsOutput, error) {
	picks := make([]*pick, len(statements))
	reasons := make([]Reason, len(statements))
	failed := false
	for i, s := range statements {
		t, err := e.tableOf(s)
		if err != nil {
			return nil, err
		}
		reasons[i] = Reason{Code: "None"}
		if picks[i], err = bindPick(t, s, true, noFullKey); err != nil {
			failed = true
			reasons[i] = Reason{Code: "ValidationError", Message: fault.Message(err)}
		}
	}
	if failed {
		return nil, cancelled(reasons)
	}
	out := &StatementsOutput{Results: make([]StatementResult, len(picks))}
	err := e.store.View(func(tx Tx) error {
		total := 0
		for i, p := range picks {
			item, size, err := p.read(tx)
			if err != nil {
				return err
			}
			if total += size; total > maxTransactionBytes {
				return errTooMuchToGet
			}
			out.Results[i].Item = item
			if c := p.t.readCapacity(in.Capacity, 2*readUnits(size, true)); c != nil {
				c.ReadUnits = c.Units
				out.Capacity = mergeCapacity(out.Capacity, c)
			}
		}
		return nil
	})
	return out, err
}

// count checks the length of a list that must have a member.
func (c *constraints) count(n int, at string, most int) {
	switch {
	case n == 0:
		c.add("'[]'", at, "Member must have length greater than or equal to 1")
	case n > most:
		c.add("'["+strconv.Itoa(n)+" members]'", at, "Member must have length less than or equal to "+strconv.Itoa(most))
	}
}

// token checks a ClientRequestToken.
func (c *constraints) token(token *string) {
	if token != nil && (len(*token) < 1 || len(*token) > 36) {
		c.add(quoted(*token), "clientRequestToken", "Member must have length less than or equal to 36")
	}
}
