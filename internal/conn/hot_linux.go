package conn

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
	"unsafe"
)

// Hot HTTP on a loop: requests that Config.Hot answers at once.
const (
	hotBody  = 128 << 10        // bytes of a request's body
	hotIdle  = 60 * time.Second // between two requests
	hotSpeed = 4 << 10          // bytes per second, at least, of a body
)

// hotLine asks Config.Hot about a request line. undecided: it is not all there,
// and may still be.
func (l *loop) hotLine(b []byte) (hot, undecided bool) {
	s := l.base.srv
	if s.cfg.Hot == nil {
		return false, false
	}
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return false, len(b) <= s.head.URL
	}
	method, rest, ok := bytes.Cut(b[:end], []byte{' '})
	target, _, ok2 := bytes.Cut(rest, []byte{' '})
	if !ok || !ok2 || len(method) == 0 || len(target) == 0 {
		return false, false
	}
	return l.takesHot(view(method), view(target)), false
}

func (l *loop) takesHot(method, target string) (takes bool) {
	defer l.base.stats.contained(l.base.srv, "Config.Hot", nil)
	return l.base.srv.cfg.Hot.Takes(method, target)
}

// view is b as a string, for as long as b does not change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// serveHot serves a request whose head, in l.hotHead, ends at end.
func (l *loop) serveHot(c *Conn, in *inbound, b []byte, end int) (n int, _ next) {
	h := &l.hotHead
	host, length, ok := plain(h)
	if !ok {
		return 0, elsewhere
	}
	if n = end + length; len(b) < n {
		in.need = n
		return 0, partial
	}
	l.hotRequest = HotRequest{
		Method: h.method, Target: h.target, Host: host, Headers: h.headers, Body: b[end:n], Remote: c.remote, Secure: c.secure,
	}
	switch verdict := l.askHot(); verdict {
	case served:
	case taken:
		l.queueHot(c)
		l.reject(c, errPanicked)
		return 0, taken
	default:
		return 0, verdict
	}
	l.base.stats.hot.Add(1)
	c.served = true
	if h.hasToken("Connection", "close") || l.leaving { // RFC 9112 §9.6
		last := bytes.Clone(l.hotBuf)
		l.hotBuf = l.hotBuf[:0]
		c.mu.Lock()
		c.answer(last)
		c.mu.Unlock()
		return 0, taken
	}
	return n, served
}

// askHot has Config.Hot answer l.hotRequest. A panic of it takes the connection:
// nobody knows how much of the request was done, so no one else may serve it.
func (l *loop) askHot() (verdict next) {
	before := len(l.hotBuf)
	defer l.base.stats.contained(l.base.srv, "Config.Hot", func() {
		l.hotBuf, verdict = l.hotBuf[:before], taken
	})
	response, ok := l.base.srv.cfg.Hot.ServeHot(l.hotBuf, &l.hotRequest)
	if !ok {
		return elsewhere
	}
	l.hotBuf = response
	return served
}

// plain reports whether a request is one that no two parsers could disagree
// about, and how long its body is: one Host, at most one Content-Length of
// nothing but digits, and nothing that changes what a request is.
func plain(h *head) (host string, length int, ok bool) {
	host, n := h.get("Host")
	if h.minor != 1 || n != 1 || !validHost(host) {
		return "", 0, false
	}
	for _, name := range [...]string{"Transfer-Encoding", "Expect", "Upgrade", "Trailer"} {
		if _, n := h.get(name); n > 0 {
			return "", 0, false
		}
	}
	digits, n := h.get("Content-Length")
	if n == 0 {
		return host, 0, h.method != http.MethodPost && h.method != http.MethodPut
	}
	size, err := strconv.ParseUint(digits, 10, 32)
	if n > 1 || err != nil || digits[0] == '+' || size > hotBody {
		return "", 0, false
	}
	return host, int(size), true
}

// queueHot queues what was answered.
func (l *loop) queueHot(c *Conn) {
	if len(l.hotBuf) == 0 {
		return
	}
	c.mu.Lock()
	o := c.queue()
	g := o.space(l.base.srv, len(l.hotBuf))
	g.b = append(g.b, l.hotBuf...)
	g.kind = lead
	o.pending += len(l.hotBuf)
	c.mu.Unlock()
	if l.hotBuf = l.hotBuf[:0]; cap(l.hotBuf) > readSize {
		l.hotBuf = nil
	}
}

// requestTime bounds the wait for the next request, or for the rest of one: the
// head has Head.Timeout from its first byte on, a body its minimum speed.
func (l *loop) requestTime(c *Conn, have, need int) {
	now := l.base.turn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case have == 0:
		c.due, c.begun = now+hotIdle, false
	case need > 0 && !c.bodied:
		c.due = after(now, l.base.srv.head.Timeout)
		c.due = after(c.due, time.Duration(need)*time.Second/hotSpeed)
	case !c.begun && c.served:
		c.due = after(now, l.base.srv.head.Timeout)
	}
	c.begun, c.bodied = have > 0, need > 0
}
