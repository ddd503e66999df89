package conn

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/bound"
)

// dribble writes a byte per segment, at most n times; then as it comes.
type dribble struct {
	net.Conn
	n int
}

func (d *dribble) Write(p []byte) (int, error) {
	for i := range p {
		if d.n == 0 {
			m, err := d.Conn.Write(p[i:])
			return i + m, err
		}
		d.n--
		if _, err := d.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// secured wraps a raw connection to addr.
func secured(t testing.TB, addr string, wrap func(net.Conn) net.Conn, cfg *tls.Config) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if wrap != nil {
		nc = wrap(nc)
	}
	if cfg == nil {
		cfg = &tls.Config{}
	}
	cfg.InsecureSkipVerify = true
	return newPeer(t, tls.Client(nc, cfg))
}

// Whatever the pieces in which records arrive, and whatever the version.
func TestTLSClients(t *testing.T) { onEngines(t, testTLSClients) }

func testTLSClients(t *testing.T) {
	r := newRecorder()
	r.echo = true
	s, addr := serveTCP(t, Config{TLS: testTLS(t), Upgrade: accepting(Options{Handler: r, Limits: Limits{SendBytes: 8 << 20}})})
	big := strings.Repeat("large both ways ", 200_000)
	for name, p := range map[string]*peer{
		"1.3":        secured(t, addr, nil, nil),
		"1.2":        secured(t, addr, nil, &tls.Config{MaxVersion: tls.VersionTLS12}),
		"by octets":  secured(t, addr, func(nc net.Conn) net.Conn { return &dribble{nc, 4000} }, nil),
		"small recs": secured(t, addr, nil, &tls.Config{CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256}, MaxVersion: tls.VersionTLS12}),
	} {
		p.open()
		p.send(text("hi"), part(0x01, "frag"), part(0x00, "men"), ping("p"), part(0x80, "ts"), text(big))
		for _, want := range []string{`text "hi"`, `pong "p"`, `text "fragments"`, "text " + short(big)} {
			if got := p.next(); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		p.send(bye(1000, "done"))
		if got := p.next(); got != "close 1000" {
			t.Errorf("%s: %s", name, got)
		}
		if got := p.next(); got != "eof" { // close_notify: an EOF without it is unexpected
			t.Errorf("%s: after close: %s", name, got)
		}
	}
	if st := s.Stats().TLS; st.Done != 4 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

// The ways a TLS connection may end early.
func TestTLSEnds(t *testing.T) { onEngines(t, testTLSEnds) }

func testTLSEnds(t *testing.T) {
	garbage := []byte("\x17\x03\x03\x00\x20this is no record of that key...!")
	for name, r := range map[string]struct {
		end  func(nc net.Conn, tc *tls.Conn)
		want string // what the client sees
	}{
		"close_notify": {func(_ net.Conn, tc *tls.Conn) { tc.CloseWrite() }, "eof"},
		"cut":          {func(nc net.Conn, _ *tls.Conn) { nc.(*net.TCPConn).CloseWrite() }, "eof"},
		"cut record":   {func(nc net.Conn, _ *tls.Conn) { nc.Write(garbage[:9]); nc.(*net.TCPConn).CloseWrite() }, "eof"},
		"forged":       {func(nc net.Conn, _ *tls.Conn) { nc.Write(garbage) }, "remote error: tls: bad record MAC"},
		"plain":        {func(nc net.Conn, _ *tls.Conn) { nc.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "remote error: tls: protocol version not supported"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newRecorder()
			_, addr := serveTCP(t, Config{TLS: testTLS(t), Upgrade: accepting(Options{Handler: h})})
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			p := newPeer(t, tc)
			p.open()
			p.send(text("before"))
			r.end(nc, tc)
			got := p.next()
			for strings.HasPrefix(got, "text") {
				got = p.next()
			}
			if !strings.Contains(got, r.want) {
				t.Errorf("client sees %s, want %s", got, r.want)
			}
			<-h.done
			if got := h.outcome() + strings.Join(h.got(), ""); got != "1006before" {
				t.Errorf("handler: %s", got)
			}
		})
	}
}

// Handshakes that are none, or stop half way, end within Head.Timeout and leave
// nothing behind.
func TestTLSHandshakesThatFail(t *testing.T) { onEngines(t, testTLSHandshakesThatFail) }

func testTLSHandshakesThatFail(t *testing.T) {
	hello := clientHello(t)
	s, addr := serveTCP(t, Config{TLS: testTLS(t), Head: HeadLimits{Timeout: 300 * time.Millisecond}})
	sends := map[string][]byte{
		"one byte":    hello[:1],
		"half":        hello[:len(hello)/2],
		"only hello":  hello,
		"garbage":     append([]byte("\x16\x03\x01\x00\x20"), bytes.Repeat([]byte{7}, 64)...),
		"long record": append([]byte("\x16\x03\x01\xff\xff"), bytes.Repeat([]byte{7}, 64)...),
	}
	for name, b := range sends {
		p := dialTCP(t, addr)
		p.send(b)
		if _, err := io.Copy(io.Discard, p.nc); err != nil && endOf(err) != "reset" {
			t.Errorf("%s: %v", name, err)
		}
	}
	// "one byte" and "half" never were a handshake on a loop.
	for deadline := time.Now().Add(patience); s.Stats().TLS.Failed < 3; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%+v", s.Stats().TLS)
		}
	}
	if st := s.Stats().TLS; st.Done != 0 {
		t.Errorf("%+v", st)
	}
}

