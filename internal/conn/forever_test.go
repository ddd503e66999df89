package conn

import (
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// Limits as long as a Duration can be: the sum with the time so far overflowed, and
// the connection was closed at once.
func TestLimitsForEver(t *testing.T) { onEngines(t, testLimitsForEver) }

func testLimitsForEver(t *testing.T) {
	const ever = time.Duration(math.MaxInt64)
	for name, l := range map[string]Limits{
		"idle":      {Idle: ever},
		"lifetime":  {Lifetime: ever},
		"all but":   {Idle: ever - time.Second, Lifetime: ever - time.Hour},
		"heartbeat": {Heartbeat: Heartbeat{Every: ever}},
		"waits":     {Idle: ever, CloseWait: ever, WriteWait: ever},
		"6.9 years": {Idle: 6.9 * 365 * 24 * time.Hour}, // the ticks of a wheel do not reach that far
	} {
		rec := newRecorder()
		rec.echo = true
		_, addr := serveTCP(t, Config{Head: HeadLimits{Timeout: ever}, Upgrade: accepting(Options{Handler: rec, Limits: l})})
		p := dialTCP(t, addr).open()
		<-time.After(4 * tick) // a timer that were due would have fired
		p.send(text("open"))
		if got := p.next(); got != `text "open"` {
			t.Errorf("%s: %s", name, got)
			continue
		}
		p.send(bye(1000, ""))
		if got := p.next(); got != "close 1000" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// WriteWait was the time for 64 KiB on the portable engine, and the time without
// any progress on the loops: a reader of one byte every ten seconds was lost on the
// one and left alone on the other.
func TestSlowReaderIsLeftAlone(t *testing.T) {
	inBubble(t, Options{}, Config{}, func(t *testing.T, b *bubble) {
		b.conn.Send(make([]byte, 60))
		one := make([]byte, 1)
		for range 62 {
			time.Sleep(10 * time.Second)
			if _, err := b.nc.Read(one); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := b.rec.outcome(); got != "" {
			t.Fatal(got)
		}
		b.conn.Send([]byte("x"))
		start := time.Now()
		<-b.rec.done
		if d := time.Since(start); d < 30*time.Second || d > 60*time.Second {
			t.Errorf("lost after %v", d)
		}
	})
}

// The same over sockets: a reader that goes on reading is left alone for many
// times WriteWait, and one that stops is lost within twice that.
func TestWriteWait(t *testing.T)        { onEngines(t, testWriteWait) }
func TestWriteWaitOverTLS(t *testing.T) { onEngines(t, testWriteWait) }

func testWriteWait(t *testing.T) {
	const wait = 400 * time.Millisecond
	rec := newRecorder()
	conns := make(chan *Conn, 1)
	_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: rec, Limits: Limits{WriteWait: wait, SendBytes: 64 << 20}})
		conns <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-conns
	if err := c.Send(make([]byte, 32<<20)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256<<10)
	for range 20 {
		<-time.After(100 * time.Millisecond)
		if _, err := io.ReadFull(p.nc, buf); err != nil {
			t.Fatal(err)
		}
	}
	if got := rec.outcome(); got != "" {
		t.Fatal(got)
	}
	start := time.Now()
	<-rec.done
	if d := time.Since(start); d > 5*wait { // its kernel goes on taking some
		t.Errorf("lost after %v", d)
	}
	if got := rec.outcome(); got != "1006" {
		t.Error(got)
	}
}
