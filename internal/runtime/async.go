package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

const (
	maxAsync    = 10_000        // events waiting or running, over all functions
	maxHeld     = 256 << 20     // and the bytes of their payloads
	asyncMaxAge = 6 * time.Hour // Lambda's default MaximumEventAgeInSeconds
	asyncRetry  = time.Minute   // before the first retry; twice that before the second
)

// InvokeAsync queues an event and returns. A function error is retried twice (or
// AsyncRetries), one and then two minutes later; a throttled event is retried
// after 1 s, 2 s, … up to 5 min, until it is AsyncMaxAge old. The tag of the
// caller is not inherited. Errors: fault.NotFound, TooLarge (above 1 MB),
// Throttled when 10 000 events or 256 MB of them wait, Unavailable while stopping.
//
// Events are held in memory: those not finished when the process ends are lost,
// and Close says how many.
func (r *Runtime) InvokeAsync(_ context.Context, inv model.Invocation) error {
	f, _, err := r.find(inv.Function)
	if err != nil {
		return err
	}
	if len(inv.Payload) > maxAsyncPayload {
		return fault.Typed(fault.TooLarge, "RequestTooLargeException",
			"Request must be smaller than %d bytes for the asynchronous InvokeFunction operation", maxAsyncPayload)
	}
	if inv.RequestID == "" {
		inv.RequestID = id.NewUUID()
	}
	inv.Tag, inv.Caller, inv.LogTail = "", "", false

	r.mu.RLock()
	defer r.mu.RUnlock() // Close sets closed under mu before it waits for tasks
	if r.closed {
		return fault.New(fault.Unavailable, "livegate is stopping")
	}
	size := int64(len(inv.Payload))
	leave := func() {
		r.async.Add(-1)
		r.held.Add(-size)
	}
	if waiting, held := r.async.Add(1), r.held.Add(size); waiting > maxAsync || held > maxHeld {
		leave()
		return throttled()
	}
	r.tasks.Go(func() {
		defer leave()
		r.deliverAsync(f, inv)
	})
	return nil
}

// deliverAsync runs an event to success or to its last failure.
func (r *Runtime) deliverAsync(f *function, inv model.Invocation) {
	born := r.cfg.Clock.Now()
	backoff := time.Second
	failures := 0
	for {
		result, err := r.Invoke(r.ctx, inv)
		if r.ctx.Err() != nil {
			return
		}
		retries, maxAge, fn := asyncPolicy(f)
		pause := backoff
		switch {
		case err == nil && result.FunctionError == "":
			r.destination(fn, "OnSuccess", inv.RequestID)
			return
		case err == nil:
			failures++
			if failures > retries {
				r.giveUp(fn, f.name, inv.RequestID, fmt.Sprintf("failed %d times, the last time with %s", failures, result.ErrorType))
				return
			}
			pause = asyncRetry << (failures - 1)
			r.event("warn", f.name, inv.RequestID, fmt.Sprintf("asynchronous invocation failed (%s); retry %d of %d in %s", result.ErrorType, failures, retries, pause))
		case fault.KindOf(err).Retryable():
			backoff = min(2*backoff, 5*time.Minute)
		default:
			r.giveUp(fn, f.name, inv.RequestID, fault.Message(err))
			return
		}
		if r.cfg.Clock.Now().Add(r.cfg.Clock.Real(pause)).Sub(born) > r.cfg.Clock.Real(maxAge) {
			r.giveUp(fn, f.name, inv.RequestID, "the event is older than "+maxAge.String())
			return
		}
		if r.pause(pause) != nil {
			return
		}
	}
}

func asyncPolicy(f *function) (retries int, maxAge time.Duration, fn *model.Function) {
	retries, maxAge = 2, asyncMaxAge
	if rev := f.current(); rev != nil {
		fn = rev.fn
		if fn.AsyncRetries >= 0 {
			retries = fn.AsyncRetries
		}
		if fn.AsyncMaxAge > 0 {
			maxAge = fn.AsyncMaxAge
		}
	}
	return retries, maxAge, fn
}

var errStopping = errors.New("livegate is stopping")

func (r *Runtime) pause(d time.Duration) error {
	timer := r.cfg.Clock.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return errStopping
	}
}

func (r *Runtime) giveUp(fn *model.Function, name, requestID, why string) {
	r.event("error", name, requestID, "asynchronous invocation given up: "+why)
	r.destination(fn, "OnFailure", requestID)
}

// destination says by name what is not built yet.
func (r *Runtime) destination(fn *model.Function, kind, requestID string) {
	if fn == nil {
		return
	}
	arn := fn.OnSuccess
	if kind == "OnFailure" {
		arn = fn.OnFailure
	}
	if arn != "" {
		r.event("warn", fn.Name, requestID, kind+" destination "+arn+" is not supported yet: the record was not sent")
	}
}
