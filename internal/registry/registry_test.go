package registry

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a Link that remembers. Every method calls back into the registry: a
// lock held while a link is called would deadlock here.
type client struct {
	r *Registry
	c id.Conn

	mu      sync.Mutex
	sent    []string
	fail    error
	closed  string
	touched int
}

func (l *client) enter() {
	if l.r != nil {
		l.r.Count()
		l.r.List("api", "prod")
		l.r.Begin(entry(id.NewConn(id.NodeKey{9}), Info{Scope: &Scope{}}))
	}
}

func (l *client) Send(text []byte) error {
	l.enter()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return l.fail
	}
	l.sent = append(l.sent, string(text))
	return nil
}

func (l *client) Close(code int, reason string) {
	l.enter()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = fmt.Sprint(code, " ", reason)
}

func (l *client) LastActive() time.Time { l.enter(); return time.Unix(5, 0) }

func (l *client) Touch() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touched++
}

func (l *client) got() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.sent)
}

var info = Info{
	Scope: &Scope{APIID: "api", Stage: "prod"}, SourceIP: netip.MustParseAddr("198.51.100.23"),
	UserAgent: "acme-client/2.4", ConnectedAt: time.UnixMilli(1754395986101),
}

func entry(c id.Conn, info Info) *Entry {
	e := &Entry{}
	e.Init(c, info)
	return e
}

func to(apiID, stage string, c id.Conn, inConnect bool) Target {
	return Target{APIID: apiID, Stage: stage, Conn: c, InConnect: inConnect}
}

func begin(cfg Config) (*Registry, *Entry, id.Conn) {
	cfg.Node = id.NewNodeKey()
	r := New(cfg)
	e := entry(id.NewConn(cfg.Node), info)
	r.Begin(e)
	return r, e, e.ID()
}

func isKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("error %v, want kind %v", err, k)
	}
}

func TestOpenConnection(t *testing.T) {
	r, e, c := begin(Config{})
	l := &client{r: r, c: c}
	r.Open(e, l)
	ctx := t.Context()
	if err := r.Post(ctx, to("api", "prod", c, false), []byte("a")); err != nil {
		t.Fatal(err)
	}
	if got := l.got(); !slices.Equal(got, []string{"a"}) || l.touched != 1 {
		t.Fatalf("sent %q, touched %d", got, l.touched)
	}
	st, err := r.Inspect(ctx, to("api", "prod", c, false))
	if err != nil || st.Info != info || !st.LastActive.Equal(time.Unix(5, 0)) {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := r.Disconnect(ctx, to("api", "prod", c, false)); err != nil || l.closed != "1000 Connection Closed Normally" {
		t.Fatalf("closed %q, %v", l.closed, err)
	}
	// The close handshake still runs, but for callers the connection is gone.
	isKind(t, r.Post(ctx, to("api", "prod", c, false), nil), fault.Gone)
	isKind(t, r.Disconnect(ctx, to("api", "prod", c, false)), fault.Gone)
	if r.Count() == 0 {
		t.Fatal("removed before it is closed")
	}
	r.Remove(e)
	r.Open(e, l) // too late
	isKind(t, r.Post(ctx, to("api", "prod", c, false), nil), fault.Gone)
}

// An id means one connection of one API and stage on one node, or nobody.
func TestOthersIdsAreGone(t *testing.T) {
	r, e, c := begin(Config{})
	r.Open(e, &client{})
	other := c
	other[5] ^= 1
	restarted := c
	restarted[0] ^= 1
	for name, call := range map[string]error{
		"another id":      r.Post(t.Context(), to("api", "prod", other, false), nil),
		"another node":    r.Post(t.Context(), to("api", "prod", restarted, false), nil),
		"another stage":   r.Post(t.Context(), to("api", "dev", c, false), nil),
		"another API":     r.Post(t.Context(), to("other", "prod", c, false), nil),
		"delete by stage": r.Disconnect(t.Context(), to("api", "dev", c, false)),
	} {
		if !fault.Is(call, fault.Gone) {
			t.Errorf("%s: %v", name, call)
		}
	}
}

func TestLinkErrors(t *testing.T) {
	r, e, c := begin(Config{})
	l := &client{fail: fault.New(fault.Throttled, "queue full")}
	r.Open(e, l)
	isKind(t, r.Post(t.Context(), to("api", "prod", c, false), nil), fault.Throttled)
	l.fail = errors.New("closed")
	isKind(t, r.Post(t.Context(), to("api", "prod", c, false), nil), fault.Gone)
}

func TestOwnConnectIsGoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, c := begin(Config{})
		started := time.Now()
		isKind(t, r.Post(t.Context(), to("api", "prod", c, true), []byte("x")), fault.Gone)
		if _, err := r.Inspect(t.Context(), to("api", "prod", c, true)); !fault.Is(err, fault.Gone) {
			t.Fatal(err)
		}
		isKind(t, r.Disconnect(t.Context(), to("api", "prod", c, true)), fault.Gone)
		if took := time.Since(started); took != 0 {
			t.Fatalf("it took %v", took)
		}
	})
}

func TestHeldPostsAreDeliveredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{})
		l := &client{r: r, c: c}
		var wait sync.WaitGroup
		var want []string
		for i := range 64 {
			want = append(want, fmt.Sprint(i))
			wait.Go(func() {
				if err := r.Post(context.Background(), to("api", "prod", c, false), []byte(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		// The 65th is beyond the bound.
		isKind(t, r.Post(t.Context(), to("api", "prod", c, false), nil), fault.Gone)
		if got := l.got(); got != nil {
			t.Fatalf("sent before the 101: %q", got)
		}
		time.Sleep(time.Second)
		r.Open(e, l)
		if got := l.got(); !slices.Equal(got, want) {
			t.Fatalf("delivered %q", got)
		}
		wait.Wait()
	})
}

func TestHeldBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{HeldBytes: 10})
		done := make(chan error, 1)
		go func() { done <- r.Post(context.Background(), to("api", "prod", c, false), make([]byte, 8)) }()
		synctest.Wait()
		isKind(t, r.Post(t.Context(), to("api", "prod", c, false), make([]byte, 3)), fault.Gone)
		r.Remove(e) // $connect refused
		isKind(t, <-done, fault.Gone)
	})
}

func TestHeldPostGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{})
		started := time.Now()
		isKind(t, r.Post(t.Context(), to("api", "prod", c, false), []byte("late")), fault.Gone)
		if took := time.Since(started); took != 2*time.Second {
			t.Fatalf("held for %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		isKind(t, r.Post(ctx, to("api", "prod", c, false), []byte("left")), fault.Unavailable)
		l := &client{}
		r.Open(e, l)
		if got := l.got(); got != nil {
			t.Fatalf("delivered %q although both callers were answered", got)
		}
	})
}

// slow is a link whose Send takes its time, as one does that is descheduled.
type slow struct{ client }

func (l *slow) Send(text []byte) error {
	time.Sleep(time.Second)
	return l.client.Send(text)
}

// The time to wait ended while the connection, open already, was taking what came
// before: a 410 then made an application delete the row of a living connection.
func TestHeldPostIsNotGoneOnceOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{})
		results := make(chan error, 3)
		for i := range 3 {
			go func() { results <- r.Post(context.Background(), to("api", "prod", c, false), []byte(fmt.Sprint(i))) }()
			synctest.Wait()
		}
		time.Sleep(1900 * time.Millisecond)
		l := &slow{}
		r.Open(e, l)
		for range 3 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if got := l.got(); !slices.Equal(got, []string{"0", "1", "2"}) {
			t.Errorf("delivered %q", got)
		}
	})
}

// What was held is either delivered or counted as expired.
func TestHeldPostsAreAccountedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{})
		var wait sync.WaitGroup
		wait.Go(func() { isKind(t, r.Post(context.Background(), to("api", "prod", c, false), nil), fault.Gone) })
		synctest.Wait()
		r.Remove(e) // $connect refused
		wait.Wait()
		if n := r.Stats(); n.HeldTotal != 1 || n.HeldExpired != 1 || n.Held != 0 {
			t.Errorf("%+v", n)
		}
	})
}

// Inspect and Disconnect are held like posts; what follows a Disconnect is gone.
func TestHeldInspectAndDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, e, c := begin(Config{})
		l := &client{r: r, c: c}
		results := make([]chan error, 3)
		for i, call := range []func() error{
			func() error { _, err := r.Inspect(context.Background(), to("api", "prod", c, false)); return err },
			func() error { return r.Disconnect(context.Background(), to("api", "prod", c, false)) },
			func() error { return r.Post(context.Background(), to("api", "prod", c, false), []byte("after")) },
		} {
			results[i] = make(chan error, 1)
			go func() { results[i] <- call() }()
			synctest.Wait()
		}
		r.Open(e, l)
		if err := <-results[0]; err != nil {
			t.Error(err)
		}
		if err := <-results[1]; err != nil {
			t.Error(err)
		}
		isKind(t, <-results[2], fault.Gone)
		if l.closed == "" || l.got() != nil {
			t.Fatalf("closed %q, sent %q", l.closed, l.got())
		}
	})
}

