//go:build linux

package load

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"unsafe"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
)

func (g *group) ctl(op int, c *conn, events uint32) {
	e := syscall.EpollEvent{Events: events, Fd: c.fd}
	if err := syscall.EpollCtl(g.ep, op, int(c.fd), &e); err != nil {
		g.fail("epoll_ctl: %v", err)
	}
}

// interest is what a connection waits for.
func (g *group) interest(c *conn) uint32 {
	var ev uint32
	if !g.use.deaf || c.state != open {
		ev = syscall.EPOLLIN
	}
	if c.armed {
		ev |= syscall.EPOLLOUT
	}
	return ev
}

// drop ends a connection here, with a reset.
func (g *group) drop(c *conn, why string) {
	switch c.state {
	case dialing, upgrading, greeting:
		g.dials--
		g.failed.Add(1)
		if !g.closing {
			g.fail("connection %d: %s", c.index, why)
		}
	case open:
		g.ended.Add(1)
		g.opened.Add(-1)
		if !g.closing && !g.use.mayEnd {
			g.fail("connection %d ended: %s", c.index, why)
		}
	}
	was := c.state
	c.state = gone
	if c.fd >= 0 {
		g.byFD[c.fd] = nil
		syscall.Close(int(c.fd)) //nolint:errcheck // it is gone either way
		c.fd = -1
	}
	if was == open && g.use.onEnd != nil && !g.closing {
		g.use.onEnd(g, c)
	}
}

// Each source address serves this many connections, well under the number of
// ephemeral ports.
const perSource = 20000

func (g *group) dial(c *conn) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	g.dials++
	c.state = dialing
	if err != nil {
		g.drop(c, err.Error())
		return
	}
	c.fd = int32(fd)
	for fd >= len(g.byFD) {
		g.byFD = append(g.byFD, make([]*conn, 1+len(g.byFD))...)
	}
	g.byFD[fd] = c
	for _, set := range []struct{ level, name, value int }{
		{syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1},
		{syscall.SOL_SOCKET, syscall.SO_RCVBUF, g.use.recvBuf},
	} {
		if set.value > 0 {
			syscall.SetsockoptInt(fd, set.level, set.name, set.value) //nolint:errcheck // only tuning
		}
	}
	syscall.SetsockoptLinger(fd, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}) //nolint:errcheck // only tuning
	if src, bind := g.source(int(c.index)); bind {
		const bindAddressNoPort = 24                                        // ip(7)
		syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, bindAddressNoPort, 1) //nolint:errcheck // fewer ports without
		if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: src}); err != nil {
			g.drop(c, "bind: "+err.Error())
			return
		}
	}
	err = syscall.Connect(fd, &g.dst)
	if err != nil && err != syscall.EINPROGRESS {
		g.drop(c, "connect: "+err.Error())
		return
	}
	c.armed = true
	g.ctl(syscall.EPOLL_CTL_ADD, c, g.interest(c))
}

// source is the address that a connection comes from.
func (g *group) source(index int) (addr [4]byte, bind bool) {
	if g.use.spread {
		return [4]byte{127, 1, byte(index >> 8), byte(index)}, true
	}
	if s := index / perSource; s > 0 {
		return [4]byte{127, 0, 1, byte(s)}, true
	}
	return addr, false
}

func (g *group) writable(c *conn) {
	if c.state == dialing {
		if e, _ := syscall.GetsockoptInt(int(c.fd), syscall.SOL_SOCKET, syscall.SO_ERROR); e != 0 {
			g.drop(c, "connect: "+syscall.Errno(e).Error())
			return
		}
		c.state = upgrading
		if g.use.onConnect == nil || !g.use.onConnect(g, c) {
			g.send(c, g.target.upgrade(g.use.path, g.use.channel(int(c.index))))
		}
	}
	if len(c.out) > 0 {
		b := c.out
		c.out = nil
		g.send(c, b)
	}
	if c.state != gone && len(c.out) == 0 && c.armed {
		c.armed = false
		g.ctl(syscall.EPOLL_CTL_MOD, c, g.interest(c))
	}
}

// upgrade is the request that opens a WebSocket. The key is the sample of RFC
// 6455 §1.3; the generator does not check the answer's proof.
func (t *Target) upgrade(path, ch string) []byte {
	return []byte("GET " + fill(path, ch, "") + " HTTP/1.1\r\nHost: " + t.Addr +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		t.Header + "\r\n")
}

// send writes b and keeps what the socket will not take.
func (g *group) send(c *conn, b []byte) {
	if len(c.out) > 0 {
		c.out = append(c.out, b...)
		return
	}
	for len(b) > 0 {
		n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if e == syscall.EAGAIN {
			c.out = append([]byte(nil), b...)
			if !c.armed {
				c.armed = true
				g.ctl(syscall.EPOLL_CTL_MOD, c, g.interest(c))
			}
			return
		}
		if e != 0 {
			g.drop(c, "write: "+e.Error())
			return
		}
		b = b[n:]
	}
}

func (g *group) sendFrame(c *conn, payload []byte) {
	op := byte(frame.Text)
	if g.target.Proto.Binary {
		op = frame.Bin
	}
	g.scratch = frame.Append(g.scratch[:0], op, rand.Uint32(), payload)
	g.send(c, g.scratch)
}

// greet sends the first frames after the 101.
func (g *group) greet(c *conn) {
	ch := g.use.channel(int(c.index))
	for _, h := range g.use.hello {
		if c.state != gone {
			g.sendFrame(c, []byte(fill(h, ch, "")))
		}
	}
	if g.use.ready == "" && c.state != gone {
		g.ready(c)
	}
}

func (g *group) ready(c *conn) {
	c.state = open
	g.dials--
	g.opened.Add(1)
	if g.use.deaf {
		g.ctl(syscall.EPOLL_CTL_MOD, c, g.interest(c))
	}
	if g.use.onOpen != nil {
		g.use.onOpen(g, c)
	}
}

// redial opens a connection that is gone once more.
func (g *group) redial(c *conn) {
	*c = conn{index: c.index, fd: -1}
	g.dial(c)
}

// upgraded takes the answer's head off b; rest is nil while it is incomplete or
// the upgrade was refused.
func (g *group) upgraded(c *conn, b []byte) (rest []byte, ok bool) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		c.part = append([]byte(nil), b...)
		return nil, false
	}
	if len(b) < 12 || string(b[8:12]) != " 101" {
		line, _, _ := bytes.Cut(b, []byte("\r\n"))
		g.drop(c, "upgrade refused: "+string(line))
		return nil, false
	}
	c.part = nil
	c.state = greeting
	g.greet(c)
	return b[i+4:], c.state != gone
}
