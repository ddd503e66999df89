package authz

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

const (
	goodKey  = canary + "goodgoodgoodgoodgood"
	otherKey = canary + "otherotherotherother"
)

// keyedWorld has $connect with ApiKeyRequired and three keys, of which one is good.
func keyedWorld(t *testing.T, plan model.UsagePlan) *world {
	w := newWorld(t)
	w.route.APIKeyRequired = true
	w.app.APIKeys = []*model.APIKey{
		{ID: "good", Value: goodKey, Enabled: true}, {ID: "other", Value: otherKey, Enabled: true},
		{ID: "off", Value: canary + "offoffoffoffoffoffoff"}, {ID: "blank", Enabled: true}, {ID: "planless", Value: canary + "planlessplanlessplan", Enabled: true},
		{ID: "elsewhere", Value: canary + "elsewhereelsewhere00", Enabled: true},
	}
	plan.ID, plan.Keys = "plan", []string{"good", "other", "off", "blank"}
	plan.Stages = append(plan.Stages, model.PlanStage{APIID: w.api.ID, Stage: "prod"})
	elsewhere := model.UsagePlan{ID: "dev", Keys: []string{"elsewhere"}, Stages: []model.PlanStage{{APIID: w.api.ID, Stage: "dev"}, {APIID: "other", Stage: "prod"}}}
	w.app.UsagePlans = []*model.UsagePlan{&plan, &elsewhere}
	return w
}

// Row 15 of the outcome table.
func TestAPIKeys(t *testing.T) {
	for _, c := range []struct {
		name    string
		headers []string
		status  int
	}{
		{"good", []string{"x-api-key: " + goodKey}, 0},
		{"good, in another case", []string{"X-API-KEY: " + goodKey}, 0},
		{"missing", nil, 403},
		{"empty", []string{"x-api-key: "}, 403},
		{"unknown", []string{"x-api-key: " + canary + "unknownunknown"}, 403},
		{"a part", []string{"x-api-key: " + goodKey[:len(goodKey)-1]}, 403},
		{"in another case", []string{"x-api-key: " + strings.ToLower(goodKey)}, 403},
		{"too long", []string{"x-api-key: " + goodKey + strings.Repeat("x", 1000)}, 403},
		{"its id", []string{"x-api-key: good"}, 403},
		{"disabled", []string{"x-api-key: " + canary + "offoffoffoffoffoffoff"}, 403},
		{"in no plan", []string{"x-api-key: " + canary + "planlessplanlessplan"}, 403},
		{"in a plan of another stage", []string{"x-api-key: " + canary + "elsewhereelsewhere00"}, 403},
		{"twice", []string{"x-api-key: " + goodKey, "x-api-key: " + goodKey}, 403},
	} {
		w := keyedWorld(t, model.UsagePlan{})
		p := w.plan()
		if !p.Guarded() || p.Waits() || p.Err() != nil {
			t.Fatal(p.Err())
		}
		gr, no := w.authorize(p, w.request("", c.headers...))
		w.want(c.name, no, c.status, "Forbidden")
		if no != nil && no.Type != "ForbiddenException" {
			t.Errorf("%s: %+v", c.name, no)
		}
		if gr != nil && (gr.Identity.APIKey != goodKey || gr.Identity.APIKeyID != "good") {
			t.Errorf("%s: %+v", c.name, gr.Identity)
		}
	}
}

// A missing header key is refused before the authorizer runs; a key from the
// authorizer after it.
func TestAPIKeyAndAuthorizer(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{}).custom()
	_, no := w.authorize(w.plan(), w.request(""))
	w.want("header", no, 403, "Forbidden")
	if len(w.fn.calls) > 0 {
		t.Error("the authorizer was asked")
	}
	for answer, status := range map[string]int{
		`, "usageIdentifierKey": "` + goodKey + `"}`: 0, `}`: 403, `, "usageIdentifierKey": ""}`: 403, `, "usageIdentifierKey": "` + canary + `"}`: 403,
	} {
		for _, expression := range []string{keyAuthorizer, "${context.authorizer.usageIdentifierKey}"} {
			w := keyedWorld(t, model.UsagePlan{}).custom()
			w.api.APIKeySelectionExpression = expression
			w.fn.answer = allowed + answer
			gr, no := w.authorize(w.plan(), w.request("", "x-api-key: "+goodKey))
			w.want(answer, no, status, "Forbidden")
			if len(w.fn.calls) != 1 {
				t.Error("the authorizer was not asked")
			}
			if gr != nil && strings.Contains(string(gr.Authorizer), canary) {
				t.Errorf("the key is in the context: %s", gr.Authorizer)
			}
		}
	}
	w = keyedWorld(t, model.UsagePlan{})
	w.api.APIKeySelectionExpression = keyAuthorizer
	p := w.plan()
	_, no = w.authorize(p, w.request("", "x-api-key: "+goodKey))
	w.want("no authorizer", no, 500, "Internal server error")
}

