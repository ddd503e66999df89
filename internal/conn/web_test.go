package conn

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// testTLS is a server configuration with a throw-away certificate.
func testTLS(t testing.TB, protos ...string) *tls.Config {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: priv}}, NextProtos: protos}
}

// seen answers with what the handler sees of a request.
var seen = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	io.WriteString(w, strings.Join([]string{scheme, r.Proto, r.Method, r.URL.Path, string(body)}, " "))
})

func httpClient(t *testing.T, h2 bool) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

// One port: http, https and h2 all reach Config.HTTP, whole.
func TestOnePortServesHTTP(t *testing.T) { onEngines(t, testOnePortServesHTTP) }

func testOnePortServesHTTP(t *testing.T) {
	_, addr := serveTCP(t, Config{TLS: testTLS(t, "h2", "http/1.1"), HTTP: seen})
	big := strings.Repeat("body ", 20_000)
	for _, r := range []struct {
		scheme string
		h2     bool
		want   string
	}{
		{"http", false, "http HTTP/1.1"},
		{"https", false, "https HTTP/1.1"},
		{"https", true, "https HTTP/2.0"},
	} {
		client := httpClient(t, r.h2)
		for range 3 { // the second on the kept connection
			for method, body := range map[string]string{"GET": "", "POST": big, "PUT": "small"} {
				req, err := http.NewRequestWithContext(t.Context(), method, r.scheme+"://"+addr+"/x", strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				res, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if want := r.want + " " + method + " /x " + body; string(got) != want {
					t.Fatalf("%s h2=%v: got %.60s, want %.60s", r.scheme, r.h2, got, want)
				}
			}
		}
	}
}

// Real clients over ws and wss on the same port.
func TestCoderClient(t *testing.T) { onEngines(t, testCoderClient) }

func testCoderClient(t *testing.T) {
	r := newRecorder()
	r.echo = true
	_, addr := serveTCP(t, Config{TLS: testTLS(t, "h2", "http/1.1"), HTTP: seen, Upgrade: func(u *Upgrade) {
		if u.Secure != (u.Path == "/wss") {
			u.Refuse(400, nil, nil)
			return
		}
		rec := newRecorder()
		rec.echo = true
		u.Accept(Options{Handler: rec, Subprotocol: u.Get("sec-websocket-protocol")})
	}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, scheme := range []string{"ws", "wss"} {
		for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover} {
			c, _, err := websocket.Dial(ctx, scheme+"://"+addr+"/"+scheme, &websocket.DialOptions{
				HTTPClient: httpClient(t, false), Subprotocols: []string{"chat"}, CompressionMode: mode,
			})
			if err != nil {
				t.Fatal(scheme, err)
			}
			c.SetReadLimit(1 << 20)
			if c.Subprotocol() != "chat" {
				t.Error("subprotocol", c.Subprotocol())
			}
			for _, s := range []string{"", "hi", strings.Repeat("é", 50_000)} {
				if err := c.Write(ctx, websocket.MessageText, []byte(s)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := c.Read(ctx); err != nil || string(got) != s {
					t.Fatalf("%s: %d bytes, %v", scheme, len(got), err)
				}
			}
			read := c.CloseRead(ctx)
			if err := c.Ping(ctx); err != nil {
				t.Error("ping", err)
			}
			if err := c.Close(4001, "done"); err != nil {
				t.Error("close", err)
			}
			<-read.Done()
		}
	}
}

// CONNECT reaches the handler, whose hijacked connection carries a tunnel; the
// inside of the tunnel is served by the same server, TLS included.
func TestConnectTunnelBackIntoServer(t *testing.T) { onEngines(t, testConnectTunnelBackIntoServer) }

func testConnectTunnelBackIntoServer(t *testing.T) {
	var server atomic.Pointer[Server]
	inner := newRecorder()
	inner.echo = true
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			seen(w, r)
			return
		}
		nc, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if n := buffered.Reader.Buffered(); n > 0 {
			t.Errorf("%d bytes ahead", n)
		}
		io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n")
		server.Load().ServeConn(nc, false)
	})
	s, addr := serveTCP(t, Config{TLS: testTLS(t), HTTP: handler, Upgrade: accepting(Options{Handler: inner})})
	server.Store(s)

	tunnel := func() net.Conn {
		p := dialTCP(t, addr)
		p.send([]byte("CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n"))
		line, err := p.r.ReadString('\n')
		if err != nil || !strings.Contains(line, "200") {
			t.Fatal(line, err)
		}
		p.r.ReadString('\n')
		return p.nc
	}
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"http":  func(nc net.Conn) net.Conn { return nc },
		"https": func(nc net.Conn) net.Conn { return tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) },
	} {
		nc := wrap(tunnel())
		io.WriteString(nc, "GET /in HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(name, err)
		}
		body, _ := io.ReadAll(res.Body)
		if string(body) != name+" HTTP/1.1 GET /in " {
			t.Errorf("%s: %s", name, body)
		}
	}
	p := newPeer(t, tls.Client(tunnel(), &tls.Config{InsecureSkipVerify: true})).open()
	p.send(text("inside"))
	if got := p.next(); got != `text "inside"` {
		t.Error(got)
	}
}

