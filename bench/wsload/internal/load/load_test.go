//go:build linux

package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/internal/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// badServer is a small WebSocket server that misbehaves on purpose and keeps
// account of it, so that the generator's own accounts can be checked.
type badServer struct {
	delay     time.Duration
	wrongConn bool          // posts go to the next connection
	straggler time.Duration // of each message the last subscriber gets it so much later, and nothing goes wrong
	chatty    bool          // every third fixed answer comes twice, every fifth is wrong

	mu            sync.Mutex
	subs          []net.Conn
	n             int // messages seen on /pub, or answered on /fixed
	dropped, twin int // injected per subscriber
	swapped       int
	wrong         int
	held          [][]byte
}

func serverFrame(p []byte) []byte {
	if len(p) < 126 {
		return append([]byte{0x81, byte(len(p))}, p...)
	}
	return append([]byte{0x81, 126, byte(len(p) >> 8), byte(len(p))}, p...)
}

func (s *badServer) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if req.Method != http.MethodPost {
			s.socket(c, br, req.URL.Path)
			return
		}
		body, _ := io.ReadAll(req.Body)
		i, _ := strconv.Atoi(req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:])
		s.mu.Lock()
		if s.wrongConn {
			i = (i + 1) % len(s.subs)
		}
		s.subs[i].Write(serverFrame(body))
		s.mu.Unlock()
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}
}

func (s *badServer) socket(c net.Conn, br *bufio.Reader, path string) {
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
	if path == "/sub" || path == "/dev" {
		s.mu.Lock()
		id := len(s.subs)
		s.subs = append(s.subs, c)
		s.mu.Unlock()
		if path == "/dev" {
			c.Write(serverFrame([]byte(`{"connectionId":"` + strconv.Itoa(id) + `"}`)))
		}
	}
	for {
		p, err := readMasked(br)
		if err != nil {
			return
		}
		switch path {
		case "/echo":
			<-time.After(s.delay)
			c.Write(serverFrame(p))
		case "/fixed":
			s.fixed(c)
		case "/pub":
			s.fan(serverFrame(p))
		}
	}
}

func readMasked(br *bufio.Reader) ([]byte, error) {
	var h [8]byte
	if _, err := io.ReadFull(br, h[:2]); err != nil {
		return nil, err
	}
	n := int(h[1] & 127)
	if n == 126 {
		io.ReadFull(br, h[2:4])
		n = int(h[2])<<8 | int(h[3])
	}
	io.ReadFull(br, h[4:8])
	p := make([]byte, n)
	if _, err := io.ReadFull(br, p); err != nil {
		return nil, err
	}
	frame.Mask(p, uint32(h[4])|uint32(h[5])<<8|uint32(h[6])<<16|uint32(h[7])<<24)
	return p, nil
}

func (s *badServer) fixed(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	answer := []byte("the answer")
	switch {
	case s.chatty && s.n%5 == 0:
		s.wrong++
		answer = []byte("another thing")
	case s.chatty && s.n%3 == 0:
		s.twin++
		c.Write(serverFrame(answer))
	}
	c.Write(serverFrame(answer))
}

// fan drops every 10th message, repeats every 7th, and sends every 13th after its
// successor.
func (s *badServer) fan(f []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if s.straggler > 0 {
		last := len(s.subs) - 1
		for _, c := range s.subs[:last] {
			c.Write(f)
		}
		time.AfterFunc(s.straggler, func() { s.subs[last].Write(f) })
		return
	}
	var out [][]byte
	switch {
	case s.n%10 == 0:
		s.dropped++
	case s.n%7 == 0:
		s.twin++
		out = append(out, f, f)
	case s.n%13 == 0:
		s.held = append(s.held, f)
	default:
		out = append(out, f)
	}
	if len(out) > 0 && len(s.held) > 0 {
		out = append(out, s.held...)
		s.swapped += len(s.held)
		s.held = nil
	}
	for _, c := range s.subs {
		for _, f := range out {
			c.Write(f)
		}
	}
}

func target(t *testing.T, s *badServer, proto string) *Target {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.serve(c) })
		}
	}()
	return &Target{Addr: ln.Addr().String(), Proto: Protos()[proto], PIDs: []int{os.Getpid()}}
}

