package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// authority signs client certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var der []byte
	a.key, der = signed(t, template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// signed makes a certificate and its key; a nil signer signs itself.
func signed(t testing.TB, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return key, der
}

func (a *authority) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// client is a certificate for a client, valid until then.
func (a *authority) client(until time.Time) tls.Certificate {
	a.t.Helper()
	key, der := signed(a.t, &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, a.key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// startStages runs testdata/stages, whose closed domain trusts the authority.
func startStages(t testing.TB, clients *authority, args ...string) *gate {
	t.Helper()
	need(t, "node")
	dir := copyApp(t, "stages")
	write(t, filepath.Join(dir, "clients.pem"), clients.pem())
	return launch{Dir: dir, Args: args}.start(t)
}

// place is what a function knows about where it was called.
type place struct{ Color, Stage, DomainName, Table string }

func (s *socket) expectPlace(want place) {
	s.t.Helper()
	s.send("where am I?")
	var got place
	if err := json.Unmarshal([]byte(s.next()), &got); err != nil || got != want {
		s.t.Errorf("reached %+v (%v), want %+v", got, err, want)
	}
}

// via is a TLS configuration that greets with a name of the application's own. The
// project's CA signs for those, and for nothing else.
func (g *gate) via(name string, certificates ...tls.Certificate) *tls.Config {
	g.t.Helper()
	pem, err := os.ReadFile(g.status.DomainCA)
	if err != nil {
		g.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		g.t.Fatal("the project's CA is no certificate")
	}
	return &tls.Config{RootCAs: roots, ServerName: name, Certificates: certificates}
}

func TestStagesAndCustomDomains(t *testing.T) {
	clients := newAuthority(t, "clients")
	g := startStages(t, clients)
	aws := g.status.APIs[0].ID + ".execute-api." + g.status.Region + ".amazonaws.com"
	blue := place{"blue", "blue", aws, "rows-blue"}
	green := place{"green", "green", aws, "rows-green"}
	t.Run("a stage's variables choose the function", func(t *testing.T) {
		dial(t, g.stage("blue").WebSocketURL, dialing{}).expectPlace(blue)
		dial(t, g.stage("green").WebSocketURL, dialing{}).expectPlace(green)
	})
	t.Run("a stage without a deployment", func(t *testing.T) {
		dialing{}.refused(t, strings.Replace(g.stage("blue").WebSocketURL, "/blue", "/later", 1), 403)
	})
	const domain, closed = "ws.livegate.test", "closed.livegate.test"
	local := blue
	blue.DomainName, green.DomainName = domain, domain
	port := ":" + strconv.Itoa(g.launch.Port)
	plain, secure := "ws://localhost"+port, "wss://localhost"+port
	t.Run("by Host", func(t *testing.T) {
		for path, want := range map[string]place{"": blue, "/": blue, "/chat/green": green, "/chat/green/": green} {
			dial(t, plain+path, dialing{Host: domain}).expectPlace(want)
			dial(t, plain+path+"?x=1", dialing{Host: strings.ToUpper(domain) + port}).expectPlace(want)
		}
	})
	t.Run("by TLS name and Host", func(t *testing.T) {
		dial(t, secure+"/chat/green", dialing{Host: domain, TLS: g.via(domain)}).expectPlace(green)
		dial(t, g.stage("blue").SecureWebSocketURL, dialing{TLS: g.trust()}).expectPlace(local)
	})
	t.Run("paths that are not mapped", func(t *testing.T) {
		for _, path := range []string{"/chat", "/blue", "/chat/green/more", "/chat/greener"} {
			if no := (dialing{Host: domain}).refused(t, plain+path, 403); no.Body != `{"message":"Forbidden"}` {
				t.Errorf("%s: %s", path, no.Body)
			}
		}
	})
	t.Run("callback without a stage", func(t *testing.T) {
		for _, path := range []string{"", "/chat/green"} {
			s := dial(t, plain+path, dialing{Host: domain})
			s.send("callback")
			s.expect("called back")
		}
	})
	t.Run("client certificates", func(t *testing.T) {
		good := clients.client(time.Now().Add(time.Hour))
		want := blue
		want.DomainName = closed
		dial(t, secure, dialing{Host: closed, TLS: g.via(closed, good)}).expectPlace(want)
		for name, how := range map[string]dialing{
			"none":                      {Host: closed, TLS: g.via(closed)},
			"of another authority":      {Host: closed, TLS: g.via(closed, newAuthority(t, "clients").client(time.Now().Add(time.Hour)))},
			"expired":                   {Host: closed, TLS: g.via(closed, clients.client(time.Now().Add(-time.Hour)))},
			"greeting with an open one": {Host: closed, TLS: g.via(domain)},
			"without TLS":               {Host: closed},
		} {
			url := secure
			if how.TLS == nil {
				url = plain
			}
			if no := how.refused(t, url, 403); no.Body != `{"message":"Forbidden"}` {
				t.Errorf("%s: %s", name, no.Body)
			}
		}
	})
}

// open is a connection whose messages keep their kind.
func (g *gate) open(url string) *websocket.Conn {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), frameWithin)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}})
	if err != nil {
		g.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	g.t.Cleanup(func() { ws.CloseNow() })
	return ws
}

