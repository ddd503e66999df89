package conn

import (
	"golang.org/x/sys/unix"
)

// flushCoded is flush for a connection whose bytes leave in another form than
// they are queued in. They are coded as late as possible: what is coded, sealed
// above all, has to leave, while what is queued may still be dropped by
// Limits.Overflow. Coded bytes that the socket did not take lie in spill; what
// they stand for stays in the queue, and in its budget, until they have left.
//
// It needs c.mu, and releases it.
func (l *loop) flushCoded(c *Conn) {
	t := c.coding
	if c.state == closed || c.out == nil && len(t.spill) == 0 {
		c.mu.Unlock()
		return
	}
	o := c.queue()
	if o.blocked {
		c.mu.Unlock()
		return
	}
	for written := 0; ; {
		b, spilled := t.spill, true
		if len(b) == 0 {
			if o.empty() {
				break
			}
			if written > flushSize { // others are waiting, too
				l.ready(c, fanned)
				break
			}
			spilled = false
			var err error
			if b, err = l.code(c, o); err != nil {
				l.flushFailed(c, o)
				return
			}
		}
		l.base.stats.writes.Add(1)
		c.mu.Unlock()
		n, errno := errnoOf(writeNow(c.spot.fd, b))
		c.mu.Lock()
		if errno != 0 && errno != unix.EAGAIN {
			l.flushFailed(c, o)
			return
		}
		written += n
		switch {
		case !spilled && n < len(b):
			t.spill = append([]byte(nil), b[n:]...)
		case spilled:
			if t.spill = t.spill[n:]; len(t.spill) == 0 {
				t.spill = nil
			}
		}
		if n < len(b) {
			o.busy = max(o.busy, 1) // keeps the queue, which says that it is blocked
			l.blocked(c, o)
			break
		}
		if len(t.spill) > 0 { // the handshake added some
			continue
		}
		t.answers = false
		over := o.wrote(l.base.srv, t.owed)
		t.owed = 0
		if over {
			l.lastCoded(c)
			break
		}
	}
	if len(t.spill) == 0 {
		c.releaseQueue()
	}
	c.mu.Unlock()
}

// code takes a batch off the queue and codes it. It needs c.mu, which it releases
// meanwhile.
func (l *loop) code(c *Conn, o *outbound) (b []byte, err error) {
	t := c.coding
	batch, total := o.take(l.batch[:0], batchSize)
	l.batch = batch
	if t.sent == nil && len(batch) == 1 && total > batchSize {
		batch[0] = batch[0][:batchSize] // the rest in its turn
		total = batchSize
	}
	if t.sent != nil {
		l.sources = o.sources(l.sources[:0])
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	t.owed = total
	if t.sent != nil {
		l.packed = appendLate(l.packed[:0], batch, l.sources, c.agreed.dialect(), t.sent)
		clear(l.sources)
		b = l.packed
		batch = append(l.batch[:0], b)
		if cap(l.packed) > maxScratch {
			l.packed = nil
		}
	}
	if t.tls != nil {
		b, err = t.tls.seal(l.coded[:0], &l.record, batch...)
		if l.coded = b[:0]; cap(b) > maxScratch {
			l.coded = nil
		}
	}
	return b, err
}

// flushFailed drops a connection that cannot be written to. It needs c.mu, and
// releases it.
func (l *loop) flushFailed(c *Conn, o *outbound) {
	o.busy = 0
	c.lostLocked()
	c.mu.Unlock()
	l.drop(c)
}

// lastCoded is lastWords with TLS's own. Needs mu.
func (l *loop) lastCoded(c *Conn) {
	if t := c.coding; t.tls != nil && c.peerDone {
		_ = writeSome(c.spot.fd, t.tls.closeNotify(l.coded[:0])) // the queue has just left: there is room
	}
	l.lastWords(c)
}
