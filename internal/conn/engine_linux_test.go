package conn

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/livegate/livegate/internal/frame"
)

// Connections are dealt out evenly, and each stays where it is.
func TestLoopsShareConnections(t *testing.T) {
	var on [3]atomic.Int32
	s, addr := serveTCP(t, Config{Loops: 3, Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: echo{}})
		if err != nil {
			t.Error(err)
			return
		}
		on[c.Shard()].Add(1)
	}})
	if s.Shards() != 3 {
		t.Fatal(s.Shards())
	}
	for range 30 {
		dialTCP(t, addr).open()
	}
	for i := range on {
		if n := on[i].Load(); n < 9 || n > 11 {
			t.Errorf("shard %d has %d of 30", i, n)
		}
	}
}

// Tasks of a shard run in order, in slices, while messages are echoed in between.
func TestTasksAreSliced(t *testing.T) {
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: echo{}})})
	p := dialTCP(t, addr).open()
	var order []int
	stop, done := atomic.Bool{}, make(chan struct{})
	calls := 0
	s.Post(0, func(spent func() bool) bool { // as long as the test wants
		calls++
		for !spent() {
			runtime.Gosched()
		}
		if !stop.Load() {
			return false
		}
		order = append(order, 1)
		return true
	})
	s.Post(0, func(func() bool) bool { order = append(order, 2); return true })
	s.Post(0, func(func() bool) bool { close(done); return true })
	for range 20 {
		p.send(text("between"))
		if got := p.next(); got != `text "between"` {
			t.Fatal(got)
		}
	}
	stop.Store(true)
	<-done
	if fmt.Sprint(order) != "[1 2]" || calls < 20 {
		t.Errorf("order %v, %d slices", order, calls)
	}
}

// A fan-out to many connections does not hold up an echo: the echo is answered
// after a slice, not after the backlog.
func TestEchoDuringFanOut(t *testing.T) {
	const subscribers, rounds = 300, 20
	var mu sync.Mutex
	var subs []*Conn
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: echo{}, Limits: Limits{SendBytes: 1 << 30, SendItems: 1 << 20}})
		if err != nil {
			t.Error(err)
		}
		if u.Path == "/sub" {
			mu.Lock()
			subs = append(subs, c)
			mu.Unlock()
		}
	}})
	var wg sync.WaitGroup
	defer wg.Wait()
	for range subscribers {
		p := dialTCP(t, addr)
		p.send([]byte(upgradeHead("/sub")))
		p.response()
		defer p.nc.Close()
		wg.Go(func() { io.Copy(io.Discard, p.nc) })
	}
	p := dialTCP(t, addr).open()
	big := frame.Prepare(frame.Text, []byte(strings.Repeat("f", 60<<10)), "")
	least := uint64(subscribers)
	for range rounds {
		left := 0
		s.Post(0, func(spent func() bool) bool {
			for ; left < len(subs); left++ {
				if spent() {
					return false
				}
				if err := subs[left].SendPrepared(big); err != nil && !errors.Is(err, ErrClosed) { // the test's end
					t.Error(err)
				}
			}
			return true
		})
		before := s.Stats().Writes
		p.send(text("now"))
		if got := p.next(); got != `text "now"` {
			t.Fatal(got)
		}
		least = min(least, s.Stats().Writes-before)
	}
	// Were echoes behind the backlog, all of it would have been written before any.
	if least > subscribers/2 {
		t.Errorf("at least %d writes before each echo", least)
	}
}

// Prepared messages, texts and pongs of one connection leave in the order in
// which they were queued, whichever list the loop found the connection in.
func TestOrderAcrossUrgencies(t *testing.T) {
	up := make(chan *Conn, 1)
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: echo{}, Limits: Limits{SendItems: 1 << 20, SendBytes: 64 << 20}})
		up <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-up
	const n = 3000
	s.Post(0, func(func() bool) bool {
		for i := range n {
			if i%3 == 0 {
				c.Send(fmt.Append(nil, i))
			} else {
				c.SendPrepared(frame.Prepare(frame.Text, fmt.Append(nil, i), ""))
			}
		}
		return true
	})
	for i := range n {
		if got := p.next(); got != fmt.Sprintf("text %q", fmt.Sprint(i)) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
}
