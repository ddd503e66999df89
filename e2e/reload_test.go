package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// until sends a message again and again until the answer is want: a reload is noticed
// when it is done.
func (s *socket) until(action, data, want string) {
	s.t.Helper()
	eventually(s.t, frameWithin, func() error {
		s.call(action, data)
		if got := s.next(); got != want {
			return fmt.Errorf("answer %q, want %q", got, want)
		}
		return nil
	})
}

func TestCodeReload(t *testing.T) {
	dir := copyApp(t, "probe")
	p := startProbe(t, launch{Dir: dir}, nil)
	code := filepath.Join(dir, "src", "index.js")
	s := dial(t, p.url("tag=stays"), dialing{})
	s.call("echo", "one")
	s.expect("one")

	edit(t, code, "return answer(data);", "return answer(`second ${data}`);")
	s.until("echo", "x", "second x")
	t.Run("an editor that writes a new file and renames it", func(t *testing.T) {
		s := s.in(t)
		edited := copyApp(t, "probe")
		edit(t, filepath.Join(edited, "src", "index.js"), "return answer(data);", "return answer(`third ${data}`);")
		renameOver(t, filepath.Join(edited, "src", "index.js"), code)
		s.until("echo", "x", "third x")
	})
	t.Run("a new file that is required", func(t *testing.T) {
		s := s.in(t)
		write(t, filepath.Join(dir, "src", "extra.js"), `module.exports = "from extra";`)
		edit(t, code, "return answer(`third ${data}`);", `return answer(require("./extra.js"));`)
		s.until("echo", "x", "from extra")
		write(t, filepath.Join(dir, "src", "extra.js"), `module.exports = "extra, edited";`)
		s.until("echo", "x", "extra, edited")
	})
	t.Run("broken code answers errors and mends", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		edit(t, code, `return answer(require("./extra.js"));`, `return answer(require("./extra.js");`)
		eventually(t, frameWithin, func() error {
			s.call("echo", "x")
			if got := s.next(); !strings.Contains(got, "Internal server error") {
				return fmt.Errorf("answer %q", got)
			}
			return nil
		})
		p.says("SyntaxError")
		edit(t, code, `return answer(require("./extra.js");`, `return answer("mended");`)
		s.until("echo", "x", "mended")
	})
	if got := p.records(func(r record) bool { return r.Kind == "disconnect" }); len(got) > 0 {
		t.Errorf("the connection was dropped: %+v", got)
	}
}

func TestTemplateReload(t *testing.T) {
	dir := copyApp(t, "probe")
	p := startProbe(t, launch{Dir: dir}, nil)
	template := filepath.Join(dir, "template.yaml")
	s := dial(t, p.url("tag=stays"), dialing{})
	s.call("shout", "x")
	s.expectError("Forbidden")

	t.Run("a new route serves open connections", func(t *testing.T) {
		s := s.in(t)
		edit(t, template, "\nOutputs:\n", `
  ShoutRoute:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Api
      RouteKey: shout
      Target: !Sub integrations/${MockIntegration}
  ShoutRouteResponse:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties:
      ApiId: !Ref Api
      RouteId: !Ref ShoutRoute
      RouteResponseKey: $default

Outputs:
`)
		s.until("shout", "x", `{"mock":true}`)
	})
	t.Run("a broken template keeps the old one, with the place on screen", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		edit(t, template, "\nOutputs:\n", "\n  Broken: [\nOutputs:\n")
		p.says(`template\.yaml:\d+`)
		s.call("shout", "x")
		s.expect(`{"mock":true}`)
		edit(t, template, "\n  Broken: [\nOutputs:\n", "\nOutputs:\n")
	})
	t.Run("environment of a function", func(t *testing.T) {
		s := s.in(t)
		edit(t, filepath.Join(dir, "src", "index.js"), "return answer(data);", "return answer(process.env.GREETING ?? data);")
		edit(t, template, "        TABLE_NAME: !Ref Items\n", "        TABLE_NAME: !Ref Items\n        GREETING: hello from the template\n")
		s.until("echo", "x", "hello from the template")
	})
	t.Run("a removed stage closes its connections after $disconnect", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		edit(t, template, "StageName: test", "StageName: other")
		s.expectClose(websocket.StatusGoingAway, "*")
		if r := p.recorded("disconnect", "stays"); r.Code != 1001 {
			t.Errorf("$disconnect with %d, want 1001", r.Code)
		}
		url := strings.Replace(p.stage("test").WebSocketURL, "/test", "/other", 1)
		again := dial(t, url+"?tag=again", dialing{})
		again.call("mock", nil)
		again.expect(`{"mock":true}`)
	})
}
