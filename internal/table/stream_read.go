package table

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

const (
	maxRecords     = 1000    // of one GetRecords
	maxRecordBytes = 1 << 20 // likewise, as stored
	iteratorLife   = 15 * time.Minute
)

// horizon is the least sequence number that is young enough to be read.
func (e *Engine) horizon() uint64 {
	return sequenceAt(e.cfg.Clock.Now().Add(-e.cfg.Clock.Real(streamLife)))
}

// iterator is a position in a shard: what a shard iterator says. It holds no
// secret; who may read the stream may ask for any position of it.
type iterator struct {
	stream *stream
	shard  shard
	from   uint64 // the first number to read; 0 is the oldest there is
	issued time.Time
}

const iteratorMark = "|1|"

func (e *Engine) encodeIterator(it iterator) string {
	b := binary.BigEndian.AppendUint64(nil, it.from)
	b = binary.BigEndian.AppendUint64(b, uint64(e.cfg.Clock.Now().UnixMilli()))
	b = append(b, it.shard.ID...)
	return e.streamARN(it.stream) + iteratorMark + base64.StdEncoding.EncodeToString(b)
}

func (e *Engine) decodeIterator(text string) (it iterator, err error) {
	arn, rest, ok := strings.Cut(text, iteratorMark)
	b, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) < 16 {
		return it, invalid("Invalid ShardIterator: it is not one that GetShardIterator or GetRecords returned")
	}
	if it.stream, err = e.streamByARN(arn); err != nil {
		return it, err
	}
	if it.shard, err = it.stream.shard(string(b[16:])); err != nil {
		return it, err
	}
	it.from = binary.BigEndian.Uint64(b)
	it.issued = time.UnixMilli(int64(binary.BigEndian.Uint64(b[8:])))
	return it, nil
}

func (s *stream) shard(id string) (shard, error) {
	i := slices.IndexFunc(s.def.Shards, func(sh shard) bool { return sh.ID == id })
	if i < 0 {
		return shard{}, notFound("Requested resource not found: Shard does not exist: %s", id)
	}
	return s.def.Shards[i], nil
}

func trimmed() error {
	return fault.Typed(fault.BadRequest, "TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard.")
}

// ShardIteratorInput is the GetShardIterator request.
type ShardIteratorInput struct {
	StreamArn         *string
	ShardId           *string
	ShardIteratorType *string
	SequenceNumber    *string
}

// GetShardIterator makes an iterator, good for 15 minutes.
func (e *Engine) GetShardIterator(in *ShardIteratorInput) (string, error) {
	var c constraints
	c.present(in.StreamArn != nil, "streamArn")
	c.present(in.ShardId != nil, "shardId")
	c.present(in.ShardIteratorType != nil, "shardIteratorType")
	if in.StreamArn != nil {
		c.streamARN(*in.StreamArn, "streamArn")
	}
	if in.ShardId != nil && len(*in.ShardId) < 28 {
		c.add(quoted(*in.ShardId), "shardId", "Member must have length greater than or equal to 28")
	}
	if in.ShardIteratorType != nil {
		c.enum(*in.ShardIteratorType, "shardIteratorType", "AFTER_SEQUENCE_NUMBER", "LATEST", "AT_SEQUENCE_NUMBER", "TRIM_HORIZON")
	}
	if n := in.SequenceNumber; n != nil && len(*n) < 21 {
		c.add(quoted(*n), "sequenceNumber", "Member must have length greater than or equal to 21")
	}
	if err := c.err(); err != nil {
		return "", err
	}
	s, err := e.streamByARN(*in.StreamArn)
	if err != nil {
		return "", err
	}
	it := iterator{stream: s}
	if it.shard, err = s.shard(*in.ShardId); err != nil {
		return "", err
	}
	kind := *in.ShardIteratorType
	byNumber := strings.HasSuffix(kind, "SEQUENCE_NUMBER")
	switch {
	case byNumber && in.SequenceNumber == nil:
		return "", invalid("The SequenceNumber parameter is required when ShardIteratorType is %s", kind)
	case byNumber:
		if it.from, err = e.startingAt(s, it.shard, *in.SequenceNumber); kind == "AFTER_SEQUENCE_NUMBER" {
			it.from++
		}
	case in.SequenceNumber != nil:
		return "", invalid("The SequenceNumber parameter must not be given when ShardIteratorType is %s", kind)
	case kind == "LATEST":
		it.from, err = e.behindLast(s, it.shard)
	}
	if err != nil {
		return "", err
	}
	return e.encodeIterator(it), nil
}

