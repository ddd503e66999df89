package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// mockApp needs no function: a two-way MOCK route and a table.
const mockApp = `
Resources:
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: mock, ProtocolType: WEBSOCKET, RouteSelectionExpression: $request.body.action}
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: MOCK
      TemplateSelectionExpression: '200'
      RequestTemplates: {'200': '{"statusCode":200}'}
  IntegrationResponse:
    Type: AWS::ApiGatewayV2::IntegrationResponse
    Properties:
      ApiId: !Ref Api
      IntegrationId: !Ref Integration
      IntegrationResponseKey: $default
      TemplateSelectionExpression: '200'
      ResponseTemplates: {'200': '%s'}
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: ping, Target: !Sub 'integrations/${Integration}'}
  RouteResponse:
    Type: AWS::ApiGatewayV2::RouteResponse
    Properties: {ApiId: !Ref Api, RouteId: !Ref Route, RouteResponseKey: $default}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Api, StageName: dev, AutoDeploy: true}
  Table:
    Type: AWS::DynamoDB::Table
    Properties:
      TableName: things
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: id, AttributeType: S}]
      KeySchema: [{AttributeName: id, KeyType: HASH}]
`

// running is an application under test.
type running struct {
	t      *testing.T
	status client.Status
	dir    string
	logs   chan model.LogLine
	stop   context.CancelFunc
	done   chan error
}

func start(t *testing.T, cfg Config) *running {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "template.yaml"), fmt.Appendf(nil, mockApp, "pong"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg.Path, cfg.CacheDir = dir, filepath.Join(dir, "cache")
	r := &running{t: t, dir: dir, logs: make(chan model.LogLine, 1000), done: make(chan error, 1)}
	cfg.Logs = func(l model.LogLine) { r.logs <- l }
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	ready := make(chan client.Status, 1)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	go func() { r.done <- New(cfg).Run(ctx, func(s client.Status) { ready <- s }) }()
	select {
	case r.status = <-ready:
	case err := <-r.done:
		t.Fatalf("did not start: %v", err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("stop: %v", err)
		}
		r.done <- nil
	})
	return r
}

func (r *running) dial() *websocket.Conn {
	r.t.Helper()
	c, _, err := websocket.Dial(r.t.Context(), r.status.APIs[0].Stages[0].WebSocketURL, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *running) ask(c *websocket.Conn, text string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		r.t.Fatal(err)
	}
	_, answer, err := c.Read(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(answer)
}

// waitLog returns the first event that contains text.
func (r *running) waitLog(text string) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		select {
		case l := <-r.logs:
			if strings.Contains(l.Text, text) {
				return
			}
		case <-limit:
			r.t.Fatalf("no log line with %q", text)
		}
	}
}

