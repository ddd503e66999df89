package gateway_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// A function gets a binary message in base64, and answers with bytes the same way.
func TestBinaryMessagesOfFunctions(t *testing.T) {
	raw := []byte{0, 0xff, 0xfe, 'x'}
	limits := gateway.OpenLimits()
	s := newStand(t, map[string]handler{"all": func(c *call) any {
		return map[string]any{"statusCode": 200, "body": c.event["body"], "isBase64Encoded": c.event["isBase64Encoded"]}
	}}, options{limits: &limits}, twoWay(lambda("$default", "all")))
	c := s.connect()
	c.exchange(raw, raw)
	if got := s.next("all").event; got["isBase64Encoded"] != true || got["body"] != base64.StdEncoding.EncodeToString(raw) {
		t.Fatalf("event %v", got)
	}
	c.send("text")
	c.expect("text")
	if got := s.next("all").event; got["isBase64Encoded"] != false || got["body"] != "text" {
		t.Fatalf("event %v", got)
	}
	if !strings.Contains(s.logText(), "AWS closes the connection with 1003") {
		t.Error("nothing warns of AWS")
	}
}

// exchange sends a binary message and expects another.
func (c *client) exchange(send, want []byte) {
	c.s.t.Helper()
	if err := c.Write(c.s.context(), websocket.MessageBinary, send); err != nil {
		c.s.t.Fatal(err)
	}
	kind, got, err := c.Read(c.s.context())
	if err != nil || kind != websocket.MessageBinary || string(got) != string(want) {
		c.s.t.Fatalf("%v %q %v, want %q", kind, got, err, want)
	}
}

// An HTTP back end gets the bytes, and a channel passes them on. JSON in a binary frame
// is routed like JSON.
func TestBinaryMessagesElsewhere(t *testing.T) {
	got := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
		w.Write([]byte{0xff, 0xfe})
	}))
	defer backend.Close()
	limits := gateway.OpenLimits()
	s := newStand(t, nil, options{limits: &limits},
		&model.Route{Key: "join", TwoWay: true, Channel: &model.Channel{Action: model.Join, Name: "news"}},
		&model.Route{Key: "say", Channel: &model.Channel{Action: model.Publish, Name: "news"}},
		twoWay(&model.Route{Key: "$default", Integration: &model.Integration{Type: model.HTTPProxy, URI: backend.URL}}))
	c := s.connect()
	c.send(`{"action":"join"}`)
	c.receive()
	say := []byte(`{"action":"say"}`)
	c.exchange(say, say)
	c.exchange([]byte{1, 0xff}, []byte{0xff, 0xfe})
	if body := <-got; body != "\x01\xff" {
		t.Fatalf("the back end got %q", body)
	}
}

// What AWS would not take is said in the log, where the limits let it through.
func TestPayloadsThatFailOnAWS(t *testing.T) {
	limits := gateway.OpenLimits()
	s := newStand(t, map[string]handler{"big": reply(strings.Repeat("y", 100<<10))}, options{limits: &limits}, lambda("$default", "all"), twoWay(lambda("big", "big")))
	c := s.connect()
	for _, v := range []struct {
		size int
		want string
	}{
		{32 << 10, ""},
		{32<<10 + 1, "a message of 32769 bytes; AWS closes the connection with 1009 if a frame has more than 32768"},
		{128<<10 + 1, "a message of 131073 bytes; AWS closes the connection with 1009 above 131072"},
	} {
		c.send(strings.Repeat("x", v.size))
		s.next("all")
		if log := s.logText(); v.want == "" && strings.Contains(log, "AWS") || !strings.Contains(log, v.want) {
			t.Errorf("%d bytes: the log should have %q: %s", v.size, v.want, log)
		}
	}
}

// Every limit can be set alone.
func TestLimitsOneByOne(t *testing.T) {
	l := gateway.OpenLimits()
	l.Frame = 100
	s := newStand(t, nil, options{limits: &l})
	c := s.connect()
	c.send(strings.Repeat("x", 101))
	c.expectClose(1009, "*")
	l = gateway.OpenLimits()
	l.Message = 100
	s = newStand(t, nil, options{limits: &l})
	c = s.connect()
	c.send(strings.Repeat("x", 101))
	c.expectClose(1009, "*")
	l = gateway.OpenLimits()
	l.Binary = false
	s = newStand(t, nil, options{limits: &l})
	c = s.connect()
	if err := c.Write(s.context(), websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	c.expectClose(1003, "*")
}
