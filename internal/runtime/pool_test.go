package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime/build"
)

// sleeper answers with its process id after event.ms.
const sleeper = `exports.handler = async (e) => { await new Promise((r) => setTimeout(r, e.ms || 0)); return process.pid; };`

func TestConcurrencyStartsWorkersWithinTheBound(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(sleeper), &model.Function{Reserved: 3})
	var wg sync.WaitGroup
	var mu sync.Mutex
	pids := map[string]int{}
	for range 9 {
		wg.Go(func() {
			res := s.call("fn", `{"ms":300}`)
			mu.Lock()
			pids[string(res.Payload)]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(pids) != 3 {
		t.Errorf("processes used: %v, want 3", pids)
	}
	if st := s.Functions()[0]; st.Workers != 3 || st.Busy != 0 || st.Queued != 0 || st.Invocations != 9 || st.ColdStarts != 3 {
		t.Errorf("status = %+v", st)
	}
	// The most recently idle one serves sequential calls.
	first := string(s.call("fn", `{}`).Payload)
	for range 5 {
		if again := string(s.call("fn", `{}`).Payload); again != first {
			t.Fatalf("sequential calls moved from %s to %s", first, again)
		}
	}
}

// pool is a function whose only worker is busy, without a process.
func pool(t *testing.T) (*stand, *function, *worker) {
	s := prepareStand(t, Config{}, nil)
	rev := &revision{fn: &model.Function{Reserved: 1}, output: &build.Output{}}
	f := &function{rt: s.Runtime, name: "fn", live: 1, rev: rev}
	return s, f, &worker{rt: s.Runtime, fn: f, rev: rev}
}

func TestQueueIsFIFO(t *testing.T) {
	s, f, w := pool(t)
	served := make(chan int)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if g := f.acquire(t.Context(), 1, false, func() {}); g.w == w {
				served <- i
			}
		})
		s.until(func() bool { return f.status().Queued == i+1 })
	}
	for i := range 50 {
		f.release(w)
		if got := <-served; got != i {
			t.Fatalf("number %d was served in place %d", got, i)
		}
	}
	wg.Wait()
}

// With --time-scale 3600 a time-out of 10 s was once 3 ms: every handshake of
// every application answered 502, "Task timed out after 10.00 seconds".
func TestTimeScaleDoesNotHurryCode(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{Clock: clock.Scaled(3600)}, js(sleeper), &model.Function{Timeout: 10 * time.Second})
	res, err := s.Invoke(t.Context(), model.Invocation{Function: "fn", Payload: []byte(`{"ms":200}`)})
	if err != nil || res.FunctionError != "" {
		t.Fatalf("%s, %v", res.Payload, err)
	}
}

func TestQueueOverflowIsThrottled(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{QueueWait: 200 * time.Millisecond}, js(sleeper), &model.Function{Reserved: 1, Timeout: 5 * time.Minute})
	s.call("fn", `{}`)
	busy, cancel := context.WithCancel(t.Context())
	defer cancel()
	running := make(chan struct{})
	go func() {
		defer close(running)
		s.Invoke(busy, model.Invocation{Function: "fn", Payload: []byte(`{"ms":2000}`)})
	}()
	s.until(func() bool { return s.Functions()[0].Busy > 0 })
	_, err := s.Invoke(t.Context(), model.Invocation{Function: "fn"})
	if !fault.Is(err, fault.Throttled) {
		t.Fatalf("after its time in the queue: %v, want throttled", err)
	}
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.AWSType() != "TooManyRequestsException" {
		t.Errorf("AWS type of %v", err)
	}
	// $disconnect waits as long as it takes.
	res, err := s.Invoke(t.Context(), model.Invocation{Function: "fn", MustRun: true})
	if err != nil || res.FunctionError != "" {
		t.Errorf("MustRun: %s %v", res.Payload, err)
	}
	<-running
	if st := s.Functions()[0]; st.Throttled != 1 || st.Invocations != 3 {
		t.Errorf("status = %+v", st)
	}
}

