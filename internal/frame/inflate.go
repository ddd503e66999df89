package frame

import (
	"math"
	"sync"
)

// InflateLimits bounds what one compressed message may become. The zero value
// has no limit on the size, and the usual ratio.
type InflateLimits struct {
	// Max is the largest message in bytes, inflated: more is [InflatedTooBig],
	// at the byte that is too many. 0 is no limit. Compressed bytes are bounded
	// with it, at twice as much and 1 KiB, against data that inflates to nothing.
	Max int

	// Ratio is how many times its compressed bytes a message may grow to, once it
	// has more than 64 KiB; beyond is [InflatedRatio]. 0 means 100; a negative
	// ratio is no limit. Deflate itself reaches 1032.
	Ratio int

	// Step is how much one call of Write inflates, so that an event loop can do
	// something else in between. 0 means 128 KiB, which takes less than a
	// millisecond.
	Step int
}

const (
	ratioFrom    = 64 << 10
	defaultRatio = 100
	defaultStep  = 128 << 10
	maxMatch     = 258 // longest match of RFC 1951 §3.2.5
)

// deflateTail is what every sender cuts off the end of a message, the end of an
// empty stored block (RFC 7692 §7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// Inflater inflates one message from pieces cut anywhere, as they arrive
// (RFC 7692 §7.2.2). It is fed and never waits; what a peer has not sent yet
// costs no goroutine. The message itself serves as the LZ77 window.
//
//	z := frame.BorrowInflater(limits, nil) // first frame, RSV1 set
//	msg, rest, err = z.Write(msg, piece)   // each piece, unmasked; again while rest is not empty
//	msg, err = z.End(msg)                  // end of the final frame
//	z.Release()                            // also after an error, or when the connection goes
//
// Blocks with BFINAL set are taken as §7.2.1 and §7.2.3.4 have them: the rest of
// their last byte is padding, and blocks may follow. A message may end right
// after any block, with or without the empty block that §7.2.1 asks of a sender.
//
// It belongs to one goroutine at a time.
type Inflater struct {
	// static during a message
	limits InflateLimits
	window *Window
	alphas *alphabets

	in         []byte // what Write has not read
	bits       uint64 // read ahead, lowest first; nothing above held
	held       uint8
	state      inflateState
	final      bool
	compressed int64 // bytes of all earlier pieces

	left     int // bytes of a stored block
	lengths  int // codes of a dynamic block (HLIT, HDIST, HCLEN)
	dists    int
	metas    int
	have     int // code lengths read
	lens     [maxLengths + maxDistances]uint8
	metaLens [19]uint8
	meta     [metaTable]uint32
	tail     [len(deflateTail)]byte

	use *codes // of this block: own, or the fixed ones
	own codes
}

// The pool holds memory and nothing else: what it hands out is reset.
var inflaters = sync.Pool{New: func() any { return new(Inflater) }}

// BorrowInflater takes an inflater for one message from a pool. w is the peer's
// window where context takeover was agreed, else nil; End adds the message to it.
func BorrowInflater(l InflateLimits, w *Window) *Inflater {
	if l.Ratio == 0 {
		l.Ratio = defaultRatio
	}
	if l.Step <= 0 {
		l.Step = defaultStep
	}
	l.Max = min(l.Max, math.MaxInt-1024) // so that sums with it are in range
	z := inflaters.Get().(*Inflater)
	z.limits, z.window, z.alphas = l, w, alphabet()
	z.bits, z.held, z.state, z.final, z.compressed = 0, 0, atBlock, false, 0
	return z
}

// Release gives z back to the pool. Every borrowed inflater is released once.
func (z *Inflater) Release() {
	z.in, z.window = nil, nil
	inflaters.Put(z)
}

// Write inflates p and appends to msg, which must be what the last call returned
// (nil, or an empty slice with room, at first): all of this message and nothing
// before it, since distances reach back into it. Where msg has to grow, it
// doubles, and never has more than 1 KiB beyond the limit.
//
// rest is the part of p that was not read because Step bytes were inflated:
// call again with it. The error is a [Violation]: [CorruptDeflate],
// [InflatedTooBig] or [InflatedRatio].
func (z *Inflater) Write(msg, p []byte) (out, rest []byte, err error) {
	out = msg
	if z.limits.Max > 0 && z.compressed+int64(len(p)) > 2*int64(z.limits.Max)+1024 {
		return out, nil, InflatedTooBig
	}
	z.in = p
	end := len(out) + z.limits.Step
	for {
		stop := end
		if z.limits.Max > 0 {
			stop = min(stop, z.limits.Max+1)
		}
		allowed := z.allowed(len(p))
		if allowed >= 0 {
			stop = min(stop, allowed+1)
		}
		if cap(out)-len(out) <= maxMatch {
			out = z.grow(out)
		}
		stop = min(stop, cap(out)-maxMatch)
		var starved bool
		out, starved, err = z.run(out, stop)
		switch {
		case err != nil:
		case z.limits.Max > 0 && len(out) > z.limits.Max:
			err = InflatedTooBig
		case allowed >= 0 && len(out) > z.allowed(len(p)):
			err = InflatedRatio
		case starved:
			z.compressed += int64(len(p))
		case len(out) >= end:
			z.unread(p)
			rest = z.in
			z.compressed += int64(len(p) - len(rest))
		default:
			continue
		}
		z.in = nil
		return out, rest, err
	}
}

// End ends the message: it adds the octets that the sender cut off, and checks
// that nothing is missing.
func (z *Inflater) End(msg []byte) (out []byte, err error) {
	// What is left is little: less than a byte, which a step may have stopped
	// before, and the tail. No symbol takes less than a bit.
	z.limits.Step = max(z.limits.Step, maxMatch*8*(1+len(deflateTail)))
	if out, _, err = z.Write(msg, nil); err != nil {
		return out, err
	}
	if z.state != atBlock || z.held != 0 {
		copy(z.tail[:], deflateTail)
		if out, _, err = z.Write(out, z.tail[:]); err != nil {
			return out, err
		}
		if z.state != atBlock || z.held != 0 {
			return out, CorruptDeflate
		}
	}
	z.window.Add(out)
	return out, nil
}

// allowed is how long the message may be by its ratio, when all but z.in of
// size bytes are read; -1 for any length.
func (z *Inflater) allowed(size int) int {
	if z.limits.Ratio < 0 {
		return -1
	}
	inflated := int64(z.limits.Ratio) * (z.compressed + int64(size-len(z.in)))
	return int(min(max(ratioFrom, inflated), math.MaxInt-1))
}

// grow doubles the room of out, to the limit and two matches more.
func (z *Inflater) grow(out []byte) []byte {
	want := max(2*cap(out), len(out)+maxMatch+64, 512)
	if most := z.limits.Max + 2*maxMatch; z.limits.Max > 0 && want+want/4 > most {
		want = max(most, len(out)+maxMatch+1)
	}
	bigger := make([]byte, len(out), want)
	copy(bigger, out)
	return bigger
}

// unread gives the whole bytes that were read ahead back to z.in, the end of p.
func (z *Inflater) unread(p []byte) {
	n := min(int(z.held/8), len(p)-len(z.in))
	z.in = p[len(p)-len(z.in)-n:]
	z.held -= uint8(8 * n)
	z.bits &= 1<<z.held - 1
}