func check(t *testing.T, m Metrics, k string, want float64) {
	t.Helper()
	if m[k] != want {
		t.Errorf("%s = %v, want %v", k, m[k], want)
	}
}

func TestFanoutCountsInjectedFaults(t *testing.T) {
	const subs = 20
	s := &badServer{}
	m := Metrics{}
	if err := (Fanout{N: subs, Size: 200, Rate: 400, Time: 500 * time.Millisecond}).Run(target(t, s, "raw"), m); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dropped == 0 || s.twin == 0 || s.swapped == 0 {
		t.Fatalf("too little happened: %v", m)
	}
	check(t, m, "published", float64(s.n))
	check(t, m, "lost", float64((s.dropped+len(s.held))*subs))
	check(t, m, "duplicated", float64(s.twin*subs))
	check(t, m, "reordered", float64(s.swapped*subs))
	check(t, m, "delivered", float64((s.n-s.dropped-len(s.held))*subs))
	check(t, m, "misdelivered", 0)
}

// One message in flight means that nobody still waits for the last when the next
// goes: a window that opens at the first delivery lets a server coalesce two
// messages into one write, and beat a floor that cannot.
func TestWindowWaitsForTheLastSubscriber(t *testing.T) {
	const lag, lasts = 20 * time.Millisecond, 500 * time.Millisecond
	for _, window := range []int{1, 3} {
		m := Metrics{}
		if err := (Fanout{N: 10, Size: 128, Window: window, Time: lasts}).Run(target(t, &badServer{straggler: lag}, "raw"), m); err != nil {
			t.Fatal(err)
		}
		if most := float64(window) * float64(lasts/lag+1); m["published"] > most || m["published"] < 2 {
			t.Errorf("window %d: %v messages in %v, and each took %v: at most %v", window, m["published"], lasts, lag, most)
		}
		check(t, m, "lost", 0)
	}
}

func TestEchoLatencyIsTheServersDelay(t *testing.T) {
	m := Metrics{}
	if err := (Echo{N: 10, Size: 128, Time: 500 * time.Millisecond}).Run(target(t, &badServer{delay: 5 * time.Millisecond}, "raw"), m); err != nil {
		t.Fatal(err)
	}
	for _, k := range FaultNames() {
		check(t, m, k, 0)
	}
	if m["p50_us"] < 5000 || m["per_s"] == 0 || m["per_s"] > 2000 {
		t.Errorf("p50 %v µs, %v/s", m["p50_us"], m["per_s"])
	}
}

// In an open loop a slow server must show the whole queueing time, not only its
// own: 4 ms each at 500/s on one connection falls ever further behind.
func TestOpenLoopDoesNotHideQueueing(t *testing.T) {
	m := Metrics{}
	if err := (Echo{N: 1, Size: 128, Rate: 500, Time: 500 * time.Millisecond}).Run(target(t, &badServer{delay: 4 * time.Millisecond}, "raw"), m); err != nil {
		t.Fatal(err)
	}
	check(t, m, "lost", 0)
	if m["max_us"] < 100e3 {
		t.Errorf("a longest wait of %v µs hides the queue", m["max_us"])
	}
}

// A fixed answer carries no record: it is told wrong by its text and repeated by
// there being nothing it could answer.
func TestFixedAnswersAreHeldToTheirText(t *testing.T) {
	for _, chatty := range []bool{false, true} {
		s := &badServer{chatty: chatty}
		to := target(t, s, "raw")
		to.Proto.EchoPath, to.Proto.Reply = "/fixed", "the answer"
		m := Metrics{}
		if err := (Echo{N: 4, Size: 128, Rate: 300, Time: 500 * time.Millisecond}).Run(to, m); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		if chatty && (s.wrong == 0 || s.twin == 0) || m["per_s"] == 0 {
			t.Fatalf("too little happened: %v", m)
		}
		check(t, m, "misdelivered", float64(s.wrong))
		// Each wrong answer leaves its question open, so a repeated answer may
		// settle that one: together they are as many as were injected.
		if got, want := m["duplicated"]-m["lost"], float64(s.twin-s.wrong); got != want {
			t.Errorf("duplicated %v, lost %v; %d repeated, %d wrong", m["duplicated"], m["lost"], s.twin, s.wrong)
		}
		s.mu.Unlock()
	}
}

