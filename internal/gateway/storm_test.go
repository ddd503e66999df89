package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/model"
)

// Messages on ordered, unordered, renewing and instant routes, throttles, reloads, ends
// and Drain at once: each connection gets one $disconnect, after its ordered messages,
// which stay in order.
func TestStorm(t *testing.T) {
	const clients, messages = 60, 120
	var mu sync.Mutex
	ended, last := map[string]int{}, map[string]int{}
	f := func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		var e struct {
			Body           string
			RequestContext struct {
				EventType, ConnectionID, RouteKey string
			}
		}
		if err := json.Unmarshal(in.Payload, &e); err != nil {
			t.Error(err)
		}
		if in.Queued != nil {
			in.Queued()
		}
		for range rand.IntN(20) {
			runtime.Gosched()
		}
		c := &e.RequestContext
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.EventType == "DISCONNECT":
			ended[c.ConnectionID]++
		case c.RouteKey == "ordered":
			var m struct{ N int }
			if err := json.Unmarshal([]byte(e.Body), &m); err != nil {
				t.Error(err)
			}
			if m.N <= last[c.ConnectionID] || ended[c.ConnectionID] > 0 {
				t.Errorf("message %d after %d, %d ends", m.N, last[c.ConnectionID], ended[c.ConnectionID])
			}
			last[c.ConnectionID] = m.N
		}
		return model.InvokeResult{Payload: []byte(`{"statusCode":200}`)}, nil
	}
	g := newGateway(t, f, nil, mockRoute)
	g.limits.InFlight, g.limits.Strikes = 8, 50
	g.cfg.Guard = renewing{authz.New(authz.Config{}), time.Now().Add(20 * time.Millisecond), time.Now().Add(30 * time.Millisecond)}
	g.cfg.AccessLog = func(string, string, string) {}
	to := func(key string) *model.Route { return &model.Route{Key: key, Integration: lambdaRoute.Integration} }
	ordered, renew, orderedRenew := to("ordered"), to("renew"), to("renew2")
	ordered.Ordered, orderedRenew.Ordered, renew.Reauthorize, orderedRenew.Reauthorize = true, true, true, true
	app := func(rate float64) *model.App {
		return &model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action",
			Routes: []*model.Route{ordered, renew, orderedRenew, mockRoute, to("plain"), to("$disconnect"), {Key: "$connect", Access: &model.Access{Origins: []string{"same-host"}}}},
			Stages: []*model.Stage{{Name: "prod", Deployed: true, AccessLogFormat: "$context.requestId $context.status",
				Routes: map[string]model.RouteSettings{"plain": {Rate: rate, Burst: 1}}}}}}}
	}
	if err := g.Deploy(app(100)); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	var wait sync.WaitGroup
	sessions := make([]*session, clients)
	for i := range sessions {
		sessions[i] = enter(t, g, &sink{})
		wait.Go(func() {
			s := sessions[i]
			for n := range messages {
				route := []string{"ordered", "ordered", "plain", "ping", "renew", "renew2", "nobody"}[rand.IntN(7)]
				s.onMessage(fmt.Appendf(nil, `{"action":%q,"n":%d,"token":"good"}`, route, n+1), false)
			}
			if i%2 == 0 {
				s.onClose(1000, "")
			}
		})
	}
	wait.Go(func() {
		for n := range 20 {
			if err := g.Deploy(app(float64(100 + n))); err != nil {
				t.Error(err)
			}
		}
	})
	wait.Wait()
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		drained <- g.Drain(ctx)
	}()
	for i, s := range sessions {
		if i%2 == 1 {
			go s.onClose(1001, "")
		}
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		if n := ended[s.entry.ID().String()]; n != 1 {
			t.Errorf("%d ends", n)
		}
		if s.busy != nil {
			t.Error("a backlog is left")
		}
		if e := s.extra.Load(); e.expiry != nil && e.expiry.Stop() {
			t.Error("a timer is left")
		}
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+5; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
