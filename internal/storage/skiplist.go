package storage

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"
)

// list is an ordered map with one writer and any number of readers, none of whom
// waits: a skip list whose nodes are only ever added. What a key holds is a chain
// of versions, newest first; a reader takes the newest that is not younger than
// itself, so publishing a commit is one number, and taking back a write that
// nobody may see yet is one pointer.
type list struct {
	head [maxHeight]atomic.Pointer[node]
}

// maxHeight is enough for 4^12 keys, more than a layer holds.
const maxHeight = 12

type node struct {
	start  uint64 // of the key, see startOf
	key    []byte
	newest atomic.Pointer[version] // nil: every write was taken back
	next   []atomic.Pointer[node]  // one for each level that the node is on
}

type version struct {
	commit uint64
	stored []byte // sealed; nil: the key was deleted
	prev   *version
}

// at is what a reader of a commit sees; nil if the list says nothing about the key.
func (n *node) at(commit uint64) *version {
	v := n.newest.Load()
	for v != nil && v.commit > commit {
		v = v.prev
	}
	return v
}

// startOf is the first eight bytes of a key as a number that compares like them, and
// lies in the node: most comparisons need not go where the key is.
func startOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// below says whether the node's key is less than key, which begins with start.
func (n *node) below(start uint64, key []byte) bool {
	if n.start != start {
		return n.start < start
	}
	return bytes.Compare(n.key, key) < 0
}

// seek is the first node whose key is not below key; links, unless it is nil,
// gets the links that a new node for key must be put into.
func (l *list) seek(key []byte, links *[maxHeight]*atomic.Pointer[node]) *node {
	at, start := l.head[:], startOf(key)
	var n, passed *node
	for h := maxHeight - 1; h >= 0; h-- {
		for {
			n = at[h].Load()
			if n == nil || n == passed || !n.below(start, key) {
				break
			}
			at = n.next
		}
		if passed = n; links != nil {
			links[h] = &at[h]
		}
	}
	return n
}

// before is the last node whose key is below key; nil for key is no bound.
func (l *list) before(key []byte) (last *node) {
	at, start := l.head[:], startOf(key)
	for h := maxHeight - 1; h >= 0; h-- {
		for {
			n := at[h].Load()
			if n == nil || key != nil && !n.below(start, key) {
				break
			}
			last, at = n, n.next
		}
	}
	return last
}

// find is what a reader of a commit sees of key; nil if the list says nothing.
func (l *list) find(key []byte, commit uint64) *version {
	if n := l.seek(key, nil); n != nil && bytes.Equal(n.key, key) {
		return n.at(commit)
	}
	return nil
}
