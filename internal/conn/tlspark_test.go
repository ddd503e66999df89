package conn

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// tlsCertificate is a self-signed certificate for "localhost".
func tlsCertificate(t testing.TB, key crypto.Signer) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(240 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func tlsECDSA(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return tlsCertificate(t, key)
}

func tlsRSA(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return tlsCertificate(t, key)
}

func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	server = tlsServerConfig(&tls.Config{Certificates: []tls.Certificate{tlsECDSA(t)}, NextProtos: []string{"http/1.1"}})
	client = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, DynamicRecordSizingDisabled: true}
	return server, client
}

// tlsPair is a server and a client without sockets. Both sit on a wire and are
// driven by the test's goroutine once the greeting is over.
type tlsPair struct {
	t              testing.TB
	server, client *parkedTLS
}

// greetTLS lets both shake hands. cut, unless nil, pushes what one side sent to
// the other.
func greetTLS(t testing.TB, server, client *tls.Config, cut func(b []byte, push func([]byte) bool)) *tlsPair {
	t.Helper()
	p := &tlsPair{t: t}
	if cut == nil {
		cut = func(b []byte, push func([]byte) bool) { push(b) }
	}
	p.server = newParkedTLS(server, func(b []byte) { cut(b, p.client.push) })
	p.client = &parkedTLS{}
	p.client.wire.greet(func(b []byte) { cut(b, p.server.push) })
	p.client.tc = tls.Client(&p.client.wire, client)

	var wg sync.WaitGroup
	var serverErr error
	wg.Go(func() { serverErr = p.server.handshake() })
	clientErr := p.client.handshake()
	if clientErr != nil {
		p.server.abandon(clientErr)
	}
	wg.Wait()
	if serverErr != nil || clientErr != nil {
		t.Fatalf("server: %v, client: %v", serverErr, clientErr)
	}
	if rest := p.server.park(); len(rest) > 0 {
		t.Fatalf("behind the client's handshake: %x", rest)
	}
	// The session tickets are behind the server's handshake.
	if plain, _, err := p.client.open(nil, p.client.park()); err != nil || len(plain) > 0 {
		t.Fatalf("behind the server's handshake: %q, %v", plain, err)
	}
	return p
}

// toServer and toClient seal, carry and open, in pieces of chunk bytes.
func (p *tlsPair) toServer(chunk int, frames ...[]byte) []byte {
	p.t.Helper()
	return p.carry(p.client, p.server, chunk, frames)
}

func (p *tlsPair) toClient(chunk int, frames ...[]byte) []byte {
	p.t.Helper()
	return p.carry(p.server, p.client, chunk, frames)
}

func (p *tlsPair) carry(from, to *parkedTLS, chunk int, frames [][]byte) (plain []byte) {
	p.t.Helper()
	wire, err := from.seal(nil, new(tlsScratch), frames...)
	if err != nil {
		p.t.Fatalf("seal: %v", err)
	}
	for len(wire) > 0 {
		n := min(chunk, len(wire))
		var reply []byte
		if plain, reply, err = to.open(plain, wire[:n]); err != nil || len(reply) > 0 {
			p.t.Fatalf("open: %v, reply %x", err, reply)
		}
		wire = wire[n:]
	}
	return plain
}

// eachTLS runs f for the versions and kinds of handshake that Go serves.
func eachTLS(t *testing.T, f func(t *testing.T, server, client *tls.Config)) {
	for name, set := range map[string]func(server, client *tls.Config){
		"1.3":           func(_, c *tls.Config) { c.MinVersion = tls.VersionTLS13 },
		"1.3 X25519":    func(_, c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.X25519} },
		"1.3 retry":     func(s, _ *tls.Config) { s.CurvePreferences = []tls.CurveID{tls.CurveP384} }, // HelloRetryRequest
		"1.3 RSA":       func(s, _ *tls.Config) { s.Certificates = []tls.Certificate{tlsRSA(t)} },
		"1.3 mutual":    func(s, c *tls.Config) { s.ClientAuth, c.Certificates = tls.RequireAnyClientCert, s.Certificates },
		"1.3 no ticket": func(s, _ *tls.Config) { s.SessionTicketsDisabled = true },
		"1.2":           func(_, c *tls.Config) { c.MaxVersion = tls.VersionTLS12 },
		"1.2 CBC": func(s, c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		},
		"1.2 ChaCha20": func(s, c *tls.Config) {
			c.MaxVersion = tls.VersionTLS12
			c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}
		},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := tlsConfigs(t)
			set(server, client)
			f(t, server, client)
		})
	}
}