// The bounds themselves, on a pool that never gets a worker.
func TestQueueBounds(t *testing.T) {
	s, f, _ := pool(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	enqueue := func(bytes int, must bool) { wg.Go(func() { f.acquire(ctx, bytes, must, func() {}) }) }
	for range maxWaiting {
		enqueue(1, false)
	}
	s.until(func() bool { return f.status().Queued >= maxWaiting })
	if g := f.acquire(ctx, 1, false, func() {}); !fault.Is(g.err, fault.Throttled) {
		t.Errorf("item 10 001: %v", g.err)
	}
	enqueue(1, true)
	s.until(func() bool { return f.status().Queued == maxWaiting+1 })
	cancel()
	wg.Wait()
	if st := f.status(); st.Queued != 0 || f.bytes != 0 || st.Throttled != 1 {
		t.Errorf("after everybody left: %+v, %d bytes", st, f.bytes)
	}
	ctx, cancel = context.WithCancel(t.Context())
	for range 10 {
		enqueue(6<<20, false)
	}
	s.until(func() bool { return f.status().Queued >= 10 })
	if g := f.acquire(ctx, 6<<20, false, func() {}); !fault.Is(g.err, fault.Throttled) {
		t.Errorf("66 MB in the queue: %v", g.err)
	}
	cancel()
	wg.Wait()
}

func TestRefusals(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(sleeper), &model.Function{Aliases: map[string]string{"live": "7"}}, &model.Function{Name: "off"})
	s.app.Functions[1].Reserved = 0
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		inv  model.Invocation
		kind fault.Kind
	}{
		{model.Invocation{Function: "nobody"}, fault.NotFound},
		{model.Invocation{Function: "fn:dead"}, fault.NotFound},
		{model.Invocation{Function: "fn", Payload: make([]byte, 6<<20+1)}, fault.TooLarge},
		{model.Invocation{Function: "off"}, fault.Throttled},
	} {
		if _, err := s.Invoke(t.Context(), c.inv); !fault.Is(err, c.kind) {
			t.Errorf("%s: %v, want %s", c.inv.Function, err, c.kind)
		}
	}
	for _, name := range []string{"fn", "fn:live", "fn:7", "fn:$LATEST", "function:fn", "123456789012:function:fn:live", s.app.Functions[0].ARN} {
		if _, err := s.Invoke(t.Context(), model.Invocation{Function: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.Invoke(ctx, model.Invocation{Function: "fn", Payload: []byte(`{"ms":400}`)}); !fault.Is(err, fault.Timeout) {
		t.Errorf("caller's deadline: %v", err)
	}
	if _, err := s.Invoke(t.Context(), model.Invocation{Function: "fn"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestReloadLetsRunningInvocationsFinish(t *testing.T) {
	need(t, "node")
	code := func(v string) string {
		return `exports.handler = async (e) => { await new Promise((r) => setTimeout(r, e.ms || 0)); return '` + v + `'; };`
	}
	s := newStand(t, Config{}, map[string]string{"a/index.js": code("old"), "b/index.js": code("b")},
		&model.Function{Name: "a", CodeDir: "a"}, &model.Function{Name: "b", CodeDir: "b"})
	s.want("a", "{}", `"old"`)
	s.want("b", "{}", `"b"`)
	result := make(chan string)
	go func() { result <- string(s.call("a", `{"ms":700}`).Payload) }()
	s.until(func() bool { return s.Functions()[0].Busy > 0 })
	s.write("a/index.js", code("new"))
	begin := time.Now()
	names, err := s.Reload(t.Context(), []string{filepath.Join(s.dir, "a", "index.js")})
	if err != nil || fmt.Sprint(names) != "[a]" {
		t.Fatalf("Reload = %v, %v", names, err)
	}
	s.want("a", "{}", `"new"`)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("edit to answer took %s, want under 1 s", took)
	}
	if got := <-result; got != `"old"` {
		t.Errorf("the running invocation answered %s", got)
	}
	if names, err := s.Reload(t.Context(), []string{filepath.Join(s.dir, "a", "index.js")}); err != nil || len(names) != 0 {
		t.Errorf("nothing changed, and Reload = %v, %v", names, err)
	}
	// Installed packages are linked, not hashed: a change there restarts.
	if names, err := s.Reload(t.Context(), []string{filepath.Join(s.dir, "b", "node_modules", "x", "index.js")}); err != nil || fmt.Sprint(names) != "[b]" {
		t.Errorf("packages changed, and Reload = %v, %v", names, err)
	}
}

func TestDeployKeepsWhatWorks(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(sleeper), &model.Function{})
	before := string(s.call("fn", "{}").Payload)
	// The same template again: workers stay.
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	if now := string(s.call("fn", "{}").Payload); now != before {
		t.Error("an unchanged deployment replaced the worker")
	}
	// A broken one: the old code keeps running, and the error names the place.
	broken := *s.app.Functions[0]
	broken.Handler, broken.HandlerPos = "missing.handler", model.Pos{File: "template.yaml", Line: 12}
	java := &model.Function{Name: "java", Runtime: "java21", Timeout: time.Second}
	app := &model.App{Region: "eu-west-1", Functions: []*model.Function{&broken, java}}
	err := s.Deploy(t.Context(), app)
	for _, part := range []string{"template.yaml:12: function fn: handler \"missing.handler\": there is no missing.js", "function java: runtime java21 is not supported"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("err = %v, want %q", err, part)
		}
	}
	if now := string(s.call("fn", "{}").Payload); now != before {
		t.Error("a broken deployment replaced the worker")
	}
	if _, err := s.Invoke(t.Context(), model.Invocation{Function: "java"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("java: %v", err)
	}
	// Another environment: new workers. A function that is gone: not found.
	changed := *s.app.Functions[0]
	changed.Env = map[string]string{"A": "1"}
	if err := s.Deploy(t.Context(), &model.App{Region: "eu-west-1", Functions: []*model.Function{&changed}}); err != nil {
		t.Fatal(err)
	}
	if now := string(s.call("fn", "{}").Payload); now == before {
		t.Error("a changed environment kept the worker")
	}
	if _, err := s.Invoke(t.Context(), model.Invocation{Function: "java"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed function: %v", err)
	}
	roots, err := filepath.Glob(filepath.Join(s.cfg.DataDir, "build", "fn", "*", "*"))
	if err != nil || len(roots) != 1 {
		t.Errorf("builds kept: %v %v", roots, err)
	}
}

func TestTagIsInheritedBySynchronousCalls(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`exports.handler = async (e) => { await new Promise((r) => setTimeout(r, e.ms || 0)); return process.env.AWS_ACCESS_KEY_ID; };`), &model.Function{}, &model.Function{Name: "other"})
	outer := strings.Trim(string(s.call("fn", "{}").Payload), `"`)
	inner := strings.Trim(string(s.call("other", "{}").Payload), `"`)
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Invoke(t.Context(), model.Invocation{Function: "fn", Tag: "conn-1", Payload: []byte(`{"ms":300}`)})
	})
	s.until(func() bool { return s.Tag(outer) != "" })
	wg.Go(func() {
		s.Invoke(t.Context(), model.Invocation{Function: "other", Caller: outer, Payload: []byte(`{"ms":200}`)})
	})
	s.until(func() bool { return s.Tag(inner) != "" })
	if s.Tag(outer) != "conn-1" || s.Tag(inner) != "conn-1" || s.Tag("ASIANOBODY") != "" {
		t.Errorf("tags: %q %q", s.Tag(outer), s.Tag(inner))
	}
	wg.Wait()
	if s.Tag(outer) != "" || s.Tag(inner) != "" {
		t.Error("tags outlive their invocations")
	}
}

