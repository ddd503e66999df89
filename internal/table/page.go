package table

import (
	"bytes"
	"encoding/binary"

	"github.com/livegate/livegate/internal/attr"
	"github.com/livegate/livegate/internal/dynexpr"
)

// maxPage is how many bytes of items one Query or Scan looks at.
const maxPage = 1 << 20

// Page answers Query and Scan.
type Page struct {
	// Items is what the request's Into held and behind it a JSON array of items in
	// wire form; nil when only a count was asked for.
	Items    []byte
	Count    int
	Scanned  int
	LastKey  attr.Map // nil: nothing more
	Capacity *Capacity
}

// reader is one Query or Scan, ready to run on a table or one of its indexes.
type reader struct {
	t          *state
	index      *index // nil: the table itself
	from, to   []byte // range of keys in the space
	descending bool
	limit      int // items to look at; 0 is no limit
	filter     matcher
	projection *dynexpr.Projection // of the result
	countOnly  bool
	into       []byte
	whole      bool // fetch whole items through a local index that does not show all
	consistent bool
	capacity   string

	page    Page
	size    int // bytes looked at
	fetched float64
	last    []byte // wire form of the last item looked at
	more    bool
	err     error
}

// run reads one page.
func (r *reader) run(store Store) (*Page, error) {
	if !r.countOnly {
		r.page.Items = append(r.into, '[')
	}
	err := store.View(func(tx Tx) error {
		space := r.t.space
		if r.index != nil {
			space = r.index.space
		}
		visit := func(k, v []byte) bool { return r.visit(tx, k, v) }
		if r.descending {
			tx.Descend(space, r.from, r.to, visit)
		} else {
			tx.Ascend(space, r.from, r.to, visit)
		}
		if r.err == nil && r.more {
			r.page.LastKey, r.err = r.lastKey()
		}
		return r.err
	})
	if err != nil {
		return nil, err
	}
	if !r.countOnly {
		r.page.Items = append(r.page.Items, ']')
	}
	r.page.Capacity = r.cost()
	return &r.page, nil
}

// visit looks at one entry; false ends the page.
func (r *reader) visit(tx Tx, key, record []byte) bool {
	if r.index != nil {
		record = tx.Get(r.t.space, key[r.index.key.skip(key):])
	}
	size, wire := splitRecord(record)
	if wire == nil {
		return true // an index entry without its item cannot be; never show half a row
	}
	var item attr.Map
	if r.filter != nil || r.projection != nil || r.index != nil && r.index.projection != nil {
		if item, r.err = attr.DecodeItem(wire); r.err != nil {
			return false
		}
	}
	if r.index != nil && r.index.projection != nil {
		full := item
		item = r.index.projection.Apply(item)
		if r.whole {
			r.fetched += readUnits(size, r.consistent)
			item = full
		} else {
			size = item.Size()
		}
	}
	if r.page.Scanned > 0 && r.size+size > maxPage {
		r.more = true
		return false
	}
	r.size += size
	r.page.Scanned++
	r.last = wire
	if r.filter == nil || r.filter.Match(item) {
		r.keep(item, wire)
	}
	if r.limit > 0 && r.page.Scanned >= r.limit {
		r.more = true
		return false
	}
	return true
}

// keep adds an item to the answer.
func (r *reader) keep(item attr.Map, wire []byte) {
	r.page.Count++
	if r.countOnly {
		return
	}
	if len(r.page.Items) > len(r.into)+1 {
		r.page.Items = append(r.page.Items, ',')
	}
	switch {
	case r.projection != nil:
		r.page.Items = attr.AppendItem(r.page.Items, r.projection.Apply(item))
	case r.index != nil && r.index.projection != nil && !r.whole:
		r.page.Items = attr.AppendItem(r.page.Items, item)
	default:
		r.page.Items = append(r.page.Items, wire...)
	}
}

// lastKey is the key of the last item looked at: the item's own, and the
// index's.
func (r *reader) lastKey() (attr.Map, error) {
	item, err := attr.DecodeItem(r.last)
	if err != nil {
		return nil, err
	}
	key := r.t.key.pick(item)
	if r.index != nil {
		for _, m := range r.index.key.pick(item) {
			key = key.With(m.Name, m.Value)
		}
	}
	return key, nil
}

func (r *reader) cost() *Capacity {
	if !wantsCapacity(r.capacity) {
		return nil
	}
	units := readUnits(r.size, r.consistent)
	c := &Capacity{Table: r.t.def.Name, Detail: r.capacity == "INDEXES"}
	if r.index == nil {
		c.Units, c.OnTable = units, units
		return c
	}
	c.Units, c.OnTable = r.fetched, r.fetched
	c.addIndex(r.index, units)
	return c
}

// keys is the key attributes of what is read.
func (r *reader) keys() keySpec {
	if r.index != nil {
		return r.index.key
	}
	return r.t.key
}

// segment restricts the range to part i of n of a parallel scan.
func (r *reader) segment(i, n int64) {
	bound := func(part int64) []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(uint64(part)<<32/uint64(n)))
	}
	if i > 0 {
		r.from = bound(i)
	}
	if i+1 < n {
		r.to = bound(i + 1)
	}
}

// startAfter resumes a page at ExclusiveStartKey.
func (r *reader) startAfter(key attr.Map) {
	k, _ := r.keys().encode(nil, key) // checkStartKey has seen the keys
	if r.index != nil {
		k, _ = r.t.key.encode(k, key)
	}
	if r.descending {
		r.to = k
		return
	}
	r.from = append(k, 0) // the first key after k
}

// within says whether an encoded position lies in the range read.
func (r *reader) within(k []byte) bool {
	return bytes.Compare(k, r.from) >= 0 && (r.to == nil || bytes.Compare(k, r.to) < 0)
}

// checkStartKey checks ExclusiveStartKey: the key attributes of the table and of
// the index, nothing else.
func (r *reader) checkStartKey(start attr.Document) error {
	if start.Invalid != nil {
		return invalid("The provided starting key is invalid: %v", start.Invalid)
	}
	want := uniqueNames(r.t.key.names(), r.keys().names())
	_, inTable := r.t.key.encode(nil, start.Map)
	_, inRead := r.keys().encode(nil, start.Map)
	if len(start.Map) != len(want) || !inTable || !inRead {
		return invalid("The provided starting key is invalid: The provided key element does not match the schema")
	}
	return nil
}

// successor is the least key that is greater than every key beginning with p;
// nil when there is none.
func successor(p []byte) []byte {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] != 0xff {
			out := bytes.Clone(p[:i+1])
			out[i]++
			return out
		}
	}
	return nil
}
