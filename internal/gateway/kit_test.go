package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: what takes longer hangs.
const patience = 10 * time.Second

// call is one invocation a function saw.
type call struct {
	function string
	in       model.Invocation
	event    map[string]any
}

func (c *call) context(key string) any {
	m, _ := c.event["requestContext"].(map[string]any)
	return m[key]
}

func (c *call) connectionID() string { s, _ := c.context("connectionId").(string); return s }

// failure makes a function fail: its error type and message.
type failure struct{ kind, message string }

// handler is a function of the application under test. It returns a result to be
// marshalled, a json.RawMessage, a failure, or an error of the runtime itself.
type handler func(c *call) any

// functions stands in for the runtime: calls are in line once they are recorded.
type functions struct {
	handlers map[string]handler
	calls    chan *call // every call, when it starts; big enough for any test

	mu   sync.Mutex
	tags map[string]string // function → tag of the $connect it is running
}

func (f *functions) Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	name := integration.FunctionName(in.Function)
	c := &call{function: name, in: in}
	if err := json.Unmarshal(in.Payload, &c.event); err != nil {
		return model.InvokeResult{}, fmt.Errorf("the event is not JSON: %w: %s", err, in.Payload)
	}
	if in.Tag != "" {
		f.tag(name, in.Tag)
		defer f.tag(name, "")
	}
	select {
	case f.calls <- c:
	default: // nobody looks at this many calls
	}
	if in.Queued != nil {
		in.Queued() // the call is recorded: it has its place in line
	}
	h := f.handlers[name]
	if h == nil {
		return model.InvokeResult{Payload: []byte(`{"statusCode":200}`)}, nil
	}
	done := make(chan any, 1)
	go func() { done <- h(c) }()
	select {
	case v := <-done:
		return result(v)
	case <-ctx.Done():
		go func() { <-done }() // it runs on, as on Lambda
		return model.InvokeResult{}, ctx.Err()
	}
}

func result(v any) (model.InvokeResult, error) {
	switch v := v.(type) {
	case error:
		return model.InvokeResult{}, v
	case failure:
		payload, _ := json.Marshal(map[string]string{"errorType": v.kind, "errorMessage": v.message})
		return model.InvokeResult{Payload: payload, FunctionError: "Unhandled", ErrorType: v.kind}, nil
	case json.RawMessage:
		return model.InvokeResult{Payload: v}, nil
	}
	payload, err := json.Marshal(v)
	return model.InvokeResult{Payload: payload}, err
}

func (f *functions) tag(name, tag string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tags[name] = tag
}

// Tag: a worker's access key is its function's name here.
func (f *functions) Tag(accessKeyID string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tags[accessKeyID]
}

// status is the plain answer of most handlers.
func status(code int) handler { return func(*call) any { return map[string]any{"statusCode": code} } }

func reply(body string) handler {
	return func(*call) any { return map[string]any{"statusCode": 200, "body": body} }
}

func lambda(key, function string) *model.Route {
	return &model.Route{LogicalID: "Route" + function, Key: key, Integration: &model.Integration{
		LogicalID: "Integration" + function, Type: model.AWSProxy,
		URI: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:" + function + "/invocations",
	}}
}

func twoWay(r *model.Route) *model.Route { r.TwoWay = true; return r }

func testApp(routes ...*model.Route) *model.App {
	return &model.App{
		StackName: "test", Region: "eu-west-1", AccountID: "111122223333", Partition: "aws", URLSuffix: "amazonaws.com",
		APIs: []*model.API{{
			LogicalID: "Chat", ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Routes: routes,
			Stages: []*model.Stage{{Name: "prod", Deployed: true}},
		}},
	}
}

const host = "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"

// stand is a gateway behind real sockets.
type stand struct {
	*functions
	t       *testing.T
	gateway *gateway.Gateway
	server  *conn.Server
	addr    string
	host    string // of callbacks; "": the API's own
	// upgrades are the contexts of handshakes, in order: one ends when the server
	// has noticed that its client is gone.
	upgrades chan context.Context

	mu   sync.Mutex
	app  *model.App
	logs []string
}

// options of a stand; the zero value is the aws profile at true speed.
type options struct {
	journal gateway.Journal
	scale   float64
	limits  *gateway.Limits
	node    id.NodeKey
	guard   *authz.Config // Functions is filled in
	access  func(apiID, stage, line string)
	app     func(*model.App) // changes the application before it is deployed
}

func newStand(t *testing.T, handlers map[string]handler, o options, routes ...*model.Route) *stand {
	t.Helper()
	s := &stand{t: t, upgrades: make(chan context.Context, 4096), functions: &functions{handlers: handlers, calls: make(chan *call, 4096), tags: map[string]string{}}, app: testApp(routes...)}
	clk := clock.Scaled(o.scale)
	if o.node == (id.NodeKey{}) {
		o.node = id.NewNodeKey()
	}
	reg := registry.New(registry.Config{Node: o.node})
	backends := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(backends.CloseIdleConnections)
	cfg := gateway.Config{
		Registry: reg, AccessLog: o.access, Journal: o.journal, Limits: o.limits, Logs: s.log,
		Channels:     func(string, string) gateway.Channels { return fanout.New(fanout.Config{Loops: s.server}) },
		Integrations: integration.New(integration.Config{Functions: s.functions, HTTP: backends, Bytes: o.limits != nil && o.limits.Binary}),
	}
	if o.guard != nil {
		o.guard.Functions = s.functions
		cfg.Guard = authz.New(*o.guard)
	}
	if o.app != nil {
		o.app(s.app)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.gateway = g
	callbacks := connapi.New(connapi.Config{App: s.deployed, Registry: reg, Callers: s.functions, RequireSignature: true})
	s.server = conn.New(conn.Config{HTTP: callbacks, Hot: callbacks, Clock: clk, Upgrade: func(u *conn.Upgrade) {
		s.upgrades <- u.Context()
		g.ServeUpgrade(u)
	}})
	s.deploy(s.app)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(s.gateway.Drain(ctx), s.server.Shutdown(ctx)); err != nil {
			t.Errorf("stop: %v", err)
		}
		<-served
		http.DefaultClient.CloseIdleConnections()
		if t.Failed() {
			log := s.logText()
			t.Logf("end of the gateway log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return s
}

func (s *stand) deploy(app *model.App) {
	s.t.Helper()
	if err := s.gateway.Deploy(app); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.app = app
	s.mu.Unlock()
}

func (s *stand) deployed() *model.App {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.app
}

func (s *stand) log(l model.LogLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, l.Level+" "+l.Text)
}

func (s *stand) logText() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.logs, "\n")
}

