package conn

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// Handshakes beyond a client's rate get 429, beyond the server's 503, both with
// Retry-After; what is open goes on.
func TestRatesRefuse(t *testing.T) { onEngines(t, testRatesRefuse) }

func testRatesRefuse(t *testing.T) {
	for _, r := range []struct {
		name   string
		rates  Rates
		free   int
		status int
	}{
		{"per client", Rates{HandshakesPerIP: 0.01, BurstPerIP: 2}, 2, 429},
		{"server", Rates{Handshakes: 0.01, Burst: 3}, 3, 503},
		{"open per client", Rates{ConnsPerIP: 2}, 2, 429},
		{"open", Rates{Conns: 2}, 2, 503},
	} {
		s, addr := serveTCP(t, Config{Rates: r.rates, Upgrade: func(u *Upgrade) {
			rec := newRecorder()
			rec.echo = true
			u.Accept(Options{Handler: rec})
		}})
		var in []*peer
		for range r.free {
			in = append(in, dialTCP(t, addr).open())
		}
		p := dialTCP(t, addr)
		p.send([]byte(ws(get)))
		res, _ := p.response()
		if res.StatusCode != r.status || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: status %d, Retry-After %q", r.name, res.StatusCode, res.Header.Get("Retry-After"))
		}
		if got := p.next(); got != "eof" {
			t.Error(r.name, got)
		}
		for _, p := range in {
			p.send(text("still"))
			if got := p.next(); got != `text "still"` {
				t.Error(r.name, got)
			}
		}
		if st := s.Stats(); st.Refused.Rates != 1 || st.Open != r.free {
			t.Errorf("%s: %+v", r.name, st)
		}
	}
}

// Whoever left makes room, on both sides of the hand-over to HTTP.
func TestGateCountsOut(t *testing.T) { onEngines(t, testGateCountsOut) }

func testGateCountsOut(t *testing.T) {
	s, addr := serveTCP(t, Config{Rates: Rates{Conns: 100, ConnsPerIP: 100}, HTTP: seen, Upgrade: accepting(Options{Handler: discard{}})})
	for i := range 30 {
		p := dialTCP(t, addr)
		switch i % 3 {
		case 0:
			p.open()
		case 1:
			p.send([]byte("GET /x HTTP/1.1\r\nHost: h\r\n\r\n"))
			p.response()
		case 2:
			p.send([]byte("GET"))
		}
		p.nc.Close()
	}
	give := time.Now().Add(patience)
	for {
		s.gate.mu.Lock()
		open, known := s.gate.open, len(s.gate.clients)
		s.gate.mu.Unlock()
		if open == 0 && known == 0 {
			return
		}
		if time.Now().After(give) {
			t.Fatalf("%d open, %d clients", open, known)
		}
		runtime.Gosched()
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Portable: true, Rates: Rates{HandshakesPerIP: 2, ConnsPerIP: 3, Handshakes: 1000}})
		a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.2:1")
		allowed := func(p netip.AddrPort, n int) (got int) {
			for range n {
				if s.gate.handshake(p) == nil {
					got++
				}
			}
			return got
		}
		if got := allowed(a, 10); got != 2 {
			t.Errorf("burst of %d", got)
		}
		if got := allowed(b, 10); got != 2 {
			t.Errorf("another client: %d", got)
		}
		time.Sleep(500 * time.Millisecond)
		if got := allowed(a, 10); got != 1 {
			t.Errorf("after half a second: %d", got)
		}
		// One household's addresses count as one; mapped ones as IPv4.
		v6 := func(host string) netip.AddrPort { return netip.MustParseAddrPort("[2001:db8:1:2::" + host + "]:9") }
		if got := allowed(v6("1"), 2) + allowed(v6("2"), 2); got != 2 {
			t.Errorf("a /64: %d", got)
		}
		for i := range 10 {
			if in := s.gate.enter(a); in != (i < 6) {
				t.Errorf("socket %d: %v", i, in)
			}
		}
	})
}

// The table of clients forgets, and is bounded while it cannot.
func TestGateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Portable: true, Rates: Rates{HandshakesPerIP: 0.001, Handshakes: 1e9, Burst: 1 << 30}})
		from := func(i int) netip.AddrPort {
			return netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255))
		}
		for i := range maxClients + 1000 {
			s.gate.handshake(from(i))
		}
		if n := len(s.gate.clients); n > maxClients {
			t.Errorf("%d clients", n)
		}
		if s.gate.handshake(from(1)) == nil {
			t.Error("forgot a client that has to wait")
		}
		time.Sleep(2000 * time.Second)
		for i := range 5000 {
			s.gate.handshake(from(1<<20 + i))
		}
		if s.gate.client(from(1<<20+4999)) == nil || len(s.gate.clients) > maxClients {
			t.Error("did not forget those who may come again")
		}
	})
}
