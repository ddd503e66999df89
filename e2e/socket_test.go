package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// socket is a WebSocket client. A goroutine reads all the time, as browsers do.
type socket struct {
	t testing.TB
	*link
}

// link is the connection behind a socket.
type link struct {
	ws     *websocket.Conn
	tcp    net.Conn
	header http.Header // of the 101
	frames chan string
	ended  chan struct{} // closed when the connection is over; closeErr is set then
	err    error
}

// dialing says how to connect. The zero value works.
type dialing struct {
	Protocols []string
	Header    http.Header
	TLS       *tls.Config
	Host      string // Host header
}

// refusal is a handshake that was answered with something else than 101.
type refusal struct {
	Status int
	Header http.Header
	Body   string
}

// dial connects or fails the test.
func dial(t testing.TB, url string, how dialing) *socket {
	t.Helper()
	s, no := how.try(t, url)
	if no != nil {
		t.Fatalf("handshake of %s answered with %d %s", url, no.Status, no.Body)
	}
	return s
}

// try connects or returns the refusal.
func (d dialing) try(t testing.TB, url string) (*socket, *refusal) {
	t.Helper()
	s := &socket{t, &link{frames: make(chan string, 1024), ended: make(chan struct{})}}
	dialer := &net.Dialer{Timeout: frameWithin}
	keep := func(c net.Conn, err error) (net.Conn, error) {
		s.tcp = c
		return c, err
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return keep(dialer.DialContext(ctx, network, addr))
		},
		TLSClientConfig: d.TLS,
	}
	ctx, cancel := context.WithTimeout(t.Context(), frameWithin)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPClient:   &http.Client{Transport: transport},
		HTTPHeader:   d.Header,
		Subprotocols: d.Protocols,
		Host:         d.Host,
	})
	if err != nil {
		if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
			t.Fatalf("connect to %s: %v", url, err)
		}
		body, _ := io.ReadAll(resp.Body)
		return nil, &refusal{resp.StatusCode, resp.Header, string(body)}
	}
	s.ws, s.header = ws, resp.Header
	ws.SetReadLimit(-1)
	go s.read()
	t.Cleanup(func() { ws.CloseNow() })
	return s, nil
}

func (l *link) read() {
	for {
		_, data, err := l.ws.Read(context.Background())
		if err != nil {
			l.err = err
			close(l.ended)
			return
		}
		l.frames <- string(data)
	}
}

// in is the same connection, reporting to a subtest.
func (s *socket) in(t testing.TB) *socket {
	return &socket{t, s.link}
}

// send sends one text message.
func (s *socket) send(text string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), frameWithin)
	defer cancel()
	if err := s.ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatalf("send: %v", err)
	}
}

// call sends {"action": action, "data": data}.
func (s *socket) call(action string, data any) {
	s.t.Helper()
	text, err := json.Marshal(map[string]any{"action": action, "data": data})
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(string(text))
}

// next is the next frame.
func (s *socket) next() string {
	s.t.Helper()
	return s.within(frameWithin)
}

func (s *socket) within(limit time.Duration) string {
	s.t.Helper()
	select {
	case frame := <-s.frames:
		return frame
	default:
	}
	select {
	case frame := <-s.frames:
		return frame
	case <-s.ended:
		select {
		case frame := <-s.frames:
			return frame
		default:
		}
		s.t.Fatalf("the connection ended instead of bringing a frame: %v", s.err)
	case <-time.After(limit):
		s.t.Fatalf("no frame within %v", limit)
	}
	return ""
}

// expect reads one frame and compares it.
func (s *socket) expect(want string) {
	s.t.Helper()
	if got := s.next(); got != want {
		s.t.Fatalf("frame %q, want %q", got, want)
	}
}

// expectError reads one error frame, byte for byte but for the two ids.
func (s *socket) expectError(message string) {
	s.t.Helper()
	frame := s.next()
	want := regexp.MustCompile(`^\{"message": "` + regexp.QuoteMeta(message) + `", "connectionId":"[\w-]{15}=", "requestId":"[\w-]{15}="\}$`)
	if !want.MatchString(frame) {
		s.t.Fatalf("frame %q, want the error frame %q", frame, message)
	}
}

