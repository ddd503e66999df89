package conn

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

// Handler gets what a connection receives. It must not block: on the portable
// engine it holds up its own connection, on an event loop everybody's. When
// OnMessage panics, the connection closes with 1011 "Internal error".
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
	Deflate      frame.DeflatePolicy // of permessage-deflate (RFC 7692); the zero value declines it
	Handler      Handler             // required
	// Paused starts with reading paused, so that no OnMessage runs until Resume:
	// for owners that must publish the connection before its first message.
	Paused bool
}

// state of a connection, in order; it only ever grows.
type state uint8

const (
	young     state = iota // on a loop: no upgrade yet, perhaps never
	upgrading              // head read, Config.Upgrade is deciding
	refused                // an HTTP answer instead of the 101 is on its way
	open
	closing // a close frame is queued or the peer is lost; Send says ErrClosed
	closed  // the socket is closed, or its engine has been told to
)

// carrier is the engine under a connection.
type carrier interface {
	// ready says that there is something to write, or that the state or the due
	// time changed. It is called with c.mu held and does not block.
	ready(c *Conn, how urgency)
	// hangUp closes the socket: the state is closed. Called without c.mu.
	hangUp(c *Conn)
	home() *home
}

// urgency orders what connections wait for.
type urgency uint32

const (
	settled urgency = iota // nothing is due
	fanned                 // in its turn among the receivers of a fan-out
	prompt                 // before any fan-out
)

// home is what the connections of one engine, or of one loop, have in common.
type home struct {
	srv      *Server
	shard    int
	turn     time.Duration // on a loop: when this turn began, owned by it
	inflated time.Duration // on a loop: what of this turn went into inflating, owned by it
	stats    counters
}

// now is the time for whoever reads the socket.
func (h *home) now() time.Duration {
	if h.turn != 0 {
		return h.turn
	}
	return h.srv.since()
}

// enough says that a connection on a loop has had its share of the turn, or that
// the turn's time for frames is over, whoever spent it. until is for the share; it
// starts at 0.
func (h *home) enough(until *time.Duration) bool {
	if h.turn == 0 {
		return false // the scheduler sees to that
	}
	now := h.srv.since()
	if *until == 0 {
		*until = min(now+share, h.turn+slice)
	}
	return now >= *until
}

// Conn is one accepted connection.
//
// An idle one on a loop is this struct, an entry in the loop's table, and
// whatever its Handler holds. Fields are sorted for size within their groups.
type Conn struct {
	// static after the head was read
	via    carrier
	remote netip.AddrPort

	// static after Accept
	handler Handler
	limits  *Limits       // shared, see interned
	coding  *coding       // nil for most; on a loop, of a TLS connection: from its first byte on
	opened  time.Duration // since srv.base

	// owned by whoever reads the socket
	in       *inbound      // nil on a loop while nothing is partial
	controls time.Duration // see allowControl

	// any goroutine
	active atomic.Int64 // time.Duration since srv.base
	heard  atomic.Int64 // of the last byte that arrived; kept only for a heartbeat
	paused atomic.Bool
	shut   atomic.Bool   // state is past open
	posted atomic.Uint32 // urgency with which the loop was told

	mu sync.Mutex
	// guarded by mu
	up       *Upgrade      // while upgrading
	out      *outbound     // nil while nothing waits
	end      *ending       // set on leaving open
	due      time.Duration // since srv.base: when the state has lasted long enough; 0: never
	pinged   time.Duration // since srv.base: when the heartbeat asked; 0: it did not
	state    state
	agreed   agreement // static after Accept
	secure   bool      // static
	flushed  bool      // our close frame, or the refusal, left
	peerDone bool      // nothing more of the peer will be looked at
	answered bool      // the peer's close frame came after ours left

	// owned by the loop
	told   bool  // OnClose was called (portable engine: owned by the read goroutine)
	stuck  bool  // out.blocked
	served bool  // an HTTP request
	begun  bool  // a request has begun to arrive
	bodied bool  // and its head is complete
	mask   uint8 // what epoll watches
	spot   spot
}

// ending is the outcome for OnClose.
type ending struct {
	code     int
	reason   string
	lingered int // bytes dropped since, owned by the loop
}

// RemoteAddr is the client's address; the zero AddrPort when it has none (an
// in-memory connection).
func (c *Conn) RemoteAddr() netip.AddrPort { return c.remote }

// Secure reports whether the client came over TLS.
func (c *Conn) Secure() bool { return c.secure }

// LastActive is the time of the last inbound data frame or ping, or Touch, or
// the accept.
func (c *Conn) LastActive() time.Time {
	return c.srv().base.Add(time.Duration(c.active.Load()))
}

// Shard is the event loop this connection lives on, in [0, Server.Shards()).
func (c *Conn) Shard() int { return c.via.home().shard }

// Touch counts as activity: a delivered callback keeps a connection from
// idling (reference default for an open question; AWS's own rule is not known).
func (c *Conn) Touch() { c.active.Store(int64(c.srv().since())) }

// Pause stops reading after the message being handled. The client's frames then
// wait in the socket, pings too; idle and lifetime go on counting.
func (c *Conn) Pause() { c.paused.Store(true) }

// Resume undoes Pause.
func (c *Conn) Resume() {
	c.mu.Lock()
	c.paused.Store(false)
	c.heard.Store(int64(c.srv().since())) // nothing could be heard meanwhile
	c.via.ready(c, prompt)
	c.mu.Unlock()
}

func (c *Conn) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == open
}

func (c *Conn) srv() *Server     { return c.via.home().srv }
func (c *Conn) stats() *counters { return &c.via.home().stats }

// halted: what arrives must wait. Closing ends every pause: the peer's close
// frame must be read.
func (c *Conn) halted() bool { return c.paused.Load() && !c.shut.Load() }
