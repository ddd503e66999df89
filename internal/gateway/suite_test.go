package gateway_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// vector is one conformance vector of the reference (Appendix A).
type vector struct {
	name     string
	routes   []*model.Route
	handlers map[string]handler
	run      func(t *testing.T, s *stand)
}

// TestVectors are the conformance vectors that belong to the gateway and the
// callback API, over real sockets.
func TestVectors(t *testing.T) {
	for _, v := range slices.Concat(handshakeVectors(), messageVectors(), callbackVectors()) {
		t.Run(v.name, func(t *testing.T) { v.run(t, newStand(t, v.handlers, options{}, v.routes...)) })
	}
}

// handshakeVectors: A1 to A13.
func handshakeVectors() []vector {
	connect := lambda("$connect", "connect")
	return []vector{
		{"A1 no $connect route", nil, nil, func(t *testing.T, s *stand) { s.connect() }},
		{"A2 $connect 200", []*model.Route{connect}, map[string]handler{"connect": status(200)}, func(t *testing.T, s *stand) {
			s.connect()
			c := s.next("connect")
			if c.context("eventType") != "CONNECT" || c.context("routeKey") != "$connect" || c.context("domainName") != host {
				t.Fatalf("event %s", c.in.Payload)
			}
			if c.in.Tag != c.connectionID() {
				t.Fatalf("tag %q, connection %q", c.in.Tag, c.connectionID())
			}
		}},
		{"A3 $connect 401", []*model.Route{connect}, map[string]handler{"connect": status(401)}, func(t *testing.T, s *stand) {
			if _, body := s.refused("/prod", nil, 401); body != `{"message":"Unauthorized"}` {
				t.Fatal(body)
			}
		}},
		{"A4 $connect 301", []*model.Route{connect}, map[string]handler{"connect": status(301)}, func(t *testing.T, s *stand) {
			// No redirect is followed: there is no Location header to follow.
			s.refused("/prod", nil, 301)
		}},
		{"A5 $connect throws", []*model.Route{connect}, map[string]handler{"connect": func(*call) any { return failure{"TypeError", "x is not a function"} }}, func(t *testing.T, s *stand) {
			_, body := s.refused("/prod", nil, 502)
			c := s.next("connect")
			want := fmt.Sprintf(`{"message": "Internal server error", "connectionId":"%s", "requestId":"%s"}`, c.connectionID(), c.context("requestId"))
			if body != want {
				t.Fatalf("body %s, want %s", body, want)
			}
			if !strings.Contains(s.logText(), "TypeError: x is not a function") {
				t.Fatal("the log does not say why")
			}
		}},
		{"A6 rejected with a subprotocol", []*model.Route{connect}, map[string]handler{"connect": status(400)}, func(t *testing.T, s *stand) {
			s.refused("/prod", &websocket.DialOptions{Subprotocols: []string{"chat1"}}, 400)
		}},
		{"A7 subprotocol chosen", []*model.Route{connect}, map[string]handler{"connect": func(*call) any {
			return map[string]any{"statusCode": 200, "headers": map[string]string{"sec-websocket-protocol": "myprotocol"}}
		}}, func(t *testing.T, s *stand) {
			c, _, err := s.dial("/prod", &websocket.DialOptions{Subprotocols: []string{"chat1", "myprotocol"}})
			if err != nil || c.Subprotocol() != "myprotocol" {
				t.Fatalf("subprotocol, %v", err)
			}
			if got := s.next("connect").event["headers"].(map[string]any)["Sec-WebSocket-Protocol"]; got != "chat1,myprotocol" {
				t.Fatalf("the event shows %q", got)
			}
		}},
		{"A13 unknown stage", nil, nil, func(t *testing.T, s *stand) {
			resp, body := s.refused("/nope", nil, 403)
			if body != `{"message":"Forbidden"}` || resp.Header.Get("x-amzn-errortype") != "ForbiddenException" || resp.ContentLength != 23 {
				t.Fatalf("%s %v", body, resp.Header)
			}
		}},
	}
}

