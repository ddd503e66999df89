package conn

import (
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
		c.doomed = true
	case open:
		c.leave(code, reason)
	}
}

// leave ends state open with a close frame. Needs mu.
func (c *Conn) leave(code int, reason string) {
	c.setOutcome(code, reason)
	c.state = closing
	payload := frame.AppendClose(nil, code, reason)
	c.out.final = frame.Append(nil, frame.Close, payload)
	c.arm(c.limits.WriteWait)
	c.startDrain()
	c.wakeReader()
}

// setOutcome fixes what OnClose will report. Needs mu and state open.
func (c *Conn) setOutcome(code int, reason string) {
	c.code, c.reason = code, reason
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
	c.reason = reason
}

// lost acts on a socket that failed or ended without a close frame.
func (c *Conn) lost() {
	c.mu.Lock()
	if c.state == open {
		c.setOutcome(frame.CodeAbnormal, "")
	}
	c.state = closed
	c.wakeReader()
	c.mu.Unlock()
	c.nc.Close()
}

// cut ends a connection without ceremony: Shutdown's time is over.
func (c *Conn) cut() {
	c.mu.Lock()
	c.gone(ErrGone)
	c.mu.Unlock()
	c.lost()
}

// gone tells Config.Upgrade that its client is no more. Needs mu.
func (c *Conn) gone(cause error) {
	if c.cancel != nil && c.handler == nil {
		c.cancel(cause)
	}
}

// lastWordsLeft runs when the close frame, or the refusal, was written.
func (c *Conn) lastWordsLeft() {
	c.mu.Lock()
	c.out.writing = false
	c.flushed = true
	c.wakeReader()
	done := c.peerDone
	if c.state != closed {
		c.arm(c.limits.CloseWait)
	}
	c.mu.Unlock()
	if done && !halfClose(c.nc) {
		c.lost()
	}
}

// linger drops what the peer still sends until it closes, too, or the timer or
// the bound ends its time. When our close frame left before the peer's came,
// there is nothing to wait for: the server closes first (§7.1.1).
func (c *Conn) linger(buf []byte) {
	c.mu.Lock()
	bothDone := c.answered
	c.mu.Unlock()
	for left := lingerBytes; !bothDone && left > 0; {
		n, err := c.nc.Read(buf)
		if err != nil {
			break
		}
		left -= n
	}
	c.waitFlushed()
	c.lost()
}

// waitFlushed waits for our last words to leave, or to be given up on. A peer
// that sends its close frame and FIN together would otherwise see no answer.
func (c *Conn) waitFlushed() {
	for {
		c.mu.Lock()
		if c.flushed || c.state == closed {
			c.mu.Unlock()
			return
		}
		wake := c.wakeChan()
		c.mu.Unlock()
		<-wake
	}
}

// arm sets the connection's one timer to fire in d real time. Needs mu.
func (c *Conn) arm(d time.Duration) {
	c.due = c.srv.since() + d
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.onTimer)
		return
	}
	c.timer.Reset(d)
}

func (c *Conn) stopTimer() {
	c.mu.Lock()
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
}

// onTimer enforces whatever the state waits for. The timer is not touched by
// messages: it looks when it fires whether there was activity, and sleeps for
// the rest.
func (c *Conn) onTimer() {
	c.mu.Lock()
	now := c.srv.since()
	if early := c.due - now; early > 0 { // re-armed while this call was starting
		c.timer.Reset(early)
		c.mu.Unlock()
		return
	}
	switch c.state {
	case open:
		d, ok := c.nextLimit(now)
		switch {
		case ok && d > 0:
			c.arm(d)
		case ok:
			c.leave(frame.CodeGoingAway, reasonGoingAway)
		}
		c.mu.Unlock()
	case closed:
		c.mu.Unlock()
	default:
		c.mu.Unlock()
		c.lost()
	}
}

// nextLimit is the real time until idle or lifetime ends the connection, 0 or
// less when one has; ok is false when neither is on.
func (c *Conn) nextLimit(now time.Duration) (d time.Duration, ok bool) {
	clock := c.srv.cfg.Clock
	if c.limits.Idle > 0 {
		d, ok = time.Duration(c.active.Load())+clock.Real(c.limits.Idle)-now, true
	}
	if c.limits.Lifetime > 0 {
		left := c.opened + clock.Real(c.limits.Lifetime) - now
		if !ok || left < d {
			d, ok = left, true
		}
	}
	return d, ok
}
