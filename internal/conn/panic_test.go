package conn

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// logged is what a server wrote to its log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fragile panics where it is told to.
type fragile struct{ *recorder }

func (h fragile) OnMessage(c *Conn, data []byte, b bool) {
	h.recorder.OnMessage(c, data, b)
	if strings.HasPrefix(string(data), "panic") {
		panic("a bug in OnMessage")
	}
}

func (h fragile) OnClose(c *Conn, code int, reason string) {
	h.recorder.OnClose(c, code, reason)
	if code == 1000 {
		panic("a bug in OnClose")
	}
}

// A panic of a handler ended the process, and everybody's connection with it. It
// ends one connection.
func TestPanics(t *testing.T)        { onEngines(t, testPanics) }
func TestPanicsOverTLS(t *testing.T) { onEngines(t, testPanics) }

func testPanics(t *testing.T) {
	log := &logged{}
	recs := make(chan *recorder, 8)
	s, addr := serveTCP(t, Config{Loops: 1, ErrorLog: slog.New(slog.NewTextHandler(log, nil)), Upgrade: func(u *Upgrade) {
		rec := newRecorder()
		rec.echo = true
		switch u.Path {
		case "/upgrade":
			panic("a bug in Upgrade")
		case "/accepted":
			recs <- rec
			u.Accept(Options{Handler: fragile{rec}})
			panic("a bug behind Accept")
		case "/detached":
			u.Detach(func() { panic("a bug in Detach") })
			return
		}
		recs <- rec
		u.Accept(Options{Handler: fragile{rec}})
	}})
	bystander := dialTCP(t, addr).open()
	<-recs
	for name, c := range map[string]struct {
		send []byte
		want string
	}{
		"whole":      {join(text("panic"), text("never")), "1011 Internal error"},
		"fragmented": {join(part(0x01, "pan"), part(0x80, "ic"), text("never")), "1011 Internal error"},
		"large":      {text("panic" + strings.Repeat("!", 100_000)), "1011 Internal error"},
	} {
		p := dialTCP(t, addr).open()
		rec := <-recs
		p.send(c.send)
		got := p.next()
		for strings.HasPrefix(got, "text") {
			got = p.next()
		}
		if got != "close "+c.want {
			t.Errorf("%s: %s", name, got)
		}
		<-rec.done
		if o := rec.outcome(); o != c.want || len(rec.got()) != 1 {
			t.Errorf("%s: %s, %d messages", name, o, len(rec.got()))
		}
	}
	p := dialTCP(t, addr).open()
	rec := <-recs
	p.send(bye(1000, ""))
	if got := p.next(); got != "close 1000" {
		t.Error(got)
	}
	<-rec.done
	for _, path := range []string{"/upgrade", "/detached"} {
		p := dialTCP(t, addr)
		p.send([]byte(upgradeHead(path)))
		if res, _ := p.response(); res.StatusCode != http.StatusInternalServerError {
			t.Error(path, res.StatusCode)
		}
	}
	p = dialTCP(t, addr)
	p.send([]byte(upgradeHead("/accepted")))
	p.response()
	if got := p.next(); got != "close 1011 Internal error" {
		t.Error(got)
	}
	ran := make(chan struct{})
	s.Post(0, func(func() bool) bool { panic("a bug in a task") })
	s.Post(0, func(func() bool) bool { close(ran); return true })
	<-ran
	bystander.send(text("still here"))
	if got := bystander.next(); got != `text "still here"` {
		t.Error(got)
	}
	if n := s.Stats().Panics; n != 8 {
		t.Errorf("%d panics counted", n)
	}
	for _, want := range []string{"a bug in OnMessage", "a bug in OnClose", "a bug in Upgrade", "a bug in Detach", "a bug behind Accept", "a bug in a task", "panic_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("not logged: %s", want)
		}
	}
}

type fragileHot struct{}

func (fragileHot) Takes(string, string) bool { return true }
func (fragileHot) ServeHot(dst []byte, r *HotRequest) ([]byte, bool) {
	if r.Target == "/panic" {
		_ = append(dst, "HTTP/1.1 2"...)
		panic("a bug in ServeHot")
	}
	return append(dst, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"...), true
}

// A panic of Config.Hot answers 500; what was answered before still leaves.
func TestHotPanics(t *testing.T) {
	s, addr := serveTCP(t, Config{Hot: fragileHot{}, HTTP: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served twice") })})
	p := dialTCP(t, addr)
	p.send([]byte("GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /panic HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n"))
	if s.loops == nil || s.Shards() == 0 {
		t.Skip("no event loops")
	}
	if _, body := p.response(); body != "ok" {
		t.Error(body)
	}
	if res, _ := p.response(); res.StatusCode != 500 {
		t.Error(res.StatusCode)
	}
	if got := p.next(); got != "eof" {
		t.Error(got)
	}
	if s.Stats().Panics != 1 {
		t.Error(s.Stats().Panics)
	}
}
