package gateway

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

// slowly renews one token slowly and the next at once.
type slowly struct {
	*authz.Guard
	now     time.Time
	running atomic.Int32
	most    atomic.Int32
}

func (g *slowly) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	return &authz.Grant{Expires: g.now.Add(time.Hour)}, nil
}

func (g *slowly) Renew(_ context.Context, _ *authz.Plan, _ *authz.Grant, token string) (*authz.Grant, error) {
	g.most.Store(max(g.most.Load(), g.running.Add(1)))
	defer g.running.Add(-1)
	life := 2 * time.Hour
	if token == "first" {
		life = time.Hour
		for range 1000 {
			runtime.Gosched()
		}
	}
	return &authz.Grant{Expires: g.now.Add(life)}, nil
}

// Renewals that are sent at once are taken one after the other: the last one counts,
// and no timer of the others is left to end the connection, or to keep it.
func TestRenewalsKeepTheirOrder(t *testing.T) {
	g := newGateway(t, nil, nil, mockRoute)
	guard := &slowly{Guard: authz.New(authz.Config{}), now: time.Now()}
	g.cfg.Guard = guard
	deploy(t, g, &model.Route{Key: "renew", TwoWay: true, Reauthorize: true},
		&model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}})
	answers := make(chan string, 64)
	s := enter(t, g, &heard{closing: &closing{closed: make(chan int, 1)}, answers: answers})
	for range 10 {
		s.onMessage([]byte(`{"action":"renew","token":"first"}`), false)
		s.onMessage([]byte(`{"action":"renew","token":"second"}`), false)
	}
	for range 20 {
		<-answers
	}
	if got := s.extra.Load().grant.Expires; !got.Equal(guard.now.Add(2 * time.Hour)) {
		t.Errorf("the grant ends after %v", got.Sub(guard.now))
	}
	if n := guard.most.Load(); n != 1 {
		t.Errorf("%d renewals at once", n)
	}
	s.expire() // a timer of before that could not be stopped any more
	select {
	case code := <-s.link().(*heard).closed:
		t.Errorf("closed with %d", code)
	default:
	}
	finish(t, g, s)
}

// yes is a guard that forgets to say to whom.
type yes struct{ *authz.Guard }

func (yes) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	return nil, nil
}

// Without a grant nobody comes in, whoever says that there is no error.
func TestNoGrantNoConnection(t *testing.T) {
	g := newGateway(t, nil, nil, mockRoute)
	g.cfg.Guard = yes{authz.New(authz.Config{})}
	deploy(t, g, mockRoute, &model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}})
	u := &fakeUpgrade{link: &sink{}}
	g.serve(&handshake{host: "localhost", path: "/prod", at: time.Now(), headers: head{}}, u)
	if u.session != nil || u.refused == nil || u.refused.status != http.StatusInternalServerError {
		t.Fatalf("%+v", u.refused)
	}
}

// panicking is a guard with a mistake in it.
type panicking struct{ *authz.Guard }

func (panicking) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	panic("a mistake")
}

