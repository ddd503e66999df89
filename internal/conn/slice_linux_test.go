package conn

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

// counted is the handler of one flooder: numbered messages, in order.
type counted struct {
	t    *testing.T
	all  *atomic.Int64
	n    uint32
	done chan struct{}
}

const floodFrames = 6000 // 60 kB of them: one read

func (h *counted) OnMessage(c *Conn, data []byte, _ bool) {
	if got := binary.BigEndian.Uint32(data); got != h.n {
		h.t.Errorf("message %d is %d", h.n, got)
	}
	h.n++
	h.all.Add(1)
	if h.n == floodFrames {
		c.Send([]byte("all"))
	}
}

func (h *counted) OnClose(*Conn, int, string) { close(h.done) }

func flood(end ...[]byte) (all []byte) {
	for i := range uint32(floodFrames) {
		all = frame.AppendMasked(all, frame.Binary, key, binary.BigEndian.AppendUint32(nil, i))
	}
	return append(all, join(end...)...)
}

// What one wake-up of a socket may handle had no bound but the read buffer: behind
// twenty clients that flooded a loop with tiny frames, an echo waited for all of
// their 60 kB each.
func TestTinyFramesAreSliced(t *testing.T)        { testTinyFramesAreSliced(t) }
func TestTinyFramesAreSlicedOverTLS(t *testing.T) { testTinyFramesAreSliced(t) }

func testTinyFramesAreSliced(t *testing.T) {
	const flooders = 20
	var handled atomic.Int64
	before := make(chan int64, 1)
	honest := newRecorder()
	honest.onMessage = func(*Conn, []byte) { before <- handled.Load() }
	floods := make(chan *counted, flooders)
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		if u.Path == "/honest" {
			u.Accept(Options{Handler: honest})
			return
		}
		h := &counted{t: t, all: &handled, done: make(chan struct{})}
		floods <- h
		u.Accept(Options{Handler: h})
	}})
	var peers []*peer
	for range flooders {
		peers = append(peers, dialTCP(t, addr).open())
	}
	p := dialTCP(t, addr)
	p.send([]byte(upgradeHead("/honest")))
	p.response()
	release := occupy(s, 0)
	defer release()
	bytes := flood(bye(1000, ""))
	for _, f := range peers {
		f.send(bytes)
	}
	p.send(text("now"))
	time.AfterFunc(100*time.Millisecond, release) // the packets need a moment to be there
	if n := <-before; n > flooders*floodFrames/4 {
		t.Errorf("%d of %d tiny frames went first", n, flooders*floodFrames)
	}
	for _, f := range peers {
		for _, want := range []string{"text", "close"} {
			if got := f.next(); !strings.HasPrefix(got, want) {
				t.Fatal(got)
			}
		}
		<-(<-floods).done
	}
	if n := handled.Load(); n != flooders*floodFrames {
		t.Errorf("%d messages", n)
	}
	if l := s.loops.loops[0]; s.Stats().Open == 1 {
		checked := make(chan struct{})
		s.Post(0, func(func() bool) bool {
			if l.behind.len() > 0 || len(l.spares) > crowd {
				t.Errorf("%d behind, %d spares", l.behind.len(), len(l.spares))
			}
			close(checked)
			return true
		})
		<-checked
	}
}

// What a client on TLS sent before its close_notify is handled, in however many
// turns: the end of TLS must not overtake what waits for a later one.
func TestWhatCameBeforeCloseNotify(t *testing.T) {
	for _, pause := range []bool{false, true} {
		t.Run(fmt.Sprintf("pause=%v", pause), func(t *testing.T) {
			var handled atomic.Int64
			h := &counted{t: t, all: &handled, done: make(chan struct{})}
			conns := make(chan *Conn, 1)
			s, addr := serveTCP(t, Config{Loops: 1, TLS: testTLS(t), Upgrade: func(u *Upgrade) {
				c, _ := u.Accept(Options{Handler: h, Paused: pause})
				conns <- c
			}})
			p := secured(t, addr, nil, nil)
			p.send([]byte(upgradeHead("/")))
			p.response()
			c := <-conns
			release := occupy(s, 0)
			p.send(flood())
			p.nc.(*tls.Conn).CloseWrite()
			time.AfterFunc(50*time.Millisecond, release)
			if pause {
				time.AfterFunc(200*time.Millisecond, c.Resume)
			}
			<-h.done
			if n := handled.Load(); n != floodFrames {
				t.Errorf("%d messages of %d", n, floodFrames)
			}
		})
	}
}

