package gateway_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

func ordered(r *model.Route) *model.Route { r.Ordered = true; return r }

// A connection's messages on ordered routes run one by one, in order, and answer in
// order; $disconnect comes after the last.
func TestOrderedRoutes(t *testing.T) {
	const n = 60
	var running, most atomic.Int64
	var mu sync.Mutex
	var seen []string
	move := func(c *call) any {
		now := running.Add(1)
		defer running.Add(-1)
		for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
		}
		body := c.event["body"].(string)
		<-time.After(time.Duration(len(body)%3) * time.Millisecond) // a function's own time
		mu.Lock()
		seen = append(seen, body)
		mu.Unlock()
		return map[string]any{"statusCode": 200, "body": body}
	}
	done := make(chan struct{})
	s := newStand(t, map[string]handler{"move": move, "end": func(*call) any {
		mu.Lock()
		seen = append(seen, "end")
		mu.Unlock()
		close(done)
		return nil
	}}, options{}, ordered(twoWay(lambda("move", "move"))), ordered(twoWay(lambda("turn", "move"))), lambda("$disconnect", "end"))
	c := s.connect()
	for i := range n {
		c.send(fmt.Sprintf(`{"action":"%s","n":%d}`, []string{"move", "turn"}[i%2], i*i*i))
	}
	for i := range n {
		c.expect(fmt.Sprintf(`{"action":"%s","n":%d}`, []string{"move", "turn"}[i%2], i*i*i))
	}
	c.send(`{"action":"move","last":1}`)
	c.Close(1000, "")
	<-done
	if most.Load() != 1 {
		t.Errorf("%d messages ran at a time", most.Load())
	}
	if len(seen) != n+2 || seen[n] != `{"action":"move","last":1}` || seen[n+1] != "end" {
		t.Errorf("the end: %q", seen[max(0, len(seen)-3):])
	}
}

// What waits in order holds up no other route, until the connection's bound is reached:
// then it is not read.
func TestOrderedRoutesAreBounded(t *testing.T) {
	release := make(chan struct{})
	s := newStand(t, map[string]handler{"slow": func(*call) any { <-release; return map[string]any{"statusCode": 200, "body": "slow"} }, "quick": reply("quick")},
		options{limits: &gateway.Limits{InFlight: 4}}, ordered(twoWay(lambda("slow", "slow"))), twoWay(lambda("quick", "quick")))
	c := s.connect()
	for range 2 {
		c.send(`{"action":"slow"}`)
	}
	s.next("slow")
	c.send(`{"action":"quick"}`)
	c.expect("quick") // overtakes what waits
	s.next("quick")
	for range 10 {
		c.send(`{"action":"slow"}`)
	}
	deadline := time.After(patience)
	for s.gateway.Stats().InFlight < 4 {
		select {
		case <-deadline:
			t.Fatalf("%d in flight, want 4", s.gateway.Stats().InFlight)
		default:
			runtime.Gosched()
		}
	}
	select {
	case <-s.calls:
		t.Fatal("a second one ran beside the first")
	case <-time.After(100 * time.Millisecond):
	}
	if n := s.gateway.Stats().InFlight; n != 4 {
		t.Fatalf("%d in flight, want 4", n)
	}
	close(release)
	for range 12 {
		c.expect("slow")
	}
}

// An ordered route that is answered in place still waits for its turn.
func TestOrderedMockWaits(t *testing.T) {
	release := make(chan struct{})
	mock := ordered(twoWay(&model.Route{Key: "mock", Integration: &model.Integration{
		Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`},
		Responses: []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": "mock"}}},
	}}))
	s := newStand(t, map[string]handler{"slow": func(*call) any { <-release; return map[string]any{"statusCode": 200, "body": "slow"} }, "quick": reply("quick")}, options{},
		ordered(twoWay(lambda("slow", "slow"))), mock, twoWay(lambda("quick", "quick")))
	c := s.connect()
	c.send(`{"action":"slow"}`)
	s.next("slow")
	c.send(`{"action":"mock"}`)
	c.send(`{"action":"quick"}`)
	c.expect("quick")
	close(release)
	c.expect("slow")
	c.expect("mock")
	c.send(`{"action":"mock"}`)
	c.expect("mock")
}