// A handshake whose decision panics lets nobody in and leaves nothing behind: Drain does
// not wait for it, and no row of it stays in the registry.
func TestPanicsLeaveNothingBehind(t *testing.T) {
	connect := &model.Route{Key: "$connect", Integration: lambdaRoute.Integration, Access: &model.Access{Origins: []string{"https://app.example.com"}}}
	for name, guard := range map[string]Guard{"guard": panicking{authz.New(authz.Config{})}, "$connect": stingy{authz.New(authz.Config{})}} {
		g := newGateway(t, func(context.Context, model.Invocation) (model.InvokeResult, error) { panic("a mistake") }, nil, mockRoute)
		g.cfg.Guard = guard
		deploy(t, g, mockRoute, connect)
		u := &fakeUpgrade{link: &sink{}}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			g.serve(&handshake{host: "localhost", path: "/prod", at: time.Now(), headers: head{}}, u)
		}()
		if u.session != nil || g.cfg.Registry.Count() != 0 {
			t.Errorf("%s: %d connections", name, g.cfg.Registry.Count())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if err := g.Drain(ctx); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}

// A message whose integration or guard panics ends its connection and no other, on
// ordered routes too; $disconnect still runs once, and may panic as well.
func TestPanicsEndOneConnection(t *testing.T) {
	for name, ordered := range map[string]bool{"side by side": false, "in order": true} {
		t.Run(name, func(t *testing.T) {
			var ends atomic.Int32
			var log []string
			var mu sync.Mutex
			bad := &model.Route{Key: "bad", Ordered: ordered, Integration: lambdaRoute.Integration}
			end := &model.Route{Key: "$disconnect", Integration: lambdaRoute.Integration}
			g := newGateway(t, func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
				if strings.Contains(string(in.Payload), `"DISCONNECT"`) {
					ends.Add(1)
				}
				panic("a mistake")
			}, func(l model.LogLine) { mu.Lock(); log = append(log, l.Text); mu.Unlock() }, mockRoute, bad, end)
			l := &closing{closed: make(chan int, 10)}
			s, other := enter(t, g, l), enter(t, g, &sink{})
			for range 3 {
				s.onMessage([]byte(`{"action":"bad"}`), false)
			}
			if code := <-l.closed; code != 1011 {
				t.Errorf("closed with %d", code)
			}
			s.onClose(1011, "Internal error")
			other.onMessage([]byte(`{"action":"ping"}`), false)
			finish(t, g, other)
			for g.Stats().InFlight != 0 { // Drain waits for the ends, not for messages
				runtime.Gosched()
			}
			mu.Lock()
			defer mu.Unlock()
			if n := ends.Load(); n != 2 || !strings.Contains(strings.Join(log, "\n"), "panicked: a mistake") {
				t.Errorf("%d ends; %q", n, log)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.busy != nil {
				t.Errorf("%+v of %+v", s.busy, g.Stats())
			}
		})
	}
}

// An API that closed its default endpoint and whose domain wants client certificates
// has no door without one: a Host header is free to choose.
func TestClientCertificatesHaveNoBackDoor(t *testing.T) {
	ours := newAuthority(t, "ours")
	g := newGateway(t, nil, nil, mockRoute)
	api := &model.API{ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Stages: []*model.Stage{{Name: "prod", Deployed: true}}, DisableExecuteAPIEndpoint: true}
	app := &model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{api}, Domains: []*model.Domain{
		{Name: "mtls.example.test", TrustStore: ours.file, Mappings: []model.Mapping{{APIID: "k3v9x1m2qz", Stage: "prod"}}},
	}}
	if err := g.Deploy(app); err != nil {
		t.Fatal(err)
	}
	try := func(host, path string) bool {
		u := &fakeUpgrade{link: &sink{}}
		g.serve(&handshake{host: host, path: path, secure: true, at: time.Now(), headers: head{}}, u)
		if u.session != nil {
			u.session.onClose(1000, "")
		}
		return u.session != nil
	}
	for _, v := range [][2]string{
		{"mtls.example.test", "/"}, {"mtls.example.test.", "/"}, {"localhost", "/prod"}, {"127.0.0.1:3001", "/k3v9x1m2qz/prod"}, {"k3v9x1m2qz.localhost", "/prod"},
		{"anything", "/prod"}, {"", "/prod"}, {"k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com", "/prod"},
	} {
		if try(v[0], v[1]) {
			t.Errorf("%q %s: let in", v[0], v[1])
		}
	}
	// One that has a default endpoint has it, as on AWS; and so has one whose domain wants
	// nothing.
	api.DisableExecuteAPIEndpoint = false
	if err := g.Deploy(app); err != nil || !try("localhost", "/prod") {
		t.Error("the default endpoint", err)
	}
	api.DisableExecuteAPIEndpoint, app.Domains[0].TrustStore = true, ""
	if err := g.Deploy(app); err != nil || !try("localhost", "/prod") {
		t.Error("no trust store", err)
	}
}

