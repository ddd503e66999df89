package table

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"github.com/livegate/livegate/internal/attr"
)

// Time to live: a table with a TTL attribute has one more space, ordered by the
// second an item is due, so expiry is a range read however large the table is.

const (
	expireEvery = 10 * time.Second
	expireBatch = 100
	// maxOverdue: items whose time is further in the past are never deleted; a
	// number that is not a time is the usual reason (Developer Guide, "Time to
	// Live", five years).
	maxOverdue = 5 * 365 * 24 * time.Hour
)

func (t *state) dueSpace() string { return t.space + "\x00due" }

// due is the second an item expires; false when it never does.
func (t *state) due(item attr.Map) (int64, bool) {
	v, ok := item.Get(t.def.TTL)
	if !ok || v.Kind != attr.N {
		return 0, false
	}
	whole, _, _ := bytes.Cut([]byte(v.Str), []byte("."))
	at, err := strconv.ParseInt(string(whole), 10, 64)
	return at, err == nil && at > 0
}

func dueKey(at int64, itemKey []byte) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), itemKey...)
}

// moveDue keeps the due space in step with a write.
func (t *state) moveDue(tx Tx, old, new attr.Map, itemKey []byte) error {
	from, was := t.due(old)
	to, is := t.due(new)
	if was && is && from == to {
		return nil
	}
	if was {
		if err := tx.Delete(t.dueSpace(), dueKey(from, itemKey)); err != nil {
			return err
		}
	}
	if is {
		return tx.Put(t.dueSpace(), dueKey(to, itemKey), nil)
	}
	return nil
}

// refillDue rebuilds the due space after the TTL attribute has changed.
func (t *state) refillDue(tx Tx, before string) error {
	if t.def.TTL == before {
		return nil
	}
	if err := clearSpace(tx, t.dueSpace()); err != nil || t.def.TTL == "" {
		return err
	}
	var err error
	tx.Ascend(t.space, nil, nil, func(key, record []byte) bool {
		var item attr.Map
		if item, err = decodeRecord(record); err == nil {
			err = t.moveDue(tx, nil, item, key)
		}
		return err == nil
	})
	return err
}

// Run deletes expired items and stream records until ctx ends, looking every ten
// seconds of the engine's clock. It returns nil then, or the store's error.
func (e *Engine) Run(ctx context.Context) error {
	timer := e.cfg.Clock.NewTimer(expireEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if err := cmp.Or(e.expire(ctx), e.tendStreams(ctx)); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		timer.Reset(e.cfg.Clock.Real(expireEvery))
	}
}

// expire deletes everything that is due now.
func (e *Engine) expire(ctx context.Context) error {
	now := e.cfg.Clock.Now()
	for name, t := range e.snapshot().tables {
		if t.def.TTL == "" {
			continue
		}
		for {
			n, err := e.expireSome(ctx, name, now)
			if err != nil {
				return err
			}
			if n < expireBatch {
				break
			}
		}
	}
	return e.forgetTokens(ctx, now)
}

// expireSome deletes one batch and returns how many items were due.
func (e *Engine) expireSome(ctx context.Context, name string, now time.Time) (int, error) {
	t := e.lookup(name)
	if t == nil || t.def.TTL == "" {
		return 0, nil
	}
	var keys [][]byte
	from := dueKey(max(now.Add(-maxOverdue).Unix(), 0), nil)
	err := e.store.View(func(tx Tx) error {
		tx.Ascend(t.dueSpace(), from, dueKey(now.Unix()+1, nil), func(k, _ []byte) bool {
			keys = append(keys, bytes.Clone(k[8:]))
			return len(keys) < expireBatch
		})
		return nil
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	err = e.store.Update(ctx, func(tx Tx) error {
		for _, k := range keys {
			if err := e.expireOne(tx, t, k, now); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errChanged) {
		return expireBatch, nil
	}
	e.wake(t)
	return len(keys), err
}

// expireOne deletes an item if it is still due: it may have been renewed since
// it was found.
func (e *Engine) expireOne(tx Tx, t *state, key []byte, now time.Time) error {
	item, err := decodeRecord(tx.Get(t.space, key))
	if err != nil {
		return err
	}
	if at, ok := t.due(item); !ok || at > now.Unix() {
		return nil
	}
	w := &write{t: t, act: actDelete, key: t.key.pick(item), keyBytes: key, expired: true}
	if err := e.perform(tx, w); err != nil {
		return err
	}
	return w.count(tx)
}

// TimeToLive is a table's TTL setting.
type TimeToLive struct {
	Enabled   bool
	Attribute string
}

// DescribeTimeToLive reads the setting.
func (e *Engine) DescribeTimeToLive(name *string) (TimeToLive, error) {
	n, err := newTableName(name)
	if err != nil {
		return TimeToLive{}, err
	}
	t := e.lookup(n)
	if t == nil {
		return TimeToLive{}, notFound("Requested resource not found: Table: %s not found", n)
	}
	return TimeToLive{t.def.TTL != "", t.def.TTL}, nil
}

// UpdateTimeToLive turns expiry on or off.
func (e *Engine) UpdateTimeToLive(ctx context.Context, name *string, want TimeToLive) error {
	n, err := newTableName(name)
	if err != nil {
		return err
	}
	var c constraints
	if want.Attribute == "" {
		c.add("''", "timeToLiveSpecification.attributeName", "Member must have length greater than or equal to 1")
	}
	if err := c.err(); err != nil {
		return err
	}
	return e.change(ctx, func(tx Tx) error {
		old := e.lookup(n)
		if old == nil {
			return notFound("Requested resource not found: Table: %s not found", n)
		}
		switch {
		case want.Enabled && old.def.TTL == want.Attribute:
			return invalid("TimeToLive is already enabled")
		case want.Enabled && old.def.TTL != "":
			return invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", old.def.TTL)
		case !want.Enabled && old.def.TTL == "":
			return invalid("TimeToLive is already disabled")
		case !want.Enabled && old.def.TTL != want.Attribute:
			return invalid("TimeToLive is active on a different AttributeName: current AttributeName is %s", old.def.TTL)
		}
		def := old.def
		def.TTL = ""
		if want.Enabled {
			def.TTL = want.Attribute
		}
		t := newState(def, old.counts)
		if err := t.refillDue(tx, old.def.TTL); err != nil {
			return err
		}
		return e.save(tx, t)
	})
}
