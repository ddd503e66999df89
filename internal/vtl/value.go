package vtl

import (
	"errors"
	"iter"
	"slices"
)

// A template sees these values: nil, bool, int64 (Java's Integer and Long),
// float64 (Double), string, [Number], *[List], *[Map] and [Object]. A variable
// may also be an int. Anything else a caller passes has no properties or methods
// and prints as nothing.

// Object is a value with behaviour of its own: $input, $util, $context. A
// template calls it from its own goroutine only, but templates of several
// executions may call one Object at once. If it also has String() string, that
// is how it prints (otherwise as nothing), and MarshalJSON is how [AppendJSON]
// writes it.
type Object interface {
	// Get is $object.name and $object["name"]; false if there is no such property.
	Get(name string) (any, bool)
	// Call is $object.name(args). ErrNoMethod means there is no such method, and
	// the reference then counts as undefined; any other error ends the template.
	// A method without a result returns "".
	Call(name string, args []any) (any, error)
}

// ErrNoMethod is what [Object.Call] returns for a method that does not exist.
var ErrNoMethod = errors.New("vtl: no such method")

// Number is a number that neither int64 nor float64 holds, as its JSON text:
// integers beyond 64 bits and decimals beyond the range of a double.
type Number string

// List is a list that templates may change. Not safe for concurrent use.
type List struct {
	items []any
	view  *Map // whose keys, entries or values these are: no access by index
}

// NewList returns a list of the items, which it takes over.
func NewList(items ...any) *List { return &List{items: items} }

func (l *List) Len() int         { return len(l.items) }
func (l *List) Append(v ...any)  { l.items = append(l.items, v...) }
func (l *List) Get(i int) any    { return l.items[i] }
func (l *List) Set(i int, v any) { l.items[i] = v }

// All goes through the items in order.
func (l *List) All() iter.Seq2[int, any] { return slices.All(l.items) }

// smallMap is the size up to which a search beats a Go map.
const smallMap = 8

// Map is a map with text keys that remembers their order of insertion, as the
// Java maps made of JSON do. Not safe for concurrent use.
type Map struct {
	keys   []string
	values []any
	index  map[string]int // nil while small
}

// NewMap returns an empty map.
func NewMap() *Map { return &Map{} }

func (m *Map) Len() int { return len(m.keys) }

func (m *Map) find(key string) int {
	if m.index != nil {
		if i, ok := m.index[key]; ok {
			return i
		}
		return -1
	}
	return slices.Index(m.keys, key)
}

// Get returns the value of key; false if there is none.
func (m *Map) Get(key string) (any, bool) {
	if i := m.find(key); i >= 0 {
		return m.values[i], true
	}
	return nil, false
}

// Set adds key at the end, or gives it a new value where it is.
func (m *Map) Set(key string, v any) {
	if i := m.find(key); i >= 0 {
		m.values[i] = v
		return
	}
	m.keys = append(m.keys, key)
	m.values = append(m.values, v)
	switch {
	case m.index != nil:
		m.index[key] = len(m.keys) - 1
	case len(m.keys) > smallMap:
		m.reindex()
	}
}

// Delete removes key and tells what it had; false if there was none.
func (m *Map) Delete(key string) (any, bool) {
	i := m.find(key)
	if i < 0 {
		return nil, false
	}
	v := m.values[i]
	m.keys = slices.Delete(m.keys, i, i+1)
	m.values = slices.Delete(m.values, i, i+1)
	if m.index != nil {
		m.reindex()
	}
	return v, true
}

func (m *Map) reindex() {
	m.index = make(map[string]int, len(m.keys))
	for i, k := range m.keys {
		m.index[k] = i
	}
}

// All goes through the entries in order. The map must not change meanwhile.
func (m *Map) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i, k := range m.keys {
			if !yield(k, m.values[i]) {
				return
			}
		}
	}
}

// entry is what entrySet holds.
type entry struct {
	key   string
	value any
}

func (e *entry) Get(name string) (any, bool) {
	switch name {
	case "key":
		return e.key, true
	case "value":
		return e.value, true
	}
	return nil, false
}

func (e *entry) Call(name string, args []any) (any, error) {
	if len(args) == 0 {
		switch name {
		case "getKey":
			return e.key, nil
		case "getValue":
			return e.value, nil
		}
	}
	return nil, ErrNoMethod
}

// iterator goes through a list, or a copy of what a map had, which must keep its
// length meanwhile.
type iterator struct {
	list *List
	size int
	at   int
}

func newIterator(l *List) *iterator { return &iterator{list: l, size: len(l.items)} }

// iterate returns an iterator over a list's items or a copy of a map's values,
// nil for what cannot be gone through.
func (x *exec) iterate(v any) (*iterator, error) {
	switch v := v.(type) {
	case *List:
		return newIterator(v), nil
	case *Map:
		if err := x.charge(slot * (1 + len(v.values))); err != nil {
			return nil, err
		}
		return newIterator(&List{items: slices.Clone(v.values), view: v}), nil
	case *iterator:
		return v, nil
	}
	return nil, nil
}

// more asks as Java's lists do: one that grew in the last round has more, and
// next then fails.
func (it *iterator) more() bool { return it.at != len(it.list.items) }

// next is false at the end and when the list or the map changed its length.
func (it *iterator) next() (any, bool) {
	if it.at >= it.size || it.size != len(it.list.items) || it.list.view != nil && it.size != it.list.view.Len() {
		return nil, false
	}
	it.at++
	return it.list.items[it.at-1], true
}

func (it *iterator) Get(string) (any, bool) { return nil, false }

func (it *iterator) Call(name string, args []any) (any, error) {
	if len(args) == 0 {
		switch name {
		case "hasNext":
			return it.more(), nil
		case "next":
			if v, ok := it.next(); ok {
				return v, nil
			}
			return nil, errIterator
		}
	}
	return nil, ErrNoMethod
}

var errIterator = errors.New("the iterator is at its end, or its list changed")

var (
	_ Object = (*entry)(nil)
	_ Object = (*iterator)(nil)
)
