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
//   - [Conn] Send, SendPrepared, Close, Pause, Resume and Touch never block and
//     may be called from any goroutine, handlers included. Messages leave in the
//     order in which they were queued, whoever queued them.
//   - Every buffer is bounded: the head, bytes that arrive before the 101, a
//     message in the making, the outbound queue, waiting pongs. What happens at
//     each bound is named where the bound is ([HeadLimits], [Limits]).
//   - A broken rule of RFC 6455 closes the connection with the code the RFC
//     names, once, and nothing the peer sends afterwards is looked at.
//   - A panic in what the owner gave (a [Handler], Config.Upgrade, Config.Hot, a
//     [Task]) is logged with its stack, counted, and ends what it happened in: the
//     connection with 1011, the upgrade or the request with 500, the task.
//
// It does not know routes, JSON or connection ids.
//
// Two engines carry connections; what a connection says and does is the same
// code on both (read.go, write.go, close.go, upgrade.go), and one test suite
// passes on both.
//
// The event loops (Linux, TCP listeners) own no goroutine and no buffer per idle
// connection. One loop per core waits in epoll. Read buffers are borrowed per
// wake-up: a message that lies whole in one is unmasked there and lent to
// OnMessage. A socket is written only by its loop; others queue and post the
// connection to the loop's mailbox. Handlers run on the loop and must not block.
// One turn of a loop is: sockets that became readable, with all replies to one
// read in one write; then timers; then connections that somebody sent to; then
// up to a millisecond of fan-out. So a reply never waits for a fan-out, however
// large. Nor for a flood: frames have a millisecond of a turn, too, and a connection
// a quarter of that at once. What it sent beyond waits for its next turn, round
// robin, and nothing more of it is read before.
//
// Connections are accepted by one loop and dealt out in turn. Letting the kernel
// choose (EPOLLEXCLUSIVE) gives most connections to the loop that is awake most,
// and they stay there for hours.
//
// A TLS handshake runs on a goroutine; then the connection is parked: its loop
// opens what it reads, and seals what is queued when it leaves.
//
// The portable engine has a goroutine per connection, blocked in Read, and a
// writer goroutine only while something is queued. It serves other systems,
// listeners that are not TCP, connections that come through ServeConn, and
// upgrades that follow another request on the same connection.
//
// Tests drive the portable engine over net.Pipe inside testing/synctest bubbles,
// see ServeConn, and the loops over loopback.
package conn

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
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
	// Rates bound who may open how many connections, and how fast.
	Rates Rates
	// Loops is the number of event loops; 0 is one per core.
	Loops int
	// Portable serves everything on goroutines, without event loops.
	Portable bool
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

	gate      *gate
	loops     *engine  // the event loops; nil where there are none
	here      home     // of connections on the portable engine
	limits    interned // Limits that connections share
	tasks     tasks
	tls       *tls.Config // cfg.TLS for parked connections
	greetings greetings   // TLS handshakes under way on the portable engine

	chunks  sync.Pool // of *chunk
	outs    sync.Pool // of *outbound
	scratch sync.Pool // of *[]byte

	mu sync.Mutex
	// guarded by mu
	closing   bool
	draining  bool    // accepts nothing any more
	parting   parting // what the rest is closed with
	listeners map[net.Listener]struct{}
	young     map[net.Conn]struct{} // no complete request head yet
	conns     map[*Conn]struct{}    // on the portable engine, upgrading or open

	deaf chan struct{} // closed when accepting ends

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
		parting:   parting{frame.CodeGoingAway, reasonGoingAway},
		deaf:      make(chan struct{}),
		listeners: map[net.Listener]struct{}{},
		young:     map[net.Conn]struct{}{},
		conns:     map[*Conn]struct{}{},
	}
	s.here.srv = s
	s.gate = newGate(s, cfg.Rates)
	s.greetings.places = make(chan struct{}, s.head.Handshakes)
	if cfg.TLS != nil {
		s.tls = tlsServerConfig(cfg.TLS)
	}
	s.web = newWeb(s)
	if !cfg.Portable {
		s.loops = newEngine(s, cfg.Loops)
	}
	return s
}

// since is the time on this server's monotonic axis.
func (s *Server) since() time.Duration { return time.Since(s.base) }