// Of a wildcard and a name that both cover a host, TLS asks by the one that counts.
func TestClientCAsOfOverlappingDomains(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	g := newGateway(t, nil, nil, mockRoute)
	app := &model.App{APIs: []*model.API{{ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action"}}, Domains: []*model.Domain{
		{Name: "a.example.test", TrustStore: ours.file}, {Name: "*.example.test", TrustStore: theirs.file}, {Name: "b.other.test"}, {Name: "*.other.test", TrustStore: theirs.file},
	}}
	if err := g.Deploy(app); err != nil {
		t.Fatal(err)
	}
	pool := func(a *authority) *x509.CertPool { p := x509.NewCertPool(); p.AddCert(a.cert); return p }
	for range 50 {
		if !g.ClientCAs("a.example.test").Equal(pool(ours)) || !g.ClientCAs("b.example.test").Equal(pool(theirs)) || g.ClientCAs("b.other.test") != nil {
			t.Fatal("asked with another domain's")
		}
	}
}

// What is left out of a data trace, in the forms that messages carry it.
func TestRedactHidesNestedAndQuoted(t *testing.T) {
	const secret = "hunter2"
	for _, in := range []string{
		`{"tokens":["hunter2","hunter2"]}`,
		`{"credentials":{"a":"hunter2"}}`,
		`{"body":"{\"password\":\"hunter2\"}"}`,
		`{"body":"{\\\"password\\\":\\\"hunter2\\\"}"}`,
		`user=ann&password=hunter2&x=1`,
		`access_token=hunter2`,
		`{"password":  "hunter2`,
		`{"Authorization":"hunter2 hunter2"}`,
		`{"x":"Bearer   hunter2"}`,
	} {
		if got := redact([]byte(in), false); strings.Contains(got, secret) {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := redact([]byte(`{"action":"sendMessage","n":[1,2],"text":"a=b"}`), false); got != `{"action":"sendMessage","n":[1,2],"text":"a=b"}` {
		t.Errorf("%s", got)
	}
}

// A value that is cut is still one value.
func TestAccessLogCutsWithinQuotes(t *testing.T) {
	for _, text := range []string{strings.Repeat(`"`, 3000), strings.Repeat(`\`, 3001), strings.Repeat("x", 5000), "a\nb"} {
		line := logged(`{"m":$context.error.messageString,"s":"$context.stage"}`, &event.Connection{Stage: "prod"}, &event.Outcome{Error: event.Failure{Message: text}})
		if !json.Valid([]byte(line)) {
			t.Errorf("%.80s…%s", line, line[max(0, len(line)-60):])
		}
	}
}

// Names in a query are the client's as much as values: no second line, no token.
func TestTraceOfHandshakes(t *testing.T) {
	var log []string
	g := newGateway(t, nil, func(l model.LogLine) { log = append(log, l.Text) }, mockRoute)
	app := &model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action",
		Routes: []*model.Route{{Key: "$connect"}}, Stages: []*model.Stage{{Name: "prod", Deployed: true, Default: model.RouteSettings{DataTrace: true, LoggingLevel: "INFO"}}}}}}
	if err := g.Deploy(app); err != nil {
		t.Fatal(err)
	}
	u := &fakeUpgrade{link: &sink{}}
	g.serve(&handshake{host: "localhost", path: "/prod", query: "a%0Aerror+forged%1b[2J&eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", at: time.Now(),
		headers: head{{Name: "User-Agent", Value: "x\u009b2Jy"}}}, u)
	u.session.onClose(1000, "bye\nerror forged")
	g.serve(&handshake{host: "localhost\n", path: "/nope\nerror forged", at: time.Now(), headers: head{}}, u)
	for _, line := range log {
		if strings.ContainsAny(line, "\n\x1b\u009b") || strings.Contains(line, "eyJhbGciOi") {
			t.Errorf("%q", line)
		}
	}
	if len(log) < 4 {
		t.Errorf("%q", log)
	}
}

// A client that ignores the throttle of its usage plan is closed like one that ignores
// the stage's.
func TestStubbornKeysAreClosed(t *testing.T) {
	for name, route := range map[string]*model.Route{"in place": {Key: "$default", Integration: mockRoute.Integration}, "with a function": lambdaRoute} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, nil, nil, mockRoute)
			g.limits.Strikes = 20
			g.cfg.Guard = stingy{authz.New(authz.Config{})}
			deploy(t, g, route, &model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}})
			l := &closing{closed: make(chan int, 1000)}
			s := enter(t, g, l)
			for range 200 {
				s.onMessage([]byte("x"), false)
			}
			select {
			case code := <-l.closed:
				if code != 1008 {
					t.Errorf("closed with %d", code)
				}
			case <-time.After(5 * time.Second):
				t.Error("not closed")
			}
			finish(t, g, s)
		})
	}
}

type stingy struct{ *authz.Guard }

func (stingy) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	return &authz.Grant{}, nil
}

func (stingy) Admit(*authz.Plan, *authz.Grant, string) error {
	return &authz.Refusal{Status: http.StatusTooManyRequests, Message: "Limit Exceeded", Cause: "the quota of the usage plan"}
}

// Grants that end cost a timer, and no goroutine until they do; those that ended early
// leave none behind.
func TestManyExpiringGrants(t *testing.T) {
	const n = 10_000
	g := newGateway(t, nil, nil, mockRoute)
	g.cfg.Guard = timed{authz.New(authz.Config{}), time.Now().Add(time.Hour)}
	deploy(t, g, mockRoute, &model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}})
	goroutines, before := runtime.NumGoroutine(), heap()
	sessions := make([]*session, n)
	for i := range sessions {
		sessions[i] = enter(t, g, &sink{})
	}
	each := (heap() - before) / n
	t.Logf("%d bytes for each", each)
	if more := runtime.NumGoroutine() - goroutines; more > 10 {
		t.Errorf("%d goroutines for timers", more)
	}
	if each > 1024 && !raceEnabled {
		t.Errorf("%d bytes for each", each)
	}
	for _, s := range sessions {
		s.onClose(1000, "")
		if e := s.extra.Load(); e.expiry.Stop() {
			t.Fatal("a timer is left")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := g.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
