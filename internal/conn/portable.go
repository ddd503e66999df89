package conn

import (
	"net"
	"time"
)

// routine carries one connection on the portable engine: a goroutine that reads,
// one that writes while something is queued, and a timer.
type routine struct {
	// static
	c       *Conn
	srv     *Server
	nc      net.Conn
	socket  *patient // underneath, or nc itself
	drainFn func()   // r.drain, bound once so that starting it costs no allocation

	// owned by the read goroutine
	in inbound

	// guarded by c.mu
	writing bool          // the drain goroutine runs
	nudged  bool          // the read goroutine has a read deadline to clear
	wake    chan struct{} // closed to wake a waiting reader
	timer   *time.Timer
	armed   time.Duration // when it fires, since srv.base
}

var noDeadline time.Time

func newRoutine(s *Server, nc net.Conn, secure bool) *routine {
	r := &routine{srv: s}
	r.nc, r.socket = patienceOf(nc)
	r.drainFn = r.drain
	r.c = &Conn{via: r, in: &r.in, remote: remoteOf(nc), secure: secure, state: upgrading}
	return r
}

func (r *routine) home() *home { return &r.srv.here }

// ready starts the writer, wakes the reader, and sets the timer.
func (r *routine) ready(c *Conn, _ urgency) {
	if !r.writing && c.state != closed && c.out != nil && !c.out.empty() {
		r.writing = true
		go r.drainFn()
	}
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
	r.nudge()
	r.setTimer()
}

