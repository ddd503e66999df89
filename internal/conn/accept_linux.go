package conn

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livegate/livegate/internal/frame"
)

// acceptBatch bounds the connections taken per turn.
const acceptBatch = 64

// TCP keep-alive of accepted sockets: a peer that is gone is noticed within two
// minutes even where no heartbeat asks.
const (
	keepIdle     = 60 // seconds
	keepInterval = 15
	keepCount    = 4
)

// deferred is how many seconds the kernel keeps a client that sends nothing to
// itself: every protocol here begins with the client's bytes, so accepting it with
// them saves a wake-up per connection (tcp(7), TCP_DEFER_ACCEPT). After that it is
// accepted without any, and HeadLimits.Timeout begins.
const deferred = 1

// acceptor is a listening socket on a loop.
type acceptor struct {
	fd   int
	over chan error // gets nil or an error, once: what Serve returns

	// owned by the loop
	mark   int32
	pause  time.Duration // back-off of the latest shortage, 0 after a success
	resume time.Duration // since srv.base: when to accept again; 0: now
	ended  bool
}

// newcomer is a connection on its way to its loop.
type newcomer struct {
	fd     int32
	remote netip.AddrPort
}

// newAcceptor takes a duplicate of the listener's socket, so that the caller's
// can be closed.
func newAcceptor(ln *net.TCPListener) (*acceptor, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	a := &acceptor{over: make(chan error, 1)}
	var dup error
	if err := raw.Control(func(fd uintptr) { a.fd, dup = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dup != nil {
		return nil, os.NewSyscallError("dup", dup)
	}
	// Accepted sockets inherit these, which saves a call each per connection.
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount},
		{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, deferred},
	} {
		if err := unix.SetsockoptInt(a.fd, o.level, o.name, o.value); err != nil {
			closeFD(a.fd)
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	return a, nil
}

func (a *acceptor) close() {
	if !a.ended {
		a.ended = true
		closeFD(a.fd)
		a.over <- nil
	}
}

// listen begins to accept from a.
func (l *loop) listen(a *acceptor) {
	if l.deaf {
		a.close()
		return
	}
	a.mark = int32(markAccept - len(l.acceptors))
	l.acceptors = append(l.acceptors, a)
	l.watchAcceptor(a)
}

func (l *loop) watchAcceptor(a *acceptor) {
	a.resume = 0
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, a.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: a.mark}); err != nil {
		l.pauseAccepting(a, err)
	}
}

func (l *loop) stopAccepting() {
	for _, a := range l.acceptors {
		a.close()
		a.resume = 0
	}
}

// accept takes what has come and deals it out. It takes a slice at most: most of
// what it accepts it also answers, see welcome.
func (l *loop) accept(a *acceptor) {
	until := l.base.srv.since() + slice
	for range acceptBatch {
		if a.ended {
			return
		}
		fd, remote, errno := acceptNow(a.fd)
		switch {
		case errno == 0:
			a.pause = 0
			l.base.stats.accepted.Add(1)
			if !l.base.srv.gate.enter(remote) {
				l.base.stats.refusals[limited].Add(1)
				closeFD(int(fd))
				continue
			}
			l.deal(newcomer{fd, remote})
			if l.base.srv.since() >= until {
				return // epoll will say again that somebody waits
			}
		case errno == unix.EAGAIN:
			return
		case stillborn(errno):
		case shortage(errno):
			l.pauseAccepting(a, errno)
			return
		default:
			a.ended = true
			closeFD(a.fd)
			a.over <- os.NewSyscallError("accept4", errno)
			return
		}
	}
}

// pauseAccepting takes the listener out of the epoll set, where it would go on
// saying that somebody waits, until there may be descriptors or memory again.
// Who waits stays in the kernel's queue.
func (l *loop) pauseAccepting(a *acceptor, err error) {
	if a.pause == 0 {
		l.base.srv.logError("accept: out of resources, waiting", err)
	}
	l.base.stats.acceptPauses.Add(1)
	a.pause = min(max(2*a.pause, acceptPauseMin), acceptPauseMax)
	a.resume = l.base.srv.since() + a.pause
	_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, a.fd, nil)
}

func (l *loop) resumeAccepting() {
	for _, a := range l.acceptors {
		if a.resume > 0 && a.resume <= l.base.turn {
			l.watchAcceptor(a)
		}
	}
}

// deal gives a connection to the next loop.
func (l *loop) deal(n newcomer) {
	to := l.e.loops[int(l.e.next.Add(1)-1)%len(l.e.loops)]
	if to == l {
		l.welcome(n)
		return
	}
	if !to.tell(func(m *mail) { m.newcomers = append(m.newcomers, n) }) {
		l.e.turnOff(n)
	}
}

// turnOff closes a connection that no loop takes any more.
func (e *engine) turnOff(n newcomer) {
	closeFD(int(n.fd))
	e.srv.gate.leave(n.remote)
}

// welcome adopts a connection that was accepted in this turn, whose first bytes
// have mostly come with it: see deferred.
func (l *loop) welcome(n newcomer) {
	if c := l.adopt(n); c != nil {
		l.readable(c, false)
		if c.spot.slot >= 0 {
			l.watch(c)
		}
	}
}

// adopt puts a connection into the loop's tables; watch then has epoll know it.
// nil: it came too late.
func (l *loop) adopt(n newcomer) *Conn {
	if l.leaving {
		l.e.turnOff(n)
		return nil
	}
	c := &Conn{via: l, remote: n.remote, state: young}
	if len(l.free) > 0 {
		c.spot.slot = l.free[len(l.free)-1]
		l.free = l.free[:len(l.free)-1]
		l.conns[c.spot.slot] = c
	} else {
		c.spot.slot = int32(len(l.conns))
		l.conns = append(l.conns, c)
	}
	l.seq++
	c.spot.fd, c.spot.seq = n.fd, l.seq
	l.live++
	c.mask = unwatched
	c.due = after(l.base.turn, l.base.srv.head.Timeout)
	l.wheel.set(l.conns, c, c.due)
	return c
}

// drop takes a connection out of the loop, closes its socket, and tells its
// handler.
func (l *loop) drop(c *Conn) {
	if c.spot.slot < 0 {
		return
	}
	l.remove(c)
	l.closeSocket(c)
	l.base.srv.gate.leave(c.remote)
	c.mu.Lock()
	if c.state == open {
		c.setOutcome(frame.CodeAbnormal, "")
	}
	if up := c.up; up != nil {
		up.abandon()
		c.up = nil
	}
	c.state = closed
	c.discardQueue()
	c.mu.Unlock()
	c.tell()
}

// remove takes a connection out of the loop's tables; its socket lives on.
func (l *loop) remove(c *Conn) {
	l.wheel.remove(l.conns, c)
	l.conns[c.spot.slot] = nil
	l.free = append(l.free, c.spot.slot)
	c.spot.slot = -1
	l.live--
	l.keepInbound(c, nil)
}

// emigrate takes a connection out of the loop for good and returns its socket.
func (l *loop) emigrate(c *Conn) net.Conn {
	fd := c.spot.fd
	_ = unix.EpollCtl(l.ep, unix.EPOLL_CTL_DEL, int(fd), nil)
	l.remove(c)
	c.mu.Lock()
	c.state = closed
	c.discardQueue()
	c.mu.Unlock()
	nc := newSocket(fd, c.remote)
	if g := l.base.srv.gate; g != nil {
		return &entered{Conn: nc, leave: func() { g.leave(c.remote) }}
	}
	return nc
}
