package conn

import (
	"math"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

// reasonNoStatus is AWS's text for a client's close frame without a code
// (reference: integration requests page).
const reasonNoStatus = "Client-side close frame status not set"

// The close handshake (RFC 6455 §7.1). Whoever leaves state open first sets the
// outcome: a crossing close changes nothing any more.
//
//	peer's close frame   echo it, half-close, drop what comes, close
//	own Close            our frame after everything queued; then the peer's frame,
//	                     or CloseWait; close
//	broken rule          our frame, half-close, drop what comes, close
//	socket lost          close
//
// Dropping what comes matters: closing a socket with unread bytes resets it, and
// the reset can overtake the close frame that says why.

// Close starts the close handshake after everything queued. It returns at once
// and is idempotent. OnClose will report code and reason, unless the connection
// ended otherwise before. A code that may not be sent (1005, 1006) closes
// without one.
func (c *Conn) Close(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case upgrading:
		c.up.doomed = true
	case open:
		c.leave(code, reason)
	}
}

// leave ends state open with a close frame. Needs mu.
func (c *Conn) leave(code int, reason string) {
	c.setOutcome(code, reason)
	c.state = closing
	payload := frame.AppendClose(make([]byte, 0, frame.MaxControl), code, reason)
	c.queue().push(frame.Append(nil, frame.Close, payload), final)
	c.arm(c.limits.WriteWait)
	c.via.ready(c, prompt)
}

// setOutcome fixes what OnClose will report. Needs mu and state open.
func (c *Conn) setOutcome(code int, reason string) {
	c.end = &ending{code: code, reason: reason}
	c.shut.Store(true)
}

// fail closes because the peer broke a rule (§7.1.7): nothing more of what it
// sends is looked at.
func (c *Conn) fail(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerDone = true
	c.answered = c.flushed
	if c.state == open {
		c.leave(code, reason)
	}
}

// peerClosed acts on the peer's close frame: the first is echoed (§5.5.1).
func (c *Conn) peerClosed(code int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peerDone = true
	c.answered = c.flushed
	if c.state != open {
		return
	}
	c.leave(code, "") // the echo carries the code, not the reason
	if code == frame.CodeNoStatus {
		reason = reasonNoStatus
	}
	c.end.reason = reason
}

// lost acts on a socket that failed or ended without a close frame.
func (c *Conn) lost() {
	c.mu.Lock()
	c.lostLocked()
	c.mu.Unlock()
	c.via.hangUp(c)
}

// lostLocked needs mu; hangUp must follow.
func (c *Conn) lostLocked() {
	if c.state == open {
		c.setOutcome(frame.CodeAbnormal, "")
	}
	c.state = closed
	c.via.ready(c, prompt)
}

// cut ends a connection without ceremony: Shutdown's time is over.
func (c *Conn) cut() {
	c.mu.Lock()
	if c.state == upgrading {
		c.up.abandon()
	}
	c.lostLocked()
	c.mu.Unlock()
	c.via.hangUp(c)
}

// lastWordsLeft runs when the close frame, or the refusal, was written. Needs mu.
func (c *Conn) lastWordsLeft() {
	c.flushed = true
	if c.state != closed {
		c.arm(c.limits.CloseWait)
	}
	c.via.ready(c, prompt)
}

// arm makes the state end in d real time unless something else ends it. Needs mu.
func (c *Conn) arm(d time.Duration) { c.due = after(c.srv().since(), d) }

// after is at + d, for a d that may be as good as for ever.
func after(at, d time.Duration) time.Duration {
	if sum := at + d; sum >= at {
		return sum
	}
	return math.MaxInt64
}

// expire enforces whatever the state waits for, when it is time. lost asks the
// caller to call hangUp. Otherwise c.due says when to look again. Activity does
// not touch timers: they look, when they fire, whether there was some. Needs mu.
func (c *Conn) expire(now time.Duration) (lost bool) {
	switch {
	case c.state == closed || c.due == 0 || c.due > now:
		return false
	case c.state != open:
		c.lostLocked()
		return true
	}
	what := c.nextLimit(now)
	if c.due > now || c.due == 0 {
		return false
	}
	switch what {
	case limitEnd:
		c.leave(frame.CodeGoingAway, reasonGoingAway)
	case limitAsk:
		c.pinged = now
		c.sendPing()
		c.nextLimit(now)
	case limitSilent:
		c.stats().heartbeats.Add(1)
		c.lostLocked()
		return true
	}
	return false
}

// limit is what may end an open connection.
type limit uint8

const (
	limitEnd    limit = iota // idle or lifetime
	limitAsk                 // time for a ping
	limitSilent              // the ping found nobody
)

// nextLimit sets c.due to when the next limit is reached, 0 for never, and says
// which. Needs mu and state open.
func (c *Conn) nextLimit(now time.Duration) (what limit) {
	clock := c.srv().cfg.Clock
	c.due = 0
	earlier := func(at time.Duration, w limit) {
		if c.due == 0 || at < c.due {
			c.due, what = max(at, 1), w
		}
	}
	if l := c.limits.Idle; l > 0 {
		earlier(after(time.Duration(c.active.Load()), clock.Real(l)), limitEnd)
	}
	if l := c.limits.Lifetime; l > 0 {
		earlier(after(c.opened, clock.Real(l)), limitEnd)
	}
	if hb := c.limits.Heartbeat; hb.Every > 0 {
		heard := time.Duration(c.heard.Load())
		switch {
		case c.paused.Load() || c.out != nil && c.out.blocked:
			c.pinged = 0
			earlier(after(now, hb.Every), limitAsk)
		case c.pinged == 0 || heard >= c.pinged:
			c.pinged = 0
			earlier(after(heard, hb.Every), limitAsk)
		default:
			earlier(after(c.pinged, hb.Wait), limitSilent)
		}
	}
	return what
}
