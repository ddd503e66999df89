package conn

import (
	"context"

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
	s.mu.Lock()
	s.closing = true
	for ln := range s.listeners {
		ln.Close()
	}
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
		c.Close(frame.CodeGoingAway, reasonGoingAway)
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
