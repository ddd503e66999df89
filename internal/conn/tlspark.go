package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
)

// parkedTLS is the server side of one TLS connection that owns no goroutine, no
// socket and no buffer to speak of: ciphertext is given to it and taken from it.
//
// It lives in two phases, and may leave into a third:
//
//   - Greeting, from newParkedTLS: handshake blocks and therefore runs on a
//     goroutine of its own. Whoever reads the socket calls push with what
//     arrives, and abandon when nothing more will.
//   - Parked, from park: open and seal turn ciphertext into plaintext and back.
//     They never block. One owner calls them (the event loop): nothing here is
//     locked, and open and seal must not run at the same time.
//   - Released, from release: an ordinary blocking *tls.Conn over a net.Conn,
//     for owners that need one, such as net/http.
//
// Memory of a parked connection: about 5 kB in a TLS 1.3 connection that only
// ever got small records. crypto/tls keeps its read buffer at the size of the
// largest record the peer sent (18 kB at most), and the buffer of handshake
// messages at the largest of those (128 kB at most, and only for a peer that
// really sends 64 kB of one).
//
// A peer's KeyUpdate is answered, its renegotiation refused (RFC 8446 §4.6.3,
// and Go's servers never renegotiate). Anything against the protocol yields the
// fatal alert to send, and the error.
type parkedTLS struct {
	wire tlsWire
	tc   *tls.Conn

	// owned by the owner
	err    error // what ended open
	closed bool  // closeNotify was called
}

// tlsMaxPlain is the most plaintext one record holds (RFC 8446 §5.1).
const tlsMaxPlain = 1 << 14

// tlsScratch is where seal gathers small frames into one record. One per event
// loop is enough.
type tlsScratch [tlsMaxPlain]byte

// tlsServerConfig is base as parked connections want it: everything that decides
// security stays as the caller, or else Go, has it. Records are not kept small
// at the start of a connection: what is written in one turn is one record, since
// each costs about as much as encrypting 1 kB. Make one per server, not per
// connection: it owns the keys of the session tickets.
func tlsServerConfig(base *tls.Config) *tls.Config {
	cfg := base.Clone()
	cfg.DynamicRecordSizingDisabled = true
	return cfg
}

// newParkedTLS starts the greeting. send gets, in order and on the goroutine of
// handshake, what is to be sent; b is valid only during the call. It must not
// fail: a socket that is gone is told with abandon.
func newParkedTLS(cfg *tls.Config, send func(b []byte)) *parkedTLS {
	p := &parkedTLS{}
	p.wire.greet(send)
	p.tc = tls.Server(&p.wire, cfg)
	return p
}

// name says who is at the ends, for tls.Config's callbacks. Call it before
// handshake.
func (p *parkedTLS) name(local, remote net.Addr) {
	p.wire.greeting.local, p.wire.greeting.remote = local, remote
}

// handshake runs the handshake to its end. Call it once, on a goroutine of its
// own; whatever it returns is final, and a fatal alert has been sent. On nil the
// connection may be parked or released.
func (p *parkedTLS) handshake() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	p.wire.greeting.interruptible(cancel)
	return p.tc.HandshakeContext(ctx)
}

// push gives the handshake what arrived; b may be used again on return. false
// asks to read no more until the handshake is over: a flood, or early data of
// the application, waits in the socket. b is kept all the same.
//
// It makes the handshake's goroutine runnable. A loop that goes straight into a
// blocking epoll_wait takes its P along, until the runtime's monitor hands it
// over: that delays every handshake and costs a third of its CPU in thread
// switches. While handshakes are under way a loop should runtime.Gosched and poll
// without blocking before it waits.
func (p *parkedTLS) push(b []byte) (more bool) { return p.wire.greeting.push(b) }

// abandon makes handshake return err as soon as it has used up what was pushed:
// io.EOF when the peer ended, or a time-out.
func (p *parkedTLS) abandon(err error) { p.wire.greeting.abandon(err) }

// interrupt ends ClientHelloInfo.Context: nobody waits any more for a callback of
// the tls.Config that takes its time.
func (p *parkedTLS) interrupt() { p.wire.greeting.interrupt() }

// stalled: the handshake waits for its client.
func (p *parkedTLS) stalled() bool { return p.wire.greeting.stalled() }

