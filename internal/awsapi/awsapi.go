// Package awsapi is the front door that AWS SDKs find when a function calls AWS:
// one http.Handler that learns the service from the signature's scope (else from
// the Host), checks the signature, and hands the request to the handler of that
// service.
//
// It promises:
//   - No call without a well-formed SigV4 signature reaches a service. A web page
//     cannot make one with a simple request; that, and not secrecy, is the point
//     in dev mode.
//   - A signature by a key that Config.Secret knows is verified, whole body
//     included, and refused in AWS's words if it is wrong. Keys it does not know
//     are accepted (SDKs on a laptop sign with anything), unless
//     Config.RequireValid.
//   - A service that is not there answers an error in the protocol the caller
//     speaks, naming service, operation and what to do, logged once each.
//   - Services in Config.Passthrough are forwarded to the real AWS, signed anew
//     with the user's own credentials if one of our workers signed the call.
//
// Handlers get a request whose body is whole in memory and can be read from the
// start. They answer operations they do not know with 501, or with AWS's
// UnknownOperationException; both are logged here, once per operation.
//
// It does not know what services do. All state is the set of things already
// logged; a Handler is safe for concurrent use.
package awsapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// DefaultMaxBody is the largest request body: DynamoDB's BatchWriteItem may hold
// 16 MB, with base64 and JSON around it.
const DefaultMaxBody = 24 << 20

// Config is what a Handler needs. The zero value has no services.
type Config struct {
	// Services by signing name: "dynamodb", "lambda", "sts", "execute-api".
	Services map[string]http.Handler
	// Secret returns the secret key of an access key id; nil knows none.
	Secret func(accessKeyID string) (secret string, ok bool)
	// Keys remembers derived signing keys; nil means none shared with others.
	Keys *sigv4.Keys
	// RequireValid refuses access keys that Secret does not know.
	RequireValid bool
	// Region is used where neither scope nor host names one.
	Region string
	// Passthrough are services (signing names) that are forwarded to AWS.
	Passthrough []string
	// Credentials are the user's own, to sign forwarded calls with; nil: none.
	Credentials func() (sigv4.Key, error)
	// Transport carries forwarded calls; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Logs gets one line per unknown service, operation and kind of refusal.
	Logs func(model.LogLine)

	MaxBody int64            // 0 means DefaultMaxBody
	Now     func() time.Time // nil means time.Now
}

// Handler is the front door. Make one with New.
type Handler struct {
	cfg Config // static after New

	mu   sync.Mutex
	told map[string]bool
}

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Secret == nil {
		cfg.Secret = func(string) (string, bool) { return "", false }
	}
	if cfg.Keys == nil {
		cfg.Keys = &sigv4.Keys{}
	}
	if cfg.Logs == nil {
		cfg.Logs = func(model.LogLine) {}
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = DefaultMaxBody
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	return &Handler{cfg: cfg, told: map[string]bool{}}
}

// Addressed reports whether a request is meant for an AWS service rather than
// for a page or an API stage: it carries a signature or an operation header, or
// goes to an AWS host.
func Addressed(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") ||
		strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=") ||
		r.Header.Get("X-Amz-Target") != "" || r.Header.Get("Smithy-Protocol") != "" ||
		sigv4.AWSHost(r.Host)
}

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
	scope := h.scope(r, sig)
	c := &call{w: w, r: r, scope: scope, protocol: protocolOf(r, scope.Service)}
	if err != nil && !isMissing(err) {
		h.refuse(c, err)
		return
	}
	next := h.cfg.Services[scope.Service]
	forward := slices.Contains(h.cfg.Passthrough, scope.Service)
	if next == nil && !forward && scope.Service != "" {
		h.unknownService(c)
		return
	}
	if err != nil {
		h.refuse(c, err)
		return
	}
	secret, ours := h.cfg.Secret(sig.AccessKeyID)
	if !ours && h.cfg.RequireValid && !forward {
		h.refuse(c, errUnknownKey())
		return
	}
	if forward && (!ours || streams(r)) {
		// Nothing to sign anew, or a body of any size whose hash nobody took.
		if ours {
			err = h.cfg.Keys.Verify(sig, sigv4.FromHTTP(r, nil), secret, h.cfg.Now())
		}
		h.passOn(c, sig, nil, ours, err)
		return
	}
	body, err := h.readBody(c)
	if err != nil {
		h.refuse(c, err)
		return
	}
	if ours {
		err = h.cfg.Keys.Verify(sig, sigv4.FromHTTP(r, body), secret, h.cfg.Now())
	}
	if forward {
		h.passOn(c, sig, body, ours, err)
		return
	}
	if err != nil {
		h.refuse(c, err)
		return
	}
	c.rec.ResponseWriter = w
	next.ServeHTTP(&c.rec, r)
	if c.rec.unsupported() {
		h.tell(scope.Service+"/"+c.operation(), "the local %s service has no operation %s yet (a function called it)", scope.Service, c.operation())
	}
}

