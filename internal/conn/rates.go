package conn

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// Rates bound what clients may open. A zero field bounds nothing. Clients are
// told apart by address, IPv6 ones by their /64, which one household has.
//
// A handshake beyond a bound is refused as soon as its head is there, with 429
// when the client's own bound is reached and 503 when the server's is, and
// Retry-After. Sockets count from their accept on, whatever they carry. One that
// would be a quarter beyond Conns, or twice ConnsPerIP, is closed at once: heads
// that never come cannot hold more.
type Rates struct {
	Conns           int     // open sockets
	ConnsPerIP      int     // of one client
	Handshakes      float64 // per second
	HandshakesPerIP float64 // per second, of one client
	Burst           int     // handshakes at once; 0: one second's, at least 1
	BurstPerIP      int     // of one client; 0: one second's, at least 1
}

// maxClients bounds the table of clients. While it is full of clients that must
// be remembered, further ones are held to the server's bounds only.
const maxClients = 1 << 16

// gate counts who is inside and how fast they come.
type gate struct {
	// static
	rates Rates
	since func() time.Duration

	mu sync.Mutex
	// guarded by mu
	open    int
	full    time.Duration // see spend
	clients map[netip.Addr]*client
}

// client is somebody with open sockets, or who came lately.
type client struct {
	open int
	full time.Duration
}

// newGate returns nil when nothing is bounded.
func newGate(s *Server, r Rates) *gate {
	if r == (Rates{}) {
		return nil
	}
	if r.Burst <= 0 {
		r.Burst = max(int(r.Handshakes), 1)
	}
	if r.BurstPerIP <= 0 {
		r.BurstPerIP = max(int(r.HandshakesPerIP), 1)
	}
	return &gate{rates: r, since: s.since, clients: map[netip.Addr]*client{}}
}

// clientOf is what tells clients apart.
func clientOf(a netip.AddrPort) netip.Addr {
	ip := a.Addr().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// spend takes one of burst tokens, of which one comes back in each. full is when
// all will be back: that alone describes a bucket. Without a token it returns how
// long to wait for one, and takes none.
func spend(full *time.Duration, now, each time.Duration, burst int) (wait time.Duration) {
	next := max(*full, now) + each
	if wait = next - now - each*time.Duration(burst); wait > 0 {
		return wait
	}
	*full = next
	return 0
}

func each(perSecond float64) time.Duration { return time.Duration(float64(time.Second) / perSecond) }

// enter counts a socket in. false: close it.
func (g *gate) enter(a netip.AddrPort) bool {
	if g == nil {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := g.rates.Conns; n > 0 && g.open >= n+n/4+1 {
		return false
	}
	c := g.client(a)
	if n := g.rates.ConnsPerIP; n > 0 && c != nil && c.open >= 2*n {
		return false
	}
	g.open++
	if c != nil {
		c.open++
	}
	return true
}

// leave counts it out.
func (g *gate) leave(a netip.AddrPort) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	key := clientOf(a)
	if c := g.clients[key]; c != nil {
		if c.open > 0 {
			c.open--
		}
		if c.open == 0 && c.full <= g.since() {
			delete(g.clients, key)
		}
	}
}

// client finds or makes a client; nil when there is no address or no room. Needs
// mu.
func (g *gate) client(a netip.AddrPort) *client {
	if !a.IsValid() || g.rates.ConnsPerIP <= 0 && g.rates.HandshakesPerIP <= 0 {
		return nil
	}
	key := clientOf(a)
	if c := g.clients[key]; c != nil {
		return c
	}
	if len(g.clients) >= maxClients && !g.sweep() {
		return nil
	}
	c := &client{}
	g.clients[key] = c
	return c
}

// sweep forgets some clients of whom nothing must be remembered: maps are walked
// from a random place. Needs mu.
func (g *gate) sweep() bool {
	now := g.since()
	looked, before := 0, len(g.clients)
	for key, c := range g.clients {
		if c.open == 0 && c.full <= now {
			delete(g.clients, key)
		}
		if looked++; looked == 64 {
			break
		}
	}
	return len(g.clients) < before
}

// handshake decides whether a client may open a WebSocket now.
func (g *gate) handshake(a netip.AddrPort) *refusal {
	if g == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.since()
	c := g.client(a)
	if n := g.rates.ConnsPerIP; n > 0 && c != nil && c.open > n {
		return tooMany(http.StatusTooManyRequests, time.Second)
	}
	if n := g.rates.Conns; n > 0 && g.open > n {
		return tooMany(http.StatusServiceUnavailable, time.Second)
	}
	if r := g.rates.HandshakesPerIP; r > 0 && c != nil {
		if wait := spend(&c.full, now, each(r), g.rates.BurstPerIP); wait > 0 {
			return tooMany(http.StatusTooManyRequests, wait)
		}
	}
	if r := g.rates.Handshakes; r > 0 {
		if wait := spend(&g.full, now, each(r), g.rates.Burst); wait > 0 {
			return tooMany(http.StatusServiceUnavailable, wait)
		}
	}
	return nil
}

// tooMany says when to come again, in whole seconds (RFC 9110 §10.2.3).
func tooMany(status int, wait time.Duration) *refusal {
	r := refuse(status, http.StatusText(status))
	r.headers = []Header{{"Retry-After", strconv.Itoa(int((wait + time.Second - 1) / time.Second))}}
	return r
}

// entered is a connection of the portable engine that the gate counts.
type entered struct {
	net.Conn
	leave func()
	once  sync.Once
}

// count makes the gate count nc until it is closed; nil when it may not enter.
func (g *gate) count(nc net.Conn) net.Conn {
	a := remoteOf(nc)
	switch {
	case g == nil:
		return nc
	case !g.enter(a):
		return nil
	}
	return &entered{Conn: nc, leave: func() { g.leave(a) }}
}

func (e *entered) Close() error {
	e.once.Do(e.leave)
	return e.Conn.Close()
}

// CloseWrite passes a half-close on.
func (e *entered) CloseWrite() error {
	return (&replayed{Conn: e.Conn}).CloseWrite()
}
