package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
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
	key string

	// guarded by c.mu
	ctx      context.Context // made when somebody asks for it
	cancel   context.CancelCauseFunc
	gone     bool   // the client is
	doomed   bool   // Shutdown wants a 503
	detached bool   // Detach was called
	early    []byte // arrived while undecided
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

// PeerCertificates are those that the client showed on its TLS connection, its own
// first; nil when it showed none. They are verified as far as Config.TLS asks for that.
// Only before the upgrade is answered.
func (u *Upgrade) PeerCertificates() []*x509.Certificate {
	tc := u.c.overTLS()
	if tc == nil {
		return nil
	}
	return tc.ConnectionState().PeerCertificates
}

// overTLS is the TLS connection under c; nil without.
func (c *Conn) overTLS() *tls.Conn {
	if c.coding != nil && c.coding.tls != nil {
		return c.coding.tls.tc
	}
	r, ok := c.via.(*routine)
	if !ok {
		return nil
	}
	for at := r.nc; ; {
		switch v := at.(type) {
		case *tls.Conn:
			return v
		case *patient:
			at = v.Conn
		case *replayed:
			at = v.Conn
		default:
			return nil
		}
	}
}

// Context is cancelled, with cause ErrGone, when the client vanishes or breaks
// the rules before Accept or Refuse, and when Shutdown cuts it off.
func (u *Upgrade) Context() context.Context {
	u.c.mu.Lock()
	defer u.c.mu.Unlock()
	if u.ctx == nil {
		u.ctx, u.cancel = context.WithCancelCause(context.Background())
		if u.gone {
			u.cancel(ErrGone)
		}
	}
	return u.ctx
}

// abandon says that the client is gone. Needs c.mu.
func (u *Upgrade) abandon() {
	u.gone = true
	if u.cancel != nil {
		u.cancel(ErrGone)
	}
}

// keepEarly keeps bytes that arrived ahead of the 101, for the connection to
// come. false: there are too many, and the client gets its 400. Needs c.mu and
// state upgrading.
func (u *Upgrade) keepEarly(p []byte) bool {
	if len(u.early)+len(p) > u.c.srv().head.Early {
		u.early = nil
		u.c.answer(errEarly.response())
		u.c.stats().refusals[badHead].Add(1)
		u.abandon()
		return false
	}
	u.early = append(u.early, p...)
	return true
}

// Detach runs f, which decides the upgrade and may block, on a goroutine of its
// own. An upgrade that f leaves unanswered is refused 500.
func (u *Upgrade) Detach(f func()) {
	u.c.mu.Lock()
	u.detached = true
	u.c.mu.Unlock()
	go func() {
		u.decideSafely(f)
		u.unanswered()
	}()
}

// decide asks Config.Upgrade.
func (u *Upgrade) decide() {
	u.decideSafely(func() { u.c.srv().cfg.Upgrade(u) })
	u.c.mu.Lock()
	detached := u.detached
	u.c.mu.Unlock()
	if !detached {
		u.unanswered()
	}
}

func (u *Upgrade) unanswered() {
	u.Refuse(http.StatusInternalServerError, nil, messageBody("Internal server error"))
}

// Accept answers 101 and opens the connection. The 101 leaves before anything
// that Send queues. ErrGone: the client vanished meanwhile, or the server is
// shutting down (the client then gets 503); o.Handler is never called. Any other
// error means that o is not valid; the client then gets 500.
func (u *Upgrade) Accept(o Options) (*Conn, error) {
	c := u.c
	if err := o.validate(); err != nil {
		u.unanswered()
		return nil, err
	}
	deflate, extension := u.negotiate(o.Deflate)
	reply := u.switching(&o, extension)
	limits := c.srv().limits.share(o.Limits.withDefaults())
	now := c.srv().since()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == upgrading && u.doomed {
		c.stats().refusals[leaving].Add(1)
		c.answer(refuse(http.StatusServiceUnavailable, "Service Unavailable").response())
	}
	if c.state != upgrading {
		return nil, ErrGone
	}
	c.state = open
	c.handler = o.Handler
	c.limits = limits
	c.agree(deflate)
	c.opened = now
	c.active.Store(int64(now))
	c.heard.Store(int64(now))
	c.paused.Store(o.Paused)
	q := c.queue()
	q.budget.Items, q.budget.Bytes = limits.SendItems, limits.SendBytes
	q.push(reply, lead)
	c.nextLimit(now)
	c.stats().handshakes.Add(1)
	c.stats().opened.Add(1)
	c.via.ready(c, prompt)
	return c, nil
}

