package connapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/sigv4"
)

// Takes reports whether a request may be a callback. What is not plainly one, such
// as an absolute-form target, is left to ServeHTTP.
func (*Handler) Takes(method, target string) bool {
	if !verb(method) || target == "" || target[0] != '/' {
		return false
	}
	path, _, _ := strings.Cut(target, "?")
	return strings.Contains(path, "/@connections") || strings.Contains(path, "/%40connections")
}

// work is what one request needs; pooled.
type work struct {
	fields sigv4.Fields
	sig    sigv4.Signature
	signed sigv4.Request
	body   []byte
}

// maxKept bounds the body buffer that stays in the pool.
const maxKept = 4 << 10

// ServeHot appends the answer to a request that Takes accepted; false leaves it to
// ServeHTTP: a connection whose $connect runs, which may have to wait, and a path
// that does not decode. It does not block. Whether this Host and this caller may
// come here at all is for whoever calls it to check before.
func (h *Handler) ServeHot(dst []byte, r *conn.HotRequest) (response []byte, ok bool) {
	w, _ := h.works.Get().(*work)
	if w == nil {
		w = &work{}
	}
	a, closes, err := h.handleHot(w, r)
	if err != nil {
		if errors.Is(err, registry.ErrPending) || errors.Is(err, errElsewhere) {
			h.put(w)
			h.stats.declined.Add(1)
			return dst, false
		}
		a = refusal(err)
	}
	h.stats.hot.Add(1)
	h.stats.count(r.Method, a.status)
	dst = a.append(dst, time.Now(), closes)
	h.put(w)
	return dst, true
}

// errElsewhere sends a request to the other door.
var errElsewhere = errors.New("not for an event loop")

func (h *Handler) handleHot(w *work, r *conn.HotRequest) (a answer, closes bool, err error) {
	raw, query, _ := strings.Cut(r.Target, "?")
	path := raw
	if strings.IndexByte(raw, '%') >= 0 {
		if path, err = url.PathUnescape(raw); err != nil {
			return a, false, errElsewhere
		}
	}
	if !Match(path) || strings.IndexByte(r.Target, '#') >= 0 {
		return a, false, errElsewhere
	}
	for i := range r.Headers {
		f := &r.Headers[i]
		w.fields = append(w.fields, sigv4.Field(*f))
		closes = closes || strings.EqualFold(f.Name, "Connection") && hasClose(f.Value)
	}
	q := call{method: r.Method, host: r.Host, path: path}
	err = w.sig.Read(w.fields, query)
	switch {
	case err == nil:
		q.key = w.sig.AccessKeyID
	case h.signed():
		return a, closes, err
	}
	if r.Method == http.MethodPost {
		if q.body = r.Body; len(q.body) > MaxPayload {
			return a, closes, tooLarge
		}
	}
	if h.cfg.Check != nil {
		w.signed = sigv4.Request{
			Method: r.Method, Host: r.Host, Path: raw, RawQuery: query, Header: w.fields, Body: q.body, Length: int64(len(r.Body)),
		}
		if err := h.cfg.Check(&w.sig, &w.signed); err != nil {
			return a, closes, err
		}
	}
	a, err = h.settle(h.serve(context.Background(), &q, w.body[:0]))
	if cap(a.body) > cap(w.body) && cap(a.body) <= maxKept {
		w.body = a.body
	}
	return a, closes, err
}

// put gives the work back without its views of the request.
func (h *Handler) put(w *work) {
	clear(w.fields)
	clear(w.sig.SignedHeaders)
	w.fields, w.signed = w.fields[:0], sigv4.Request{}
	w.sig = sigv4.Signature{SignedHeaders: w.sig.SignedHeaders[:0]}
	h.works.Put(w)
}

// hasClose reports whether a Connection header asks for the end (RFC 9112 §9.6).
func hasClose(list string) bool {
	for more := true; more; {
		var option string
		option, list, more = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(option, " \t"), "close") {
			return true
		}
	}
	return false
}

// append writes the answer as net/http would: header lines in the order of their
// names, then what the server adds.
func (a *answer) append(b []byte, now time.Time, closes bool) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(a.status), 10)
	b = append(append(b, ' '), http.StatusText(a.status)...)
	if !a.bare {
		b = append(b, "\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(a.body)), 10)
		b = append(b, "\r\nContent-Type: application/json"...)
	}
	b = append(b, "\r\nx-amz-apigw-id: "...)
	b = id.AppendRequest(b)
	if a.errorType != "" {
		b = append(append(b, "\r\nx-amzn-errortype: "...), a.errorType...)
	}
	b = append(b, "\r\nx-amzn-requestid: "...)
	b = id.AppendUUID(b)
	b = append(b, "\r\nx-amzn-trace-id: "...)
	b = id.AppendTrace(b, now.Unix())
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	if closes {
		b = append(b, "\r\nConnection: close"...)
	}
	b = append(b, "\r\n\r\n"...)
	return append(b, a.body...)
}

var _ conn.Hot = (*Handler)(nil)