// messageVectors: routes, frames, closes and two-way replies.
func messageVectors() []vector {
	disconnect := lambda("$disconnect", "disconnect")
	return []vector{
		{"A14 route by exact key", []*model.Route{lambda("join", "join"), lambda("$default", "other")}, nil, func(t *testing.T, s *stand) {
			s.connect().send(`{"action":"join"}`)
			if c := s.next("join"); c.context("routeKey") != "join" || c.event["body"] != `{"action":"join"}` {
				t.Fatalf("event %s", c.in.Payload)
			}
		}},
		{"A15 not JSON", []*model.Route{lambda("join", "join"), lambda("$default", "other")}, nil, func(t *testing.T, s *stand) {
			s.connect().send("hello")
			if c := s.next("other"); c.context("routeKey") != "$default" || c.event["body"] != "hello" {
				t.Fatalf("event %s", c.in.Payload)
			}
		}},
		{"A18 no route and no $default", []*model.Route{lambda("join", "join"), lambda("$connect", "connect")}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			connectionID := s.next("connect").connectionID()
			for _, text := range []string{`{"action":"Join"}`, "hello", ""} {
				c.send(text)
				c.expectError("Forbidden", connectionID)
			}
			c.send(`{"action":"join"}`) // the socket stays open
			s.next("join")
		}},
		{"A19 function throws on a one-way route", []*model.Route{lambda("join", "join")}, map[string]handler{"join": func(*call) any { return failure{"Error", "boom"} }}, func(t *testing.T, s *stand) {
			c := s.connect()
			for range 2 {
				c.send(`{"action":"join"}`)
				c.expectError("Internal server error", s.next("join").connectionID())
			}
		}},
		{"A20 one-way", []*model.Route{lambda("join", "join"), twoWay(lambda("ping", "ping"))}, map[string]handler{"join": reply("never"), "ping": reply("pong")}, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(`{"action":"join"}`)
			s.next("join")
			c.send(`{"action":"ping"}`)
			c.expect("pong") // and nothing before it
		}},
		{"A21 two-way", []*model.Route{twoWay(lambda("ping", "ping"))}, map[string]handler{"ping": reply("pong")}, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(`{"action":"ping"}`)
			c.expect("pong")
		}},
		{"A22 message over 128 KB", []*model.Route{disconnect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			w, err := c.Writer(s.context(), websocket.MessageText)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if _, err := w.Write([]byte(strings.Repeat("x", 32<<10))); err != nil {
					break // closed under us: what this is about
				}
			}
			c.expectClose(1009, "*")
			if got := s.next("disconnect").context("disconnectStatusCode"); got != 1009.0 {
				t.Fatalf("$disconnect says %v", got)
			}
		}},
		{"A23 frame over 32 KB", nil, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(strings.Repeat("x", 40<<10))
			c.expectClose(1009, "*")
		}},
		{"A24 binary frame", []*model.Route{disconnect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			if err := c.Write(s.context(), websocket.MessageBinary, []byte{1}); err != nil {
				t.Fatal(err)
			}
			c.expectClose(1003, "*")
			if got := s.next("disconnect").context("disconnectStatusCode"); got != 1003.0 {
				t.Fatalf("$disconnect says %v", got)
			}
		}},
		{"A35 close without a code", []*model.Route{disconnect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			c.Close(websocket.StatusNoStatusRcvd, "")
			if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1005.0 || d.context("disconnectReason") != "Client-side close frame status not set" {
				t.Fatalf("event %s", d.in.Payload)
			}
		}},
		{"A36 MOCK", []*model.Route{twoWay(&model.Route{Key: "ping", Integration: &model.Integration{
			Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`}, TemplateSelectionExpression: `\$default`,
			Responses: []*model.IntegrationResponse{{Key: "/200/", TemplateSelectionExpression: "200", Templates: map[string]string{"200": `{"pong":true}`}}},
		}})}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(`{"action":"ping"}`)
			c.expect(`{"pong":true}`)
		}},
		{"A41 RouteResponse only", []*model.Route{{Key: "ping", TwoWay: true, Integration: lambda("", "ping").Integration}}, map[string]handler{"ping": reply("pong")}, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(`{"action":"ping"}`)
			c.expect("pong")
		}},
		// A42: a RouteResponseSelectionExpression without a RouteResponse leaves
		// model.Route.TwoWay false; it does not even reach the gateway.
		{"A42 no RouteResponse", []*model.Route{{Key: "ping", TwoWay: false, Integration: lambda("", "ping").Integration}, twoWay(lambda("end", "end"))}, map[string]handler{"ping": reply("pong"), "end": reply("end")}, func(t *testing.T, s *stand) {
			c := s.connect()
			c.send(`{"action":"ping"}`)
			s.next("ping")
			c.send(`{"action":"end"}`)
			c.expect("end")
		}},
	}
}

// callbackVectors: @connections.
func callbackVectors() []vector {
	connect := lambda("$connect", "connect")
	disconnect := lambda("$disconnect", "disconnect")
	return []vector{
		{"A27 POST", []*model.Route{connect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			connectionID := s.next("connect").connectionID()
			resp, body := s.callback("POST", connectionID, "someone", []byte("hello"))
			if resp.StatusCode != 200 || body != "" || resp.ContentLength != 0 || resp.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
			c.expect("hello")
		}},
		{"A28 POST to a closed connection", []*model.Route{connect, disconnect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			connectionID := s.next("connect").connectionID()
			c.Close(1000, "bye")
			if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1000.0 || d.context("disconnectReason") != "bye" {
				t.Fatalf("event %s", d.in.Payload)
			}
			for _, method := range []string{"POST", "GET", "DELETE"} {
				resp, body := s.callback(method, connectionID, "someone", nil)
				if resp.StatusCode != 410 || body != "" || resp.Header.Get("x-amzn-errortype") != "GoneException" || resp.ContentLength != 0 {
					t.Fatalf("%s: %d %q %v", method, resp.StatusCode, body, resp.Header)
				}
			}
		}},
		{"A29 text after the id", []*model.Route{connect}, nil, func(t *testing.T, s *stand) {
			s.connect()
			connectionID := s.next("connect").connectionID() + "x"
			resp, body := s.callback("POST", connectionID, "someone", []byte("hello"))
			if resp.StatusCode != 400 || body != `{"message":"Invalid connectionId: `+connectionID+`"}` || resp.Header.Get("x-amzn-errortype") != "BadRequestException" {
				t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
		}},
		{"A30 payload over 128 KB", []*model.Route{connect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			connectionID := s.next("connect").connectionID()
			big := []byte(strings.Repeat("x", 128<<10))
			if resp, _ := s.callback("POST", connectionID, "someone", big); resp.StatusCode != 200 {
				t.Fatalf("131072 bytes: %d", resp.StatusCode)
			}
			c.expect(string(big))
			resp, body := s.callback("POST", connectionID, "someone", append(big, 'x'))
			if resp.StatusCode != 413 || resp.Header.Get("x-amzn-errortype") != "PayloadTooLargeException" || !strings.Contains(body, `"message"`) {
				t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
		}},
		{"A31 DELETE", []*model.Route{connect, disconnect}, nil, func(t *testing.T, s *stand) {
			c := s.connect()
			connectionID := s.next("connect").connectionID()
			resp, body := s.callback("DELETE", connectionID, "someone", nil)
			if resp.StatusCode != 204 || body != "" || resp.Header.Get("Content-Type") != "" {
				t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
			}
			c.expectClose(1000, "Connection Closed Normally")
			if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1000.0 || d.context("disconnectReason") != "Connection Closed Normally" {
				t.Fatalf("event %s", d.in.Payload)
			}
		}},
		{"A32 GET", []*model.Route{connect}, nil, func(t *testing.T, s *stand) {
			c, _, err := s.dial("/prod", &websocket.DialOptions{HTTPHeader: http.Header{"User-Agent": {"acme-client/2.4"}}})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			resp, body := s.callback("GET", s.next("connect").connectionID(), "someone", nil)
			const stamp = `"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`
			want := "^{\n  \"identity\" : {\n    \"sourceIp\" : \"127.0.0.1\",\n    \"userAgent\" : \"acme-client/2.4\"\n  },\n  \"connectedAt\" : " + stamp + ",\n  \"lastActiveAt\" : " + stamp + "\n}$"
			if resp.StatusCode != 200 || !regexp.MustCompile(want).MatchString(body) || resp.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
		}},
	}
}

func TestVectorsOfSelection(t *testing.T) {
	for _, v := range []struct{ name, expr, key, message string }{
		{"A16", "${request.body.service}/${request.body.action}", "chat/join", `{"service":"chat","action":"join"}`},
		{"A17", "${request.body.action}-${request.body.no}", "join-", `{"action":"join"}`},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := newStand(t, nil, options{})
			app := testApp(lambda(v.key, "taken"))
			app.APIs[0].RouteSelectionExpression = v.expr
			s.deploy(app)
			s.connect().send(v.message)
			if c := s.next("taken"); c.context("routeKey") != v.key {
				t.Fatalf("routeKey %v", c.context("routeKey"))
			}
		})
	}
}