// Row 16 and the frames: each handshake and each message counts one, per key.
func TestThrottle(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{Throttle: model.Throttle{Rate: 2, Burst: 3}})
	p := w.plan()
	r := w.request("", "x-api-key: "+goodKey)
	gr, no := w.authorize(p, r)
	w.want("first", no, 0, "")
	for i := range 2 {
		if err := w.guard.Admit(p, gr, "send"); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	w.want("a message", w.refused(w.guard.Admit(p, gr, "send")), 429, "Too Many Requests")
	_, no = w.authorize(p, r)
	w.want("a handshake", no, 429, "Too Many Requests")
	if no.Type != "TooManyRequestsException" {
		t.Error(no.Type)
	}
	// Another key of the plan has its own.
	_, no = w.authorize(p, w.request("", "x-api-key: "+otherKey))
	w.want("another key", no, 0, "")
	// A new deployment gives no new allowance.
	p = w.plan()
	w.want("after a reload", w.refused(w.guard.Admit(p, gr, "send")), 429, "Too Many Requests")
	w.now = w.now.Add(500 * time.Millisecond)
	if err := w.guard.Admit(p, gr, "send"); err != nil {
		t.Error("half a second later:", err)
	}
	w.want("and again", w.refused(w.guard.Admit(p, gr, "send")), 429, "Too Many Requests")
	w.now = w.now.Add(time.Hour)
	n := 0
	for w.guard.Admit(p, gr, "send") == nil {
		n++
	}
	if n != 3 {
		t.Errorf("%d after an hour, want the burst of 3", n)
	}
}

func TestRouteThrottle(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{})
	w.app.UsagePlans[0].Stages[0].Routes = map[string]model.Throttle{"send": {Rate: 1, Burst: 1}}
	p := w.plan()
	gr, _ := w.authorize(p, w.request("", "x-api-key: "+goodKey))
	if err := w.guard.Admit(p, gr, "send"); err != nil {
		t.Fatal(err)
	}
	w.want("send", w.refused(w.guard.Admit(p, gr, "send")), 429, "Too Many Requests")
	if err := w.guard.Admit(p, gr, "secret"); err != nil {
		t.Error("another route:", err)
	}
}

func TestQuota(t *testing.T) {
	for _, c := range []struct {
		period      string
		later, next time.Duration // still the period, and the next one
	}{
		{"DAY", 11 * time.Hour, 12 * time.Hour},          // Tuesday noon
		{"WEEK", 4 * 24 * time.Hour, 5 * 24 * time.Hour}, // to Sunday
		{"MONTH", 26 * 24 * time.Hour, 27 * 24 * time.Hour},
	} {
		w := keyedWorld(t, model.UsagePlan{Quota: model.Quota{Limit: 5, Offset: 2, Period: c.period}})
		p := w.plan()
		r := w.request("", "x-api-key: "+goodKey)
		gr, no := w.authorize(p, r)
		w.want("first", no, 0, "")
		count := func() (n int) {
			for w.guard.Admit(p, gr, "send") == nil {
				n++
			}
			return n
		}
		if n := count(); n != 2 { // 5, less an offset of 2, less the handshake
			t.Errorf("%s: %d messages", c.period, n)
		}
		w.want("message", w.refused(w.guard.Admit(p, gr, "send")), 429, "Limit Exceeded")
		w.now = at.Add(c.later)
		p = w.plan()
		_, no = w.authorize(p, r)
		w.want("handshake, later", no, 429, "Limit Exceeded")
		if no.Type != "LimitExceededException" {
			t.Error(no.Type)
		}
		w.now = at.Add(c.next)
		if n := count(); n != 5 {
			t.Errorf("%s: %d messages in the next period", c.period, n)
		}
	}
}

// A key that is taken away is taken from open connections, too.
func TestKeyGone(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{})
	p := w.plan()
	gr, _ := w.authorize(p, w.request("", "x-api-key: "+goodKey))
	w.app.APIKeys[0] = &model.APIKey{ID: "good", Value: goodKey}
	w.want("disabled", w.refused(w.guard.Admit(w.plan(), gr, "send")), 403, "Forbidden")
	w.route.AuthorizationType = "JWT" // and a plan that does not compile gives none
	w.app.APIKeys[0].Enabled = true
	w.want("broken", w.refused(w.guard.Admit(w.plan(), gr, "send")), 403, "Forbidden")
}

