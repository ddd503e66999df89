package topic

import (
	"math"
	"sync/atomic"
)

// Subscription is one value subscribed to one filter. Value and Group are as
// they were given; the rest is the index's.
type Subscription[T any] struct {
	Value T

	// from is the stamp of the first view that has this subscription; given up, it
	// is beyond every view's. One load tells both.
	from atomic.Uint64

	node  *node[T]  // static
	home  *chunk[T] // guarded by the shard's mu; nil: in node.one
	pos   int32     // in home; guarded by the shard's mu
	group int32     // static
}

const never = math.MaxUint64

// Filter is what was subscribed to.
func (s *Subscription[T]) Filter() Filter { return Filter{s.node.name, s.node.reach} }

// In reports whether a view, which must be of this subscription's filter, has
// it: subscribed before the view was taken, and not given up since.
func (s *Subscription[T]) In(v View[T]) bool { return s.from.Load() <= v.stamp }

// chunkSlots is the size of a large set's chunks: small enough to be copied while
// a lock is held, large enough that a list of them is short.
const (
	leastSlots = 4
	chunkSlots = 512
)

// set is the subscriptions of one filter in one group, in chunks.
//
// A subscription is stored into a free slot of a chunk that others are reading:
// its stamp hides it from views taken before. What is stored never moves within
// the chunks of a list: sparse chunks are copied into a new one, in a new list,
// and left as they are for those who read the old list. Each list therefore has
// a subscription exactly once. The counter-example: moving the last subscription
// into a freed slot, a reader who has passed the slot and not yet come to the end
// misses it, and one that stands between the two, the other way round, has it twice.
type set[T any] struct {
	group int
	list  atomic.Pointer[list[T]]
	live  atomic.Int32

	slots int       // of all chunks; guarded by the shard's mu
	open  *chunk[T] // chunks with a free slot, linked by next; guarded by the shard's mu
	sweep int       // where to look for sparse chunks; guarded by the shard's mu
}

// list is the chunks of a set at one time. Static, but for what chunks hold.
type list[T any] struct{ chunks []*chunk[T] }

type chunk[T any] struct {
	slots []atomic.Pointer[Subscription[T]]

	// Guarded by the shard's mu.
	set    *set[T]
	next   *chunk[T] // in set.open
	live   int16
	free   int16 // no slot before this one is free
	listed bool  // in set.open
	left   bool  // no longer part of the set
}

// add places a subscription. Those who hold the set's list may meet it at once.
func (s *set[T]) add(sub *Subscription[T]) {
	c := s.open
	for c != nil && (c.left || int(c.live) == len(c.slots)) {
		next := c.next
		c.listed, c.next = false, nil
		c = next
	}
	if c == nil {
		c = s.newChunk(min(max(s.slots, leastSlots), chunkSlots))
		c.listed = true
		var chunks []*chunk[T]
		if l := s.list.Load(); l != nil {
			chunks = l.chunks
		}
		// Appending in place is safe: older lists end before it, and no two newer
		// ones share a tail.
		s.list.Store(&list[T]{append(chunks, c)})
	}
	s.open = c
	for c.slots[c.free].Load() != nil {
		c.free++
	}
	sub.home, sub.pos = c, int32(c.free)
	c.slots[c.free].Store(sub)
	c.free++
	c.live++
	s.live.Add(1)
}

func (s *set[T]) newChunk(slots int) *chunk[T] {
	s.slots += slots
	return &chunk[T]{slots: make([]atomic.Pointer[Subscription[T]], slots), set: s}
}

// drop takes a subscription out of its slot.
func (s *set[T]) drop(sub *Subscription[T]) {
	c := sub.home
	c.slots[sub.pos].Store(nil)
	c.live--
	c.free = min(c.free, int16(sub.pos))
	if !c.listed {
		c.listed, c.next = true, s.open
		s.open = c
	}
	live := int(s.live.Add(-1))
	if s.slots > 4*leastSlots && live*3 < s.slots {
		s.merge()
	}
}

// merge copies one run of neighbouring sparse chunks into a smaller one. It is
// called while less than a third of the slots is in use. Then there is such a run
// in any set of more than nine full-size chunks: if every two neighbours had over
// three quarters of a chunk between them, more than a third would be in use. The
// next call that finds work is about chunkSlots/3 departures away, so one
// departure moves some two subscriptions on average, and chunkSlots at most.
func (s *set[T]) merge() {
	chunks := s.list.Load().chunks
	for range chunks {
		if s.sweep >= len(chunks) {
			s.sweep = 0
		}
		live, slots, end := 0, 0, s.sweep
		for end < len(chunks) && live+int(chunks[end].live) <= chunkSlots*3/4 {
			live += int(chunks[end].live)
			slots += len(chunks[end].slots)
			end++
		}
		s.sweep++
		if end >= s.sweep && roundUp(live)*4 <= slots*3 {
			s.replace(s.sweep-1, end, live)
			return
		}
	}
}

// replace puts one chunk in place of chunks[from:to], which hold live
// subscriptions, in a new list.
func (s *set[T]) replace(from, to, live int) {
	old := s.list.Load().chunks
	chunks := make([]*chunk[T], 0, len(old)-(to-from)+1)
	chunks = append(chunks, old[:from]...)
	if live > 0 {
		c := s.newChunk(roundUp(live))
		for _, o := range old[from:to] {
			for i := range o.slots {
				if sub := o.slots[i].Load(); sub != nil {
					sub.home, sub.pos = c, int32(c.live)
					c.slots[c.live].Store(sub)
					c.live++
				}
			}
		}
		c.free = c.live
		if int(c.live) < len(c.slots) {
			c.listed, c.next = true, s.open
			s.open = c
		}
		chunks = append(chunks, c)
	}
	for _, o := range old[from:to] {
		o.left = true
		s.slots -= len(o.slots)
	}
	chunks = append(chunks, old[to:]...)
	s.open = s.open.remaining()
	s.list.Store(&list[T]{chunks})
}

// remaining is the chain from c on without chunks that left their set, which it
// would otherwise keep in memory.
func (c *chunk[T]) remaining() *chunk[T] {
	var first *chunk[T]
	last := &first
	for ; c != nil; c = c.next {
		if !c.left {
			*last = c
			last = &c.next
		}
	}
	*last = nil
	return first
}

// roundUp is the number of slots for n subscriptions: 0, or a power of two.
func roundUp(n int) int {
	if n == 0 {
		return 0
	}
	size := leastSlots
	for size < n {
		size *= 2
	}
	return size
}
