package runtime

import (
	"container/list"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime/build"
)

const (
	maxWaiting      = 10_000
	maxWaitingBytes = 64 << 20
	maxWait         = 10 * time.Second
)

// revision is one immutable state of a function's code and configuration. A
// worker belongs to the revision it was started with.
type revision struct {
	fn     *model.Function
	output *build.Output
	key    string // equal keys mean nothing a worker could notice has changed
	region string
}

// function is the pool of one function's workers and the queue in front of it.
type function struct {
	rt   *Runtime
	name string

	mu sync.Mutex
	// Guarded by mu.
	rev      *revision // nil until a build succeeded
	err      error     // of the newest build
	closed   bool      // removed from the template, or shutting down
	idle     []*worker // all of rev; the last became idle last
	live     int       // workers of rev that are starting, idle or busy
	starting int       // of those, starting
	waiting  list.List // *waiter
	bytes    int       // payload bytes waiting

	invocations, errors, throttled, coldStarts uint64
}

// waiter is an invocation without a worker.
type waiter struct {
	got   chan grant // capacity 1; sent to under mu, together with leaving the queue
	bytes int
}

// grant ends a wait: a worker, or the reason why there is none.
type grant struct {
	w       *worker
	failure *model.InvokeResult // initialisation failed
	err     error
}

func (f *function) limit() int {
	n := f.rt.bound
	if f.rev.fn.Reserved >= 0 {
		n = min(n, f.rev.fn.Reserved)
	}
	return n
}

// acquire returns a worker that now belongs to the caller. Errors:
// fault.Throttled beyond the bounds, fault.Unavailable without runnable code,
// ctx's error.
func (f *function) acquire(ctx context.Context, bytes int, mustRun bool, queued func()) grant {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return grant{err: notFound(f.name)}
	}
	if f.rev == nil {
		err := f.err
		f.mu.Unlock()
		return grant{err: &fault.Error{Kind: fault.Unavailable, Msg: "function " + f.name + " cannot run", Err: err}}
	}
	if n := len(f.idle); n > 0 {
		w := f.idle[n-1]
		f.idle = f.idle[:n-1]
		f.mu.Unlock()
		queued()
		return grant{w: w}
	}
	full := f.waiting.Len() >= maxWaiting || f.bytes+bytes > maxWaitingBytes
	if f.limit() == 0 || full && !mustRun {
		f.throttled++
		f.mu.Unlock()
		return grant{err: throttled()}
	}
	wait := &waiter{got: make(chan grant, 1), bytes: bytes}
	place := f.waiting.PushBack(wait)
	f.bytes += bytes
	f.startMore()
	f.mu.Unlock()
	queued()
	return f.wait(ctx, place, mustRun)
}

// wait blocks until place is granted. The 10 s bound is for capacity: an item
// whose worker is starting waits for it, however long initialisation takes.
func (f *function) wait(ctx context.Context, place *list.Element, mustRun bool) grant {
	wait := place.Value.(*waiter)
	// Not on Clock: what it waits for is code, which runs at true speed.
	timer := time.NewTimer(f.rt.cfg.QueueWait)
	defer timer.Stop()
	for {
		select {
		case g := <-wait.got:
			return g
		case <-ctx.Done():
			if g, ok := f.leave(place, false); ok {
				return g
			}
			return grant{err: &fault.Error{Kind: fault.Timeout, Msg: "the caller stopped waiting for function " + f.name, Err: context.Cause(ctx)}}
		case <-timer.C:
			if mustRun || f.coming(place) {
				timer.Reset(time.Second)
				continue
			}
			if g, ok := f.leave(place, true); ok {
				return g
			}
			return grant{err: throttled()}
		}
	}
}

// coming reports whether a starting worker is meant for place.
func (f *function) coming(place *list.Element) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.waiting.Front()
	for range f.starting {
		if e == place {
			return true
		}
		if e == nil {
			return false
		}
		e = e.Next()
	}
	return false
}

// leave gives up a place in the queue. It may have been granted meanwhile: ok.
func (f *function) leave(place *list.Element, throttle bool) (g grant, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	wait := place.Value.(*waiter)
	select {
	case g = <-wait.got:
		return g, true
	default:
	}
	f.waiting.Remove(place)
	f.bytes -= wait.bytes
	if throttle {
		f.throttled++
	}
	return grant{}, false
}

