package ws

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/conn"
)

// slowHead is the time a head may take in these tests, and slack what a busy
// machine may add to it.
const (
	slowHead = time.Second
	slack    = 3 * time.Second
)

func impatient(s *setup) {
	s.Head = conn.HeadLimits{Timeout: slowHead}
	s.Hot = hotPosts{}
	s.Idle = slowHead
}

// hotPosts takes every POST below /hot.
type hotPosts struct{}

func (hotPosts) Takes(method, target string) bool {
	return method == "POST" && strings.HasPrefix(target, "/hot")
}

func (hotPosts) ServeHot(dst []byte, r *conn.HotRequest) ([]byte, bool) {
	return fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.Body), r.Body), true
}

var _ conn.Hot = hotPosts{}

// slowpoke is one way of taking one's time.
type slowpoke struct {
	what  string
	open  bool   // on an open WebSocket
	first string // at once
	then  string // a byte at a time; its last byte again and again
}

// S5: who does not get on with it is let go, and others are served meanwhile.
func TestS5Slowloris(t *testing.T) {
	slow(t, "handshake heads", []slowpoke{
		{"not a byte", false, "", ""},
		{"a handshake head byte by byte", false, "", strings.TrimSuffix(hello(get), "\r\n") + "X-Slow: " + strings.Repeat("s", 1000)},
		{"a handshake head without its last byte", false, strings.TrimSuffix(hello(get), "\n"), ""},
		{"endless header lines", false, "GET / HTTP/1.1\r\n", strings.Repeat("a:\r\n", 1000)},
		{"the head of a POST byte by byte", false, "POST ", "/x HTTP/1.1\r\nX-Slow: " + strings.Repeat("s", 1000)},
		{"the head of a hot POST byte by byte", false, "POST /hot ", "HTTP/1.1\r\nX-Slow: " + strings.Repeat("s", 1000)},
		{"a TLS handshake byte by byte", false, "\x16\x03\x01\x02\x00\x01", "\x00"},
	})
	slow(t, "frames", []slowpoke{
		{"a frame header without its last byte", true, string(announced(bitFin|opText, 64, 70_000)[:13]), ""},
		{"the payload of a frame byte by byte", true, string(announced(bitFin|opBinary, 16, 4000)), "p"},
		{"an unfinished fragmented message", true, string(masked(opText, "a")), ""},
	})
	slow(t, "hot POST bodies", []slowpoke{
		{"a body byte by byte", false, "POST /hot/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n", "b"},
		{"chunks byte by byte", false, "POST /hot/x HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n", "b"},
		{"a body that never comes", false, "POST /hot/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n", ""},
	})
}

func slow(t *testing.T, what string, kinds []slowpoke) {
	const crowd = 100
	attack(t, "S5", fmt.Sprintf("%s, %d of each kind at once", what, crowd), impatient, func(a *assault) {
		var all []*client
		var then []string
		for _, k := range kinds {
			for _, c := range a.crowd(crowd, k.open) {
				c.write([]byte(c.fill(k.first)))
				all, then = append(all, c), append(then, c.fill(k.then))
			}
		}
		// The control connection would idle away, too: others are those who come.
		served := make(chan string, 1)
		go func() { served <- a.serves(time.Now().Add(slowHead)) }()
		lasted := trickle(all, then, 100*time.Millisecond)
		if bad := <-served; bad != "" {
			a.Error(bad)
		}
		kept := make([]int, len(kinds))
		for i, d := range lasted {
			if d > slowHead+slack {
				kept[i/crowd]++
			}
		}
		for i, n := range kept {
			if n > 0 {
				a.Errorf("%s: %d of %d connections were kept for more than %v", kinds[i].what, n, crowd, slowHead+slack)
			}
		}
		for _, c := range all {
			c.nc.Close()
		}
		a.control = a.srv.dial(a)
		upgrade()(a.control)
		a.holds(16 * mib)
	})
}

// serves: newcomers are upgraded and echoed until the given time; "" if so.
func (a *assault) serves(until time.Time) string {
	for time.Now().Before(until) {
		begin := time.Now()
		if problem := a.visit(); problem != "" {
			return "a newcomer during the attack: " + problem
		}
		if took := time.Since(begin); took > slack {
			return fmt.Sprintf("a newcomer was served after %v", took)
		}
	}
	return ""
}

// visit dials, echoes once and leaves. It reports, for use on other goroutines.
func (a *assault) visit() string {
	fresh, err := a.srv.connect()
	if err != nil {
		return err.Error()
	}
	defer fresh.Close()
	v := newClient(a, a.srv, fresh)
	if _, err := fresh.Write(append([]byte(v.fill(hello(get))), text("hi")...)); err != nil {
		return err.Error()
	}
	r, err := v.response()
	if err != nil || r.status != 101 {
		return fmt.Sprintf("handshake: %v %v", r, err)
	}
	if got := v.next(); got != `text "hi"` {
		return got
	}
	return ""
}

