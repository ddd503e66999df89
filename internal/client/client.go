// Package client is how one Livegate process talks to another on the same
// machine: the run file that says where an instance listens, the exact JSON that
// crosses the wire, and a small HTTP client for it.
//
// It promises: the wire types here are the documented, stable shapes of
// /_livegate/api (control serves them, scripts read them; a field is added, never
// renamed); a run file of a process that is gone is never mistaken for a live
// instance; the token in it is never printed or logged by this package.
//
// It knows no engine and starts nothing. Test against an httptest server or
// against control.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Base is the path under which an instance serves its control API.
const Base = "/_livegate/api"

// Headers of an invoke answer. The body is the function's payload, byte for byte.
const (
	HeaderFunctionError = "Livegate-Function-Error" // "Unhandled", "Handled"; absent on success
	HeaderErrorType     = "Livegate-Error-Type"     // e.g. "Sandbox.Timedout"
	HeaderRequestID     = "Livegate-Request-Id"
	HeaderDuration      = "Livegate-Duration-Ms" // milliseconds, decimal fraction
	HeaderLog           = "Livegate-Log"         // base64 of the last 4 KB of the function's log
)

// maxAnswer bounds what is read of an answer: Lambda's 6 MB payload with room to spare.
const maxAnswer = 16 << 20

// Client talks to one running instance. The zero value is not usable: fill in
// Run, usually from Find.
type Client struct {
	Run  RunFile
	HTTP *http.Client // nil means a client that never goes through a proxy
}

// Problem is the JSON body of every error answer of the control API.
type Problem struct {
	Error string `json:"error"` // what was wrong and what to do, for people
	Kind  string `json:"kind"`  // fault.Kind as text, e.g. "not found"
}

// Status asks what the instance runs.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	defer fault.Wrap(&err, "status of %s", c.Run.URL)
	resp, err := c.do(ctx, http.MethodGet, "/status", nil)
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	return s, json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&s)
}

// Health asks whether the instance is ready. It answers without an error when
// the instance is up but still starting.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	defer fault.Wrap(&err, "health of %s", c.Run.URL)
	resp, err := c.send(ctx, http.MethodGet, "/health", nil)
	if err != nil {
		return h, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return h, problem(resp)
	}
	return h, json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&h)
}

// Invoke runs a function once and waits for it. A failure of the function is in
// the result; err is about the instance (NotFound: no such function).
func (c *Client) Invoke(ctx context.Context, in model.Invocation) (res model.InvokeResult, err error) {
	q := url.Values{"function": {in.Function}}
	if in.LogTail {
		q.Set("log", "1")
	}
	resp, err := c.do(ctx, http.MethodPost, "/invoke?"+q.Encode(), in.Payload)
	if err != nil {
		return res, err
	}
	defer resp.Body.Close()
	if res.Payload, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return res, fmt.Errorf("invoke %q: the answer broke off: %w", in.Function, err)
	}
	res.FunctionError = resp.Header.Get(HeaderFunctionError)
	res.ErrorType = resp.Header.Get(HeaderErrorType)
	res.RequestID = resp.Header.Get(HeaderRequestID)
	if ms, err := strconv.ParseFloat(resp.Header.Get(HeaderDuration), 64); err == nil {
		res.Duration = time.Duration(ms * float64(time.Millisecond))
	}
	if res.LogTail, err = base64.StdEncoding.DecodeString(resp.Header.Get(HeaderLog)); err != nil {
		return res, fmt.Errorf("invoke %q: header %s is not base64: %w", in.Function, HeaderLog, err)
	}
	return res, nil
}

// Events calls fn for every event of the timeline, history first, until ctx
// ends (nil) or the stream does (an error). after skips what was seen already: the
// Seq of the last event, 0 for everything that is still kept.
func (c *Client) Events(ctx context.Context, after uint64, fn func(Event)) (err error) {
	defer fault.Wrap(&err, "events of %s", c.Run.URL)
	resp, err := c.do(ctx, http.MethodGet, "/events?after="+strconv.FormatUint(after, 10), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	kind, lines := "", bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			kind = value
		case name == "data" && kind == "log":
			var e Event
			if err := json.Unmarshal([]byte(value), &e); err != nil {
				return err
			}
			fn(e)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.ErrUnexpectedEOF
}

// do is send with every answer but 200 turned into an error.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, problem(resp)
}

func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Run.URL, "/")+Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.Run.Token)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	hc := c.HTTP
	if hc == nil {
		// The instance is on this machine: a proxy from the environment would
		// only be a detour, and would see the token.
		hc = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	resp, err := hc.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // without the URL: every caller names it already
		}
		return nil, &fault.Error{Kind: fault.Unavailable, Msg: "the instance does not answer", Err: err}
	}
	return resp, nil
}

// kindOf reads a fault.Kind back from its text.
func kindOf(text string) fault.Kind {
	for k := fault.Internal; k <= fault.Upstream; k++ {
		if k.String() == text {
			return k
		}
	}
	return fault.Internal
}

func problem(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var p Problem
	if json.Unmarshal(body, &p) == nil && p.Error != "" {
		return fault.New(kindOf(p.Kind), "%s", p.Error)
	}
	return fault.New(fault.Unavailable, "HTTP %s: this does not look like Livegate's control API", resp.Status)
}
