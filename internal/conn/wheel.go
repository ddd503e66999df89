package conn

import (
	"math"
	"math/bits"
	"time"
)

// Timers of a loop's connections. Being exact to a twentieth of a second is
// enough for limits of seconds to hours; a timer never fires early.
const (
	tick        = 50 * time.Millisecond
	wheelLevels = 4 // 3.2 s, 3.4 min, 3.6 h, 9.7 days
	wheelBits   = 6
	wheelSlots  = 1 << wheelBits
)

// spot is where a connection is in its loop's tables. It refers to others by
// their place in the table of connections plus one, so that 0 is nobody: half the
// size of pointers, and nothing for the garbage collector to follow.
type spot struct {
	fd     int32
	slot   int32  // in loop.conns; -1: not there any more
	seq    uint32 // tells this user of slot and fd from earlier ones
	at     uint32 // tick at which the wheel fires; 0: not in the wheel
	next   int32
	prev   int32
	bucket uint16
}

// wheel is a hierarchical timing wheel (Varghese and Lauck, 1987): setting,
// moving and removing a timer takes constant time. A connection is in it at most
// once. The zero value starts at tick 0.
type wheel struct {
	now   uint32 // the last tick that was fired
	used  [wheelLevels]uint64
	heads [wheelLevels * wheelSlots]int32
}

// tickOf is the first tick not before t, which is positive: 6.8 years from now at
// most, where the wheel looks again.
func tickOf(t time.Duration) uint32 { return uint32(min((t-1)/tick+1, math.MaxUint32)) }

// set makes c fire at time t or up to a tick later, unless it fires before that
// anyway.
func (w *wheel) set(conns []*Conn, c *Conn, t time.Duration) {
	at := max(tickOf(t), w.now+1)
	if c.spot.at != 0 {
		if c.spot.at <= at {
			return
		}
		w.remove(conns, c)
	}
	w.insert(conns, c, at)
}

func (w *wheel) insert(conns []*Conn, c *Conn, at uint32) {
	const longest = 1<<(wheelBits*wheelLevels) - 1
	delta := min(at-w.now, longest)
	at = w.now + delta // further away: fires there, and is set again
	level := uint32(0)
	for delta >= 1<<(wheelBits*(level+1)) {
		level++
	}
	i := at >> (wheelBits * level) & (wheelSlots - 1)
	b := level<<wheelBits | i
	s := &c.spot
	s.at, s.bucket, s.prev, s.next = at, uint16(b), 0, w.heads[b]
	if s.next != 0 {
		conns[s.next-1].spot.prev = s.slot + 1
	}
	w.heads[b] = s.slot + 1
	w.used[level] |= 1 << i
}

func (w *wheel) remove(conns []*Conn, c *Conn) {
	s := &c.spot
	if s.at == 0 {
		return
	}
	if s.next != 0 {
		conns[s.next-1].spot.prev = s.prev
	}
	if s.prev != 0 {
		conns[s.prev-1].spot.next = s.next
	} else if w.heads[s.bucket] = s.next; s.next == 0 {
		w.used[s.bucket>>wheelBits] &^= 1 << (s.bucket & (wheelSlots - 1))
	}
	s.at, s.next, s.prev = 0, 0, 0
}

// advance fires everything that is due at time t.
func (w *wheel) advance(conns []*Conn, t time.Duration, fire func(*Conn)) {
	for to := uint32(t / tick); w.now < to; {
		if w.used == [wheelLevels]uint64{} {
			w.now = to
			return
		}
		w.now++
		for level := uint32(1); level < wheelLevels && w.now&(1<<(wheelBits*level)-1) == 0; level++ {
			w.empty(conns, level, func(c *Conn, at uint32) { w.insert(conns, c, max(at, w.now)) })
		}
		w.empty(conns, 0, func(c *Conn, _ uint32) { fire(c) })
	}
}

// empty takes everything out of the bucket of this tick.
func (w *wheel) empty(conns []*Conn, level uint32, to func(c *Conn, at uint32)) {
	b := level<<wheelBits | w.now>>(wheelBits*level)&(wheelSlots-1)
	for w.heads[b] != 0 {
		c := conns[w.heads[b]-1]
		at := c.spot.at
		w.remove(conns, c)
		to(c, at)
	}
}

// next is the time at which advance has something to do; ok is false when there
// is nothing.
func (w *wheel) next() (t time.Duration, ok bool) {
	var first uint32
	for level := range uint32(wheelLevels) {
		if w.used[level] == 0 {
			continue
		}
		turn := w.now>>(wheelBits*level) + 1
		ahead := bits.TrailingZeros64(bits.RotateLeft64(w.used[level], -int(turn&(wheelSlots-1))))
		if at := (turn + uint32(ahead)) << (wheelBits * level); !ok || at < first {
			first, ok = at, true
		}
	}
	return time.Duration(first) * tick, ok
}
