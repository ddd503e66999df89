package conn

import (
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

const (
	chunkSize = 4 << 10  // pooled buffers: reads, and small frames waiting to leave
	batchSize = 64 << 10 // bytes of one write
	maxBatch  = 1024     // buffers of one write
)

type chunk = [chunkSize]byte

// segment is one or more whole frames, contiguous.
type segment struct {
	b     []byte          // what has not left yet
	p     *frame.Prepared // b is its frame, shared with others
	chunk *chunk          // what b lives in, when pooled
	size  int             // bytes of its messages, for the budget, and
	items int32           // their number; control frames are not counted
	kind  kind
}

type kind uint8

const (
	messages kind = iota // and pongs among them
	control
	lead  // the 101, or a response: nothing overtakes it
	final // the close frame or the refusal: nothing follows it
)

// outbound is what waits to be written, in the order in which it leaves. It
// exists only while something waits, and is guarded by the connection's mutex.
type outbound struct {
	budget  bound.Budget
	segs    []segment
	head    int    // segs before it have left
	busy    int    // segments from head on that are being written: hands off
	begun   bool   // part of segs[head] has left
	blocked bool   // the socket takes no more for now
	ended   bool   // final is in segs
	nPongs  int    // in segs, since the last write
	pong    []byte // the latest pong, when it does not wait in segs
	pending int    // bytes in segs

	moved  time.Duration // blocked, on a loop: when bytes last left
	unsent int           // bytes that the peer had not acknowledged then

	room [4]segment
}

func (o *outbound) empty() bool { return o.head == len(o.segs) && o.pong == nil }

// queue is the connection's outbound, made when it has none. Needs mu.
func (c *Conn) queue() *outbound {
	if c.out == nil {
		o, ok := c.srv().outs.Get().(*outbound)
		if !ok {
			o = &outbound{}
			o.segs = o.room[:0]
		}
		if c.limits != nil {
			o.budget.Items, o.budget.Bytes = c.limits.SendItems, c.limits.SendBytes
		}
		c.out = o
	}
	return c.out
}

// releaseQueue gives an outbound of which nothing waits back. Needs mu.
func (c *Conn) releaseQueue() {
	o := c.out
	if o == nil || !o.empty() || o.busy > 0 {
		return
	}
	c.out = nil
	if cap(o.segs) > 64 {
		o.segs = o.room[:0]
	}
	*o = outbound{segs: o.segs[:0]}
	c.srv().outs.Put(o)
}

// discardQueue drops what waits, for a socket that is closed. Needs mu.
func (c *Conn) discardQueue() {
	if c.out == nil || c.out.busy > 0 {
		return
	}
	c.out.drop(c.srv(), c.out.head, len(c.out.segs))
	c.out.pong = nil
	c.releaseQueue()
}

// space is a segment that size more bytes fit into.
func (o *outbound) space(s *Server, size int) *segment {
	if n := len(o.segs); n > o.head {
		if g := &o.segs[n-1]; g.kind == messages && g.p == nil && cap(g.b)-len(g.b) >= size {
			return g
		}
	}
	var g segment
	if size <= chunkSize {
		g.chunk = s.takeChunk()
		g.b = g.chunk[:0]
	} else {
		g.b = make([]byte, 0, size)
	}
	o.segs = append(o.segs, g)
	return &o.segs[len(o.segs)-1]
}

// push appends bytes that are no message: a lead or a final segment. b is kept.
func (o *outbound) push(b []byte, k kind) {
	o.segs = append(o.segs, segment{b: b, kind: k})
	o.pending += len(b)
	o.ended = o.ended || k == final
}

// take lists what to write next: at most most bytes unless the first segment is
// larger. It must be answered by wrote.
func (o *outbound) take(dst [][]byte, most int) (batch [][]byte, total int) {
	o.placePong(most)
	batch = dst
	for i := o.head; i < len(o.segs) && len(batch) < maxBatch; i++ {
		n := len(o.segs[i].b)
		if total > 0 && total+n > most {
			break
		}
		batch = append(batch, o.segs[i].b)
		total += n
	}
	o.busy = len(batch)
	o.nPongs = 0
	return batch, total
}

// placePong lines up the latest pong: at the end when everything leaves now;
// before a longer queue, which a slow reader would otherwise have to get through
// before it sees that we live.
func (o *outbound) placePong(most int) {
	if o.pong == nil {
		return
	}
	at := len(o.segs)
	if o.ended {
		at--
	}
	if o.pending > most {
		at = o.head
		for at < len(o.segs) && (o.segs[at].kind == lead || at == o.head && o.begun) {
			at++
		}
	}
	o.segs = append(o.segs, segment{})
	copy(o.segs[at+1:], o.segs[at:])
	o.segs[at] = segment{b: o.pong, kind: control}
	o.pending += len(o.pong)
	o.pong = nil
}

// wrote says that n bytes of the batch have left. over: the final segment was
// among them.
func (o *outbound) wrote(s *Server, n int) (over bool) {
	o.busy = 0
	o.pending -= n
	for n > 0 {
		g := &o.segs[o.head]
		if n < len(g.b) {
			g.b = g.b[n:]
			o.begun = true
			break
		}
		n -= len(g.b)
		over = over || g.kind == final
		o.begun = false
		o.free(s, g)
		o.head++
	}
	switch {
	case o.head == len(o.segs):
		o.segs, o.head = o.segs[:0], 0
	case o.head >= 64 && o.head > len(o.segs)/2:
		rest := copy(o.segs, o.segs[o.head:])
		clear(o.segs[rest:])
		o.segs, o.head = o.segs[:rest], 0
	}
	return over
}

// free returns what a segment holds.
func (o *outbound) free(s *Server, g *segment) {
	o.budget.Give(int(g.items), g.size)
	if g.chunk != nil {
		s.giveChunk(g.chunk)
	}
	*g = segment{}
}

// drop removes segments.
func (o *outbound) drop(s *Server, from, to int) {
	for i := from; i < to; i++ {
		o.pending -= len(o.segs[i].b)
		o.free(s, &o.segs[i])
	}
	rest := from + copy(o.segs[from:], o.segs[to:])
	clear(o.segs[rest:])
	o.segs = o.segs[:rest]
	if rest == o.head {
		o.segs, o.head = o.segs[:0], 0
	}
}

// untouched is the first segment of which nothing has begun to leave.
func (o *outbound) untouched() int {
	at := o.head + o.busy
	if o.busy == 0 && o.begun {
		at++
	}
	return at
}

// dropQueued removes everything of which nothing has begun to leave and returns
// the number of messages.
func (o *outbound) dropQueued(s *Server) (n int) {
	at := o.untouched()
	for at < len(o.segs) && o.segs[at].kind == lead {
		at++
	}
	for i := at; i < len(o.segs); i++ {
		n += int(o.segs[i].items)
	}
	o.pong = nil
	if at < len(o.segs) {
		o.drop(s, at, len(o.segs))
	}
	return n
}

// dropOldest removes the oldest message of which nothing has begun to leave.
func (o *outbound) dropOldest(s *Server) bool {
	for i := o.untouched(); i < len(o.segs); i++ {
		switch g := &o.segs[i]; {
		case g.kind != messages || g.items == 0:
		case g.p != nil:
			o.drop(s, i, i+1)
			return true
		default:
			o.dropFirst(g)
			if len(g.b) == 0 {
				o.drop(s, i, i+1)
			}
			return true
		}
	}
	return false
}

// dropFirst removes the first message of a segment that may hold several. A pong
// before it is left out, too, unless it is the latest: only that one is owed
// (RFC 6455 §5.5.3).
func (o *outbound) dropFirst(g *segment) {
	for {
		h, n, err := frame.Parse(g.b, frame.FromServer, frame.Rsv1)
		if err != nil || n == 0 {
			return // cannot be: these are our own frames
		}
		size := n + int(h.Length)
		if h.Opcode == frame.Pong && o.pong == nil {
			o.pong = append([]byte(nil), g.b[:size]...)
		}
		g.b = g.b[size:]
		o.pending -= size
		if !h.Opcode.Control() {
			g.items--
			g.size -= size
			o.budget.Give(1, size)
			return
		}
	}
}

// dropKey removes the messages with a key of which nothing has begun to leave.
func (o *outbound) dropKey(s *Server, key string) (n int) {
	to := o.untouched()
	for i := to; i < len(o.segs); i++ {
		g := &o.segs[i]
		if g.p != nil && g.p.Key == key {
			o.pending -= len(g.b)
			o.free(s, g)
			n++
			continue
		}
		if to != i {
			o.segs[to] = *g
		}
		to++
	}
	if to < len(o.segs) {
		clear(o.segs[to:])
		o.segs = o.segs[:to]
	}
	return n
}

// takeChunk and giveChunk are the server's buffer pool.
func (s *Server) takeChunk() *chunk {
	if b, ok := s.chunks.Get().(*chunk); ok {
		return b
	}
	return new(chunk)
}

func (s *Server) giveChunk(b *chunk) { s.chunks.Put(b) }
