package intercept

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/localca"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user   = "ASIAWORKER0000000001"
	secret = "s3cr3t/+="
)

// kit is a development port with a proxy on it, as app wires it.
type kit struct {
	t       *testing.T
	proxy   *Proxy
	ca      *localca.CA
	bundle  string
	address string // of the port

	mu     sync.Mutex
	logs   []string
	dialed []string
}

// newKit starts a port. Requests that are not for the proxy are answered
// "local HOST METHOD PATH".
func newKit(t *testing.T, cfg Config) *kit {
	t.Helper()
	k := &kit{t: t, bundle: filepath.Join(t.TempDir(), "bundle.pem")}
	var err error
	if k.ca, err = localca.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if _, err := k.ca.Bundle(k.bundle, localca.Roots{}); err != nil {
		t.Fatal(err)
	}
	local := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "Boto3") { // STS answers XML
			io.WriteString(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>000000000000</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")
			return
		}
		fmt.Fprintf(w, "local %s %s %s", r.Host, r.Method, r.URL.Path)
	})
	var srv *conn.Server
	if cfg.Auth == nil {
		cfg.Auth = func(u, s string) bool { return u == user && s == secret }
	}
	cfg.Local = local
	cfg.Serve = func(c net.Conn) { srv.ServeConn(c, false) }
	cfg.Logs = func(l model.LogLine) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.logs = append(k.logs, l.Text)
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	}
	dial := cfg.Dial
	cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
		k.mu.Lock()
		k.dialed = append(k.dialed, address)
		k.mu.Unlock()
		return dial(ctx, address)
	}
	k.proxy = New(cfg)
	srv = conn.New(conn.Config{TLS: k.ca.TLS(), HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsProxy(r) {
			k.proxy.ServeHTTP(w, r)
			return
		}
		local.ServeHTTP(w, r)
	})})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k.address = ln.Addr().String()
	go srv.Serve(ln)
	t.Cleanup(func() {
		k.proxy.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return k
}

// client is a Go client with the worker's proxy.
func (k *kit) client() *http.Client {
	transport := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", User: url.UserPassword(user, secret), Host: k.address}),
		ForceAttemptHTTP2: true,
	}
	transport.TLSClientConfig = k.ca.TLS().Clone()
	transport.TLSClientConfig.GetCertificate = nil
	transport.TLSClientConfig.RootCAs = k.ca.Pool()
	k.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func (k *kit) env() []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + k.t.TempDir()}, Env(Environment{
		Address: k.address, User: user, Secret: secret, Region: "us-east-1", Bundle: k.bundle,
	})...)
}

// get fetches a URL and returns the body or the error's text.
func (k *kit) get(url string) string {
	k.t.Helper()
	resp, err := k.client().Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		k.t.Fatal(err)
	}
	return string(body)
}

// connect sends a CONNECT by hand and returns the status line, the body of a
// refusal, and the open tunnel.
func (k *kit) connect(target, auth string, early string) (status, body string, tunnel net.Conn, br *bufio.Reader) {
	k.t.Helper()
	c, err := net.Dial("tcp", k.address)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	head := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if auth != "" {
		head += "Proxy-Authorization: " + auth + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"+early); err != nil {
		k.t.Fatal(err)
	}
	br = bufio.NewReader(c)
	resp, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	if err != nil {
		k.t.Fatalf("CONNECT %s: %v", target, err)
	}
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		return resp.Status, string(b), c, br
	}
	return resp.Status, "", c, br
}

func basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

func (k *kit) logged() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.logs)
}

func (k *kit) dials() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.dialed)
}

// echo is a TCP server that sends back what it gets, and half-closes when its
// client does.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				io.Copy(c, c)
				c.(*net.TCPConn).CloseWrite()
			})
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return ln.Addr().String()
}

// names is a resolver with a fixed answer.
func names(m map[string][]string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) ([]netip.Addr, error) {
		var out []netip.Addr
		for _, s := range m[host] {
			out = append(out, netip.MustParseAddr(s))
		}
		if out == nil {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		return out, nil
	}
}

// to redirects every dial to one address.
func to(address string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", address)
	}
}

var errNoRoute = errors.New("no route")

func plainServer(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