// A handshake, full and resumed, and messages both ways, in whole and byte by
// byte.
func TestTLSHandshakeAndMessages(t *testing.T) {
	eachTLS(t, func(t *testing.T, server, client *tls.Config) {
		client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(1), "localhost"
		bytewise := func(b []byte, push func([]byte) bool) {
			for i := range b {
				push(b[i : i+1])
			}
		}
		for i, cut := range []func([]byte, func([]byte) bool){nil, nil, bytewise} {
			p := greetTLS(t, server, client, cut)
			if got := p.client.tc.ConnectionState().DidResume; got != (i > 0 && !server.SessionTicketsDisabled) {
				t.Errorf("handshake %d: resumed: %v", i, got)
			}
			if got := p.server.protocol(); got != "http/1.1" {
				t.Errorf("ALPN: %q", got)
			}
			for _, chunk := range []int{1, 5, 100, 1 << 20} {
				if got := p.toServer(chunk, []byte("ping"), nil, []byte("pong")); string(got) != "pingpong" {
					t.Errorf("chunk %d to the server: %q", chunk, got)
				}
				if got := p.toClient(chunk, []byte("GET "), []byte("/")); string(got) != "GET /" {
					t.Errorf("chunk %d to the client: %q", chunk, got)
				}
			}
		}
	})
}

// 1 MiB in one message, both ways, cut where it hurts.
func TestTLSLargeMessages(t *testing.T) {
	eachTLS(t, func(t *testing.T, server, client *tls.Config) {
		p := greetTLS(t, server, client, nil)
		big := make([]byte, 1<<20)
		for i := range big {
			big[i] = byte(i * i >> 8)
		}
		for _, chunk := range []int{997, 4 << 10, 64 << 10, 2 << 20} {
			if got := p.toServer(chunk, []byte("head"), big, []byte("tail")); string(got) != "head"+string(big)+"tail" {
				t.Errorf("chunk %d to the server: %d bytes, or others", chunk, len(got))
			}
			if got := p.toClient(chunk, big[:20000], big[20000:]); string(got) != string(big) {
				t.Errorf("chunk %d to the client: %d bytes, or others", chunk, len(got))
			}
		}
	})
}

// Several records in one open, and a record in several: the plaintext comes as
// soon as it is complete, and not before.
func TestTLSRecordsAndPieces(t *testing.T) {
	server, client := tlsConfigs(t)
	p := greetTLS(t, server, client, nil)
	one, _ := p.client.seal(nil, nil, []byte("one"))
	both, _ := p.client.seal(one, nil, []byte("two"))
	three, _ := p.client.seal(nil, nil, []byte("three"))
	for _, r := range []struct {
		wire  []byte
		plain string
	}{
		{nil, ""}, {append(both, three[:3]...), "onetwo"}, {three[3:5], ""}, {three[5:20], ""}, {nil, ""}, {three[20:], "three"}, {nil, ""},
	} {
		plain, reply, err := p.server.open([]byte("have "), r.wire)
		if string(plain) != "have "+r.plain || len(reply) > 0 || err != nil {
			t.Errorf("%d bytes in: %q, reply %x, %v; want %q", len(r.wire), plain, reply, err, r.plain)
		}
	}
}

