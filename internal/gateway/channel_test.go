package gateway

import (
	"slices"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/model"
)

// loops run fan-out tasks at once.
type loops struct{}

func (loops) Shards() int { return 2 }
func (loops) Post(_ int, task func(func() bool) bool) {
	for !task(func() bool { return false }) {
	}
}

func channelRoute(key string, action model.ChannelAction, name string) *model.Route {
	return &model.Route{Key: key, Channel: &model.Channel{Action: action, Name: name}}
}

func channelGateway(t testing.TB, logs func(model.LogLine), routes ...*model.Route) (*Gateway, *fanout.Hub) {
	t.Helper()
	g := newGateway(t, nil, logs)
	hub := fanout.New(fanout.Config{Loops: loops{}})
	g.cfg.Channels = func(apiID, stage string) Channels {
		if apiID != "k3v9x1m2qz" || stage != "prod" {
			t.Errorf("channels of %s/%s", apiID, stage)
		}
		return hub
	}
	g.current.Store(nil)
	deploy(t, g, routes...)
	return g, hub
}

func TestChannelRoutes(t *testing.T) {
	joined := channelRoute("joinTwoWay", model.Join, "news/${request.body.ch}")
	joined.TwoWay = true
	g, hub := channelGateway(t, nil,
		channelRoute("join", model.Join, "news/${request.body.ch}"), joined,
		channelRoute("leave", model.Leave, "news/${request.body.ch}"),
		channelRoute("say", model.Publish, "news/${request.body.ch}"),
		channelRoute("mine", model.Join, "to/${context.connectionId}"),
		channelRoute("tell", model.Publish, "to/${request.body.id}"))
	la, lb := &fakeLink{}, &fakeLink{}
	a, b := enter(t, g, la), enter(t, g, lb)
	expect := func(l *fakeLink, want ...string) {
		t.Helper()
		l.mu.Lock()
		defer l.mu.Unlock()
		if !slices.Equal(l.sent, want) {
			t.Fatalf("sent %q, want %q", l.sent, want)
		}
		l.sent = nil
	}
	a.onMessage([]byte(`{"action":"join","ch":"a"}`), false)
	expect(la) // one-way
	b.onMessage([]byte(`{"action":"joinTwoWay","ch":"a\"b"}`), false)
	expect(lb, `{"action":"join","channel":"news/a\"b"}`)
	b.onMessage([]byte(`{"action":"joinTwoWay","ch":"a"}`), false)
	expect(lb, `{"action":"join","channel":"news/a"}`)
	const say = `{"action":"say", "ch":"a","x":[1]}`
	b.onMessage([]byte(say), false)
	expect(la, say) // as it came, to the sender too
	expect(lb, say)
	a.onMessage([]byte(`{"action":"leave","ch":"a"}`), false)
	a.onMessage([]byte(`{"action":"leave","ch":"a"}`), false) // not in it any more: fine
	b.onMessage([]byte(say), false)
	expect(la)
	expect(lb, say)
	a.onMessage([]byte(`{"action":"mine"}`), false)
	tell := `{"action":"tell","id":"` + a.entry.ID().String() + `"}`
	b.onMessage([]byte(tell), false)
	expect(la, tell)
	if n := g.Stats(); n.Joins != 4 || n.Leaves != 1 || n.Publishes != 3 || n.Deliveries != 4 || n.Errors != 0 {
		t.Errorf("%+v", n)
	}
	lb.full = true
	b.onMessage([]byte(say), false)
	if n := g.Stats(); n.Dropped != 1 {
		t.Errorf("%+v", n)
	}
	a.onClose(1000, "")
	b.onClose(1000, "")
	if n := hub.Stats(); n.Subscriptions != 0 {
		t.Errorf("connections that are gone are still in channels: %+v", n)
	}
}

// Whoever joins after its end was noted must not stay.
func TestJoinAfterTheEnd(t *testing.T) {
	g, hub := channelGateway(t, nil, channelRoute("join", model.Join, "news"))
	s := enter(t, g, &fakeLink{})
	s.over.Store(true) // finish has begun on another goroutine, and saw no channel
	s.onMessage([]byte(`{"action":"join"}`), false)
	if n := hub.Stats(); n.Subscriptions != 0 {
		t.Errorf("%+v", n)
	}
}

