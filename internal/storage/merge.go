package storage

import (
	"bytes"

	bolt "go.etcd.io/bbolt"
)

// merge reads one space in order from all the places that it is in: of entries
// with the same key the newest place's counts.
type merge struct {
	tx         *Tx
	descending bool
	runs       [2]run // newest first; those that are used come first
	used       int
	cursor     *bolt.Cursor // nil: the file has nothing
	key, value []byte       // under the cursor; nil at its end
}

// run is one layer's share.
type run struct {
	list    *list
	commit  uint64
	at      *node // nil at the end
	visible *version
}

func (tx *Tx) merge(s *space, descending bool) *merge {
	m := &merge{tx: tx, descending: descending}
	for _, g := range [...]*generation{s.own, s.below} {
		if g != nil {
			m.runs[m.used] = run{list: &g.list, commit: tx.commit}
			m.used++
		}
	}
	if s.bucket != nil {
		m.cursor = s.bucket.Cursor()
	}
	return m
}

// start goes to the first key not below from, or to the last one below to.
func (m *merge) start(from, to []byte) {
	for i := range m.runs[:m.used] {
		r := &m.runs[i]
		if m.descending {
			r.back(r.list.before(to))
		} else {
			r.forward(r.list.seek(from, nil))
		}
	}
	switch {
	case m.cursor == nil:
	case m.descending:
		m.key, m.value = lastBelow(m.cursor, to)
	default:
		m.key, m.value = m.cursor.Seek(from)
	}
}

// lastBelow is the last entry whose key is below to; nil for to is no bound.
func lastBelow(c *bolt.Cursor, to []byte) (k, v []byte) {
	if to == nil {
		return c.Last()
	}
	if k, _ = c.Seek(to); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// forward goes to n, or to the next node after it that the reader can see.
func (r *run) forward(n *node) {
	for ; n != nil; n = n.next[0].Load() {
		if r.visible = n.at(r.commit); r.visible != nil {
			break
		}
	}
	r.at = n
}

func (r *run) back(n *node) {
	for ; n != nil; n = r.list.before(n.key) {
		if r.visible = n.at(r.commit); r.visible != nil {
			break
		}
	}
	r.at = n
}

// next is the next entry that there is; nil at the end.
func (m *merge) next() (key, value []byte) {
	for {
		first := -1
		for i := range m.runs[:m.used] {
			if n := m.runs[i].at; n != nil && (first < 0 || m.precedes(n.key, key)) {
				first, key = i, n.key
			}
		}
		if m.key != nil && (first < 0 || m.precedes(m.key, key)) {
			key, value = m.key, m.tx.unseal(m.key, m.value)
			m.step()
			return key, value
		}
		if first < 0 {
			return nil, nil
		}
		v := m.runs[first].visible
		m.pass(key)
		if v.stored != nil {
			return key, plain(v.stored)
		}
	}
}

func (m *merge) precedes(a, b []byte) bool {
	order := bytes.Compare(a, b)
	return order < 0 && !m.descending || order > 0 && m.descending
}

// pass leaves a key behind wherever it is.
func (m *merge) pass(key []byte) {
	for i := range m.runs[:m.used] {
		r := &m.runs[i]
		if r.at == nil || !bytes.Equal(r.at.key, key) {
			continue
		}
		if m.descending {
			r.back(r.list.before(key))
		} else {
			r.forward(r.at.next[0].Load())
		}
	}
	if m.key != nil && bytes.Equal(m.key, key) {
		m.step()
	}
}

func (m *merge) step() {
	if m.descending {
		m.key, m.value = m.cursor.Prev()
	} else {
		m.key, m.value = m.cursor.Next()
	}
}
