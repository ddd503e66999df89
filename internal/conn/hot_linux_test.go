package conn

import (
	"fmt"
	"net"
	"net/http"
	"strings"
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
