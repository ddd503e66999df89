// Package fanout takes one message to everybody who subscribed to its channel.
//
// A [Sink] is a subscriber; it belongs to a shard, the event loop that serves it,
// and is called on no other. Publish encodes a message once, takes a view of the
// subscribers, and hands each shard that has some the same encoded frame. There
// at most one task is posted at a time: it works off everything that was published,
// in slices, between which the loop reads, fires timers and writes. Nothing here
// blocks, and no lock is held during a delivery. A sink's Deliver does not block
// either, so no subscriber slows another.
//
// What is promised, "before" meaning happens-before as in the Go memory model:
//   - a sink whose Subscribe returned before Publish was called, and which has not
//     given the subscription up, is called exactly once per message, also when it
//     matches through several filters;
//   - a sink whose Subscribe was called after Publish returned does not get it;
//   - two messages that one goroutine published, or that were published one before
//     the other, reach every sink they both reach in that order;
//   - from the return of Unsubscribe on, nothing that only matched that filter is
//     delivered, not even what was published before. On another goroutine than the
//     sink's loop one Deliver may be in progress at that moment; it is the last;
//   - subscriptions that change while Publish runs count or do not.
//
// Delivery is at most once: what a sink does with a full queue is its policy, and
// its count. A message is refused as a whole, with an error, while too many wait
// on one of its shards.
//
// A Hub has no goroutines and needs no closing. Channels of different
// applications belong into different hubs, or under different names.
//
// To test with it, give it Loops that keep tasks until told to run them.
package fanout

import (
	"sync"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/topic"
)

// Sink is one subscriber: a pointer, or another value that is comparable and
// stays itself.
type Sink interface {
	// Shard is the loop that serves the sink. It never changes.
	Shard() int
	// Deliver takes a message over. It is called on the sink's loop and must not
	// block; what happens when the sink's queue is full is the sink's policy.
	Deliver(p *frame.Prepared)
}

// Loops are the event loops that serve sinks; the connection server has them.
type Loops interface {
	// Shards is their number. It never changes.
	Shards() int
	// Post runs a task on a loop: again and again until it returns done, giving the
	// loop its turn in between, and each time no longer than until spent reports
	// true. It may be called from anywhere and does not block.
	Post(shard int, task func(spent func() bool) (done bool))
}

// Config of a hub. Loops is required; other zero values mean the defaults.
type Config struct {
	Loops   Loops
	Grammar topic.Grammar // what is a channel

	PerSink int // subscriptions of one sink; 100
	Filters int // different channels and wildcards subscribed to; 1 048 576

	// What may wait on one shard to be delivered. At either bound Publish refuses.
	PendingMessages int // 4096
	PendingBytes    int // 64 MiB
}

// Hub is the meeting place of publishers and subscribers. It is safe for
// concurrent use.
type Hub struct {
	cfg    Config
	index  *topic.Index[subscriber]
	shards []shard // static; one per loop

	published atomic.Uint64
	refused   atomic.Uint64
}

// subscriber is what the index keeps of a subscription.
type subscriber struct {
	sink   Sink
	member *member
}

type view = topic.View[subscriber]

// shard is a hub's part on one loop.
type shard struct {
	members
	outbox
	_ [64]byte // neighbours are used by other cores
}

// members are the sinks of a shard with at least one subscription.
type members struct {
	mu   sync.Mutex
	of   map[Sink]*member // guarded by mu
	peak int              // most there were since the map was made; guarded by mu
}

// New returns a hub. It panics without Config.Loops.
func New(c Config) *Hub {
	or := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	or(&c.PerSink, 100)
	or(&c.Filters, 1<<20)
	or(&c.PendingMessages, 4096)
	or(&c.PendingBytes, 64<<20)
	h := &Hub{cfg: c, index: topic.NewIndex[subscriber](c.Filters), shards: make([]shard, c.Loops.Shards())}
	for i := range h.shards {
		s := &h.shards[i]
		s.task = func(spent func() bool) bool { return s.outbox.run(c.Loops, i, spent) }
	}
	return h
}

// Stats is a snapshot of a hub's counters.
type Stats struct {
	Filters       int // different channels and wildcards subscribed to
	Subscriptions int
	Sinks         int // with at least one subscription

	Published uint64 // messages accepted, those without a subscriber too
	Refused   uint64 // messages refused because too many were waiting
	Delivered uint64 // calls to Deliver
	Pending   int    // messages waiting, summed over shards
}

// Stats reads the counters, one after the other.
func (h *Hub) Stats() Stats {
	st := Stats{
		Filters:       h.index.Filters(),
		Subscriptions: h.index.Subscriptions(),
		Published:     h.published.Load(),
		Refused:       h.refused.Load(),
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.members.mu.Lock()
		st.Sinks += len(s.of)
		s.members.mu.Unlock()
		st.Delivered += s.delivered.Load()
		st.Pending += int(s.messages.Load())
	}
	return st
}

// shardOf finds a sink's shard. The error is of kind fault.Internal: a sink from
// another server's loops is a mistake in the program.
func (h *Hub) shardOf(s Sink) (*shard, int, error) {
	i := s.Shard()
	if i < 0 || i >= len(h.shards) {
		return nil, 0, fault.New(fault.Internal, "a sink on shard %d, of %d shards", i, len(h.shards))
	}
	return &h.shards[i], i, nil
}
