package conn

import (
	"bytes"
	"errors"
	"time"
)

// webWriteWait bounds how long an HTTP client on a loop may take no bytes.
const webWriteWait = 30 * time.Second

// headArrived takes bytes of a connection that is no WebSocket yet.
func (l *loop) headArrived(c *Conn, p []byte) {
	in := c.in
	if in == nil {
		in = l.scratch
	}
	all := p
	if len(in.held) > 0 {
		in.held = append(in.held, p...)
		all = in.held
	}
	if len(all) < in.need || in.stalled {
		return
	}
	l.requests(c, in, all)
}

// requests handles the whole requests at the start of b, which is in.held or
// what was just read, and keeps the rest.
func (l *loop) requests(c *Conn, in *inbound, b []byte) {
	seen := in.seen
	in.seen, in.need, in.stalled = 0, 0, false
	until := time.Duration(0)
	for len(b) > 0 {
		n, next := l.request(c, in, b, seen)
		seen = 0
		switch next {
		case served:
			b = b[n:]
			c.begun, c.bodied = false, false // the time of the next one begins
			if len(b) == 0 || !l.base.enough(&until) {
				continue
			}
			in.behind, in.stalled = true, true
			l.behind.push(c)
		case partial:
			if in.need == 0 { // else the head is there, and is parsed again
				in.seen = len(b)
			}
		case elsewhere:
			// What we answered goes first. A client that does not take it waits.
			l.queueHot(c)
			if l.flush(c); c.spot.slot >= 0 && c.nothingWaits() {
				l.toWeb(c, b)
			}
			if c.spot.slot < 0 {
				return
			}
			in.stalled = true
		case taken:
			l.keepInbound(c, nil)
			return
		}
		break
	}
	l.queueHot(c)
	l.requestTime(c, len(b), in.need)
	if len(b) != len(in.held) { // else it is in.held
		in.held = append(in.held[:0], b...)
	}
	l.keepInbound(c, in)
}

// verdict on the bytes of a request.
type next uint8

const (
	partial   next = iota // more bytes are needed
	served                // answered; the next may follow
	taken                 // an upgrade, or refused: no more requests
	elsewhere             // not ours, nor is anything after it
)

// request looks at one request, of which seen bytes were searched for the end of
// the head. n is the length of one that was served.
func (l *loop) request(c *Conn, in *inbound, b []byte, seen int) (n int, _ next) {
	s := l.base.srv
	isGet := string(b[:min(len(b), len(getPrefix))]) == getPrefix[:min(len(b), len(getPrefix))]
	hot, undecided := l.hotLine(b)
	switch {
	case !isGet && !hot && !undecided:
		return 0, elsewhere
	case !isGet && undecided:
		return 0, partial
	}
	end, err := headEnd(b, seen, s.head)
	if err == nil && end == 0 {
		return 0, partial
	}
	h := &l.hotHead
	switch {
	case err != nil:
	case hot:
		err = h.parse(view(b[:end]), s.head)
	default:
		h = &head{} // an upgrade keeps it
		err = h.parse(string(b[:end]), s.head)
	}
	switch {
	case err != nil && !isGet:
		return 0, elsewhere // net/http has the last word on what we do not serve
	case err != nil:
		l.queueHot(c)
		l.turnAway(c, err)
		return 0, taken
	case h.isUpgrade():
		if hot {
			h = h.clone()
		}
		l.queueHot(c)
		l.upgrade(c, h, b[end:])
		return 0, taken
	case !hot:
		return 0, elsewhere
	}
	return l.serveHot(c, in, b, end)
}

// nothingWaits to be written.
func (c *Conn) nothingWaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out == nil
}

// toWeb hands a connection, and what was read of it, to the http.Server.
func (l *loop) toWeb(c *Conn, unread []byte) {
	s := l.base.srv
	unread = bytes.Clone(unread)
	if c.secure {
		l.handOver(c, nil, unread)
		return
	}
	nc := l.emigrate(c)
	l.base.stats.web.Add(1)
	go s.web.hand(nc, unread, false)
}

// turnAway answers a request whose head was refused, and closes.
func (l *loop) turnAway(c *Conn, err error) {
	l.base.stats.refusals[badHead].Add(1)
	var r *refusal
	if !errors.As(err, &r) {
		l.drop(c)
		return
	}
	l.reject(c, r)
}

func (l *loop) reject(c *Conn, r *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer(r.response())
}

// upgrade asks Config.Upgrade, here on the loop. Whoever decides it later posts
// the connection.
func (l *loop) upgrade(c *Conn, h *head, early []byte) {
	u, err := l.base.srv.newUpgrade(c, h, early)
	if err != nil {
		var r *refusal
		if errors.As(err, &r) {
			l.reject(c, r)
		}
		return
	}
	c.mu.Lock()
	c.state, c.up, c.due = upgrading, u, 0
	c.mu.Unlock()
	u.decide()
}
