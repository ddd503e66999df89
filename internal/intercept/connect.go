package intercept

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// replyTimeout bounds writing the answer to a CONNECT.
const replyTimeout = 10 * time.Second

// connect answers one authenticated CONNECT.
func (p *Proxy) connect(w http.ResponseWriter, r *http.Request) {
	t, err := parseTarget(r.Host, "443")
	if err != nil {
		p.refuse(w, r.Host, err)
		return
	}
	if p.intercepts(t) {
		if p.cfg.Serve == nil {
			p.refuse(w, t.host, fault.New(fault.Unavailable, "%s is intercepted, and nothing here serves it", t.host))
			return
		}
		if c, ok := hijack(w); ok && reply(c, "200 Connection Established", "") {
			p.cfg.Serve(c)
		}
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.cfg.DialTimeout)
	far, err := p.reach(ctx, t)
	cancel()
	if err != nil {
		p.refuse(w, t.host, err)
		return
	}
	near, ok := hijack(w)
	if !ok || !reply(near, "200 Connection Established", "") {
		far.Close()
		return
	}
	p.splice(near, far)
}

// intercepts reports whether the destination is served here.
func (p *Proxy) intercepts(t target) bool {
	if _, mapped := p.mapped(t); mapped {
		return false
	}
	return p.cfg.Intercepted(t.host) && !p.cfg.Passthrough(t.host)
}

// mapped is where --map-host sends a destination.
func (p *Proxy) mapped(t target) (string, bool) {
	if to, ok := p.cfg.MapHost[t.String()]; ok {
		return to, true
	}
	to, ok := p.cfg.MapHost[t.host]
	return to, ok
}

// reach connects to a destination that is not served here, within the rules.
func (p *Proxy) reach(ctx context.Context, t target) (net.Conn, error) {
	if to, ok := p.mapped(t); ok {
		c, err := p.cfg.Dial(ctx, to)
		if err != nil {
			return nil, fault.New(fault.Upstream, "%s is mapped to %s (--map-host), which does not answer: %v", t.host, to, err)
		}
		return c, nil
	}
	if p.cfg.Offline {
		return nil, fault.New(fault.Forbidden, "%s was not called: Livegate runs with --offline. "+
			"Serve a fixture with --map-host %s=127.0.0.1:PORT, or start without --offline", t, t.host)
	}
	if via := p.outer.proxyFor(t); via != nil {
		return p.reachVia(ctx, via, t)
	}
	addrs, err := p.resolve(ctx, t)
	if err != nil {
		return nil, err
	}
	var failed error
	for _, a := range addrs {
		c, err := p.cfg.Dial(ctx, net.JoinHostPort(a.String(), t.port))
		if err == nil {
			return c, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, dialError(ctx, t, failed)
}

// dialError classifies a connection that could not be made.
func dialError(ctx context.Context, t target, err error) error {
	kind := fault.Upstream
	if ctx.Err() != nil {
		kind = fault.Timeout
	}
	return fault.New(kind, "cannot connect to %s: %v", t, err)
}

// refuse answers a CONNECT that leads nowhere. The reason phrase carries the
// gist: most clients show "Tunnel connection failed: 403 …" and drop the body.
func (p *Proxy) refuse(w http.ResponseWriter, host string, err error) {
	kind, msg := fault.KindOf(err), fault.Message(err)
	if kind != fault.BadRequest {
		p.tell(host, msg)
	}
	c, ok := hijack(w)
	if !ok {
		return
	}
	reply(c, fmt.Sprintf("%d Livegate: %s", kind.Status(), phrase(kind)), msg)
	c.Close()
}

// phrase is a reason phrase for a refused tunnel.
func phrase(k fault.Kind) string {
	if k == fault.Forbidden {
		return "not allowed, see its log"
	}
	return k.String()
}

// hijack takes the connection from the HTTP server, with what it has read
// beyond the head. Over h2 there is nothing to take: the stream is refused.
func hijack(w http.ResponseWriter) (net.Conn, bool) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "CONNECT works over HTTP/1.1 only.", http.StatusHTTPVersionNotSupported)
		return nil, false
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		c.Close()
		return nil, false
	}
	return withEarly(c, rw.Reader), true
}

// withEarly puts bytes that were read ahead back in front of a connection: a
// client may send its ClientHello before it has seen the 200.
func withEarly(c net.Conn, br *bufio.Reader) net.Conn {
	n := br.Buffered()
	if n == 0 {
		return c
	}
	early, _ := br.Peek(n) // buffered: cannot fail
	return &earlyConn{Conn: c, early: append([]byte(nil), early...)}
}

// earlyConn is a connection with bytes in front of it.
type earlyConn struct {
	net.Conn
	early []byte // owned by the reader
}

func (c *earlyConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// CloseWrite half-closes, where the connection can.
func (c *earlyConn) CloseWrite() error { return closeWrite(c.Conn) }

// reply writes the answer to a CONNECT. A 200 has no body and no headers: what
// follows belongs to the tunnel.
func reply(c net.Conn, status, body string) bool {
	head := "HTTP/1.1 " + status + "\r\n"
	if body != "" {
		body += ".\n"
		head += fmt.Sprintf("Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n", len(body))
	}
	deadline := time.Now().Add(replyTimeout)
	if c.SetWriteDeadline(deadline) != nil {
		c.Close()
		return false
	}
	_, err := c.Write([]byte(head + "\r\n" + body))
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		c.Close()
	}
	return err == nil
}
