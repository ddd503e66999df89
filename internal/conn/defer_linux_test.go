package conn

import (
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A client that sends nothing is accepted all the same, a little later, and is
// dropped when its time for a head is over.
func TestSilentClientIsDropped(t *testing.T) {
	const most = 100 * time.Millisecond
	s, addr := serveTCP(t, Config{Loops: 1, Head: HeadLimits{Timeout: most}, Upgrade: accepting(Options{Handler: discard{}})})
	dialTCP(t, addr).open() // the server is there
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	began := time.Now()
	nc.SetReadDeadline(began.Add(20 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	if n := s.loops.loops[0].base.stats.accepted.Load(); n != 2 {
		t.Errorf("%d connections were accepted", n)
	}
	if took := time.Since(began); took < most {
		t.Errorf("dropped after %v", took)
	}
}

// What a client sent with its connection is handled in the turn that accepts it:
// one turn answers a handshake. A client that is slower gets its answer later.
func TestHandshakeTakesOneTurn(t *testing.T) {
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: discard{}})})
	dialTCP(t, addr).open()
	l := s.loops.loops[0]
	before := l.base.stats.turns.Load()
	const handshakes = 50
	for range handshakes {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		newPeer(t, nc).open()
	}
	// A turn that finds nothing to do follows some of them.
	if n := l.base.stats.turns.Load() - before; n > handshakes+handshakes/2 {
		t.Errorf("%d turns for %d handshakes", n, handshakes)
	}
}

// The kernel keeps clients that have sent nothing to itself, and accepted sockets
// inherit what the listener was told.
func TestAcceptorDefers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err := newAcceptor(ln.(*net.TCPListener))
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(a.fd)
	for _, o := range [...]int{unix.TCP_DEFER_ACCEPT, unix.TCP_NODELAY, unix.TCP_KEEPIDLE} {
		if v, err := unix.GetsockoptInt(a.fd, unix.IPPROTO_TCP, o); err != nil || v == 0 {
			t.Errorf("option %d: %d, %v", o, v, err)
		}
	}
}