// Frames share records: 22 bytes each is what a record adds.
func TestTLSSealGathers(t *testing.T) {
	const overhead = 5 + 1 + 16
	server, client := tlsConfigs(t)
	p := greetTLS(t, server, client, nil)
	s := new(tlsScratch)
	b := func(n int) []byte { return make([]byte, n) }
	for _, r := range []struct {
		frames  [][]byte
		records int
	}{
		{nil, 0}, {[][]byte{nil}, 0}, {[][]byte{b(1)}, 1}, {[][]byte{b(100), b(100), b(100)}, 1}, {[][]byte{b(5), nil}, 1},
		{[][]byte{b(tlsMaxPlain)}, 1}, {[][]byte{b(tlsMaxPlain + 1)}, 2}, {[][]byte{b(1), b(tlsMaxPlain - 1)}, 1},
		{[][]byte{b(1), b(tlsMaxPlain)}, 2}, {[][]byte{b(10), b(3 * tlsMaxPlain), b(10)}, 4}, {[][]byte{b(8192), b(8192), nil}, 1},
	} {
		size := 0
		for _, f := range r.frames {
			size += len(f)
		}
		got, err := p.server.seal([]byte("in front"), s, r.frames...)
		if err != nil || string(got[:8]) != "in front" || len(got)-8-size != r.records*overhead {
			t.Errorf("%d frames, %d bytes: %d bytes more, %v; want %d records", len(r.frames), size, len(got)-8-size, err, r.records)
		}
	}
}

// What a client sends behind its Finished belongs to the application, whether
// the connection is parked or released.
func TestTLSEarlyData(t *testing.T) {
	for _, released := range []bool{false, true} {
		server, client := tlsConfigs(t)
		p := greetTLS(t, server, client, nil)
		early, _ := p.client.seal(nil, nil, []byte("early"))
		later, _ := p.client.seal(nil, nil, []byte("later"))
		// As if it had come while the handshake was under way.
		p.server.wire.greet(nil)
		p.server.push(early)
		p.server.push(later[:3])
		rest := p.server.park()
		if !released {
			plain, _, err := p.server.open(nil, rest)
			if err != nil || string(plain) != "early" {
				t.Errorf("%q, %v", plain, err)
			}
			continue
		}
		near, far := net.Pipe()
		tc := p.server.release(near, rest)
		go far.Write(later[3:])
		buf := make([]byte, 10)
		if _, err := io.ReadFull(tc, buf); err != nil || string(buf) != "earlylater" {
			t.Errorf("%q, %v", buf, err)
		}
		go tc.Write([]byte("back"))
		wire := make([]byte, 64)
		n, _ := io.ReadAtLeast(far, wire, 26)
		if plain, _, err := p.client.open(nil, wire[:n]); err != nil || string(plain) != "back" {
			t.Errorf("%q, %v", plain, err)
		}
		tc.NetConn().Close()
		if _, err := far.Read(wire); err == nil {
			t.Error("closing the connection leaves its socket open")
		}
	}
}

// release takes over in the middle of a header, and of a record.
func TestTLSReleaseMidRecord(t *testing.T) {
	for cut := range 30 {
		server, client := tlsConfigs(t)
		p := greetTLS(t, server, client, nil)
		wire, _ := p.client.seal(nil, nil, []byte("message"))
		cut = min(cut, len(wire)-1)
		if _, _, err := p.server.open(nil, wire[:cut]); err != nil {
			t.Fatal(err)
		}
		near, far := net.Pipe()
		tc := p.server.release(near, nil)
		go far.Write(wire[cut:])
		buf := make([]byte, 7)
		if _, err := io.ReadFull(tc, buf); err != nil || string(buf) != "message" {
			t.Errorf("cut at %d: %q, %v", cut, buf, err)
		}
		near.Close()
	}
}

