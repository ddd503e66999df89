package gateway_test

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// lines collects access log lines.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(apiID, stage, line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, apiID+"/"+stage+" "+line)
}

// wait returns n lines, sorted: those of different events may come in any order.
func (l *lines) wait(t *testing.T, n int) []string {
	t.Helper()
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		got := slices.Clone(l.all)
		l.mu.Unlock()
		if len(got) >= n {
			slices.Sort(got)
			return got
		}
		select {
		case <-deadline:
			t.Fatalf("%d lines, want %d: %q", len(got), n, got)
		default:
			runtime.Gosched()
		}
	}
}

// One line for everything that happens on the stage, with how it ended.
func TestAccessLog(t *testing.T) {
	var log lines
	mock := &model.Route{Key: "mock", Integration: &model.Integration{Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":204}`}}}
	s := newStand(t, map[string]handler{
		"fail": func(*call) any { return failure{"TypeError", "x is not a function"} },
	}, options{access: log.add, app: func(a *model.App) {
		modelled(a)
		st := a.APIs[0].Stages[0]
		st.AccessLogFormat = "$context.eventType $context.routeKey $context.status $context.integrationStatus $context.integration.status $context.error.message $context.error.responseType"
		st.Routes = map[string]model.RouteSettings{"slow": {Rate: 0.0001, Burst: 1}}
		a.APIs[0].Route("$connect").RequestParameters = map[string]bool{"route.request.querystring.t": true}
	}}, lambda("$connect", "connect"), lambda("$disconnect", "disconnect"), lambda("ok", "ok"), lambda("fail", "fail"), lambda("slow", "ok"), lambda("sendMessage", "ok"), mock,
		&model.Route{Key: "join", Channel: &model.Channel{Action: model.Join, Name: "news"}})
	s.refused("/prod", nil, 400)
	c, _, err := s.dial("/prod?t=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"ok", "fail", "nope", "slow", "slow", "sendMessage", "mock", "join"} {
		c.send(`{"action":"` + action + `"}`)
	}
	want := []string{
		"CONNECT $connect 200 200 200 - -",
		"CONNECT $connect 400 - - Missing required request parameters: [t] BAD_REQUEST_PARAMETERS",
		"DISCONNECT $disconnect 200 200 200 - -",
		"MESSAGE - 403 - - Forbidden ACCESS_DENIED",
		"MESSAGE fail 500 200 502 Internal server error INTEGRATION_FAILURE",
		"MESSAGE join 200 - - - -",
		"MESSAGE mock 200 204 204 - -",
		"MESSAGE ok 200 200 200 - -",
		"MESSAGE sendMessage 400 - - Invalid request body BAD_REQUEST_BODY",
		"MESSAGE slow 200 200 200 - -",
		"MESSAGE slow 429 - - Too Many Requests THROTTLED",
	}
	log.wait(t, len(want)-1)
	c.Close(1000, "")
	got := log.wait(t, len(want))
	for i := range want {
		if got[i] != "k3v9x1m2qz/prod "+want[i] {
			t.Errorf("line %d: %q, want %q", i, got[i], want[i])
		}
	}
}

// Bodies are logged for routes whose stage asks for data trace, and without what looks
// like a credential.
func TestDataTrace(t *testing.T) {
	s := newStand(t, map[string]handler{"ok": reply(`{"token":"canary-answer","text":"hi"}`)}, options{app: func(a *model.App) {
		a.APIs[0].Stages[0].Routes = map[string]model.RouteSettings{
			"traced": {DataTrace: true, LoggingLevel: "INFO"}, "off": {DataTrace: true, LoggingLevel: "OFF"}, "$connect": {DataTrace: true, LoggingLevel: "ERROR"}}
	}}, lambda("$connect", "connect"), twoWay(lambda("traced", "ok")), twoWay(lambda("off", "ok")), twoWay(lambda("none", "ok")))
	c, _, err := s.dial("/prod?ticket=canary-query", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"s=canary-cookie"}, "User-Agent": {"acme/1"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"traced", "off", "none"} {
		c.send(`{"action":"` + action + `","text":"hello ` + action + `","password":"canary-body"}`)
		c.receive()
	}
	log := s.logText()
	for _, want := range []string{`message {"action":"traced","text":"hello traced","password":"****"}`, `answer {"token":"****","text":"hi"}`, "User-Agent=acme/1", "?ticket=****", "Cookie=****"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	for _, not := range []string{"canary", "hello off", "hello none"} {
		if strings.Contains(log, not) {
			t.Errorf("the log holds %q", not)
		}
	}
}

// Whatever happens, nothing a client sent as a credential is in a log, nor a message:
// on the way in, refused by each check, failing in each way.
func TestNoSecretsInLogs(t *testing.T) {
	const canary = "canary-5f1d"
	var access lines
	broken := func(*call) any { return failure{"Error", "upstream said no"} }
	build := func(connect handler, o options) *stand {
		o.access = access.add
		app := o.app
		o.app = func(a *model.App) {
			modelled(a)
			a.APIs[0].Stages[0].AccessLogFormat = `$context.requestId $context.status $context.error.message $context.identity.userAgent $context.authorizer.principalId`
			if app != nil {
				app(a)
			}
		}
		return newStand(t, map[string]handler{"connect": connect, "fail": broken, "authorizer": verdict("Allow", methodARN, `{}`)}, o,
			lambda("$connect", "connect"), lambda("$disconnect", "disconnect"), lambda("fail", "fail"), lambda("sendMessage", "ok"),
			&model.Route{Key: "join", Channel: &model.Channel{Action: model.Join, Name: "room/${request.body.ch}"}})
	}
	chooses := func(*call) any {
		return map[string]any{"statusCode": 200, "headers": map[string]string{"Sec-WebSocket-Protocol": canary + "-other"}}
	}
	stands := []*stand{
		build(chooses, options{}),
		build(status(401), options{}),
		build(broken, options{}),
		build(func(*call) any { return map[string]any{"statusCode": "x"} }, options{}),
		build(status(200), options{guard: &authz.Config{}, app: guarded("route.request.header.X-Missing")}),
		build(status(200), options{guard: &authz.Config{}, app: guarded()}),
		build(status(200), options{guard: &authz.Config{}, app: func(a *model.App) { a.APIs[0].Route("$connect").AuthorizationType = "AWS_IAM" }}),
		build(status(200), options{limits: &gateway.Limits{Connects: model.Throttle{Rate: 0.0001, Burst: 1}}}),
	}
	for i, s := range stands {
		for _, path := range []string{"/prod", "/nope", "/prod/more"} {
			c, _, err := s.dial(path+"?token="+canary, &websocket.DialOptions{Subprotocols: []string{"bearer", canary}, HTTPHeader: http.Header{
				"Authorization": {"Bearer " + canary}, "Cookie": {"session=" + canary}, "X-Api-Key": {canary}, "X-Amz-Security-Token": {canary},
			}})
			if err != nil {
				continue
			}
			for _, m := range []string{`{"action":"fail","x":"` + canary + `"}`, `{"action":"sendMessage","messageType":"` + canary + `"}`, `{"action":"join","ch":"/` + canary + `"}`, canary} {
				c.send(m)
				c.receive()
			}
			c.CloseNow()
		}
		if err := s.gateway.Drain(s.context()); err != nil {
			t.Fatal(err)
		}
		if log := s.logText(); strings.Contains(log, canary) || log == "" {
			t.Errorf("stand %d:\n%s", i, log)
		}
	}
	if got := strings.Join(access.wait(t, 8), "\n"); strings.Contains(got, canary) {
		t.Errorf("access log:\n%s", got)
	}
}

// The counters that CloudWatch would have, by stage and, where the stage asks, by route.
func TestMetrics(t *testing.T) {
	s := newStand(t, map[string]handler{"ok": reply("ok"), "fail": func(*call) any { return failure{"E", "x"} }}, options{app: func(a *model.App) {
		a.APIs[0].Stages[0].Routes = map[string]model.RouteSettings{"ok": {Metrics: true}}
	}}, lambda("$connect", "connect"), twoWay(lambda("ok", "ok")), lambda("fail", "fail"), &model.Route{Key: "bare"})
	c := s.connect()
	for _, m := range []string{`{"action":"ok"}`, `{"action":"ok"}`, `{"action":"fail"}`, `{"action":"bare"}`, "nope"} {
		c.send(m)
		c.receive()
	}
	got := s.gateway.Metrics()
	for i := range got {
		if (got[i].IntegrationLatency <= 0) != (got[i].IntegrationCount == 0) {
			t.Errorf("latency %v of %d calls", got[i].IntegrationLatency, got[i].IntegrationCount)
		}
		got[i].IntegrationLatency = 0
	}
	want := []gateway.Metric{
		{APIID: "k3v9x1m2qz", Stage: "prod", ConnectCount: 1, MessageCount: 10, IntegrationError: 1, ClientError: 1, ExecutionError: 1, IntegrationCount: 4},
		{APIID: "k3v9x1m2qz", Stage: "prod", Route: "ok", MessageCount: 2, IntegrationCount: 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}
