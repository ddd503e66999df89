package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflated is the result of inflate.
type inflated struct {
	out      []byte
	distance int // the farthest back-reference
	final    bool
}

// inflate decodes DEFLATE (RFC 1951) with history before it, to the end of the
// input, and measures how far back references reach: what a decoder for all
// windows, like the standard library's, cannot tell, and what
// server_max_window_bits is about (RFC 7692 §7.1.2.1).
func inflate(in, history []byte) (r inflated, err error) {
	d := &bitReader{in: in}
	out := append([]byte(nil), history...)
	defer func() {
		if e := recover(); e != nil {
			b, ok := e.(badDeflate)
			if !ok {
				panic(e)
			}
			err = b
		}
	}()
	for !r.final && d.left() >= 3 {
		r.final = d.bits(1) == 1
		switch d.bits(2) {
		case 0:
			out = d.stored(out)
		case 1:
			out, r.distance = d.block(out, fixedCodes(), r.distance)
		case 2:
			out, r.distance = d.block(out, d.dynamicCodes(), r.distance)
		default:
			panic(badDeflate("block type 3"))
		}
	}
	r.out = out[len(history):]
	return r, nil
}

type badDeflate string

func (b badDeflate) Error() string { return "deflate: " + string(b) }

type bitReader struct {
	in  []byte
	at  int // byte
	bit int // in it
}

func (d *bitReader) left() int { return (len(d.in)-d.at)*8 - d.bit }

func (d *bitReader) bits(n int) int {
	v := 0
	for i := range n {
		if d.at >= len(d.in) {
			panic(badDeflate("input ends inside a block"))
		}
		v |= int(d.in[d.at]>>d.bit&1) << i
		if d.bit++; d.bit == 8 {
			d.at, d.bit = d.at+1, 0
		}
	}
	return v
}

func (d *bitReader) stored(out []byte) []byte {
	if d.bit > 0 {
		d.at, d.bit = d.at+1, 0
	}
	n, not := d.bits(16), d.bits(16)
	if n != ^not&0xffff || d.left() < n*8 {
		panic(badDeflate("stored length"))
	}
	out = append(out, d.in[d.at:d.at+n]...)
	d.at += n
	return out
}

// codes of literals and lengths, and of distances: symbol by length and code.
type codes struct{ literal, distance map[[2]int]int }

func canonical(lengths []int) map[[2]int]int {
	m := map[[2]int]int{}
	code := 0
	for n := 1; n <= 15; n++ {
		for symbol, l := range lengths {
			if l == n {
				m[[2]int{n, code}] = symbol
				code++
			}
		}
		code <<= 1
	}
	return m
}

func fixedCodes() codes {
	l := make([]int, 288)
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	five := make([]int, 30)
	for i := range five {
		five[i] = 5
	}
	return codes{canonical(l), canonical(five)}
}

func (d *bitReader) symbol(m map[[2]int]int) int {
	code := 0
	for n := 1; n <= 15; n++ {
		code = code<<1 | d.bits(1)
		if s, ok := m[[2]int{n, code}]; ok {
			return s
		}
	}
	panic(badDeflate("code without a symbol"))
}

func (d *bitReader) dynamicCodes() codes {
	literals, distances, n := d.bits(5)+257, d.bits(5)+1, d.bits(4)+4
	order := [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	var lengthLengths [19]int
	for i := range n {
		lengthLengths[order[i]] = d.bits(3)
	}
	m := canonical(lengthLengths[:])
	var lengths []int
	for len(lengths) < literals+distances {
		s, repeat, value := d.symbol(m), 1, 0
		switch {
		case s < 16:
			value = s
		case s == 16 && len(lengths) > 0:
			repeat, value = 3+d.bits(2), lengths[len(lengths)-1]
		case s == 17:
			repeat = 3 + d.bits(3)
		case s == 18:
			repeat = 11 + d.bits(7)
		default:
			panic(badDeflate("repeat of nothing"))
		}
		for range repeat {
			lengths = append(lengths, value)
		}
	}
	return codes{canonical(lengths[:literals]), canonical(lengths[literals : literals+distances])}
}

func (d *bitReader) block(out []byte, c codes, farthest int) ([]byte, int) {
	lengthBase := [29]int{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthBits := [29]int{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	for {
		s := d.symbol(c.literal)
		switch {
		case s < 256:
			out = append(out, byte(s))
			continue
		case s == 256:
			return out, farthest
		case s > 285:
			panic(badDeflate("length code"))
		}
		n := lengthBase[s-257] + d.bits(lengthBits[s-257])
		s = d.symbol(c.distance)
		extra := max(0, s/2-1)
		base := s + 1
		if s > 3 {
			base = (2+s&1)<<extra + 1
		}
		back := base + d.bits(extra)
		if back > len(out) {
			panic(badDeflate("reference before the start"))
		}
		farthest = max(farthest, back)
		for range n {
			out = append(out, out[len(out)-back])
		}
	}
}

// The decoder agrees with the standard library's, and measures distances.
func TestInflate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		n := rng.IntN(40_000)
		msg := []byte(sample(n) + noise(rng.IntN(500)) + strings.Repeat("z", rng.IntN(3000)))
		var b bytes.Buffer
		w, err := flate.NewWriter(&b, round%10)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write(msg)
		_ = w.Flush()
		got, err := inflate(b.Bytes(), nil)
		if err != nil || !bytes.Equal(got.out, msg) {
			t.Fatalf("level %d, %d bytes: %v", round%10, len(msg), err)
		}
	}
	for _, far := range []int{200, 5000, 32768} {
		msg := []byte(noise(far) + noise(far))
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		_, _ = w.Write(msg)
		_ = w.Flush()
		if got, err := inflate(b.Bytes(), nil); err != nil || got.distance != far {
			t.Errorf("distance %d %v, want %d", got.distance, err, far)
		}
	}
	for _, bad := range []string{"\x07", "\x00\x01\x00\x00\x00a", "\x03\x02", "\xff\xff\xff"} {
		got, err := inflate([]byte(bad), nil)
		_, stdErr := io.ReadAll(flate.NewReader(strings.NewReader(bad)))
		if (err == nil) != (stdErr == nil || errors.Is(stdErr, io.ErrUnexpectedEOF)) {
			t.Errorf("%x: %v, the library says %v, out %q", bad, err, stdErr, got.out)
		}
	}
	if _, err := inflate([]byte("\x02\x00"), []byte("abc")); err == nil {
		t.Error("a reference cut short was taken")
	}
}
