package conn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// Upgrade is a WebSocket handshake that passed every rule of RFC 6455 and waits
// for its answer. Meanwhile the socket is watched: see Context.
type Upgrade struct {
	Host      string // as sent, port included; of an absolute-form target, its own
	Path      string // decoded
	RawPath   string // as sent
	RawQuery  string // without '?'
	Headers   []Header
	Remote    netip.AddrPort
	Secure    bool
	At        time.Time // when the head was complete
	Protocols []string  // offered subprotocols, in order

	c   *Conn
	ctx context.Context
	key string
}

// Get is the first value of a header, by case-insensitive name; "" without one.
func (u *Upgrade) Get(name string) string {
	for i := range u.Headers {
		if strings.EqualFold(u.Headers[i].Name, name) {
			return u.Headers[i].Value
		}
	}
	return ""
}

// Context is cancelled, with cause ErrGone, when the client vanishes or breaks
// the rules before Accept or Refuse, and when Shutdown cuts it off.
func (u *Upgrade) Context() context.Context { return u.ctx }

// Detach runs f, which decides the upgrade and may block, on a goroutine of its
// own. An upgrade that f leaves unanswered is refused 500.
func (u *Upgrade) Detach(f func()) { f() }

// Accept answers 101 and opens the connection. The 101 leaves before anything
// that Send queues. ErrGone: the client vanished meanwhile, or the server is
// shutting down (the client then gets 503); o.Handler is never called. Any other
// error means that o is not valid; the client then gets 500.
func (u *Upgrade) Accept(o Options) (*Conn, error) {
	c := u.c
	if err := o.validate(); err != nil {
		u.Refuse(http.StatusInternalServerError, nil, messageBody("Internal server error"))
		return nil, err
	}
	reply := u.switching(&o)
	c.mu.Lock()
	if c.state == upgrading && c.doomed {
		c.answerLocked(refuse(http.StatusServiceUnavailable, "Service Unavailable").response())
	}
	if c.state != upgrading {
		c.mu.Unlock()
		return nil, ErrGone
	}
	c.state = open
	c.handler = o.Handler
	c.limits = o.Limits.withDefaults()
	c.opened = c.srv.since()
	c.active.Store(int64(c.opened))
	c.paused.Store(o.Paused)
	c.out.budget.Items, c.out.budget.Bytes = c.limits.SendItems, c.limits.SendBytes
	c.out.lead = reply
	c.startDrain()
	if d, ok := c.nextLimit(c.opened); ok {
		c.arm(d)
	}
	c.nudgeReader()
	c.mu.Unlock()
	return c, nil
}

// nudgeReader makes the read goroutine look up from its Read, which may have
// begun before the state changed. Only needed when bytes wait that it has read
// already. Needs mu.
func (c *Conn) nudgeReader() {
	if len(c.early) > 0 {
		c.nudged = true
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

func (o *Options) validate() error {
	if o.Handler == nil {
		return errors.New("conn.Accept: Options.Handler is nil")
	}
	if o.Subprotocol != "" && !isToken(o.Subprotocol) {
		return fault.New(fault.Upstream, "subprotocol %q is not a token (RFC 6455 §4.1)", o.Subprotocol)
	}
	return validHeaders(o.ExtraHeaders)
}

// switching is the 101 in AWS's spelling and order (reference: captured bytes).
func (u *Upgrade) switching(o *Options) []byte {
	b := make([]byte, 0, 192)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nConnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: "...)
	b = append(b, acceptKey(u.key)...)
	b = append(b, "\r\n"...)
	if o.Subprotocol != "" {
		b = appendHeader(b, "sec-websocket-protocol", o.Subprotocol)
	}
	for _, h := range o.ExtraHeaders {
		b = appendHeader(b, h.Name, h.Value)
	}
	return append(b, "\r\n"...)
}

// Refuse answers with a whole HTTP response and closes. Content-Length, Date and
// Connection: close are added, and a JSON content type when there is a body and
// headers names none. A header that would break the response makes it a 500: it
// is never sent in part. After the client vanished, or a second time, Refuse
// does nothing.
func (u *Upgrade) Refuse(status int, headers []Header, body []byte) {
	if validHeaders(headers) != nil || status < 200 || status > 999 {
		status, headers, body = http.StatusInternalServerError, nil, messageBody("Internal server error")
	}
	c := u.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == upgrading {
		c.answerLocked(appendResponse(nil, status, headers, body))
	}
}

// answerLocked queues an HTTP response instead of the 101; the read goroutine
// then drops what comes and closes. Needs mu and state upgrading.
func (c *Conn) answerLocked(response []byte) {
	c.state = refused
	c.peerDone = true
	c.limits = Limits{}.withDefaults()
	c.out.final = response
	c.arm(c.limits.WriteWait)
	c.startDrain()
	c.nudgeReader()
}

// open starts the handshake of a connection whose head is read, and then is its
// read goroutine. early is what came after the head.
func (s *Server) open(nc net.Conn, h *head, early []byte, secure bool) {
	req, err := checkUpgrade(h)
	if err == nil && len(early) > s.head.Early {
		err = errEarly
	}
	if err != nil {
		s.turnAway(nc, err)
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &Conn{srv: s, nc: nc, remote: remoteOf(nc), secure: secure, cancel: cancel}
	c.drainFn = c.drain
	c.early = append([]byte(nil), early...)
	if !s.admit(c) {
		s.turnAway(nc, refuse(http.StatusServiceUnavailable, "Service Unavailable"))
		return
	}
	_ = nc.SetDeadline(time.Time{})
	u := &Upgrade{
		Host: req.host, Path: req.path, RawPath: req.rawPath, RawQuery: req.rawQuery,
		Headers: h.headers, Remote: c.remote, Secure: secure, At: time.Now(),
		Protocols: offered(h.headers),
		c:         c, ctx: ctx, key: req.key,
	}
	go func() {
		s.cfg.Upgrade(u)
		u.Refuse(http.StatusInternalServerError, nil, messageBody("Internal server error"))
	}()
	c.run()
}

var errEarly = badRequest("Too many bytes before the handshake was answered")

func remoteOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
