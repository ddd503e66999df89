package table

import (
	"context"
	"io"

	"github.com/livegate/livegate/internal/fault"
)

// Tail follows a stream from inside Livegate, across its shards, without polling.
// Not safe for concurrent use; any number of tails may follow one stream.
type Tail struct {
	engine *Engine
	arn    string
	last   uint64 // the last number read; what is behind it is known
	known  bool   // last is a position, not "the oldest there is"
}

// Places for [Engine.Tail] to start at, beside sequence numbers.
const (
	FromOldest = "TRIM_HORIZON"
	FromLatest = "LATEST"
)

// Tail begins to follow a stream: at FromOldest, at FromLatest, or after the
// record with a sequence number, so that a follower that stores the number of
// what it has done goes on where it was. NotFound if there is no such stream.
func (e *Engine) Tail(streamARN, from string) (*Tail, error) {
	s, err := e.streamByARN(streamARN)
	if err != nil {
		return nil, err
	}
	t := &Tail{engine: e, arn: streamARN}
	switch from {
	case FromOldest:
	case FromLatest:
		shards := s.def.Shards
		next, err := e.behindLast(s, shards[len(shards)-1])
		if err != nil {
			return nil, err
		}
		t.last, t.known = next-1, true
	default:
		if t.last, t.known = parseSequence(from); !t.known {
			return nil, fault.New(fault.BadRequest, "table.Tail: %q is no sequence number", from)
		}
	}
	return t, nil
}

// Next returns the next records, in order, at most limit (and about 1 MB). It
// waits until there are any, or ctx ends. io.EOF: the stream was switched off and
// is read to its end. An error of kind Gone: records after the position were
// trimmed before they were read; the next call goes on with the oldest there are.
func (t *Tail) Next(ctx context.Context, limit int) ([]*StreamRecord, error) {
	for {
		s, err := t.engine.streamByARN(t.arn)
		if err != nil {
			return nil, io.EOF // forgotten: it was closed a day ago
		}
		changed := s.log.wait() // before reading, so that no commit falls in between
		records, err := t.read(s, limit)
		if err != nil || len(records) > 0 {
			return records, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

func (t *Tail) read(s *stream, limit int) (records []*StreamRecord, err error) {
	err = t.engine.store.View(func(tx Tx) error {
		if mark := s.trimmed(tx); t.known && t.last < mark {
			t.known, t.last = false, 0
			return fault.New(fault.Gone, "records of the stream of table %s were trimmed, through %s, before they were read", s.def.Table, sequenceText(mark))
		}
		var next uint64
		records, next, err = s.read(tx, t.last+1, 0, limit)
		if len(records) > 0 {
			t.last, t.known = next-1, true
		}
		if err != nil || len(records) > 0 || s.open() {
			return err
		}
		def, err := s.committed(tx)
		if err == nil && def.Closed != 0 {
			return io.EOF
		}
		return err
	})
	return records, err
}