// scope is the service and region of a call: what was signed, else what the host
// says.
func (h *Handler) scope(r *http.Request, sig *sigv4.Signature) sigv4.Scope {
	var scope sigv4.Scope
	if sig != nil {
		scope = sigv4.Scope{Region: sig.Region, Service: sig.Service}
	} else {
		scope, _ = sigv4.HostScope(r.Host)
	}
	if scope.Region == "" {
		scope.Region = h.cfg.Region
	}
	return scope
}

// trustLength is the largest Content-Length that gets its room before the bytes
// have come.
const trustLength = 64 << 10

// replay is a body that is in memory.
type replay struct{ bytes.Reader }

func (*replay) Close() error { return nil }

// readBody takes the whole body and puts a re-readable one in its place.
func (h *Handler) readBody(c *call) ([]byte, error) {
	var body []byte
	var err error
	if n := c.r.ContentLength; n > 0 && n <= min(trustLength, h.cfg.MaxBody) {
		body = make([]byte, n) // the server lets no more than that through
		_, err = io.ReadFull(c.r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, h.cfg.MaxBody))
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, &refusal{413, "RequestEntityTooLargeException", fmt.Sprintf("The request body is larger than %d bytes.", tooLarge.Limit)}
	}
	if err != nil {
		return nil, &refusal{400, "SerializationException", "The request body could not be read."}
	}
	c.body = body
	c.again.Reset(c.body)
	c.r.Body = &c.again
	return c.body, nil
}

// unknownService answers for a service that is not there.
func (h *Handler) unknownService(c *call) {
	c.body, _ = io.ReadAll(io.LimitReader(c.r.Body, 64<<10)) // an Action may be in it
	service, op := c.scope.Service, c.operation()
	h.tell(service+"/"+op, "a function called %s %s: there is no local %s service. To let it reach AWS: --aws-passthrough %s", service, op, service, service)
	c.fail(&refusal{http.StatusNotImplemented, "NotImplementedException", fmt.Sprintf(
		"Livegate has no local service %q, which the operation %s needs. To let calls to it reach AWS, start with --aws-passthrough %s.", service, op, service)})
}

// refuse answers an error of the door itself.
func (h *Handler) refuse(c *call, err error) {
	f := asRefusal(err, c.protocol)
	if isMissing(err) {
		h.tell("unsigned", "a request to %s%s without an AWS signature was refused", c.r.Host, c.r.URL.Path)
	} else {
		h.tell(c.scope.Service+"/"+f.code, "a call to %s was refused: %s: %s", c.scope.Service, f.code, f.msg)
	}
	c.fail(f)
}

// tell logs once per key. The memory is bounded: keys hold callers' words.
func (h *Handler) tell(key, format string, args ...any) {
	h.mu.Lock()
	known := h.told[key]
	if len(h.told) < 1024 {
		h.told[key] = true
	}
	h.mu.Unlock()
	if !known {
		h.cfg.Logs(model.LogLine{At: h.cfg.Now(), Level: "warn", Source: "aws", Text: fmt.Sprintf(format, args...)})
	}
}

// recorder remembers how a service answered.
type recorder struct {
	http.ResponseWriter
	status int
	start  []byte
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if r.status == http.StatusBadRequest && len(r.start) == 0 {
		r.start = bytes.Clone(b[:min(len(b), 256)])
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// unsupported reports whether the answer was "no such operation".
func (r *recorder) unsupported() bool {
	return r.status == http.StatusNotImplemented ||
		bytes.Contains(r.start, []byte("UnknownOperationException")) || bytes.Contains(r.start, []byte("InvalidAction"))
}

// requestID draws an x-amzn-requestid.
func requestID() string { return id.NewUUID() }
