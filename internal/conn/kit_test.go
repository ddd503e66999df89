package conn

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// overTLS in a test's name makes serveTCP and dialTCP speak TLS.
const overTLS = "OverTLS"

// patience bounds every wait of a test over real sockets.
const patience = 10 * time.Second

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 §1.3

// recorder is a Handler that remembers. With echo it sends text back.
type recorder struct {
	echo      bool
	onMessage func(c *Conn, data []byte)

	mu       sync.Mutex
	messages []string
	closes   []string // "code reason"
	late     int      // OnMessage after OnClose
	done     chan struct{}
}

func newRecorder() *recorder { return &recorder{done: make(chan struct{})} }

func (r *recorder) OnMessage(c *Conn, data []byte, binary bool) {
	r.mu.Lock()
	r.messages = append(r.messages, string(data))
	if len(r.closes) > 0 {
		r.late++
	}
	r.mu.Unlock()
	if r.onMessage != nil {
		r.onMessage(c, data)
	}
	if r.echo {
		c.Send(data)
	}
}

func (r *recorder) OnClose(c *Conn, code int, reason string) {
	r.mu.Lock()
	r.closes = append(r.closes, strings.TrimSpace(fmt.Sprintf("%d %s", code, reason)))
	first := len(r.closes) == 1
	r.mu.Unlock()
	if first {
		close(r.done)
	}
}

func (r *recorder) outcome() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.late > 0 {
		return "OnMessage after OnClose"
	}
	return strings.Join(r.closes, " + ")
}

func (r *recorder) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.messages...)
}

// accepting is a Config.Upgrade that accepts everything.
func accepting(o Options) func(*Upgrade) {
	return func(u *Upgrade) { u.Accept(o) }
}

// onEngines runs a test that uses serveTCP on the event loops, where there are
// any, and on the portable engine.
func onEngines(t *testing.T, test func(t *testing.T)) {
	t.Run("loop", test)
	t.Run("portable", test)
}

// detached lets an Upgrade function block.
func detached(f func(*Upgrade)) func(*Upgrade) {
	return func(u *Upgrade) { u.Detach(func() { f(u) }) }
}

// serveTCP runs a server on loopback until the test ends, on the engine that the
// test's name says.
func serveTCP(t testing.TB, cfg Config) (s *Server, addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(t.Name(), overTLS) && cfg.TLS == nil {
		cfg.TLS = testTLS(t)
	}
	cfg.Portable = cfg.Portable || strings.Contains(t.Name(), "/portable")
	s = New(cfg)
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := contextWithTimeout(patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, ln.Addr().String()
}

// peer is a raw client.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { nc.Close() })
	return &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
}

func dialTCP(t testing.TB, addr string) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(t.Name(), overTLS) {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	return newPeer(t, nc)
}

func (p *peer) send(b ...[]byte) {
	p.t.Helper()
	for _, b := range b {
		if _, err := p.nc.Write(b); err != nil {
			p.t.Fatalf("write: %v", err)
		}
	}
}

// upgradeHead is a valid opening handshake with extra header lines.
func upgradeHead(path string, extra ...string) string {
	h := "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n"
	for _, e := range extra {
		h += e + "\r\n"
	}
	return h + "\r\n"
}

// response reads an HTTP response with its body.
func (p *peer) response() (*http.Response, string) {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatalf("response: %v", err)
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res, ""
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatalf("body: %v", err)
	}
	return res, string(body)
}

// open upgrades.
func (p *peer) open() *peer {
	p.t.Helper()
	p.send([]byte(upgradeHead("/dev")))
	if res, body := p.response(); res.StatusCode != 101 {
		p.t.Fatalf("status %d %s", res.StatusCode, body)
	}
	return p
}

// next is the next frame in words: `text "hi"`, `pong "x"`, `close 1000 bye`,
// "eof", "reset". It decodes by hand, apart from package frame, and fails on a
// masked frame or a set reserved bit.
func (p *peer) next() string {
	first, err := p.r.Peek(2)
	if err != nil {
		return endOf(err)
	}
	if first[1]&0x80 != 0 || first[0]&0x70 != 0 || first[0]&0x80 == 0 {
		return fmt.Sprintf("malformed %x", first)
	}
	op := first[0] & 15
	payload, err := readServerFrame(p.r)
	if err != nil {
		return "cut frame"
	}
	switch n := len(payload); op {
	case 1:
		return "text " + short(string(payload))
	case 2:
		return "binary " + short(string(payload))
	case 8:
		if n == 0 {
			return "close"
		}
		if n == 1 {
			return "close of 1 byte"
		}
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:]))
	case 9:
		return "ping " + short(string(payload))
	case 10:
		return "pong " + short(string(payload))
	}
	return fmt.Sprintf("opcode %d", op)
}

func endOf(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe):
		return "eof"
	case strings.Contains(err.Error(), "reset"):
		return "reset"
	}
	return err.Error()
}

// short quotes s, or sums it up when it is long.
func short(s string) string {
	if len(s) <= 40 {
		return fmt.Sprintf("%q", s)
	}
	sum := uint32(2166136261)
	for i := range len(s) {
		sum = (sum ^ uint32(s[i])) * 16777619
	}
	return fmt.Sprintf("%d bytes %08x", len(s), sum)
}

// Frames as a client sends them.

const key uint32 = 0x1234abcd

func text(s string) []byte { return frame.AppendMasked(nil, frame.Text, key, []byte(s)) }
func bin(s string) []byte  { return frame.AppendMasked(nil, frame.Binary, key, []byte(s)) }
func ping(s string) []byte { return frame.AppendMasked(nil, frame.Ping, key, []byte(s)) }
func pong(s string) []byte { return frame.AppendMasked(nil, frame.Pong, key, []byte(s)) }

func bye(code int, reason string) []byte {
	p := append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...)
	return frame.AppendMasked(nil, frame.Close, key, p)
}

// part is a frame by its first byte, so that any flag can be set.
func part(first byte, payload string) []byte {
	b := frame.AppendMasked(nil, frame.Text, key, []byte(payload))
	b[0] = first
	return b
}

// unmasked is a frame without a mask.
func unmasked(op frame.Opcode, payload string) []byte { return frame.Append(nil, op, []byte(payload)) }

// join concatenates, so that frames arrive in one read.
func join(b ...[]byte) []byte {
	var all []byte
	for _, b := range b {
		all = append(all, b...)
	}
	return all
}

func contextWithTimeout(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