// A25: ten minutes without traffic, compressed to 100 ms.
func TestVectorA25IdleTimeout(t *testing.T) {
	s := newStand(t, nil, options{scale: 6000}, lambda("$disconnect", "disconnect"))
	c := s.connect()
	c.expectClose(1001, "Going away")
	if d := s.next("disconnect"); d.context("disconnectStatusCode") != 1001.0 || d.context("disconnectReason") != "Going away" {
		t.Fatalf("event %s", d.in.Payload)
	}
}

// A26: two hours of activity, compressed to half a second. The idle limit is off,
// so that only the lifetime can end the connection, however slow this machine is.
func TestVectorA26Lifetime(t *testing.T) {
	s := newStand(t, nil, options{scale: 14_400, limits: &gateway.Limits{Lifetime: 2 * time.Hour}}, lambda("$disconnect", "disconnect"), lambda("join", "join"))
	c := s.connect()
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if c.Write(s.context(), websocket.MessageText, []byte(`{"action":"join"}`)) != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()
	started := time.Now()
	c.expectClose(1001, "Going away")
	close(stop)
	if lived := time.Since(started); lived < 400*time.Millisecond {
		t.Fatalf("closed after %v, before its time", lived)
	}
	if d := s.next("disconnect"); d.context("disconnectReason") != "Going away" {
		t.Fatalf("event %s", d.in.Payload)
	}
}