// clientHello is what a client sends first.
func clientHello(t testing.TB) []byte {
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, &tls.Config{InsecureSkipVerify: true}).Handshake()
	b := make([]byte, 16<<10)
	n, err := here.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// More handshakes than may run at once wait for their turn, and plain connections
// are served meanwhile.
func TestManyTLSHandshakes(t *testing.T) { onEngines(t, testManyTLSHandshakes) }

func testManyTLSHandshakes(t *testing.T) {
	s, addr := serveTCP(t, Config{TLS: testTLS(t), Head: HeadLimits{Handshakes: 4}, Upgrade: accepting(Options{Handler: echo{}})})
	plain := dialTCP(t, addr).open()
	// These keep every place, until they leave.
	var stalled []*peer
	hello := clientHello(t)
	for range 8 {
		p := dialTCP(t, addr)
		p.send(hello)
		stalled = append(stalled, p)
	}
	for s.Stats().TLS.Waited == 0 {
		plain.send(text("still served"))
		if got := plain.next(); got != `text "still served"` {
			t.Fatal(got)
		}
	}
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			p := secured(t, addr, nil, nil)
			if err := p.nc.(*tls.Conn).Handshake(); err != nil {
				t.Errorf("handshake: %v", err)
				return
			}
			p.nc.Write([]byte(upgradeHead("/dev")))
			p.response()
			m := fmt.Sprint("message ", i)
			p.nc.Write(text(m))
			if got := p.next(); got != fmt.Sprintf("text %q", m) {
				t.Error(got)
			}
		})
	}
	for range 200 {
		plain.send(text("plain"))
		if got := plain.next(); got != `text "plain"` {
			t.Fatal(got)
		}
	}
	for _, p := range stalled {
		p.nc.Close()
	}
	all.Wait()
	if st := s.Stats().TLS; st.Done != 100 {
		t.Errorf("%+v", st)
	}
}

// A pause in the middle of what one record held.
func TestPauseOverTLS(t *testing.T) { onEngines(t, testPauseOverTLS) }

func testPauseOverTLS(t *testing.T) {
	h := newRecorder()
	paused := make(chan *Conn, 1)
	h.onMessage = func(c *Conn, data []byte) {
		if string(data) == "pause" {
			c.Pause()
			paused <- c
		}
	}
	h.echo = true
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: h})})
	p := dialTCP(t, addr).open()
	p.send(join(text("one"), text("pause"), text("two"), text("three")[:4]))
	c := <-paused
	if a, b := p.next(), p.next(); a != `text "one"` || b != `text "pause"` {
		t.Fatal(a, b)
	}
	p.send(join(text("three")[4:], text("four")))
	if got := strings.Join(h.got(), " "); got != "one pause" {
		t.Fatal(got)
	}
	c.Resume()
	for _, want := range []string{`text "two"`, `text "three"`, `text "four"`} {
		if got := p.next(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

// A reader that stops: what it then gets is whole records and whole messages in
// order, whichever messages the policy left out.
func TestSlowReaderOverTLS(t *testing.T) { onEngines(t, testSlowReader) }

func TestSlowReader(t *testing.T) { onEngines(t, testSlowReader) }

func testSlowReader(t *testing.T) {
	for name, policy := range map[string]bound.Policy{"refuse": bound.Refuse, "close": bound.Close, "drop-oldest": bound.DropOldest} {
		t.Run(name, func(t *testing.T) {
			h := newRecorder()
			opened := make(chan *Conn, 1)
			_, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
				c, err := u.Accept(Options{Handler: h, Limits: Limits{SendBytes: 256 << 10, SendItems: 64, Overflow: policy}})
				if err != nil {
					t.Error(err)
				}
				opened <- c
			}})
			p := dialTCP(t, addr).open()
			c := <-opened
			body := strings.Repeat("x", 10_000)
			n, refused := 0, 0
			for ; n < 20_000 && refused < 100; n++ {
				if err := c.Send([]byte(fmt.Sprintf("%06d%s", n, body))); err != nil {
					refused++
					if errors.Is(err, ErrClosed) {
						break
					}
				}
				if policy == bound.DropOldest && n > 5000 {
					break
				}
			}
			if policy != bound.Close {
				go func() {
					for errors.Is(c.Send([]byte("the end")), ErrQueueFull) {
						runtime.Gosched()
					}
				}()
			}
			last, got := -1, 0
			for {
				f, err := readServerFrame(p.r)
				if err != nil {
					t.Fatalf("after %d: %v", got, err)
				}
				if policy == bound.Close && len(f) < 100 {
					break // the close frame, behind whole messages
				}
				if string(f) == "the end" {
					break
				}
				var i int
				if _, err := fmt.Sscanf(string(f[:6]), "%d", &i); err != nil || i <= last || len(f) != 10_006 {
					t.Fatalf("message %d after %d, %d bytes, %v", i, last, len(f), err)
				}
				last, got = i, got+1
			}
			if policy == bound.DropOldest && got >= n || policy != bound.DropOldest && refused == 0 {
				t.Errorf("nothing was lost: %d of %d, %d refused", got, n, refused)
			}
		})
	}
}

// A client vanishes over TLS while Config.Upgrade runs.
func TestVanishesDuringUpgradeOverTLS(t *testing.T) {
	onEngines(t, func(t *testing.T) {
		asked, gone := make(chan bool), make(chan error, 1)
		_, addr := serveTCP(t, Config{Upgrade: detached(func(u *Upgrade) {
			close(asked)
			<-u.Context().Done()
			gone <- context.Cause(u.Context())
		})})
		p := dialTCP(t, addr)
		p.send([]byte(upgradeHead("/dev")))
		<-asked
		p.nc.Close()
		if err := <-gone; !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	})
}
