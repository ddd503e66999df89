package gateway

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
)

// fakeLink is a client in memory.
type fakeLink struct {
	mu     sync.Mutex
	sent   []string
	full   bool
	paused atomic.Bool
	calls  atomic.Int64 // Pause and Resume
	// resumed, when set, gets a token after each Resume, room permitting.
	resumed chan struct{}
}

func (l *fakeLink) Send(text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return fault.New(fault.Throttled, "full")
	}
	l.sent = append(l.sent, string(text))
	return nil
}

func (l *fakeLink) Close(int, string)     {}
func (l *fakeLink) LastActive() time.Time { return time.Time{} }
func (l *fakeLink) Touch()                {}
func (l *fakeLink) Shard() int            { return 1 }
func (l *fakeLink) SendPrepared(p *frame.Prepared) error {
	return l.Send(p.Plain()[frame.HeaderSize(p.Size()):])
}
func (l *fakeLink) Pause() { l.calls.Add(1); l.paused.Store(true) }
func (l *fakeLink) Resume() {
	l.calls.Add(1)
	l.paused.Store(false)
	select {
	case l.resumed <- struct{}{}:
	default:
	}
}

// fakeUpgrade opens onto a fakeLink.
type fakeUpgrade struct {
	link     link
	session  *session
	refused  *refusal
	detached int
}

func (u *fakeUpgrade) Accept(s *session, _ string) (link, error) {
	u.session = s
	u.link.Pause()
	return u.link, nil
}

func (u *fakeUpgrade) Refuse(r refusal) { u.refused = &r }
func (u *fakeUpgrade) Detach(f func())  { u.detached++; f() }

// head is the headers of a fake handshake.
type head []event.Field

func (h head) Fields() []event.Field { return h }
func (h head) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

type functions func(ctx context.Context, in model.Invocation) (model.InvokeResult, error)

func (f functions) Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	if f == nil {
		return model.InvokeResult{}, fault.New(fault.Upstream, "there is no function")
	}
	return f(ctx, in)
}

var lambdaRoute = &model.Route{Key: "$default", TwoWay: true, Integration: &model.Integration{
	Type: model.AWSProxy, URI: "arn:aws:lambda:eu-west-1:111122223333:function:f",
}}

func newGateway(t testing.TB, f functions, logs func(model.LogLine), routes ...*model.Route) *Gateway {
	t.Helper()
	// Without the account's limits: these tests send as fast as they can.
	limits := AWSLimits()
	limits.Requests, limits.Connects = model.Throttle{}, model.Throttle{}
	g, err := New(Config{
		Limits:       &limits,
		Registry:     registry.New(registry.Config{Node: id.NewNodeKey()}),
		Integrations: integration.New(integration.Config{Functions: f}),
		Logs:         logs,
	})
	if err != nil {
		t.Fatal(err)
	}
	deploy(t, g, routes...)
	return g
}

func deploy(t testing.TB, g *Gateway, routes ...*model.Route) {
	t.Helper()
	if err := g.Deploy(&model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{
		ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Routes: routes,
		Stages: []*model.Stage{{Name: "prod", Deployed: true}},
	}}}); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, f functions, logs func(model.LogLine), routes ...*model.Route) (*Gateway, *fakeLink, *session) {
	t.Helper()
	l := &fakeLink{}
	g, s := openOn(t, l, f, logs, routes...)
	return g, l, s
}

func openOn(t testing.TB, l link, f functions, logs func(model.LogLine), routes ...*model.Route) (*Gateway, *session) {
	t.Helper()
	g := newGateway(t, f, logs, routes...)
	return g, enter(t, g, l)
}

func enter(t testing.TB, g *Gateway, l link) *session {
	t.Helper()
	u := &fakeUpgrade{link: l}
	g.serve(&handshake{host: "localhost", path: "/prod", remote: netip.MustParseAddr("::ffff:127.0.0.1"), at: time.Now(), headers: head{}}, u)
	if u.session == nil {
		t.Fatalf("refused: %s", u.refused.body)
	}
	return u.session
}