// startingAt checks that a sequence number is one of the shard's and not trimmed.
func (e *Engine) startingAt(s *stream, sh shard, text string) (seq uint64, err error) {
	seq, ok := parseSequence(text)
	if !ok || seq < sh.First || sh.Last != 0 && seq > sh.Last {
		return 0, invalid("Invalid SequenceNumber: %s is not in the range of shard %s", text, sh.ID)
	}
	err = e.store.View(func(tx Tx) error {
		if seq < e.horizon() || seq <= s.trimmed(tx) {
			return trimmed()
		}
		return nil
	})
	return seq, err
}

// behindLast is the position after everything that is committed.
func (e *Engine) behindLast(s *stream, sh shard) (seq uint64, err error) {
	if sh.Last != 0 {
		return sh.Last + 1, nil
	}
	seq = sh.First
	err = e.store.View(func(tx Tx) error {
		tx.Descend(s.space(), sequenceKey(sh.First), nil, func(k, _ []byte) bool {
			seq = binary.BigEndian.Uint64(k) + 1
			return false
		})
		return nil
	})
	return seq, err
}

// RecordsPage answers GetRecords. Next is "" when the shard is closed and read
// to its end.
type RecordsPage struct {
	Records []*StreamRecord
	Next    string
}

// GetRecords reads on from an iterator: up to limit records (1000 when nil) and
// about 1 MB of them.
func (e *Engine) GetRecords(shardIterator *string, limit *int64) (*RecordsPage, error) {
	var c constraints
	c.present(shardIterator != nil, "shardIterator")
	c.within(limit, "limit", 1, maxRecords)
	if err := c.err(); err != nil {
		return nil, err
	}
	it, err := e.decodeIterator(*shardIterator)
	if err != nil {
		return nil, err
	}
	// Not on the scaled clock: how often a client comes back is its own matter.
	if e.cfg.Clock.Now().Sub(it.issued) > iteratorLife {
		return nil, fault.Typed(fault.BadRequest, "ExpiredIteratorException", "The shard iterator has expired: it could be used for 15 minutes after it was returned")
	}
	n := maxRecords
	if limit != nil {
		n = int(*limit)
	}
	var page RecordsPage
	next := it.from
	err = e.store.View(func(tx Tx) error {
		if it.from != 0 && e.isTrimmed(tx, it) {
			return trimmed()
		}
		if it.shard.Last != 0 {
			def, err := it.stream.committed(tx)
			if err != nil {
				return err
			}
			if sh, err := (&stream{def: def}).shard(it.shard.ID); err == nil {
				it.shard = sh
			}
		}
		records, after, err := it.stream.read(tx, max(it.from, it.shard.First, e.horizon()), it.shard.Last, n)
		page.Records = records
		if len(records) > 0 {
			next = after
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	ended := it.shard.Last != 0 && (next > it.shard.Last || len(page.Records) == 0)
	if !ended {
		it.from = next
		page.Next = e.encodeIterator(it)
	}
	return &page, nil
}

// isTrimmed reports whether a record at or after the iterator's position is gone
// or too old. That there is none between the position and the horizon is no loss.
func (e *Engine) isTrimmed(tx Tx, it iterator) bool {
	lost := it.from <= it.stream.trimmed(tx)
	if horizon := e.horizon(); !lost && it.from < horizon {
		tx.Ascend(it.stream.space(), sequenceKey(it.from), sequenceKey(horizon), func(_, _ []byte) bool {
			lost = true
			return false
		})
	}
	return lost
}

// read returns records from a sequence number on, through last unless it is 0,
// and the number to go on from.
func (s *stream) read(tx Tx, from, last uint64, limit int) (records []*StreamRecord, next uint64, err error) {
	var to []byte
	if last != 0 {
		to = sequenceKey(last + 1)
	}
	size := 0
	tx.Ascend(s.space(), sequenceKey(from), to, func(k, v []byte) bool {
		if size += len(v); len(records) > 0 && size > maxRecordBytes {
			return false
		}
		seq := binary.BigEndian.Uint64(k)
		var r *StreamRecord
		if r, err = s.decode(seq, v); err != nil {
			return false
		}
		records, next = append(records, r), seq+1
		return len(records) < limit
	})
	return records, next, err
}
