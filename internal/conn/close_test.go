package conn

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Everything that can end a connection, at the same time, from everywhere:
// OnClose comes exactly once and last, and its outcome is one of the causes.
func TestOnCloseOnceWhateverEndsIt(t *testing.T) { onEngines(t, testOnCloseOnceWhateverEndsIt) }

func testOnCloseOnceWhateverEndsIt(t *testing.T) {
	const conns = 60
	causes := map[string]bool{"1000 peer": true, "1011 own": true, "1006": true, "1001 Going away": true, "1002 Frame not masked": true}
	var mu sync.Mutex
	var recs []*recorder
	s, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		r := newRecorder()
		r.echo = true
		mu.Lock()
		recs = append(recs, r)
		mu.Unlock()
		c, err := u.Accept(Options{Handler: r, Limits: Limits{Lifetime: time.Duration(1+rand.IntN(20)) * time.Millisecond, CloseWait: 50 * time.Millisecond}})
		if err != nil {
			close(r.done)
			return
		}
		for _, act := range []func(){
			func() { c.Close(1011, "own") },
			func() { c.Send([]byte("x")); c.Pause(); c.Touch(); c.Resume(); c.LastActive() },
			func() { c.Close(1011, "own") },
		} {
			if rand.IntN(2) == 0 {
				go act()
			}
		}
	}})
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			nc.Write([]byte(ws(get)))
			nc.Write(text("hello"))
			switch i % 4 {
			case 0:
				nc.Write(bye(1000, "peer"))
			case 1:
				nc.Write(unmasked(1, "x"))
			case 2:
				nc.(*net.TCPConn).SetLinger(0) // RST
			case 3:
				nc.SetReadDeadline(time.Now().Add(patience))
				buf := make([]byte, 512)
				for {
					if _, err := nc.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := contextWithTimeout(patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	all := recs
	mu.Unlock()
	for _, r := range all {
		<-r.done
		if got := r.outcome(); got != "" && !causes[got] {
			t.Errorf("OnClose: %q", got)
		}
	}
}

// Both sides close at once. Whoever leaves the open state first decides what
// OnClose says; each side sees a close frame.
func TestCrossingCloses(t *testing.T) { onEngines(t, testCrossingCloses) }

func testCrossingCloses(t *testing.T) {
	for i := range 50 {
		r := newRecorder()
		up := make(chan *Conn, 1)
		_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
			c, _ := u.Accept(Options{Handler: r})
			up <- c
		}})
		p := dialTCP(t, addr).open()
		c := <-up
		go c.Close(1011, "own")
		p.send(bye(4000+i, "peer"))
		if got := p.next(); got != "close 1011 own" && got != fmt.Sprintf("close %d", 4000+i) {
			t.Fatal(got)
		}
		if got := p.next(); got != "eof" {
			t.Fatal(got)
		}
		<-r.done
		if got := r.outcome(); got != "1011 own" && got != fmt.Sprintf("%d peer", 4000+i) {
			t.Fatal(got)
		}
	}
}

// Many goroutines send; each one's messages arrive whole and in its order.
func TestConcurrentSend(t *testing.T) { onEngines(t, testConcurrentSend) }

func testConcurrentSend(t *testing.T) {
	const senders, each = 8, 500
	up := make(chan *Conn, 1)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: newRecorder(), Limits: Limits{SendItems: senders * each, SendBytes: 64 << 20}})
		up <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-up
	for s := range senders {
		go func() {
			pad := strings.Repeat("p", s*s*100)
			for n := range each {
				if err := c.Send([]byte(fmt.Sprintf("%d %d %s", s, n, pad))); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	var next [senders]int
	var whole [senders]int
	for range senders * each {
		var s, n int
		payload, err := p.payload()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Sscan(payload, &s, &n)
		if n != next[s] || len(payload) < s*s*100 {
			t.Fatalf("sender %d: message %d, want %d", s, n, next[s])
		}
		next[s]++
		whole[s]++
	}
	p.send(ping("end"))
	if got := p.next(); got != `pong "end"` {
		t.Error(got)
	}
}

// The queue is bounded by bytes, too, and recovers when the client reads.
func TestQueueFullAndRecovery(t *testing.T) { onEngines(t, testQueueFullAndRecovery) }

func testQueueFullAndRecovery(t *testing.T) {
	up := make(chan *Conn, 1)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: newRecorder(), Limits: Limits{SendBytes: 100_000}})
		up <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-up
	msg := []byte(strings.Repeat("m", 30_000))
	if err := c.Send(make([]byte, 100_001)); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a message over the bound: %v", err)
	}
	sent := 0
	for { // until the socket buffers and then the queue are full
		if err := c.Send(msg); errors.Is(err, ErrQueueFull) {
			if full(c) {
				break
			}
			runtime.Gosched()
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		sent++
	}
	for range sent {
		if payload, err := p.payload(); err != nil || len(payload) != len(msg) {
			t.Fatal(len(payload), err)
		}
	}
	for errors.Is(c.Send([]byte("again")), ErrQueueFull) {
		runtime.Gosched()
	}
	if got := p.next(); got != `text "again"` {
		t.Error(got)
	}
}