func TestAnOpenConnectionSeesTheNewTemplateWithItsNextMessage(t *testing.T) {
	r := start(t, Config{Watch: true})
	c := r.dial()
	if got := r.ask(c, `{"action":"ping"}`); got != "pong" {
		t.Fatalf("answered %q", got)
	}
	file := filepath.Join(r.dir, "template.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, mockApp, "second"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.waitLog("template reloaded")
	if got := r.ask(c, `{"action":"ping"}`); got != "second" {
		t.Fatalf("after the reload: %q", got)
	}
	if err := os.WriteFile(file, []byte("Resources: [broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.waitLog("keeps serving")
	if got := r.ask(c, `{"action":"ping"}`); got != "second" {
		t.Fatalf("after a broken template: %q", got)
	}
}

func TestStoppingClosesClientsWith1001(t *testing.T) {
	r := start(t, Config{})
	c := r.dial()
	r.stop()
	_, _, err := c.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Fatalf("closed with %v (%v)", got, err)
	}
}

// Which plane answers is decided in one place; this is its table.
func TestFront(t *testing.T) {
	r := start(t, Config{})
	signed := func(req *http.Request, service string, body []byte) {
		sigv4.Sign(req, body, sigv4.Key{ID: "AKIDEXAMPLE", Secret: "anything"}, sigv4.Scope{Region: "us-east-1", Service: service}, time.Now())
	}
	api := r.status.APIs[0]
	for _, c := range []struct {
		name, method, path, host string
		service, target, body    string
		status                   int
		want                     string
	}{
		{"start page", "GET", "/", "", "", "", "", 200, "<!doctype html"},
		{"a stage without an upgrade", "GET", "/dev", "", "", "", "", 403, `{"message":"Forbidden"}`},
		{"unknown path", "GET", "/nowhere", "", "", "", "", 404, "start page"},
		{"callback, unsigned", "POST", "/dev/@connections/abc=", "", "", "", "x", 403, "Missing Authentication Token"},
		{"callback, bad id", "POST", "/dev/@connections/abc=", "", "execute-api", "", "x", 400, "Invalid connectionId: abc="},
		{"callback, gone", "POST", "/dev/@connections/AAAAAAAAAAAAAAA=", "", "execute-api", "", "x", 410, ""},
		{"callback by AWS host", "GET", "/dev/@connections/AAAAAAAAAAAAAAA=", api.ID + ".execute-api.us-east-1.amazonaws.com", "execute-api", "", "", 410, ""},
		{"unknown api", "POST", "/dev/@connections/AAAAAAAAAAAAAAA=", "zzzzzzzzzz.execute-api.us-east-1.amazonaws.com", "execute-api", "", "x", 403, "Forbidden"},
		{"DynamoDB by endpoint", "POST", "/", "", "dynamodb", "DynamoDB_20120810.ListTables", "{}", 200, `"things"`},
		{"DynamoDB by host", "POST", "/", "dynamodb.us-east-1.amazonaws.com", "dynamodb", "DynamoDB_20120810.ListTables", "{}", 200, `"things"`},
		{"DynamoDB, unsigned", "POST", "/", "", "", "DynamoDB_20120810.ListTables", "{}", 400, "MissingAuthenticationToken"},
		{"a service that is not here", "POST", "/", "sqs.us-east-1.amazonaws.com", "sqs", "AmazonSQS.SendMessage", "{}", 501, "sqs"},
		{"rebound name", "GET", "/_livegate/api/status", "evil.example", "", "", "", 403, "--allow-host"},
		{"control API", "GET", "/_livegate/api/health", "", "", "", "", 200, `"ready": true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, r.status.EndpointURL+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if c.host != "" {
				req.Host = c.host
			}
			if c.target != "" {
				req.Header.Set("X-Amz-Target", c.target)
				req.Header.Set("Content-Type", "application/x-amz-json-1.0")
			}
			if c.service != "" {
				signed(req, c.service, []byte(c.body))
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !bytes.Contains(bytes.ToLower(body), bytes.ToLower([]byte(c.want))) {
				t.Errorf("%d %s (%v), want %d with %q", resp.StatusCode, body, err, c.status, c.want)
			}
		})
	}
}

func TestAReboundNameGetsNoWebSocket(t *testing.T) {
	r := start(t, Config{})
	_, resp, err := websocket.Dial(t.Context(), r.status.APIs[0].Stages[0].WebSocketURL, &websocket.DialOptions{Host: "evil.example"})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("%v, %v", resp, err)
	}
}

func TestWhatCannotStartSaysWhyAndWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	first := start(t, Config{})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	for name, text := range map[string]string{"file": "x", "template.yaml": fmt.Sprintf(mockApp, "x"), "env": "GOOD=1\nbad line\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		cfg  Config
		want []string
	}{
		{"port in use", Config{Path: dir, Port: port}, []string{fmt.Sprint(port), "in use", "--port"}},
		{"data directory is a file", Config{Path: dir, DataDir: file}, []string{file}},
		{"data directory in use", Config{Path: dir, DataDir: filepath.Join(first.dir, ".livegate")}, []string{"running already", fmt.Sprint(os.Getpid()), first.status.EndpointURL, "--data-dir"}},
		{"env file", Config{Path: dir, EnvFile: filepath.Join(dir, "env")}, []string{"env:2", "KEY=VALUE"}},
		{"no template", Config{Path: t.TempDir()}, []string{"template.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.CacheDir = t.TempDir()
			err := New(c.cfg).Run(t.Context(), func(client.Status) { t.Error("started") })
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
		})
	}
}

// A start in the wrong folder once left a database behind.
func TestAStartWithoutATemplateLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := New(Config{Path: dir, CacheDir: t.TempDir()}).Run(t.Context(), nil); err == nil {
		t.Fatal("started")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("left %v (%v)", left, err)
	}
}

func TestATemplateWithErrorsComesBackAsFindings(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "template.yaml"), []byte("Resources:\n  A:\n    Type: AWS::DynamoDB::Table\n    Properties:\n      TableName: !Ref Nobody\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := New(Config{Path: dir, CacheDir: t.TempDir()}).Run(t.Context(), nil)
	bad, ok := errors.AsType[*client.FindingsError](err)
	if !ok || len(bad.Findings) == 0 || !strings.HasSuffix(bad.Findings[0].Pos.File, "template.yaml") {
		t.Fatalf("%v", err)
	}
}

func TestBackends(t *testing.T) {
	var host string
	fixture := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { host = r.Host })}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go fixture.Serve(ln)
	defer fixture.Close()
	a := New(Config{Offline: true, MapHosts: map[string]string{"api.example.org": ln.Addr().String()}})
	c := &http.Client{Transport: a.backends()}
	defer a.backends().(*backends).next.(*http.Transport).CloseIdleConnections()
	resp, err := c.Get("https://api.example.org/x")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if host != "api.example.org" {
		t.Errorf("the fixture saw Host %q", host)
	}
	if _, err := c.Get("http://192.0.2.1/"); err == nil || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("offline: %v", err)
	}
	resp, err = c.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
