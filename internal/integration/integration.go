// Package integration runs what stands behind a route: a function (AWS_PROXY, or
// AWS with a function's URI), an action of an AWS service (AWS), an HTTP back end
// (HTTP_PROXY, HTTP) or nothing (MOCK), with their mappings (Developer Guide,
// "WebSocket API integration requests", "… integration responses" and "… data
// mapping").
//
// [Compile] reads an integration once per deployment: URIs, parameters, selection
// expressions and Velocity templates. What it finds wrong is kept in the plan and
// returned by every call, with file and line of the integration and the line and
// column inside a template, so that nothing is ignored in silence.
// [Executor.Compile] finds as well that an AWS service is not built.
//
// What a client or a back end can make it do is bounded: a template by steps,
// output, depth and data ([MaxSteps] and its neighbours), what it asks of $input and
// $util by the bytes read ([MaxWork]), an answer by [MaxResponse]. Values that
// templates map into headers and paths are checked, never repaired. The default
// transport reaches no link-local or metadata address, whatever a name resolves to.
//
// [Executor.Call] blocks until the back end answered or the integration's
// time-out passed, and may run any number of calls at once. It returns errors of
// kind
//   - fault.Timeout      the integration took longer than it may
//   - fault.Throttled    the function's queue is full
//   - fault.Upstream     the user's code failed or answered nonsense
//   - fault.BadRequest   no template fits the message (415)
//   - fault.Unsupported  understood and not built yet
//   - fault.Internal     the configuration cannot work (a missing stage variable, a
//     template that fails, an answer that no integration response is for)
//
// whose texts are for the log; what a client sees is the gateway's business.
// The package knows no connections and no routes, and no service: it makes the
// HTTP request that AWS would get. Test it with a function value for Functions, an
// http.Handler behind Services and an httptest server.
package integration

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// MaxResponse bounds what is read of a back end's answer: more cannot be sent as
// one message (128 KB).
const MaxResponse = 128 << 10

// Functions runs functions; *runtime.Runtime does.
type Functions interface {
	Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error)
}

// Events starts functions without waiting for them (X-Amz-Invocation-Type: Event);
// *runtime.Runtime does.
type Events interface {
	InvokeAsync(ctx context.Context, in model.Invocation) error
}

// Services are AWS's front doors in this process.
type Services interface {
	// Do runs a request as service (signing name: "dynamodb", "states") would get it
	// from API Gateway, in a role's name (an ARN, "" for none). The request is not
	// signed; its URL has the service's public host. An error means that it did not
	// get there: what the service refuses is an answer.
	Do(ctx context.Context, service, region, role string, r *http.Request) (*http.Response, error)
	// Knows reports whether service is there and has the action ("" asks for the
	// service alone).
	Knows(service, action string) bool
}

// Config of an executor. What is nil fails the calls that need it, by name.
type Config struct {
	Functions Functions
	Events    Events
	Services  Services
	// HTTP calls back ends; nil means a client with [Transport]. Redirects are never
	// followed: API Gateway hands them on, and one that crosses hosts would carry
	// mapped headers with it.
	HTTP *http.Client
	// Bytes lets answers be bytes (Response.Binary), which AWS cannot send; without,
	// an answer that is not UTF-8 text is an error.
	Bytes bool
}

// Executor runs integrations. It is safe for concurrent use.
type Executor struct {
	functions Functions
	events    Events
	services  Services
	http      *http.Client
	bytes     bool
}

// New returns an executor.
func New(cfg Config) *Executor {
	client := http.Client{}
	if cfg.HTTP != nil {
		client = *cfg.HTTP
	} else {
		client.Transport = Transport()
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Executor{functions: cfg.Functions, events: cfg.Events, services: cfg.Services, http: &client, bytes: cfg.Bytes}
}

// Compile is [Compile] for this executor: a plan whose AWS service or action is
// not built cannot run.
func (x *Executor) Compile(in *model.Integration) *Plan {
	p := Compile(in)
	if service, action, ok := p.Service(); ok && (x.services == nil || !x.services.Knows(service, action)) {
		p.err = fault.New(fault.Unsupported, "integration %s%s: %s is not supported yet", p.name, at(in.Pos), strings.TrimSpace(service+" "+action))
	}
	return p
}

// Request is one event for one integration.
type Request struct {
	Plan *Plan
	// Type is event.TypeConnect, TypeMessage or TypeDisconnect.
	Type           string
	Conn           *event.Connection
	Call           event.Call
	StageVariables map[string]string
	// TwoWay: the answer's body is wanted. Ignored on $connect and $disconnect.
	TwoWay bool
	// Handshake is set on CONNECT, Body on MESSAGE, Code and Reason on DISCONNECT.
	Handshake *event.Handshake
	Body      []byte
	// Binary: the message was a binary frame.
	Binary bool
	Code   int
	Reason string
	// Queued is called at most once, as soon as a later call cannot overtake this
	// one (model.Invocation.Queued); not at all if the executor cannot tell.
	Queued func()
}

// Response is a back end's answer.
type Response struct {
	// Status decides a handshake: the function's statusCode, the HTTP or MOCK
	// status. 0 when a function's answer to a message has none.
	Status int
	// Body is what a two-way route sends; empty means nothing is sent.
	Body []byte
	// Binary: Body is bytes, not text. Never without Config.Bytes.
	Binary bool
	// Protocol is the answer's Sec-WebSocket-Protocol.
	Protocol string
}

// Call runs the integration.
func (x *Executor) Call(ctx context.Context, r *Request) (Response, error) {
	p := r.Plan
	if p.err != nil {
		return Response{}, p.err
	}
	if p.fixed != nil {
		return *p.fixed, nil
	}
	// Not on Clock: a back end computes at true speed, whatever --time-scale says.
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var resp Response
	var err error
	switch p.kind {
	case model.AWSProxy:
		resp, err = x.function(ctx, r)
	case model.HTTPProxy:
		resp, err = x.backend(ctx, r)
	default:
		resp, err = x.transform(ctx, r)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !fault.Is(err, fault.Throttled) {
		return Response{}, fault.New(fault.Timeout, "integration %s: no answer within %v", p.name, p.timeout)
	}
	return resp, err
}
