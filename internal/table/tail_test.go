package table

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

// A tail waits without polling, across the switch of shards, and ends with the
// stream. It can go on after a number it has stored.
func TestTailFollows(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("NEW_IMAGE"))
	arn := streamOfTable(t, e, "chat")
	tail, err := e.Tail(arn, FromLatest)
	if err != nil {
		t.Fatal(err)
	}
	const n = 40
	got := make(chan []*StreamRecord)
	go func() {
		var all []*StreamRecord
		for {
			some, err := tail.Next(context.Background(), 3)
			if errors.Is(err, io.EOF) {
				got <- all
				return
			}
			if err != nil {
				t.Error(err)
			}
			all = append(all, some...)
		}
	}()
	for i := range n {
		putItem(t, e, fmt.Sprintf(`{"pk":{"S":"a"},"sk":{"N":"%d"}}`, i))
	}
	if _, err := e.DeleteTable(t.Context(), ptr("chat")); err != nil {
		t.Fatal(err)
	}
	all := <-got
	if len(all) != n {
		t.Fatalf("%d records", len(all))
	}
	again, err := e.Tail(arn, all[n-3].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := again.Next(t.Context(), 100); err != nil || len(rest) != 2 {
		t.Fatal(rest, err)
	}
	if _, err := e.Tail(arn, "noon"); !fault.Is(err, fault.BadRequest) {
		t.Fatal(err)
	}
	if _, err := e.Tail("arn:aws:dynamodb:us-east-1:000000000000:table/none/stream/x", FromLatest); err == nil {
		t.Fatal("followed a stream that does not exist")
	}
}

// A failed commit leaves whoever waits there waiting for the next one, not forever.
func TestTailStopsWithItsContext(t *testing.T) {
	e := newEngine(t, Config{})
	declare(t, e, streamed("KEYS_ONLY"))
	tail, err := e.Tail(streamOfTable(t, e, "chat"), FromLatest)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tail.Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