func finish(t testing.TB, g *Gateway, s *session) {
	t.Helper()
	s.onClose(1000, "")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// A Resume that overtakes its Pause would leave the connection deaf: whatever the
// interleaving, reading goes on once there is room.
func TestPauseNeverSticks(t *testing.T) {
	g, l, s := open(t, func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		in.Queued()
		return model.InvokeResult{}, nil
	}, nil, lambdaRoute)
	g.limits.InFlight = 2
	l.resumed = make(chan struct{}, 1)
	for range 20_000 {
		s.onMessage([]byte("x"), false) // as a reader that has frames in its buffer when Pause comes
	}
	finish(t, g, s)
	for l.paused.Load() { // the last messages may still be on their way out
		select {
		case <-l.resumed:
		case <-time.After(10 * time.Second):
			t.Fatal("paused for good")
		}
	}
	if l.calls.Load() < 2 {
		t.Fatal("the bound was never reached: this test proves nothing")
	}
}

// A runtime that says Queued late must not let a later message overtake.
func TestNextMessageWaitsForItsPlace(t *testing.T) {
	var mu sync.Mutex
	var entered []string
	place := make(chan struct{})
	running := make(chan string, 2)
	g, _, s := open(t, func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		running <- string(in.Payload)
		<-place
		mu.Lock()
		entered = append(entered, string(in.Payload))
		mu.Unlock()
		in.Queued()
		return model.InvokeResult{}, nil
	}, nil, lambdaRoute)
	s.onMessage([]byte("first"), false)
	s.onMessage([]byte("second"), false)
	<-running
	select {
	case got := <-running:
		t.Fatalf("handed over before the first had its place: %s", got)
	case <-time.After(50 * time.Millisecond):
	}
	close(place)
	finish(t, g, s)
	if len(entered) != 2 || !strings.Contains(entered[0], "first") || !strings.Contains(entered[1], "second") {
		t.Fatalf("%q", entered)
	}
}

// What is answered in place must not overtake what waits.
func TestForbiddenKeepsItsPlace(t *testing.T) {
	release := make(chan struct{})
	route := *lambdaRoute
	route.Key = "slow"
	g, l, s := open(t, func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		<-release // no Queued: the front is held
		return model.InvokeResult{Payload: []byte(`{"statusCode":200,"body":"slow"}`)}, nil
	}, nil, &route)
	s.onMessage([]byte(`{"action":"slow"}`), false)
	s.onMessage([]byte(`{"action":"none"}`), false)
	close(release)
	finish(t, g, s)
	if len(l.sent) != 2 || l.sent[0] != "slow" || !strings.Contains(l.sent[1], "Forbidden") {
		t.Fatalf("%q", l.sent)
	}
}

// echoPayload hands over what it is invoked with once place is closed.
func echoPayload(got chan<- string, place <-chan struct{}) functions {
	return func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		<-place
		got <- string(in.Payload)
		in.Queued()
		return model.InvokeResult{}, nil
	}
}

// Quiet leaves out what clients do, and keeps what somebody must repair.
func TestQuiet(t *testing.T) {
	for quiet, want := range map[bool][]string{
		false: {"info connect ", "info route ping of ", "warn no route takes", "warn connect refused with 403", "error route broken failed", "info disconnect "},
		true:  {"error route broken failed"},
	} {
		var mu sync.Mutex
		var lines []string
		logs := func(l model.LogLine) {
			mu.Lock()
			defer mu.Unlock()
			lines = append(lines, l.Level+" "+l.Text)
		}
		g, err := New(Config{Registry: registry.New(registry.Config{}), Integrations: integration.New(integration.Config{}), Logs: logs, Quiet: quiet})
		if err != nil {
			t.Fatal(err)
		}
		broken := *lambdaRoute
		broken.Key = "broken"
		deploy(t, g, mockRoute, &broken)
		s := enter(t, g, &fakeLink{})
		s.onMessage([]byte(`{"action":"ping"}`), false)
		s.onMessage([]byte(`{"action":"none"}`), false)
		g.serve(&handshake{host: "localhost", path: "/nope", headers: head{}}, &fakeUpgrade{})
		s.onMessage([]byte(`{"action":"broken"}`), false)
		finish(t, g, s)
		if len(lines) != len(want) {
			t.Errorf("quiet %v: %q", quiet, lines)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("quiet %v: %q, want %q", quiet, lines[i], want[i])
			}
		}
	}
}