func TestPostFindsItsTargetAndSeesMisdelivery(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		m := Metrics{}
		p := Post{N: 5, Posters: 2, Size: 128, Sign: &Signer{Looks: true, Key: "AKIAIOSFODNN7EXAMPLE", Region: "us-east-1"}, Time: 500 * time.Millisecond}
		if err := p.Run(target(t, &badServer{wrongConn: wrong}, "livegate"), m); err != nil {
			t.Fatal(err)
		}
		if m["per_s"] == 0 {
			t.Error("no posts")
		}
		check(t, m, "refused", 0)
		switch {
		case !wrong:
			check(t, m, "misdelivered", 0)
			check(t, m, "lost", 0)
		case m["misdelivered"] == 0 || m["misdelivered"] != m["lost"]:
			t.Errorf("misdelivered %v, lost %v", m["misdelivered"], m["lost"])
		}
	}
}

func TestIdleSlopeOfAServerThatHoldsNothing(t *testing.T) {
	m := Metrics{}
	if err := (Idle{Steps: []int{10, 50}, Limit: 10 * time.Second}).Run(target(t, &badServer{}, "raw"), m); err != nil {
		t.Fatal(err)
	}
	check(t, m, "opened", 50)
	if _, ok := m["bytes_per_conn"]; !ok || m["rss_mb_at_50"] <= 0 {
		t.Errorf("%v", m)
	}
}

// A vanished client answers nothing, not even a reset: what is sent to it stays
// unacknowledged.
func TestVanishedPeersAreSilent(t *testing.T) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = vanish(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("are you there?")); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := c.Read(make([]byte, 16)); n > 0 || err == nil {
		t.Errorf("%d bytes arrived at a vanished client", n)
	}
	if _, err := s.Write([]byte("still no reset")); err != nil {
		t.Errorf("the server learnt of it: %v", err)
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, a := range []string{"10.0.0.1:80", "192.0.2.1:80", "example.org:80", "[::1]:80"} {
		if _, err := Loopback(a); err == nil {
			t.Errorf("%s accepted", a)
		}
	}
	for _, a := range []string{"127.0.0.1:80", "127.9.8.7:80", "localhost:80"} {
		if _, err := Loopback(a); err != nil {
			t.Errorf("%s refused: %v", a, err)
		}
	}
}

// The engine template and the generator must agree on sizes: a message and its
// answer have 128 bytes.
func TestMessagesHaveTheSizeThatWasAskedFor(t *testing.T) {
	p := Protos()["livegate"]
	for _, template := range []string{p.Echo, p.Pub} {
		if s := p.stamp(template, "t0", 128); len(s.b) != 128 || s.at < 0 {
			t.Errorf("%s: %d bytes, record at %d", template, len(s.b), s.at)
		}
	}
	if len(Reply128) != 128 {
		t.Errorf("the fixed answer has %d bytes", len(Reply128))
	}
	text, err := os.ReadFile("../../../engine/app/template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "'"+Reply128+"'") {
		t.Error("bench/engine/app/template.yaml answers something else than Reply128")
	}
}

// What the signer writes must satisfy the gateway's own verifier.
func TestSignaturesVerify(t *testing.T) {
	for _, token := range []string{"", "session-token"} {
		s := &Signer{Key: "AKIDEXAMPLE", Secret: "secret", Token: token, Region: "eu-west-1"}
		p := Protos()["livegate"]
		for range 2 { // the second uses what the first derived
			text := p.appendPost(nil, "127.0.0.1:3001", "", "L0SM9cOFvHcCIhw=", []byte("hello"), s)
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(text))))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(r.Body)
			sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			if err := sig.Verify(sigv4.FromHTTP(r, body), "secret", time.Now()); err != nil {
				t.Errorf("token %q: %v", token, err)
			}
			if err := sig.Verify(sigv4.FromHTTP(r, append(body, '!')), "secret", time.Now()); err == nil {
				t.Error("a changed body verified")
			}
		}
	}
}
