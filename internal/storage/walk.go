package storage

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
)

// walk is the reading of one tree.
type walk struct {
	a       *audit
	name    string
	root    uint64
	inline  []byte // the tree's only page, when it is not a page of its own
	buckets bool   // entries are spaces
	entry   func(key, value []byte) error
}

// subtree is a page with the range of keys that may be below it; nil is no bound.
type subtree struct {
	id       uint64
	from, to []byte
	depth    int
}

func (w *walk) tree() error {
	if w.inline != nil {
		return w.leaf(view(0, w.inline), subtree{})
	}
	return w.below(subtree{id: w.root})
}

// space adds up a tree's entries. Large ones are read by several goroutines.
func (w *walk) space() error {
	t := &total{}
	w.a.totals[w.name] = t
	if w.inline != nil {
		w.entry = w.count(t)
		return w.tree()
	}
	p, err := w.a.page(w.root)
	if err != nil {
		return err
	}
	if p.flags != flagBranch {
		w.entry = w.count(t)
		return w.leaf(p, subtree{id: w.root})
	}
	parts, err := w.children(p, subtree{id: w.root})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(parts), 8) {
		wg.Go(func() {
			defer guard(func(p any) { cancel(damagedFile(w.a.path, p)) })()
			own := *w
			var sum total
			own.entry = own.count(&sum)
			for i := int(next.Add(1)) - 1; i < len(parts) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := own.below(parts[i]); err != nil {
					cancel(err)
				}
			}
			mu.Lock()
			t.add(sum)
			mu.Unlock()
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// count checks an entry and adds it to t.
func (w *walk) count(t *total) func(key, value []byte) error {
	return func(key, value []byte) error {
		if _, ok := unsealed(key, value); !ok {
			return w.a.bad("checksum of key %q does not match", key)
		}
		t.add(total{1, hashOf(key, value)})
		return nil
	}
}

func (w *walk) below(s subtree) error {
	if w.a.stop.Load() {
		return fault.New(fault.Unavailable, "%s is being closed", w.a.path)
	}
	if s.depth > maxDepth {
		return w.a.bad("page %d is %d levels deep", s.id, s.depth)
	}
	p, err := w.a.page(s.id)
	if err != nil {
		return err
	}
	if p.flags != flagBranch {
		return w.leaf(p, s)
	}
	list, err := w.children(p, s)
	if err != nil {
		return err
	}
	for _, c := range list {
		if err := w.below(c); err != nil {
			return err
		}
	}
	return nil
}

// children are the subtrees of a branch page. The first key of a branch may be
// higher than keys below it that came later; nobody compares with it.
func (w *walk) children(p pageView, s subtree) ([]subtree, error) {
	list := make([]subtree, 0, p.count)
	last := s.from
	for i := range int(p.count) {
		_, child, key, _, ok := p.element(i)
		if !ok || i > 0 && !ordered(last, key, s.to, true) {
			return nil, w.a.bad("page %d, entry %d", p.id, i)
		}
		c := subtree{id: child, from: key, depth: s.depth + 1}
		if i == 0 {
			c.from = s.from
		} else {
			list[i-1].to = key
		}
		last = key
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, w.a.bad("page %d is empty", p.id)
	}
	list[len(list)-1].to = s.to
	return list, nil
}

// ordered says whether key comes after last (or is it, unless strict) and before to.
func ordered(last, key, to []byte, strict bool) bool {
	order := bytes.Compare(key, last)
	return (last == nil || order > 0 || order == 0 && !strict) && (to == nil || bytes.Compare(key, to) < 0)
}

func (w *walk) leaf(p pageView, s subtree) error {
	if p.flags != flagLeaf {
		return w.a.bad("page %d is of kind %#x", p.id, p.flags)
	}
	kind := uint32(0)
	if w.buckets {
		kind = 1
	}
	last := s.from
	for i := range int(p.count) {
		flags, _, key, value, ok := p.element(i)
		if !ok || flags != kind || w.buckets && len(value) < bucketHead || !ordered(last, key, s.to, i > 0) {
			return w.a.bad("page %d, entry %d", p.id, i)
		}
		last = key
		if err := w.entry(key, value); err != nil {
			return err
		}
	}
	return nil
}
