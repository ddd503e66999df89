package intercept

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// outerProxy is somebody's corporate proxy: it answers CONNECTs with a tunnel to
// far and remembers their heads.
type outerProxy struct {
	address string
	mu      sync.Mutex
	heads   []string
}

func startOuter(t *testing.T, far, status string) *outerProxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &outerProxy{address: ln.Addr().String()}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { o.serve(c, far, status) })
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return o
}

func (o *outerProxy) serve(c net.Conn, far, status string) {
	defer c.Close()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	o.mu.Lock()
	o.heads = append(o.heads, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
	o.mu.Unlock()
	io.WriteString(c, "HTTP/1.1 "+status+"\r\n\r\n")
	if !strings.HasPrefix(status, "200") {
		return
	}
	// One read-ahead byte in the packet of the answer must not get lost.
	io.WriteString(c, "!")
	f, err := net.Dial("tcp", far)
	if err != nil {
		return
	}
	defer f.Close()
	go func() { io.Copy(f, c); f.(*net.TCPConn).CloseWrite() }()
	io.Copy(c, f)
}

func TestOuterProxy(t *testing.T) {
	o := startOuter(t, echo(t), "200 fine")
	k := newKit(t, Config{
		Outer: Outer{HTTPS: "http://me:p%40ss@" + o.address, No: "direct.example,.corp"},
		Resolve: names(map[string][]string{
			"api.example.org": {"93.184.216.34"}, "evil.example": {"169.254.169.254"}, "direct.example": {"93.184.216.35"},
		}),
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			if a != o.address {
				return nil, errNoRoute
			}
			return to(a)(ctx, a)
		},
	})
	for _, target := range []string{"api.example.org:443", "unknown-to-our-dns.example:8443"} {
		status, body, c, br := k.connect(target, basic(), "x")
		if !strings.HasPrefix(status, "200") {
			t.Fatal(status, body)
		}
		c.(*net.TCPConn).CloseWrite()
		if got, _ := io.ReadAll(br); string(got) != "!x" {
			t.Errorf("%s: %q", target, got)
		}
	}
	want := []string{"CONNECT api.example.org:443 Basic bWU6cEBzcw==", "CONNECT unknown-to-our-dns.example:8443 Basic bWU6cEBzcw=="}
	if o.mu.Lock(); strings.Join(o.heads, "|") != strings.Join(want, "|") {
		t.Errorf("the outer proxy saw %q", o.heads)
	}
	o.mu.Unlock()
	if status, body, _, _ := k.connect("evil.example:443", basic(), ""); !strings.HasPrefix(status, "403") {
		t.Errorf("metadata through the outer proxy: %s %s", status, body)
	}
	if status, _, _, _ := k.connect("direct.example:443", basic(), ""); !strings.HasPrefix(status, "502") {
		t.Errorf("NO_PROXY: %s", status)
	}
	if d := k.dials(); d[len(d)-1] != "93.184.216.35:443" {
		t.Errorf("NO_PROXY was not honoured: %v", d)
	}
}

func TestOuterProxyFailures(t *testing.T) {
	refusing := startOuter(t, "", "407 Proxy Authentication Required")
	for outer, want := range map[string]string{
		"http://user:hunter2@" + refusing.address: "407",
		"http://127.0.0.1:1":                      "does not answer",
		"socks5://127.0.0.1:1080":                 `"socks5" is not supported`,
	} {
		k := newKit(t, Config{Outer: Outer{HTTPS: outer}, Resolve: names(nil)})
		status, body, _, _ := k.connect("api.example.org:443", basic(), "")
		if !strings.HasPrefix(status, "502") || !strings.Contains(body, want) || strings.Contains(body, "hunter2") {
			t.Errorf("%s: %s %s", outer, status, body)
		}
		if strings.Contains(strings.Join(k.logged(), ""), "hunter2") {
			t.Error("the proxy's password is in the log")
		}
	}
}

func TestOuterFrom(t *testing.T) {
	env := map[string]string{"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower", "NO_PROXY": "x"}
	if o := OuterFrom(func(n string) string { return env[n] }); o.HTTPS != "http://lower" || o.No != "x" || o.HTTP != "" {
		t.Fatalf("%+v", o)
	}
}
