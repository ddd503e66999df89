package conn

import (
	"net"
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

const (
	chunkSize = 4 << 10  // pooled buffers: reads, and small frames waiting to leave
	batchSize = 64 << 10 // bytes of one write
)

var noDeadline time.Time

type chunk = [chunkSize]byte

// segment is one or more whole frames, contiguous.
type segment struct {
	b     []byte
	items int    // messages in it, and
	size  int    // their bytes, for the budget; control frames are not counted
	chunk *chunk // what b lives in, when pooled
}

// outbound is the write side: what waits, in the order in which it leaves.
type outbound struct {
	budget  bound.Budget
	lead    []byte // the 101
	segs    []segment
	nPongs  int    // in segs
	pong    []byte // the latest pong, when it does not wait in segs
	final   []byte // the close frame or the refusal: nothing follows
	writing bool   // the drain goroutine runs

	due time.Duration // write deadline on the socket, owned by the drain goroutine
}

// Send queues one text message. It copies text, which must be UTF-8, and never
// blocks: ErrQueueFull when Limits.SendItems or SendBytes is reached, ErrClosed
// once the close has begun. Messages leave in order, as many per write as are
// waiting.
func (c *Conn) Send(text []byte) error {
	size := frame.HeaderSize(len(text)) + len(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return ErrClosed
	}
	if c.out.budget.Take(size) != bound.Accepted {
		return ErrQueueFull
	}
	s := c.room(size)
	s.b = frame.Append(s.b, frame.Text, text)
	s.items++
	s.size += size
	c.startDrain()
	return nil
}

// SendPrepared queues a message that many connections share. Like Send it never
// blocks, and keeps the order.
func (c *Conn) SendPrepared(p *frame.Prepared) error {
	b := p.Plain()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return ErrClosed
	}
	if c.out.budget.Take(len(b)) != bound.Accepted {
		return ErrQueueFull
	}
	s := c.room(len(b))
	s.b = append(s.b, b...)
	s.items++
	s.size += len(b)
	c.startDrain()
	return nil
}

// room is a segment that size more bytes fit into. Needs mu.
func (c *Conn) room(size int) *segment {
	segs := c.out.segs
	if n := len(segs); n > 0 && cap(segs[n-1].b)-len(segs[n-1].b) >= size {
		return &segs[n-1]
	}
	var s segment
	if size <= chunkSize {
		s.chunk = c.srv.takeChunk()
		s.b = s.chunk[:0]
	} else {
		s.b = make([]byte, 0, size)
	}
	c.out.segs = append(segs, s)
	return &c.out.segs[len(c.out.segs)-1]
}

// sendPong answers a ping, in its turn among the messages while few bytes wait.
// Behind a long queue, or under a flood of pings, only the latest is answered
// (RFC 6455 §5.5.3), so the memory for pongs is bounded; behind a long queue it
// overtakes the messages, or a slow reader would seem dead to itself.
func (c *Conn) sendPong(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return
	}
	o := &c.out
	if o.nPongs < maxPongs && o.pong == nil && o.budget.Size() <= batchSize {
		o.nPongs++
		s := c.room(frame.HeaderSize(len(payload)) + len(payload))
		s.b = frame.Append(s.b, frame.Pong, payload)
	} else {
		o.pong = frame.Append(o.pong[:0], frame.Pong, payload)
	}
	c.startDrain()
}

// startDrain makes sure that a goroutine writes what is queued. Needs mu.
func (c *Conn) startDrain() {
	if !c.out.writing && c.state != closed {
		c.out.writing = true
		go c.drainFn()
	}
}

// take moves the next batch into b: at most batchSize bytes unless one segment
// is larger. last says that the final frame is in it. Needs mu.
func (o *outbound) take(b []segment) (batch []segment, last bool) {
	if o.lead != nil {
		b, o.lead = append(b, segment{b: o.lead}), nil
	}
	n, size := 0, 0
	for n < len(o.segs) && (n == 0 || size+len(o.segs[n].b) <= batchSize) {
		size += len(o.segs[n].b)
		n++
	}
	overtake := o.pong != nil && n < len(o.segs)
	if overtake {
		b, o.pong = append(b, segment{b: o.pong}), nil
	}
	b = append(b, o.segs[:n]...)
	if o.pong != nil {
		b, o.pong = append(b, segment{b: o.pong}), nil
	}
	o.nPongs = 0
	rest := copy(o.segs, o.segs[n:])
	clear(o.segs[rest:])
	o.segs = o.segs[:rest]
	if rest == 0 && cap(o.segs) > 4 {
		o.segs = nil
	}
	if rest == 0 && o.final != nil {
		b, o.final, last = append(b, segment{b: o.final}), nil, true
	}
	return b, last
}

// drain writes until nothing is queued, then ends: an idle connection has no
// writer.
func (c *Conn) drain() {
	var local [4]segment
	batch := local[:0]
	for {
		c.mu.Lock()
		for i := range batch {
			if batch[i].items > 0 {
				c.out.budget.Give(batch[i].items, batch[i].size)
			}
			if batch[i].chunk != nil {
				c.srv.giveChunk(batch[i].chunk)
			}
		}
		clear(batch)
		var last bool
		batch, last = c.out.take(batch[:0])
		if len(batch) == 0 || c.state == closed {
			c.out.writing = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if err := c.write(batch); err != nil {
			c.lost()
			return
		}
		if last {
			c.lastWordsLeft()
			return
		}
	}
}

// write writes a batch in one call where it can. The deadline is on 64 KiB, not
// on the queue: a slow reader that does read is left alone.
func (c *Conn) write(batch []segment) error {
	if len(batch) > 1 {
		bufs := make(net.Buffers, len(batch))
		for i := range batch {
			bufs[i] = batch[i].b
		}
		c.extendDeadline()
		_, err := bufs.WriteTo(c.nc)
		return err
	}
	for b := batch[0].b; len(b) > 0; {
		n := min(len(b), batchSize)
		c.extendDeadline()
		if _, err := c.nc.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// extendDeadline leaves the write at least WriteWait, at most half more. It is
// not set anew for every write: that would cost a timer each.
func (c *Conn) extendDeadline() {
	wait := c.limits.WriteWait
	now := c.srv.since()
	if c.out.due-now < wait {
		c.out.due = now + wait + wait/2
		_ = c.nc.SetWriteDeadline(c.srv.base.Add(c.out.due))
	}
}

// takeChunk and giveChunk are the server's buffer pool.
func (s *Server) takeChunk() *chunk {
	if b, ok := s.chunks.Get().(*chunk); ok {
		return b
	}
	return new(chunk)
}

func (s *Server) giveChunk(b *chunk) { s.chunks.Put(b) }
