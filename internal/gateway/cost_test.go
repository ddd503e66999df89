package gateway

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

// crowd opens n connections with their own addresses and one user agent each of a
// few, as a public site has them, all on one link.
func crowd(t testing.TB, g *Gateway, n int) []*session {
	t.Helper()
	agents := make([]string, 20)
	for i := range agents {
		agents[i] = strings.Repeat("Mozilla/5.0 ", 10)[:118] + fmt.Sprintf("%02d", i)
	}
	u := &fakeUpgrade{link: &sink{}}
	all := make([]*session, n)
	for i := range all {
		// A string of its own per handshake, as a parser makes it.
		agent := strings.Clone(agents[i%len(agents)])
		g.serve(&handshake{
			host: "localhost", path: "/prod", remote: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}),
			at: time.UnixMilli(1754395986101 + int64(i)), headers: head{{Name: "User-Agent", Value: agent}},
		}, u)
		all[i] = u.session
	}
	return all
}

func liveHeap() int64 {
	for range 3 { // a pool's victims need two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An idle connection costs this package and the registry one object, its place in
// the registry's table and a share of an interned user agent. It is counted twice
// in memory, because the collector runs when the heap has doubled.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const n, most = 50_000, 200
	g := newGateway(t, nil, nil, mockRoute)
	deploy(t, g, mockRoute)
	before := liveHeap()
	all := crowd(t, g, n)
	per := (liveHeap() - before - int64(len(all))*int64(unsafe.Sizeof(all[0]))) / n
	t.Logf("%d bytes of live heap per connection; a session has %d", per, unsafe.Sizeof(session{}))
	if per > most {
		t.Errorf("%d bytes of live heap per idle connection; at most %d", per, most)
	}
	if e := &all[n-1].entry; e.UserAgent() == "" || e.SourceIP().String() != "10.0.195.79" || e.ConnectedAt() != 1754395986101+n-1 {
		t.Errorf("%q %v %v", e.UserAgent(), e.SourceIP(), e.ConnectedAt())
	}
	if g.cfg.Registry.Count() != n || g.Stats().Open != n {
		t.Errorf("%d registered, %+v", g.cfg.Registry.Count(), g.Stats())
	}
	for _, s := range all {
		s.onClose(1000, "")
	}
	if n := g.Stats(); n.Open != 0 || n.InFlight != 0 || g.cfg.Registry.Count() != 0 {
		t.Errorf("after all left: %+v", n)
	}
	runtime.KeepAlive(all)
}

// What a connection needed while it worked, it gives back, be it on ordered routes.
func TestWorkLeavesNothingBehind(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		worksAndRests(t, ordered)
	}
}

func worksAndRests(t *testing.T, ordered bool) {
	t.Helper()
	g, _, s := open(t, nil, nil, mockRoute, &model.Route{Key: "$default", Ordered: ordered, Integration: lambdaRoute.Integration})
	for range 100 {
		s.onMessage([]byte("x"), false) // no runtime: each one fails, on a goroutine
	}
	deadline := time.After(10 * time.Second)
	for g.Stats().InFlight > 0 {
		select {
		case <-deadline:
			t.Fatalf("%+v", g.Stats())
		default:
			runtime.Gosched()
		}
	}
	rests := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.busy == nil
	}
	for !rests() { // the goroutine that handed the last one over may be at its last line
		select {
		case <-deadline:
			t.Fatalf("%+v", s.busy)
		default:
			runtime.Gosched()
		}
	}
	finish(t, g, s)
}

// A message that is answered in place is only looked at: nothing is copied.
func TestInstantMessagesDoNotAllocate(t *testing.T) {
	oneWay := *mockRoute
	oneWay.Key, oneWay.TwoWay = "quiet", false
	for name, logs := range map[string]func(model.LogLine){"without logs": nil, "quiet": func(l model.LogLine) { t.Errorf("%+v", l) }} {
		g, s := openOn(t, &sink{}, nil, nil, append(benchRoutes(mockRoute), &oneWay)...)
		g.cfg.Logs = logs
		for _, action := range []string{"ping", "quiet"} {
			msg := benchMessage(action)
			if n := testing.AllocsPerRun(1000, func() { s.onMessage(msg, false) }); n > 0 && !raceEnabled {
				t.Errorf("%s, %s: %v allocations", name, action, n)
			}
		}
		if n := g.Stats(); n.Messages == 0 || n.Messages != n.Instant || n.Replies == 0 || n.Errors+n.Dropped != 0 {
			t.Errorf("%s: %+v", name, n)
		}
		finish(t, g, s)
	}
}

// The reader lends its buffer: what is queued must not change when it is used again.
func TestQueuedMessagesAreCopied(t *testing.T) {
	route := *lambdaRoute
	route.Key = "$default"
	got := make(chan string, 2)
	place := make(chan struct{})
	g, _, s := open(t, echoPayload(got, place), nil, &route)
	buf := []byte("first")
	s.onMessage(buf, false)
	copy(buf, "XXXXX")
	s.onMessage(buf, false)
	copy(buf, "YYYYY")
	close(place)
	for _, want := range []string{`"body":"first"`, `"body":"XXXXX"`} {
		if in := <-got; !strings.Contains(in, want) {
			t.Errorf("%s, want %s", in, want)
		}
	}
	finish(t, g, s)
}