// A33, and the other half of the rule: a post from inside a connection's own
// $connect is 410 at once; one from anybody else waits for the 101.
func TestVectorA33PostDuringConnect(t *testing.T) {
	own, others := make(chan int, 1), make(chan int, 1)
	var took time.Duration
	release := make(chan struct{})
	stands := make(chan *stand, 1)
	route := lambda("$connect", "connect")
	route.Integration.Timeout = 3 * time.Second // the default of a function: holding the first post would run into it
	s := newStand(t, map[string]handler{"connect": func(c *call) any {
		s := <-stands
		started := time.Now()
		resp, _ := s.callback("POST", c.connectionID(), "connect", []byte("from inside"))
		took = time.Since(started)
		own <- resp.StatusCode
		<-release
		return map[string]any{"statusCode": 200}
	}}, options{}, route)
	stands <- s
	go func() {
		c := s.next("connect")
		if code := <-own; code != 410 || took > time.Second {
			t.Errorf("a post from inside $connect: %d after %v, want 410 at once", code, took)
		}
		held := make(chan struct{})
		go func() {
			resp, _ := s.callback("POST", c.connectionID(), "stream", []byte("welcome"))
			others <- resp.StatusCode
			close(held)
		}()
		select {
		case <-held:
			t.Error("a post by somebody else was answered before the 101")
		case <-time.After(100 * time.Millisecond):
		}
		close(release)
	}()
	c := s.connect()
	c.expect("welcome")
	if code := <-others; code != 200 {
		t.Errorf("the held post: %d, want 200", code)
	}
}

func TestConnectFailures(t *testing.T) {
	for _, v := range []struct {
		name string
		h    handler
		want int
		body string
	}{
		{"null result", func(*call) any { return nil }, 502, "*"},
		{"no statusCode", func(*call) any { return map[string]any{} }, 502, "*"},
		{"text result", func(*call) any { return "ok" }, 502, "*"},
		{"object body", func(*call) any { return map[string]any{"statusCode": 200, "body": map[string]any{}} }, 502, "*"},
		{"statusCode 999", status(999), 502, "*"},
		{"statusCode 501", status(501), 501, `{"message":"Not Implemented"}`},
		{"throttled", func(*call) any { return fault.New(fault.Throttled, "queue full") }, 429, `{"message":"Too Many Requests"}`},
		{"no such function", func(*call) any { return fault.New(fault.NotFound, "no function") }, 500, `{"message":"Internal server error"}`},
		{"runtime broke", func(*call) any { return errors.New("pipe") }, 500, `{"message":"Internal server error"}`},
	} {
		t.Run(v.name, func(t *testing.T) {
			s := newStand(t, map[string]handler{"connect": v.h}, options{}, lambda("$connect", "connect"), lambda("$disconnect", "disconnect"))
			if _, body := s.refused("/prod", nil, v.want); v.body != "*" && body != v.body {
				t.Fatalf("body %s", body)
			}
			s.next("connect")
			if n := s.gateway.Stats(); n.Refused != 1 || n.Connects != 0 {
				t.Fatalf("stats %+v", n)
			}
			select {
			case c := <-s.calls:
				t.Fatalf("%s ran for a refused handshake", c.function)
			default:
			}
		})
	}
}

func TestConnectTimesOut(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	route := lambda("$connect", "connect")
	route.Integration.Timeout = 50 * time.Millisecond
	s := newStand(t, map[string]handler{"connect": func(*call) any { <-stop; return nil }}, options{}, route)
	if _, body := s.refused("/prod", nil, 504); body != `{"message":"Endpoint request timed out"}` {
		t.Fatal(body)
	}
}

// The largest message that may come in must fit into what may wait to go out: one
// of exactly 1 MiB was published, and lost for everybody in the channel.
func TestLargestMessageReachesSubscribers(t *testing.T) {
	limits := gateway.OpenLimits()
	s := newStand(t, nil, options{limits: &limits},
		&model.Route{Key: "join", TwoWay: true, Channel: &model.Channel{Action: model.Join, Name: "news"}},
		&model.Route{Key: "say", Channel: &model.Channel{Action: model.Publish, Name: "news"}})
	c := s.connect()
	c.send(`{"action":"join"}`)
	if _, _, err := c.Read(s.context()); err != nil {
		t.Fatal(err)
	}
	head := `{"action":"say","x":"`
	msg := head + strings.Repeat("x", limits.Message-len(head)-2) + `"}`
	c.send(msg)
	_, got, err := c.Read(s.context())
	if err != nil || string(got) != msg {
		t.Fatalf("%d bytes, %v; %+v", len(got), err, s.gateway.Stats())
	}
}
