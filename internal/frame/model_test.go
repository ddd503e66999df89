package frame

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// naive inflates a whole compressed message with the standard library: the
// message, the tail, and a block with a mark that shows that the stream stood
// between two blocks, on a byte. Without the tail, too, since a message may end
// right after a block.
func naive(payload, window []byte) (out []byte, ok bool) {
	if out, ok = naiveBlocks(payload, window); ok {
		return out, true
	}
	return naiveBlocks(append(bytes.Clone(payload), deflateTail...), window)
}

const mark = "the stream stood between two blocks, on a byte"

var markBlock = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	io.WriteString(w, mark)
	w.Close()
	return b.Bytes()
})

func naiveBlocks(stream, window []byte) (out []byte, ok bool) {
	in := bytes.NewReader(append(bytes.Clone(stream), markBlock()...))
	window = bytes.Clone(window)
	for in.Len() > 0 {
		past := window[max(0, len(window)-1<<15):]
		b, err := io.ReadAll(flate.NewReaderDict(in, past)) // to the end of a final block
		if err != nil {
			return nil, false
		}
		out, window = append(out, b...), append(window, b...)
	}
	return bytes.CutSuffix(out, []byte(mark))
}

// farthest is the longest distance in a deflate stream, decoded bit by bit as
// RFC 1951 §3.2 tells it, with no tables.
func farthest(stream []byte) (distance int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the stream ends early")
		}
	}()
	at := 0
	bit := func() int {
		v := int(stream[at/8]) >> (at % 8) & 1
		at++
		return v
	}
	number := func(n int) (v int) {
		for i := range n {
			v |= bit() << i
		}
		return v
	}
	symbol := func(b book) int {
		code, first, index := 0, 0, 0
		for l := 1; l <= 15; l++ {
			code = code<<1 | bit()
			if code-first < b.count[l] {
				return b.symbols[index+code-first]
			}
			first, index = (first+b.count[l])<<1, index+b.count[l]
		}
		panic("no such code")
	}
	for at/8 < len(stream) {
		if final := bit(); final == 1 {
			return distance, errors.New("a final block")
		}
		var lens, dists []uint8
		switch number(2) {
		case 0:
			at = (at + 7) &^ 7
			n := number(16)
			if number(16)^0xffff != n {
				return distance, errors.New("stored block")
			}
			at += 8 * n
			continue
		case 1:
			for i := range 288 {
				switch {
				case i < 144, i >= 280:
					lens = append(lens, 8)
				case i < 256:
					lens = append(lens, 9)
				default:
					lens = append(lens, 7)
				}
			}
			dists = bytes.Repeat([]byte{5}, 30)
		case 2:
			nl, nd, nm := number(5)+257, number(5)+1, number(4)+4
			metas := make([]uint8, 19)
			for i := range nm {
				metas[metaOrder[i]] = uint8(number(3))
			}
			var all []uint8
			for book := bookOf(metas); len(all) < nl+nd; {
				switch s := symbol(book); s {
				case 16:
					all = append(all, bytes.Repeat(all[len(all)-1:], 3+number(2))...)
				case 17:
					all = append(all, make([]byte, 3+number(3))...)
				case 18:
					all = append(all, make([]byte, 11+number(7))...)
				default:
					all = append(all, uint8(s))
				}
			}
			lens, dists = all[:nl], all[nl:]
		default:
			return distance, errors.New("block type")
		}
		lengths, distances := bookOf(lens), bookOf(dists)
		for {
			s := symbol(lengths)
			if s == 256 {
				break
			}
			if s > 256 {
				if i := s - 257; i < 28 {
					number(max(i/4, 1) - 1)
				}
				i := symbol(distances)
				extra := max(i/2, 1) - 1
				base := i + 1
				if i >= 4 {
					base = (2+i%2)<<extra + 1
				}
				distance = max(distance, base+number(extra))
			}
		}
	}
	return distance, nil
}

// book is a canonical code: how many codes of each length, and their symbols in
// order.
type book struct {
	count   [16]int
	symbols []int
}

func bookOf(lens []uint8) (b book) {
	for l := uint8(1); l <= 15; l++ {
		for s, have := range lens {
			if have == l {
				b.count[l]++
				b.symbols = append(b.symbols, s)
			}
		}
	}
	return b
}
