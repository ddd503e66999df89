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
// when Config.Verify is. The access key of a function's worker tells whether the
// post comes from inside the connection's own $connect, which is 410 at once.
//
// 200 means that the message is queued for the client, in order, or was held
// during its handshake and then queued. 410 is only said of connections that are
// gone for good, because applications delete rows on it.
//
// A body that is not UTF-8 is refused with 400: AWS's documents promise a text
// frame, RFC 6455 §8.1 makes clients fail the connection over invalid text, and no
// source shows what AWS does.
//
// The package knows no sockets. It is safe for concurrent use and keeps no state.
package connapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// maxDrained is how much of an oversized body is read before it is refused.
const maxDrained = 8 << 20

// Registry holds the connections; *registry.Registry does.
type Registry interface {
	Post(ctx context.Context, apiID, stage string, c id.Conn, data []byte, inConnect bool) error
	Inspect(ctx context.Context, apiID, stage string, c id.Conn, inConnect bool) (registry.Status, error)
	Disconnect(ctx context.Context, apiID, stage string, c id.Conn, inConnect bool) error
}

// Callers knows function workers by their access key; *runtime.Runtime does.
type Callers interface {
	// Tag is the id of the connection whose $connect that worker is running,
	// directly or through a call it waits for; "" for none.
	Tag(accessKeyID string) string
}

// Config of the handler. App and Registry are required.
type Config struct {
	App      func() *model.App // what is deployed now; may return nil
	Registry Registry
	Callers  Callers // nil: nobody is inside a $connect
	// RequireSignature refuses requests without a well-formed signature.
	RequireSignature bool
	// Verify checks a signed request and its body; nil: signatures are not checked.
	// A *sigv4.Error is answered 403 with its type.
	Verify func(r *http.Request, body []byte) error
}

// Handler serves @connections.
type Handler struct{ cfg Config }

// New returns a handler.
func New(cfg Config) *Handler { return &Handler{cfg} }

// Match reports whether a decoded URL path is this package's.
func Match(path string) bool {
	return strings.Contains(path, "/@connections/") || strings.HasSuffix(path, "/@connections")
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	head := w.Header()
	// Lower case on the wire, as captured; assigned because Set would canonicalise.
	head["x-amzn-requestid"] = []string{id.NewUUID()}
	head["x-amz-apigw-id"] = []string{id.NewRequest()}
	head["x-amzn-trace-id"] = []string{id.NewTrace(now.Unix())}
	switch r.Method {
	case http.MethodPost, http.MethodGet, http.MethodDelete:
	default:
		deny(w, sigv4.TypeMissing, "Missing Authentication Token")
		return
	}
	key, err := h.signer(r)
	if err != nil {
		refuse(w, err)
		return
	}
	body, err := read(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if h.cfg.Verify != nil {
		if err := h.cfg.Verify(r, body); err != nil {
			refuse(w, err)
			return
		}
	}
	h.serve(w, r, body, key)
}

// signer is the access key of the caller; "" for an unsigned request that may be.
func (h *Handler) signer(r *http.Request) (string, error) {
	sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
	if err == nil {
		return sig.AccessKeyID, nil
	}
	if h.cfg.RequireSignature || h.cfg.Verify != nil {
		return "", err
	}
	return "", nil
}

// read reads a message, bounded.
func read(r *http.Request) ([]byte, error) {
	if r.Method != http.MethodPost {
		return nil, nil
	}
	tooLarge := fault.New(fault.TooLarge, "Message too long: a payload may have %d bytes", MaxPayload)
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxPayload+1))
	if err != nil {
		return nil, fault.New(fault.BadRequest, "The request body could not be read")
	}
	if len(body) > MaxPayload {
		// Clients send all of it before they read: an answer given and a connection
		// closed while they write is a broken pipe to them, not a 413.
		_, err = io.CopyN(io.Discard, r.Body, maxDrained)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fault.New(fault.BadRequest, "The request body could not be read")
		}
		return nil, tooLarge
	}
	return body, nil
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, body []byte, key string) {
	app := h.cfg.App()
	if app == nil {
		refuse(w, fault.New(fault.Unavailable, "Nothing is deployed yet"))
		return
	}
	addr, ok := app.Locate(r.Host, r.URL.Path)
	name, callback := strings.CutPrefix(addr.Rest, "/@connections")
	if ok && !callback && addr.Custom != nil {
		// The usual mistake on a custom domain: the stage is not part of its URLs
		// (aws-samples/simple-websockets-chat-app#40 has the text).
		refuse(w, fault.New(fault.NotFound, "No method found matching route %s for http method %s", strings.Trim(addr.Rest, "/"), r.Method))
		return
	}
	if !ok || !callback {
		refuse(w, fault.New(fault.Forbidden, "Forbidden"))
		return
	}
	name = strings.Trim(name, "/")
	c, err := id.ParseConn(name)
	if name == "" {
		deny(w, sigv4.TypeMissing, "Missing Authentication Token")
		return
	}
	if err != nil {
		refuse(w, err)
		return
	}
	inConnect := key != "" && h.cfg.Callers != nil && h.cfg.Callers.Tag(key) == name
	api, stage := addr.API.ID, addr.Stage.Name
	switch r.Method {
	case http.MethodPost:
		if !utf8.Valid(body) {
			refuse(w, fault.New(fault.BadRequest, "The data is not UTF-8 text: WebSocket APIs send text messages only; encode binary data as base64"))
			return
		}
		if err := h.cfg.Registry.Post(r.Context(), api, stage, c, body, inConnect); err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, nil)
	case http.MethodGet:
		status, err := h.cfg.Registry.Inspect(r.Context(), api, stage, c, inConnect)
		if err != nil {
			refuse(w, err)
			return
		}
		answer(w, http.StatusOK, appendStatus(nil, &status))
	case http.MethodDelete:
		if err := h.cfg.Registry.Disconnect(r.Context(), api, stage, c, inConnect); err != nil {
			refuse(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// appendStatus writes GET's body as AWS does: pretty, a space before each colon.
func appendStatus(dst []byte, s *registry.Status) []byte {
	const stamp = "2006-01-02T15:04:05.000Z"
	dst = append(dst, "{\n  \"identity\" : {\n    \"sourceIp\" : "...)
	dst = event.AppendString(dst, s.SourceIP)
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

// refuse answers with an error. 410 has an empty body, so SDKs know the error by
// its header alone.
func refuse(w http.ResponseWriter, err error) {
	if bad, ok := errors.AsType[*sigv4.Error](err); ok {
		deny(w, bad.Type, bad.Msg)
		return
	}
	kind := fault.KindOf(err)
	awsType := kind.AWSType()
	if e, ok := errors.AsType[*fault.Error](err); ok {
		awsType = e.AWSType()
	}
	w.Header()["x-amzn-errortype"] = []string{awsType}
	var body []byte
	switch kind {
	case fault.Gone:
	case fault.Internal: // our own text may hold internals
		body = message("Internal server error")
	default:
		body = message(fault.Message(err))
	}
	answer(w, kind.Status(), body)
}

func deny(w http.ResponseWriter, awsType, text string) {
	w.Header()["x-amzn-errortype"] = []string{awsType}
	answer(w, http.StatusForbidden, message(text))
}

func message(text string) []byte {
	return append(event.AppendString([]byte(`{"message":`), text), '}')
}

func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body) // a caller that is gone does not miss it
}

var (
	_ http.Handler = (*Handler)(nil)
	_ Registry     = (*registry.Registry)(nil)
)