func TestAsyncRetries(t *testing.T) {
	need(t, "node")
	// One and two minutes pass in 60 and 120 ms.
	s := newStand(t, Config{Clock: clock.Scaled(1000)}, js(`
		const fs = require('fs');
		exports.handler = async (e, c) => {
			fs.appendFileSync(e.file, c.awsRequestId + '\n');
			if (fs.readFileSync(e.file, 'utf8').split('\n').length <= e.failures) throw new Error('not yet');
			return 1;
		};`), &model.Function{AsyncRetries: -1, OnFailure: "arn:aws:sqs:eu-west-1:123456789012:dlq", Timeout: time.Hour})
	send := func(name string, failures int) string {
		file := filepath.Join(t.TempDir(), name)
		err := s.InvokeAsync(t.Context(), model.Invocation{Function: "fn", RequestID: name, Payload: fmt.Appendf(nil, `{"file":%q,"failures":%d}`, file, failures)})
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	second := send("second", 2)
	s.line("retry 1 of 2 in 1m0s")
	never := send("never", 99)
	s.line("asynchronous invocation given up: failed 3 times, the last time with Error")
	s.line("OnFailure destination arn:aws:sqs:eu-west-1:123456789012:dlq is not supported yet")
	s.until(func() bool { return s.async.Load() == 0 })
	for file, want := range map[string]string{second: "second\nsecond\n", never: "never\nnever\nnever\n"} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s ran as %q (%v), want %q", file, got, err, want)
		}
	}
	if err := s.InvokeAsync(t.Context(), model.Invocation{Function: "fn", Payload: make([]byte, 1<<20+1)}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("1 MB: %v", err)
	}
	if err := s.InvokeAsync(t.Context(), model.Invocation{Function: "nobody"}); !fault.Is(err, fault.NotFound) {
		t.Errorf("unknown: %v", err)
	}
}

