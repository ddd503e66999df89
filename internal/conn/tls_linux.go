package conn

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// TLS on a loop. The handshake runs on a goroutine, which writes to the socket
// itself while nobody else does; then the connection is parked, and only the loop
// touches it: what is read is opened, what is queued is sealed when it leaves.

// plainSize is room for what one read opens to.
const plainSize = readSize + tlsMaxPlain

// greeted is a handshake that ended.
type greeted struct {
	c   *Conn
	err error
}

// startsTLS decides at the first byte of a connection.
func (l *loop) startsTLS(c *Conn, b []byte) bool {
	if b[0] != recordHandshake || l.base.srv.tls == nil || c.in != nil || c.served {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != young {
		return false
	}
	c.secure = true
	c.coding = &coding{parked: parked{phase: tlsHello}}
	return true
}

// cipherArrived takes what was read from a TLS connection's socket.
func (l *loop) cipherArrived(c *Conn, b []byte) {
	t := c.coding
	switch t.phase {
	case tlsIsParked:
		l.openArrived(c, b)
	case tlsGreeted:
		t.full = !t.tls.push(b)
	case tlsHello:
		// A goroutine begins when it has something to do, not for a client that
		// sends one byte and waits.
		if t.hello = append(t.hello, b...); wholeRecord(t.hello) {
			l.greet(c)
		}
	default: // no more is read but for a socket that was reset
		l.drop(c)
	}
}

// wholeRecord: the first record is complete, or longer than any may be.
func wholeRecord(b []byte) bool {
	if len(b) < tlsHeaderSize {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[3:]))
	return len(b)-tlsHeaderSize >= n || n > tlsMaxPlain
}

// greet begins a handshake, or has it wait for its turn. Head.Timeout bounds
// both.
func (l *loop) greet(c *Conn) {
	if len(l.greetings) < l.maxGreetings && l.waiting.len() == 0 {
		l.beginGreeting(c)
		return
	}
	l.base.stats.tlsWaited.Add(1)
	c.coding.phase = tlsWaiting
	l.waiting.push(c)
}

func (l *loop) beginGreeting(c *Conn) {
	t := c.coding
	t.place = int32(len(l.greetings))
	l.greetings = append(l.greetings, c)
	fd, spilled := c.spot.fd, false
	t.tls = newParkedTLS(l.base.srv.tls, func(b []byte) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.state == closed { // and fd perhaps somebody else's
			return
		}
		if !spilled {
			if b = writeSome(fd, b); len(b) == 0 {
				return
			}
			spilled = true // from now on in the order of the queue
		}
		t.spill = append(t.spill, b...)
		l.ready(c, prompt)
	})
	t.tls.name(localAddr(int(fd)), net.TCPAddrFromAddrPort(c.remote))
	t.tls.wire.greeting.began = l.base.turn
	t.phase = tlsGreeted
	t.full = !t.tls.push(t.hello)
	t.hello = nil
	tc := t.tls
	go func() {
		err := tc.handshake()
		l.tell(func(m *mail) { m.greeted = append(m.greeted, greeted{c, err}) })
	}()
}

// endGreeting frees the place of a handshake.
func (l *loop) endGreeting(c *Conn) {
	last := len(l.greetings) - 1
	l.greetings[c.coding.place] = l.greetings[last]
	l.greetings[c.coding.place].coding.place = c.coding.place
	l.greetings[last] = nil
	l.greetings = l.greetings[:last]
}

// writeSome writes what the socket takes and returns the rest. A socket that
// failed swallows everything: the loop will notice.
func writeSome(fd int32, b []byte) (rest []byte) {
	if len(b) == 0 {
		return nil
	}
	switch n, errno := writeNow(fd, b); errno {
	case 0:
		return b[n:]
	case unix.EAGAIN:
		return b
	default:
		return nil
	}
}

// onGreeted parks a connection whose handshake is over, or hands it over to HTTP/2.
func (l *loop) onGreeted(g greeted) {
	c, t := g.c, g.c.coding
	if c.spot.slot < 0 { // dropped meanwhile: see closeSocket
		return
	}
	l.endGreeting(c)
	if g.err != nil {
		l.base.stats.tlsFailed.Add(1)
		t.phase = tlsBroken
		l.drop(c)
		return
	}
	l.base.stats.tlsDone.Add(1)
	rest := t.tls.park()
	t.phase, t.full = tlsIsParked, false
	if t.tls.protocol() == "h2" {
		l.handOver(c, rest, nil)
		return
	}
	c.posted.Store(uint32(prompt))
	if len(rest) > 0 {
		l.openArrived(c, rest)
	}
	l.finish(c)
}

// stalledPause is between two looks for handshakes that are to make room.
const stalledPause = 10 * time.Millisecond