// A handshake ends when its socket does, and tells a client what it did wrong.
func TestTLSHandshakeFails(t *testing.T) {
	server, client := tlsConfigs(t)
	late := errors.New("took too long")
	for name, r := range map[string]struct {
		push    string
		abandon error
		err     string
		alert   bool
	}{
		"nothing":           {"", io.EOF, "EOF", false},
		"half a header":     {"\x16\x03\x01", late, "too long", false},
		"half a record":     {"\x16\x03\x01\x02\x00\x01", io.EOF, "EOF", false},
		"HTTP":              {"GET / HTTP/1.1\r\n\r\n", nil, "does not look like", false},
		"not a ClientHello": {"\x16\x03\x01\x00\x04\x02\x00\x00\x00", nil, "", true},
		"an empty record":   {"\x16\x03\x01\x00\x00", nil, "unexpected message", true},
		"an oversized one":  {"\x16\x03\x01\xff\xff" + strings.Repeat("x", 600), nil, "oversized", true},
		"64 KiB of one":     {"\x16\x03\x01\x00\x04\x01\x01\x00\x01", nil, "exceeds maximum", true},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []byte
			p := newParkedTLS(server, func(b []byte) { sent = append(sent, b...) })
			done := make(chan error, 1)
			go func() { done <- p.handshake() }()
			p.push([]byte(r.push))
			if r.abandon != nil {
				p.abandon(r.abandon)
				p.abandon(errors.New("and again"))
			}
			err := <-done
			if err == nil || !strings.Contains(err.Error(), r.err) {
				t.Errorf("%v, want %q", err, r.err)
			}
			if alert := len(sent) == 7 && sent[0] == 21 && sent[5] == 2; alert != r.alert {
				t.Errorf("sent %x, want an alert: %v", sent, r.alert)
			}
		})
	}

	// A client that trusts nobody says so.
	client.InsecureSkipVerify, client.ServerName = false, "localhost"
	near, far := net.Pipe()
	p := newParkedTLS(server, func(b []byte) { near.Write(b) })
	done := make(chan error, 1)
	go func() { done <- p.handshake() }()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := near.Read(buf)
			if err != nil {
				p.abandon(err)
				return
			}
			p.push(buf[:n])
		}
	}()
	if err := tls.Client(far, client).Handshake(); err == nil {
		t.Error("a client trusts a self-signed certificate")
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), "bad certificate") && !strings.Contains(err.Error(), "unknown certificate") {
		t.Errorf("%v", err)
	}
	near.Close()
}

// A flood before the handshake is over is kept, up to a bound that push tells.
func TestTLSGreetingIsBounded(t *testing.T) {
	server, _ := tlsConfigs(t)
	p := newParkedTLS(server, func([]byte) {})
	n := 0
	for more := true; more; n += 4096 {
		more = p.push(make([]byte, 4096))
		if n > 1<<20 {
			t.Fatal("no end to it")
		}
	}
	if n < 64<<10 {
		t.Errorf("full with %d bytes: a ClientHello may have 64 KiB", n)
	}
	if err := p.handshake(); err == nil {
		t.Error("zeros shake hands")
	}
}

// serveParked echoes over loopback, a goroutine per connection in the place of
// the loop.
func serveParked(t testing.TB, cfg *tls.Config) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { ln.Close() })
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { echoParked(t, cfg, nc) })
		}
	})
	return ln.Addr().String()
}

func echoParked(t testing.TB, cfg *tls.Config, nc net.Conn) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	p := newParkedTLS(cfg, func(b []byte) { nc.Write(b) })
	shaken := make(chan error, 1)
	go func() {
		shaken <- p.handshake()
		nc.SetReadDeadline(time.Unix(1, 0)) // this "loop" has no mailbox to be woken by
	}()
	buf, plain := make([]byte, 64<<10), make([]byte, 0, 96<<10)
	for {
		n, err := nc.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 {
			break
		}
		if err != nil {
			p.abandon(err)
		} else {
			p.push(buf[:n])
		}
	}
	nc.SetReadDeadline(time.Now().Add(patience))
	if err := <-shaken; err != nil {
		t.Errorf("handshake: %v", err)
		return
	}
	in := p.park()
	for {
		got, out, err := p.open(plain[:0], in)
		if len(got) > 0 {
			out, _ = p.seal(out, nil, got)
		}
		if err != nil {
			out = p.closeNotify(out)
		}
		if nc.Write(out); err != nil {
			return
		}
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		in = buf[:n]
	}
}

// Real sockets, an ordinary client, many at a time: for the race detector.
func TestTLSOverTCP(t *testing.T) {
	server, client := tlsConfigs(t)
	addr := serveParked(t, server)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			tc, err := tls.Dial("tcp", addr, client)
			if err != nil {
				t.Error(err)
				return
			}
			defer tc.Close()
			tc.SetDeadline(time.Now().Add(patience))
			sent, got := make([]byte, 300<<10), make([]byte, 300<<10)
			rand.Read(sent)
			go tc.Write(sent)
			if _, err := io.ReadFull(tc, got); err != nil || !bytes.Equal(sent, got) {
				t.Errorf("echo: %v", err)
			}
			tc.CloseWrite()
			if n, err := tc.Read(got); n > 0 || !errors.Is(err, io.EOF) {
				t.Errorf("at the end: %d bytes, %v", n, err)
			}
		})
	}
	wg.Wait()
}
