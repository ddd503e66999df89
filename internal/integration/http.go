package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
)

// backend runs an HTTP_PROXY integration (§4.3 of the reference).
//
// On $connect the back end gets the client's handshake headers without a body; on
// a message the raw text and the gateway's headers only; on $disconnect the three
// empty headers of the Lambda event. It is never told the connection id: map
// integration.request.header.connectionId = context.connectionId.
func (x *Executor) backend(ctx context.Context, r *Request) (Response, error) {
	p := r.Plan
	body, err := p.convert(p.message(r))
	if err != nil {
		return Response{}, err
	}
	rep, err := x.exchange(ctx, r, r.vars(), body, r.replies())
	if err != nil {
		return Response{}, err
	}
	resp := Response{Status: rep.status, Protocol: rep.header.Get("Sec-WebSocket-Protocol")}
	if r.replies() {
		resp.Body = rep.body
		err = x.sendable(p, &resp)
	}
	return resp, err
}

// replies reports whether the answer's body goes to the client.
func (r *Request) replies() bool { return r.TwoWay && r.Type == event.TypeMessage }

// message is what the client sent, as base64 where its bytes are wanted as text.
func (p *Plan) message(r *Request) []byte {
	if p.text && (r.Binary || !utf8.Valid(r.Body)) {
		return []byte(base64.StdEncoding.EncodeToString(r.Body))
	}
	return r.Body
}

// convert makes bytes of a base64 payload where the integration asks for it.
func (p *Plan) convert(payload []byte) ([]byte, error) {
	if !p.binary || len(payload) == 0 {
		return payload, nil
	}
	raw, err := base64.StdEncoding.DecodeString(string(payload))
	if err != nil {
		return nil, fault.New(fault.Internal, "integration %s: CONVERT_TO_BINARY, but the message is not base64", p.name)
	}
	return raw, nil
}

// sendable checks that an answer can be sent: text, unless bytes are allowed.
func (x *Executor) sendable(p *Plan, resp *Response) error {
	switch {
	case utf8.Valid(resp.Body):
		return nil
	case x.bytes:
		resp.Binary = true
		return nil
	}
	return fault.New(fault.Upstream, "integration %s answered bytes that are not UTF-8 text; WebSocket APIs send text only", p.name)
}

// reply is what a back end answered.
type reply struct {
	status   int
	header   http.Header
	body     []byte // at most MaxResponse bytes; nil when larger and not wanted
	selector string // what integration responses are chosen by
	failed   string // why the back end says it failed, "" when it did not
}

// exchange sends one request to an HTTP back end. wanted says whether the answer's
// body is used; without, one that is too large is left unread.
func (x *Executor) exchange(ctx context.Context, r *Request, vars *selection.Vars, body []byte, wanted bool) (*reply, error) {
	req, err := r.httpRequest(ctx, vars, body)
	if err != nil {
		return nil, err
	}
	r.queued()
	res, err := x.http.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // the outer one has the whole URL
		}
		return nil, fault.New(fault.Upstream, "integration %s: %s %s: %v", r.Plan.name, req.Method, shown(req.URL), err)
	}
	return r.read(res, shown(req.URL), wanted)
}

// shown is a URL for the log: without user and query, which may hold secrets.
func shown(u *url.URL) string {
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return plain.String()
}

// queued says that the call is under way. Requests to a back end run side by side,
// as on AWS; their order there is the back end's affair.
func (r *Request) queued() {
	if r.Queued != nil {
		r.Queued()
	}
}

// read takes in an answer, so that its connection can be used again.
func (r *Request) read(res *http.Response, from string, wanted bool) (*reply, error) {
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		// No time-out ends reading from a connection that is no longer HTTP's.
		return nil, fault.New(fault.Upstream, "integration %s: %s switched to another protocol, which nobody asked for", r.Plan.name, from)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxResponse+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Upstream, "integration %s: reading the answer: %v", r.Plan.name, err)
	case len(body) > MaxResponse && wanted:
		return nil, fault.New(fault.Upstream, "integration %s: %s answered more than %d bytes, the limit of a message", r.Plan.name, from, MaxResponse)
	case len(body) > MaxResponse:
		body = nil
	}
	return &reply{status: res.StatusCode, header: res.Header, body: body}, nil
}

func (r *Request) httpRequest(ctx context.Context, vars *selection.Vars, body []byte) (*http.Request, error) {
	p := r.Plan
	target, err := p.target.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return nil, err
	}
	out := &outgoing{target: target, query: url.Values{}, header: r.gatewayHeader()}
	if err := p.parameters.apply(p, out, vars); err != nil {
		return nil, err
	}
	if !p.target.fixed() {
		if err := checkURL(out.target); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, p.method, out.target, bytes.NewReader(body))
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err
		}
		return nil, fault.New(fault.Upstream, "integration %s: %v", p.name, err)
	}
	if out.host != "" {
		req.Host = out.host
	}
	if len(out.query) > 0 {
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&"
		}
		req.URL.RawQuery += out.query.Encode()
	}
	req.Header = out.header
	return req, nil
}

// gatewayHeader is the header before mapping. Connection and Upgrade are not
// passed on: they belong to the client's hop.
func (r *Request) gatewayHeader() http.Header {
	h := http.Header{}
	h.Set("User-Agent", "AmazonAPIGateway_"+r.Conn.APIID)
	switch r.Type {
	case event.TypeConnect:
		for _, v := range event.Headers(r.Conn, r.Handshake) {
			switch {
			case v.Name == "Host", slices.Contains(framing, http.CanonicalHeaderKey(v.Name)):
				continue // the back end's own, and the client's hop's
			case v.Name == "Authorization" && strings.HasPrefix(v.Values[0], "AWS4-HMAC-"):
				continue // a signature is for us, and valid nowhere else
			}
			put(h, v.Name, v.Values...)
		}
	case event.TypeDisconnect:
		h["x-api-key"] = []string{""}
		h["x-restapi"] = []string{""}
		h["X-Forwarded-For"] = []string{""}
	}
	put(h, "X-Amzn-Apigateway-Api-Id", r.Conn.APIID)
	if r.Type != event.TypeConnect || r.Plan.mapped != nil && len(r.Plan.mapped.request.byKey) > 0 {
		put(h, "Content-Type", "application/json")
	}
	return h
}
