package connapi_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/sigv4"
)

// drawn are the parts of an answer that differ every time.
var drawn = regexp.MustCompile(`(?m)^(x-amz-apigw-id|x-amzn-requestid|x-amzn-trace-id|Date): .*\r$`)

func mask(answer []byte) string { return string(drawn.ReplaceAll(answer, []byte("$1: …\r"))) }

// wire writes a request as a client does.
func wire(method, host, target string, header []conn.Header, body string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target, host)
	for _, h := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", h.Name, h.Value)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// overHTTP is the answer of the slow door, byte for byte.
func (s *server) overHTTP(request string) []byte {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	var raw bytes.Buffer
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(c, &raw)), &http.Request{Method: method})
	if err != nil {
		s.t.Fatalf("%v: %q", err, raw.String())
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.t.Fatal(err)
	}
	return raw.Bytes()
}

func hot(method, host, target string, header []conn.Header, body string) *conn.HotRequest {
	header = append([]conn.Header{{Name: "Host", Value: host}}, header...)
	return &conn.HotRequest{Method: method, Target: target, Host: host, Headers: header, Body: []byte(body)}
}

// signedHeader is what an SDK adds to a request.
func signedHeader(t testing.TB, method, host, target, body string) (out []conn.Header) {
	r, err := http.NewRequest(method, "http://"+host+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	sigv4.Sign(r, []byte(body), key, sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}, time.Now())
	for name, values := range r.Header {
		out = append(out, conn.Header{Name: name, Value: values[0]})
	}
	return out
}

// check verifies against one secret.
func check(secret string) func(*sigv4.Signature, *sigv4.Request) error {
	var keys sigv4.Keys
	return func(sig *sigv4.Signature, r *sigv4.Request) error { return keys.Verify(sig, r, secret, time.Now()) }
}

// Whatever is asked, both doors answer the same bytes and ask the registry the same.
func TestDoorsAgree(t *testing.T) {
	c := id.NewConn(id.NewNodeKey())
	path := "/prod/@connections/" + strings.ReplaceAll(c.String(), "=", "%3D")
	closing := []conn.Header{{Name: "connection", Value: "Keep-Alive, Close"}}
	staying := []conn.Header{{Name: "connection", Value: "close\u00a0"}} // no white space of HTTP's: an unknown option
	type request struct {
		name, method, host, target, body string
		header                           []conn.Header
		unsigned                         bool
	}
	requests := []request{
		{name: "post", method: "POST", target: path, body: "hello"},
		{name: "empty post", method: "POST", target: path},
		{name: "get", method: "GET", target: path},
		{name: "delete", method: "DELETE", target: path},
		{name: "the last of a connection", method: "POST", target: path, header: closing},
		{name: "another option", method: "POST", target: path, header: staying},
		{name: "encoded at", method: "POST", target: "/prod/%40connections/" + c.String(), body: "x"},
		{name: "double slash", method: "POST", target: "//prod//@connections/" + c.String() + "/", body: "x"},
		{name: "custom domain", method: "GET", host: "ws.example.test:443", target: "/chat/@connections/" + c.String()},
		{name: "custom domain with stage", method: "GET", host: "ws.example.test", target: "/chat/prod/@connections/" + c.String()},
		{name: "unknown stage", method: "POST", target: "/nope/@connections/" + c.String()},
		{name: "unknown host", method: "POST", host: "zzzzzzzzzz.execute-api.eu-west-1.amazonaws.com", target: path},
		{name: "no id", method: "POST", target: "/prod/@connections"},
		{name: "no id but a slash", method: "POST", target: "/prod/@connections/"},
		{name: "bad id", method: "POST", target: "/prod/@connections/short<>\"%22"},
		{name: "query", method: "POST", target: path + "?a=b&c=%20", body: "x"},
		{name: "not text", method: "POST", target: path, body: "a\xff"},
		{name: "too large", method: "POST", target: path, body: strings.Repeat("x", connapi.MaxPayload+1)},
		{name: "largest", method: "POST", target: path, body: strings.Repeat("x", connapi.MaxPayload)},
		{name: "unsigned", method: "POST", target: path, body: "x", unsigned: true},
		{name: "body of a get", method: "GET", target: path, body: "ignored"},
	}
	errs := map[string]error{
		"ok": nil, "gone": fault.New(fault.Gone, "gone"), "full": fault.New(fault.Throttled, "the client's receive buffer is full"),
		"retry": fault.New(fault.Unavailable, "retry"), "internal": errors.New("secret detail"),
	}
	configs := map[string]connapi.Config{
		"open":     {},
		"required": {RequireSignature: true, Callers: callers{key.ID: c.String()}},
		"verified": {Check: check("secret")},
		"wrong":    {Check: check("another")},
		"nothing":  {App: func() *model.App { return nil }},
	}
	for configName, cfg := range configs {
		b := &book{status: registry.Status{Info: registry.Info{
			SourceIP: netip.MustParseAddr("2001:db8::1"), UserAgent: `acme "2.4"`, ConnectedAt: time.UnixMilli(1754395986101),
		}, LastActive: time.UnixMilli(1754396050377)}}
		s, h := serveBook(t, cfg, b)
		for errName, err := range errs {
			b.err = err
			for _, r := range requests {
				t.Run(configName+"/"+errName+"/"+r.name, func(t *testing.T) {
					if r.host == "" {
						r.host = apiHost
					}
					header := r.header
					if !r.unsigned {
						payload := r.body
						if r.method != "POST" {
							payload = ""
						}
						header = append(signedHeader(t, r.method, r.host, r.target, payload), header...)
					}
					b.asked, b.data = "", nil
					want := mask(s.overHTTP(wire(r.method, r.host, r.target, header, r.body)))
					asked := fmt.Sprint(b.asked, b.api, b.stage, b.conn, b.inConnect, string(b.data))
					if !h.Takes(r.method, r.target) {
						t.Fatal("not taken")
					}
					b.asked, b.data = "", nil
					got, ok := h.ServeHot([]byte("before"), hot(r.method, r.host, r.target, header, r.body))
					if !ok || mask(got) != "before"+want {
						t.Fatalf("%v:\n%q, net/http:\n%q", ok, mask(got), want)
					}
					if now := fmt.Sprint(b.asked, b.api, b.stage, b.conn, b.inConnect, string(b.data)); now != asked {
						t.Fatalf("asked %q, net/http %q", now, asked)
					}
				})
			}
		}
		if n := h.Stats(); n.Hot != int64(len(errs)*len(requests)) || n.Posts == 0 || n.Status[200]+n.Status[403]+n.Status[503] == 0 {
			t.Errorf("%s: %+v", configName, n)
		}
	}
}

