package conn

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// tlsWire is the net.Conn underneath a parkedTLS. What Read and Write mean
// depends on the phase: during the greeting Read waits for push and Write calls
// send; parked, Read takes from in and Write appends to out; released, both go
// to nc.
//
// Read hands over records one by one. crypto/tls keeps what it gets beyond a
// record, and its buffers never shrink: they would grow past the largest record
// for good, and bytes behind the handshake would be out of reach for release.
//
// For the same reason a ClientHello, 1.5 to 2 kB since it carries an ML-KEM key
// and still in the clear, is handed over as several short records, as its sender
// might have sent it (RFC 8446 §5.1): record boundaries are not part of the
// transcript, and the buffer stays at 576 bytes until data needs more.
type tlsWire struct {
	greeting *tlsGreeting // nil once parked
	in       []byte       // ciphertext to read
	out      []byte       // sink of Write while parked
	nc       net.Conn     // nil until released

	// where in the stream of records Read is
	header   [tlsHeaderSize]byte // of the record under way, or of its part
	got      uint8               // bytes of header that arrived; all: a record is under way
	owed     uint8               // bytes of header not handed over yet
	ciphered bool                // a change_cipher_spec went by
	left     uint16              // bytes to come of the record
	part     uint16              // bytes to come of the part
}

// Record types (RFC 8446 §5.1).
const (
	tlsChangeCipherSpec = 20
	tlsHandshake        = 22
)

// tlsPartSize keeps header and part within the least that bytes.Buffer offers a
// reader, bytes.MinRead.
const tlsPartSize = bytes.MinRead - tlsHeaderSize

const tlsHeaderSize = 5 // type, version, version, length, length (RFC 8446 §5.1)

// wireDry says that a record is incomplete. crypto/tls makes every error of Read
// permanent, except a net.Error that calls itself temporary.
type wireDry struct{}

func (wireDry) Error() string   { return "tls: the record is not complete yet" }
func (wireDry) Timeout() bool   { return true }
func (wireDry) Temporary() bool { return true }

var errWireDry error = wireDry{}

func (w *tlsWire) Read(b []byte) (int, error) {
	if w.greeting != nil {
		return w.greeting.read(w, b)
	}
	for len(w.in) > 0 {
		n, used := w.take(b, w.in)
		w.in = w.in[used:]
		if n > 0 {
			return n, nil
		}
	}
	if w.nc == nil {
		return 0, errWireDry
	}
	w.in = nil // what was given to release is used up
	if w.got < tlsHeaderSize {
		w.owed, w.got = w.got, 0
		copy(w.header[tlsHeaderSize-w.owed:], w.header[:])
	}
	if w.owed > 0 {
		n := copy(b, w.header[tlsHeaderSize-w.owed:])
		w.owed -= uint8(n)
		return n, nil
	}
	return w.nc.Read(b)
}

// take copies used bytes of src to dst as n, at most to the end of a record or
// of a part. Headers are handed over once they are complete.
func (w *tlsWire) take(dst, src []byte) (n, used int) {
	if w.got < tlsHeaderSize {
		used = copy(w.header[w.got:], src)
		w.got += uint8(used)
		if w.got < tlsHeaderSize {
			return 0, used
		}
		w.left = binary.BigEndian.Uint16(w.header[3:])
		w.beginPart()
	} else if w.part == 0 && w.owed == 0 {
		w.beginPart()
	}
	n = copy(dst, w.header[tlsHeaderSize-w.owed:])
	w.owed -= uint8(n)
	k := copy(dst[n:], src[used:min(len(src), used+int(w.part))])
	w.part -= uint16(k)
	w.left -= uint16(k)
	if w.left == 0 && w.owed == 0 {
		w.got = 0
	}
	return n + k, used + k
}

// beginPart makes header that of the next part: of all that is left, but for
// handshake messages in the clear. crypto/tls doubles the buffer it gathers them
// in, so that halves of halves leave the least of it empty.
func (w *tlsWire) beginPart() {
	w.part, w.owed = w.left, tlsHeaderSize
	switch {
	case w.header[0] == tlsChangeCipherSpec:
		w.ciphered = true
	case w.header[0] == tlsHandshake && !w.ciphered && w.greeting != nil && w.left <= tlsMaxPlain:
		for w.part > tlsPartSize {
			w.part = (w.part + 1) / 2
		}
	}
	binary.BigEndian.PutUint16(w.header[3:], w.part)
}

