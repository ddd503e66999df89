package conn

import (
	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

// Send queues one text message. It copies text, which must be UTF-8, and never
// blocks: ErrQueueFull when Limits.SendItems or SendBytes is reached (see
// Limits.Overflow for what else may happen then), ErrClosed once the close has
// begun. Messages leave in order, as many per write as are waiting.
func (c *Conn) Send(text []byte) error {
	if c.agreed != 0 && len(text) >= frame.MinCompressed && c.agreed&late == 0 {
		return c.sendCompressed(text)
	}
	size := frame.HeaderSize(len(text)) + len(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.admit(size, "")
	if err != nil {
		return err
	}
	g := o.space(c.srv(), size)
	g.b = frame.Append(g.b, frame.Text, text)
	c.queued(o, g, size, prompt)
	return nil
}

// SendPrepared queues a message that many connections share. Like Send it never
// blocks, and keeps the order.
func (c *Conn) SendPrepared(p *frame.Prepared) error {
	b := c.encoded(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.admit(len(b), p.Key)
	if err != nil {
		return err
	}
	o.segs = append(o.segs, segment{b: b, p: p})
	c.queued(o, &o.segs[len(o.segs)-1], len(b), fanned)
	return nil
}

// admit finds room for a message of size bytes. Needs mu.
func (c *Conn) admit(size int, key string) (*outbound, error) {
	if c.state != open {
		return nil, ErrClosed
	}
	o := c.queue()
	if verdict := o.budget.Take(size); verdict != bound.Accepted && !c.makeRoom(o, verdict, size, key) {
		c.releaseQueue()
		return nil, ErrQueueFull
	}
	return o, nil
}

// makeRoom applies Limits.Overflow. true: room for size bytes was taken after
// all. Needs mu.
func (c *Conn) makeRoom(o *outbound, verdict bound.Verdict, size int, key string) bool {
	st := &c.stats().overflows
	policy := c.limits.Overflow
	switch {
	case verdict == bound.TooBig:
	case policy == bound.Close:
		st[bound.Close].Add(1)
		o.dropQueued(c.srv())
		c.leave(c.limits.OverflowCode, "Slow consumer")
		return false
	case policy == bound.DropOldest:
		for o.dropOldest(c.srv()) {
			st[bound.DropOldest].Add(1)
			if o.budget.Take(size) == bound.Accepted {
				return true
			}
		}
	case policy == bound.Coalesce && key != "":
		n := o.dropKey(c.srv(), key)
		st[bound.Coalesce].Add(uint64(n))
		if n > 0 && o.budget.Take(size) == bound.Accepted {
			return true
		}
	}
	st[bound.Refuse].Add(1)
	return false
}

// queued accounts for a message that g has now. A socket that takes nothing is
// not written to again before it does. Needs mu.
func (c *Conn) queued(o *outbound, g *segment, size int, how urgency) {
	g.items++
	g.size += size
	o.pending += size
	st := c.stats()
	st.messagesOut.Add(1)
	st.bytesOut.Add(uint64(size))
	if !o.blocked {
		c.via.ready(c, how)
	}
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
	o := c.queue()
	if o.nPongs < maxPongs && o.pong == nil && o.budget.Size() <= batchSize {
		size := frame.HeaderSize(len(payload)) + len(payload)
		o.nPongs++
		o.pending += size
		g := o.space(c.srv(), size)
		g.b = frame.Append(g.b, frame.Pong, payload)
	} else {
		o.pong = frame.Append(o.pong[:0], frame.Pong, payload)
	}
	c.via.ready(c, prompt)
}

// sendPing asks a peer that has been silent whether it is there. Needs mu.
func (c *Conn) sendPing() {
	o := c.queue()
	g := o.space(c.srv(), frame.HeaderSize(0))
	g.b = frame.Append(g.b, frame.Ping, nil)
	o.pending += frame.HeaderSize(0)
	c.via.ready(c, prompt)
}