// An upgrade as the second request of a connection, with frames right behind it
// that arrive in the same packet.
func TestLateUpgradeWithEarlyFrames(t *testing.T) { onEngines(t, testLateUpgradeWithEarlyFrames) }

func testLateUpgradeWithEarlyFrames(t *testing.T) {
	for _, secure := range []bool{false, true} {
		r := newRecorder()
		r.echo = true
		_, addr := serveTCP(t, Config{TLS: testTLS(t, "http/1.1"), HTTP: seen, Upgrade: func(u *Upgrade) {
			if u.Secure != secure || u.Get("host") != "h.example" || u.Headers[0].Name != "hOsT" {
				t.Errorf("%+v", u)
			}
			u.Accept(Options{Handler: r})
		}})
		p := dialTCP(t, addr)
		if secure {
			p = newPeer(t, tls.Client(p.nc, &tls.Config{InsecureSkipVerify: true}))
		}
		p.send([]byte("GET /first HTTP/1.1\r\nHost: h.example\r\n\r\n"))
		if res, body := p.response(); res.StatusCode != 200 || !strings.Contains(body, "/first") {
			t.Fatal(res.StatusCode, body)
		}
		p.send(join([]byte(strings.Replace(ws(get), "Host:", "hOsT:", 1)), text("early")))
		if res, body := p.response(); res.StatusCode != 101 {
			t.Fatal(res.StatusCode, body)
		}
		if got := p.next(); got != `text "early"` {
			t.Error(got)
		}
		p.send(bye(1000, ""))
		<-r.done
	}
}

// Plain bytes on a TLS port and TLS on a plain port end, and nothing else does.
func TestWrongProtocolIsDropped(t *testing.T) { onEngines(t, testWrongProtocolIsDropped) }

func testWrongProtocolIsDropped(t *testing.T) {
	_, addr := serveTCP(t, Config{HTTP: seen})
	p := dialTCP(t, addr)
	if err := tls.Client(p.nc, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
		t.Error("TLS on a plain port")
	}
	_, addr = serveTCP(t, Config{TLS: testTLS(t), HTTP: seen})
	p = dialTCP(t, addr)
	p.send([]byte("\x16\x03\x01\x00\x05hello, this is no ClientHello"))
	io.Copy(io.Discard, p.r)
	p = dialTCP(t, addr)
	p.send([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	if res, _ := p.response(); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
}

func TestHeadWatch(t *testing.T) {
	const h1 = "GET /a HTTP/1.1\r\nA: b\r\n\r\n"
	for _, r := range []struct {
		name  string
		reads []string // "|" marks the time between requests
		after int64
		want  string
	}{
		{"one head", []string{h1}, 0, h1},
		{"byte by byte", strings.Split(h1, ""), 0, h1},
		{"with early bytes", []string{h1 + "xyz"}, 3, h1},
		{"early bytes miscounted", []string{h1 + "xyz"}, 2, ""},
		{"after a body without newline", []string{"POST / HTTP/1.1\r\n\r\nbody", "|", h1}, 0, h1},
		{"after a body like a GET", []string{"POST / HTTP/1.1\r\n\r\nGET x", "|", h1}, 0, h1},
		{"after a body like GET and a line", []string{"POST / HTTP/1.1\r\n\r\nGET x\nGE", "|", h1}, 0, h1},
		{"hidden behind a body", []string{"POST / HTTP/1.1\r\n\r\nbody" + h1}, 0, ""},
		{"two heads at once", []string{h1 + strings.Replace(h1, "/a", "/b", 1), "|"}, 0, strings.Replace(h1, "/a", "/b", 1)},
		{"second head ahead of its turn", []string{h1 + "GET /b", "|", " HTTP/1.1\r\n\r\n"}, 0, "GET /b HTTP/1.1\r\n\r\n"},
		{"bare LF ends it as net/http sees it", []string{"GET /a HTTP/1.1\nA: b\n\n"}, 0, "GET /a HTTP/1.1\nA: b\n\n"},
		{"no GET", []string{"PUT /a HTTP/1.1\r\n\r\n"}, 0, ""},
		{"too long", []string{"GET /" + strings.Repeat("x", 100) + "\r\n\r\n"}, 0, ""},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := headWatch{limit: 64}
			for _, s := range r.reads {
				if s == "|" {
					w.betweenRequests()
				} else {
					w.see([]byte(s))
				}
			}
			got, ok := w.headAt(r.after)
			if string(got) != r.want || ok != (r.want != "") {
				t.Errorf("got %q %v, want %q", got, ok, r.want)
			}
		})
	}
}