// park ends the greeting. rest is what arrived behind the peer's last handshake
// message; it goes into the first open, or into release.
func (p *parkedTLS) park() (rest []byte) {
	return p.wire.park()
}

// protocol is the protocol ALPN chose, or "" (RFC 7301).
func (p *parkedTLS) protocol() string { return p.tc.ConnectionState().NegotiatedProtocol }

// open appends the plaintext of every record that ciphertext completes to dst.
// The rest of an incomplete record is kept inside. ciphertext is not written to
// and not kept.
//
// dst should have room for len(ciphertext) and one record of tlsMaxPlain; then
// it is never grown, and open allocates 24 bytes per record.
//
// reply is seldom there: an alert, or the answer to a KeyUpdate. It is the
// caller's, and has to be sent before anything sealed later, also with an error.
//
// err is final. io.EOF: the peer sent close_notify; seal still works. Anything
// else: the connection is broken, and reply tells the peer. plain is good in
// either case: it came before.
func (p *parkedTLS) open(dst, ciphertext []byte) (plain, reply []byte, err error) {
	if p.err != nil {
		return dst, nil, p.err
	}
	p.wire.in, p.wire.out = ciphertext, nil
	for {
		room := cap(dst) - len(dst)
		if room == 0 {
			dst = slices.Grow(dst, tlsMaxPlain)
			continue
		}
		n, err := p.tc.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err != nil {
			if !errors.Is(err, errWireDry) {
				p.err = err
			}
			break
		}
		if n < room && len(p.wire.in) == 0 {
			break // asking again would only find the wire dry
		}
	}
	if !p.closed { // nothing may follow our close_notify, not even an answer to a KeyUpdate
		reply = p.wire.out
	}
	p.wire.in, p.wire.out = nil, nil
	return dst, reply, p.err
}

// seal appends frames to dst as records, as few as there can be: frames share
// records, a long one spans several. frames are not kept. s may be nil when
// there is one frame. The error is there when the connection is broken, or
// closeNotify was called; dst is then as it was.
func (p *parkedTLS) seal(dst []byte, s *tlsScratch, frames ...[]byte) ([]byte, error) {
	if p.err != nil && !errors.Is(p.err, io.EOF) {
		return dst, p.err
	}
	p.wire.out = dst
	err := p.sealAll(s, frames)
	sealed := p.wire.out
	p.wire.out = nil
	if err != nil {
		return dst, err
	}
	return sealed, nil
}

func (p *parkedTLS) sealAll(s *tlsScratch, frames [][]byte) error {
	n := 0 // bytes gathered in s
	for i, f := range frames {
		for len(f) > 0 {
			last := i == len(frames)-1
			if n == 0 && (last || len(f) >= tlsMaxPlain) {
				k := len(f)
				if !last {
					k -= k % tlsMaxPlain // the rest shares its record with the next frame
				}
				if _, err := p.tc.Write(f[:k]); err != nil {
					return err
				}
				f = f[k:]
				continue
			}
			k := copy(s[n:], f)
			n, f = n+k, f[k:]
			if n == tlsMaxPlain {
				if _, err := p.tc.Write(s[:n]); err != nil {
					return err
				}
				n = 0
			}
		}
	}
	if n == 0 {
		return nil
	}
	_, err := p.tc.Write(s[:n])
	return err
}

// closeNotify appends the alert that ends our direction (RFC 8446 §6.1), once;
// nothing on a connection that a fatal alert has ended.
func (p *parkedTLS) closeNotify(dst []byte) []byte {
	if p.err != nil && !errors.Is(p.err, io.EOF) {
		return dst
	}
	p.closed, p.wire.out = true, dst
	// The wire takes every write: there is no error that a caller could act on.
	_ = p.tc.CloseWrite()
	dst = p.wire.out
	p.wire.out = nil
	return dst
}

// release turns the connection, parked with nothing open yet or at any time
// after, into a blocking one over nc. rest is ciphertext that arrived before and
// was not given to open. What open returned is the caller's to replay. p must
// not be used afterwards.
func (p *parkedTLS) release(nc net.Conn, rest []byte) *tls.Conn {
	p.wire.in, p.wire.nc = rest, nc
	return p.tc
}