// full reports whether the writer is stuck: no progress for 200 ms.
func full(c *Conn) bool {
	read := func() int {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.out == nil {
			return 0
		}
		return c.out.budget.Size()
	}
	before := read()
	for start := time.Now(); time.Since(start) < 200*time.Millisecond; runtime.Gosched() {
		if read() != before {
			return false
		}
	}
	return before > 0
}

// payload reads one frame's payload.
func (p *peer) payload() (string, error) {
	got, err := readServerFrame(p.r)
	return string(got), err
}

// A client that never stops pinging gets pongs, bounded memory, and in the end
// 1008.
func TestPingFlood(t *testing.T) { onEngines(t, testPingFlood) }

func testPingFlood(t *testing.T) {
	r := newRecorder()
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: r})})
	p := dialTCP(t, addr).open()
	go func() {
		var burst []byte
		for i := range 500 {
			burst = append(burst, ping(fmt.Sprint(i))...)
		}
		for {
			if _, err := p.nc.Write(burst); err != nil {
				return
			}
		}
	}()
	pongs := 0
	for {
		got := p.next()
		if strings.HasPrefix(got, "pong") {
			pongs++
			continue
		}
		// The flood goes on for longer than the server listens to it; the reset that
		// follows can overtake the close frame.
		if got != "close 1008 Too many control frames" && got != "reset" {
			t.Errorf("after %d pongs: %s", pongs, got)
		}
		break
	}
	<-r.done
	if got := r.outcome(); got != "1008 Too many control frames" {
		t.Error(got)
	}
	if pongs == 0 || pongs > controlBurst+controlPerSec*int(patience/time.Second) {
		t.Errorf("%d pongs", pongs)
	}
	p.nc.Close()
}

// Pings while nothing can leave: what waits is bounded, and the latest ping is
// the one answered last.
func TestPongsAreBounded(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		for i := range 500 {
			b.send(ping(fmt.Sprint(i))) // over net.Pipe nothing leaves until we read
		}
		b.conn.mu.Lock()
		waiting := 0
		for _, s := range b.conn.out.segs {
			waiting += len(s.b)
		}
		waiting += len(b.conn.out.pong)
		b.conn.mu.Unlock()
		// As many again may be in the write under way.
		if limit := 2 * (maxPongs + 1) * 8; waiting > limit {
			t.Errorf("%d bytes of pongs wait, limit %d", waiting, limit)
		}
		pongs, got := 0, ""
		for got != `pong "499"` {
			got = b.next()
			pongs++
		}
		if pongs > 3*maxPongs {
			t.Errorf("%d pongs", pongs)
		}
	})
}

// What a header announces is not allocated.
func TestAnnouncedLengthIsNotAllocated(t *testing.T) { onEngines(t, testAnnouncedLengthIsNotAllocated) }

func testAnnouncedLengthIsNotAllocated(t *testing.T) {
	const conns = 100
	r := make(chan struct{}, conns)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		rec := newRecorder()
		rec.onMessage = func(*Conn, []byte) { r <- struct{}{} }
		u.Accept(Options{Handler: rec, Limits: Limits{Message: 1 << 30}})
	}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range conns {
		p := dialTCP(t, addr).open()
		p.send(text("sync"))
		<-r
		p.send(append([]byte{0x82, 0xFF, 0, 0, 0, 0, 0x3f, 0xff, 0xff, 0xff}, 0, 0, 0, 0, 'x'))
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > conns*64<<10 {
		t.Errorf("%d connections that announced a gigabyte cost %d bytes", conns, grown)
	}
}
