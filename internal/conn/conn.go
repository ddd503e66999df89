// Package conn is one client connection, from accept to close: the first byte,
// the bounded request head, the WebSocket handshake, reads, bounded writes, the
// close handshake, idle and lifetime limits.
//
// A [Server] serves everything that arrives on a port. The first byte decides
// TLS or plain. A WebSocket upgrade becomes an [Upgrade], which the owner of
// Config.Upgrade accepts or refuses; any other request leaves for good, unread
// bytes included, to one http.Server behind Config.HTTP.
//
// Promises:
//   - [Handler] OnMessage is called in order, from one goroutine at a time;
//     OnClose exactly once per accepted connection, after the last OnMessage,
//     whatever ended it.
//   - [Conn] Send, Close, Pause, Resume and Touch never block and may be called
//     from any goroutine, handlers included.
//   - Every buffer is bounded: the head, bytes that arrive before the 101, a
//     message in the making, the outbound queue, waiting pongs. What happens at
//     each bound is named where the bound is ([HeadLimits], [Limits]).
//   - A broken rule of RFC 6455 closes the connection with the code the RFC
//     names, once, and nothing the peer sends afterwards is looked at.
//
// It does not know routes, JSON or connection ids.
//
// This is the portable engine: one goroutine per connection blocked in Read, and
// a writer goroutine only while something is queued. Handlers must not block:
// on an event loop they run on the loop.
//
// Tests drive it over net.Pipe inside testing/synctest bubbles; see ServeConn.
package conn

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/fault"
)

// Errors of this package. Match them with errors.Is, or by fault kind.
var (
	// ErrGone: the client vanished, or was refused, before the handshake ended.
	ErrGone = fault.New(fault.Gone, "the client is gone before its handshake ended")
	// ErrClosed: the close of the connection has begun.
	ErrClosed = fault.New(fault.Gone, "the connection is closed")
	// ErrQueueFull: the outbound queue is at its bound; the connection stays.
	ErrQueueFull = fault.New(fault.Throttled, "the client's receive buffer is full")
)

// Config says what a Server serves. The zero value works: plain only, every
// upgrade refused with 501, every other request answered 404.
type Config struct {
	// TLS makes the port speak TLS too: a first byte of 0x16 (RFC 8446 §5.1,
	// handshake record) selects it per connection. NextProtos may hold h2.
	TLS *tls.Config
	// HTTP serves everything that is not a WebSocket upgrade, CONNECT included,
	// with a working http.Hijacker on HTTP/1.
	HTTP http.Handler
	// Upgrade decides WebSocket upgrades. It must not block: what takes time goes
	// through Upgrade.Detach. Every upgrade ends in Accept or Refuse exactly once;
	// one that is neither answered nor detached on return is refused 500.
	Upgrade func(*Upgrade)
	// Hot serves what the event loops answer themselves; nil for nothing. The
	// portable engine leaves it to HTTP.
	Hot Hot
	// Clock scales Limits.Idle and Limits.Lifetime. What waits for the network
	// (heads, writes, close frames) is never scaled: no client can send its head
	// in the 3 ms that ten seconds are at --time-scale 3600.
	Clock clock.Clock
	// Head bounds request heads.
	Head HeadLimits
	// ErrorLog gets accept and TLS troubles; nil discards them.
	ErrorLog *slog.Logger
}

// Server serves connections. Make one with New; end it with Shutdown.
type Server struct {
	// static after New
	cfg  Config
	head HeadLimits // cfg.Head with defaults
	base time.Time  // monotonic origin of Conn.active
	web  *web       // the http.Server and the way into it

	tasks tasks

	chunks sync.Pool // of *chunk

	mu sync.Mutex
	// guarded by mu
	closing   bool
	listeners map[net.Listener]struct{}
	young     map[net.Conn]struct{} // no complete request head yet
	conns     map[*Conn]struct{}    // upgrading or open

	live sync.WaitGroup // goroutines that own a connection; Add under mu, before closing
}

// New returns a server that serves nothing until Serve or ServeConn.
func New(cfg Config) *Server {
	if cfg.HTTP == nil {
		cfg.HTTP = http.NotFoundHandler()
	}
	if cfg.Upgrade == nil {
		cfg.Upgrade = func(u *Upgrade) {
			u.Refuse(http.StatusNotImplemented, nil, messageBody("WebSocket is not served here"))
		}
	}
	s := &Server{
		cfg:       cfg,
		head:      cfg.Head.withDefaults(),
		base:      time.Now(),
		listeners: map[net.Listener]struct{}{},
		young:     map[net.Conn]struct{}{},
		conns:     map[*Conn]struct{}{},
	}
	s.web = newWeb(s)
	return s
}

