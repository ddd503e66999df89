package integration

import (
	"context"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/selection"
)

// lambda runs a function behind type AWS: its event is the template's text or the
// message, its result is mapped. Integration responses are chosen by the error
// message of a function that failed; one that succeeded has none.
func (x *Executor) lambda(ctx context.Context, r *Request, vars *selection.Vars, payload []byte) (*reply, error) {
	p := r.Plan
	name, err := p.target.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return nil, err
	}
	if len(payload) > 0 && !selection.ValidJSON(payload) {
		// What Lambda's Invoke answers to an event that is not JSON.
		return nil, fault.New(fault.Upstream, "integration %s: InvalidRequestContentException: the event for function %s is not JSON but %s", p.name, FunctionName(name), shape(string(payload)))
	}
	out := &outgoing{header: map[string][]string{}, query: map[string][]string{}}
	if err := p.parameters.apply(p, out, vars); err != nil {
		return nil, err
	}
	in := model.Invocation{Function: name, Payload: payload, Queued: r.Queued, MustRun: r.Type == event.TypeDisconnect}
	switch kind := invocationType(out); kind {
	case "", "RequestResponse":
	case "Event":
		return x.start(ctx, r, in)
	default:
		return nil, fault.New(fault.Upstream, "integration %s: X-Amz-Invocation-Type %q: it must be RequestResponse or Event", p.name, kind)
	}
	if x.functions == nil {
		return nil, fault.New(fault.Unsupported, "integration %s: no function runtime is configured", p.name)
	}
	if r.Type == event.TypeConnect {
		in.Tag = r.Conn.ID
	}
	res, err := x.functions.Invoke(ctx, in)
	if err != nil {
		return nil, err
	}
	if len(res.Payload) > MaxResponse && r.readsAnswer() {
		return nil, fault.New(fault.Upstream, "integration %s: function %s answered more than %d bytes, the limit of a message", p.name, FunctionName(name), MaxResponse)
	}
	rep := &reply{status: 200, body: res.Payload}
	if res.FunctionError != "" {
		// A handshake must not be let in by a function that failed.
		rep.status = 502
		rep.failed = "function " + FunctionName(name) + ": " + functionError(&res)
	}
	rep.selector = gjson.GetBytes(res.Payload, "errorMessage").String()
	return rep, nil
}

// start runs a function without waiting: Lambda answers 202 without a body.
func (x *Executor) start(ctx context.Context, r *Request, in model.Invocation) (*reply, error) {
	if x.events == nil {
		return nil, fault.New(fault.Unsupported, "integration %s: asynchronous invocations are not supported here", r.Plan.name)
	}
	in.Queued, in.MustRun = nil, false
	if err := x.events.InvokeAsync(ctx, in); err != nil {
		return nil, err
	}
	r.queued()
	return &reply{status: 202}, nil
}

func invocationType(out *outgoing) string {
	for name, values := range out.header {
		if strings.EqualFold(name, "X-Amz-Invocation-Type") {
			return values[0]
		}
	}
	return ""
}
