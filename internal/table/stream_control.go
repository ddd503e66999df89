package table

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/id"
)

// switchStream makes the catalog of streams follow a table's definition: a stream
// that was switched off or given another view is closed, and a new one begins
// under a new label. A table that comes or goes has an empty definition on the
// other side.
func (e *Engine) switchStream(tx Tx, old, def *definition) error {
	if old.Stream == def.Stream && old.ID == def.ID {
		return nil
	}
	now := e.cfg.Clock.Now()
	if s := e.streamOf(old); s != nil && s.open() {
		if err := e.closeStream(tx, s, now); err != nil {
			return err
		}
	}
	if def.Stream == "" {
		return nil
	}
	for at := now; ; at = at.Add(time.Millisecond) {
		def.StreamLabel = at.UTC().Format("2006-01-02T15:04:05.000")
		if e.streamOf(def) == nil {
			break
		}
	}
	s := &stream{log: &streamLog{}, def: streamDefinition{
		Table: def.Name, TableID: def.ID, Label: def.StreamLabel, View: def.Stream,
		KeySchema: def.KeySchema, Created: now.UnixMilli(),
	}}
	s.openShard(now)
	return e.saveStream(tx, s)
}

// openShard begins a shard behind the ones there are.
func (s *stream) openShard(now time.Time) {
	sh := shard{First: max(s.log.last+1, sequenceAt(now)), Opened: now.UnixMilli()}
	if n := len(s.def.Shards); n > 0 {
		sh.Parent = s.def.Shards[n-1].ID
	}
	sh.ID = fmt.Sprintf("shardId-%020d-%s", now.UnixMilli(), strings.ReplaceAll(id.NewUUID(), "-", "")[:8])
	s.def.Shards = append(slices.Clone(s.def.Shards), sh)
	s.log.last = sh.First - 1
}

// closeShard ends the open shard. An empty one ends where it begins.
func (s *stream) closeShard() {
	s.def.Shards = slices.Clone(s.def.Shards)
	sh := &s.def.Shards[len(s.def.Shards)-1]
	s.log.last = max(s.log.last, sh.First)
	sh.Last = s.log.last
}

func (e *Engine) closeStream(tx Tx, s *stream, now time.Time) error {
	closed := &stream{def: s.def, log: s.log}
	closed.def.Closed = now.UnixMilli()
	closed.closeShard()
	return e.saveStream(tx, closed)
}

// saveStream persists a stream and publishes it. Only inside change.
func (e *Engine) saveStream(tx Tx, s *stream) error {
	b, err := json.Marshal(&s.def)
	if err != nil {
		return fmt.Errorf("table.saveStream(%q): %w", s.id(), err)
	}
	if err := tx.Put(streamsSpace, []byte(s.id()), b); err != nil {
		return err
	}
	c := e.snapshot()
	e.replace(&catalog{c.tables, replaced(c.streams, s.id(), s)})
	return nil
}

// adoptStreams gives a stream to tables of a store that was written before there
// were streams and whose definitions ask for one.
func (e *Engine) adoptStreams() error {
	var without []*state
	for _, t := range e.snapshot().tables {
		if t.def.Stream != "" && e.streamOf(&t.def) == nil {
			without = append(without, t)
		}
	}
	if without == nil {
		return nil
	}
	return e.change(context.Background(), func(tx Tx) error {
		for _, t := range without {
			def := t.def
			if err := e.switchStream(tx, &definition{}, &def); err != nil {
				return err
			}
			if err := e.save(tx, newState(def, t.counts)); err != nil {
				return err
			}
		}
		return nil
	})
}

// StreamSummary is one stream in a list.
type StreamSummary struct {
	StreamArn   string
	TableName   string
	StreamLabel string
}

// ListStreams lists streams by ARN, of one table or of all, after start; last is
// the ARN to go on from, "" at the end.
func (e *Engine) ListStreams(table, start *string, limit *int64) (list []StreamSummary, last string, err error) {
	var c constraints
	c.within(limit, "limit", 1, 100)
	if start != nil {
		c.streamARN(*start, "exclusiveStartStreamArn")
	}
	if err := c.err(); err != nil {
		return nil, "", err
	}
	only := ""
	if table != nil {
		if only, err = tableName(table); err != nil {
			return nil, "", err
		}
	}
	for _, s := range e.snapshot().streams {
		arn := e.streamARN(s)
		if (only == "" || s.def.Table == only) && (start == nil || arn > *start) {
			list = append(list, StreamSummary{arn, s.def.Table, s.def.Label})
		}
	}
	slices.SortFunc(list, func(a, b StreamSummary) int { return cmp.Compare(a.StreamArn, b.StreamArn) })
	n := 100
	if limit != nil {
		n = int(*limit)
	}
	if len(list) > n {
		return list[:n], list[n-1].StreamArn, nil
	}
	return list, "", nil
}

