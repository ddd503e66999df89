package conn

import (
	"context"
	"crypto/tls"
	"time"
)

// Handshakes are bounded in number, on each engine: one that is under way costs
// a goroutine and up to 100 kB.

// greet runs a handshake of the portable engine, when it is its turn.
func (s *Server) greet(tc *tls.Conn, limit time.Duration) (err error) {
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
	select {
	case s.greetings <- struct{}{}:
	default:
		st.tlsWaited.Add(1)
		select {
		case s.greetings <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer func() { <-s.greetings }()
	return tc.HandshakeContext(ctx)
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
	full    bool // the handshake wants no more bytes
	answers bool // the peer asked TLS itself for something: read no more before that left
}
