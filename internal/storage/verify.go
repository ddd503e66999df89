package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/livegate/livegate/internal/fault"
)

// The engine's file, as far as it has to be understood to be checked (bbolt,
// format version 2; little-endian on every platform that Livegate runs on):
//
//	page    id u64, flags u16, count u16, overflow u32, then elements, then their bytes
//	branch  position u32 (from the element), key length u32, page id u64
//	leaf    flags u32 (1: a bucket), position u32, key length u32, value length u32
//	bucket  root page id u64 (0: its page follows inline), sequence u64
//	meta    magic u32, version u32, page size u32, flags u32, root bucket, freelist page id u64,
//	        high-water page id u64, transaction id u64, FNV-1a of all that u64; pages 0 and 1 in turn
const (
	pageHead   = 16
	elemSize   = 16
	bucketHead = 16
	metaSize   = 56 // before its checksum

	flagBranch   = 1
	flagLeaf     = 2
	flagFreelist = 16

	engineMagic   = 0xED0CDAED
	engineVersion = 2
	noFreelist    = ^uint64(0)

	// maxDepth: a tree of 4 KiB pages with keys of up to 32 KiB and 2^40 entries is
	// less deep. Pages that point at each other in a circle are deeper.
	maxDepth = 64
)

// total is what a space holds: how many entries, and the sum of a hash of each.
// An entry that is lost, doubled, or taken from an older page changes it.
type total struct{ entries, sum uint64 }

func (t *total) add(o total) { t.entries += o.entries; t.sum += o.sum }

// entryHash stretches an entry's checksum and lengths to 64 bits (the finaliser
// of MurmurHash3), so that errors do not cancel out in a sum.
func entryHash(crc uint32, keyLen, valueLen int) uint64 {
	h := uint64(crc)<<32 ^ uint64(keyLen)<<40 ^ uint64(valueLen)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func (t total) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, t.entries)
	return binary.BigEndian.AppendUint64(b, t.sum)
}

