package conn

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// scarceListener fails with EMFILE a number of times, then accepts one in-memory
// connection, then blocks until it is closed.
type scarceListener struct {
	failures int
	left     int
	err      error
	client   chan net.Conn
	closed   chan struct{}
}

func newScarceListener(failures int) *scarceListener {
	errno := os.NewSyscallError("accept4", syscall.EMFILE)
	return &scarceListener{
		failures: failures, left: failures, client: make(chan net.Conn, 1), closed: make(chan struct{}),
		err: &net.OpError{Op: "accept", Net: "tcp", Err: errno},
	}
}

func (l *scarceListener) Accept() (net.Conn, error) {
	if l.left--; l.left >= 0 {
		return nil, l.err
	}
	if l.left == -1 {
		server, client := net.Pipe()
		l.client <- client
		return server, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *scarceListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *scarceListener) Addr() net.Addr { return &net.TCPAddr{} }

// A listener that runs out of descriptors: accepting slows down to once a
// second, does not spin, does not end, and works again.
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newScarceListener(60)
		s := New(Config{Upgrade: accepting(Options{Handler: newRecorder()})})
		done := make(chan error, 1)
		start := time.Now()
		go func() { done <- s.Serve(ln) }()
		client := <-ln.client
		if d := time.Since(start); d < 45*time.Second || d > 60*time.Second {
			t.Errorf("%d failing accepts took %v", ln.failures, d)
		}
		p := newPeer(t, client)
		p.send([]byte(ws(get)))
		if res, _ := p.response(); res.StatusCode != 101 {
			t.Error(res.StatusCode)
		}
		client.Close()
		s.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Shutdown ends a back-off, and a listener that is broken for good ends Serve.
func TestServeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newScarceListener(1 << 30)
		s := New(Config{})
		done := make(chan error, 1)
		go func() { done <- s.Serve(ln) }()
		time.Sleep(time.Minute)
		s.Shutdown(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.Serve(newScarceListener(0)); err != nil {
			t.Errorf("Serve after Shutdown: %v", err)
		}
	})
	broken := newScarceListener(1)
	broken.err = &net.OpError{Op: "accept", Err: syscall.EBADF}
	if err := New(Config{}).Serve(broken); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v", err)
	}
}

// readServerFrame reads a frame by hand.
func readServerFrame(r *bufio.Reader) ([]byte, error) {
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := uint64(h[1])
	if n == 126 || n == 127 {
		wide := make([]byte, 2+6*(n-126))
		if _, err := io.ReadFull(r, wide); err != nil {
			return nil, err
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(wide)), wide...))
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(r, payload)
	return payload, err
}

// A client that got its 400 and then sat there kept Ctrl-C waiting for all ten
// seconds that it had been given to send its head: nothing else bounds the time in
// which what it still sends is dropped.
func TestARefusedClientThatStaysDoesNotHoldUpShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{})
		server, client := net.Pipe()
		defer client.Close()
		s.ServeConn(server, false)
		if _, err := client.Write([]byte("GET / HTTP/1.1\r\nBad Name: x\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1024)
		n, err := client.Read(answer)
		if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 400 ") {
			t.Fatalf("%q, %v", answer[:n], err)
		}
		began := time.Now()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Shutdown took %v", took)
		}
	})
}
