package e2e

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestExamplePrivateChat(t *testing.T) {
	node := need(t, "node")
	dir := copyApp(t, "examples/private-chat")
	g := launch{Dir: dir}.start(t)
	ticket := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(node, append([]string{"ticket.mjs"}, args...)...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return g.stage("dev").WebSocketURL + "?ticket=" + strings.TrimSpace(string(out))
	}
	url := ticket("Ada")
	for _, bad := range []string{g.stage("dev").WebSocketURL, strings.Replace(url, "ticket=", "ticket=x", 1), url + "x", ticket("Ada", "0")} {
		dialing{}.refused(t, bad, 401)
	}
	ada, bob := dial(t, url, dialing{}), dial(t, ticket(`Bob "the\cat" O'Neil`), dialing{})
	who := func(want ...string) {
		t.Helper()
		ada.call("who", nil)
		var got struct {
			Type  string
			Names []string
		}
		if err := json.Unmarshal([]byte(ada.next()), &got); err != nil || got.Type != "who" {
			t.Fatalf("%+v %v", got, err)
		}
		slices.Sort(got.Names)
		if !slices.Equal(got.Names, want) {
			t.Fatalf("who: %q, want %q", got.Names, want)
		}
	}
	who("Ada", `Bob "the\cat" O'Neil`)
	bob.send(`{"action":"say","text":"hello, Ada","name":"Eve"}`)
	for _, s := range []*socket{ada, bob} {
		s.expectChat("message", `Bob "the\cat" O'Neil`, "hello, Ada")
	}
	for _, bad := range []string{`{"action":"say","text":5}`, `{"action":"say"}`, `{"action":"say","text":""}`} {
		ada.send(bad)
		ada.expectError("Invalid request body")
	}
	t.Run("edit a template while connected", func(t *testing.T) {
		ada := ada.in(t)
		edit(t, filepath.Join(dir, "template.yaml"), `{"type": "who", "names"`, `{"type": "here", "names"`)
		eventually(t, frameWithin, func() error {
			ada.call("who", nil)
			if frame := ada.next(); !strings.Contains(frame, `"here"`) {
				return &notYet{frame}
			}
			return nil
		})
		edit(t, filepath.Join(dir, "template.yaml"), `{"type": "here", "names"`, `{"type": "who", "names"`)
		eventually(t, frameWithin, func() error {
			ada.call("who", nil)
			if frame := ada.next(); !strings.Contains(frame, `"who"`) {
				return &notYet{frame}
			}
			return nil
		})
	})
	bob.close(websocket.StatusNormalClosure, "")
	eventually(t, frameWithin, func() error {
		ada.call("who", nil)
		if frame := ada.next(); strings.Contains(frame, "Bob") {
			return &notYet{frame}
		}
		return nil
	})
	who("Ada")
	g.kill()
	g = g.again()
	ada = dial(t, ticket("Ada"), dialing{})
	eventually(t, frameWithin, func() error {
		ada.call("who", nil)
		if frame := ada.next(); strings.Count(frame, "Ada") != 1 {
			return &notYet{frame}
		}
		return nil
	})
}

// notYet is an answer that is not the one waited for.
type notYet struct{ frame string }

func (n *notYet) Error() string { return "answer " + n.frame }
