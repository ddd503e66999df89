package fanout

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
)

// ledger is what one sink got of each publisher. Owned by the sink's loop.
type ledger struct {
	sink
	t     *testing.T
	first []int // -1: nothing yet
	last  []int
	floor []int // what was published before it subscribed
	ended bool  // set on the loop, after Unsubscribe returned
}

func newLedger(t *testing.T, shard, publishers int) *ledger {
	l := &ledger{sink: sink{shard: shard}, t: t}
	for range publishers {
		l.first, l.last, l.floor = append(l.first, -1), append(l.last, -1), append(l.floor, -1)
	}
	return l
}

// Deliver accepts, of each publisher, only the message after the last: none
// twice, none out of order, none missing in between.
func (l *ledger) Deliver(p *frame.Prepared) {
	from, seq := parse(p)
	switch {
	case l.ended:
		l.t.Errorf("message %d of %d delivered after Unsubscribe returned on this loop", seq, from)
	case seq <= l.floor[from]:
		l.t.Errorf("message %d of %d delivered, published before message %d, after which the sink subscribed", seq, from, l.floor[from])
	case l.first[from] < 0:
		l.first[from] = seq
	case seq != l.last[from]+1:
		l.t.Errorf("message %d of %d delivered after message %d", seq, from, l.last[from])
	}
	l.last[from] = seq
}

// publisher publishes numbered messages; those up to sent have been.
type publisher struct {
	id   int
	sent atomic.Int64
}

func (p *publisher) run(h *Hub, channel string, n int) error {
	for seq := range n {
		for {
			_, err := h.Publish(channel, frame.Text, payload(p.id, seq))
			if err == nil {
				break
			}
			if !fault.Is(err, fault.Throttled) {
				return err
			}
			runtime.Gosched()
		}
		p.sent.Store(int64(seq))
	}
	return nil
}

// Publishers, subscribers that stay, and subscribers that come and go on their
// loops, all at once.
func TestLedger(t *testing.T) {
	const publishers, messages, stable, movers, rounds = 3, 1_000, 60, 12, 40
	channels := []string{"room/a", "room/a", "room/b"}
	loops := newRunning(2)
	h := New(Config{Loops: loops, PendingMessages: 200})

	stay := make([]*ledger, stable)
	for i := range stay {
		stay[i] = newLedger(t, i%2, publishers)
		for j, f := range []string{"room/a", "room/b", "room/*", "*"} {
			if j == i%4 || i%7 == 0 { // some through several filters
				must(t, h.Subscribe(f, stay[i]))
			}
		}
	}
	var senders, comers sync.WaitGroup
	all := make([]*publisher, publishers)
	for i := range all {
		all[i] = &publisher{id: i}
		all[i].sent.Store(-1)
	}
	for i, p := range all {
		senders.Go(func() {
			if err := p.run(h, channels[i], messages); err != nil {
				t.Error(err)
			}
		})
	}
	for m := range movers {
		comers.Go(func() {
			r := rand.New(rand.NewPCG(11, uint64(m)))
			for range rounds {
				l := newLedger(t, r.IntN(2), publishers)
				var from [publishers]int64
				loops.call(l.shard, func() {
					for i, p := range all {
						l.floor[i] = int(p.sent.Load())
					}
					if err := h.Subscribe("room/*", l); err != nil {
						t.Error(err)
					}
					for i, p := range all {
						from[i] = p.sent.Load()
					}
				})
				for range r.IntN(40) {
					runtime.Gosched()
				}
				loops.call(l.shard, func() {
					if r.IntN(2) == 0 {
						h.UnsubscribeAll(l)
					} else if err := h.Unsubscribe("room/*", l); err != nil {
						t.Error(err)
					}
					l.ended = true
					// At most one message was under way while it subscribed.
					for i := range all {
						if l.first[i] > int(from[i])+2 {
							t.Errorf("subscribed when message %d of %d was the last; the first it got is %d", from[i], i, l.first[i])
						}
					}
				})
			}
		})
	}
	senders.Wait()
	comers.Wait()
	loops.stop()
	for i, l := range stay {
		for p, channel := range channels {
			interested := i%4 >= 2 || i%7 == 0 || (i%4 == 0) == (channel == "room/a")
			switch {
			case !interested && l.first[p] >= 0:
				t.Errorf("sink %d got messages of %s", i, channel)
			case interested && (l.first[p] != 0 || l.last[p] != messages-1):
				t.Errorf("sink %d got messages %d to %d of publisher %d, want 0 to %d", i, l.first[p], l.last[p], p, messages-1)
			}
		}
	}
	if st := h.Stats(); st.Pending != 0 || st.Sinks != stable || st.Published != publishers*messages {
		t.Errorf("%+v", st)
	}
}

// Unsubscribed by another goroutine than its loop, a sink gets at most the one
// message whose delivery had begun.
func TestUnsubscribeFromOutside(t *testing.T) {
	loops := newRunning(1)
	defer loops.stop()
	h := New(Config{Loops: loops})
	var stop atomic.Bool
	var sender sync.WaitGroup
	sender.Go(func() {
		for !stop.Load() {
			if _, err := h.Publish("hot", frame.Text, payload(0, 0)); err != nil {
				runtime.Gosched()
			}
		}
	})
	got := 0
	for round := range 300 {
		var ended, met atomic.Bool
		late := 0 // owned by the loop
		s := &sink{got: func(*sink, *frame.Prepared) {
			met.Store(true)
			if ended.Load() {
				late++
			}
		}}
		must(t, h.Subscribe("hot", s))
		for round%2 == 0 && !met.Load() { // in mid-stream; else before the first
			runtime.Gosched()
		}
		must(t, h.Unsubscribe("hot", s))
		ended.Store(true)
		loops.call(0, func() { // whatever was in progress has ended
			got += s.count
			if late > 1 {
				t.Errorf("%d messages after Unsubscribe returned", late)
			}
		})
	}
	stop.Store(true)
	sender.Wait()
	if got < 150 {
		t.Errorf("%d messages: half the sinks waited for one", got)
	}
}

// Two publishers that take turns are one order for every sink.
func TestOrderAcrossGoroutines(t *testing.T) {
	loops := newRunning(2)
	h := New(Config{Loops: loops})
	var sinks []*ledger
	for i := range 40 {
		sinks = append(sinks, newLedger(t, i%2, 1))
		must(t, h.Subscribe("hot", sinks[i]))
	}
	baton := [2]chan int{make(chan int, 1), make(chan int, 1)}
	var wg sync.WaitGroup
	for me := range 2 {
		wg.Go(func() {
			for seq := range baton[me] {
				if _, err := h.Publish("hot", frame.Text, payload(0, seq)); err != nil {
					t.Error(err)
				}
				if seq == 999 {
					close(baton[1-me])
					return
				}
				baton[1-me] <- seq + 1
			}
		})
	}
	baton[0] <- 0
	wg.Wait()
	loops.stop()
	for i, l := range sinks {
		if l.first[0] != 0 || l.last[0] != 999 {
			t.Errorf("sink %d got %d to %d, want 0 to 999", i, l.first[0], l.last[0])
		}
	}
}
