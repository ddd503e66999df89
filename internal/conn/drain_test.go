package conn

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Drain closes at a pace, with its code, and answers latecomers 503.
func TestDrainIsPaced(t *testing.T) { onEngines(t, testDrainIsPaced) }

func testDrainIsPaced(t *testing.T) {
	const conns, over = 40, 400 * time.Millisecond
	r := make([]*recorder, conns)
	var mu sync.Mutex
	next := 0
	s, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		mu.Lock()
		r[next] = newRecorder()
		h := r[next]
		next++
		mu.Unlock()
		u.Accept(Options{Handler: h})
	}})
	closed := make(chan time.Duration, conns)
	var begun time.Time
	var peers []*peer
	for range conns {
		peers = append(peers, dialTCP(t, addr).open())
	}
	late := dialTCP(t, addr)
	late.send([]byte(ws(get))[:10])
	begun = time.Now()
	for _, p := range peers {
		go func() {
			got := p.next()
			if got != "close 1012 Restarting" {
				t.Error(got)
			}
			closed <- time.Since(begun)
			p.nc.Write(bye(1012, ""))
		}()
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Drain(context.Background(), DrainPlan{Code: 1012, Reason: "Restarting", Over: over})
	}()
	early := 0
	for range conns {
		if <-closed < over/2 {
			early++
		}
	}
	if took := time.Since(begun); took < over*3/4 {
		t.Errorf("%d connections in %v, not over %v", conns, took, over)
	}
	if early > conns*3/4 {
		t.Errorf("%d of %d closed in the first half", early, conns)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, h := range r {
		<-h.done
		if got := h.outcome(); got != "1012 Restarting" {
			t.Error(got)
		}
	}
	if nc, err := net.Dial("tcp", addr); err == nil {
		nc.Close()
		t.Error("still accepting")
	}
}

// An upgrade that comes during a drain gets 503.
func TestDrainRefusesUpgrades(t *testing.T) { onEngines(t, testDrainRefusesUpgrades) }

func testDrainRefusesUpgrades(t *testing.T) {
	s, c, p := upgraded(t, newRecorder(), Limits{})
	young := dialTCP(t, p.nc.RemoteAddr().String())
	head := []byte(ws(get))
	young.send(head[:10])
	for s.Stats().Accepted < 2 {
		runtime.Gosched()
	}
	done := make(chan error, 1)
	go func() { done <- s.Drain(context.Background(), DrainPlan{Over: time.Second}) }()
	for !s.isClosing() {
		runtime.Gosched()
	}
	young.send(head[10:])
	if res, _ := young.response(); res.StatusCode != 503 {
		t.Error(res.StatusCode)
	}
	young.nc.Close()
	c.Close(1000, "")
	p.next()
	p.send(bye(1000, ""))
	if err := <-done; err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.Refused.Leaving != 1 {
		t.Errorf("%+v", st.Refused)
	}
}

// The context is the hard stop, on the way and at the end.
func TestDrainHardStop(t *testing.T) { onEngines(t, testDrainHardStop) }

func testDrainHardStop(t *testing.T) {
	r := newRecorder()
	s, _, _ := upgraded(t, r, Limits{CloseWait: time.Hour})
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx, DrainPlan{Over: time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-r.done
	if got := r.outcome(); got != "1001 Going away" {
		t.Error(got)
	}
}

// A silent peer is asked, and lost when it says nothing within Wait.
func TestHeartbeat(t *testing.T) {
	o := Options{Limits: Limits{Heartbeat: Heartbeat{Every: 25 * time.Second, Wait: 20 * time.Second}}}
	inBubble(t, o, Config{}, func(t *testing.T, b *bubble) {
		start := time.Now()
		for round := 1; round <= 3; round++ {
			if got := b.next(); got != `ping ""` || time.Since(start) != 25*time.Second {
				t.Fatal(round, got, time.Since(start))
			}
			b.send(pong(""))
			start = time.Now()
		}
		time.Sleep(24 * time.Second) // anything at all will do
		b.send(part(0x01, "x"))
		start = time.Now()
		if got := b.next(); got != `ping ""` || time.Since(start) != 25*time.Second {
			t.Fatal(got, time.Since(start))
		}
		<-b.rec.done
		if got := b.rec.outcome(); got != "1006" || time.Since(start) != 45*time.Second {
			t.Error(got, time.Since(start))
		}
		if st := b.s.Stats(); st.HeartbeatsLost != 1 || st.Closes.Abnormal != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// While reading is paused nobody can answer, so nobody is asked.
func TestHeartbeatSparesThePaused(t *testing.T) {
	o := Options{Limits: Limits{Heartbeat: Heartbeat{Every: time.Second}}}
	inBubble(t, o, Config{}, func(t *testing.T, b *bubble) {
		b.conn.Pause()
		go func() {
			for b.next() != "eof" { // a ping may be on its way
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.rec.outcome(); got != "" {
			t.Error(got)
		}
		b.conn.Close(1000, "")
	})
}

// The same on real sockets, and a client that answers is left alone.
func TestHeartbeatOverTCP(t *testing.T) { onEngines(t, testHeartbeatOverTCP) }

func testHeartbeatOverTCP(t *testing.T) {
	r := newRecorder()
	_, _, p := upgraded(t, r, Limits{Heartbeat: Heartbeat{Every: 60 * time.Millisecond, Wait: 100 * time.Millisecond}})
	for range 4 {
		if got := p.next(); got != `ping ""` {
			t.Fatal(got)
		}
		p.send(pong(""))
	}
	start := time.Now()
	<-r.done
	if got := r.outcome(); got != "1006" || time.Since(start) < 100*time.Millisecond {
		t.Error(got, time.Since(start))
	}
}
