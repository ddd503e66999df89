package table

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"sync/atomic"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// definition is what is persisted of a table. Fields are only ever added.
type definition struct {
	Name         string
	ID           string
	Created      int64 // Unix milliseconds
	Attributes   []AttributeDefinition
	KeySchema    []KeySchemaElement
	Locals       []SecondaryIndex  `json:",omitempty"`
	Globals      []SecondaryIndex  `json:",omitempty"`
	OnDemand     bool              `json:",omitempty"`
	OnDemandAt   int64             `json:",omitempty"` // Unix milliseconds
	OnDemandCap  json.RawMessage   `json:",omitempty"`
	Read         int64             `json:",omitempty"`
	Write        int64             `json:",omitempty"`
	Stream       string            `json:",omitempty"` // view type; "" is off
	StreamLabel  string            `json:",omitempty"`
	TTL          string            `json:",omitempty"` // attribute; "" is off
	Tags         []Tag             `json:",omitempty"`
	SSE          *SSESpecification `json:",omitempty"`
	Class        string            `json:",omitempty"`
	Protected    bool              `json:",omitempty"`
	PointInTime  bool              `json:",omitempty"`
	FromTemplate bool              `json:",omitempty"`
}

// state is one table as the engine uses it: immutable, but for the counts.
type state struct {
	def     definition
	key     keySpec
	space   string
	indexes []*index // local ones first
	counts  *counts
}

// keySpec is the key attributes of a table or index.
type keySpec struct {
	hash, rng         string // rng is "" for hash-only keys
	hashKind, rngKind attr.Kind
}

type index struct {
	name       string
	global     bool
	key        keySpec
	space      string
	projection *dynexpr.Projection // nil: everything
	attributes []string            // what projection shows
}

func newState(def definition, c *counts) *state {
	t := &state{def: def, counts: c, space: "t:" + def.ID}
	t.key = newKeySpec(def.KeySchema, def.Attributes)
	add := func(list []SecondaryIndex, global bool) {
		for _, x := range list {
			i := &index{name: x.IndexName, global: global, key: newKeySpec(x.KeySchema, def.Attributes)}
			i.space = t.space + ":" + x.IndexName
			if x.Projection != nil && x.Projection.ProjectionType != "ALL" {
				i.attributes = uniqueNames(t.key.names(), i.key.names(), x.Projection.NonKeyAttributes)
				i.projection = dynexpr.Attributes(i.attributes...)
			}
			t.indexes = append(t.indexes, i)
		}
	}
	add(def.Locals, false)
	add(def.Globals, true)
	return t
}

func uniqueNames(lists ...[]string) []string {
	out := slices.Concat(lists...)
	slices.Sort(out)
	return slices.Compact(out)
}

func newKeySpec(schema []KeySchemaElement, attributes []AttributeDefinition) keySpec {
	kind := func(name string) attr.Kind {
		for _, a := range attributes {
			if a.AttributeName == name {
				k, _ := attr.ParseKind(a.AttributeType)
				return k
			}
		}
		return attr.None
	}
	var k keySpec
	for _, e := range schema {
		if e.KeyType == "HASH" {
			k.hash, k.hashKind = e.AttributeName, kind(e.AttributeName)
		} else {
			k.rng, k.rngKind = e.AttributeName, kind(e.AttributeName)
		}
	}
	return k
}

func (k keySpec) names() []string {
	if k.rng == "" {
		return []string{k.hash}
	}
	return []string{k.hash, k.rng}
}

func (k keySpec) kind(name string) attr.Kind {
	if name == k.hash {
		return k.hashKind
	}
	return k.rngKind
}

func (t *state) index(name string) *index {
	for _, i := range t.indexes {
		if i.name == name {
			return i
		}
	}
	return nil
}

// appendPartition appends the encoded partition key, behind its hash.
func appendPartition(dst []byte, v attr.Value) []byte {
	from := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = attr.AppendKey(dst, v)
	binary.BigEndian.PutUint32(dst[from:], spread(fnv1a(dst[from+4:])))
	return dst
}

