package conn

import (
	"time"

	"golang.org/x/sys/unix"
)

// What a loop does with one connection in its turn.

// Interest in a socket, as epoll has it.
const (
	wantRead = 1 << iota
	wantWrite
	unwatched // epoll does not know it yet
)

// flushSize is what one connection may write before others have their turn.
const flushSize = 256 << 10

// readable takes what has arrived on a socket. hup: the peer reset it, or both
// sides have ended it.
func (l *loop) readable(c *Conn, hup bool) {
	if c.halted() && !hup || c.in != nil && c.in.behind {
		l.watch(c)
		return
	}
	size := readSize
	if l.behind.len() >= crowd || l.opened >= openSlice {
		size = chunkSize
	}
	n, errno := readNow(c.spot.fd, l.buf[:size])
	switch {
	case errno == unix.EAGAIN:
		return
	case errno == 0 && n == 0 && l.outlives(c):
		return
	case errno != 0 || n == 0:
		l.drop(c)
		return
	}
	c.posted.Store(uint32(prompt)) // whoever sends now need not tell: see finish
	if c.secure || l.startsTLS(c, l.buf[:n]) {
		l.cipherArrived(c, l.buf[:n])
	} else {
		l.arrived(c, l.buf[:n])
	}
	l.finish(c)
}

// arrived handles bytes of the peer, by state. They may have come straight from
// the socket, or out of a cipher.
func (l *loop) arrived(c *Conn, p []byte) {
	c.mu.Lock()
	st, done := c.state, c.peerDone
	var early []byte
	switch {
	case st == upgrading:
		c.up.keepEarly(p)
	case st == open:
		c.hear(l.base.turn)
		early = c.takeEarly()
	}
	c.mu.Unlock()
	switch {
	case len(early) > 0: // accepted just now
		l.framesArrived(c, early)
		l.arrived(c, p)
	case st == upgrading:
	case st == young:
		l.headArrived(c, p)
	case done:
		l.linger(c, len(p))
	case st == open || st == closing:
		l.framesArrived(c, p)
	}
}

// takeEarly takes what arrived before the 101. Needs mu.
func (c *Conn) takeEarly() (early []byte) {
	if up := c.up; up != nil && c.state != upgrading {
		early, c.up = up.early, nil
	}
	return early
}

// hear notes that something arrived. Needs mu and state open.
func (c *Conn) hear(now time.Duration) {
	if c.limits.Heartbeat.Every > 0 {
		c.heard.Store(int64(now))
	}
}

// outlives says that a connection goes on without its peer, who ended its
// direction after a close frame: what is queued, our own close frame the last of
// it, still leaves.
func (l *loop) outlives(c *Conn) bool {
	c.mu.Lock()
	yes := c.peerDone && !c.flushed && c.state != closed
	if yes {
		c.answered = true // there is nothing to wait for then
	}
	c.mu.Unlock()
	if yes {
		l.watch(c)
	}
	return yes
}

// linger counts what is dropped of a peer that is done: see close.go.
func (l *loop) linger(c *Conn, n int) {
	c.mu.Lock()
	if c.end == nil { // refused: there was no connection to end
		c.end = &ending{}
	}
	c.mu.Unlock()
	if c.end.lingered += n; c.end.lingered > lingerBytes {
		l.drop(c)
	}
}

// attend looks at a connection that somebody posted: to be written, resumed,
// accepted, refused or closed.
func (l *loop) attend(c *Conn) {
	if c.spot.slot < 0 {
		return
	}
	c.posted.Store(uint32(prompt))
	l.finish(c)
	if c.secure {
		l.cipherOver(c)
	}
}

// finish writes what is due on a connection, handles what it held back, and sees
// to its timer and to what epoll watches. From flush on, whoever changes
// something posts it: so nothing that happened before is overlooked.
func (l *loop) finish(c *Conn) {
	for c.spot.slot >= 0 {
		l.flush(c)
		if c.spot.slot < 0 {
			return
		}
		if !l.catchUp(c) {
			l.settle(c)
			return
		}
	}
}

// settle makes timer and interest those of the connection's state, and drops it
// when there is nothing to wait for.
func (l *loop) settle(c *Conn) {
	c.mu.Lock()
	due, st := c.wakeAt(), c.state
	over := c.answered && c.flushed || l.leaving && st == young && c.out == nil
	c.mu.Unlock()
	if over || st == closed {
		l.drop(c)
		return
	}
	if due != 0 && (c.spot.at == 0 || tickOf(due) < c.spot.at) {
		l.wheel.set(l.conns, c, due)
	}
	l.watch(c)
}