// expectSilence fails when anything comes for a while, or when the connection ends.
func (s *socket) expectSilence() {
	s.t.Helper()
	select {
	case frame := <-s.frames:
		s.t.Fatalf("unexpected frame %q", frame)
	case <-s.ended:
		s.t.Fatalf("the connection ended: %v", s.err)
	case <-time.After(silence):
	}
}

// expectClose waits for the server's close frame.
func (s *socket) expectClose(code websocket.StatusCode, reason string) {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(frameWithin):
		s.t.Fatalf("still open after %v", frameWithin)
	}
	var closed websocket.CloseError
	if !errors.As(s.err, &closed) {
		s.t.Fatalf("ended without a close frame: %v", s.err)
	}
	if closed.Code != code || (reason != "*" && closed.Reason != reason) {
		s.t.Fatalf("close %d %q, want %d %q", closed.Code, closed.Reason, code, reason)
	}
}

// close is a close handshake of ours.
func (s *socket) close(code websocket.StatusCode, reason string) {
	s.t.Helper()
	if err := s.ws.Close(code, reason); err != nil && !errors.Is(err, net.ErrClosed) {
		var closed websocket.CloseError
		if !errors.As(err, &closed) {
			s.t.Logf("close: %v", err)
		}
	}
}

// reset ends the TCP connection with a RST: what a pulled plug or a killed client
// behind a NAT looks like, sooner or later.
func (s *socket) reset() {
	s.t.Helper()
	tcp, ok := s.tcp.(*net.TCPConn)
	if !ok {
		s.t.Fatalf("connection is a %T", s.tcp)
	}
	if err := errors.Join(tcp.SetLinger(0), tcp.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// trust is a TLS configuration that accepts the CA of a running instance and nothing
// else.
func (g *gate) trust() *tls.Config {
	g.t.Helper()
	pem, err := os.ReadFile(g.status.CAFile)
	if err != nil {
		g.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		g.t.Fatalf("%s holds no certificate", g.status.CAFile)
	}
	return &tls.Config{RootCAs: roots}
}

// record is one line that the probe application's functions wrote.
type record struct {
	Kind         string          `json:"kind"`
	ConnectionID string          `json:"connectionId"`
	RequestID    string          `json:"requestId"`
	Code         int             `json:"code"`
	Reason       string          `json:"reason"`
	Tag          string          `json:"tag"`    // ?tag= of the handshake, or data.tag of a message
	Status       int             `json:"status"` // of a post
	Error        string          `json:"error"`
	Millis       int             `json:"millis"`
	PID          int             `json:"pid"` // of the worker
	Event        json.RawMessage `json:"event"`
}

// probe is the probe application, running, with what its functions wrote down.
type probe struct {
	*gate
	file string
}

// startProbe runs testdata/probe. env is for its functions.
func startProbe(t testing.TB, l launch, env map[string]string) *probe {
	t.Helper()
	need(t, "node")
	if l.Dir == "" {
		l.Dir = copyApp(t, "probe")
	}
	file := t.TempDir() + "/records.jsonl"
	l.FuncEnv = map[string]string{"RECORD_FILE": file}
	for name, value := range env {
		l.FuncEnv[name] = value
	}
	return &probe{l.start(t), file}
}

// in is the same instance, reporting to a subtest.
func (p *probe) in(t testing.TB) *probe {
	return &probe{p.gate.in(t), p.file}
}

// url is the stage with a query, e.g. "mode=throw".
func (p *probe) url(query string) string {
	return p.stage("test").WebSocketURL + "?" + query
}

func (p *probe) records(match func(record) bool) []record {
	p.t.Helper()
	text, err := os.ReadFile(p.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
	var found []record
	for line := range strings.Lines(string(text)) {
		var r record
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			p.t.Fatalf("%s: %v in %s", p.file, err, line)
		}
		if match(r) {
			found = append(found, r)
		}
	}
	return found
}

// recorded waits for exactly one record of a kind with a tag.
func (p *probe) recorded(kind, tag string) record {
	p.t.Helper()
	var found []record
	eventually(p.t, frameWithin, func() error {
		found = p.records(func(r record) bool { return r.Kind == kind && r.Tag == tag })
		if len(found) == 0 {
			return fmt.Errorf("no record of kind %q with tag %q", kind, tag)
		}
		return nil
	})
	if len(found) != 1 {
		p.t.Fatalf("%d records of kind %q with tag %q: %+v", len(found), kind, tag, found)
	}
	return found[0]
}
