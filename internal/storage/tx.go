package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

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
	db    *DB
	bolt  *bolt.Tx
	write bool
	open  []*space  // looked up so far; few, so a slice beats a map
	room  [4]*space // for open
	first space     // most transactions need no other

	// of the function that is running now
	err     error
	undo    []change
	arena   []byte // keys of undo
	dropped []string
}

type space struct {
	name   string
	bucket *bolt.Bucket // nil: looked up, does not exist
	cursor *bolt.Cursor // of bucket, for get; nil until it is needed
	fresh  bool         // created in this transaction

	own   total // what the running function changes
	batch total // what those before it in this transaction did
}

// change is how to take back one write.
type change struct {
	space    string
	from, to int    // key in arena
	old      []byte // stored form; nil if the key was absent
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

// space looks a space up; its bucket is nil when it does not exist. nil when it
// could not be created.
func (tx *Tx) space(name string, create bool) *space {
	var s *space
	for _, o := range tx.open {
		if o.name == name {
			s = o
		}
	}
	if s == nil {
		if s = (&space{}); len(tx.open) == 0 {
			s, tx.open = &tx.first, tx.room[:0]
		}
		*s = space{name: name}
		if name != metaSpace {
			s.bucket = tx.bolt.Bucket([]byte(name))
		}
		tx.open = append(tx.open, s)
	}
	if s.bucket != nil || !create {
		return s
	}
	b, err := tx.bolt.CreateBucket([]byte(name))
	if err != nil {
		_ = tx.fail(err) // kept: the caller sees it in tx.err
		return nil
	}
	s.bucket, s.fresh = b, true
	return s
}

// readable is a space that is there, else nil.
func (tx *Tx) readable(name string) *space {
	if tx.isDropped(name) {
		return nil
	}
	if s := tx.space(name, false); s.bucket != nil {
		return s
	}
	return nil
}

// get is the stored form of a key's value; nil if there is none. The bucket's own
// Get makes a new cursor each time, which costs more than the search.
func (s *space) get(key []byte) []byte {
	if s.cursor == nil {
		s.cursor = s.bucket.Cursor()
	}
	k, stored := s.cursor.Seek(key)
	if !bytes.Equal(k, key) {
		return nil
	}
	return stored
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
	s := tx.readable(space)
	if s == nil {
		return nil
	}
	stored := s.get(key)
	if stored == nil {
		return nil
	}
	return tx.unseal(key, stored)
}

// Put sets key to value; both are copied.
func (tx *Tx) Put(space string, key, value []byte) error {
	s, err := tx.writable(space, key)
	if err != nil {
		return err
	}
	stored := sealed(key, value)
	tx.remember(s, key, s.get(key))
	s.own.add(total{1, hashOf(key, stored)})
	if err := s.bucket.Put(key, stored); err != nil {
		return tx.fail(fault.New(fault.Internal, "storage.Put(%q): %v", space, err))
	}
	return nil
}

// Delete removes key; an absent key is no error.
func (tx *Tx) Delete(space string, key []byte) error {
	s, err := tx.writable(space, key)
	if err != nil {
		return err
	}
	old := s.get(key)
	if old == nil {
		return nil
	}
	tx.remember(s, key, old)
	if err := s.bucket.Delete(key); err != nil {
		return tx.fail(fault.New(fault.Internal, "storage.Delete(%q): %v", space, err))
	}
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
	s := tx.readable(space)
	if s == nil {
		return
	}
	c := s.bucket.Cursor()
	for k, v := c.Seek(from); k != nil && (to == nil || bytes.Compare(k, to) < 0); k, v = c.Next() {
		if !fn(k, tx.unseal(k, v)) {
			return
		}
	}
}

// Descend is Ascend over the same keys in reverse.
func (tx *Tx) Descend(space string, from, to []byte, fn func(key, value []byte) bool) {
	s := tx.readable(space)
	if s == nil {
		return
	}
	c := s.bucket.Cursor()
	var k, v []byte
	if to == nil {
		k, v = c.Last()
	} else if k, _ = c.Seek(to); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	for ; k != nil && bytes.Compare(k, from) >= 0; k, v = c.Prev() {
		if !fn(k, tx.unseal(k, v)) {
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
	case space == "" || space == metaSpace:
		return nil, tx.fail(fault.New(fault.Internal, "storage: %q is not a space for callers", space))
	case len(key) == 0 || len(key) > MaxKey:
		return nil, tx.fail(fault.New(fault.TooLarge, "storage: a key in %q has %d bytes; 1 to %d are possible", space, len(key), MaxKey))
	case tx.isDropped(space):
		return nil, tx.fail(fault.New(fault.Internal, "storage: write to %q after dropping it", space))
	}
	return tx.space(space, true), tx.err
}

// remember notes how to take a write back, and takes what it replaces out of the
// space's total.
func (tx *Tx) remember(s *space, key, old []byte) {
	from := len(tx.arena)
	tx.arena = append(tx.arena, key...)
	tx.undo = append(tx.undo, change{s.name, from, len(tx.arena), old})
	if old != nil {
		s.own.add(total{^uint64(0), -hashOf(key, old)})
	}
}

// begin starts a function's share of a group commit.
func (tx *Tx) begin() {
	tx.err, tx.undo, tx.arena, tx.dropped = nil, tx.undo[:0], tx.arena[:0], nil
	for _, s := range tx.open {
		s.own = total{}
	}
}

// settle carries out what was put off until the function succeeded.
func (tx *Tx) settle() error {
	for _, s := range tx.open {
		s.batch.add(s.own)
	}
	for _, name := range tx.dropped {
		if tx.space(name, false).bucket == nil {
			continue
		}
		if err := tx.bolt.DeleteBucket([]byte(name)); err != nil {
			return err
		}
		if err := tx.bolt.Bucket([]byte(metaSpace)).Delete([]byte(totalPrefix + name)); err != nil {
			return err
		}
		tx.open = slices.DeleteFunc(tx.open, func(s *space) bool { return s.name == name })
	}
	return nil
}

// keepTotals stores what the transaction's functions did to the totals.
func (tx *Tx) keepTotals() error {
	own := tx.bolt.Bucket([]byte(metaSpace))
	for _, s := range tx.open {
		if s.bucket == nil || s.batch == (total{}) && !s.fresh {
			continue
		}
		key := []byte(totalPrefix + s.name)
		var sum total
		if stored := own.Get(key); stored != nil {
			sum = decodeTotal(tx.unseal(key, stored))
		}
		sum.add(s.batch)
		if err := own.Put(key, sealed(key, sum.encode())); err != nil {
			return err
		}
	}
	return nil
}

// rewind takes back the running function's writes, newest first. The engine
// keeps the old values: they point into pages or nodes that stay until commit.
func (tx *Tx) rewind() error {
	for i := len(tx.undo) - 1; i >= 0; i-- {
		c := tx.undo[i]
		b, key := tx.space(c.space, true).bucket, tx.arena[c.from:c.to]
		var err error
		if c.old == nil {
			err = b.Delete(key)
		} else {
			err = b.Put(key, c.old)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