// Bytes go to a function in base64 and come back as bytes, where the open profile lets
// them in.
func TestBinaryInTheOpenProfile(t *testing.T) {
	g := startStages(t, newAuthority(t, "clients"), "--profile", "open")
	ws := g.open(g.stage("blue").WebSocketURL)
	ctx, cancel := context.WithTimeout(t.Context(), frameWithin)
	defer cancel()
	sent := []byte{0, 1, 2, 0xfe, 0xff, '{'}
	if err := ws.Write(ctx, websocket.MessageBinary, sent); err != nil {
		t.Fatal(err)
	}
	kind, got, err := ws.Read(ctx)
	if err != nil || kind != websocket.MessageBinary || !bytes.Equal(got, []byte{'{', 0xff, 0xfe, 2, 1, 0}) {
		t.Fatalf("got %v % x (%v)", kind, got, err)
	}
	g.says("binary message; AWS closes the connection with 1003")
	t.Run("a long message in one frame", func(t *testing.T) {
		g := g.in(t)
		long := strings.Repeat("long ", 25_000) // 125 KB: AWS takes frames of 32
		if err := ws.Write(ctx, websocket.MessageText, []byte(long)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.Read(ctx); err != nil || string(got) != long {
			t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(long))
		}
		g.says("AWS closes the connection with 1009 if a frame has more than 32768")
	})
}

func TestLimitsByFlag(t *testing.T) {
	g := startStages(t, newAuthority(t, "clients"), "--max-message", "2KB", "--max-frame", "1KB", "--idle-timeout", "1500ms", "--max-lifetime", "2s", "--connect-rate", "4")
	url := g.stage("blue").WebSocketURL
	warm := dial(t, url, dialing{}) // a cold start may take longer than these limits
	warm.send("warm up")
	warm.next()
	began := time.Now()
	idle, large, fragments := dial(t, url, dialing{}), dial(t, url, dialing{}), dial(t, url, dialing{})
	large.send(strings.Repeat("x", 1024))
	large.expect(strings.Repeat("x", 1024))
	large.send(strings.Repeat("x", 1025))
	large.expectClose(websocket.StatusMessageTooBig, "*")
	fragments.fragments(websocket.MessageText, []string{strings.Repeat("x", 1024), strings.Repeat("x", 1024), "x"})
	fragments.expectClose(websocket.StatusMessageTooBig, "*")

	// A burst of four handshakes, which is used up, and four more each second.
	throttled := 0
	for range 12 {
		if s, no := (dialing{}).try(t, url); s != nil {
			s.close(websocket.StatusNormalClosure, "")
		} else if no.Status == http.StatusTooManyRequests && no.Body == `{"message":"Too Many Requests"}` {
			throttled++
		} else {
			t.Fatalf("answered with %+v", no)
		}
	}
	if throttled == 0 {
		t.Error("twelve handshakes at once went through at four per second")
	}
	idle.expectClose(websocket.StatusGoingAway, "Going away")
	if took := time.Since(began); took < 1400*time.Millisecond {
		t.Errorf("idle after %v", took)
	}

	var busy *socket
	eventually(t, frameWithin, func() error {
		s, no := dialing{}.try(t, url)
		if busy = s; s == nil {
			return &notOpen{no.Status}
		}
		return nil
	})
	began = time.Now()
	for open := true; open; {
		select {
		case <-busy.ended:
			open = false
		case <-time.After(200 * time.Millisecond):
			busy.ws.Write(context.Background(), websocket.MessageText, []byte("busy"))
		}
	}
	busy.expectClose(websocket.StatusGoingAway, "*")
	if took := time.Since(began); took < 1700*time.Millisecond {
		t.Errorf("the lifetime ended after %v", took)
	}
}

type notOpen struct{ status int }

func (n *notOpen) Error() string { return "answered with " + strconv.Itoa(n.status) }