// greetNext gives handshakes that wait their turn, once each turn of the loop.
func (l *loop) greetNext() {
	if l.waiting.len() > 0 && len(l.greetings) >= l.maxGreetings && l.base.turn-l.looked >= stalledPause {
		l.looked = l.base.turn
		l.dropStalled()
	}
	for len(l.greetings) < l.maxGreetings && l.waiting.len() > 0 {
		if c := l.waiting.pop(); c.spot.slot >= 0 {
			l.beginGreeting(c)
			l.settle(c)
		}
	}
}

// dropStalled ends handshakes whose client has kept those that wait waiting for
// too long, the eldest first.
func (l *loop) dropStalled() {
	began := func(c *Conn) time.Duration { return c.coding.tls.wire.greeting.began }
	then := l.base.turn - l.base.srv.head.grace()
	var stalled []*Conn
	for _, c := range l.greetings {
		if began(c) <= then && c.coding.tls.stalled() {
			stalled = append(stalled, c)
		}
	}
	slices.SortFunc(stalled, func(a, b *Conn) int { return cmp.Compare(began(a), began(b)) })
	for _, c := range stalled[:min(len(stalled), l.waiting.len())] {
		l.base.stats.tlsStalled.Add(1)
		l.drop(c)
	}
}

// openArrived handles ciphertext of a parked connection.
func (l *loop) openArrived(c *Conn, b []byte) {
	c.mu.Lock()
	done := c.peerDone
	if c.state == open {
		c.hear(l.base.turn)
	}
	c.mu.Unlock()
	if done { // nobody wants to know what it says
		l.linger(c, len(b))
		return
	}
	t := c.coding
	l.opened += len(b)
	if l.plain == nil {
		l.plain = make([]byte, 0, plainSize)
	}
	plain, reply, err := t.tls.open(l.plain[:0], b)
	if len(reply) > 0 {
		t.answers = true
		c.mu.Lock()
		t.spill = append(t.spill, reply...)
		c.mu.Unlock()
	}
	if len(plain) > 0 {
		l.arrived(c, plain)
	}
	if err != nil {
		l.finish(c) // the answers to what came before, or the alert
		l.cipherOver(c)
	}
}

// cipherOver ends a connection whose TLS is over, as soon as what came before
// that was handled.
func (l *loop) cipherOver(c *Conn) {
	t := c.coding
	if c.spot.slot < 0 || !t.over() || c.in != nil && (c.in.behind || c.halted() && len(c.in.held) > 0) {
		return
	}
	if !errors.Is(t.tls.err, io.EOF) || !l.outlives(c) {
		l.drop(c)
	}
}

// over: the peer's direction of a parked connection ended.
func (t *coding) over() bool { return t.phase == tlsIsParked && t.tls.err != nil }

// unwilling: TLS wants no more bytes for now.
func (t *coding) unwilling(stuck bool) bool {
	return t.full || t.phase == tlsWaiting || t.answers && stuck || t.over()
}

// handOver gives a parked connection to the http.Server: rest is ciphertext that
// was not opened, unread what was and nobody read.
func (l *loop) handOver(c *Conn, rest, unread []byte) {
	t, s := c.coding, l.base.srv
	c.mu.Lock()
	spill := t.spill
	t.spill = nil
	c.mu.Unlock()
	l.base.stats.web.Add(1)
	h2 := t.tls.protocol() == "h2"
	nc := l.emigrate(c)
	tc := t.tls.release(&patient{Conn: nc}, rest)
	go func() {
		if err := writeAll(nc, spill, s.head.Timeout); err != nil {
			nc.Close()
			return
		}
		if h2 {
			s.web.take(tc)
			return
		}
		s.web.hand(tc, unread, true)
	}()
}

func writeAll(nc net.Conn, b []byte, limit time.Duration) error {
	if len(b) == 0 {
		return nil
	}
	_ = nc.SetWriteDeadline(time.Now().Add(limit))
	if _, err := nc.Write(b); err != nil {
		return err
	}
	return nc.SetWriteDeadline(time.Time{})
}

// closeSocket closes the socket of a connection that left the loop's tables. A
// client on TLS learns that this is the end and nobody cut it (RFC 8446 §6.1),
// unless half a record is in the way.
func (l *loop) closeSocket(c *Conn) {
	fd := int(c.spot.fd)
	c.mu.Lock()
	t := c.coding
	if t == nil {
		c.mu.Unlock()
		closeFD(fd)
		return
	}
	if c.out != nil {
		c.out.busy = 0
	}
	clean := len(t.spill) == 0 && !c.stuck
	t.spill = nil
	if t.phase == tlsGreeted {
		c.state = closed // the handshake, which may be under way for long, writes no more
	}
	c.mu.Unlock()
	switch {
	case t.phase == tlsGreeted:
		l.base.stats.tlsFailed.Add(1)
		l.endGreeting(c)
		t.tls.abandon(net.ErrClosed)
		t.tls.interrupt()
	case t.phase == tlsIsParked && clean && !t.tls.closed:
		_ = writeSome(c.spot.fd, t.tls.closeNotify(l.coded[:0]))
	}
	closeFD(fd)
}
