package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestDisconnectWhateverEndedIt(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for name, c := range map[string]struct {
		end    func(*socket)
		code   int
		reason string
	}{
		"normal":    {func(s *socket) { s.close(websocket.StatusNormalClosure, "") }, 1000, ""},
		"own-code":  {func(s *socket) { s.close(4001, "see you") }, 4001, "see you"},
		"no-status": {func(s *socket) { s.close(websocket.StatusNoStatusRcvd, "") }, 1005, "Client-side close frame status not set"},
		"reset":     {func(s *socket) { s.reset() }, 1006, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			s := dial(t, p.url("tag="+name), dialing{})
			s.call("echo", "open")
			s.expect("open")
			c.end(s)
			r := p.recorded("disconnect", name)
			if r.Code != c.code || r.Reason != c.reason {
				t.Errorf("$disconnect with %d %q, want %d %q", r.Code, r.Reason, c.code, c.reason)
			}
			if id := p.recorded("connect", name).ConnectionID; r.ConnectionID != id {
				t.Errorf("$disconnect of %s, connected as %s", r.ConnectionID, id)
			}
		})
	}
	t.Run("headers of the event", func(t *testing.T) {
		p := p.in(t)
		var e struct{ Headers map[string]string }
		if err := json.Unmarshal(p.recorded("disconnect", "reset").Event, &e); err != nil {
			t.Fatal(err)
		}
		if _, ok := e.Headers["x-restapi"]; !ok || len(e.Headers) != 4 {
			t.Errorf("headers %v, want the four that AWS sends", e.Headers)
		}
	})
}

// A client that gives up while $connect still runs was connected as far as the function
// knows: it has stored the connection, so it must hear of its end.
func TestClientVanishesDuringConnect(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for _, c := range []struct {
		tag    string
		query  string
		called bool
	}{
		{"vanished", "mode=slow&ms=1000", true},
		{"refused", "mode=slow&ms=1000&status=403", false},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			// Cancelling resets the TCP connection in the middle of the handshake.
			if ws, _, err := websocket.Dial(ctx, p.url(c.query+"&tag="+c.tag), nil); err == nil {
				ws.CloseNow()
			}
		}()
		p.recorded("connect", c.tag)
		cancel()
	}
	if r := p.recorded("disconnect", "vanished"); r.Code != 1006 {
		t.Errorf("$disconnect with %d, want 1006", r.Code)
	}
	if got := p.records(func(r record) bool { return r.Kind == "disconnect" && r.Tag == "refused" }); len(got) > 0 {
		t.Errorf("$disconnect ran for a refused connection: %+v", got)
	}
}

func TestCtrlCRunsDisconnect(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	var sockets []*socket
	for i := range 5 {
		sockets = append(sockets, dial(t, p.url(fmt.Sprintf("tag=c%d", i)), dialing{}))
	}
	p.stop()
	for i, s := range sockets {
		s.expectClose(websocket.StatusGoingAway, "*")
		tag := fmt.Sprintf("c%d", i)
		if r := p.recorded("disconnect", tag); r.Code != 1001 {
			t.Errorf("$disconnect with %d, want 1001", r.Code)
		}
		p.recorded("disconnected", tag) // it was let finish
	}
}

func TestKillRunsDisconnectAtTheNextStart(t *testing.T) {
	hang := filepath.Join(t.TempDir(), "hang")
	p := startProbe(t, launch{}, map[string]string{"HANG_FILE": hang})
	for _, tag := range []string{"closed", "open", "interrupted"} {
		s := dial(t, p.url("tag="+tag), dialing{})
		switch tag {
		case "closed":
			s.close(websocket.StatusNormalClosure, "")
			p.recorded("disconnected", tag)
		case "interrupted":
			write(t, hang, "")
			s.close(4002, "cut off")
			p.recorded("disconnect", tag) // its $disconnect is running now
		}
	}
	p.kill()
	worker := p.recorded("connect", "open").PID
	eventually(t, frameWithin, func() error {
		if err := syscall.Kill(worker, 0); !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("the function's process %d outlives livegate (%v)", worker, err)
		}
		return nil
	})
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	p.gate = p.again()

	if r := p.recorded("disconnect", "open"); r.Code != 1006 {
		t.Errorf("connection that was open: $disconnect with %d, want 1006", r.Code)
	}
	p.recorded("disconnected", "interrupted")
	runs := p.records(func(r record) bool { return r.Kind == "disconnect" && r.Tag == "interrupted" })
	if len(runs) != 2 || runs[0].RequestID != runs[1].RequestID {
		t.Errorf("interrupted $disconnect ran as %+v, want twice with the same requestId", runs)
	}
	p.recorded("disconnect", "closed") // fails when there is more than one

	// And once is enough: a third start finds nothing left to do.
	p.kill()
	p.gate = p.again()
	dial(t, p.url("tag=fresh"), dialing{})
	p.recorded("connect", "fresh")
	for _, tag := range []string{"open", "closed"} {
		p.recorded("disconnect", tag)
	}
}

// One clock: --time-scale makes ten minutes of silence and two hours of life short.
func TestIdleAndLifetimeUnderATimeScale(t *testing.T) {
	p := startProbe(t, launch{Args: []string{"--time-scale", "400"}}, nil) // idle 1.5 s, life 18 s
	began := time.Now()
	idle := dial(t, p.url("tag=idle"), dialing{})
	busy := dial(t, p.url("tag=busy"), dialing{})
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				busy.ws.Write(context.Background(), websocket.MessageText, []byte(`{"action":"mock"}`))
			}
		}
	}()
	defer close(stop)
	idle.expectClose(websocket.StatusGoingAway, "Going away")
	if took := time.Since(began); took < 1400*time.Millisecond {
		t.Errorf("idle connection closed after %v", took)
	}
	if r := p.recorded("disconnect", "idle"); r.Code != 1001 || r.Reason != "Going away" {
		t.Errorf("$disconnect with %d %q", r.Code, r.Reason)
	}
	eventually(t, 40*time.Second, func() error {
		select {
		case <-busy.ended:
			return nil
		default:
			return fmt.Errorf("a busy connection is still open after %v", time.Since(began))
		}
	})
	if took := time.Since(began); took < 17*time.Second {
		t.Errorf("busy connection closed after %v", took)
	}
	busy.expectClose(websocket.StatusGoingAway, "Going away")
	p.recorded("disconnect", "busy")
}