func TestCloseKillsWhatDoesNotFinish(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`exports.handler = async () => { require('child_process').spawn('sleep', ['300']); for (;;); };`), &model.Function{})
	done := make(chan model.InvokeResult)
	go func() {
		res, _ := s.Invoke(context.Background(), model.Invocation{Function: "fn"})
		done <- res
	}()
	s.until(func() bool { return s.Functions()[0].Busy > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := s.Close(ctx); !fault.Is(err, fault.Timeout) {
		t.Errorf("Close = %v, want that it had to kill", err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("Close took %s", took)
	}
	if res := <-done; res.ErrorType != "Runtime.ExitError" {
		t.Errorf("the killed invocation ended with %+v", res)
	}
	if _, err := s.Invoke(t.Context(), model.Invocation{Function: "fn"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// A worker that was handed to a caller between "leave the queue" and "take the
// grant" belonged to nobody afterwards: with a few callers that gave up, all
// workers of a function were busy for ever, and it answered nothing any more.
func TestGivingUpNeverLosesAWorker(t *testing.T) {
	rev := &revision{fn: &model.Function{Reserved: 1}, output: &build.Output{}}
	f := &function{rt: &Runtime{bound: 1}, rev: rev, live: 1}
	w := &worker{fn: f, rev: rev}
	for i := range 20_000 {
		ctx, cancel := context.WithCancel(t.Context())
		got, queued := make(chan grant), make(chan struct{})
		go func() { got <- f.acquire(ctx, 1, false, func() { close(queued) }) }()
		<-queued
		go cancel()
		f.release(w)
		g := <-got
		if idle := len(f.idle); g.w == nil && idle != 1 || g.w != nil && idle != 0 {
			t.Fatalf("round %d: granted %v, %d idle: the worker is lost", i, g.w != nil, idle)
		}
		f.idle = nil
		if f.bytes != 0 {
			t.Fatalf("round %d: %d bytes wait in an empty queue", i, f.bytes)
		}
	}
}

// A save in the middle of a slow start: the old code's failure was answered to a
// caller for whom the new code was already starting.
func TestOldCodeFailsForNobodyAfterAReload(t *testing.T) {
	need(t, "node")
	slow := func(ms int, then string) string {
		return fmt.Sprintf("require('fs').writeFileSync(process.env.MARK, ''); const until = Date.now() + %d; while (Date.now() < until); %s", ms, then)
	}
	mark := filepath.Join(t.TempDir(), "started")
	s := newStand(t, Config{}, js(slow(600, "throw new Error('old');")), &model.Function{Env: map[string]string{"MARK": mark}})
	result := make(chan string)
	go func() { result <- string(s.call("fn", "{}").Payload) }()
	s.until(func() bool { _, err := os.Stat(mark); return err == nil })
	s.write("index.js", slow(1200, "exports.handler = async () => 'new';"))
	if names, err := s.Reload(t.Context(), []string{filepath.Join(s.dir, "index.js")}); err != nil || len(names) != 1 {
		t.Fatalf("Reload = %v, %v", names, err)
	}
	if got := <-result; got != `"new"` {
		t.Errorf("the waiting caller got %s", got)
	}
}

// Close found workers that were known but had no process yet, and died of it.
func TestCloseWhileWorkersStart(t *testing.T) {
	need(t, "node")
	for i := range 12 {
		s := newStand(t, Config{}, js(sleeper), &model.Function{})
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				s.Invoke(context.Background(), model.Invocation{Function: "fn"})
			})
		}
		s.until(func() bool { return i%2 == 0 || len(s.liveWorkers()) > i/2 })
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.Close(ctx)
		callers.Wait()
	}
}

// A start that failed left a worker that Close could wait for in vain.
func TestFailedStartIsSettled(t *testing.T) {
	r, err := New(Config{DataDir: t.TempDir(), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(t.Context())
	f := &function{rt: r, name: "fn"}
	f.rev = &revision{fn: &model.Function{Name: "fn"}, output: &build.Output{Command: []string{filepath.Join(t.TempDir(), "absent")}, Frames: true}}
	w := &worker{rt: r, fn: f, rev: f.rev, identity: newIdentity(), started: make(chan struct{}), gone: make(chan struct{})}
	if err := w.launch(); err == nil {
		t.Fatal("an absent program started")
	}
	<-w.gone
	w.kill()
	if n := len(r.liveWorkers()); n != 0 {
		t.Errorf("%d workers are left", n)
	}
}

// Functions print and return the name of their log stream, which nobody takes
// for a secret: it used to be made of all but four digits of the proxy's password.
func TestLogStreamTellsNoSecret(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`exports.handler = async (e, c) => c.logStreamName;`), &model.Function{})
	stream := string(s.call("fn", "{}").Payload)
	_, name, ok := strings.Cut(strings.Trim(stream, `"`), "/[$LATEST]")
	if !ok || len(name) != 32 {
		t.Errorf("%s is not in Lambda's form", stream)
	}
	for _, w := range s.liveWorkers() {
		for i := range len(name) - 7 {
			if part := name[i : i+8]; strings.Contains(w.identity.ProxySecret, part) || strings.Contains(w.identity.SecretKey, part) {
				t.Errorf("%s holds %s of a secret", stream, part)
			}
		}
	}
}

// 10 000 events of 1 MB each would be 10 GB: their bytes are bounded too.
func TestAsyncEventsAreBoundedInBytes(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(sleeper), &model.Function{})
	s.held.Store(maxHeld - 3)
	if err := s.InvokeAsync(t.Context(), model.Invocation{Function: "fn", Payload: []byte("1234")}); !fault.Is(err, fault.Throttled) {
		t.Errorf("err = %v", err)
	}
	if err := s.InvokeAsync(t.Context(), model.Invocation{Function: "fn", Payload: []byte("{ }")}); err != nil {
		t.Error(err)
	}
	s.until(func() bool { return s.held.Load() == maxHeld-3 && s.async.Load() == 0 })
}