func TestDroppedFramesAreSaid(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	g, l, s := open(t, nil, func(line model.LogLine) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line.Text)
	})
	l.full = true
	s.onMessage([]byte("x"), false)
	finish(t, g, s)
	if g.Stats().Dropped != 1 || !slices.ContainsFunc(lines, func(s string) bool { return strings.Contains(s, "was dropped") }) {
		t.Fatalf("%+v %q", g.Stats(), lines)
	}
}

func TestOnCloseCountsOnce(t *testing.T) {
	var runs atomic.Int32
	route := *lambdaRoute
	route.Key = "$disconnect"
	g, _, s := open(t, func(context.Context, model.Invocation) (model.InvokeResult, error) {
		runs.Add(1)
		return model.InvokeResult{}, nil
	}, nil, &route)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() { s.finish(1006, "") })
	}
	wait.Wait()
	finish(t, g, s)
	if runs.Load() != 1 {
		t.Fatalf("$disconnect ran %d times", runs.Load())
	}
}

func TestConfigValidate(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("an empty Config was accepted")
	}
	c := Config{Registry: registry.New(registry.Config{}), Integrations: integration.New(integration.Config{}), Profile: "fast"}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), `"fast"`) {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestProfiles(t *testing.T) {
	aws, open := profile(""), profile("open")
	if aws.Heartbeat != 0 || aws.Overflow != bound.Refuse || aws.Frame != 32<<10 || aws.Idle != 10*time.Minute {
		t.Errorf("aws: %+v", aws)
	}
	if open.Heartbeat != 25*time.Second || open.HeartbeatWait != 20*time.Second || open.Overflow != bound.Close || open.OverflowCode != 1013 || open.Idle != 0 {
		t.Errorf("open: %+v", open)
	}
}

func TestErrorFrameIsExact(t *testing.T) {
	got := string(errorFrame(textInternal, "Qa1zTdYbrRcCJ4w=", "Qa2CpFYtrRcFh2k="))
	want := `{"message": "Internal server error", "connectionId":"Qa1zTdYbrRcCJ4w=", "requestId":"Qa2CpFYtrRcFh2k="}`
	if got != want {
		t.Fatalf("%s", got)
	}
}

var mockRoute = &model.Route{Key: "ping", TwoWay: true, Integration: &model.Integration{
	Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`},
	Responses: []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": strings.Repeat("x", 128)}}},
}}

// benchMessage is 128 bytes among ten routes.
func benchMessage(action string) []byte {
	head := `{"action":"` + action + `","data":"`
	return []byte(head + strings.Repeat("x", 126-len(head)) + `"}`)
}

func benchRoutes(r *model.Route) []*model.Route {
	routes := []*model.Route{r}
	for i := range 9 {
		other := *r
		other.Key = fmt.Sprint("other", i)
		routes = append(routes, &other)
	}
	return routes
}

type sink struct{ fakeLink }

func (*sink) Send([]byte) error { return nil }

// BenchmarkEcho is the gateway's part of an echo: route, two-way MOCK, reply.
func BenchmarkEcho(b *testing.B) {
	g, s := openOn(b, &sink{}, nil, nil, benchRoutes(mockRoute)...)
	msg := benchMessage("ping")
	b.ReportAllocs()
	for b.Loop() {
		s.onMessage(msg, false)
	}
	b.StopTimer()
	finish(b, g, s)
}

// BenchmarkFunction is the gateway's part of a function round trip: route, exact
// event, an invoke that answers at once, two-way reply.
func BenchmarkFunction(b *testing.B) {
	route := *lambdaRoute
	route.Key = "ping"
	done := make(chan struct{}, 1)
	answer := []byte(`{"statusCode":200,"body":"` + strings.Repeat("x", 128) + `"}`)
	g, s := openOn(b, &notify{done: done}, func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		in.Queued()
		return model.InvokeResult{Payload: answer}, nil
	}, nil, benchRoutes(&route)...)
	msg := benchMessage("ping")
	b.ReportAllocs()
	for b.Loop() {
		s.onMessage(msg, false)
		<-done
	}
	b.StopTimer()
	finish(b, g, s)
}

type notify struct {
	fakeLink
	done chan struct{}
}

func (n *notify) Send([]byte) error { n.done <- struct{}{}; return nil }
