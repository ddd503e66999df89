package conn

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// occupy keeps a loop from doing anything until release is called.
func occupy(s *Server, shard int) (release func()) {
	begun, end := make(chan struct{}), make(chan struct{})
	s.Post(shard, func(func() bool) bool { close(begun); <-end; return true })
	<-begun
	return sync.OnceFunc(func() { close(end) })
}

// A frame that had come before the 101 was handled after one that came right
// behind it, when the upgrade was accepted between the two reads: reads have
// their turn before what others posted.
func TestEarlyFramesComeFirst(t *testing.T) { testEarlyFramesComeFirst(t) }

func TestEarlyFramesComeFirstOverTLS(t *testing.T) { testEarlyFramesComeFirst(t) }

func testEarlyFramesComeFirst(t *testing.T) {
	asked, accept, accepted := make(chan *Upgrade, 1), make(chan struct{}), make(chan struct{})
	rec := newRecorder()
	rec.echo = true
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: detached(func(u *Upgrade) {
		asked <- u
		<-accept
		u.Accept(Options{Handler: rec})
		close(accepted)
	})})
	p := dialTCP(t, addr)
	p.send([]byte(upgradeHead("/")))
	u := <-asked
	a := text("first")
	p.send(a[:7])
	for give := time.Now().Add(patience); ; {
		u.c.mu.Lock()
		n := len(u.early)
		u.c.mu.Unlock()
		if n == 7 {
			break
		}
		if time.Now().After(give) {
			t.Fatal("the early bytes did not arrive")
		}
	}
	release := occupy(s, 0)
	defer release()
	close(accept)
	<-accepted
	p.send(join(a[7:], text("second")))
	time.AfterFunc(50*time.Millisecond, release) // the packet needs a moment to be there
	p.response()
	for _, want := range []string{`text "first"`, `text "second"`} {
		if got := p.next(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// A client that sends ahead of the 101 makes the loop read while another
// goroutine accepts: the handler could be seen before its limits.
func TestAcceptWhileBytesArrive(t *testing.T) {
	_, addr := serveTCP(t, Config{Loops: 1, Upgrade: detached(func(u *Upgrade) {
		u.Accept(Options{Handler: echo{}, Limits: Limits{Heartbeat: Heartbeat{Every: time.Hour}}})
	})})
	for range 200 {
		p := dialTCP(t, addr)
		p.send([]byte(upgradeHead("/")))
		for range 20 {
			p.send(text("e"))
		}
		p.response()
		for range 20 {
			if got := p.next(); got != `text "e"` {
				t.Fatal(got)
			}
		}
		p.nc.Close()
	}
}

// What a client has not read yet when it sends its close frame and FIN is still
// sent, and the answer to its close frame behind it.
func TestCloseFrameAndEndBehindABacklog(t *testing.T) { onEngines(t, testCloseAndEnd) }

func testCloseAndEnd(t *testing.T) {
	const messages = 500
	big := strings.Repeat("m", 50_000)
	got := make(chan *Conn, 1)
	rec := newRecorder()
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: rec, Limits: Limits{SendBytes: 1 << 30, SendItems: 1 << 20}})
		got <- c
	}})
	p := dialTCP(t, addr)
	p.open()
	c := <-got
	for i := range messages {
		if err := c.Send(fmt.Appendf(nil, "%05d%s", i, big)); err != nil {
			t.Fatal(err)
		}
	}
	p.send(bye(1000, "enough"))
	p.nc.(*net.TCPConn).CloseWrite()
	<-rec.done
	for i := range messages {
		first, err := p.r.Peek(2)
		if err != nil || first[0] != 0x81 {
			t.Fatalf("message %d: %x %v", i, first, err)
		}
		payload, err := readServerFrame(p.r)
		if err != nil || !bytes.HasPrefix(payload, fmt.Appendf(nil, "%05d", i)) {
			t.Fatalf("message %d: %.20q %v", i, payload, err)
		}
	}
	if end := p.next(); end != "close 1000" {
		t.Error(end)
	}
	if end := p.next(); end != "eof" {
		t.Error(end)
	}
	if o := rec.outcome(); o != "1000 enough" {
		t.Error(o)
	}
}

// A task that a loop had not run when Shutdown ended it was forgotten, and
// whoever waited for it waited for ever.
func TestTasksOutliveTheirLoop(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Loops: 1})
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	dialTCP(t, ln.Addr().String())
	for give := time.Now().Add(patience); s.Stats().Accepted == 0; {
		if time.Now().After(give) {
			t.Fatal("nothing was accepted")
		}
	}
	const tasks = 3
	var left atomic.Int32
	left.Store(tasks)
	ran := make(chan struct{})
	release := occupy(s, 0)
	for range tasks {
		slices := 3
		s.Post(0, func(func() bool) bool {
			if slices--; slices > 0 {
				return false
			}
			if left.Add(-1) == 0 {
				close(ran)
			}
			return true
		})
	}
	ctx, cancel := contextWithTimeout(patience)
	defer cancel()
	over := make(chan error, 1)
	go func() { over <- s.Shutdown(ctx) }()
	for !s.isClosing() {
		runtime.Gosched()
	}
	time.AfterFunc(10*time.Millisecond, release) // Shutdown tells the loop
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	select {
	case <-ran:
	case <-ctx.Done():
		t.Errorf("%d tasks were forgotten", left.Load())
	}
}

// Serve that came too late for Shutdown started loops that nobody ended.
func TestServeBehindShutdownStartsNothing(t *testing.T) {
	s := New(Config{})
	ctx, cancel := contextWithTimeout(patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if s.loops.start() == nil {
		t.Error("loops started")
		s.loops.leave()
	}
}
