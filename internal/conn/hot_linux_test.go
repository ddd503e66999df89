package conn

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// hotLong answers every request below /hot with a long response.
type hotLong struct{ body string }

func (hotLong) Takes(_, target string) bool { return strings.HasPrefix(target, "/hot") }

func (h hotLong) ServeHot(dst []byte, r *HotRequest) ([]byte, bool) {
	return fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(h.body), h.body), true
}

// A client that keeps sending requests, of which each of its packets ends with
// only a part of the next, was dropped Head.Timeout after the first such packet:
// its clock ran on although one request after the other was complete.
func TestHotPipelineOutlivesTheHeadTimeout(t *testing.T) {
	const headTime = 300 * time.Millisecond
	_, addr := serveTCP(t, Config{Hot: hotLong{"ok"}, Head: HeadLimits{Timeout: headTime}})
	for name, request := range map[string]string{
		"heads":  "GET /hot HTTP/1.1\r\nHost: h\r\n\r\n",
		"bodies": "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("b", 100),
	} {
		p := dialTCP(t, addr)
		cut := len(request) - 5
		p.send([]byte(request[:cut]))
		tick := time.NewTicker(headTime / 10)
		for begin := time.Now(); time.Since(begin) < 3*headTime+time.Second; <-tick.C {
			if _, err := p.nc.Write([]byte(request[cut:] + request[:cut])); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if res, err := http.ReadResponse(p.r, nil); err != nil || res.StatusCode != 200 {
				t.Fatalf("%s: after %v: %v", name, time.Since(begin), err)
			} else if _, err := p.r.Discard(int(res.ContentLength)); err != nil {
				t.Fatal(err)
			}
		}
		tick.Stop()
	}
}

// Over TLS a queue leaves 64 KiB at a time, and after 256 KiB others have their
// turn. A request for net/http, sent behind hot ones with longer responses than
// that, took the connection along, and what still waited was lost.
func TestHandOverWaitsForHotResponses(t *testing.T) { testHandOverWaits(t) }

func TestHandOverWaitsForHotResponsesOverTLS(t *testing.T) { testHandOverWaits(t) }

func testHandOverWaits(t *testing.T) {
	const hot = 50
	h := hotLong{strings.Repeat("r", 20_000)}
	_, addr := serveTCP(t, Config{Hot: h, HTTP: seen})
	p := dialTCP(t, addr)
	if tc, ok := p.nc.(interface{ NetConn() net.Conn }); ok {
		tc.NetConn().(*net.TCPConn).SetReadBuffer(4 << 20)
	}
	p.send([]byte(strings.Repeat("GET /hot HTTP/1.1\r\nHost: h\r\n\r\n", hot) + "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"))
	for i := range hot {
		if _, body := p.response(); body != h.body {
			t.Fatalf("hot response %d: %.60q", i, body)
		}
	}
	if _, body := p.response(); !strings.HasSuffix(body, " HTTP/1.1 GET /x ") {
		t.Errorf("%.60q", body)
	}
}

// hotEcho answers POST /hot… with its body, and leaves /hot/no to HTTP.
type hotEcho struct{ asked atomic.Int32 }

func (h *hotEcho) Takes(method, target string) bool { return strings.HasPrefix(target, "/hot") }

func (h *hotEcho) ServeHot(dst []byte, r *HotRequest) ([]byte, bool) {
	h.asked.Add(1)
	if strings.HasPrefix(r.Target, "/hot/no") {
		return dst, false
	}
	dst = fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(r.Method)+1+len(r.Body))
	return append(append(append(dst, r.Method...), ' '), r.Body...), true
}

// Hot requests: pipelined ones in order, in whatever pieces; then an upgrade, or
// whatever else, on the same connection.
func TestHot(t *testing.T) {
	h := &hotEcho{}
	s, addr := serveTCP(t, Config{Hot: h, HTTP: seen, Upgrade: accepting(Options{Handler: echo{}})})
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	long := strings.Repeat("b", 100_000)
	for _, step := range []int{1 << 20, 1000, 7} {
		p := dialTCP(t, addr)
		all := post("/hot", "one") + "GET /hot HTTP/1.1\r\nHost: h\r\n\r\n" + post("/hot", long[:step*100%90_000]) + post("/hot/no", "three") + "GET /x HTTP/1.1\r\nHost: h\r\n\r\n" + post("/hot", "five")
		go func() {
			for at := 0; at < len(all); at += step {
				p.nc.Write([]byte(all[at:min(at+step, len(all))]))
			}
		}()
		for i, want := range []string{"POST one", "GET ", "POST " + long[:step*100%90_000], "http HTTP/1.1 POST /hot/no three", "http HTTP/1.1 GET /x ", "http HTTP/1.1 POST /hot five"} {
			if _, body := p.response(); body != want {
				t.Fatalf("step %d, response %d: %.60q, want %.60q", step, i, body, want)
			}
		}
	}
	if st := s.Stats(); st.Hot != 9 || st.Web != 3 {
		t.Errorf("%d hot, %d handed over", st.Hot, st.Web)
	}
	p := dialTCP(t, addr)
	p.send([]byte(post("/hot", "first")+ws(get)), text("early"))
	if _, body := p.response(); body != "POST first" {
		t.Fatal(body)
	}
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	if got := p.next(); got != `text "early"` {
		t.Error(got)
	}
}

// What could be read in two ways is never hot.
func TestHotIsPlain(t *testing.T) {
	h := &hotEcho{}
	_, addr := serveTCP(t, Config{Hot: h, HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(299) })})
	for name, head := range map[string]string{
		"two lengths":        "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
		"length list":        "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\nhi",
		"signed length":      "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nhi",
		"chunked":            "POST /hot HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"chunked and length": "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"expect":             "POST /hot HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
		"upgrade":            "POST /hot HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
		"two hosts":          "POST /hot HTTP/1.1\r\nHost: h\r\nHost: g\r\nContent-Length: 2\r\n\r\nhi",
		"bare LF":            "POST /hot HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi",
		"folded":             "POST /hot HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nhi",
		"space before colon": "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length : 2\r\n\r\nhi",
		"HTTP/1.0":           "POST /hot HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
		"body too long":      "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 131073\r\n\r\n" + strings.Repeat("x", 131073),
		"no length":          "POST /hot HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		p := dialTCP(t, addr)
		go p.nc.Write([]byte(head))
		p.response()
		if h.asked.Load() != 0 {
			t.Errorf("%s: served", name)
			h.asked.Store(0)
		}
	}
	p := dialTCP(t, addr)
	p.send([]byte("POST /hot HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"))
	if _, body := p.response(); body != "POST hi" {
		t.Error(body)
	}
	if got := p.next(); got != "eof" {
		t.Error(got)
	}
}