// since is the time on this server's monotonic axis.
func (s *Server) since() time.Duration { return time.Since(s.base) }

// Handler gets what a connection receives. It must not block: on the portable
// engine it holds up its own connection, on an event loop everybody's.
type Handler interface {
	// OnMessage gets one whole message. data is valid only during the call.
	OnMessage(c *Conn, data []byte, binary bool)
	// OnClose is the last call. code and reason are what AWS reports as
	// disconnectStatusCode and disconnectReason: the peer's own; 1005 "Client-side
	// close frame status not set"; 1006 "" when TCP was lost; 1001 "Going away"
	// for idle, lifetime and shutdown; what Close was given; or the code of the
	// broken rule with a short English reason.
	OnClose(c *Conn, code int, reason string)
}

// Options are the terms on which an Upgrade is accepted.
type Options struct {
	Subprotocol  string   // sent as sec-websocket-protocol unless ""
	ExtraHeaders []Header // appended to the 101
	Limits       Limits
	Handler      Handler // required
	// Paused starts with reading paused, so that no OnMessage runs until Resume:
	// for owners that must publish the connection before its first message.
	Paused bool
}

// state of a connection, in order; it only ever grows.
type state uint8

const (
	upgrading state = iota // head read, Config.Upgrade is deciding
	refused                // an HTTP answer instead of the 101 is on its way
	open
	closing // a close frame is queued or the peer is lost; Send says ErrClosed
	closed  // the socket is closed
)

// Conn is one accepted connection.
type Conn struct {
	// static after the head was read
	srv    *Server
	nc     net.Conn
	remote netip.AddrPort
	secure bool

	// static after Accept
	handler Handler
	limits  Limits
	opened  time.Duration // since srv.base
	drainFn func()        // c.drain, bound once so that starting it costs no allocation

	// owned by the read goroutine
	in inbound

	// any goroutine
	active atomic.Int64 // time.Duration since srv.base
	paused atomic.Bool
	shut   atomic.Bool // state is past open

	mu sync.Mutex
	// guarded by mu
	state    state
	code     int    // outcome for OnClose, set on leaving open
	reason   string // same
	early    []byte // arrived while upgrading
	nudged   bool   // the read goroutine has a read deadline to clear
	doomed   bool   // upgrading: Shutdown wants a 503
	cancel   func(error)
	out      outbound
	flushed  bool          // our close frame, or the refusal, left
	peerDone bool          // nothing more of the peer will be looked at
	answered bool          // the peer's close frame came after ours left
	wake     chan struct{} // closed to wake a waiting reader
	timer    *time.Timer   // limits while open, patience afterwards
	due      time.Duration // since srv.base: when timer has something to say
}

// RemoteAddr is the client's address; the zero AddrPort when it has none (an
// in-memory connection).
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remote }

// Secure reports whether the client came over TLS.
func (c *Conn) Secure() bool { return c.secure }

// LastActive is the time of the last inbound data frame or ping, or Touch, or
// the accept.
func (c *Conn) LastActive() time.Time {
	return c.srv.base.Add(time.Duration(c.active.Load()))
}

// Shard is the event loop this connection lives on, in [0, Server.Shards()).
func (c *Conn) Shard() int { return 0 }

// Touch counts as activity: a delivered callback keeps a connection from
// idling (reference default for an open question; AWS's own rule is not known).
func (c *Conn) Touch() { c.active.Store(int64(c.srv.since())) }

// Pause stops reading after the message being handled. The client's frames then
// wait in the socket, pings too; idle and lifetime go on counting.
func (c *Conn) Pause() { c.paused.Store(true) }

// Resume undoes Pause.
func (c *Conn) Resume() {
	c.paused.Store(false)
	c.mu.Lock()
	c.wakeReader()
	c.mu.Unlock()
}

// wakeChan is closed by the next wakeReader. Needs mu.
func (c *Conn) wakeChan() chan struct{} {
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	return c.wake
}

// wakeReader needs mu.
func (c *Conn) wakeReader() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// waitResumed blocks the read goroutine while the connection is paused and
// open. Closing ends every pause: the peer's close frame must be read.
func (c *Conn) waitResumed() {
	for {
		c.mu.Lock()
		if !c.paused.Load() || c.state != open {
			c.mu.Unlock()
			return
		}
		wake := c.wakeChan()
		c.mu.Unlock()
		<-wake
	}
}
