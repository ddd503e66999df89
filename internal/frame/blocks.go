package frame

import "encoding/binary"

// inflateState is where in a deflate stream (RFC 1951) an [Inflater] stands.
type inflateState uint8

const (
	atBlock inflateState = iota // between blocks
	atStored
	inStored
	atDynamic
	inMetas
	inLengths
	inCodes
)

// need reads ahead until n bits are held, n ≤ 57, and reports whether they are.
func (z *Inflater) need(n uint8) bool {
	for z.held < n {
		if len(z.in) == 0 {
			return false
		}
		z.bits |= uint64(z.in[0]) << z.held
		z.held += 8
		z.in = z.in[1:]
	}
	return true
}

// take removes n bits that are held.
func (z *Inflater) take(n uint8) uint32 {
	v := uint32(z.bits & (1<<n - 1))
	z.bits >>= n
	z.held -= n
	return v
}

// run inflates until out has stop bytes or a match more, or, starved, until
// there is no input for the next step. Every step takes all of its bits or none.
func (z *Inflater) run(out []byte, stop int) (_ []byte, starved bool, err error) {
	for {
		ok := false
		switch z.state {
		case atBlock:
			ok, err = z.block()
		case atStored:
			if ok = z.need(32); ok {
				n := z.take(16)
				if z.take(16) != ^n&0xffff {
					return out, false, CorruptDeflate
				}
				z.left, z.state = int(n), inStored
			}
		case inStored:
			if len(out) >= stop && z.left > 0 {
				return out, false, nil
			}
			out, ok = z.stored(out, stop)
		case atDynamic, inMetas, inLengths:
			ok, err = z.dynamic()
		case inCodes:
			if len(out) >= stop {
				return out, false, nil
			}
			out, ok, err = z.codes(out, stop)
		}
		if err != nil || !ok {
			return out, true, err
		}
	}
}

// block reads a block's header (RFC 1951 §3.2.3).
func (z *Inflater) block() (ok bool, err error) {
	if !z.need(3) {
		return false, nil
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.held & 7)
		z.state = atStored
	case 1:
		z.use, z.state = &z.alphas.fixed, inCodes
	case 2:
		z.state = atDynamic
	default:
		return false, CorruptDeflate
	}
	return true, nil
}

// endBlock goes to the next block. After a final one, that begins with a byte
// (RFC 7692 §7.2.1).
func (z *Inflater) endBlock() {
	if z.final {
		z.take(z.held & 7)
	}
	z.state = atBlock
}

// stored copies from a stored block (RFC 1951 §3.2.4).
func (z *Inflater) stored(out []byte, stop int) (_ []byte, ok bool) {
	for z.left > 0 && z.held > 0 {
		out = append(out, byte(z.take(8)))
		z.left--
	}
	n := min(z.left, len(z.in), max(stop-len(out), 0))
	out = append(out, z.in[:n]...)
	z.in = z.in[n:]
	if z.left -= n; z.left == 0 {
		z.endBlock()
		return out, true
	}
	return out, len(z.in) > 0
}

// dynamic reads the codes of a block with codes of its own (§3.2.7).
func (z *Inflater) dynamic() (ok bool, err error) {
	if z.state == atDynamic {
		if !z.need(14) {
			return false, nil
		}
		z.lengths, z.dists, z.metas = int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4
		if z.lengths > 286 || z.dists > 30 {
			return false, CorruptDeflate
		}
		clear(z.metaLens[:])
		z.have, z.state = 0, inMetas
	}
	if z.state == inMetas {
		for ; z.have < z.metas; z.have++ {
			if !z.need(3) {
				return false, nil
			}
			z.metaLens[metaOrder[z.have]] = uint8(z.take(3))
		}
		if !build(z.meta[:], metaRoot, z.metaLens[:], z.alphas.meta[:]) {
			return false, CorruptDeflate
		}
		z.have, z.state = 0, inLengths
	}
	for z.have < z.lengths+z.dists {
		if ok, err = z.codeLength(); !ok {
			return false, err
		}
	}
	lens := z.lens[:z.have]
	if lens[256] == 0 || // a block that cannot end
		!build(z.own.length[:], lengthRoot, lens[:z.lengths], z.alphas.length[:]) ||
		!build(z.own.distance[:], distanceRoot, lens[z.lengths:], z.alphas.distance[:]) {
		return false, CorruptDeflate
	}
	z.use, z.state = &z.own, inCodes
	return true, nil
}

const metaOrder = "\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"

// codeLength reads one code length, or a run of them.
func (z *Inflater) codeLength() (ok bool, err error) {
	enough := z.need(metaRoot + 7)
	e := z.meta[z.bits&(metaTable-1)]
	n := uint8(e & 15)
	if n == 0 && (enough || z.held > 0) {
		return false, CorruptDeflate
	}
	symbol := e >> 16
	extra, least := uint8(0), 1
	switch symbol {
	case 16:
		extra, least = 2, 3
	case 17:
		extra, least = 3, 3
	case 18:
		extra, least = 7, 11
	}
	if n+extra > z.held || n == 0 {
		return false, nil
	}
	z.take(n)
	value, times := uint8(symbol), least+int(z.take(extra))
	switch {
	case symbol == 16 && z.have == 0, z.have+times > z.lengths+z.dists:
		return false, CorruptDeflate
	case symbol == 16:
		value = z.lens[z.have-1]
	case symbol > 16:
		value = 0
	}
	for range times {
		z.lens[z.have] = value
		z.have++
	}
	return true, nil
}