func TestBadChannelNames(t *testing.T) {
	var lines []string
	g, hub := channelGateway(t, func(l model.LogLine) { lines = append(lines, l.Level+" "+l.Text) },
		channelRoute("join", model.Join, "news/${request.body.ch}"), channelRoute("wild", model.Publish, "news/*"), channelRoute("$default", model.Join, "x/${request.body.y}"))
	l := &fakeLink{}
	s := enter(t, g, l)
	for body, want := range map[string]string{
		`{"action":"join"}`:             "Invalid channel: ${request.body.ch}",
		`{"action":"join","ch":""}`:     "Invalid channel: ${request.body.ch}",
		`{"action":"join","ch":null}`:   "Invalid channel: ${request.body.ch}",
		`{"action":"join","ch":"a/b"}`:  "Invalid channel: ${request.body.ch}",
		`{"action":"join","ch":"*"}`:    "Invalid channel: ${request.body.ch}",
		`{"action":"join","ch":"a\nb"}`: "control character",
		`{"action":"wild"}`:             "a wildcard stands for many",
		`no JSON`:                       "Invalid channel: ${request.body}",
		`{"action":"join","ch":["a","` + strings.Repeat("b", 2000) + `"]}`: "at most",
	} {
		l.sent = nil
		s.onMessage([]byte(body), false)
		if len(l.sent) != 1 || !strings.Contains(l.sent[0], want) || !strings.HasPrefix(l.sent[0], `{"message": "`) || !strings.Contains(l.sent[0], `"connectionId":"`+s.entry.ID().String()) {
			t.Errorf("%.60s: %q, want %q", body, l.sent, want)
		}
	}
	if hub.Stats().Subscriptions != 0 || len(lines) == 0 {
		t.Errorf("%+v %q", hub.Stats(), lines)
	}
}

// The channel comes first, then the integration runs and answers.
func TestChannelWithIntegration(t *testing.T) {
	both := channelRoute("say", model.Publish, "news")
	both.Integration, both.TwoWay = mockRoute.Integration, true
	g, _ := channelGateway(t, nil, channelRoute("join", model.Join, "news"), both)
	l := &fakeLink{}
	s := enter(t, g, l)
	s.onMessage([]byte(`{"action":"join"}`), false)
	s.onMessage([]byte(`{"action":"say"}`), false)
	if want := []string{`{"action":"say"}`, strings.Repeat("x", 128)}; !slices.Equal(l.sent, want) {
		t.Errorf("%q", l.sent)
	}
}

// What a client is told of its channel's name, it must not be told of what is wrong
// with the integration behind the channel.
func TestFailureBehindAChannel(t *testing.T) {
	picky := *mockRoute.Integration
	picky.LogicalID, picky.PassthroughBehavior = "Secret", "NEVER"
	picky.TemplateSelectionExpression, picky.RequestTemplates = "$request.body.kind", map[string]string{"known": `{"statusCode":200}`}
	both := channelRoute("say", model.Publish, "news")
	both.Integration = &picky
	g, _ := channelGateway(t, nil, both)
	l := &fakeLink{}
	s := enter(t, g, l)
	s.onMessage([]byte(`{"action":"say","kind":"unknown"}`), false)
	if len(l.sent) != 1 || !strings.Contains(l.sent[0], textUnsupported) {
		t.Errorf("%q", l.sent)
	}
	finish(t, g, s)
}

// A client that asks for more than it may have must not fill a quiet log.
func TestQuietAboutGreedyClients(t *testing.T) {
	g, _ := channelGateway(t, func(line model.LogLine) { t.Errorf("%+v", line) })
	g.verbose = false
	g.cfg.Channels = func(string, string) Channels { return fanout.New(fanout.Config{Loops: loops{}, PerSink: 1}) }
	g.current.Store(nil)
	deploy(t, g, channelRoute("join", model.Join, "news/${request.body.ch}"))
	l := &fakeLink{}
	s := enter(t, g, l)
	s.onMessage([]byte(`{"action":"join","ch":"a"}`), false)
	s.onMessage([]byte(`{"action":"join","ch":"b"}`), false)
	if len(l.sent) != 1 || !strings.Contains(l.sent[0], textThrottled) {
		t.Errorf("%q", l.sent)
	}
	finish(t, g, s)
}

func TestChannelsThatAreNotServed(t *testing.T) {
	g, l, s := open(t, nil, nil, channelRoute("join", model.Join, "news"))
	s.onMessage([]byte(`{"action":"join"}`), false)
	if len(l.sent) != 1 || !strings.Contains(l.sent[0], textInternal) {
		t.Errorf("%q", l.sent)
	}
	finish(t, g, s)
}
