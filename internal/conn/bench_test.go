package conn

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

type echo struct{}

func (echo) OnMessage(c *Conn, data []byte, _ bool) { c.Send(data) }
func (echo) OnClose(*Conn, int, string)             {}

// sink is a net.Conn that swallows writes at once.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error)      { return len(p), nil }
func (sink) SetWriteDeadline(time.Time) error { return nil }
func (sink) Close() error                     { return nil }
func (sink) RemoteAddr() net.Addr             { return nil }

// stillConn is an open connection on the portable engine without goroutines,
// whose writer never runs: for measuring the calls themselves.
func stillConn(h Handler, l Limits) *routine {
	l = l.withDefaults()
	r := newRoutine(New(Config{Portable: true}), sink{}, false)
	r.c.state, r.c.handler, r.c.limits = open, h, &l
	r.writing = true
	return r
}

// flush writes what is queued, on the caller's goroutine.
func (r *routine) flush() {
	r.drain()
	r.writing = true
}

// The calls of every message do not allocate: Send and the write, the parse of a
// frame, a ping and its pong.
func TestHotPathsDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	msg := []byte(strings.Repeat("m", 128))
	r := stillConn(discard{}, Limits{})
	c := r.c
	for name, f := range map[string]func(){
		"Send and write": func() {
			if err := c.Send(msg); err != nil {
				t.Fatal(err)
			}
			r.flush()
		},
		"100 Sends and one write": func() {
			for range 100 {
				if err := c.Send(msg[:20]); err != nil {
					t.Fatal(err)
				}
			}
			r.flush()
		},
		"Send on a full queue": func() {
			c.Send(msg)
			c.out.budget.Items = 1
			if !errors.Is(c.Send(msg), ErrQueueFull) {
				t.Fatal("not full")
			}
			r.flush()
		},
		"Touch": c.Touch,
	} {
		f()
		if n := testing.AllocsPerRun(200, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	frames := make([]byte, 0, 4096)
	for range 10 {
		frames = append(frames, text(strings.Repeat("m", 128))...)
	}
	scratch := make([]byte, len(frames))
	if n := testing.AllocsPerRun(200, func() { r.feed(scratch[:copy(scratch, frames)]) }); n > 0 {
		t.Errorf("10 messages: %v allocations", n)
	}
}

type discard struct{}

func (discard) OnMessage(*Conn, []byte, bool) {}
func (discard) OnClose(*Conn, int, string)    {}

// BenchmarkSend: queue and write one 128-byte message, without a kernel.
func BenchmarkSend(b *testing.B) {
	r := stillConn(discard{}, Limits{})
	c := r.c
	msg := []byte(strings.Repeat("m", 128))
	b.ReportAllocs()
	for b.Loop() {
		c.Send(msg)
		r.flush()
	}
}

// BenchmarkFeed: parse, unmask, check and deliver one text message.
func BenchmarkFeed(b *testing.B) {
	for _, n := range []int{16, 128, 4000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			r := stillConn(discard{}, Limits{})
			f := text(strings.Repeat("m", n))
			scratch := make([]byte, len(f))
			b.SetBytes(int64(len(f)))
			b.ReportAllocs()
			for b.Loop() {
				r.feed(scratch[:copy(scratch, f)])
			}
		})
	}
}

// BenchmarkEcho: 128-byte messages over loopback TCP, in flight at once per
// connection. The client, in the same process, is part of the time; it costs
// about as much as the server.
func BenchmarkEcho(b *testing.B) {
	for _, inFlight := range []int{1, 16} {
		for _, conns := range []int{1, 64} {
			b.Run(fmt.Sprintf("conns=%d/inflight=%d", conns, inFlight), func(b *testing.B) { benchEcho(b, conns, inFlight) })
		}
	}
}

func benchEcho(b *testing.B, conns, inFlight int) {
	_, addr := serveTCP(b, Config{Upgrade: accepting(Options{Handler: echo{}})})
	peers := make([]*peer, conns)
	for i := range peers {
		peers[i] = dialTCP(b, addr).open()
		peers[i].nc.SetDeadline(noDeadline)
	}
	msg := strings.Repeat("m", 128)
	batch := []byte{}
	for range inFlight {
		batch = append(batch, text(msg)...)
	}
	reply := inFlight * (frame.HeaderSize(128) + 128)
	work := make(chan struct{}, conns)
	done := make(chan error, conns)
	b.ReportAllocs()
	b.ResetTimer()
	for _, p := range peers {
		go func() {
			buf := make([]byte, reply)
			for range work {
				if _, err := p.nc.Write(batch); err != nil {
					done <- err
					return
				}
				if _, err := io.ReadFull(p.r, buf); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for n := 0; n < b.N; n += inFlight {
		work <- struct{}{}
	}
	close(work)
	for range peers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
}

// BenchmarkHandshake: TCP connect, upgrade, close.
func BenchmarkHandshake(b *testing.B) {
	_, addr := serveTCP(b, Config{Upgrade: accepting(Options{Handler: discard{}})})
	head := []byte(ws(get))
	b.ReportAllocs()
	for b.Loop() {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		nc.Write(head)
		r := bufio.NewReaderSize(nc, 512)
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) == 2 {
				break
			}
		}
		nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
	}
}

// BenchmarkIdle reports the heap and stack of one idle connection.
func BenchmarkIdle(b *testing.B) {
	const conns = 1000
	_, addr := serveTCP(b, Config{Upgrade: accepting(Options{Handler: discard{}})})
	var before, after runtime.MemStats
	measure := func(m *runtime.MemStats) { runtime.GC(); runtime.GC(); runtime.ReadMemStats(m) }
	head := []byte(ws(get))
	for b.Loop() {
		var ncs []net.Conn
		measure(&before)
		for range conns {
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			nc.Write(head)
			nc.Read(make([]byte, 512))
			ncs = append(ncs, nc)
		}
		measure(&after)
		b.ReportMetric(float64(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/conns, "B/conn")
		for _, nc := range ncs {
			nc.Close()
		}
	}
}
