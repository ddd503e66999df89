package conn

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

// Handshakes are bounded in number, on each engine: one that is under way costs
// a goroutine and up to 100 kB.

// greetings are the handshakes of the portable engine.
type greetings struct {
	places chan struct{} // holds one for each

	mu    sync.Mutex
	under []greeting // guarded by mu, eldest first
}

// greeting is a handshake under way.
type greeting struct {
	began time.Time
	wire  *patient
}

// greet runs a handshake of the portable engine, when it is its turn. wire is
// what it runs over, nil for a connection that came with its TLS.
func (s *Server) greet(tc *tls.Conn, wire *patient, limit time.Duration) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	st := &s.here.stats
	defer func() {
		if err != nil {
			st.tlsFailed.Add(1)
		} else {
			st.tlsDone.Add(1)
		}
	}()
	g := &s.greetings
	if err := g.enter(ctx, st, s.head.grace()); err != nil {
		return err
	}
	defer func() { <-g.places }()
	if wire != nil {
		g.begun(greeting{time.Now(), wire})
		defer g.over(wire)
	}
	// On a goroutine, for a callback of tls.Config that blocks and does not look at
	// ClientHelloInfo.Context: it keeps that goroutine, but not the place.
	done := make(chan error, 1)
	go func() { done <- tc.HandshakeContext(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter waits for a place.
func (g *greetings) enter(ctx context.Context, st *counters, grace time.Duration) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	st.tlsWaited.Add(1)
	look := time.NewTicker(max(grace/4, 1))
	defer look.Stop()
	for {
		select {
		case g.places <- struct{}{}:
			return nil
		case <-look.C:
			if g.dropStalled(time.Now().Add(-grace)) {
				st.tlsStalled.Add(1)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *greetings) begun(one greeting) {
	g.mu.Lock()
	g.under = append(g.under, one)
	g.mu.Unlock()
}

func (g *greetings) over(wire *patient) {
	g.mu.Lock()
	g.under = slices.DeleteFunc(g.under, func(o greeting) bool { return o.wire == wire })
	g.mu.Unlock()
}

// dropStalled ends the eldest handshake that waits for its client, if it began
// before then.
func (g *greetings) dropStalled(then time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range g.under {
		if o.began.After(then) {
			break
		}
		if o.wire.reading.Load() {
			g.under = slices.Delete(g.under, i, i+1)
			o.wire.Close()
			return true
		}
	}
	return false
}

// tlsPhase of a connection on a loop.
type tlsPhase uint8

const (
	tlsNone     tlsPhase = iota
	tlsHello             // the first record is not whole
	tlsWaiting           // for a handshake to end, so that this one may begin
	tlsGreeted           // a goroutine runs the handshake
	tlsIsParked          // the loop opens and seals
	tlsBroken            // the handshake failed
)

// parked is TLS on a loop. The loop owns it.
type parked struct {
	tls     *parkedTLS
	hello   []byte // until the handshake begins: what arrived
	phase   tlsPhase
	full    bool  // the handshake wants no more bytes
	place   int32 // in loop.greetings, while greeted
	answers bool  // the peer asked TLS itself for something: read no more before that left
}