// serve ends the wait of the head of the queue with g; false when nobody waits.
// Caller holds mu, which is what makes it safe: were the grant sent later, leave
// could come in between, find nothing, and the worker would belong to nobody.
func (f *function) serve(g grant) bool {
	e := f.waiting.Front()
	if e == nil {
		return false
	}
	wait := f.waiting.Remove(e).(*waiter)
	f.bytes -= wait.bytes
	wait.got <- g // has room: a waiter is granted once
	return true
}

// startMore starts workers for those who wait, within the bound. Caller holds mu.
func (f *function) startMore() {
	for !f.closed && f.rev != nil && f.starting < f.waiting.Len() && f.live < f.limit() {
		f.live++
		f.starting++
		rev := f.rev
		f.rt.tasks.Go(func() { f.start(rev) })
	}
}

// start brings up one worker and hands it to the queue, or a failure to its head.
func (f *function) start(rev *revision) {
	w, failure := f.rt.startWorker(f, rev)
	f.mu.Lock()
	current := f.rev == rev
	if current {
		f.starting--
	}
	if failure == nil {
		f.coldStarts++
		f.mu.Unlock()
		f.release(w)
		return
	}
	defer f.mu.Unlock()
	if !current { // those who wait get workers of the new code, see swap
		return
	}
	f.live--
	if f.serve(grant{failure: failure}) {
		f.invocations++
		f.errors++
	}
	f.startMore()
}

// release takes back a worker after an invocation (or after its start): the
// head of the queue gets it, else it becomes idle; on old code, or after the
// function is gone, it ends.
func (f *function) release(w *worker) {
	f.mu.Lock()
	if f.closed || w.rev != f.rev || w.dying() {
		f.startMore()
		f.mu.Unlock()
		w.kill()
		return
	}
	if f.serve(grant{w: w}) {
		f.mu.Unlock()
		return
	}
	w.idleSince = f.rt.cfg.Clock.Now()
	f.idle = append(f.idle, w)
	f.mu.Unlock()
}

// lost takes a dead worker out of the books, once per worker.
func (f *function) lost(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.rev != f.rev {
		return
	}
	f.live--
	if i := slices.Index(f.idle, w); i >= 0 {
		f.idle = slices.Delete(f.idle, i, i+1)
	}
	f.startMore()
}

// swap makes rev the current revision. Idle workers of the old one end now, busy
// ones when their invocation does; those who wait get workers of the new one.
func (f *function) swap(rev *revision) {
	f.mu.Lock()
	old := f.idle
	f.idle, f.live, f.starting = nil, 0, 0
	f.rev, f.err, f.closed = rev, nil, false
	f.startMore()
	f.mu.Unlock()
	for _, w := range old {
		w.kill()
	}
}

// failed records a build that did not succeed; code that runs keeps running.
func (f *function) failed(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
}

// close ends idle workers and refuses everybody who waits.
func (f *function) close() {
	f.mu.Lock()
	f.closed = true
	old := f.idle
	f.idle = nil
	refusal := grant{err: fault.New(fault.Unavailable, "function %s was removed or livegate is stopping", f.name)}
	for f.serve(refusal) {
	}
	f.mu.Unlock()
	for _, w := range old {
		w.kill()
	}
}

// stopIdle ends workers that became idle before t.
func (f *function) stopIdle(t time.Time) {
	f.mu.Lock()
	var old []*worker
	for len(f.idle) > 0 && f.idle[0].idleSince.Before(t) {
		old = append(old, f.idle[0])
		f.idle = f.idle[1:]
	}
	f.mu.Unlock()
	for _, w := range old {
		w.kill()
	}
}

func (f *function) count(failed bool) {
	f.mu.Lock()
	f.invocations++
	if failed {
		f.errors++
	}
	f.mu.Unlock()
}

func (f *function) current() *revision {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rev
}

func (f *function) status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Name: f.name, Workers: f.live, Busy: f.live - len(f.idle) - f.starting, Queued: f.waiting.Len(),
		Invocations: f.invocations, Errors: f.errors, Throttled: f.throttled, ColdStarts: f.coldStarts, Err: f.err,
	}
	if f.rev != nil {
		s.LogicalID, s.ARN, s.Runtime = f.rev.fn.LogicalID, f.rev.fn.ARN, f.rev.fn.Runtime
		s.RunsOn = f.rev.output.RunsOn
	}
	return s
}

func throttled() error {
	return fault.Typed(fault.Throttled, "TooManyRequestsException", "Rate Exceeded.")
}

func notFound(arn string) error {
	return fault.Typed(fault.NotFound, "ResourceNotFoundException", "Function not found: %s", arn)
}
