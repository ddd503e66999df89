package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/livegate/livegate/internal/fault"
)

// MaxKey is the longest key in bytes (bbolt's limit).
const MaxKey = bolt.MaxKeySize

const sumSize = 4 // CRC-32C of key and value, after the value

// Tx is a transaction: six operations over named spaces. It belongs to the
// function it was given to. A write that is impossible (an empty or overlong
// key) makes the whole function fail, also when its error is ignored.
type Tx struct {
	db     *DB
	bolt   *bolt.Tx // the file
	layers *layers  // what is newer than the file
	commit uint64   // the newest that is seen; the own one when writing
	write  bool
	open   []*space  // looked up so far; few, so a slice beats a map
	room   [4]*space // for open
	first  space     // most transactions need no other

	changes []change // of all functions of this transaction, in order

	// of the function that is running now
	err     error
	from    int // its first change
	dropped []string
}

// space is one space as the transaction sees it: own over below over bucket, each
// nil when there is nothing or when it is hidden.
type space struct {
	name   string
	own    *generation // of the active layer
	below  *generation // of the frozen one
	bucket *bolt.Bucket
	cursor *bolt.Cursor // of bucket, for get; nil until it is needed
}

// change is one write: a version that was given to a node, or a drop.
type change struct {
	space   string
	node    *node
	version *version
	dropped *layerSpace
}

// sealed is the stored form of a value.
func sealed(key, value []byte) []byte {
	stored := make([]byte, len(value)+sumSize)
	copy(stored, value)
	binary.LittleEndian.PutUint32(stored[len(value):], checksum(key, value))
	return stored
}

// hashOf is an entry's share in its space's total.
func hashOf(key, stored []byte) uint64 {
	if len(stored) < sumSize {
		panic(damage{fmt.Sprintf("key %q has no checksum", key)})
	}
	return entryHash(binary.LittleEndian.Uint32(stored[len(stored)-sumSize:]), len(key), len(stored))
}

// plain is a sealed value without its checksum.
func plain(stored []byte) []byte {
	n := len(stored) - sumSize
	return stored[:n:n]
}

func checksum(key, value []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli) // returns a shared table
	return crc32.Update(crc32.Checksum(key, table), table, value)
}

// unseal strips and verifies the checksum.
func (tx *Tx) unseal(key, stored []byte) []byte {
	value, ok := unsealed(key, stored)
	if !ok {
		panic(damage{fmt.Sprintf("checksum of key %q does not match", key)})
	}
	return value
}

// space looks a space up.
func (tx *Tx) space(name string) *space {
	for _, s := range tx.open {
		if s.name == name {
			return s
		}
	}
	s := &tx.first
	if len(tx.open) == 0 {
		tx.open = tx.room[:0]
	} else {
		s = &space{}
	}
	*s = space{name: name}
	tx.open = append(tx.open, s)
	if s.own = tx.layers.active.generation(name, tx.commit); s.own != nil && s.own.hides {
		return s
	}
	if s.below = tx.layers.frozen.generation(name, tx.commit); s.below != nil && s.below.hides {
		return s
	}
	if !reserved(name) {
		s.bucket = tx.bolt.Bucket([]byte(name))
	}
	return s
}

func reserved(name string) bool { return strings.HasPrefix(name, metaSpace) }

// get is the value of a key; nil if there is none.
func (tx *Tx) get(s *space, key []byte) []byte {
	for _, g := range [...]*generation{s.own, s.below} {
		if g == nil {
			continue
		}
		if v := g.list.find(key, tx.commit); v != nil {
			if v.stored == nil {
				return nil
			}
			return plain(v.stored)
		}
	}
	if s.bucket == nil {
		return nil
	}
	// The bucket's own Get makes a new cursor each time, which costs more than the
	// search.
	if s.cursor == nil {
		s.cursor = s.bucket.Cursor()
	}
	k, stored := s.cursor.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	return tx.unseal(key, stored)
}

// fail records the first error, and returns it.
func (tx *Tx) fail(err error) error {
	if tx.err == nil {
		tx.err = err
	}
	return tx.err
}

