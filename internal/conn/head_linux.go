package conn

import (
	"bytes"
	"errors"
	"net/http"
	"time"
)

// webWriteWait bounds how long an HTTP client on a loop may take no bytes.
const webWriteWait = 30 * time.Second

// headArrived takes bytes of a connection that is no WebSocket yet.
func (l *loop) headArrived(c *Conn, p []byte) {
	in := c.in
	all, seen := p, 0
	if in != nil {
		in.held = append(in.held, p...)
		all, seen = in.held, in.seen
	}
	if all = l.requests(c, all, seen); c.spot.slot < 0 {
		return
	}
	// What is left is part of a request, or, of a peer that is done, nothing.
	if len(all) == 0 {
		l.keepInbound(c, nil)
		return
	}
	if in == nil {
		in = l.spareInbound()
		in.held = append(in.held, all...)
		c.in = in
	} else if len(all) < len(in.held) {
		in.held = append(in.held[:0], all...)
	}
	in.seen = len(all)
}

// requests handles whole requests at the start of b, of which seen bytes were
// searched for the end of the first, and returns the rest. An upgrade, or a
// request that is not ours, ends it.
func (l *loop) requests(c *Conn, b []byte, seen int) (rest []byte) {
	s := l.base.srv
	if m := min(len(b), len(getPrefix)); string(b[:m]) != getPrefix[:m] {
		l.toWeb(c, b)
		return nil
	}
	end, err := headEnd(b, seen, s.head)
	if err != nil {
		l.turnAway(c, err)
		return nil
	}
	if end == 0 {
		return b
	}
	h, err := parseHead(b[:end], s.head)
	switch {
	case err != nil:
		l.turnAway(c, err)
	case !h.isUpgrade():
		l.toWeb(c, b)
	default:
		l.upgrade(c, h, b[end:])
	}
	return nil
}

// toWeb hands a connection, and what was read of it, to the http.Server.
func (l *loop) toWeb(c *Conn, unread []byte) {
	unread = bytes.Clone(unread)
	if c.secure {
		l.handOver(c, nil, unread)
		return
	}
	l.base.stats.web.Add(1)
	nc := l.emigrate(c)
	go l.base.srv.web.hand(nc, unread, false)
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
	if l.leaving {
		l.base.stats.refusals[leaving].Add(1)
		l.reject(c, refuse(http.StatusServiceUnavailable, "Service Unavailable"))
		return
	}
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
	l.keepInbound(c, nil)
	u.decide()
}