func serveBook(t *testing.T, cfg connapi.Config, b *book) (*server, *connapi.Handler) {
	cfg.Registry = b
	if cfg.App == nil {
		cfg.App = app
	}
	h := connapi.New(cfg)
	return listen(t, h, b), h
}

// What may wait, or is not plainly a callback, goes to the other door.
func TestHotDeclines(t *testing.T) {
	c := id.NewConn(id.NewNodeKey()).String()
	b := &book{pending: true}
	_, h := serveBook(t, connapi.Config{}, b)
	for _, target := range []string{"/prod/@connections/" + c, "/prod/@connections/%zz", "/prod/x%2F@connectionsx/y", "/prod/@connections/" + c + "#x"} {
		if got, ok := h.ServeHot([]byte("x"), hot("POST", apiHost, target, nil, "")); ok || string(got) != "x" {
			t.Errorf("%s: answered %q", target, got)
		}
	}
	for _, v := range [][2]string{{"PUT", "/prod/@connections/" + c}, {"POST", "http://h/prod/@connections/" + c}, {"POST", "/prod?x=/@connections/"}, {"POST", ""}, {"GET", "*"}} {
		if h.Takes(v[0], v[1]) {
			t.Errorf("%v is taken", v)
		}
	}
}

// ready is a registry that takes everything and keeps nothing.
func ready(t testing.TB) (*registry.Registry, id.Conn) {
	r := registry.New(registry.Config{Node: id.NewNodeKey()})
	e := &registry.Entry{}
	e.Init(id.NewConn(r.Node()), registry.Info{
		Scope: &registry.Scope{APIID: "k3v9x1m2qz", Stage: "prod"}, SourceIP: netip.MustParseAddr("198.51.100.23"), UserAgent: strings.Repeat("u", 120), ConnectedAt: time.Now(),
	})
	r.Begin(e)
	r.Open(e, deaf{})
	return r, e.ID()
}

type deaf struct{}

func (deaf) Send([]byte) error     { return nil }
func (deaf) Close(int, string)     {}
func (deaf) LastActive() time.Time { return time.Time{} }
func (deaf) Touch()                {}

func TestHotCallsDoNotAllocate(t *testing.T) {
	r, c := ready(t)
	path := "/prod/@connections/" + c.String()
	encoded := strings.ReplaceAll(path, "=", "%3D")
	body := strings.Repeat("x", 128)
	for name, v := range map[string]struct {
		cfg            connapi.Config
		method, target string
		most           float64
	}{
		"post":          {connapi.Config{RequireSignature: true}, "POST", path, 0},
		"verified post": {connapi.Config{Check: check("secret")}, "POST", path, 0},
		"counted post":  {connapi.Config{Take: bound.NewRate(1e9, 1<<20).Take}, "POST", path, 0},
		"get":           {connapi.Config{}, "GET", path, 0},
		"encoded post":  {connapi.Config{RequireSignature: true}, "POST", encoded, 1}, // the decoded path
	} {
		v.cfg.App, v.cfg.Registry = appOnce(), r
		h := connapi.New(v.cfg)
		req := hot(v.method, apiHost, v.target, signedHeader(t, v.method, apiHost, v.target, body), body)
		dst := make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() {
			if out, ok := h.ServeHot(dst, req); !ok || !bytes.HasPrefix(out, []byte("HTTP/1.1 200 OK")) {
				t.Fatalf("%s: %q", name, out)
			}
		}); n > v.most && !raceEnabled {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func appOnce() func() *model.App {
	a := app()
	return func() *model.App { return a }
}

// BenchmarkHot is a callback on an event loop, from the parsed request to the bytes
// of the answer.
func BenchmarkHot(b *testing.B) {
	r, c := ready(b)
	path := "/prod/@connections/" + c.String()
	body := strings.Repeat("x", 128)
	req := hot("POST", apiHost, path, signedHeader(b, "POST", apiHost, path, body), body)
	for name, cfg := range map[string]connapi.Config{
		"unverified": {RequireSignature: true}, "verified": {Check: check("secret")}, "counted": {Check: check("secret"), Take: bound.NewRate(1e9, 5000).Take},
	} {
		b.Run(name, func(b *testing.B) {
			cfg.App, cfg.Registry = appOnce(), r
			h := connapi.New(cfg)
			dst := make([]byte, 0, 1024)
			b.ReportAllocs()
			for b.Loop() {
				if out, ok := h.ServeHot(dst, req); !ok || len(out) == 0 {
					b.Fatal(ok)
				}
			}
		})
	}
}
