package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

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
		l.r.Begin(id.NewConn(id.NodeKey{9}), Info{})
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

var info = Info{APIID: "api", Stage: "prod", SourceIP: "198.51.100.23"}

func begin(cfg Config) (*Registry, id.Conn) {
	cfg.Node = id.NewNodeKey()
	r := New(cfg)
	c := id.NewConn(cfg.Node)
	r.Begin(c, info)
	return r, c
}

func isKind(t *testing.T, err error, k fault.Kind) {
	t.Helper()
	if !fault.Is(err, k) {
		t.Fatalf("error %v, want kind %v", err, k)
	}
}

func TestOpenConnection(t *testing.T) {
	r, c := begin(Config{})
	l := &client{r: r, c: c}
	r.Open(c, l)
	ctx := t.Context()
	if err := r.Post(ctx, "api", "prod", c, []byte("a"), false); err != nil {
		t.Fatal(err)
	}
	if got := l.got(); !slices.Equal(got, []string{"a"}) || l.touched != 1 {
		t.Fatalf("sent %q, touched %d", got, l.touched)
	}
	st, err := r.Inspect(ctx, "api", "prod", c, false)
	if err != nil || st.Info != info || !st.LastActive.Equal(time.Unix(5, 0)) {
		t.Fatalf("%+v, %v", st, err)
	}
	if err := r.Disconnect(ctx, "api", "prod", c, false); err != nil || l.closed != "1000 Connection Closed Normally" {
		t.Fatalf("closed %q, %v", l.closed, err)
	}
	// The close handshake still runs, but for callers the connection is gone.
	isKind(t, r.Post(ctx, "api", "prod", c, nil, false), fault.Gone)
	isKind(t, r.Disconnect(ctx, "api", "prod", c, false), fault.Gone)
	if r.Count() == 0 {
		t.Fatal("removed before it is closed")
	}
	r.Remove(c)
	r.Open(c, l) // too late
	isKind(t, r.Post(ctx, "api", "prod", c, nil, false), fault.Gone)
}

// An id means one connection of one API and stage on one node, or nobody.
func TestOthersIdsAreGone(t *testing.T) {
	r, c := begin(Config{})
	r.Open(c, &client{})
	other := c
	other[5] ^= 1
	restarted := c
	restarted[0] ^= 1
	for name, call := range map[string]error{
		"another id":      r.Post(t.Context(), "api", "prod", other, nil, false),
		"another node":    r.Post(t.Context(), "api", "prod", restarted, nil, false),
		"another stage":   r.Post(t.Context(), "api", "dev", c, nil, false),
		"another API":     r.Post(t.Context(), "other", "prod", c, nil, false),
		"delete by stage": r.Disconnect(t.Context(), "api", "dev", c, false),
	} {
		if !fault.Is(call, fault.Gone) {
			t.Errorf("%s: %v", name, call)
		}
	}
}

func TestLinkErrors(t *testing.T) {
	r, c := begin(Config{})
	l := &client{fail: fault.New(fault.Throttled, "queue full")}
	r.Open(c, l)
	isKind(t, r.Post(t.Context(), "api", "prod", c, nil, false), fault.Throttled)
	l.fail = errors.New("closed")
	isKind(t, r.Post(t.Context(), "api", "prod", c, nil, false), fault.Gone)
}

func TestOwnConnectIsGoneAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := begin(Config{})
		started := time.Now()
		isKind(t, r.Post(t.Context(), "api", "prod", c, []byte("x"), true), fault.Gone)
		if _, err := r.Inspect(t.Context(), "api", "prod", c, true); !fault.Is(err, fault.Gone) {
			t.Fatal(err)
		}
		isKind(t, r.Disconnect(t.Context(), "api", "prod", c, true), fault.Gone)
		if took := time.Since(started); took != 0 {
			t.Fatalf("it took %v", took)
		}
	})
}

func TestHeldPostsAreDeliveredInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := begin(Config{})
		l := &client{r: r, c: c}
		var wait sync.WaitGroup
		var want []string
		for i := range 64 {
			want = append(want, fmt.Sprint(i))
			wait.Go(func() {
				if err := r.Post(context.Background(), "api", "prod", c, []byte(fmt.Sprint(i)), false); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		// The 65th is beyond the bound.
		isKind(t, r.Post(t.Context(), "api", "prod", c, nil, false), fault.Gone)
		if got := l.got(); got != nil {
			t.Fatalf("sent before the 101: %q", got)
		}
		time.Sleep(time.Second)
		r.Open(c, l)
		if got := l.got(); !slices.Equal(got, want) {
			t.Fatalf("delivered %q", got)
		}
		wait.Wait()
	})
}

func TestHeldBytesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := begin(Config{HeldBytes: 10})
		done := make(chan error, 1)
		go func() { done <- r.Post(context.Background(), "api", "prod", c, make([]byte, 8), false) }()
		synctest.Wait()
		isKind(t, r.Post(t.Context(), "api", "prod", c, make([]byte, 3), false), fault.Gone)
		r.Remove(c) // $connect refused
		isKind(t, <-done, fault.Gone)
	})
}

func TestHeldPostGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := begin(Config{})
		started := time.Now()
		isKind(t, r.Post(t.Context(), "api", "prod", c, []byte("late"), false), fault.Gone)
		if took := time.Since(started); took != 2*time.Second {
			t.Fatalf("held for %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		isKind(t, r.Post(ctx, "api", "prod", c, []byte("left"), false), fault.Unavailable)
		l := &client{}
		r.Open(c, l)
		if got := l.got(); got != nil {
			t.Fatalf("delivered %q although both callers were answered", got)
		}
	})
}

// Inspect and Disconnect are held like posts; what follows a Disconnect is gone.
func TestHeldInspectAndDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := begin(Config{})
		l := &client{r: r, c: c}
		results := make([]chan error, 3)
		for i, call := range []func() error{
			func() error { _, err := r.Inspect(context.Background(), "api", "prod", c, false); return err },
			func() error { return r.Disconnect(context.Background(), "api", "prod", c, false) },
			func() error { return r.Post(context.Background(), "api", "prod", c, []byte("after"), false) },
		} {
			results[i] = make(chan error, 1)
			go func() { results[i] <- call() }()
			synctest.Wait()
		}
		r.Open(c, l)
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
	r, c := begin(Config{})
	r.Begin(id.NewConn(r.Node()), Info{APIID: "api", Stage: "dev"})
	if got := r.List("api", "prod"); len(got) != 1 || got[0].ID != c || got[0].Open {
		t.Fatalf("%+v", got)
	}
	r.Open(c, &client{})
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
		r.Begin(c, info)
		var mu sync.Mutex
		delivered := 0
		var posts sync.WaitGroup
		for range 8 {
			posts.Go(func() {
				for range 20 {
					err := r.Post(context.Background(), "api", "prod", c, []byte("x"), false)
					mu.Lock()
					if err == nil {
						delivered++
					}
					mu.Unlock()
				}
			})
		}
		wait.Go(func() {
			r.Open(c, l)
			r.List("api", "prod")
			r.Remove(c)
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

func BenchmarkPost(b *testing.B) {
	r, c := begin(Config{})
	r.Open(c, discard{})
	data := []byte("hello")
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Post(b.Context(), "api", "prod", c, data, false); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Send([]byte) error     { return nil }
func (discard) Close(int, string)     {}
func (discard) LastActive() time.Time { return time.Time{} }
func (discard) Touch()                {}