// fnv1a is hash/fnv's New32a, which allocates.
func fnv1a(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// spread mixes the bits (the finaliser of MurmurHash3), so that the top ones,
// which decide the segment of a parallel scan, depend on all of the key.
func spread(h uint32) uint32 {
	h ^= h >> 16
	h *= 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// usualKey is room for what an encoded key has besides its partition key: most
// then take one allocation.
const usualKey = 40

// encode is the key bytes of an item; false when it lacks a key attribute or has
// one of another type or too long, which keeps it out of a sparse index.
func (k keySpec) encode(dst []byte, item attr.Map) ([]byte, bool) {
	v, ok := item.Get(k.hash)
	if !ok || v.Kind != k.hashKind || !k.fits(k.hash, v) {
		return nil, false
	}
	dst = appendPartition(slices.Grow(dst, len(v.Str)+usualKey), v)
	if k.rng == "" {
		return dst, true
	}
	v, ok = item.Get(k.rng)
	if !ok || v.Kind != k.rngKind || !k.fits(k.rng, v) {
		return nil, false
	}
	return attr.AppendKey(dst, v), true
}

// skip is the length of this key at the beginning of b.
func (k keySpec) skip(b []byte) int {
	n := 4 + attr.KeyLen(b[4:], k.hashKind)
	if k.rng != "" {
		n += attr.KeyLen(b[n:], k.rngKind)
	}
	return n
}

// key picks the key attributes out of an item.
func (k keySpec) pick(item attr.Map) attr.Map {
	out := make(attr.Map, 0, 2)
	for _, name := range k.names() {
		if v, ok := item.Get(name); ok {
			out = append(out, attr.Member{Name: name, Value: v})
		}
	}
	return attr.Item(out...)
}

// record is the stored form of an item: its size, then its wire form.
func appendRecord(dst []byte, item attr.Map, size int) []byte {
	dst = binary.AppendUvarint(dst, uint64(size))
	return attr.AppendItem(dst, item)
}

// splitRecord returns the item's size and wire form.
func splitRecord(record []byte) (size int, wire []byte) {
	n, used := binary.Uvarint(record)
	if used <= 0 {
		return 0, nil
	}
	return int(n), record[used:]
}

func decodeRecord(record []byte) (attr.Map, error) {
	if record == nil {
		return nil, nil
	}
	_, wire := splitRecord(record)
	return attr.DecodeItem(wire)
}

// counts is the number and size of a table's items. The writer changes it; it is
// stored every so often, and small tables are counted afresh at start.
type counts struct {
	items, bytes atomic.Int64
	unsaved      int // writer only
}

const (
	saveEvery  = 512
	countBelow = 20_000 // items; counting so many takes a few milliseconds
)

func (c *counts) read() (items, bytes int64) { return max(c.items.Load(), 0), max(c.bytes.Load(), 0) }

func (c *counts) load(tx Tx, t *state) {
	if v := tx.Get(countsSpace, []byte(t.def.ID)); len(v) == 16 {
		c.items.Store(int64(binary.BigEndian.Uint64(v)))
		c.bytes.Store(int64(binary.BigEndian.Uint64(v[8:])))
	}
	if c.items.Load() >= countBelow {
		return
	}
	var items, bytes int64
	tx.Ascend(t.space, nil, nil, func(_, record []byte) bool {
		size, _ := splitRecord(record)
		items++
		bytes += int64(size)
		return true
	})
	c.items.Store(items)
	c.bytes.Store(bytes)
}

// add counts a change inside the write transaction that makes it. A transaction
// that fails afterwards leaves the counts off by its change, until the next start.
func (c *counts) add(tx Tx, id string, items, bytes int64) error {
	c.items.Add(items)
	c.bytes.Add(bytes)
	if c.unsaved++; c.unsaved < saveEvery {
		return nil
	}
	c.unsaved = 0
	v := binary.BigEndian.AppendUint64(nil, uint64(c.items.Load()))
	return tx.Put(countsSpace, []byte(id), binary.BigEndian.AppendUint64(v, uint64(c.bytes.Load())))
}