// A key required by a message route only.
func TestKeyOnARoute(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{})
	w.route.APIKeyRequired = false
	w.api.Routes[2].APIKeyRequired = true
	p := w.plan()
	gr, no := w.authorize(p, w.request(""))
	w.want("no key", no, 0, "")
	if err := w.guard.Admit(p, gr, "send"); err != nil {
		t.Error(err)
	}
	w.want("secret", w.refused(w.guard.Admit(p, gr, "secret")), 403, "Forbidden")
	w.want("secret without a grant", w.refused(w.guard.Admit(p, nil, "secret")), 403, "Forbidden")
	gr, _ = w.authorize(p, w.request("", "x-api-key: "+goodKey))
	if err := w.guard.Admit(p, gr, "secret"); err != nil {
		t.Error("with a key:", err)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		throttle model.Throttle
		first    int // of requests at once
		second   int // after a second
	}{
		{model.Throttle{Rate: 10, Burst: 5}, 5, 5},
		{model.Throttle{Rate: 10}, 10, 10},
		{model.Throttle{Rate: 0.5}, 1, 0},
		{model.Throttle{Burst: 3}, 3, 0},
		{model.Throttle{Rate: 1e12, Burst: 3}, 3, 3},
		{model.Throttle{Rate: 1e-12, Burst: 1 << 30}, 1000, 1000},
	} {
		m, l := &meter{}, newLimit(c.throttle)
		take := func(now int64) (n int) {
			for n < 1000 && m.take(l, now) {
				n++
			}
			return n
		}
		now := at.UnixNano()
		if n := take(now); n != c.first {
			t.Errorf("%+v: %d at once, want %d", c.throttle, n, c.first)
		}
		if n := take(now + int64(time.Second)); n != c.second {
			t.Errorf("%+v: %d after a second, want %d", c.throttle, n, c.second)
		}
	}
	if !(&meter{}).take(newLimit(model.Throttle{}), 0) {
		t.Error("no throttle refuses")
	}
}

// Many connections of one key share its counters, exactly.
func TestMeterIsShared(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{Throttle: model.Throttle{Rate: 1, Burst: 700}, Quota: model.Quota{Limit: 501, Period: "DAY"}})
	p := w.plan()
	gr, _ := w.authorize(p, w.request("", "x-api-key: "+goodKey))
	var wg sync.WaitGroup
	var admitted atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if w.guard.Admit(p, gr, "send") == nil {
					admitted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := admitted.Load(); n != 500 {
		t.Errorf("%d of 500", n)
	}
}

func TestAdmitDoesNotAllocate(t *testing.T) {
	open := newWorld(t)
	free := open.plan()
	metered := keyedWorld(t, model.UsagePlan{Throttle: model.Throttle{Rate: 1e9, Burst: 1 << 20}, Quota: model.Quota{Limit: 1 << 30, Period: "MONTH"}})
	mp := metered.plan()
	mg, _ := metered.authorize(mp, metered.request("", "x-api-key: "+goodKey))
	signed := signedWorld(t, `{"Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "arn:aws:execute-api:*:*:k3v9x1m2qz/prod/*"}]}`)
	sp := signed.plan()
	sg, _ := signed.authorize(sp, signed.handshake("", inHeader(key, scope, at)))
	full := keyedWorld(t, model.UsagePlan{Throttle: model.Throttle{Burst: 1}})
	fp := full.plan()
	fg, _ := full.authorize(fp, full.request("", "x-api-key: "+goodKey))
	for name, f := range map[string]func() bool{
		"open":      func() bool { return open.guard.Admit(free, nil, "send") == nil },
		"metered":   func() bool { return metered.guard.Admit(mp, mg, "send") == nil },
		"signed":    func() bool { return signed.guard.Admit(sp, sg, "send") == nil },
		"throttled": func() bool { return full.guard.Admit(fp, fg, "send") != nil },
	} {
		if n := testing.AllocsPerRun(100, func() {
			if !f() {
				t.Fatal(name)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if free.Guarded() || free.Waits() {
		t.Error("an open stage is guarded")
	}
}

func BenchmarkAdmitKey(b *testing.B) {
	w := keyedWorld(&testing.T{}, model.UsagePlan{Throttle: model.Throttle{Rate: 1e9, Burst: 1 << 30}, Quota: model.Quota{Limit: 1 << 38, Period: "MONTH"}})
	w.cfg.Now = time.Now
	p := w.plan()
	r := w.request("", "x-api-key: "+goodKey)
	gr, no := w.guard.Authorize(b.Context(), p, r)
	if no != nil {
		b.Fatal(no)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.guard.Admit(p, gr, "send"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestKeyInEvents(t *testing.T) {
	w := keyedWorld(t, model.UsagePlan{})
	r := w.request("", "x-api-key: "+goodKey)
	gr, _ := w.authorize(w.plan(), r)
	r.Conn.Identity = gr.Identity
	e := string(event.AppendMessage(nil, r.Conn, &r.Call, nil))
	if !strings.Contains(e, `"sourceIp":"198.51.100.23","apiKey":"`+goodKey+`","apiKeyId":"good"}`) {
		t.Error(e)
	}
}
