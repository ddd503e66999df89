package gateway_test

import (
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// A route over its limit answers "Too Many Requests" and calls nothing; the others, and
// the other stage, go on.
func TestThrottledRoutes(t *testing.T) {
	slow := model.RouteSettings{Rate: 0.0001, Burst: 2}
	s := newStand(t, nil, options{app: func(a *model.App) {
		a.APIs[0].Stages[0].Routes = map[string]model.RouteSettings{"join": slow}
		a.APIs[0].Stages = append(a.APIs[0].Stages, &model.Stage{Name: "beta", Deployed: true})
	}}, lambda("join", "join"), lambda("leave", "leave"), lambda("$connect", "connect"))
	c := s.connect()
	connectionID := s.next("connect").connectionID()
	for range 2 {
		c.send(`{"action":"join"}`)
		s.next("join")
	}
	c.send(`{"action":"join"}`)
	c.expectError("Too Many Requests", connectionID)
	c.send(`{"action":"leave"}`)
	s.next("leave")
	other, _, err := s.dial("/beta", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		other.send(`{"action":"join"}`)
		s.next("join")
	}
	if n := s.gateway.Stats(); n.Throttled != 1 {
		t.Fatalf("stats %+v", n)
	}
	// A reload does not forgive; another limit does.
	s.deploy(s.app)
	c.send(`{"action":"join"}`)
	c.expectError("Too Many Requests", connectionID)
	app := testApp(s.app.APIs[0].Routes...)
	app.APIs[0].Stages[0].Routes = map[string]model.RouteSettings{"join": {Rate: 0.0001, Burst: 3}}
	s.deploy(app)
	c.send(`{"action":"join"}`)
	s.next("join")
}

// Handshakes over a limit get 429 before anybody is asked: of new connections, of
// $connect, of the stage, of the account.
func TestThrottledHandshakes(t *testing.T) {
	one := model.RouteSettings{Rate: 0.0001, Burst: 1}
	for name, o := range map[string]options{
		"connections": {limits: &gateway.Limits{Connects: model.Throttle{Rate: 0.0001, Burst: 1}}},
		"account":     {limits: &gateway.Limits{Requests: model.Throttle{Rate: 0.0001, Burst: 1}}},
		"stage":       {app: func(a *model.App) { a.APIs[0].Stages[0].Default = one }},
		"route":       {app: func(a *model.App) { a.APIs[0].Stages[0].Routes = map[string]model.RouteSettings{"$connect": one} }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, nil, o, lambda("$connect", "connect"))
			s.connect()
			s.next("connect")
			resp, body := s.refused("/prod", nil, 429)
			if body != `{"message":"Too Many Requests"}` || resp.Header.Get("x-amzn-errortype") != "TooManyRequestsException" {
				t.Fatalf("%s %v", body, resp.Header)
			}
			if len(s.calls) != 0 {
				t.Fatal("$connect ran")
			}
		})
	}
}

// A client that goes on sending is closed with 1008.
func TestStubbornClientsAreClosed(t *testing.T) {
	limits := gateway.AWSLimits()
	limits.Requests, limits.Strikes = model.Throttle{Rate: 0.0001, Burst: 1}, 3
	s := newStand(t, nil, options{limits: &limits}, lambda("$default", "all"), lambda("$disconnect", "disconnect"))
	c := s.connect() // the only token
	for range 5 {
		if c.Write(s.context(), websocket.MessageText, []byte("x")) != nil {
			break
		}
	}
	for range 3 {
		if got := c.receive(); !strings.HasPrefix(got, `{"message": "Too Many Requests", "connectionId":"`) {
			t.Fatal(got)
		}
	}
	c.expectClose(1008, "Too Many Requests")
	if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1008.0 {
		t.Fatalf("event %s", d.in.Payload)
	}
}

// In the open profile nothing is throttled unless somebody says so.
func TestOpenProfileDoesNotThrottle(t *testing.T) {
	if l := gateway.OpenLimits(); l.Requests.Rate != 0 || l.Connects.Rate != 0 {
		t.Errorf("%+v", l)
	}
	if l := gateway.AWSLimits(); l.Requests != (model.Throttle{Rate: 10_000, Burst: 5_000}) || l.Connects.Rate != 500 {
		t.Errorf("%+v", l)
	}
}