// monsters are heads that cost a careless parser far more than their bytes.
func monsters() []named {
	fill := func(s string) string { return strings.Repeat(s, 15_000/len(s)) }
	edit := func(e string) string { return hello(get, e) }
	return []named{
		{"1e6 header lines", "GET / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 1_000_000)},
		{"a line of 8 MiB", "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 8<<20)},
		{"a name of 8 MiB", "GET / HTTP/1.1\r\n" + strings.Repeat("x", 8<<20)},
		{"a target of 8 MiB", "GET /" + strings.Repeat("x", 8<<20)},
		{"a method of 8 MiB", strings.Repeat("G", 8<<20)},
		{"2 000 lines of Upgrade", hello(get, strings.Split(strings.TrimSuffix(strings.Repeat("+Upgrade: websocket\n", 2000), "\n"), "\n")...)},
		{"1e6 lines of a POST", "POST / HTTP/1.1\r\n" + strings.Repeat("a:\r\n", 1_000_000)},
		{"subprotocols: white space inside", edit("+Sec-WebSocket-Protocol: a" + fill(" ") + "b")},
		{"subprotocols: commas", edit("+Sec-WebSocket-Protocol: " + fill(",") + "x")},
		{"subprotocols: commas and spaces", edit("+Sec-WebSocket-Protocol: " + fill(" , ") + "x")},
		{"subprotocols: 7 500 of them", edit("+Sec-WebSocket-Protocol: " + fill("a,") + "b")},
		{"extensions: 780 offers", edit("+Sec-WebSocket-Extensions: " + fill("permessage-deflate,") + "x")},
		{"extensions: 7 500 parameters", edit("+Sec-WebSocket-Extensions: permessage-deflate" + fill("; a"))},
		{"extensions: quotes and backslashes", edit(`+Sec-WebSocket-Extensions: permessage-deflate; a="` + fill(`\"`))},
		{"extensions: white space", edit("+Sec-WebSocket-Extensions: permessage-deflate;" + fill(" \t") + "a")},
		{"Connection: 7 500 tokens", edit("Connection: " + fill("a,") + "Upgrade")},
		{"Upgrade: 7 500 tokens", edit("Upgrade: " + fill("a,") + "websocket")},
		{"cookies: 7 500 of them", edit("+Cookie: " + fill("a;"))},
		{"Host of 15 KB", edit("Host: " + fill("h."))},
		{"Host of 15 000 colons", edit("Host: [" + fill(":") + "]")},
		{"key of 15 KB", edit("Sec-WebSocket-Key: " + fill("A"))},
		{"version of 15 000 digits", edit("Sec-WebSocket-Version: " + fill("1"))},
		{"target of 4 000 escapes", hello("GET /" + strings.Repeat("%41", 1300) + " HTTP/1.1")},
		{"target of 4 000 slashes and dots", hello("GET " + strings.Repeat("/..", 1300) + " HTTP/1.1")},
	}
}

// S6: heads are bounded, and their parsers linear.
func TestS6HeaderFloods(t *testing.T) {
	for _, m := range monsters() {
		attack(t, "S6", m.name+", 20 at once", nil, func(a *assault) {
			all := a.crowd(20, false)
			head := []byte(all[0].fill(m.bytes))
			begin := time.Now()
			each(all, func(c *client) {
				go c.attempt(head)
				r, err := c.responseHead()
				if err != nil {
					if end := ending(err); end != "eof" && end != "reset" {
						c.t.Errorf("no answer: %s", end)
					}
					return
				}
				if r.status != 101 && r.status/100 != 4 {
					c.t.Errorf("status %d", r.status)
				}
			})
			if took := time.Since(begin); took > slack {
				a.Errorf("20 heads took %v", took)
			}
			a.unharmed(10)
			for _, c := range all {
				c.nc.Close()
			}
			a.peaked(64*mib + uint64(8*len(m.bytes))) // our own copies
			a.holds(12 * mib)
		})
	}
}

// S20: a request hidden in another is never run, on any of many connections.
func TestS20Smuggling(t *testing.T) {
	for _, s := range smuggling() {
		attack(t, "S20", s.name, nil, func(a *assault) {
			for range 5 {
				c := a.srv.dial(a)
				c.patience = slack
				ask(s.bytes)(c)
				s.check(c)
				c.nc.Close()
			}
			a.holds(8 * mib)
		})
	}
	for name, target := range map[string]string{
		"CR LF escaped in the path": "/a%0d%0aSet-Cookie:%20x", "CR LF escaped in the path, upper case": "/a%0D%0ASet-Cookie:%20x", "LF escaped in the path": "/a%0aSet-Cookie:%20x",
		"CR LF in UTF-8 lookalikes": "/a%E5%98%8D%E5%98%8ASet-Cookie:x", "CR LF escaped in the query": "/a?b=%0d%0aSet-Cookie:%20x",
	} {
		attack(t, "S20", "response splitting: "+name, nil, func(a *assault) {
			for _, head := range []string{hello("GET " + target + " HTTP/1.1"), "GET " + target + " HTTP/1.1\r\nHost: {host}\r\n\r\n"} {
				c := a.srv.dial(a)
				ask(head)(c)
				r, err := c.response()
				if err != nil {
					a.Fatal(ending(err))
				}
				if _, ok := r.headers["set-cookie"]; ok {
					a.Errorf("the target became a header: %v", r.headers)
				}
				c.nc.Close()
			}
		})
	}
}
