package frame

import (
	"math/bits"
	"sync"
)

// A decoding table is indexed by the next bits of input. An entry says which
// symbol they begin with:
//
//	bits 0…3    how many bits its code takes; in a sub-table, beyond the root's
//	bits 4…7    how many extra bits follow; for a sub-table, the bits of its index
//	bits 8…11   kind
//	bits 16…31  literal, base of a length or distance, or where a sub-table begins
//
// An entry of 0 is a code that was not assigned.
const (
	isLiteral = 1 << 8
	isBase    = 1 << 9 // length or distance: base plus extra bits
	isEnd     = 1 << 10
	isSub     = 1 << 11
)

// Bits of the root tables, and the sizes that they and all sub-tables may need
// with that many symbols and codes of up to 15 bits. (The bound is the one zlib's
// examples/enough computes; build checks it as well.)
const (
	lengthRoot   = 10
	distanceRoot = 8
	metaRoot     = 7 // code lengths of code lengths have 7 bits at most

	lengthTable   = 1334
	distanceTable = 402
	metaTable     = 1 << metaRoot

	maxLengths   = 288 // symbols: 256 literals, the end, 29 lengths, 2 unused
	maxDistances = 32  // 30 distances, 2 unused
	maxCode      = 15
)

// alphabets are the symbols of RFC 1951 §3.2.5 as table entries, but for the
// length of their codes.
type alphabets struct {
	length   [maxLengths]uint32
	distance [maxDistances]uint32
	meta     [19]uint32
	fixed    codes // §3.2.6
}

// codes are the tables of one block.
type codes struct {
	length   [lengthTable]uint32
	distance [distanceTable]uint32
}

var alphabet = sync.OnceValue(func() *alphabets {
	a := &alphabets{}
	for c := range 256 {
		a.length[c] = isLiteral | uint32(c)<<16
	}
	a.length[256] = isEnd
	base := uint32(3)
	for i := range uint32(28) {
		extra := max(i/4, 1) - 1
		a.length[257+i] = isBase | extra<<4 | base<<16
		base += 1 << extra
	}
	a.length[285] = isBase | maxMatch<<16 // 258 has a symbol of its own
	base = 1
	for i := range uint32(30) {
		extra := max(i/2, 1) - 1
		a.distance[i] = isBase | extra<<4 | base<<16
		base += 1 << extra
	}
	for i := range a.meta {
		a.meta[i] = isLiteral | uint32(i)<<16
	}
	var lens [maxLengths]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	build(a.fixed.length[:], lengthRoot, lens[:], a.length[:])
	for i := range maxDistances {
		lens[i] = 5
	}
	build(a.fixed.distance[:], distanceRoot, lens[:maxDistances], a.distance[:])
	return a
})

// build fills table for the canonical code with these lengths (§3.2.2; 0 is no
// code). It reports false for lengths that give more codes than there are, or
// fewer: then some input would have no meaning. As in zlib and Go, one code
// alone may have length 1, and there may be none at all, for a block that never
// uses it.
func build(table []uint32, root uint8, lens []uint8, symbols []uint32) bool {
	var count, next [maxCode + 1]uint16
	for _, l := range lens {
		count[l]++
	}
	longest, left, code := uint8(0), 1, uint16(0)
	count[0] = 0
	for l := 1; l <= maxCode; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
		if left = left<<1 - int(count[l]); left < 0 {
			return false
		}
		if count[l] > 0 {
			longest = uint8(l)
		}
	}
	if left > 0 {
		if longest > 1 {
			return false
		}
		clear(table[:1<<root])
	}
	if longest > root && !nest(table, root, lens, next) {
		return false
	}
	for s, l := range lens {
		if l == 0 {
			continue
		}
		at := uint32(bits.Reverse16(next[l]) >> (16 - l))
		next[l]++
		if l <= root {
			for e := symbols[s] | uint32(l); at < 1<<root; at += 1 << l {
				table[at] = e
			}
			continue
		}
		sub := table[at&(1<<root-1)]
		from := sub >> 16
		end := from + 1<<(sub>>4&15)
		for e := symbols[s] | uint32(l-root); from+at>>root < end; at += 1 << l {
			table[from+at>>root] = e
		}
	}
	return true
}

// nest places a sub-table for every root index that begins a longer code.
func nest(table []uint32, root uint8, lens []uint8, next [maxCode + 1]uint16) bool {
	heads := table[:1<<root]
	clear(heads)
	for _, l := range lens {
		if l == 0 {
			continue
		}
		if l > root {
			at := bits.Reverse16(next[l]) >> (16 - l) & (1<<root - 1)
			heads[at] = max(heads[at], uint32(l))
		}
		next[l]++
	}
	free := uint32(len(heads))
	for i, l := range heads {
		if l == 0 {
			continue
		}
		width := l - uint32(root)
		heads[i] = isSub | uint32(root) | width<<4 | free<<16
		if free += 1 << width; free > uint32(len(table)) {
			return false
		}
	}
	return true
}