// nudge makes the read goroutine look up from its Read, which may have begun
// before the state changed. Only needed when bytes wait that it has read
// already. Needs mu.
func (r *routine) nudge() {
	if up := r.c.up; up != nil && r.c.state != upgrading && len(up.early) > 0 && !r.nudged {
		r.nudged = true
		_ = r.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (r *routine) hangUp(*Conn) { r.nc.Close() }

// setTimer follows c.due. Needs mu.
func (r *routine) setTimer() {
	c := r.c
	if c.due == r.armed || c.state == closed {
		return
	}
	r.armed = c.due
	switch d := c.due - r.srv.since(); {
	case c.due == 0:
		r.timer.Stop()
	case r.timer == nil:
		r.timer = time.AfterFunc(d, r.onTimer)
	default:
		r.timer.Reset(d)
	}
}

func (r *routine) onTimer() {
	c := r.c
	c.mu.Lock()
	now := r.srv.since()
	if early := c.due - now; early > 0 { // re-armed while this call was starting
		r.timer.Reset(early)
		c.mu.Unlock()
		return
	}
	lost := c.expire(now)
	r.setTimer()
	c.mu.Unlock()
	if lost {
		c.via.hangUp(c)
	}
}

func (r *routine) stopTimer() {
	r.c.mu.Lock()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.c.mu.Unlock()
}

// wait returns a channel that the next ready closes. Needs mu.
func (r *routine) wait() chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake
}

// run is the read goroutine: it waits for the handshake's answer, then reads
// until the connection ends, calls OnClose, and sees the socket off.
func (r *routine) run() {
	c := r.c
	defer r.srv.forget(c)
	buf := r.srv.takeChunk()
	defer r.srv.giveChunk(buf)
	if first, ok := r.await(buf[:]); ok {
		r.hear(len(first))
		if r.feed(first) {
			r.readUntilEnd(buf[:])
		}
		r.in.reset()
		c.tell()
	}
	r.linger(buf[:])
	r.stopTimer()
}

// await watches the socket while Config.Upgrade decides. Bytes are kept for the
// connection to come, up to Head.Early. ok is false when there will be none.
func (r *routine) await(buf []byte) (first []byte, ok bool) {
	c := r.c
	for {
		n, err := r.nc.Read(buf)
		c.mu.Lock()
		if c.state == upgrading {
			if err != nil {
				c.state = closed
				c.up.abandon()
				c.mu.Unlock()
				r.nc.Close()
				return nil, false
			}
			if !c.up.keepEarly(buf[:n]) {
				c.mu.Unlock()
				return nil, false
			}
			c.mu.Unlock()
			continue
		}
		// Decided. An error, if it was not just the nudge, comes again at the
		// next Read; what arrived before it counts.
		if r.nudged {
			r.nudged = false
			_ = r.nc.SetReadDeadline(noDeadline)
		}
		accepted := c.state != refused && c.handler != nil
		if up := c.up; up != nil {
			first, c.up = up.early, nil
		}
		c.mu.Unlock()
		return append(first, buf[:n]...), accepted
	}
}

// feed is Conn.feed that waits out every pause.
func (r *routine) feed(p []byte) (ok bool) {
	for {
		p, ok = r.c.feed(&r.in, p)
		if len(p) == 0 {
			return ok
		}
		r.waitResumed()
	}
}

// waitResumed blocks while the connection is paused and open.
func (r *routine) waitResumed() {
	for {
		r.c.mu.Lock()
		if !r.c.halted() {
			r.c.mu.Unlock()
			return
		}
		wake := r.wait()
		r.c.mu.Unlock()
		<-wake
	}
}

// hear notes that n bytes arrived.
func (r *routine) hear(n int) {
	if n > 0 && r.c.limits.Heartbeat.Every > 0 {
		r.c.heard.Store(int64(r.srv.since()))
	}
}

// readUntilEnd reads and handles frames. On return the outcome is set.
func (r *routine) readUntilEnd(buf []byte) {
	c := r.c
	for {
		dst := buf
		window := r.in.window(len(buf))
		if window != nil {
			dst = window
		}
		n, err := r.nc.Read(dst)
		r.hear(n)
		switch {
		case n == 0:
		case window != nil:
			r.waitResumed()
			if !c.windowFilled(&r.in, n) {
				return
			}
		case !r.feed(dst[:n]):
			return
		}
		if err != nil {
			c.lost()
			return
		}
	}
}

// drain writes until nothing is queued, then ends: an idle connection has no
// writer.
func (r *routine) drain() {
	c := r.c
	var local [8][]byte
	c.mu.Lock()
	for {
		if c.out == nil || c.out.empty() || c.state == closed {
			break
		}
		batch, total := c.out.take(local[:0], batchSize)
		var from []source
		if c.agreed&late != 0 {
			from = c.out.sources(nil)
		}
		c.mu.Unlock()
		err := r.writeCoded(batch, from)
		clear(batch)
		c.mu.Lock()
		if err != nil {
			c.out.busy = 0
			r.writing = false
			c.discardQueue()
			c.mu.Unlock()
			c.lost()
			return
		}
		if c.out.wrote(r.srv, total) {
			r.writing = false
			c.releaseQueue()
			c.lastWordsLeft()
			done := c.peerDone
			c.mu.Unlock()
			if done && !halfClose(r.nc) {
				c.lost()
			}
			return
		}
	}
	r.writing = false
	c.releaseQueue()
	c.mu.Unlock()
}

// writeCoded writes a batch, compressed now if from says what it holds.
func (r *routine) writeCoded(batch [][]byte, from []source) error {
	if from == nil {
		return r.write(batch)
	}
	room := r.srv.takeScratch()
	defer r.srv.giveScratch(room)
	*room = appendLate((*room)[:0], batch, from, r.c.agreed.dialect(), r.c.coding.sent)
	return r.write(append(batch[:0], *room))
}

// write writes a batch in one call where it can.
func (r *routine) write(batch [][]byte) error {
	r.c.stats().writes.Add(1)
	r.socket.wait.Store(int64(r.c.limits.WriteWait))
	if len(batch) == 1 {
		_, err := r.nc.Write(batch[0])
		return err
	}
	bufs := net.Buffers(append([][]byte(nil), batch...))
	if r.nc == net.Conn(r.socket) {
		return r.socket.writeAll(bufs)
	}
	_, err := bufs.WriteTo(r.nc)
	return err
}

// linger drops what the peer still sends until it closes, too, or the timer or
// the bound ends its time. When our close frame left before the peer's came,
// there is nothing to wait for: the server closes first (§7.1.1).
func (r *routine) linger(buf []byte) {
	r.c.mu.Lock()
	bothDone := r.c.answered
	r.c.mu.Unlock()
	for left := lingerBytes; !bothDone && left > 0; {
		n, err := r.nc.Read(buf)
		if err != nil {
			break
		}
		left -= n
	}
	r.waitFlushed()
	r.c.lost()
}

// waitFlushed waits for our last words to leave, or to be given up on. A peer
// that sends its close frame and FIN together would otherwise see no answer.
func (r *routine) waitFlushed() {
	for {
		r.c.mu.Lock()
		if r.c.flushed || r.c.state == closed {
			r.c.mu.Unlock()
			return
		}
		wake := r.wait()
		r.c.mu.Unlock()
		<-wake
	}
}
