// Package integration runs what stands behind a route: a function (AWS_PROXY),
// an HTTP back end (HTTP_PROXY) or a MOCK, with their mappings (Developer Guide,
// "WebSocket API integration requests" and "… integration responses").
//
// [Compile] reads an integration once per deployment; what it finds wrong, or not
// built yet (types AWS and HTTP, templates that use VTL), is kept in the plan and
// returned by every call, named, so that nothing is ignored in silence.
//
// [Executor.Call] blocks until the back end answered or the integration's
// time-out passed, and may run any number of calls at once. It returns errors of
// kind
//   - fault.Timeout      the integration took longer than it may
//   - fault.Throttled    the function's queue is full
//   - fault.Upstream     the user's code failed or answered nonsense
//   - fault.BadRequest   no template fits the message (415)
//   - fault.Unsupported  understood and not built yet
//   - fault.Internal     the configuration cannot work (a missing stage variable)
//
// whose texts are for the log; what a client sees is the gateway's business.
// The package knows no connections and no routes. Test it with a function value
// for Functions and an httptest server.
package integration

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

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

// Config of an executor. Without Functions every AWS_PROXY call fails.
type Config struct {
	Functions Functions
	// HTTP calls back ends; nil means a client that refuses link-local addresses
	// (where cloud metadata lives). Redirects are never followed: API Gateway hands
	// them on, and one that crosses hosts would carry mapped headers with it.
	HTTP *http.Client
}

// Executor runs integrations. It is safe for concurrent use.
type Executor struct {
	functions Functions
	http      *http.Client
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
	return &Executor{functions: cfg.Functions, http: &client}
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
	Code      int
	Reason    string
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
	// Protocol is the answer's Sec-WebSocket-Protocol.
	Protocol string
}

// Call runs the integration.
func (x *Executor) Call(ctx context.Context, r *Request) (Response, error) {
	p := r.Plan
	if p.err != nil {
		return Response{}, p.err
	}
	if p.kind == model.Mock {
		return x.mock(r)
	}
	// Not on Clock: a back end computes at true speed, whatever --time-scale says.
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var resp Response
	var err error
	if p.kind == model.AWSProxy {
		resp, err = x.function(ctx, r)
	} else {
		resp, err = x.backend(ctx, r)
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) && !fault.Is(err, fault.Throttled) {
		return Response{}, fault.New(fault.Timeout, "integration %s: no answer within %v", p.name, p.timeout)
	}
	return resp, err
}

// Transport dials anything but link-local addresses, checked after name
// resolution, so that no name can lead to a metadata service.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	d := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		if ap, err := netip.ParseAddrPort(address); err == nil && ap.Addr().Unmap().IsLinkLocalUnicast() {
			return fault.New(fault.Forbidden, "%s is a link-local address: integrations may not call those", ap.Addr())
		}
		return nil
	}}
	t.DialContext = d.DialContext
	return t
}
