package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// chatMessage is what the chat example sends to its clients.
type chatMessage struct{ Type, Name, Text, From string }

func (s *socket) chat() chatMessage {
	s.t.Helper()
	var m chatMessage
	if err := json.Unmarshal([]byte(s.next()), &m); err != nil {
		s.t.Fatal(err)
	}
	return m
}

func (s *socket) expectChat(kind, name, text string) {
	s.t.Helper()
	if m := s.chat(); m.Type != kind || m.Name != name || (text != "" && m.Text != text) {
		s.t.Fatalf("message %+v, want %s of %s: %s", m, kind, name, text)
	}
}

func TestExampleChat(t *testing.T) {
	need(t, "node")
	g := launch{Dir: copyApp(t, "examples/chat")}.start(t)
	url := g.stage("Prod").WebSocketURL
	ada := dial(t, url+"?name=Ada", dialing{})
	bob := dial(t, url+"?name=Bob", dialing{})
	ada.expectChat("joined", "Bob", "")
	bob.call("sendmessage", "hello, Ada")
	for _, s := range []*socket{ada, bob} {
		s.expectChat("message", "Bob", "hello, Ada")
	}
	ada.send("what now?")
	ada.expectChat("help", "", `Send {"action":"sendmessage","data":"hello"} to talk to everybody.`)
	bob.reset()
	ada.expectChat("left", "Bob", "")
	ada.call("sendmessage", "alone")
	ada.expectChat("message", "Ada", "alone")
	ada.expectSilence()
}

func TestExampleEchoGo(t *testing.T) {
	dir := copyApp(t, "examples/echo-go")
	// It needs nothing but Go: no node, no python on the PATH.
	goTool := need(t, "go")
	bin := t.TempDir()
	for _, name := range []string{goTool, need(t, "git")} {
		if err := os.Symlink(name, filepath.Join(bin, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	g := launch{Dir: dir, Env: []string{"PATH=" + bin}}.start(t)
	s := dial(t, g.stage("Prod").WebSocketURL, dialing{})
	for _, text := range []string{"hello", `{"action":"x"}`, "héllo 🌍", strings.Repeat("x", 30_000)} {
		s.send(text)
		s.expect(text)
	}
	t.Run("edit", func(t *testing.T) {
		s := s.in(t)
		main := filepath.Join(dir, "echo", "main.go")
		edit(t, main, "Body: e.Body", `Body: "edited: " + e.Body`)
		eventually(t, readyWithin, func() error {
			s.send("x")
			if got := s.next(); got != "edited: x" {
				return fmt.Errorf("answer %q", got)
			}
			return nil
		})
	})
	t.Run("code that does not compile keeps the old one", func(t *testing.T) {
		g, s := g.in(t), s.in(t)
		edit(t, filepath.Join(dir, "echo", "main.go"), `"edited: " + e.Body`, `edited(e.Body)`)
		g.says(`undefined: edited`)
		s.send("y")
		s.expect("edited: y")
	})
	s.close(websocket.StatusNormalClosure, "")
}

func TestExampleHTTPBackend(t *testing.T) {
	python := need(t, "python3")
	backend, gatePort := freePort(t), freePort(t)
	server := exec.Command(python, "../examples/http-backend/server.py")
	server.Env = append(os.Environ(), "PORT="+strconv.Itoa(backend), "PYTHONDONTWRITEBYTECODE=1",
		"CALLBACK_URL=http://localhost:"+strconv.Itoa(gatePort)+"/Prod", "NO_PROXY=localhost", "no_proxy=localhost")
	server.Stdout, server.Stderr = os.Stderr, os.Stderr
	startServer := func() *exec.Cmd {
		cmd := *server
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		waitForPort(t, backend)
		return &cmd
	}
	running := startServer()

	g := launch{Dir: copyApp(t, "examples/http-backend"), Port: gatePort,
		Args: []string{"--parameter-overrides", "BackendUrl=http://127.0.0.1:" + strconv.Itoa(backend)}}.start(t)
	url := g.stage("Prod").WebSocketURL
	a, b := dial(t, url, dialing{}), dial(t, url, dialing{})
	a.send("hello")
	a.expect("you said: hello")
	b.expect("somebody said: hello")
	b.close(websocket.StatusNormalClosure, "")
	a.send("anybody?")
	a.expect("you said: anybody?")

	running.Process.Kill()
	running.Wait()
	a.send("nobody listens")
	a.expectError("Internal server error")
	if _, no := (dialing{}).try(t, url); no == nil || no.Status < 500 {
		t.Errorf("handshake without a backend answered with %+v", no)
	}
	startServer()
	a.send("back")
	a.expect("you said: back")
}

func waitForPort(t testing.TB, port int) {
	t.Helper()
	eventually(t, frameWithin, func() error {
		c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Every example must keep loading without an error or a warning.
func TestExamplesValidate(t *testing.T) {
	for _, name := range []string{"chat", "echo-go", "http-backend", "private-chat", "rooms"} {
		if out, code := command(t, "validate", filepath.Join("..", "examples", name)); code != 0 || strings.Contains(out, "warning") {
			t.Errorf("%s: exit code %d\n%s", name, code, out)
		}
	}
}

// get asks as a program would, with a Host of its own.
func (g *gate) get(path, host string, header http.Header) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.origin()+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header, req.Host = header.Clone(), host
	if req.Header == nil {
		req.Header = http.Header{}
	}
	return send(g.t, req, nil)
}