func (o *Options) validate() error {
	if o.Handler == nil {
		return errors.New("conn.Accept: Options.Handler is nil")
	}
	if o.Subprotocol != "" && !isToken(o.Subprotocol) {
		return fault.New(fault.Upstream, "subprotocol %q is not a token (RFC 6455 §4.1)", o.Subprotocol)
	}
	if err := o.Deflate.Validate(); err != nil {
		return err
	}
	return validHeaders(o.ExtraHeaders)
}

// switching is the 101 in AWS's spelling and order (reference: captured bytes).
func (u *Upgrade) switching(o *Options, extension string) []byte {
	b := make([]byte, 0, 192)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nConnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: "...)
	b = append(b, acceptKey(u.key)...)
	b = append(b, "\r\n"...)
	if extension != "" {
		b = appendHeader(b, "sec-websocket-extensions", extension)
	}
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
		c.stats().refusals[rejected].Add(1)
		c.answer(appendResponse(nil, status, headers, body))
	}
}

// answer queues an HTTP response instead of the 101; whoever reads then drops
// what comes and closes. Needs mu and a state before open.
func (c *Conn) answer(response []byte) {
	c.state = refused
	c.peerDone = true
	c.limits = c.srv().limits.share(Limits{}.withDefaults())
	c.queue().push(response, final)
	c.arm(c.limits.WriteWait)
	c.via.ready(c, prompt)
}

// newUpgrade checks a head. The error is a *refusal.
func (s *Server) newUpgrade(c *Conn, h *head, early []byte) (*Upgrade, error) {
	if s.isClosing() {
		c.stats().refusals[leaving].Add(1)
		return nil, refuse(http.StatusServiceUnavailable, "Service Unavailable")
	}
	if r := s.gate.handshake(c.remote); r != nil {
		c.stats().refusals[limited].Add(1)
		return nil, r
	}
	req, err := checkUpgrade(h)
	if err == nil && len(early) > s.head.Early {
		err = errEarly
	}
	if err != nil {
		c.stats().refusals[badHead].Add(1)
		return nil, err
	}
	u := &Upgrade{
		Host: req.host, Path: req.path, RawPath: req.rawPath, RawQuery: req.rawQuery,
		Headers: h.headers, Remote: c.remote, Secure: c.secure, At: time.Now(),
		Protocols: offered(h.headers),
		c:         c, key: req.key,
	}
	if len(early) > 0 {
		u.early = append([]byte(nil), early...)
	}
	return u, nil
}

// open starts the handshake of a connection on the portable engine whose head is
// read, and then is its read goroutine. early is what came after the head.
func (s *Server) open(nc net.Conn, h *head, early []byte, secure bool) {
	r := newRoutine(s, nc, secure)
	u, err := s.newUpgrade(r.c, h, early)
	if err != nil {
		s.turnAway(nc, err)
		return
	}
	r.c.up = u
	if !s.admit(r.c) {
		s.here.stats.refusals[leaving].Add(1)
		s.turnAway(nc, refuse(http.StatusServiceUnavailable, "Service Unavailable"))
		return
	}
	_ = nc.SetDeadline(time.Time{})
	go u.decide()
	r.run()
}

var errEarly = badRequest("Too many bytes before the handshake was answered")

func remoteOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
