package gateway_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// Messages are handed to the runtime in order of arrival, and the end comes last,
// although each of them may take as long as it likes.
func TestHandOverInOrder(t *testing.T) {
	const n = 500
	var mu sync.Mutex
	var order []string
	s := newStand(t, nil, options{}, lambda("$default", "all"), lambda("$disconnect", "all"))
	c := s.connect()
	for i := range n {
		c.send(fmt.Sprint(i))
	}
	c.Close(1000, "")
	for range n + 1 {
		got := s.next("all")
		mu.Lock()
		if b, ok := got.event["body"].(string); ok {
			order = append(order, b)
		} else {
			order = append(order, "end")
		}
		mu.Unlock()
	}
	for i := range n {
		if order[i] != fmt.Sprint(i) {
			t.Fatalf("message %d was handed over at place %d", i, slices.Index(order, fmt.Sprint(i)))
		}
	}
	if order[n] != "end" {
		t.Fatal("$disconnect overtook a message")
	}
}

// Messages of one connection run side by side; the 65th waits in the socket.
func TestReadsPauseBeyondTheBound(t *testing.T) {
	release := make(chan struct{})
	s := newStand(t, map[string]handler{"slow": func(*call) any { <-release; return map[string]any{"statusCode": 200, "body": "done"} }},
		options{limits: &gateway.Limits{InFlight: 4}}, twoWay(lambda("$default", "slow")))
	c := s.connect()
	for range 20 {
		c.send("x")
	}
	for range 4 {
		s.next("slow")
	}
	select {
	case <-s.calls:
		t.Fatal("a fifth message was handed over")
	case <-time.After(100 * time.Millisecond):
	}
	if n := s.gateway.Stats().InFlight; n != 4 {
		t.Fatalf("%d in flight, want 4", n)
	}
	close(release)
	for range 20 {
		c.expect("done")
	}
}

