package storage

import (
	"encoding/binary"
	"hash/fnv"
	"math/bits"
	"sync/atomic"
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

// engineMeta is a meta page.
type engineMeta struct {
	pageSize, root, freelist, high, tx uint64
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
