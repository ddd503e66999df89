package connapi

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/sigv4"
)

// maxDrained is how much of an oversized body is read before it is refused.
const maxDrained = 8 << 20

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := h.handle(r)
	if err != nil {
		a = refusal(err)
	}
	h.stats.count(r.Method, a.status)
	a.write(w)
}

func (h *Handler) handle(r *http.Request) (answer, error) {
	if !verb(r.Method) {
		return answer{}, noMethod
	}
	q := call{method: r.Method, host: r.Host, path: r.URL.Path, wait: true, tls: r.TLS}
	sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
	switch {
	case err == nil:
		q.key = sig.AccessKeyID
	case h.signed():
		return answer{}, err
	}
	if q.body, err = read(r); err != nil {
		return answer{}, err
	}
	if h.cfg.Check != nil {
		if err := h.cfg.Check(sig, sigv4.FromHTTP(r, q.body)); err != nil {
			return answer{}, err
		}
	}
	return h.settle(h.serve(r.Context(), &q, nil))
}

// signed reports whether a request needs a signature.
func (h *Handler) signed() bool {
	return h.cfg.RequireSignature || h.cfg.Check != nil
}

// settle drops the answer that an error makes void.
func (*Handler) settle(a answer, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	return a, nil
}

// read reads a message, bounded.
func read(r *http.Request) ([]byte, error) {
	if r.Method != http.MethodPost {
		return nil, nil
	}
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

// write answers through net/http.
func (a *answer) write(w http.ResponseWriter) {
	head := w.Header()
	// Lower case on the wire, as captured; assigned because Set would canonicalise.
	head["x-amzn-requestid"] = []string{id.NewUUID()}
	head["x-amz-apigw-id"] = []string{id.NewRequest()}
	head["x-amzn-trace-id"] = []string{id.NewTrace(time.Now().Unix())}
	if a.errorType != "" {
		head["x-amzn-errortype"] = []string{a.errorType}
	}
	if a.bare {
		w.WriteHeader(a.status)
		return
	}
	head.Set("Content-Type", "application/json")
	head.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body) // a caller that is gone does not miss it
}

var _ http.Handler = (*Handler)(nil)
