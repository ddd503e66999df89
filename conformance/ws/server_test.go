package ws

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/frame"
)

var wsURL = flag.String("ws", os.Getenv("LIVEGATE_WS_URL"), "test this server (ws://host:port/path) instead of the engines in process")

func TestMain(m *testing.M) {
	flag.Parse()
	// Rows wait for sockets, not for processors.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("16")
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := writeReport(os.Getenv("LIVEGATE_WS_REPORT")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}))
}

// engine is one way in which conn can serve.
type engine struct {
	name   string
	config func() conn.Config
}

// engines are those of this platform: one line each.
func engines() []engine {
	return []engine{
		{"loop", func() conn.Config { return conn.Config{} }}, // where there is none: portable once more
		{"portable", func() conn.Config { return conn.Config{Portable: true} }},
	}
}

// server is what a row talks to.
type server struct {
	name     string
	addr     string // to dial
	host     string // for the Host header
	path     string // for the request line
	deflates bool   // it negotiates permessage-deflate for a plain offer
	inside   *inside
	ids      atomic.Int64
}

func (s *server) nextID() string { return fmt.Sprint(s.ids.Add(1)) }

// servers are the ones to run the rows against.
func servers(t *testing.T) []*server {
	t.Helper()
	var all []*server
	if *wsURL != "" {
		all = append(all, external(t, *wsURL))
	} else {
		for _, e := range engines() {
			all = append(all, start(t, e, nil))
		}
	}
	for _, s := range all {
		s.probe(t)
	}
	return all
}

// external is a server in another process.
func external(t *testing.T, raw string) *server {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "ws" || u.Host == "" {
		t.Fatalf("-ws %q: a URL ws://host:port/path is needed", raw)
	}
	s := &server{name: "external", addr: u.Host, host: u.Host, path: u.RequestURI()}
	if u.Port() == "" {
		s.addr = net.JoinHostPort(u.Hostname(), "80")
	}
	return s
}

// probe finds out whether permessage-deflate is spoken.
func (s *server) probe(t *testing.T) {
	c := s.dial(t)
	upgrade("+Sec-WebSocket-Extensions: permessage-deflate")(c)
	s.deflates = strings.HasPrefix(c.last.get("Sec-WebSocket-Extensions"), "permessage-deflate")
	c.nc.Close()
}

// inside is the in-process server's view of what happened.
type inside struct {
	conn     *conn.Server
	closes   sync.Map // id → chan string
	requests sync.Map // "METHOD target" seen by the HTTP handler or as an upgrade
}

// setup is what a test may change before its server starts.
type setup struct {
	conn.Config
	conn.Limits
}

// start runs an echo server on loopback until the test ends. All limits that can
// be off are off; change may set others.
func start(t testing.TB, e engine, change func(*setup)) *server {
	t.Helper()
	set := setup{Config: e.config()}
	// An echo is queued before it leaves: a message of 16 MiB must fit.
	set.Limits = conn.Limits{SendBytes: 64 << 20, SendItems: 1 << 20}
	if change != nil {
		change(&set)
	}
	in := &inside{}
	cfg := set.Config
	cfg.TLS = serverTLS(t)
	cfg.HTTP = http.HandlerFunc(in.serveHTTP)
	cfg.Upgrade = func(u *conn.Upgrade) { in.accept(u, set.Limits) }
	in.conn = conn.New(cfg)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- in.conn.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := in.conn.Shutdown(ctx); err != nil {
			t.Errorf("%s: Shutdown: %v", e.name, err)
		}
		if err := <-served; err != nil {
			t.Errorf("%s: Serve: %v", e.name, err)
		}
	})
	addr := ln.Addr().String()
	return &server{name: e.name, addr: addr, host: addr, path: "/echo", inside: in}
}

// accept takes every upgrade, with the first subprotocol on offer.
func (in *inside) accept(u *conn.Upgrade, limits conn.Limits) {
	in.saw("UPGRADE " + u.Path)
	h := &echo{}
	if id := u.Get("X-Row"); id != "" {
		h.end = in.closeOf(id)
	}
	o := conn.Options{Handler: h, Limits: limits, Deflate: frame.DeflatePolicy{Enabled: true}}
	if len(u.Protocols) > 0 && token(u.Protocols[0]) {
		o.Subprotocol = u.Protocols[0]
	}
	o.ExtraHeaders = []conn.Header{{Name: "X-Host", Value: u.Host}, {Name: "X-Path", Value: u.RawPath}, {Name: "X-Query", Value: u.RawQuery}}
	_, _ = u.Accept(o) // an error is the client's to see
}

// serveHTTP answers what is no upgrade, in a way that tells the requests of one
// connection apart.
func (in *inside) serveHTTP(w http.ResponseWriter, r *http.Request) {
	in.saw(r.Method + " " + r.URL.Path)
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, n)
}

func (in *inside) saw(request string) { in.requests.Store(request, true) }

func (in *inside) closeOf(id string) chan string {
	v, _ := in.closes.LoadOrStore(id, make(chan string, 8))
	return v.(chan string)
}

// outcome waits for OnClose of a connection: "code reason".
func (in *inside) outcome(id string) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case o := <-in.closeOf(id):
		return o
	case <-ctx.Done():
		return "not called"
	}
}

// echo sends every message back with its type.
type echo struct{ end chan string }

func (e *echo) OnMessage(c *conn.Conn, data []byte, binary bool) {
	if binary {
		_ = c.SendPrepared(frame.Prepare(frame.Binary, data, "")) // a failure shows as a missing echo
		return
	}
	_ = c.Send(data)
}

func (e *echo) OnClose(_ *conn.Conn, code int, reason string) {
	select { // connections with the same id, or without one: a handler must not block
	case e.end <- strings.TrimSpace(fmt.Sprintf("%d %s", code, reason)):
	default:
	}
}

var _ conn.Handler = (*echo)(nil)
