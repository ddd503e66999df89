package conn

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// A client that vanishes while Config.Upgrade runs: the context says so, Accept
// says so, and the handler never hears of it.
func TestClientVanishesBeforeAccept(t *testing.T) { onEngines(t, testClientVanishesBeforeAccept) }

func testClientVanishesBeforeAccept(t *testing.T) {
	r := newRecorder()
	result := make(chan error, 1)
	_, addr := serveTCP(t, Config{Upgrade: detached(func(u *Upgrade) {
		<-u.Context().Done()
		if cause := context.Cause(u.Context()); !errors.Is(cause, ErrGone) {
			t.Errorf("cause %v", cause)
		}
		_, err := u.Accept(Options{Handler: r})
		u.Refuse(500, nil, nil)
		result <- err
	})})
	p := dialTCP(t, addr)
	p.send([]byte(ws(get)))
	p.nc.Close()
	if err := <-result; !errors.Is(err, ErrGone) {
		t.Errorf("Accept: %v", err)
	}
	if r.outcome() != "" {
		t.Errorf("OnClose %q", r.outcome())
	}
}

// Frames sent before the 101, in one packet with the head and later, are
// delivered after it, in order.
func TestEarlyFramesAreKept(t *testing.T) { onEngines(t, testEarlyFramesAreKept) }

func testEarlyFramesAreKept(t *testing.T) {
	r := newRecorder()
	r.echo = true
	watching, answer := make(chan *Upgrade), make(chan struct{})
	_, addr := serveTCP(t, Config{Upgrade: detached(func(u *Upgrade) {
		watching <- u
		<-answer
		u.Accept(Options{Handler: r})
	})})
	p := dialTCP(t, addr)
	p.send(join([]byte(ws(get)), text("1"), text("2")[:3]))
	u := <-watching
	p.send(join(text("2")[3:], text("3")))
	waitEarly(t, u, len(join(text("1"), text("2"), text("3"))))
	close(answer)
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	p.send(text("4"))
	for _, want := range []string{`text "1"`, `text "2"`, `text "3"`, `text "4"`} {
		if got := p.next(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

// waitEarly spins until n bytes are buffered ahead of the 101.
func waitEarly(t *testing.T, u *Upgrade, n int) {
	ctx, cancel := contextWithTimeout(patience)
	defer cancel()
	for ctx.Err() == nil {
		u.c.mu.Lock()
		have := len(u.early)
		u.c.mu.Unlock()
		if have == n {
			return
		}
	}
	t.Fatal("early bytes never arrived")
}

// Beyond 4 KiB the client is refused and the $connect under way is told.
func TestTooManyEarlyBytes(t *testing.T) { onEngines(t, testTooManyEarlyBytes) }

func testTooManyEarlyBytes(t *testing.T) {
	for _, inHead := range []bool{false, true} {
		asked, called := make(chan bool, 1), make(chan error, 1)
		_, addr := serveTCP(t, Config{Upgrade: detached(func(u *Upgrade) {
			asked <- true
			<-u.Context().Done()
			_, err := u.Accept(Options{Handler: newRecorder()})
			called <- err
		})})
		p := dialTCP(t, addr)
		flood := []byte(strings.Repeat("x", 4<<10+1))
		if inHead {
			p.send(join([]byte(get), []byte("\r\n"+strings.SplitN(ws(get), "\r\n", 2)[1]), flood))
		} else {
			p.send([]byte(ws(get)))
			<-asked
			p.send(flood)
		}
		if res, body := p.response(); res.StatusCode != 400 || !strings.Contains(body, "before the handshake") {
			t.Fatal(res.StatusCode, body)
		}
		if got := p.next(); got != "eof" {
			t.Error(got)
		}
		if !inHead {
			if err := <-called; !errors.Is(err, ErrGone) {
				t.Error(err)
			}
		}
	}
}

// Exactly 4 KiB is allowed.
func TestFourKiBOfEarlyBytes(t *testing.T) { onEngines(t, testFourKiBOfEarlyBytes) }

func testFourKiBOfEarlyBytes(t *testing.T) {
	r := newRecorder()
	release := make(chan struct{})
	up := make(chan *Upgrade, 1)
	_, addr := serveTCP(t, Config{Upgrade: detached(func(u *Upgrade) {
		up <- u
		<-release
		u.Accept(Options{Handler: r})
	})})
	p := dialTCP(t, addr)
	p.send([]byte(ws(get)))
	payload := strings.Repeat("p", 4<<10-8)
	p.send(text(payload))
	waitEarly(t, <-up, 4<<10)
	close(release)
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	p.send(bye(1000, ""))
	<-r.done
	if got := r.got(); len(got) != 1 || got[0] != payload {
		t.Errorf("%d messages", len(got))
	}
}

// A connection accepted Paused delivers nothing until Resume, however much has
// come.
func TestAcceptPaused(t *testing.T) { onEngines(t, testAcceptPaused) }

func testAcceptPaused(t *testing.T) {
	r := newRecorder()
	accepted := make(chan *Conn, 1)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: r, Paused: true})
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}})
	p := dialTCP(t, addr)
	p.send(join([]byte(ws(get)), text("1"), text("2")))
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	c := <-accepted
	if got := r.got(); len(got) != 0 {
		t.Errorf("delivered while paused: %q", got)
	}
	c.Resume()
	p.send(bye(1000, ""))
	<-r.done
	if got := r.got(); len(got) != 2 {
		t.Errorf("got %q", got)
	}
}

func TestUpgradeFields(t *testing.T) { onEngines(t, testUpgradeFields) }

func testUpgradeFields(t *testing.T) {
	done := make(chan struct{})
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		defer close(done)
		if u.Path != "/a b" || u.RawPath != "/a%20b" || u.RawQuery != "x=1&x=2" || u.Host != "h.example" || u.Secure || !u.Remote.IsValid() || u.At.IsZero() {
			t.Errorf("%+v", u)
		}
		if u.Get("UPGRADE") != "websocket" || u.Get("nothing") != "" {
			t.Error("Get")
		}
		if got := strings.Join(u.Protocols, "|"); got != "a|b|c" {
			t.Error(got)
		}
		c, err := u.Accept(Options{Handler: newRecorder()})
		if err != nil || c.RemoteAddr() != u.Remote || c.Secure() || c.LastActive().IsZero() {
			t.Error(err)
		}
	}})
	p := dialTCP(t, addr)
	p.send([]byte(ws("GET /a%20b?x=1&x=2 HTTP/1.1", "+Sec-WebSocket-Protocol: a, b", "+sec-websocket-protocol: ,c,")))
	p.response()
	<-done
}
