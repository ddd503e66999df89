//go:build linux

package load

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"syscall"
	"unsafe"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

func (g *group) readable(c *conn) {
	have := copy(g.buf, c.part)
	n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&g.buf[have])), uintptr(len(g.buf)-have))
	switch {
	case e == syscall.EAGAIN:
		return
	case e != 0:
		g.drop(c, "read: "+e.Error())
		return
	case n == 0:
		g.drop(c, "closed by the server")
		return
	}
	now := clock()
	b := g.buf[:have+int(n)]
	if c.state == upgrading {
		var ok bool
		if b, ok = g.upgraded(c, b); !ok {
			return
		}
	}
	rest := g.frames(c, b, now)
	switch {
	case c.state == gone:
		return
	case len(rest) == 0:
		c.part = nil
		return
	}
	if len(rest) > len(g.buf)/2 {
		g.buf = make([]byte, 2*len(g.buf))
	}
	c.part = append(make([]byte, 0, len(rest)), rest...)
}

// frames takes whole frames off b and returns what is left.
func (g *group) frames(c *conn, b []byte, now int64) []byte {
	for len(b) > 0 {
		fin, op, payload, size, bad := frame.Take(b)
		if bad {
			g.bad++
			g.drop(c, "malformed frame from the server")
			return nil
		}
		if size == 0 || size > len(b) {
			if size > len(g.buf) {
				g.buf = append(g.buf, make([]byte, size)...)
			}
			return b
		}
		b = b[size:]
		g.frame(c, fin, op, payload, now)
		if c.state == gone {
			return nil
		}
	}
	return nil
}

func (g *group) frame(c *conn, fin bool, op byte, payload []byte, now int64) {
	switch op {
	case frame.Ping:
		g.scratch = frame.Append(g.scratch[:0], frame.Pong, rand.Uint32(), payload)
		g.send(c, g.scratch)
	case frame.Pong:
	case frame.Close:
		code := 0
		if len(payload) >= 2 {
			code = int(payload[0])<<8 | int(payload[1])
		}
		g.drop(c, fmt.Sprintf("close frame, code %d", code))
	default:
		if !fin || op == frame.Cont {
			g.frag[c] = append(g.frag[c], payload...)
			if !fin {
				return
			}
			payload = g.frag[c]
			delete(g.frag, c)
		}
		g.message(c, payload, now)
	}
}

func (g *group) message(c *conn, payload []byte, now int64) {
	if c.state == greeting || len(payload) < stat.RecordLen {
		if answer, ok := g.target.Proto.pong(payload); ok {
			g.sendFrame(c, answer)
			return
		}
	}
	if c.state != greeting {
		if g.use.onMessage != nil {
			g.use.onMessage(g, c, payload, now)
		}
		return
	}
	if !bytes.Contains(payload, []byte(g.use.ready)) {
		if bytes.Contains(payload, []byte(`"message": "`)) { // the error frame of a gateway
			g.drop(c, "greeted with "+string(payload))
		}
		return
	}
	if g.use.idKey != "" {
		_, after, _ := bytes.Cut(payload, []byte(g.use.idKey))
		id, _, _ := bytes.Cut(after, []byte(`"`))
		c.id = string(id)
	}
	g.ready(c)
}

// pong answers a protocol's own pings.
func (p *Proto) pong(payload []byte) (answer []byte, ok bool) {
	for _, pair := range p.Pings {
		if string(payload) == pair[0] || len(pair[0]) > 2 && bytes.HasPrefix(payload, []byte(pair[0])) {
			return []byte(pair[1]), true
		}
	}
	return nil, false
}

// records calls f for every record in a payload.
func records(payload []byte, f func(r stat.Record)) {
	for {
		r, rest, ok := stat.Next(payload)
		if !ok {
			return
		}
		f(r)
		payload = rest
	}
}
