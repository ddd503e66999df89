package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestExampleRooms(t *testing.T) {
	g := launch{Dir: copyApp(t, "examples/rooms")}.start(t)
	url := g.stage("dev").WebSocketURL
	ada, bob, eve := dial(t, url, dialing{}), dial(t, url, dialing{}), dial(t, url, dialing{})
	ada.send(`{"action":"join","room":"kitchen"}`)
	bob.send(`{"action":"join","room":"kitchen"}`)
	eve.send(`{"action":"join","room":"garden"}`)
	const tea, done = `{"action":"say","room":"kitchen","text":"tea is ready"}`, `{"action":"say","room":"garden","text":"out here"}`
	// A join is not answered: what shows that it was taken is a message of one's own.
	ada.send(tea)
	ada.expect(tea)
	bob.send(`{"action":"say","room":"kitchen","text":"coming"}`)
	for _, s := range []*socket{ada, bob} {
		for {
			if got := s.next(); got == `{"action":"say","room":"kitchen","text":"coming"}` {
				break
			} else if got != tea {
				t.Fatalf("got %s", got)
			}
		}
	}
	for _, room := range []string{"*", "kitchen/drawer", ""} {
		eve.send(fmt.Sprintf(`{"action":"join","room":%q}`, room))
		if got := eve.next(); got == "" {
			t.Fatal("no error frame")
		}
	}
	bob.send(`{"action":"leave","room":"kitchen"}`)
	bob.send(`{"action":"join","room":"garden"}`)
	bob.send(done)
	bob.expect(done) // so the leave was taken, too
	eve.expect(done)
	ada.send(tea)
	ada.expect(tea)
	bob.expectSilence()
}

// A stop with --drain lets its clients go one after the other.
func TestDrainSpreadsTheCloses(t *testing.T) {
	g := launch{Dir: copyApp(t, "examples/rooms"), Args: []string{"--drain", "2s"}}.start(t)
	url := g.stage("dev").WebSocketURL
	const clients = 40
	var all []*socket
	for range clients {
		all = append(all, dial(t, url, dialing{}))
	}
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var (
		mu          sync.Mutex
		first, last time.Time
		waiting     sync.WaitGroup
	)
	for _, s := range all {
		waiting.Go(func() {
			s.expectClose(websocket.StatusServiceRestart, "Service restart")
			mu.Lock()
			defer mu.Unlock()
			if last = time.Now(); first.IsZero() {
				first = last
			}
		})
	}
	eventually(t, readyWithin, func() error {
		resp, err := http.Get(g.origin() + "/_livegate/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusServiceUnavailable {
			return fmt.Errorf("readyz while draining: %d %s", resp.StatusCode, body)
		}
		return nil
	})
	waiting.Wait()
	if spread := last.Sub(first); spread < 500*time.Millisecond {
		t.Errorf("%d clients were closed within %v, not over two seconds", clients, spread)
	}
	if code := g.ends(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
