package conn

// Frames on a loop, and what is kept of a connection between two turns.

// framesArrived feeds the protocol. What is left partial is kept.
func (l *loop) framesArrived(c *Conn, p []byte) {
	in := c.in
	if in == nil {
		in = l.scratch
	}
	if len(in.held) > 0 { // these come first
		in.held = append(in.held, p...)
		l.keepInbound(c, in)
		return
	}
	rest, ok := c.feed(in, p)
	if len(rest) > 0 {
		if in.behind && len(rest) > keepCap && cap(in.held) < readSize {
			in.held = l.spare()
		}
		in.held = append(in.held[:0], rest...)
	}
	l.fed(c, in, ok)
}

// heldArrived feeds what waits. It stays where it is: a connection that pauses
// after every message would otherwise have the rest copied for each.
func (l *loop) heldArrived(c *Conn, in *inbound) {
	rest, ok := c.feed(in, in.held[in.handled:])
	if in.handled = len(in.held) - len(rest); len(rest) == 0 {
		l.giveSpare(in)
	}
	l.fed(c, in, ok)
}

// fed sees to what feed left.
func (l *loop) fed(c *Conn, in *inbound, ok bool) {
	if !ok {
		l.giveSpare(in)
		l.keepInbound(c, nil)
		c.tell()
		return
	}
	if in.behind {
		l.behind.push(c)
	}
	l.keepInbound(c, in)
}

// spare is a buffer for what waits of a whole read.
func (l *loop) spare() []byte {
	if n := len(l.spares); n > 0 {
		b := l.spares[n-1]
		l.spares = l.spares[:n-1]
		return b
	}
	return make([]byte, 0, readSize)
}

// giveSpare empties held, and takes a buffer back that was one of spare.
func (l *loop) giveSpare(in *inbound) {
	in.handled = 0
	if in.held = in.held[:0]; cap(in.held) <= keepCap {
		return
	}
	if cap(in.held) == readSize && len(l.spares) < crowd {
		l.spares = append(l.spares, in.held)
	}
	in.held = nil
}

// keepInbound makes in the state between two reads, or forgets it when nothing
// is partial.
func (l *loop) keepInbound(c *Conn, in *inbound) {
	if in != nil && !in.whole() {
		if in == l.scratch {
			l.scratch = l.spareInbound()
		}
		c.in = in
		return
	}
	if had := c.in; had != nil {
		c.in = nil
		l.giveSpare(had)
		had.reset()
		if len(l.inbounds) < 64 {
			l.inbounds = append(l.inbounds, had)
		}
	} else {
		l.scratch.reset()
	}
}

func (l *loop) spareInbound() *inbound {
	if n := len(l.inbounds); n > 0 {
		in := l.inbounds[n-1]
		l.inbounds = l.inbounds[:n-1]
		return in
	}
	return &inbound{}
}

// catchUpBehind goes on with connections that had had their share of an earlier
// turn, in the order in which they stopped.
func (l *loop) catchUpBehind() {
	for n := l.behind.len(); n > 0 && l.base.inflated < inflateSlice; n-- {
		c := l.behind.pop()
		if c.spot.slot < 0 || c.in == nil || !c.in.behind {
			continue
		}
		c.in.behind = false
		l.attend(c)
		if l.base.srv.since() >= l.base.turn+slice {
			return
		}
	}
}

// catchUp feeds what arrived before the 101, or what a pause held back. false:
// there was nothing.
func (l *loop) catchUp(c *Conn) bool {
	c.mu.Lock()
	st, early := c.state, c.takeEarly()
	c.mu.Unlock()
	switch in := c.in; {
	case st == young && in != nil && in.stalled && !in.behind && !c.stuck:
		c.posted.Store(uint32(prompt))
		l.requests(c, in, in.held)
		return true
	case st == open && len(early) > 0:
		c.posted.Store(uint32(prompt))
		l.framesArrived(c, early)
		return true
	case st != open && st != closing, in == nil, len(in.held) == 0, in.behind, c.halted():
		return false
	default:
		c.posted.Store(uint32(prompt))
		l.heldArrived(c, in)
		return true
	}
}