// watch tells epoll what we want of a socket.
func (l *loop) watch(c *Conn) {
	var want uint8
	if !c.halted() && !l.choked(c) {
		want = wantRead
	}
	if c.stuck {
		want |= wantWrite
	}
	if want == c.mask {
		return
	}
	op := unix.EPOLL_CTL_MOD
	if c.mask == unwatched {
		op = unix.EPOLL_CTL_ADD
	}
	c.mask = want
	ev := unix.EpollEvent{Fd: c.spot.slot, Pad: int32(c.spot.seq)}
	if want&wantRead != 0 {
		ev.Events |= unix.EPOLLIN
	}
	if want&wantWrite != 0 {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(l.ep, op, int(c.spot.fd), &ev); err != nil {
		l.base.srv.logError("epoll_ctl: a connection is dropped", err)
		l.drop(c)
	}
}

// choked: no more is read of an HTTP client that does not take its responses, of
// one who said that there is no more, of one whose messages are still being
// handled, and when TLS wants no more.
func (l *loop) choked(c *Conn) bool {
	if c.stuck {
		c.mu.Lock()
		deaf := c.state == young || c.answered && !c.flushed
		c.mu.Unlock()
		if deaf {
			return true
		}
	}
	return c.in != nil && c.in.behind || c.secure && c.coding.unwilling(c.stuck)
}

// writable: the socket takes bytes again.
func (l *loop) writable(c *Conn) {
	c.mu.Lock()
	if c.out != nil {
		c.out.blocked = false
	}
	c.stuck = false
	c.mu.Unlock()
	l.finish(c)
}

// flush writes what is queued on a connection, in as few writes as there can be.
func (l *loop) flush(c *Conn) {
	if c.spot.slot < 0 {
		return
	}
	c.mu.Lock()
	c.posted.Store(uint32(settled))
	if c.coding.codes() {
		l.flushCoded(c)
		return
	}
	o := c.out
	if o == nil || o.blocked || c.state == closed {
		c.mu.Unlock()
		return
	}
	for written := 0; !o.empty(); {
		if written > flushSize { // others are waiting, too
			l.ready(c, fanned)
			break
		}
		batch, total := o.take(l.batch[:0], batchSize)
		l.batch = batch
		c.mu.Unlock()
		n, errno := l.write(c, batch)
		c.mu.Lock()
		if errno != 0 && errno != unix.EAGAIN {
			o.busy = 0
			c.lostLocked()
			c.mu.Unlock()
			l.drop(c)
			return
		}
		written += n
		over := o.wrote(l.base.srv, n)
		if n < total {
			l.blocked(c, o)
			break
		}
		if over {
			l.lastWords(c)
			break
		}
	}
	c.releaseQueue()
	c.mu.Unlock()
}

// blocked notes that the socket took less than there is. Needs mu.
func (l *loop) blocked(c *Conn, o *outbound) {
	l.base.stats.stuck.Add(1)
	o.blocked, c.stuck = true, true
	o.moved, o.unsent = l.base.turn, unsent(c.spot.fd)
}

// wakeAt is when the timer has something to look at. Needs mu.
func (c *Conn) wakeAt() time.Duration {
	at := c.due
	if c.out != nil && c.out.blocked {
		if stuck := after(c.out.moved, c.writeWait()); at == 0 || stuck < at {
			at = stuck
		}
	}
	return at
}

// writeWait is Limits.WriteWait also where there are no limits yet.
func (c *Conn) writeWait() time.Duration {
	if c.limits == nil {
		return webWriteWait
	}
	return c.limits.WriteWait
}

// fired is called when a connection's timer fires.
func (l *loop) fired(c *Conn) {
	now := l.base.turn
	c.mu.Lock()
	lost := c.state == young && c.due != 0 && c.due <= now
	if o := c.out; !lost && o != nil && o.blocked && after(o.moved, c.writeWait()) <= now {
		// A peer that reads slowly frees the socket's buffer in large steps only: look
		// at what it acknowledged.
		if n := unsent(c.spot.fd); n < o.unsent {
			o.moved, o.unsent = now, n
		} else {
			lost = true
		}
	}
	lost = lost || c.expire(now)
	c.mu.Unlock()
	if lost {
		l.drop(c)
		return
	}
	l.settle(c)
}

// sendAway begins Shutdown: everybody is told to leave.
func (l *loop) sendAway() {
	s := l.base.srv
	s.mu.Lock()
	part := s.parting
	s.mu.Unlock()
	for _, c := range l.conns {
		if c == nil {
			continue
		}
		c.mu.Lock()
		st, busy := c.state, c.out != nil
		c.mu.Unlock()
		if st == young && !busy {
			l.drop(c)
			continue
		}
		c.Close(part.code, part.reason)
	}
}

// cutAll ends everybody without ceremony.
func (l *loop) cutAll() {
	for _, c := range l.conns {
		if c != nil {
			l.drop(c)
		}
	}
}

// lastWords: our close frame, or the refusal, has left. Needs mu.
func (l *loop) lastWords(c *Conn) {
	c.lastWordsLeft()
	if c.peerDone && unix.Shutdown(int(c.spot.fd), unix.SHUT_WR) != nil {
		c.state = closed
	}
}

// write writes one batch. Segments are gathered, batchSize bytes at most: one
// buffer costs the kernel less than many.
func (l *loop) write(c *Conn, batch [][]byte) (int, unix.Errno) {
	l.base.stats.writes.Add(1)
	if len(batch) == 1 {
		return errnoOf(writeNow(c.spot.fd, batch[0]))
	}
	l.flat = l.flat[:0]
	for _, b := range batch {
		l.flat = append(l.flat, b...)
	}
	clear(batch)
	return errnoOf(writeNow(c.spot.fd, l.flat))
}

// errnoOf makes a failed write one of no bytes.
func errnoOf(n int, errno unix.Errno) (int, unix.Errno) {
	if errno != 0 {
		n = 0
	}
	return n, errno
}

// unsent is what the peer has not acknowledged yet.
func unsent(fd int32) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
