package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
)

// backend runs an HTTP_PROXY integration (§4.3 of the reference).
//
// On $connect the back end gets the client's handshake headers without a body; on
// a message the raw text and the gateway's headers only; on $disconnect the three
// empty headers of the Lambda event. It is never told the connection id: map
// integration.request.header.connectionId = context.connectionId.
func (x *Executor) backend(ctx context.Context, r *Request) (Response, error) {
	req, err := r.httpRequest(ctx)
	if err != nil {
		return Response{}, err
	}
	if r.Queued != nil {
		// Requests to a back end run side by side, as on AWS; their order there is
		// the back end's affair.
		r.Queued()
	}
	res, err := x.http.Do(req)
	if err != nil {
		return Response{}, fault.New(fault.Upstream, "integration %s: %v", r.Plan.name, err)
	}
	defer res.Body.Close()
	resp := Response{Status: res.StatusCode, Protocol: res.Header.Get("Sec-WebSocket-Protocol")}
	if !r.TwoWay || r.Type != event.TypeMessage {
		// Read what is there anyway, so that the connection can be used again.
		_, err = io.Copy(io.Discard, io.LimitReader(res.Body, MaxResponse))
		return resp, wrapRead(r, err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, MaxResponse+1))
	switch {
	case err != nil:
		return resp, wrapRead(r, err)
	case len(body) > MaxResponse:
		return resp, fault.New(fault.Upstream, "integration %s: %s answered more than %d bytes, the limit of a message", r.Plan.name, req.URL.Redacted(), MaxResponse)
	case !utf8.Valid(body):
		return resp, fault.New(fault.Upstream, "integration %s: %s answered bytes that are not UTF-8 text; WebSocket APIs send text only", r.Plan.name, req.URL.Redacted())
	}
	resp.Body = body
	return resp, nil
}

func wrapRead(r *Request, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Upstream, "integration %s: reading the answer: %v", r.Plan.name, err)
}

func (r *Request) httpRequest(ctx context.Context) (*http.Request, error) {
	p := r.Plan
	vars := r.vars()
	target, err := p.target.expand(r.StageVariables, r.Conn.Stage)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	header := r.gatewayHeader()
	for _, m := range p.mappings {
		value, found := m.source.Value(vars)
		if !found {
			continue
		}
		switch m.place {
		case "path":
			target = strings.ReplaceAll(target, "{"+m.name+"}", url.PathEscape(value))
		case "querystring":
			query.Add(m.name, value)
		default:
			// Refused, never repaired: what is cut out of a header splits a request.
			if strings.ContainsAny(value, "\r\n\x00") {
				return nil, fault.New(fault.Upstream, "integration %s: the value mapped to header %s holds a line break", p.name, m.name)
			}
			header.Del(m.name)
			header[m.name] = []string{value} // spelled as the template does
		}
	}
	if !p.target.fixed() {
		if err := checkURL(target); err != nil {
			return nil, err
		}
	}
	body := r.Body
	if p.decode && len(body) > 0 {
		if body, err = base64.StdEncoding.DecodeString(string(body)); err != nil {
			return nil, fault.New(fault.Internal, "integration %s: CONVERT_TO_BINARY, but the message is not base64", p.name)
		}
	}
	req, err := http.NewRequestWithContext(ctx, p.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, fault.New(fault.Upstream, "integration %s: %v", p.name, err)
	}
	if len(query) > 0 {
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&"
		}
		req.URL.RawQuery += query.Encode()
	}
	req.Header = header
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
			case v.Name == "Host":
				continue // the back end's own
			case v.Name == "Authorization" && strings.HasPrefix(v.Values[0], "AWS4-HMAC-"):
				continue // a signature is for us, and valid nowhere else
			}
			h.Del(v.Name)
			h[v.Name] = v.Values
		}
	case event.TypeDisconnect:
		h["x-api-key"] = []string{""}
		h["x-restapi"] = []string{""}
		h["X-Forwarded-For"] = []string{""}
	}
	h.Set("X-Amzn-Apigateway-Api-Id", r.Conn.APIID)
	if r.Type != event.TypeConnect {
		h.Set("Content-Type", "application/json")
	}
	return h
}