// benchGateway is one with n routes, MOCK echo among them, and limits that are looked
// at and never reached.
func benchGateway(b testing.TB, n int, throttled bool) (*Gateway, *session) {
	b.Helper()
	routes := []*model.Route{mockRoute}
	for i := range n - 1 {
		other := *mockRoute
		other.Key = fmt.Sprint("other", i)
		routes = append(routes, &other)
	}
	limits := AWSLimits()
	limits.Requests, limits.Connects = model.Throttle{}, model.Throttle{}
	stage := &model.Stage{Name: "prod", Deployed: true}
	if throttled {
		most := model.RouteSettings{Rate: 1e9, Burst: 1 << 30}
		limits.Requests, stage.Default, stage.Routes = model.Throttle{Rate: 1e9, Burst: 1 << 30}, most, map[string]model.RouteSettings{"ping": most}
	}
	g := newGateway(b, nil, nil, routes...)
	g.limits, g.requests = limits, bound.NewRate(limits.Requests.Rate, limits.Requests.Burst)
	if err := g.Deploy(&model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{
		ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Routes: routes, Stages: []*model.Stage{stage},
	}}}); err != nil {
		b.Fatal(err)
	}
	return g, enter(b, g, &sink{})
}

// BenchmarkRoutes: the cost of choosing does not grow with the number of routes, and
// account, stage and route throttles cost three subtractions.
func BenchmarkRoutes(b *testing.B) {
	for _, n := range []int{10, 300} {
		for name, throttled := range map[string]bool{"": false, "/throttled": true} {
			b.Run(fmt.Sprint(n)+name, func(b *testing.B) {
				g, s := benchGateway(b, n, throttled)
				msg := benchMessage("ping")
				b.ReportAllocs()
				for b.Loop() {
					s.onMessage(msg, false)
				}
				b.StopTimer()
				if n := g.Stats(); n.Throttled != 0 || n.Replies != n.Messages {
					b.Fatalf("%+v", n)
				}
				finish(b, g, s)
			})
		}
	}
}

// Throttles and counters by route do not allocate either.
func TestThrottledMessagesDoNotAllocate(t *testing.T) {
	g, s := benchGateway(t, 300, true)
	msg := benchMessage("ping")
	if n := testing.AllocsPerRun(1000, func() { s.onMessage(msg, false) }); n > 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	finish(t, g, s)
}

// BenchmarkHandshake is the gateway's part of a connection that comes and goes on a
// stage without $connect.
func BenchmarkHandshake(b *testing.B) {
	g := newGateway(b, nil, nil, benchRoutes(mockRoute)...)
	u := &fakeUpgrade{link: &sink{}}
	fields := head{
		{Name: "Host", Value: "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"}, {Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"},
		{Name: "Sec-WebSocket-Key", Value: "bW9ja2tleW1vY2trZXkxMg=="}, {Name: "Sec-WebSocket-Version", Value: "13"}, {Name: "User-Agent", Value: strings.Repeat("u", 120)},
	}
	h := &handshake{host: fields[0].Value, path: "/prod", remote: netip.MustParseAddr("10.1.2.3"), at: time.Now(), headers: fields}
	b.ReportAllocs()
	for b.Loop() {
		g.serve(h, u)
		u.session.onClose(1000, "")
	}
	b.StopTimer()
	if n := g.Stats(); u.detached != 0 || n.Connects != n.Disconnects || n.Connects == 0 {
		b.Fatalf("%+v", n)
	}
}

// Only what takes time leaves the event loop.
func TestHandshakesThatWaitAreDetached(t *testing.T) {
	connect := &model.Route{Key: "$connect", Integration: lambdaRoute.Integration}
	mock := &model.Route{Key: "$connect", Integration: mockRoute.Integration}
	end := &model.Route{Key: "$disconnect", Integration: lambdaRoute.Integration}
	for _, v := range []struct {
		name    string
		routes  []*model.Route
		journal Journal
		want    int
	}{
		{"nothing", nil, nil, 0},
		{"a route without target", []*model.Route{{Key: "$connect"}}, nil, 0},
		{"a mock", []*model.Route{mock}, nil, 0},
		{"a function", []*model.Route{connect}, nil, 1},
		{"$disconnect without a journal", []*model.Route{end}, nil, 0},
		{"$disconnect with a journal", []*model.Route{end}, &noJournal{}, 1},
		{"a journal without $disconnect", []*model.Route{mock}, &noJournal{}, 0},
	} {
		g := newGateway(t, nil, nil, v.routes...)
		g.cfg.Journal = v.journal
		u := &fakeUpgrade{link: &sink{}}
		g.serve(&handshake{host: "localhost", path: "/prod", at: time.Now(), headers: head{}}, u)
		if u.detached != v.want {
			t.Errorf("%s: detached %d times", v.name, u.detached)
		}
		if u.session != nil {
			finish(t, g, u.session)
		}
	}
}

type noJournal struct{}

func (*noJournal) Begin([]byte, string) error { return nil }
func (*noJournal) End(string) error           { return nil }
func (*noJournal) Pending() ([][]byte, error) { return nil, nil }

var _ headers = head([]event.Field{})
