// Package connapi is the @connections callback API: POST, GET and DELETE of one
// connection, in every URL form SDKs and people use, with the statuses, headers
// and bodies of API Gateway (management API model 2018-11-29, and captured
// exchanges; §8 of the reference).
//
// URL forms: any host and path that model.App.Locate understands, followed by
// /@connections/{id}. "@" and "=" may be percent-encoded; doubled slashes, which
// an SDK makes from an endpoint with a trailing slash, count as one.
//
// A request must carry SigV4 when Config.RequireSignature is set; it is verified
// when Config.Check is. The access key of a function's worker tells whether the
// post comes from inside the connection's own $connect, which is 410 at once. By way of
// a custom domain with a TrustStore it must carry a client certificate as well, see
// Config.Certified. What may come counts towards the account's throttle: over it, 429.
//
// 200 means that the message is queued for the client, in order, or was held
// during its handshake and then queued. 410 is only said of connections that are
// gone for good, because applications delete rows on it, and, as on AWS, of those
// whose $connect runs on after more was posted, or for longer, than is held.
//
// A body that is not UTF-8 is refused with 400: AWS's documents promise a text
// frame, RFC 6455 §8.1 makes clients fail the connection over invalid text, and no
// source shows what AWS does.
//
// There are two doors to one decision: [Handler.ServeHTTP] for net/http, which may
// wait for a handshake to end, and [Handler.ServeHot] for event loops, which never
// waits and leaves to the other door what would. Their answers are the same bytes.
//
// The package knows no sockets. It is safe for concurrent use and keeps nothing but
// counters.
package connapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/sigv4"
)

// MaxPayload is the largest message in bytes.
const MaxPayload = 128 << 10

// Registry holds the connections; *registry.Registry does.
type Registry interface {
	Post(ctx context.Context, t registry.Target, data []byte) error
	Inspect(ctx context.Context, t registry.Target) (registry.Status, error)
	Disconnect(ctx context.Context, t registry.Target) error
}

// Callers knows function workers by their access key; *runtime.Runtime does.
type Callers interface {
	// Tag is the id of the connection whose $connect that worker is running,
	// directly or through a call it waits for; "" for none. It must not block.
	Tag(accessKeyID string) string
}

// Config of the handler. App and Registry are required.
type Config struct {
	App      func() *model.App // what is deployed now; may return nil
	Registry Registry
	Callers  Callers // nil: nobody is inside a $connect
	// RequireSignature refuses requests without a well-formed signature.
	RequireSignature bool
	// Check verifies a signature against its request; nil: signatures are not
	// checked. A *sigv4.Error is answered 403 with its type. It must not block, and
	// must copy what it keeps of either.
	Check func(sig *sigv4.Signature, r *sigv4.Request) error
	// Allow decides whether the owner of an access key may use the API on a connection
	// (execute-api:ManageConnections); nil: everybody may. It must not block.
	Allow func(accessKeyID, method string, addr model.Address, connectionID string) error
	// Certified decides by the certificates that a caller showed on its TLS connection,
	// its own first, whether it may come by way of a custom domain with a TrustStore;
	// nil: nobody may. It must not block, and its error is not shown to the caller.
	Certified func(accessKeyID string, domain *model.Domain, secure bool, chain []*x509.Certificate) error
	// Take takes from the account's throttle, of which calls are a part as messages are;
	// nil: there is none. Lanes are those of package bound. It must not block. A post
	// that has to wait for a handshake on the other door takes twice.
	Take func(lane int) bool
}

// Handler serves @connections.
type Handler struct {
	cfg   Config
	stats counters
	works sync.Pool // of *work
}

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg} }

// Match reports whether a decoded URL path is this package's.
func Match(path string) bool {
	return strings.Contains(path, "/@connections/") || strings.HasSuffix(path, "/@connections")
}

// call is a request as either door hands it in.
type call struct {
	method, host, path string // path is decoded
	key                string // access key id; "" for an unsigned request that may be
	wait               bool   // it may be held until a handshake ends
	// tls is the connection the call came on; nil without TLS, and on an event loop,
	// where it is not looked at.
	tls  *tls.ConnectionState
	body []byte
}

// answer is what a caller is told.
type answer struct {
	status    int
	errorType string // x-amzn-errortype; "" for none
	body      []byte
	// bare: no body, not even an empty one, so no headers that describe it.
	bare bool
}

// verb reports whether a method is one of the API's.
func verb(method string) bool {
	return method == http.MethodPost || method == http.MethodGet || method == http.MethodDelete
}

var (
	noMethod = &sigv4.Error{Type: sigv4.TypeMissing, Msg: "Missing Authentication Token"}
	tooLarge = fault.New(fault.TooLarge, "Message too long: a payload may have %d bytes", MaxPayload)
	tooMany  = fault.New(fault.Throttled, "Too Many Requests") // LimitExceededException
	strange  = fault.New(fault.Forbidden, "Forbidden")
	notText  = fault.New(fault.BadRequest, "The data is not UTF-8 text: WebSocket APIs send text messages only; encode binary data as base64")
)