// Requests that Config.Hot serves have the same share.
func TestHotRequestsAreSliced(t *testing.T) {
	h := &hotEcho{}
	before := make(chan int32, 1)
	honest := newRecorder()
	honest.onMessage = func(*Conn, []byte) { before <- h.asked.Load() }
	s, addr := serveTCP(t, Config{Loops: 1, Hot: h, Upgrade: accepting(Options{Handler: honest})})
	const each, clients = 1000, 20
	all := []byte(strings.Repeat("GET /hot HTTP/1.1\r\nHost: h\r\n\r\n", each))
	p := dialTCP(t, addr).open()
	var peers []*peer
	for range clients {
		f := dialTCP(t, addr)
		f.send([]byte("GET /hot HTTP/1.1\r\nHost: h\r\n\r\n"))
		f.response()
		peers = append(peers, f)
	}
	h.asked.Store(0)
	release := occupy(s, 0)
	defer release()
	for _, f := range peers {
		go f.nc.Write(all)
	}
	time.AfterFunc(100*time.Millisecond, func() { p.nc.Write(text("now")); release() })
	if n := <-before; n > each*clients/2 {
		t.Errorf("%d of %d requests went first", n, each*clients)
	}
	for _, f := range peers {
		for range each {
			if _, body := f.response(); body != "GET " {
				t.Fatal(body)
			}
		}
	}
}

// pausing pauses after every message.
type pausing struct {
	*counted
	conns chan *Conn
}

func (h *pausing) OnMessage(c *Conn, data []byte, b bool) {
	h.counted.OnMessage(c, data, b)
	c.Pause()
	if h.n < floodFrames {
		h.conns <- c
	}
}

// A connection that pauses after every message had the rest of what was read
// copied for each: 180 MB for the 60 kB here.
func TestPauseDoesNotCopy(t *testing.T) {
	var handled atomic.Int64
	h := &pausing{&counted{t: t, all: &handled, done: make(chan struct{})}, make(chan *Conn, 1)}
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: h})})
	p := dialTCP(t, addr).open()
	var before, after runtime.MemStats
	release := occupy(s, 0)
	p.send(flood())
	time.AfterFunc(50*time.Millisecond, release)
	c := <-h.conns
	runtime.ReadMemStats(&before)
	c.Resume()
	for range floodFrames - 2 {
		(<-h.conns).Resume()
	}
	if got := p.next(); !strings.HasPrefix(got, "text") {
		t.Fatal(got)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("%d bytes allocated", n)
	}
}

// Frames that wait for a later turn cost no allocation either.
func TestSlicesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	_, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: echoText{}})})
	p := dialTCP(t, addr).open()
	p.nc.SetDeadline(time.Time{})
	all := flood(text("end"))
	end := make([]byte, frame.HeaderSize(3)+3)
	exchange := func() {
		p.nc.Write(all)
		for n := 0; n < len(end); {
			k, err := p.nc.Read(end[n:])
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	for range 20 {
		exchange()
	}
	if n := testing.AllocsPerRun(100, exchange); n > 2 {
		t.Errorf("%v allocations for %d messages", n, floodFrames)
	}
}

// echoText answers text only.
type echoText struct{}

func (echoText) OnMessage(c *Conn, data []byte, binary bool) {
	if !binary {
		c.Send(data)
	}
}
func (echoText) OnClose(*Conn, int, string) {}