func TestErrorFrames(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	slow := lambda("slow", "slow")
	slow.Integration.Timeout = 50 * time.Millisecond
	unbuilt := &model.Route{Key: "aws", Integration: &model.Integration{LogicalID: "Queue", Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:sqs:path/x/y"}}
	never := &model.Route{Key: "never", Integration: &model.Integration{LogicalID: "Never", Type: model.Mock, PassthroughBehavior: "NEVER"}}
	s := newStand(t, map[string]handler{
		"slow": func(*call) any { <-stop; return nil },
		"full": func(*call) any { return fault.New(fault.Throttled, "the queue of full is full") },
		"big":  reply(strings.Repeat("x", 128<<10+1)),
		"bin":  func(*call) any { return map[string]any{"body": "/w==", "isBase64Encoded": true} },
		"null": func(*call) any { return nil },
		"mt":   func(*call) any { return map[string]any{} },
		"fail": func(*call) any { return map[string]any{"statusCode": 500, "body": "sorry"} },
	}, options{}, slow, lambda("full", "full"), twoWay(lambda("big", "big")), twoWay(lambda("bin", "bin")), unbuilt, never, &model.Route{Key: "bare"},
		twoWay(lambda("null", "null")), twoWay(lambda("mt", "mt")), twoWay(lambda("fail", "fail")), lambda("$connect", "connect"))
	c := s.connect()
	connectionID := s.next("connect").connectionID()
	for _, v := range []struct{ action, frame, log string }{
		{"slow", "Endpoint request timed out", "no answer within 50ms"},
		{"full", "Too Many Requests", "the queue of full is full"},
		{"big", "Internal server error", "131073 bytes"},
		{"bin", "Internal server error", "not UTF-8 text"},
		{"aws", "Internal server error", "sqs is not supported yet"},
		{"never", "Unsupported Media Type", "no request template fits"},
		{"bare", "Internal server error", "has no integration"},
	} {
		c.send(`{"action":"` + v.action + `"}`)
		c.expectError(v.frame, connectionID)
		if !strings.Contains(s.logText(), v.log) {
			t.Errorf("%s: the log lacks %q", v.action, v.log)
		}
	}
	// Nothing is sent for a null or empty result; a two-way status does not matter.
	c.send(`{"action":"null"}`)
	s.next("null")
	c.send(`{"action":"mt"}`)
	s.next("mt")
	c.send(`{"action":"fail"}`)
	c.expect("sorry")
}

func TestReservedKeysDoNotRun(t *testing.T) {
	s := newStand(t, nil, options{}, append(connectAndDisconnect(), lambda("$default", "default"))...)
	c := s.connect()
	for _, key := range []string{"$connect", "$disconnect"} {
		c.send(`{"action":"` + key + `"}`)
		if got := s.next("default"); got.context("routeKey") != "$default" {
			t.Fatalf("%s: %s", key, got.in.Payload)
		}
	}
}

func TestConnectRouteWithoutTarget(t *testing.T) {
	newStand(t, nil, options{}, &model.Route{Key: "$connect"}).connect()
}

// Clients fail a connection whose subprotocol they did not offer (RFC 6455 §4.1).
func TestSubprotocolThatWasNotOffered(t *testing.T) {
	s := newStand(t, map[string]handler{"connect": func(*call) any {
		return map[string]any{"statusCode": 200, "headers": map[string]string{"Sec-WebSocket-Protocol": "other\r\nX-Evil: 1"}}
	}}, options{}, lambda("$connect", "connect"))
	for _, offered := range [][]string{nil, {"chat"}} {
		c, resp, err := s.dial("/prod", &websocket.DialOptions{Subprotocols: offered})
		if err != nil || c.Subprotocol() != "" || resp.Header.Get("X-Evil") != "" {
			t.Fatalf("offered %v: %v, %v", offered, resp, err)
		}
	}
	if !strings.Contains(s.logText(), "not one of those offered") {
		t.Fatalf("log: %s", s.logText())
	}
}

// A client may offer what is no token, and a function may echo it. Sent in the 101
// it made the engine refuse its own answer: the client saw 500, and $disconnect
// ran with 1006 after a $connect that had succeeded.
func TestSubprotocolThatIsNoToken(t *testing.T) {
	s := newStand(t, map[string]handler{"connect": func(*call) any {
		return map[string]any{"statusCode": 200, "headers": map[string]string{"Sec-WebSocket-Protocol": "a/b"}}
	}}, options{}, lambda("$connect", "connect"))
	c, resp, err := s.dial("/prod", &websocket.DialOptions{Subprotocols: []string{"a/b"}})
	if err != nil || c.Subprotocol() != "" {
		t.Fatalf("%v, %v", resp, err)
	}
	if !strings.Contains(s.logText(), "is no token") {
		t.Fatalf("log: %s", s.logText())
	}
}

func TestRequiredParameters(t *testing.T) {
	r := lambda("$connect", "connect")
	r.RequestParameters = map[string]bool{"route.request.querystring.token": true, "route.request.header.X-A": true, "route.request.querystring.other": false}
	s := newStand(t, nil, options{}, r)
	if _, body := s.refused("/prod", nil, 400); !strings.Contains(body, "[X-A, token]") {
		t.Fatal(body)
	}
	if _, _, err := s.dial("/prod?token=", &websocket.DialOptions{HTTPHeader: http.Header{"x-a": {"1"}}}); err != nil {
		t.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	for _, v := range []struct {
		host, path string
		want       string // domainName, or a status
	}{
		{host, "/prod", host},
		{host, "/prod/", host},
		{"localhost:3001", "/prod", host},
		{"127.0.0.1:3001", "/k3v9x1m2qz/prod", host},
		{"k3v9x1m2qz.localhost", "/prod", host},
		{"ws.example.test", "/", "ws.example.test"},
		{"WS.example.test:443", "/", "ws.example.test"},
		{host, "/prod/more", "403"},
		{host, "/", "403"},
		{host, "/idle", "403"}, // no deployment behind it
		{"other.execute-api.eu-west-1.amazonaws.com", "/prod", "403"},
		{"ws.example.test", "/prod", "403"}, // no stage in a custom domain's URL
	} {
		t.Run(v.host+v.path, func(t *testing.T) {
			s := newStand(t, nil, options{})
			app := testApp(lambda("$connect", "connect"))
			app.APIs[0].Stages = append(app.APIs[0].Stages, &model.Stage{Name: "idle"})
			app.Domains = []*model.Domain{{Name: "ws.example.test", Mappings: []model.Mapping{{APIID: "k3v9x1m2qz", Stage: "prod"}}}}
			s.deploy(app)
			if v.want == "403" {
				s.refused(v.path, &websocket.DialOptions{Host: v.host}, 403)
				return
			}
			if _, _, err := s.dial(v.path, &websocket.DialOptions{Host: v.host}); err != nil {
				t.Fatal(err)
			}
			c := s.next("connect")
			if c.context("domainName") != v.want || c.event["headers"].(map[string]any)["Host"] != v.want {
				t.Fatalf("event %s", c.in.Payload)
			}
		})
	}
	t.Run("DisableExecuteApiEndpoint", func(t *testing.T) {
		s := newStand(t, nil, options{})
		app := testApp()
		app.APIs[0].DisableExecuteAPIEndpoint = true
		s.deploy(app)
		s.refused("/prod", nil, 403)
	})
}

// HTTP_PROXY on $connect: the back end's status decides.
func TestHTTPBackendDecidesTheHandshake(t *testing.T) {
	var status int
	backend := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-WebSocket-Key") == "" || r.ContentLength > 0 {
			t.Errorf("the back end got %v", r.Header)
		}
		w.Header().Set("Location", "http://169.254.169.254/")
		w.WriteHeader(status)
		io.WriteString(w, "body")
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go backend.Serve(ln)
	defer backend.Close()
	s := newStand(t, nil, options{}, &model.Route{Key: "$connect", Integration: &model.Integration{Type: model.HTTPProxy, URI: "http://" + ln.Addr().String() + "/in"}})
	status = 204
	s.connect()
	for _, status = range []int{302, 403, 500} {
		s.refused("/prod", nil, status)
	}
}

// One publish reaches every subscriber, as it came, over real sockets.
func TestChannelReachesEverybody(t *testing.T) {
	join := &model.Route{Key: "join", TwoWay: true, Channel: &model.Channel{Action: model.Join, Name: "news/${request.body.ch}"}}
	say := &model.Route{Key: "say", Channel: &model.Channel{Action: model.Publish, Name: "news/${request.body.ch}"}}
	s := newStand(t, nil, options{}, join, say)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = s.connect()
		clients[i].send(fmt.Sprintf(`{"action":"join","ch":"%d"}`, i%2))
		clients[i].expect(fmt.Sprintf(`{"action":"join","channel":"news/%d"}`, i%2))
	}
	const text = `{"action":"say","ch":"1", "text":"hello"}`
	for range 3 {
		clients[0].send(text)
	}
	for i, c := range clients {
		if i%2 == 1 {
			for range 3 {
				c.expect(text)
			}
		}
	}
	if n := s.gateway.Stats(); n.Joins != 20 || n.Publishes != 3 || n.Deliveries != 30 {
		t.Errorf("%+v", n)
	}
}
