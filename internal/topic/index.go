package topic

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
)

// Index says who subscribed to what matches a channel. See the package comment
// for what it promises. Make one with NewIndex; it is safe for concurrent use.
type Index[T any] struct {
	seed   maphash.Seed // static
	limit  int64        // static
	shards [shards]shard[T]

	filters atomic.Int64
	subs    atomic.Int64
	wild    [2]atomic.Int64 // filters that reach below, and those that reach children
}

// shards spreads the writers' locks; a power of two.
const (
	shardBits = 6
	shards    = 1 << shardBits
)

// NewIndex returns an empty index of at most limit different filters; 0: no limit.
func NewIndex[T any](limit int) *Index[T] {
	return &Index[T]{seed: maphash.MakeSeed(), limit: int64(limit)}
}

// Filters is the number of different filters subscribed to, Subscriptions that
// of all subscriptions.
func (x *Index[T]) Filters() int       { return int(x.filters.Load()) }
func (x *Index[T]) Subscriptions() int { return int(x.subs.Load()) }

// hash is that of a name; the reach is told apart by the node.
func (x *Index[T]) hash(name string) uint64 { return maphash.String(x.seed, name) }

func (x *Index[T]) shard(hash uint64) *shard[T] { return &x.shards[hash>>(64-shardBits)] }

// Subscribe adds v to a group, which is a small number from 0 on. The error is of
// kind fault.Throttled: the filter would be one too many.
func (x *Index[T]) Subscribe(f Filter, group int, v T) (*Subscription[T], error) {
	hash := x.hash(f.name)
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.find(uint32(hash), f.reach, f.name)
	if n == nil {
		if total := x.filters.Add(1); x.limit > 0 && total > x.limit {
			x.filters.Add(-1)
			return nil, fault.New(fault.Throttled,
				"channel %s: subscriptions to %d different channels exist, the most allowed; try again when some have ended",
				quote(f.String()), x.limit)
		}
		// The name is a copy, or it would keep all of the caller's message alive.
		n = &node[T]{name: strings.Clone(f.name), hash: uint32(hash), reach: f.reach}
		if f.reach != itself {
			x.wild[f.reach-below].Add(1)
		}
		s.insert(n)
	}
	// Stored before the stamp moves on: whoever reads the new stamp finds it.
	sub := &Subscription[T]{Value: v, node: n, group: int32(group)}
	stamp := n.stamp.Load() + 1
	sub.from.Store(stamp)
	n.add(sub)
	n.stamp.Store(stamp)
	x.subs.Add(1)
	return sub, nil
}

// Unsubscribe gives a subscription up. From its return on no view has it. It
// reports false if that was so before.
func (x *Index[T]) Unsubscribe(sub *Subscription[T]) bool {
	n := sub.node
	s := x.shard(x.hash(n.name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub.from.Swap(never) == never {
		return false
	}
	x.subs.Add(-1)
	n.drop(sub)
	if n.one.Load() == nil && n.sets.Load() == nil {
		s.remove(n)
		x.filters.Add(-1)
		if n.reach != itself {
			x.wild[n.reach-below].Add(-1)
		}
	}
	return true
}

func (n *node[T]) add(sub *Subscription[T]) {
	if n.one.Load() == nil {
		n.one.Store(sub)
		return
	}
	var sets []*set[T]
	if p := n.sets.Load(); p != nil {
		sets = *p
	}
	for _, s := range sets {
		if s.group == int(sub.group) {
			s.add(sub)
			return
		}
	}
	s := &set[T]{group: int(sub.group)}
	s.add(sub)
	grown := append(sets[:len(sets):len(sets)], s)
	n.sets.Store(&grown)
}

func (n *node[T]) drop(sub *Subscription[T]) {
	if sub.home == nil {
		n.one.Store(nil)
		return
	}
	s := sub.home.set
	s.drop(sub)
	if s.live.Load() > 0 {
		return
	}
	sets := *n.sets.Load()
	if len(sets) == 1 {
		n.sets.Store(nil)
		return
	}
	rest := make([]*set[T], 0, len(sets)-1)
	for _, other := range sets {
		if other != s {
			rest = append(rest, other)
		}
	}
	n.sets.Store(&rest)
}