func (s *stand) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// dial connects; the response is there also when the handshake was refused.
func (s *stand) dial(path string, o *websocket.DialOptions) (*client, *http.Response, error) {
	var own websocket.DialOptions // tests that run side by side share theirs
	if o != nil {
		own = *o
	}
	if own.Host == "" {
		own.Host = host
	}
	c, resp, err := websocket.Dial(s.context(), "ws://"+s.addr+path, &own)
	if err != nil {
		return nil, resp, err
	}
	c.SetReadLimit(-1)
	s.t.Cleanup(func() { c.CloseNow() })
	return &client{s, c}, resp, nil
}

func (s *stand) connect() *client {
	s.t.Helper()
	c, _, err := s.dial("/prod", nil)
	if err != nil {
		s.t.Fatalf("connect: %v", err)
	}
	return c
}

// refused asserts that a handshake is answered with a status and returns its body.
func (s *stand) refused(path string, o *websocket.DialOptions, want int) (*http.Response, string) {
	s.t.Helper()
	_, resp, err := s.dial(path, o)
	if err == nil {
		s.t.Fatalf("the handshake succeeded, want %d", want)
	}
	if resp == nil {
		s.t.Fatalf("no HTTP answer: %v", err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != want {
		s.t.Fatalf("status %d %s, want %d", resp.StatusCode, body, want)
	}
	return resp, string(body)
}

// next is the next call of a function; calls of others are skipped.
func (s *stand) next(function string) *call {
	s.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case c := <-s.calls:
			if c.function == function {
				return c
			}
		case <-timeout:
			s.t.Fatalf("%s was not called", function)
		}
	}
}

// client is one WebSocket client.
type client struct {
	s *stand
	*websocket.Conn
}

func (c *client) send(text string) {
	c.s.t.Helper()
	if err := c.Write(c.s.context(), websocket.MessageText, []byte(text)); err != nil {
		c.s.t.Fatalf("send: %v", err)
	}
}

func (c *client) receive() string {
	c.s.t.Helper()
	kind, data, err := c.Read(c.s.context())
	if err != nil {
		c.s.t.Fatalf("receive: %v", err)
	}
	if kind != websocket.MessageText {
		c.s.t.Fatalf("a binary frame: %q", data)
	}
	return string(data)
}

func (c *client) expect(want string) {
	c.s.t.Helper()
	if got := c.receive(); got != want {
		c.s.t.Fatalf("received %q, want %q", got, want)
	}
}

// expectError asserts an error frame byte for byte; ids as in the last event.
func (c *client) expectError(text, connectionID string) {
	c.s.t.Helper()
	got := c.receive()
	prefix := `{"message": "` + text + `", "connectionId":"` + connectionID + `", "requestId":"`
	rest, ok := strings.CutPrefix(got, prefix)
	if !ok || len(rest) != len(`Qa1zTdYbrRcCJ4w="}`) || !strings.HasSuffix(rest, `="}`) {
		c.s.t.Fatalf("frame %q, want %q and a requestId", got, prefix)
	}
}

// expectClose reads until the close and asserts its code and reason.
func (c *client) expectClose(code websocket.StatusCode, reason string) {
	c.s.t.Helper()
	_, data, err := c.Read(c.s.context())
	e, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		c.s.t.Errorf("want a close frame, got %q, %v", data, err) // may run beside the test
		return
	}
	if e.Code != code || (reason != "*" && e.Reason != reason) {
		c.s.t.Errorf("closed with %d %q, want %d %q", e.Code, e.Reason, code, reason)
	}
}

// callback is one @connections request; key names the function that signs it.
func (s *stand) callback(method, connectionID, key string, body []byte) (*http.Response, string) {
	s.t.Helper()
	return s.request(method, "/prod/@connections/"+strings.ReplaceAll(connectionID, "=", "%3D"), key, body)
}

func (s *stand) request(method, path, key string, body []byte) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.context(), method, "http://"+s.addr+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = host
	if s.host != "" {
		r.Host = s.host
	}
	if key != "" {
		sigv4.Sign(r, body, sigv4.Key{ID: key, Secret: "secret"}, sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}, time.Now())
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return &http.Response{Header: http.Header{}}, ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp, string(text)
}

// memory is a Journal in memory that outlives gateways, as a disk does.
type memory struct {
	mu   sync.Mutex
	recs map[string][]byte
	fail error
}

func (m *memory) Begin(rec []byte, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	if m.recs == nil {
		m.recs = map[string][]byte{}
	}
	m.recs[id] = bytes.Clone(rec)
	return nil
}

func (m *memory) End(id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.recs, id)
	return nil
}

func (m *memory) Pending() (out [][]byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.recs {
		out = append(out, r)
	}
	return out, nil
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.recs)
}
