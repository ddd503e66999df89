package topic

import (
	"sync"
	"sync/atomic"
)

// node is one filter with at least one subscription. Its fields are atomic
// because views are taken without a lock; only the holder of the shard's lock
// stores into them.
type node[T any] struct {
	name  string // static
	hash  uint32 // static
	reach reach  // static

	links [2]atomic.Pointer[node[T]] // next in the chain of the table of that side

	// stamp counts the subscriptions there ever were. A subscription gets the next
	// one, and counts for views whose stamp is not lower.
	stamp atomic.Uint64
	// one is a subscription that needs no set: most filters have a single one.
	one  atomic.Pointer[Subscription[T]]
	sets atomic.Pointer[[]*set[T]] // one per group with subscriptions; never changed in place
}

// shard is a part of the index: a hash table that is read without a lock.
type shard[T any] struct {
	mu    sync.Mutex
	count int // guarded by mu
	table atomic.Pointer[table[T]]
	_     [40]byte // one shard per cache line
}

// table chains nodes by hash. A node has two links and neighbouring generations
// of the table use different ones, so that a larger table can be built while the
// present one is being read.
type table[T any] struct {
	side    int // which of a node's links
	buckets []atomic.Pointer[node[T]]
}

const leastBuckets = 8

func (t *table[T]) bucket(hash uint32) *atomic.Pointer[node[T]] {
	return &t.buckets[int(hash)&(len(t.buckets)-1)]
}

// find needs no lock. The counter-example to its second look at s.table: a
// reader stops on a node of table 1; the index grows twice; table 3 uses the
// links of table 1 again, the reader is led into a foreign chain and to its end
// without having met a node that was there all the time. The walk ends in any
// case: a rebuilt link leads to nodes rebuilt before it, an inserted node's to the
// chain it found, and a removed node's stays, so links never close into a ring.
func (s *shard[T]) find(hash uint32, r reach, name string) *node[T] {
	for {
		t := s.table.Load()
		if t == nil {
			return nil
		}
		for n := t.bucket(hash).Load(); n != nil; n = n.links[t.side].Load() {
			if n.hash == hash && n.reach == r && n.name == name {
				return n
			}
		}
		if s.table.Load() == t {
			return nil
		}
	}
}

// insert adds a node. s.mu is held.
func (s *shard[T]) insert(n *node[T]) {
	t := s.table.Load()
	if t == nil {
		t = s.rebuild(leastBuckets)
	} else if s.count >= len(t.buckets) {
		t = s.rebuild(2 * len(t.buckets))
	}
	b := t.bucket(n.hash)
	n.links[t.side].Store(b.Load())
	b.Store(n)
	s.count++
}

// remove takes a node out. It keeps its own link, for readers that stand on it.
// s.mu is held.
func (s *shard[T]) remove(n *node[T]) {
	t := s.table.Load()
	at := t.bucket(n.hash)
	for at.Load() != n {
		at = &at.Load().links[t.side]
	}
	at.Store(n.links[t.side].Load())
	s.count--
	if len(t.buckets) > leastBuckets && s.count*8 < len(t.buckets) {
		s.rebuild(max(len(t.buckets)/4, leastBuckets))
	}
}

func (s *shard[T]) rebuild(size int) *table[T] {
	old := s.table.Load()
	t := &table[T]{buckets: make([]atomic.Pointer[node[T]], size)}
	if old != nil {
		t.side = 1 - old.side
		for i := range old.buckets {
			for n := old.buckets[i].Load(); n != nil; n = n.links[old.side].Load() {
				b := t.bucket(n.hash)
				n.links[t.side].Store(b.Load())
				b.Store(n)
			}
		}
	}
	s.table.Store(t)
	return t
}
