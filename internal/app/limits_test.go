package app

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fault"
)

// rawDial opens a WebSocket of which the test sees every byte, and answers no ping.
func (r *running) rawDial() (net.Conn, *bufio.Reader) {
	r.t.Helper()
	u, err := url.Parse(r.status.APIs[0].Stages[0].WebSocketURL)
	if err != nil {
		r.t.Fatal(err)
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		r.t.Fatal(err)
	}
	_, err = io.WriteString(nc, "GET "+u.Path+" HTTP/1.1\r\nHost: "+u.Host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		r.t.Fatal(err)
	}
	in := bufio.NewReader(nc)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("%v %v", resp, err)
	}
	return nc, in
}

// A client that is gone without a word holds its row in somebody's table until it
// is found out.
func TestASilentClientIsPingedAndThenClosed(t *testing.T) {
	for _, engine := range []string{engineLoop, enginePortable} {
		t.Run(engine, func(t *testing.T) {
			r, base := managed(t, Config{Heartbeat: 50 * time.Millisecond, Engine: engine})
			_, in := r.rawDial()
			if b, err := in.ReadByte(); err != nil || b != 0x89 { // RFC 6455 §5.5.2: FIN and ping
				t.Fatalf("%#x %v", b, err)
			}
			if rest, err := io.ReadAll(in); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Fatalf("%x %v", rest, err)
			}
			r.waitLog("1006")
			m := scrape(t, base+"/metrics")
			if lost := value(m, "livegate_heartbeats_lost_total"); lost != 1 {
				t.Errorf("%v lost", lost)
			}
			if turns := value(m, "livegate_loop_turns_total"); (turns > 0) != (engine == engineLoop) {
				t.Errorf("%v turns of the loops", turns)
			}
		})
	}
}

func TestLimitsFollowProfileAndFlags(t *testing.T) {
	for _, c := range []struct {
		cfg         Config
		every, wait time.Duration
		profile     bool // nothing was changed
	}{
		{Config{}, 0, 0, true},
		{Config{Profile: "open"}, 0, 0, true},
		{Config{Heartbeat: time.Minute}, time.Minute, 20 * time.Second, false},
		{Config{Heartbeat: 5 * time.Second, Profile: "open"}, 5 * time.Second, 5 * time.Second, false},
		{Config{Heartbeat: -1, Profile: "open"}, 0, 0, false},
	} {
		l := New(c.cfg).limits()
		if (l == nil) != c.profile {
			t.Errorf("%+v: %v", c.cfg, l)
		} else if l != nil && (l.Heartbeat != c.every || l.HeartbeatWait != c.wait || (l.Idle > 0) == (c.cfg.Profile == "open")) {
			t.Errorf("%+v: %+v", c.cfg, l)
		}
	}
	if err := (&Config{Engine: "fast"}).Validate(); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "portable") {
		t.Error(err)
	}
}

// Beyond the bound a handshake is told so; who is connected stays.
func TestTooManyConnectionsAreRefused(t *testing.T) {
	r, base := managed(t, Config{Rates: conn.Rates{ConnsPerIP: 2}})
	http.DefaultClient.CloseIdleConnections() // none of ours on the dev port
	first := r.dial()
	r.dial()
	_, resp, err := websocket.Dial(t.Context(), r.status.APIs[0].Stages[0].WebSocketURL, nil)
	if err == nil || resp == nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Fatalf("%v %v", resp, err)
	}
	if got := r.ask(first, `{"action":"ping"}`); got != "pong" {
		t.Errorf("answered %q", got)
	}
	if n := value(scrape(t, base+"/metrics"), "livegate_upgrades_refused_total", "reason=rate"); n != 1 {
		t.Errorf("%v refused", n)
	}
}

// The queue grows with the largest message, and does not shrink with it.
func TestSendQueueFollowsTheLargestMessage(t *testing.T) {
	for _, profile := range []string{"aws", "open"} {
		for message, want := range map[int]int{4 << 10: defaultSend, 8 << 20: 8 << 20, NoLimit: 0} {
			l := New(Config{Profile: profile, Limits: LimitChanges{Message: message}}).limits()
			if got := l.SendBytes; got != 0 && got < want || got == 0 && want > defaultSend {
				t.Errorf("%s, messages of %d: a queue of %d bytes, want %d at least", profile, message, got, want)
			}
		}
	}
}