// Get returns the value of key, nil if there is none. An empty value is not nil.
// The slice lives until the transaction ends and must not be changed.
func (tx *Tx) Get(space string, key []byte) []byte {
	if tx.isDropped(space) {
		return nil
	}
	return tx.get(tx.space(space), key)
}

// Put sets key to value; both are copied.
func (tx *Tx) Put(space string, key, value []byte) error {
	return tx.change(space, key, value, false)
}

// Delete removes key; an absent key is no error.
func (tx *Tx) Delete(space string, key []byte) error {
	return tx.change(space, key, nil, true)
}

func (tx *Tx) change(space string, key, value []byte, deleted bool) error {
	s, err := tx.writable(space, key)
	if err != nil {
		return err
	}
	if s.own == nil {
		s.own = tx.layers.active.space(space).newest.Load()
	}
	n := tx.layers.active.put(s.own, key, value, deleted, tx.commit)
	tx.changes = append(tx.changes, change{space: space, node: n, version: n.newest.Load()})
	return nil
}

// Drop removes a space with everything in it when the function succeeds. From
// here on the function sees it empty and may not write to it.
func (tx *Tx) Drop(space string) error {
	if !tx.write {
		return tx.fail(fault.New(fault.Internal, "storage.Drop(%q): read-only transaction", space))
	}
	tx.dropped = append(tx.dropped, space)
	return nil
}

// Ascend calls fn for each key with from ≤ key < to, in order, until it returns
// false. A nil bound is no bound. fn must not write to the same space.
func (tx *Tx) Ascend(space string, from, to []byte, fn func(key, value []byte) bool) {
	if tx.isDropped(space) {
		return
	}
	m := tx.merge(tx.space(space), false)
	m.start(from, to)
	for k, v := m.next(); k != nil && (to == nil || bytes.Compare(k, to) < 0); k, v = m.next() {
		if !fn(k, v) {
			return
		}
	}
}

// Descend is Ascend over the same keys in reverse.
func (tx *Tx) Descend(space string, from, to []byte, fn func(key, value []byte) bool) {
	if tx.isDropped(space) {
		return
	}
	m := tx.merge(tx.space(space), true)
	m.start(from, to)
	for k, v := m.next(); k != nil && bytes.Compare(k, from) >= 0; k, v = m.next() {
		if !fn(k, v) {
			return
		}
	}
}

func (tx *Tx) isDropped(space string) bool {
	return len(tx.dropped) > 0 && slices.Contains(tx.dropped, space)
}

// writable is the space to write key to.
func (tx *Tx) writable(space string, key []byte) (*space, error) {
	switch {
	case tx.err != nil:
		return nil, tx.err
	case !tx.write:
		return nil, tx.fail(fault.New(fault.Internal, "storage: write to %q in a read-only transaction", space))
	case space == "" || reserved(space):
		return nil, tx.fail(fault.New(fault.Internal, "storage: %q is not a space for callers", space))
	case len(key) == 0 || len(key) > MaxKey:
		return nil, tx.fail(fault.New(fault.TooLarge, "storage: a key in %q has %d bytes; 1 to %d are possible", space, len(key), MaxKey))
	case tx.isDropped(space):
		return nil, tx.fail(fault.New(fault.Internal, "storage: write to %q after dropping it", space))
	}
	return tx.space(space), nil
}

// begin starts a function's share of a group commit.
func (tx *Tx) begin() {
	tx.err, tx.from, tx.dropped = nil, len(tx.changes), nil
}

// settle carries out what was put off until the function succeeded.
func (tx *Tx) settle() {
	for _, name := range tx.dropped {
		s := tx.layers.active.drop(name, tx.commit)
		tx.changes = append(tx.changes, change{space: name, dropped: s})
		tx.open = slices.DeleteFunc(tx.open, func(s *space) bool { return s.name == name })
	}
}

// rewind takes writes back, newest first, down to the change with a number. Nobody
// else has seen them: they belong to a commit that is not there yet.
func (tx *Tx) rewind(to int) {
	for i := len(tx.changes) - 1; i >= to; i-- {
		if c := &tx.changes[i]; c.node != nil {
			c.node.undo()
		} else {
			c.dropped.undrop()
		}
	}
	tx.changes = tx.changes[:to]
}