// DescribeStreamInput is the DescribeStream request.
type DescribeStreamInput struct {
	StreamArn             *string
	Limit                 *int64
	ExclusiveStartShardId *string
	ShardFilter           *struct{ Type, ShardId string }
}

// StreamDescription is a stream as DescribeStream shows it.
type StreamDescription struct {
	StreamArn               string
	StreamLabel             string
	StreamStatus            string
	StreamViewType          string
	CreationRequestDateTime float64 // Unix seconds
	TableName               string
	KeySchema               []KeySchemaElement
	Shards                  []ShardDescription
	LastEvaluatedShardId    string `json:",omitempty"`
}

// ShardDescription is one shard in a description.
type ShardDescription struct {
	ShardId             string
	SequenceNumberRange SequenceNumberRange
	ParentShardId       string `json:",omitempty"`
}

// SequenceNumberRange is open-ended while its shard is open.
type SequenceNumberRange struct {
	StartingSequenceNumber string
	EndingSequenceNumber   string `json:",omitempty"`
}

// DescribeStream describes a stream and a page of the shards that can be read.
func (e *Engine) DescribeStream(in *DescribeStreamInput) (*StreamDescription, error) {
	var c constraints
	c.present(in.StreamArn != nil, "streamArn")
	c.within(in.Limit, "limit", 1, 100)
	if in.StreamArn != nil {
		c.streamARN(*in.StreamArn, "streamArn")
	}
	if in.ShardFilter != nil {
		c.enum(in.ShardFilter.Type, "shardFilter.type", "CHILD_SHARDS")
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	s, err := e.streamByARN(*in.StreamArn)
	if err != nil {
		return nil, err
	}
	d := &StreamDescription{
		StreamArn: e.streamARN(s), StreamLabel: s.def.Label, StreamStatus: "ENABLED", StreamViewType: s.def.View,
		CreationRequestDateTime: float64(s.def.Created) / 1000, TableName: s.def.Table, KeySchema: s.def.KeySchema,
		Shards: []ShardDescription{},
	}
	if !s.open() {
		d.StreamStatus = "DISABLED"
	}
	limit := 100
	if in.Limit != nil {
		limit = int(*in.Limit)
	}
	started := in.ExclusiveStartShardId == nil
	for _, sh := range s.def.Shards {
		switch {
		case !started:
			started = sh.ID == *in.ExclusiveStartShardId
			continue
		case sh.Last != 0 && sh.Last < e.horizon():
			continue
		case in.ShardFilter != nil && sh.Parent != in.ShardFilter.ShardId:
			continue
		case len(d.Shards) == limit:
			d.LastEvaluatedShardId = d.Shards[limit-1].ShardId
			return d, nil
		}
		described := ShardDescription{ShardId: sh.ID, ParentShardId: sh.Parent}
		described.SequenceNumberRange.StartingSequenceNumber = sequenceText(sh.First)
		if sh.Last != 0 {
			described.SequenceNumberRange.EndingSequenceNumber = sequenceText(sh.Last)
		}
		d.Shards = append(d.Shards, described)
	}
	return d, nil
}

// streamByARN finds a stream that has not been forgotten.
func (e *Engine) streamByARN(arn string) (*stream, error) {
	name, label, ok := strings.Cut(strings.TrimPrefix(arn, e.tableARN("")), "/stream/")
	if s := e.snapshot().streams[name+"/"+label]; ok && s != nil && e.streamARN(s) == arn {
		return s, nil
	}
	return nil, notFound("Requested resource not found: Stream: %s not found", arn)
}

// Lengths of the parameters of the streams API (API reference, "Amazon DynamoDB
// Streams").
const (
	minStreamARN = 37
	maxStreamARN = 1024
)

func (c *constraints) streamARN(arn, at string) {
	switch {
	case len(arn) < minStreamARN:
		c.add(quoted(arn), at, "Member must have length greater than or equal to 37")
	case len(arn) > maxStreamARN:
		c.add(quoted(arn), at, "Member must have length less than or equal to 1024")
	}
}

// within checks an optional number.
func (c *constraints) within(value *int64, at string, low, high int64) {
	c.atLeast(value, at, low)
	if value != nil && *value > high {
		c.add(quoted(strconv.FormatInt(*value, 10)), at, "Member must have value less than or equal to "+strconv.FormatInt(high, 10))
	}
}
