package ws

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/conn"
)

// greedy is the address that an attacker comes from, on the loopback network;
// everybody else comes from 127.0.0.1.
const greedy = "127.0.0.2"

// from dials as somebody else. It reports, for use on any goroutine.
func (s *server) from(ip string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	nc, err := d.Dial("tcp", s.addr)
	if err == nil {
		_ = nc.SetDeadline(time.Now().Add(patience))
	}
	return nc, err
}

// knock sends request from ip and returns what comes back first, "" for an end.
func (s *server) knock(ip, request string) (nc net.Conn, status string) {
	nc, err := s.from(ip)
	if err != nil {
		return nil, ""
	}
	b := make([]byte, 512)
	if _, err := io.WriteString(nc, request); err != nil {
		return nc, ""
	}
	n, _ := nc.Read(b)
	status, _, _ = strings.Cut(strings.TrimPrefix(string(b[:n]), "HTTP/1.1 "), " ")
	return nc, status
}

// S25: one address opens what it may and not more, whatever it sends; others come
// and go meanwhile; and once it left, it may come again.
func TestS25OneAddress(t *testing.T) {
	const most, crowd = 20, 300
	limits := func(s *setup) { s.Rates = conn.Rates{ConnsPerIP: most} }
	for what, request := range map[string]string{
		"upgrades":            "",
		"half a head":         "GET /echo HTTP/1.1\r\nHost: ",
		"half a TLS record":   "\x16\x03\x01\x02\x00\x01",
		"requests kept alive": "GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		attack(t, "S25", "one address, "+what, limits, func(a *assault) {
			request := request
			if request == "" {
				request = a.control.fill(hello(get))
			}
			silent := !strings.HasSuffix(request, "\r\n\r\n")
			var mu sync.Mutex
			var wg sync.WaitGroup
			stay, opened := []net.Conn{}, 0
			for range 4 {
				wg.Go(func() {
					for range crowd / 4 {
						var nc net.Conn
						status := ""
						if !silent {
							nc, status = a.srv.knock(greedy, request)
						} else if nc, _ = a.srv.from(greedy); nc != nil {
							_, _ = io.WriteString(nc, request)
						}
						mu.Lock()
						if stay = append(stay, nc); status == "101" {
							opened++
						}
						mu.Unlock()
					}
				})
			}
			if bad := a.serves(time.Now().Add(slowHead / 2)); bad != "" {
				a.Error(bad)
			}
			wg.Wait()
			if opened > most {
				a.Errorf("%d WebSockets were opened, %d may be", opened, most)
			}
			kept := 0
			for _, nc := range stay {
				if nc == nil {
					continue
				}
				_ = nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
					kept++
				}
			}
			if kept > 2*most {
				a.Errorf("%d sockets of one address are open, %d may be", kept, 2*most)
			}
			a.holds(4 * mib)
			for _, nc := range stay {
				if nc != nil {
					nc.Close()
				}
			}
			a.comesAgain()
		})
	}
}

// comesAgain: nothing is held against the attacker any more.
func (a *assault) comesAgain() {
	a.Helper()
	request := a.control.fill(hello(get))
	for give := time.Now().Add(patience); ; {
		nc, status := a.srv.knock(greedy, request)
		if nc != nil {
			nc.Close()
		}
		if status == "101" {
			return
		}
		if time.Now().After(give) {
			a.Fatalf("still refused: %q", status)
		}
	}
}

// S25: handshakes beyond an address's rate get 429, and cost others nothing.
func TestS25HandshakeRate(t *testing.T) {
	const burst, tries = 10, 200
	limits := func(s *setup) { s.Rates = conn.Rates{HandshakesPerIP: 5, BurstPerIP: burst} }
	attack(t, "S25", "handshakes of one address", limits, func(a *assault) {
		request := a.control.fill(hello(get))
		statuses := map[string]int{}
		begin := time.Now()
		for range tries {
			nc, status := a.srv.knock(greedy, request)
			if statuses[status]++; nc != nil {
				nc.Close()
			}
		}
		most := burst + int(5*time.Since(begin).Seconds()) + 1
		if statuses["101"] < burst || statuses["101"] > most || statuses["101"]+statuses["429"] != tries {
			a.Errorf("%v, want %d to %d of 101 and 429 for the rest", statuses, burst, most)
		}
		if bad := a.visit(); bad != "" {
			a.Error(bad)
		}
		a.comesAgain()
	})
}

// S25: more ClientHellos at once than there may be handshakes. Clients that do not
// go on hold their places for Head.Timeout at most, memory stays bounded, and TLS
// is spoken again afterwards.
func TestS25ClientHellos(t *testing.T) {
	const crowd = 400
	limits := func(s *setup) { s.Head = conn.HeadLimits{Timeout: slowHead, Handshakes: 8} }
	attack(t, "S25", "ClientHellos without more", limits, func(a *assault) {
		first := clientHello()
		var all []net.Conn
		for range crowd {
			nc, err := a.srv.from(greedy)
			if err != nil {
				a.Fatal(err)
			}
			_, _ = nc.Write(first)
			all = append(all, nc)
		}
		a.unharmed(50)
		for i, nc := range all {
			if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
				a.Fatalf("connection %d was kept", i)
			}
			nc.Close()
		}
		nc, err := a.srv.from(greedy)
		if err != nil {
			a.Fatal(err)
		}
		tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is the test's own
		if err := tc.Handshake(); err != nil {
			a.Error("afterwards: ", err)
		}
		nc.Close()
		a.holds(8 * mib)
	})
}

// clientHello is the first flight of a TLS client.
func clientHello() []byte {
	here, there := net.Pipe()
	go func() {
		_ = tls.Client(here, &tls.Config{InsecureSkipVerify: true}).Handshake() //nolint:gosec // never gets an answer
		here.Close()
	}()
	defer there.Close()
	b := make([]byte, 4096)
	n, _ := there.Read(b)
	return b[:n]
}