// codes inflates literals and matches until stop, the end of the block, or the
// end of input (ok is false then). Fast while eight bytes of input are there,
// with which no symbol can run dry: a match takes 15+5+15+13 bits at most.
func (z *Inflater) codes(out []byte, stop int) (_ []byte, ok bool, err error) {
	var (
		in   = z.in
		b    = z.bits
		held = z.held
		use  = z.use
		n    = len(out)
		buf  = out[:cap(out)]
	)
	for n < stop && len(in) >= 8 {
		b |= binary.LittleEndian.Uint64(in) << (held & 63)
		in = in[(63-held)>>3:]
		held |= 56
		e := use.length[b&(1<<lengthRoot-1)]
		for e&isLiteral != 0 && held >= 48+maxCode-lengthRoot && n < stop {
			b >>= e & 15
			held -= uint8(e & 15)
			buf[n] = byte(e >> 16)
			n++
			e = use.length[b&(1<<lengthRoot-1)]
		}
		if held < 48 || n >= stop {
			continue
		}
		if e&isSub != 0 {
			b >>= lengthRoot
			held -= lengthRoot
			e = use.length[e>>16+uint32(b)&(1<<(e>>4&15)-1)]
		}
		b >>= e & 15
		held -= uint8(e & 15)
		if e&isLiteral != 0 {
			buf[n] = byte(e >> 16)
			n++
			continue
		}
		if e&isBase == 0 {
			z.in, z.bits, z.held = in, b&(1<<held-1), held
			if e&isEnd == 0 {
				return buf[:n], false, CorruptDeflate
			}
			z.endBlock()
			return buf[:n], true, nil
		}
		extra := e >> 4 & 15
		length := int(e>>16 + uint32(b)&(1<<extra-1))
		b >>= extra
		held -= uint8(extra)
		e = use.distance[b&(1<<distanceRoot-1)]
		if e&isSub != 0 {
			b >>= distanceRoot
			held -= distanceRoot
			e = use.distance[e>>16+uint32(b)&(1<<(e>>4&15)-1)]
		}
		b >>= e & 15
		held -= uint8(e & 15)
		extra = e >> 4 & 15
		distance := int(e>>16 + uint32(b)&(1<<extra-1))
		b >>= extra
		held -= uint8(extra)
		if e&isBase == 0 || !copyMatch(buf, n, length, distance, z.window) {
			return buf[:n], false, CorruptDeflate
		}
		n += length
	}
	z.in, z.bits, z.held = in, b&(1<<held-1), held
	return z.lastCodes(buf[:n], stop)
}

// lastCodes is codes where input is short: it looks before it takes.
func (z *Inflater) lastCodes(out []byte, stop int) (_ []byte, ok bool, err error) {
	for len(out) < stop {
		if len(z.in) >= 8 {
			return out, true, nil // back to the fast loop
		}
		z.need(56)
		b, held := z.bits, int(z.held)
		e := lookup(&b, &held, z.use.length[:], lengthRoot)
		switch {
		case held < 0:
			return out, false, nil
		case e&isLiteral != 0:
			out = append(out, byte(e>>16))
			z.bits, z.held = b, uint8(held)
			continue
		case e&isEnd != 0:
			z.bits, z.held = b, uint8(held)
			z.endBlock()
			return out, true, nil
		case e&isBase == 0:
			return out, false, CorruptDeflate
		}
		length := value(&b, &held, e)
		e = lookup(&b, &held, z.use.distance[:], distanceRoot)
		distance := value(&b, &held, e)
		if held < 0 {
			return out, false, nil
		}
		n := len(out)
		if out = out[:n+length]; e&isBase == 0 || !copyMatch(out, n, length, distance, z.window) {
			return out[:n], false, CorruptDeflate
		}
		z.bits, z.held = b, uint8(held)
	}
	return out, true, nil
}

// lookup decodes a symbol. held is negative afterwards if there were not enough
// bits to know it.
func lookup(b *uint64, held *int, table []uint32, root uint) uint32 {
	e := table[*b&(1<<root-1)]
	if e&isSub != 0 {
		*b >>= root
		*held -= int(root)
		e = table[e>>16+uint32(*b)&(1<<(e>>4&15)-1)]
	}
	*b >>= e & 15
	*held -= int(e & 15)
	return e
}

// value is a base and its extra bits.
func value(b *uint64, held *int, e uint32) int {
	extra := e >> 4 & 15
	v := int(e>>16 + uint32(*b)&(1<<extra-1))
	*b >>= extra
	*held -= int(extra)
	return v
}

// copyMatch repeats length bytes from distance before n, at n. It reports false
// for a distance beyond all there is. What it repeats may overlap what it writes:
// distance 1 is a run.
func copyMatch(buf []byte, n, length, distance int, w *Window) bool {
	if distance > n {
		past := w.bytes()
		if distance-n > len(past) {
			return false
		}
		c := copy(buf[n:n+length], past[len(past)-(distance-n):])
		n += c
		length -= c
	}
	for from := n - distance; length > 0; {
		c := copy(buf[n:n+length], buf[from:n])
		n += c
		length -= c
	}
	return true
}
