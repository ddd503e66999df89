package conn

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

// reasonGoingAway is what AWS reports for idle and lifetime (reference: measured
// disconnect events).
const reasonGoingAway = "Going away"

// Shutdown stops accepting, drops connections that sent no request yet, closes
// every WebSocket with 1001 "Going away", all at once, and waits for their
// OnClose and for HTTP requests under way. Upgrades that Config.Upgrade is still
// deciding are waited for, and then answered 503. When ctx ends first, what is
// left is cut off and ctx's error returned. A second call waits like the first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stopAccepting()
	s.mu.Lock()
	s.closing = true
	part := s.parting
	for nc := range s.young {
		nc.Close()
		delete(s.young, nc)
	}
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	s.loops.leave()
	for _, c := range conns {
		c.Close(part.code, part.reason)
	}

	httpDone := make(chan error, 1)
	go func() { httpDone <- s.web.shutdown(ctx) }()
	done := make(chan struct{})
	go func() {
		s.live.Wait()
		s.loops.wait()
		close(done)
	}()
	select {
	case <-done:
		return <-httpDone
	case <-ctx.Done():
	}
	s.mu.Lock()
	left := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		left = append(left, c)
	}
	s.mu.Unlock()
	for _, c := range left {
		c.cut()
	}
	s.loops.cut()
	if err := <-httpDone; err != nil {
		return err // ctx's
	}
	return context.Cause(ctx)
}

// parting is what a connection is closed with because the server leaves.
type parting struct {
	code   int
	reason string
}

// DrainPlan says how Drain lets the connections go. The zero value closes them
// all at once with 1001 "Going away".
type DrainPlan struct {
	Code   int    // 1001; 1012 tells clients that somebody else is there for them
	Reason string // "Going away" when Code is 0
	// Over spreads the closes, evenly and in random order, so that clients do not
	// come back all at once.
	Over time.Duration
}

// Part asks the WebSockets that are open now to go, as planned, and returns when
// the last one was asked, or when ctx ends. The server serves on: what runs
// because a connection ended may still need its port. Upgrades go on being asked
// of Config.Upgrade, which should refuse them.
func (s *Server) Part(ctx context.Context, plan DrainPlan) {
	plan = plan.withDefaults()
	s.mu.Lock()
	s.parting = parting{plan.Code, plan.Reason}
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	conns = append(conns, s.loops.all()...)
	rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
	s.closeOver(ctx, conns, plan)
}

// Drain stops accepting, answers further upgrades with 503, closes the open
// WebSockets as planned, and then shuts down: see Shutdown, also for when ctx
// ends first. HTTP requests are served until the last WebSocket is asked to go.
func (s *Server) Drain(ctx context.Context, plan DrainPlan) error {
	s.stopAccepting()
	s.Part(ctx, plan)
	return s.Shutdown(ctx)
}

func (p DrainPlan) withDefaults() DrainPlan {
	if p.Code == 0 {
		p.Code, p.Reason = frame.CodeGoingAway, reasonGoingAway
	}
	return p
}

// closeOver closes each connection at a random time within its share of Over.
func (s *Server) closeOver(ctx context.Context, conns []*Conn, plan DrainPlan) {
	share := plan.Over / time.Duration(max(len(conns), 1))
	begun := s.since()
	pause := time.NewTimer(0)
	defer pause.Stop()
	for i, c := range conns {
		at := time.Duration(i)*share + time.Duration(rand.Int64N(int64(share)+1))
		if ahead := begun + at - s.since(); ahead >= time.Millisecond {
			pause.Reset(ahead)
			select {
			case <-pause.C:
			case <-ctx.Done():
				return
			}
		}
		if c.isOpen() {
			c.Close(plan.Code, plan.Reason)
		}
	}
}

// stopAccepting closes the listeners.
func (s *Server) stopAccepting() {
	s.mu.Lock()
	if !s.draining {
		s.draining = true
		close(s.deaf)
	}
	for ln := range s.listeners {
		ln.Close()
	}
	s.mu.Unlock()
	s.loops.deafen()
}

// admit counts c in; false when Shutdown has begun.
func (s *Server) admit(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[c] = struct{}{}
	s.live.Add(1)
	return true
}

func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.live.Done()
}
