package runtime

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

const (
	maxPayload      = 6 << 20 // Lambda quota: synchronous payload, each way
	maxAsyncPayload = 1 << 20 // Lambda quota: asynchronous event
	tailSize        = 4 << 10 // X-Amz-Log-Result
	maxHandovers    = 3       // workers that may die before an invocation began
)

// call is one invocation on one worker.
type call struct {
	// Static once delivered.
	inv      model.Invocation
	id       string
	arn      string // with the qualifier that was asked for
	trace    string
	started  time.Time
	deadline time.Time
	timer    *time.Timer
	done     chan struct{} // closed when out is set

	delivered atomic.Bool // the process has it

	tail []byte  // guarded by the worker's mu
	out  outcome // written before done is closed
}

// outcome is how a call ended on a worker. again: it never began there.
type outcome struct {
	result model.InvokeResult
	again  bool
}

func (c *call) received() bool { return c.delivered.Load() }

func (c *call) keepTail(text string) {
	if !c.inv.LogTail {
		return
	}
	c.tail = append(append(c.tail, text...), '\n')
	if len(c.tail) > 2*tailSize {
		c.tail = append(c.tail[:0], c.tail[len(c.tail)-tailSize:]...)
	}
}

// Invoke runs a function and waits for its answer. What the function does wrong
// is in the result; errors are fault.NotFound (no such function or qualifier),
// Throttled (bounds of the package doc), TooLarge (payload above 6 MB),
// Unavailable (its code could not be built) and Timeout (ctx ended first: the
// function runs on, its answer is dropped).
func (r *Runtime) Invoke(ctx context.Context, inv model.Invocation) (model.InvokeResult, error) {
	f, arn, err := r.find(inv.Function)
	if err != nil {
		return model.InvokeResult{}, err
	}
	if len(inv.Payload) > maxPayload {
		return model.InvokeResult{}, fault.Typed(fault.TooLarge, "RequestTooLargeException",
			"Request must be smaller than %d bytes for the InvokeFunction operation", maxPayload)
	}
	if len(inv.Payload) == 0 {
		inv.Payload = []byte("{}")
	}
	if inv.RequestID == "" {
		inv.RequestID = id.NewUUID()
	}
	if inv.Tag == "" && inv.Caller != "" {
		inv.Tag = r.Tag(inv.Caller)
	}
	queued := func() {}
	if inv.Queued != nil {
		queued = sync.OnceFunc(inv.Queued) // a handover takes a second place in line
	}
	for range maxHandovers {
		g := f.acquire(ctx, len(inv.Payload), inv.MustRun, queued)
		if g.err != nil {
			return model.InvokeResult{}, g.err
		}
		if g.failure != nil {
			result := *g.failure
			result.RequestID = inv.RequestID
			return result, nil
		}
		out, err := g.w.run(ctx, inv, arn)
		if err != nil {
			return model.InvokeResult{}, err
		}
		if !out.again {
			return out.result, nil
		}
	}
	result := *failed("Runtime.ExitError", "RequestId: "+inv.RequestID+" Error: workers of this function exit before they take an invocation")
	result.RequestID = inv.RequestID
	f.count(true)
	return result, nil
}

// find resolves a name or ARN with an optional qualifier.
func (r *Runtime) find(name string) (f *function, arn string, err error) {
	short := name
	if _, rest, ok := strings.Cut(name, "function:"); ok {
		short = rest
	}
	short, qualifier, _ := strings.Cut(short, ":")
	r.mu.RLock()
	f = r.functions[short]
	closed := r.closed
	r.mu.RUnlock()
	if closed {
		return nil, "", fault.New(fault.Unavailable, "livegate is stopping")
	}
	if f == nil {
		return nil, "", notFound(name)
	}
	rev := f.current()
	if rev == nil {
		return f, "", nil // acquire tells why
	}
	arn = rev.fn.ARN
	if qualifier != "" && qualifier != "$LATEST" {
		if !known(rev.fn, qualifier) {
			return nil, "", notFound(arn + ":" + qualifier)
		}
		arn += ":" + qualifier
	}
	return f, arn, nil
}

func known(fn *model.Function, qualifier string) bool {
	if _, ok := fn.Aliases[qualifier]; ok {
		return true
	}
	for _, version := range fn.Aliases {
		if version == qualifier {
			return true
		}
	}
	return qualifier == "1" // every published function has it
}

// run executes one invocation on w, which the caller has acquired.
func (w *worker) run(ctx context.Context, inv model.Invocation, arn string) (outcome, error) {
	now := time.Now()
	c := &call{
		inv: inv, id: inv.RequestID, arn: arn, trace: id.NewTrace(now.Unix()),
		started: now, deadline: now.Add(w.rev.fn.Timeout), done: make(chan struct{}),
	}
	w.mu.Lock()
	if w.dead {
		w.mu.Unlock()
		return outcome{again: true}, nil
	}
	w.call, w.last = c, c.id
	// Not on Clock: the user's code runs at true speed, and 3 s must mean 3 s.
	c.timer = time.AfterFunc(w.rev.fn.Timeout, func() { w.timeout(c) })
	w.mu.Unlock()
	if err := w.link.deliver(c); err != nil {
		// The process is gone or going; reap settles the call if nobody else does.
		w.kill()
	}
	select {
	case <-c.done:
		return c.out, nil
	case <-ctx.Done():
		return outcome{}, &fault.Error{Kind: fault.Timeout, Msg: "the caller stopped waiting for function " + w.fn.name, Err: context.Cause(ctx)}
	}
}

// timeout ends an invocation that took too long, with AWS's wording.
func (w *worker) timeout(c *call) {
	text := fmt.Sprintf("%s %s Task timed out after %.2f seconds",
		w.rt.cfg.Clock.Now().UTC().Format("2006-01-02T15:04:05.000Z"), c.id, w.rev.fn.Timeout.Seconds())
	if w.running() != c {
		return
	}
	w.bury()
	if w.complete(c, outcome{result: *failed("Sandbox.Timedout", text)}) {
		w.rt.event("error", w.fn.name, c.id, fmt.Sprintf("Task timed out after %.2f seconds", w.rev.fn.Timeout.Seconds()))
	}
	w.kill()
}

// complete settles c, once: the worker goes back first, so that the caller's
// next invocation finds it idle.
func (w *worker) complete(c *call, out outcome) bool {
	w.mu.Lock()
	if w.call != c {
		w.mu.Unlock()
		return false
	}
	w.call = nil
	dead := w.dead
	tail := c.tail
	w.mu.Unlock()
	c.timer.Stop()
	if !out.again {
		out.result.RequestID = c.id
		out.result.Duration = w.rt.cfg.Clock.Now().Sub(c.started)
		if c.inv.LogTail {
			out.result.LogTail = w.report(c, tail, out.result.Duration)
		}
		w.fn.count(out.result.FunctionError != "")
	}
	if !dead {
		w.fn.release(w)
	}
	c.out = out
	close(c.done)
	return true
}

// report is the log tail as Lambda frames it.
func (w *worker) report(c *call, tail []byte, took time.Duration) []byte {
	text := fmt.Appendf(nil, "START RequestId: %s Version: $LATEST\n%sEND RequestId: %s\n"+
		"REPORT RequestId: %s\tDuration: %.2f ms\tBilled Duration: %d ms\tMemory Size: %d MB\n",
		c.id, tail, c.id, c.id, float64(took.Microseconds())/1000, took.Milliseconds()+1, memory(w.rev.fn))
	return text[max(0, len(text)-tailSize):]
}

func (w *worker) running() *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.call
}
