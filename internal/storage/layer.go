package storage

import (
	"encoding/binary"
	"maps"
	"math/bits"
	"sync/atomic"
)

// layer holds, in memory, the commits that are in the log and not yet in the
// engine's file. Its writer adds to it while others read; when it is large enough
// it is frozen, written to the file by a checkpoint, and let go.
//
// A reader sees the active layer over the frozen one over the file.
type layer struct {
	spaces atomic.Pointer[map[string]*layerSpace] // replaced, never changed

	// owned by the writer until the layer is frozen, then constant
	last     uint64 // the newest commit in it, or before it when it has none
	bytes    int    // of memory, roughly
	commits  int
	arena    []byte
	nodes    []node
	versions []version
	links    []atomic.Pointer[node]
	random   uint64
}

// layerSpace is what a layer says about one space.
type layerSpace struct {
	newest atomic.Pointer[generation]
}

// generation is the time between two drops of a space.
type generation struct {
	commit uint64 // readers of an earlier one see prev; 0 for the first
	hides  bool   // begins with a drop: what is below this layer is gone
	list   list
	prev   *generation
}

const (
	// arenaChunk: keys and values are copied into pieces of this size, so that the
	// collector has few objects to look at. Larger ones get a piece of their own.
	arenaChunk = 64 << 10
	slab       = 128 // nodes, versions, links allocated at a time
	nodeSize   = 112 // bytes of a node and a version with what they point at
)

// newLayer begins a layer after a commit.
func newLayer(last uint64) *layer {
	l := &layer{last: last, random: 0x9e3779b97f4a7c15}
	l.spaces.Store(&map[string]*layerSpace{})
	return l
}

// changed is false for a layer whose commits changed nothing.
func (l *layer) changed() bool { return len(*l.spaces.Load()) > 0 }

// layers is what the database is made of besides the file; replaced, never changed.
type layers struct {
	active, frozen *layer // frozen is nil most of the time
}

// generation is a space as a reader of a commit sees it; nil if the layer says
// nothing about it.
func (l *layer) generation(name string, commit uint64) *generation {
	if l == nil {
		return nil
	}
	s := (*l.spaces.Load())[name]
	if s == nil {
		return nil
	}
	g := s.newest.Load()
	for g != nil && g.commit > commit {
		g = g.prev
	}
	return g
}

// space is where the writer adds to a space.
func (l *layer) space(name string) *layerSpace {
	old := *l.spaces.Load()
	if s := old[name]; s != nil {
		return s
	}
	s := &layerSpace{}
	s.newest.Store(&generation{})
	spaces := make(map[string]*layerSpace, len(old)+1)
	maps.Copy(spaces, old)
	spaces[name] = s
	l.spaces.Store(&spaces)
	l.bytes += nodeSize + len(name)
	return s
}

// drop begins a new generation of a space; undrop takes that back.
func (l *layer) drop(name string, commit uint64) *layerSpace {
	s := l.space(name)
	s.newest.Store(&generation{commit: commit, hides: true, prev: s.newest.Load()})
	l.bytes += nodeSize
	return s
}

func (s *layerSpace) undrop() { s.newest.Store(s.newest.Load().prev) }

// put adds a version of key: its value, or that it was deleted. The node's newest
// version is it; node.undo takes it back.
func (l *layer) put(g *generation, key, value []byte, deleted bool, commit uint64) *node {
	var links [maxHeight]*atomic.Pointer[node]
	n := g.list.seek(key, &links)
	fresh := n == nil || string(n.key) != string(key)
	if fresh {
		n = l.node(l.copy(key))
	}
	v := l.version()
	v.commit, v.prev = commit, n.newest.Load()
	if !deleted {
		v.stored = l.seal(key, value)
	}
	n.newest.Store(v)
	if !fresh {
		return n
	}
	for h := range n.next {
		n.next[h].Store(links[h].Load())
	}
	for h := range n.next {
		links[h].Store(n)
	}
	return n
}

func (n *node) undo() { n.newest.Store(n.newest.Load().prev) }

// take is n bytes of the arena.
func (l *layer) take(n int) []byte {
	l.bytes += n
	if n > arenaChunk/4 {
		return make([]byte, n)
	}
	if n > len(l.arena) {
		l.arena = make([]byte, arenaChunk)
	}
	b := l.arena[:n:n]
	l.arena = l.arena[n:]
	return b
}

func (l *layer) copy(b []byte) []byte {
	c := l.take(len(b))
	copy(c, b)
	return c
}

// seal is sealed within the arena.
func (l *layer) seal(key, value []byte) []byte {
	stored := l.take(len(value) + sumSize)
	copy(stored, value)
	binary.LittleEndian.PutUint32(stored[len(value):], checksum(key, value))
	return stored
}

func (l *layer) node(key []byte) *node {
	if len(l.nodes) == 0 {
		l.nodes = make([]node, slab)
	}
	n := &l.nodes[0]
	l.nodes = l.nodes[1:]
	height := l.height()
	if len(l.links) < height {
		l.links = make([]atomic.Pointer[node], slab)
	}
	n.start, n.key, n.next = startOf(key), key, l.links[:height:height]
	l.links = l.links[height:]
	l.bytes += nodeSize
	return n
}

func (l *layer) version() *version {
	if len(l.versions) == 0 {
		l.versions = make([]version, slab)
	}
	v := &l.versions[0]
	l.versions = l.versions[1:]
	l.bytes += nodeSize / 2
	return v
}

// height is how many levels a node is on: each with a fourth of the one below
// (xorshift64).
func (l *layer) height() int {
	l.random ^= l.random << 13
	l.random ^= l.random >> 7
	l.random ^= l.random << 17
	return min(1+bits.TrailingZeros64(l.random)/2, maxHeight)
}