// serve runs a call whose signature, if it needs one, is right. An error is for
// refusal; registry.ErrPending only comes without wait. room may hold the body.
func (h *Handler) serve(ctx context.Context, q *call, room []byte) (answer, error) {
	t, err := h.target(q)
	if err != nil {
		return answer{}, err
	}
	// Last, so that nobody uses up the account's share who may not call at all.
	if h.cfg.Take != nil && !h.cfg.Take(int(t.Conn[id.Size-1])) {
		return answer{}, tooMany
	}
	switch q.method {
	case http.MethodPost:
		if !utf8.Valid(q.body) {
			return answer{}, notText
		}
		return answer{status: http.StatusOK}, h.cfg.Registry.Post(ctx, t, q.body)
	case http.MethodGet:
		status, err := h.cfg.Registry.Inspect(ctx, t)
		if err != nil {
			return answer{}, err
		}
		return answer{status: http.StatusOK, body: appendStatus(room, &status)}, nil
	default:
		return answer{status: http.StatusNoContent, bare: true}, h.cfg.Registry.Disconnect(ctx, t)
	}
}

// target reads which connection is meant.
func (h *Handler) target(q *call) (t registry.Target, err error) {
	app := h.cfg.App()
	if app == nil {
		return t, fault.New(fault.Unavailable, "Nothing is deployed yet")
	}
	addr, ok := app.Locate(q.host, q.path)
	name, callback := strings.CutPrefix(addr.Rest, "/@connections")
	if ok && !callback && addr.Custom != nil {
		// The usual mistake on a custom domain: the stage is not part of its URLs
		// (aws-samples/simple-websockets-chat-app#40 has the text).
		return t, fault.New(fault.NotFound, "No method found matching route %s for http method %s", strings.Trim(addr.Rest, "/"), q.method)
	}
	if !ok || !callback {
		return t, strange
	}
	if addr.Custom != nil && addr.Custom.TrustStore != "" {
		if err := h.certified(q, addr.Custom); err != nil {
			return t, err
		}
	}
	name = strings.Trim(name, "/")
	if name == "" {
		return t, noMethod
	}
	if h.cfg.Allow != nil {
		if err := h.cfg.Allow(q.key, q.method, addr, name); err != nil {
			return t, err
		}
	}
	t = registry.Target{APIID: addr.API.ID, Stage: addr.Stage.Name, NoWait: !q.wait}
	if t.Conn, err = id.ParseConn(name); err != nil {
		return t, err
	}
	t.InConnect = q.key != "" && h.cfg.Callers != nil && h.cfg.Callers.Tag(q.key) == name
	return t, nil
}

// certified checks the caller's certificate for a domain that wants one. An event loop
// does not know it.
func (h *Handler) certified(q *call, domain *model.Domain) error {
	if !q.wait {
		return errElsewhere
	}
	var chain []*x509.Certificate
	if q.tls != nil {
		chain = q.tls.PeerCertificates
	}
	if h.cfg.Certified == nil || h.cfg.Certified(q.key, domain, q.tls != nil, chain) != nil {
		return strange
	}
	return nil
}

// appendStatus writes GET's body as AWS does: pretty, a space before each colon.
func appendStatus(dst []byte, s *registry.Status) []byte {
	const stamp = "2006-01-02T15:04:05.000Z"
	dst = append(dst, "{\n  \"identity\" : {\n    \"sourceIp\" : \""...)
	dst = append(s.SourceIP.AppendTo(dst), '"')
	if s.UserAgent != "" {
		dst = append(dst, ",\n    \"userAgent\" : "...)
		dst = event.AppendString(dst, s.UserAgent)
	}
	dst = append(dst, "\n  },\n  \"connectedAt\" : \""...)
	dst = s.ConnectedAt.UTC().AppendFormat(dst, stamp)
	dst = append(dst, "\",\n  \"lastActiveAt\" : \""...)
	dst = s.LastActive.UTC().AppendFormat(dst, stamp)
	return append(dst, "\"\n}"...)
}

// refusal answers with an error. 410 has an empty body, so SDKs know the error by
// its header alone.
func refusal(err error) answer {
	if bad, ok := errors.AsType[*sigv4.Error](err); ok {
		return answer{status: http.StatusForbidden, errorType: bad.Type, body: message(bad.Msg)}
	}
	kind := fault.KindOf(err)
	a := answer{status: kind.Status(), errorType: kind.AWSType()}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		a.errorType = e.AWSType()
	}
	switch kind {
	case fault.Gone:
	case fault.Internal: // our own text may hold internals
		a.body = message("Internal server error")
	default:
		a.body = message(fault.Message(err))
	}
	return a
}

func message(text string) []byte {
	return append(event.AppendString([]byte(`{"message":`), text), '}')
}

var _ Registry = (*registry.Registry)(nil)
