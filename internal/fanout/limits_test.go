package fanout

import (
	"testing"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
)

func TestLimits(t *testing.T) {
	loops := newStepped(2)
	h := New(Config{Loops: loops, PerSink: 2, Filters: 3, PendingMessages: 2, PendingBytes: 100})
	a, b := &sink{}, &sink{shard: 1}
	must(t, h.Subscribe("1", a))
	must(t, h.Subscribe("2", a))
	must(t, h.Subscribe("2", a))
	wantErr := func(err error, kind fault.Kind, text string) {
		t.Helper()
		if !fault.Is(err, kind) || fault.Message(err) != text {
			t.Errorf("got %v (%v)", err, fault.KindOf(err))
		}
	}
	wantErr(h.Subscribe("3", a), fault.Throttled,
		`channel "3": the subscriber has 2 subscriptions, the most allowed; unsubscribe from another channel first`)
	must(t, h.Subscribe("3", b))
	wantErr(h.Subscribe("4", b), fault.Throttled,
		`channel "4": subscriptions to 3 different channels exist, the most allowed; try again when some have ended`)
	wantErr(h.Subscribe("x//y", b), fault.BadRequest, `channel "x//y": segment 2, at byte 3, is empty`)
	wantErr(h.Unsubscribe("1", b), fault.NotFound, `channel "1": the subscriber is not subscribed to it`)
	wantErr(h.Subscribe("3", &sink{shard: 2}), fault.Internal, `a sink on shard 2, of 2 shards`)
	_, err := h.Publish("news/*", frame.Text, nil)
	wantErr(err, fault.BadRequest, `channel "news/*": a wildcard stands for many channels; name the one that is meant`)
	_, err = h.Publish("1", frame.Text, make([]byte, 101))
	wantErr(err, fault.TooLarge, `the message is 101 bytes long; at most 100 may wait to be delivered`)
}

// A message that is too many for one shard goes to none: half a delivery could
// not be told apart from a loss.
func TestFullShardRefusesTheWholeMessage(t *testing.T) {
	loops := newStepped(2)
	h := New(Config{Loops: loops, PendingMessages: 2, PendingBytes: 100})
	both0, both1, only1 := &sink{}, &sink{shard: 1}, &sink{shard: 1}
	must(t, h.Subscribe("both", both0))
	must(t, h.Subscribe("both", both1))
	must(t, h.Subscribe("one", only1))
	send := func(name string, size int) bool {
		_, err := h.Publish(name, frame.Text, make([]byte, size))
		if err != nil && !fault.Is(err, fault.Throttled) {
			t.Fatal(err)
		}
		return err == nil
	}
	for i, c := range []struct {
		name string
		want bool
	}{{"one", true}, {"one", true}, {"one", false}, {"both", false}} {
		if send(c.name, 1) != c.want {
			t.Fatalf("message %d: two may wait, not three", i+1)
		}
	}
	if len(loops.queues[0]) != 0 || h.Stats().Pending != 2 {
		t.Fatal("shard 0 was given a message that shard 1 had no room for")
	}
	loops.drain()
	if !send("both", 60) || send("one", 41) || !send("one", 40) {
		t.Fatal("100 bytes may wait, not 101")
	}
	loops.drain()
	if st := h.Stats(); both0.count != 1 || both1.count != 1 || only1.count != 3 || st.Refused != 3 || st.Published != 4 || st.Pending != 0 {
		t.Fatal(both0.count, both1.count, only1.count, st)
	}
}