func (w *tlsWire) Write(b []byte) (int, error) {
	switch {
	case w.greeting != nil:
		w.greeting.send(b)
	case w.nc != nil:
		return w.nc.Write(b)
	default:
		w.out = append(w.out, b...)
	}
	return len(b), nil
}

// greet starts the greeting; park ends it.
func (w *tlsWire) greet(send func([]byte)) {
	w.greeting = &tlsGreeting{send: send}
	w.greeting.arrived.L = &w.greeting.mu
}

func (w *tlsWire) park() (rest []byte) {
	g := w.greeting
	g.mu.Lock()
	rest = g.in
	g.mu.Unlock()
	w.greeting = nil
	return rest
}

// A parked wire has no socket, so nothing to time out, close or name. One whose
// handshake runs has names: without SNI, a certificate is chosen by the address
// that the client came to.

func (w *tlsWire) Close() error {
	if w.nc != nil {
		return w.nc.Close()
	}
	return nil
}

func (w *tlsWire) LocalAddr() net.Addr {
	if w.nc != nil {
		return w.nc.LocalAddr()
	}
	if w.greeting != nil && w.greeting.local != nil {
		return w.greeting.local
	}
	return wireAddr{}
}

func (w *tlsWire) RemoteAddr() net.Addr {
	if w.nc != nil {
		return w.nc.RemoteAddr()
	}
	if w.greeting != nil && w.greeting.remote != nil {
		return w.greeting.remote
	}
	return wireAddr{}
}

func (w *tlsWire) SetDeadline(t time.Time) error {
	if w.nc != nil {
		return w.nc.SetDeadline(t)
	}
	return nil
}

func (w *tlsWire) SetReadDeadline(t time.Time) error {
	if w.nc != nil {
		return w.nc.SetReadDeadline(t)
	}
	return nil
}

func (w *tlsWire) SetWriteDeadline(t time.Time) error {
	if w.nc != nil {
		return w.nc.SetWriteDeadline(t)
	}
	return nil
}

type wireAddr struct{}

func (wireAddr) Network() string { return "tls" }
func (wireAddr) String() string  { return "parked" }

// tlsGreetingBytes is how much may wait for the handshake before push asks to
// stop: more than any handshake message crypto/tls accepts (64 KiB).
const tlsGreetingBytes = 80 << 10

// tlsGreeting is where the goroutine of a handshake and the reader of the socket
// meet.
type tlsGreeting struct {
	local, remote net.Addr // static; nil for none: certificates are chosen by them

	send func([]byte) // static

	mu      sync.Mutex
	arrived sync.Cond
	// guarded by mu
	in   []byte
	err  error // nothing will arrive behind in
	idle bool  // read waits

	cancel      func() // of the handshake's context
	interrupted bool

	began time.Duration // owned by whoever pushes
}

func (g *tlsGreeting) stalled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.idle && len(g.in) == 0 && g.err == nil
}

func (g *tlsGreeting) push(b []byte) (more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.in = append(g.in, b...)
	g.arrived.Signal()
	return len(g.in) < tlsGreetingBytes
}

func (g *tlsGreeting) abandon(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
	g.arrived.Signal()
}

func (g *tlsGreeting) interrupt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.interrupted = true; g.cancel != nil {
		g.cancel()
	}
}

func (g *tlsGreeting) interruptible(cancel func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel = cancel; g.interrupted {
		cancel()
	}
}

// read waits for something to arrive.
func (g *tlsGreeting) read(w *tlsWire, b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		for len(g.in) == 0 {
			if g.err != nil {
				return 0, g.err
			}
			g.idle = true
			g.arrived.Wait()
			g.idle = false
		}
		n, used := w.take(b, g.in)
		if g.in = g.in[used:]; len(g.in) == 0 {
			g.in = nil // a parked connection keeps nothing of it
		}
		if n > 0 {
			return n, nil
		}
	}
}

var (
	_ net.Conn  = (*tlsWire)(nil)
	_ net.Error = wireDry{}
)
