package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The functions that decide are the user's code, too: edits count from the next
// handshake on, and who is in stays in.
func TestAuthorizerReload(t *testing.T) {
	p := startGuarded(t)
	url := p.door("doors") + "?token="
	tenant := dialing{Header: http.Header{"X-Tenant": {"acme"}}}
	s := dial(t, url+"allow", tenant)
	code := filepath.Join(p.launch.Dir, "src", "index.js")
	edit(t, code, `case "allow":`, `case "allow": throw new Error("Unauthorized");`)
	eventually(t, frameWithin, func() error {
		if other, no := tenant.try(t, url+"allow"); other != nil || no.Status != 401 {
			return fmt.Errorf("answered with %+v", no)
		}
		return nil
	})
	p.checkGrant(s.whoami().Authorizer)
	t.Run("broken code lets nobody in", func(t *testing.T) {
		edit(t, code, `case "allow": throw new Error("Unauthorized");`, `case "allow": }`)
		eventually(t, frameWithin, func() error {
			if other, no := tenant.try(t, url+"wildcard"); other != nil || no.Status != 500 {
				return fmt.Errorf("answered with %+v", no)
			}
			return nil
		})
		edit(t, code, `case "allow": }`, `case "allow":`)
		eventually(t, frameWithin, func() error {
			if other, no := tenant.try(t, url+"allow"); other == nil {
				return fmt.Errorf("answered with %+v", no)
			}
			return nil
		})
	})
	t.Run("a route that wants an authorizer no longer does", func(t *testing.T) {
		edit(t, filepath.Join(p.launch.Dir, "template.yaml"), "RouteKey: $connect, AuthorizationType: AWS_IAM,", "RouteKey: $connect,")
		eventually(t, frameWithin, func() error {
			if other, no := (dialing{}).try(t, p.door("signed")); other == nil {
				return fmt.Errorf("answered with %+v", no)
			}
			return nil
		})
	})
}

// Metadata that is misspelt must not open a door.
func TestMisspeltAccessKeepsTheOldTemplate(t *testing.T) {
	op := newIssuer(t)
	p := startGuarded(t, "--parameter-overrides", "Issuer="+op.url)
	edit(t, filepath.Join(p.launch.Dir, "template.yaml"), "JWT: { Issuer: !Ref Issuer", "Jwt: { Issuer: !Ref Issuer")
	p.says(`template\.yaml:\d+.*(?s:.*)JWT`)
	dialing{}.refused(t, p.door("tokens"), 401)
	dial(t, p.door("tokens")+"?access_token="+op.token(nil), dialing{})
}

// Functions sign with keys of their own, whoever else may call.
func TestFunctionsMayPostWhateverTheCredentials(t *testing.T) {
	g := startStages(t, newAuthority(t, "clients"), "--credentials", credentialsFile(t, map[string]string{denied: `{"Version": "2012-10-17", "Statement": []}`}))
	s := dial(t, g.stage("blue").WebSocketURL, dialing{})
	s.send("callback")
	s.expect("called back")
}

func TestCredentialsFilesThatWillNotDo(t *testing.T) {
	path := credentialsFile(t, map[string]string{everybody: ""})
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	app := copyApp(t, "guarded")
	launch{Dir: app, Args: []string{"--credentials", path}}.fails(t, 2, "0644", "chmod 600")
	broken := credentialsFile(t, map[string]string{everybody: `{"Version": "2012-10-17", "Statement": [{"Effect": "Perhaps"}]}`})
	launch{Dir: app, Args: []string{"--credentials", broken}}.fails(t, 2, everybody, "policy 1")
	launch{Dir: app, Args: []string{"--credentials", path + ".missing"}}.fails(t, 2, "no such file")
}

// With Ordered: true the next message of a connection waits for the one before.
func TestOrderedRoute(t *testing.T) {
	dir := copyApp(t, "probe")
	template := filepath.Join(dir, "template.yaml")
	edit(t, template, "  EchoRoute:\n    Type: AWS::ApiGatewayV2::Route\n", "  EchoRoute:\n    Type: AWS::ApiGatewayV2::Route\n    Metadata: { Livegate: { Ordered: true } }\n")
	edit(t, filepath.Join(dir, "src", "index.js"), "return answer(data);", "await sleep(data % 2 ? 30 : 0);\n      return answer(String(data));")
	p := startProbe(t, launch{Dir: dir}, nil)
	s := dial(t, p.url(""), dialing{})
	for i := range 40 {
		s.call("echo", i)
	}
	for i := range 40 {
		s.expect(fmt.Sprint(i))
	}
}

// What a project gains while it runs is seen.
func TestFilesAddedToProjects(t *testing.T) {
	dir := doorsApp(t, "terraform")
	g := launch{Dir: dir}.start(t)
	s := dial(t, g.stage("qa").WebSocketURL, dialing{})
	s.call("hello", "x")
	s.expectError("Forbidden")
	write(t, filepath.Join(dir, "hello.tf"), `
resource "aws_apigatewayv2_route" "hello" {
  api_id    = aws_apigatewayv2_api.doors.id
  route_key = "hello"
  target    = "integrations/${aws_apigatewayv2_integration.talk.id}"
}

resource "aws_apigatewayv2_route_response" "hello" {
  api_id             = aws_apigatewayv2_api.doors.id
  route_id           = aws_apigatewayv2_route.hello.id
  route_response_key = "$default"
}
`)
	eventually(t, frameWithin, func() error {
		s.call("hello", "x")
		if frame := s.next(); !strings.HasSuffix(frame, ": x") {
			return &notYet{frame}
		}
		return nil
	})
}

// An app that does not synthesise any more leaves what it made before.
func TestCDKProjectThatBreaks(t *testing.T) {
	dir := doorsApp(t, "cdk")
	g := launch{Dir: dir}.start(t)
	edit(t, filepath.Join(dir, "app.mjs"), `greeting = "hello"`, `greeting = missing`)
	g.says(`missing is not defined`)
	s := dial(t, g.stage("qa").WebSocketURL, dialing{})
	s.call("echo", "still")
	s.expect("cdk hello: still")
	edit(t, filepath.Join(dir, "app.mjs"), `greeting = missing`, `greeting = "mended"`)
	s.until("echo", "now", "cdk mended: now")
}
