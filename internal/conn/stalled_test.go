package conn

import (
	"crypto/tls"
	"errors"
	"sync"
	"testing"
	"time"
)

// Clients that send a whole ClientHello and nothing more held every place for a
// handshake until Head.Timeout, and an honest one behind them did not get in.
func TestStalledHellosMakeRoom(t *testing.T) { onEngines(t, testStalledHellosMakeRoom) }

func testStalledHellosMakeRoom(t *testing.T) {
	const stalled, places = 200, 20
	s, addr := serveTCP(t, Config{TLS: testTLS(t), Head: HeadLimits{Handshakes: places, Timeout: 4 * time.Second}, Upgrade: accepting(Options{Handler: echo{}})})
	hello := clientHello(t)
	for range stalled {
		dialTCP(t, addr).send(hello)
	}
	for give := time.Now().Add(patience); s.Stats().TLS.Waited < stalled-places; <-time.After(time.Millisecond) {
		if time.Now().After(give) {
			t.Fatalf("%+v", s.Stats().TLS)
		}
	}
	for range 5 {
		p := secured(t, addr, nil, nil)
		if err := p.nc.(*tls.Conn).Handshake(); err != nil {
			t.Fatalf("handshake: %v, %+v", err, s.Stats().TLS)
		}
		p.nc.Write([]byte(upgradeHead("/")))
		if res, _ := p.response(); res.StatusCode != 101 {
			t.Fatal(res.StatusCode)
		}
		p.nc.Write(text("in"))
		if got := p.next(); got != `text "in"` {
			t.Fatal(got)
		}
	}
	if st := s.Stats().TLS; st.Stalled == 0 || st.Done != 5 {
		t.Errorf("%+v", st)
	}
}

// A GetCertificate that blocks for ever held its place for as long, and Shutdown
// with it.
func TestBlockedGetCertificate(t *testing.T) { onEngines(t, testBlockedGetCertificate) }

func testBlockedGetCertificate(t *testing.T) {
	cfg := testTLS(t).Clone()
	own := cfg.Certificates
	cfg.Certificates = nil
	unblock, told := make(chan struct{}), make(chan struct{}, 2)
	var blocked sync.WaitGroup
	blocked.Add(2)
	t.Cleanup(func() { close(unblock); blocked.Wait() }) // after Shutdown
	cfg.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if h.ServerName != "blocked.test" {
			return &own[0], nil
		}
		defer blocked.Done()
		<-h.Context().Done()
		told <- struct{}{}
		<-unblock
		return nil, errors.New("at last")
	}
	s, addr := serveTCP(t, Config{Loops: 1, TLS: cfg, Head: HeadLimits{Handshakes: 2, Timeout: time.Second}, Upgrade: accepting(Options{Handler: echo{}})})
	t.Cleanup(func() { // before Shutdown
		if st := s.Stats().TLS; st.Done != 1 || st.Failed != 2 {
			t.Errorf("%+v", st)
		}
	})
	for range 2 {
		p := secured(t, addr, nil, &tls.Config{InsecureSkipVerify: true, ServerName: "blocked.test"})
		if p.nc.(*tls.Conn).Handshake() == nil {
			t.Error("no certificate, and yet a handshake")
		}
		<-told
	}
	p := secured(t, addr, nil, nil)
	p.send([]byte(upgradeHead("/")))
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Error(res.StatusCode)
	}
}
