package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// A day, in a bubble whose clock moves by itself: shards are opened every four
// hours, records are trimmed after 24, a disabled stream is forgotten.
func TestStreamAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, done := openAt(t, filepath.Join(t.TempDir(), "state.db"), Config{})
		defer done()
		ctx := context.Background()
		declare(t, e, streamed("KEYS_ONLY"))
		arn := streamOfTable(t, e, "chat")
		tend := func() {
			t.Helper()
			if err := e.tendStreams(ctx); err != nil {
				t.Fatal(err)
			}
		}
		tail, err := e.Tail(arn, FromOldest)
		if err != nil {
			t.Fatal(err)
		}
		lagging := *tail
		for i := range 8 { // every 3.5 h: 24.5 h in all
			putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"}}`, i))
			if i < 7 {
				time.Sleep(shardLife - 30*time.Minute)
			}
			tend()
		}
		list := shards(t, e, arn)
		if len(list) < 3 {
			t.Fatal(list)
		}
		for i := range list[1:] {
			if list[i+1].ParentShardId != list[i].ShardId || list[i].SequenceNumberRange.EndingSequenceNumber >= list[i+1].SequenceNumberRange.StartingSequenceNumber {
				t.Error(list[i], list[i+1])
			}
		}
		if got := recordsOf(t, e, arn, 2); len(got) != 7 { // the first is older than a day
			t.Fatal(shown(got))
		}
		stale := iteratorAt(t, e, arn, list[len(list)-1].ShardId, FromOldest, "")
		time.Sleep(iteratorLife + time.Second)
		if _, err := e.GetRecords(&stale, nil); !isType(err, "ExpiredIteratorException") {
			t.Fatal(err)
		}
		if got, err := lagging.Next(ctx, 100); err != nil || len(got) != 7 {
			t.Fatal(shown(got), err) // nothing read yet, so nothing missed
		}
		lagging.last, lagging.known = 1, true
		if _, err := lagging.Next(ctx, 100); !fault.Is(err, fault.Gone) {
			t.Fatal(err)
		}
		if got, err := lagging.Next(ctx, 100); err != nil || len(got) != 7 {
			t.Fatal(shown(got), err)
		}
		second := recordsOf(t, e, arn, 100)[0].Sequence
		early := iteratorAt(t, e, arn, list[0].ShardId, "AT_SEQUENCE_NUMBER", second)
		if _, err := e.UpdateTable(ctx, &UpdateTableInput{TableName: ptr("chat"), StreamSpecification: &StreamSpecification{StreamEnabled: ptr(false)}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if got, _ := readShard(t, e, early, 100); len(got) == 0 {
			t.Fatal("a disabled stream cannot be read")
		}
		early = iteratorAt(t, e, arn, list[0].ShardId, "AT_SEQUENCE_NUMBER", second)
		e.trimAll(t, e.horizon()+uint64(4*time.Hour/time.Millisecond)<<sequenceShift)
		if _, err := e.GetRecords(&early, nil); !isType(err, "TrimmedDataAccessException") {
			t.Fatal(err)
		}
		time.Sleep(streamLife + time.Minute)
		tend()
		if _, err := e.DescribeStream(&DescribeStreamInput{StreamArn: &arn}); !fault.Is(err, fault.BadRequest) || len(e.snapshot().streams) != 0 {
			t.Fatal(err)
		}
		if _, err := tail.Next(ctx, 1); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if streamOfTable(t, e, "chat") != "" {
			t.Fatal("the table still names its stream")
		}
	})
}

// trimAll trims as if the horizon were there already.
func (e *Engine) trimAll(t *testing.T, horizon uint64) {
	t.Helper()
	for _, s := range e.snapshot().streams {
		if _, err := e.trimTo(context.Background(), s, horizon); err != nil {
			t.Fatal(err)
		}
	}
}

func isType(err error, name string) bool {
	var f *fault.Error
	return errors.As(err, &f) && f.Type == name
}

// A trimming transaction deletes a bounded number of records.
func TestTrimIsBounded(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	for i := range trimBatch/25 + 1 {
		in := &BatchWriteInput{Tables: []TableWrites{{Table: "chat"}}}
		for j := range 25 {
			in.Tables[0].Writes = append(in.Tables[0].Writes, BatchWrite{Put: ptr(item(t, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"}}`, i*25+j)))})
		}
		if _, err := e.BatchWriteItem(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range e.snapshot().streams {
		more, err := e.trimTo(t.Context(), s, 1<<63)
		if err != nil || !more {
			t.Fatal(more, err)
		}
	}
	if got := records(t, e, "chat"); len(got) != 25 {
		t.Fatal(len(got), "records left")
	}
}