func TestList(t *testing.T) {
	r, e, c := begin(Config{})
	r.Begin(entry(id.NewConn(r.Node()), Info{Scope: &Scope{APIID: "api", Stage: "dev"}}))
	if got := r.List("api", "prod"); len(got) != 1 || got[0].ID != c || got[0].Open {
		t.Fatalf("%+v", got)
	}
	r.Open(e, &client{})
	if got := r.List("api", "prod"); len(got) != 1 || !got[0].Open || r.Count() != 2 {
		t.Fatalf("%+v", got)
	}
}

// Connections begin, open, get posts and go, all at once: every post is answered
// exactly once, and delivered exactly if its answer was nil.
func TestConcurrentPosts(t *testing.T) {
	r := New(Config{Node: id.NewNodeKey(), HeldWait: 50 * time.Millisecond})
	var wait sync.WaitGroup
	for range 50 {
		c := id.NewConn(r.Node())
		l := &client{}
		e := entry(c, info)
		r.Begin(e)
		var mu sync.Mutex
		delivered := 0
		var posts sync.WaitGroup
		for range 8 {
			posts.Go(func() {
				for range 20 {
					err := r.Post(context.Background(), to("api", "prod", c, false), []byte("x"))
					mu.Lock()
					if err == nil {
						delivered++
					}
					mu.Unlock()
				}
			})
		}
		wait.Go(func() {
			r.Open(e, l)
			r.List("api", "prod")
			r.Remove(e)
			posts.Wait()
			if got := len(l.got()); got != delivered {
				t.Errorf("%d delivered, %d answered nil", got, delivered)
			}
		})
	}
	wait.Wait()
	if r.Count() != 0 {
		t.Fatal(r.Count())
	}
}

// What must not block is told so instead of being held.
func TestNoWait(t *testing.T) {
	r, e, c := begin(Config{})
	target := to("api", "prod", c, false)
	target.NoWait = true
	if err := r.Post(t.Context(), target, nil); !errors.Is(err, ErrPending) {
		t.Fatal(err)
	}
	l := &client{}
	r.Open(e, l)
	if err := r.Post(t.Context(), target, []byte("x")); err != nil || len(l.got()) != 1 {
		t.Fatal(err, l.got())
	}
}

// The table grows and shrinks, and never mixes connections up.
func TestTable(t *testing.T) {
	r := New(Config{Node: id.NewNodeKey()})
	all := make([]*Entry, 20_000)
	links := make([]client, len(all))
	for i := range all {
		all[i] = entry(id.NewConn(r.Node()), info)
		r.Begin(all[i])
		r.Open(all[i], &links[i])
	}
	for round := range 2 {
		for i, e := range all {
			if err := r.Post(t.Context(), to("api", "prod", e.ID(), false), []byte("x")); (err == nil) != (round == 0 || i >= 19_000) {
				t.Fatalf("round %d, %d: %v", round, i, err)
			}
		}
		for _, e := range all[:19_000] {
			r.Remove(e)
			r.Remove(e) // a second time changes nothing
		}
		if r.Count() != 1000 || len(r.List("api", "prod")) != 1000 {
			t.Fatal(r.Count(), len(r.List("api", "prod")))
		}
	}
	for i := range links {
		if n := len(links[i].got()); n != 1 && i < 19_000 || i >= 19_000 && n != 2 {
			t.Fatalf("%d got %d messages", i, n)
		}
	}
	if n := len(r.shards[0].buckets); n > 256 {
		t.Errorf("%d buckets for %d connections", n, r.shards[0].n)
	}
	if n := r.Close("api", "prod", 1001, "Going away"); n != 1000 || links[19_999].closed != "1001 Going away" || r.Close("api", "dev", 1001, "") != 0 {
		t.Errorf("%d closed, the last with %q", n, links[19_999].closed)
	}
}

// Idle connections are counted in hundreds of thousands: a field more is noticed.
func TestEntryIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Entry{}); n > 96 {
		t.Errorf("%d bytes", n)
	}
}

func TestHotCallsDoNotAllocate(t *testing.T) {
	r, e, c := begin(Config{})
	r.Open(e, discard{})
	ctx, data := t.Context(), []byte("hello")
	other := id.NewConn(r.Node())
	for name, f := range map[string]func(){
		"Post":    func() { _ = r.Post(ctx, to("api", "prod", c, false), data) },
		"Gone":    func() { _ = r.Post(ctx, to("api", "prod", other, false), data) },
		"Inspect": func() { _, _ = r.Inspect(ctx, to("api", "prod", c, false)) },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	r, e, c := begin(Config{})
	r.Open(e, discard{})
	data := []byte("hello")
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Post(b.Context(), to("api", "prod", c, false), data); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Send([]byte) error     { return nil }
func (discard) Close(int, string)     {}
func (discard) LastActive() time.Time { return time.Time{} }
func (discard) Touch()                {}