func decodeTotal(b []byte) total {
	return total{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// engineMeta is a meta page.
type engineMeta struct {
	pageSize, root, freelist, high, tx uint64
}

// audit is one reading of a whole file: every page that is in use, every entry.
// It is the only thing that can notice what checksums of values cannot: entries
// that are not there any more, or that are not found because a key above them
// changed. It reads the file with its own eyes, because the engine trusts its
// pages: pages in a circle, for one, make it recurse until the process dies.
type audit struct {
	path string
	file []byte // mapped
	meta engineMeta
	seen []uint32 // a bit for each page

	format  uint32 // 0: a new file
	totals  map[string]*total
	kept    map[string]total // totals as the file states them
	foreign bool

	done chan struct{}
	err  error // after done
	stop atomic.Bool
}

// newAudit maps the file and checks what must be right before the engine may
// look at it. nil for an empty file. The caller holds the file's lock.
func newAudit(path string, f *os.File) (a *audit, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	a = &audit{path: path, totals: map[string]*total{}, kept: map[string]total{}, done: make(chan struct{})}
	if a.file, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		return nil, unusable(path, err)
	}
	if err = a.heads(); err != nil {
		a.unmap()
		return nil, err
	}
	return a, nil
}

func (a *audit) heads() (err error) {
	defer guard(func(p any) { err = damagedFile(a.path, p) })()
	if a.meta, err = a.newestMeta(); err != nil {
		return err
	}
	a.seen = make([]uint32, a.meta.high/32+1)
	return a.freelist()
}

func (a *audit) unmap() {
	_ = syscall.Munmap(a.file) // only fails for addresses that were never mapped
	a.file = nil
}

// cancel ends a running audit and waits for it.
func (a *audit) cancel() {
	a.stop.Store(true)
	<-a.done
}

// run reads everything; it closes done.
func (a *audit) run() {
	defer close(a.done)
	defer a.unmap()
	defer guard(func(p any) { a.err = damagedFile(a.path, p) })()
	a.err = a.spaces()
}

func (a *audit) bad(format string, args ...any) error {
	return damagedFile(a.path, fmt.Sprintf(format, args...))
}

// newestMeta reads both meta pages. Each is 80 bytes in one disk sector, and
// the engine writes one when all it refers to is on disk, so a page that does not
// match its checksum is damage, not a write that a crash cut short. Taking the
// other one, as the engine would, could silently undo an acknowledged commit.
func (a *audit) newestMeta() (m engineMeta, err error) {
	first, err := a.metaAt(0)
	if err != nil {
		return m, err
	}
	if s := first.pageSize; s < 1024 || s > 64<<10 || bits.OnesCount64(s) != 1 {
		return m, a.bad("page size %d", s)
	}
	second, err := a.metaAt(first.pageSize)
	if err != nil {
		return m, err
	}
	switch {
	case first.pageSize != second.pageSize || first.tx%2 != 0 || second.tx%2 != 1 || first.tx+1 != second.tx && second.tx+1 != first.tx:
		return m, a.bad("its two head pages do not belong together")
	case first.tx > second.tx:
		m = first
	default:
		m = second
	}
	if size := m.high * m.pageSize; size > uint64(len(a.file)) {
		return m, a.bad("%d bytes long, should be at least %d", len(a.file), size)
	}
	return m, nil
}

func (a *audit) metaAt(offset uint64) (m engineMeta, err error) {
	if offset+pageHead+metaSize+8 > uint64(len(a.file)) {
		return m, a.bad("%d bytes long", len(a.file))
	}
	b := a.file[offset+pageHead:]
	le := binary.LittleEndian
	h := fnv.New64a()
	_, _ = h.Write(b[:metaSize]) // a hash never fails
	if le.Uint32(b) != engineMagic || le.Uint32(b[4:]) != engineVersion || le.Uint64(b[metaSize:]) != h.Sum64() {
		return m, a.bad("the head page at byte %d does not match its checksum", offset)
	}
	return engineMeta{pageSize: uint64(le.Uint32(b[8:])), root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]), high: le.Uint64(b[40:]), tx: le.Uint64(b[48:])}, nil
}

// freelist marks the pages that are free and those of the list itself: a page
// that is both free and in use would be overwritten by the next commit.
func (a *audit) freelist() error {
	if a.meta.freelist == noFreelist {
		return nil
	}
	p, err := a.page(a.meta.freelist)
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return a.bad("page %d is not the list of free pages", a.meta.freelist)
	}
	n, ids := uint64(p.count), p.bytes[pageHead:]
	if n == 0xffff { // the real number comes first
		n, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return a.bad("the list of free pages has %d entries", n)
	}
	for ; n > 0; n-- {
		id := binary.LittleEndian.Uint64(ids[(n-1)*8:])
		if id < 2 || id >= a.meta.high || !a.mark(id) {
			return a.bad("page %d is in the list of free pages by mistake", id)
		}
	}
	return nil
}

// mark notes that a page is used; false when it was already.
func (a *audit) mark(id uint64) bool {
	bit := uint32(1) << (id % 32)
	return atomic.OrUint32(&a.seen[id/32], bit)&bit == 0
}

// pageView is one page with its overflow, or a bucket's inline page.
type pageView struct {
	id           uint64
	flags, count uint16
	bytes        []byte
}

// page reads and marks a page. Its bytes are within the file.
func (a *audit) page(id uint64) (p pageView, err error) {
	if id < 2 || id >= a.meta.high {
		return p, a.bad("a reference to page %d of %d", id, a.meta.high)
	}
	at := id * a.meta.pageSize
	head := a.file[at : at+pageHead]
	pages := uint64(binary.LittleEndian.Uint32(head[12:])) + 1
	if own := binary.LittleEndian.Uint64(head); own != id || id+pages > a.meta.high {
		return p, a.bad("page %d says it is page %d, and %d more", id, own, pages-1)
	}
	for i := range pages {
		if !a.mark(id + i) {
			return p, a.bad("page %d is in use twice", id+i)
		}
	}
	return view(id, a.file[at:at+pages*a.meta.pageSize]), nil
}

