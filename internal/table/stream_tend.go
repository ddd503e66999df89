package table

import (
	"context"
	"encoding/binary"
	"slices"
	"time"
)

// trimBatch is how many records one transaction deletes.
const trimBatch = 500

// tendStreams trims what is too old, begins new shards, and forgets streams that
// were switched off a day ago.
func (e *Engine) tendStreams(ctx context.Context) error {
	for _, s := range e.snapshot().streams {
		for more := true; more; {
			var err error
			if more, err = e.trimTo(ctx, s, e.horizon()); err != nil {
				return err
			}
		}
		if err := e.ageStream(ctx, s.id()); err != nil {
			return err
		}
	}
	return nil
}

// trimTo deletes one batch of records before the horizon and says whether there
// may be more. The mark it leaves tells a reader with an old position that it has
// missed something.
func (e *Engine) trimTo(ctx context.Context, s *stream, horizon uint64) (more bool, err error) {
	var keys [][]byte
	find := func(tx Tx) error {
		keys = nil
		tx.Ascend(s.space(), nil, sequenceKey(horizon), func(k, _ []byte) bool {
			keys = append(keys, slices.Clone(k))
			return len(keys) < trimBatch
		})
		return nil
	}
	if err := e.store.View(find); err != nil || len(keys) == 0 {
		return false, err
	}
	err = e.store.Update(ctx, func(tx Tx) error {
		for _, k := range keys {
			if err := tx.Delete(s.space(), k); err != nil {
				return err
			}
		}
		last := keys[len(keys)-1]
		if s.trimmed(tx) >= binary.BigEndian.Uint64(last) {
			return nil
		}
		return tx.Put(trimmedSpace, []byte(s.id()), last)
	})
	return len(keys) == trimBatch, err
}

// ageStream does to a stream what its age asks for.
func (e *Engine) ageStream(ctx context.Context, id string) error {
	now := e.cfg.Clock.Now()
	old := func(since int64, life time.Duration) bool {
		return since != 0 && now.Sub(time.UnixMilli(since)) > e.cfg.Clock.Real(life)
	}
	due := func(s *stream) bool {
		if s == nil {
			return false
		}
		sh := s.def.Shards
		return old(s.def.Closed, streamLife) || s.open() && old(sh[len(sh)-1].Opened, shardLife) ||
			len(sh) > 1 && sh[0].Last < e.horizon()
	}
	if !due(e.snapshot().streams[id]) {
		return nil
	}
	return e.change(ctx, func(tx Tx) error {
		was := e.snapshot().streams[id]
		if !due(was) {
			return nil
		}
		if old(was.def.Closed, streamLife) {
			return e.forgetStream(tx, was)
		}
		s := &stream{def: was.def, log: was.log}
		for len(s.def.Shards) > 1 && s.def.Shards[0].Last < e.horizon() {
			s.def.Shards = s.def.Shards[1:]
		}
		if last := s.def.Shards[len(s.def.Shards)-1]; s.open() && old(last.Opened, shardLife) {
			s.closeShard()
			s.openShard(now)
		}
		return e.saveStream(tx, s)
	})
}

// forgetStream removes a stream whose records have all been trimmed.
func (e *Engine) forgetStream(tx Tx, s *stream) error {
	if err := tx.Drop(s.space()); err != nil {
		return err
	}
	for _, space := range []string{trimmedSpace, streamsSpace} {
		if err := tx.Delete(space, []byte(s.id())); err != nil {
			return err
		}
	}
	c := e.snapshot()
	e.replace(&catalog{c.tables, replaced(c.streams, s.id(), nil)})
	return nil
}