func view(id uint64, b []byte) pageView {
	return pageView{id: id, flags: binary.LittleEndian.Uint16(b[8:]), count: binary.LittleEndian.Uint16(b[10:]), bytes: b}
}

// element is entry i of a page. ok is false when it lies outside.
func (p *pageView) element(i int) (flags uint32, child uint64, key, value []byte, ok bool) {
	at := pageHead + i*elemSize
	if at+elemSize > len(p.bytes) {
		return 0, 0, nil, nil, false
	}
	e, le := p.bytes[at:], binary.LittleEndian
	var pos, keyLen, valueLen uint64
	if p.flags == flagBranch {
		pos, keyLen, child = uint64(le.Uint32(e)), uint64(le.Uint32(e[4:])), le.Uint64(e[8:])
	} else {
		flags, pos, keyLen, valueLen = le.Uint32(e), uint64(le.Uint32(e[4:])), uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:]))
	}
	from := uint64(at) + pos
	if keyLen == 0 || from+keyLen+valueLen > uint64(len(p.bytes)) {
		return 0, 0, nil, nil, false
	}
	return flags, child, p.bytes[from : from+keyLen], p.bytes[from+keyLen : from+keyLen+valueLen], true
}

// spaces walks the tree of spaces, then every space.
func (a *audit) spaces() error {
	var list []walk
	root := walk{a: a, root: a.meta.root, buckets: true}
	root.entry = func(key, value []byte) error {
		w := walk{a: a, name: string(key), root: binary.LittleEndian.Uint64(value)}
		if w.root == 0 {
			if len(value) < bucketHead+pageHead {
				return a.bad("space %q is cut short", key)
			}
			w.inline = value[bucketHead:]
		}
		list = append(list, w)
		return nil
	}
	if err := root.tree(); err != nil {
		return err
	}
	for i := range list {
		if list[i].name == metaSpace {
			list[i].entry = a.own
			if err := list[i].tree(); err != nil {
				return err
			}
		}
	}
	if a.foreign = a.format == 0 && len(list) > 0; a.foreign || a.format > Format {
		return nil // for admit to tell
	}
	for i := range list {
		if list[i].name == metaSpace {
			continue
		}
		if err := list[i].space(); err != nil {
			return err
		}
	}
	return a.compare()
}

// compare holds what the spaces contain against what the file says they do.
func (a *audit) compare() error {
	if a.format < 2 { // from before there were totals
		if len(a.kept) > 0 {
			return a.bad("its format number is wrong")
		}
		return nil
	}
	for name, t := range a.totals {
		if kept, ok := a.kept[name]; !ok || kept != *t {
			return a.bad("space %q has %d entries and should have %d, or others", name, t.entries, kept.entries)
		}
	}
	for name := range a.kept {
		if a.totals[name] == nil {
			return a.bad("space %q is missing", name)
		}
	}
	return nil
}

// own reads an entry of the space that is ours: the format, totals.
func (a *audit) own(key, value []byte) error {
	if string(key) == formatKey {
		if len(value) != 4 {
			return a.bad("its format number is unreadable")
		}
		if a.format = binary.BigEndian.Uint32(value); a.format == 0 || a.format > maxFormat {
			return a.bad("its format number is unreadable")
		}
		return nil
	}
	plain, ok := unsealed(key, value)
	if !ok || len(plain) != 16 || len(key) <= len(totalPrefix) || string(key[:len(totalPrefix)]) != totalPrefix {
		return a.bad("checksum of key %q does not match", key)
	}
	a.kept[string(key[len(totalPrefix):])] = decodeTotal(plain)
	return nil
}

// unsealed strips and verifies an entry's checksum.
func unsealed(key, stored []byte) (value []byte, ok bool) {
	n := len(stored) - sumSize
	if n < 0 || binary.LittleEndian.Uint32(stored[n:]) != checksum(key, stored[:n]) {
		return nil, false
	}
	return stored[:n:n], true
}

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
