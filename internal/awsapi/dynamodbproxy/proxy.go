// Package dynamodbproxy answers DynamoDB calls by asking another endpoint: AWS
// itself, DynamoDB Local, Alternator, another Livegate. It stands where the
// embedded tables' front door would.
//
// It promises: a call arrives there with the same operation, body and
// Accept-Encoding, signed anew with the configured credentials for the endpoint's
// region; nothing of the caller's own signature or token goes along. The answer
// comes back with its status, headers and bytes as they were, so that the
// checksum (x-amz-crc32) that SDKs verify still holds. A call that never reached
// the endpoint is answered as DynamoDB answers its own failures, so that SDKs try
// again; one that may have reached it is not repeated here.
//
// Whoever calls gets what the credentials may do. Config.Known says who may: a
// front door that takes any well-formed signature would otherwise let every
// process on the machine use them.
//
// It holds no state but connections. Test against an httptest server, or against
// package dynamodb with an engine behind it.
package dynamodbproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/sigv4"
)

const (
	// maxRequest is a little above DynamoDB's own bound, which the endpoint enforces.
	maxRequest = 24 << 20
	// maxProblem bounds what Check reads.
	maxProblem = 1 << 20

	contentType  = "application/x-amz-json-1.0"
	targetPrefix = "DynamoDB_20120810."

	// hop marks forwarded calls: an endpoint that is, at last, this process would
	// otherwise call itself until no descriptor is left.
	hop = "Livegate-Forwarded"
)

// Config is where calls go. Endpoint and Credentials are required.
type Config struct {
	Endpoint    string                    // http or https URL; a path is kept
	Region      string                    // to sign for, unless the endpoint's host names one; "" means us-east-1
	Credentials func() (sigv4.Key, error) // asked for every call, since they expire
	// Known says whether calls signed with an access key are forwarded; whoever
	// stands in front has verified the signature. nil forwards all.
	Known     func(accessKeyID string) bool
	Transport http.RoundTripper // nil means one of its own, with the proxies of the environment
	Now       func() time.Time  // nil means time.Now
}

// Handler forwards calls. Make one with New; safe for concurrent use.
type Handler struct {
	cfg    Config // static after New
	target *url.URL
}

// New checks the configuration; BadRequest says what is wrong with the endpoint.
func New(cfg Config) (*Handler, error) {
	u, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fault.New(fault.BadRequest, "DynamoDB endpoint %q: want a URL such as http://localhost:8000 or https://dynamodb.eu-west-1.amazonaws.com", cfg.Endpoint)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fault.New(fault.BadRequest, "DynamoDB endpoint %q: a URL with nothing but host, port and path is wanted; credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", u.Redacted())
	case cfg.Credentials == nil:
		return nil, fault.New(fault.Internal, "dynamodbproxy.New: no credentials")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if scope, ok := sigv4.HostScope(u.Host); ok && scope.Region != "" {
		cfg.Region = scope.Region
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			MaxIdleConnsPerHost:   64,
			IdleConnTimeout:       90 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			DisableCompression:    true, // bytes go through as they are
			ForceAttemptHTTP2:     true,
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Handler{cfg: cfg, target: u}, nil
}

// Check asks the endpoint for one table name: whether it is there and takes the
// credentials. The error names the endpoint and what to do.
func (h *Handler) Check(ctx context.Context) error {
	return h.call(ctx, "ListTables", map[string]int{"Limit": 1}, nil)
}

// Close lets go of idle connections. Calls may go on.
func (h *Handler) Close() {
	if t, ok := h.cfg.Transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
	switch {
	case err != nil:
		refuse(w, http.StatusBadRequest, "SerializationException", "the request body did not arrive whole")
		return
	case len(body) > maxRequest:
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException", "Request body is larger than 16 MB")
		return
	case r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB"):
		refuse(w, http.StatusBadRequest, "UnknownOperationException", "DynamoDB takes POST requests with an X-Amz-Target header")
		return
	case r.Header.Get(hop) != "":
		refuse(w, http.StatusBadRequest, "ValidationException", "the DynamoDB endpoint "+h.target.String()+" leads back to this Livegate: name another with --dynamodb-endpoint")
		return
	}
	if err := h.known(r); err != nil {
		refuse(w, http.StatusBadRequest, "UnrecognizedClientException", fault.Message(err))
		return
	}
	resp, err := h.forward(r.Context(), r.Header, body)
	if err != nil {
		status, name := http.StatusInternalServerError, "InternalServerError"
		if fault.Is(err, fault.Unauthorized) {
			status, name = http.StatusBadRequest, "UnrecognizedClientException"
		}
		refuse(w, status, name, fault.Message(err))
		return
	}
	defer resp.Body.Close()
	for name, values := range resp.Header {
		if !perConnection(name) {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	if _, err := io.Copy(w, resp.Body); err != nil {
		// The status is out: only a connection that breaks tells the client that
		// this is not all.
		panic(http.ErrAbortHandler)
	}
}

// known refuses callers that Config.Known does not know.
func (h *Handler) known(r *http.Request) error {
	if h.cfg.Known == nil {
		return nil
	}
	sig, err := sigv4.Parse(r.Header, r.URL.RawQuery)
	if err == nil && h.cfg.Known(sig.AccessKeyID) {
		return nil
	}
	return fault.New(fault.Unauthorized, "calls to the DynamoDB endpoint %s are forwarded for the application's functions and for livegate's own credentials only", h.target)
}

// passed are the request headers that go along; the rest is the caller's
// connection, signature or browser.
func passed() []string {
	return []string{"X-Amz-Target", "Content-Type", "Accept-Encoding", "User-Agent", "X-Amz-User-Agent", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request"}
}

// forward sends a call on. Errors: Unauthorized without credentials, Unavailable
// when the endpoint did not answer.
func (h *Handler) forward(ctx context.Context, in http.Header, body []byte) (*http.Response, error) {
	key, err := h.cfg.Credentials()
	if err != nil {
		return nil, fault.New(fault.Unauthorized, "the DynamoDB endpoint %s needs credentials to sign calls with: %s", h.target, fault.Message(err))
	}
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, h.target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, name := range passed() {
		if v := in.Values(name); len(v) > 0 {
			out.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	out.Header.Set(hop, "1")
	// No GetBody: the transport repeats a request on a connection that the endpoint
	// closed meanwhile, which is safe only when nothing of it was written.
	out.GetBody = nil
	sigv4.Sign(out, body, key, sigv4.Scope{Region: h.cfg.Region, Service: "dynamodb"}, h.cfg.Now())
	resp, err := h.cfg.Transport.RoundTrip(out)
	if err != nil {
		return nil, &fault.Error{Kind: fault.Unavailable, Msg: fmt.Sprintf("the DynamoDB endpoint %s does not answer: %v", h.target, err), Err: err}
	}
	return resp, nil
}

// perConnection are headers that belong to one connection (RFC 9110 §7.6.1).
func perConnection(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade":
		return true
	}
	return false
}

// refuse answers in DynamoDB's words.
func refuse(w http.ResponseWriter, status int, name, message string) {
	body, _ := json.Marshal(map[string]string{"__type": "com.amazon.coral.service#" + name, "message": message}) // two strings
	head := w.Header()
	head.Set("Content-Type", contentType)
	head.Set("x-amzn-requestid", strings.ToUpper(id.NewUUID()))
	head.Set("x-amz-crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
	head.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may have gone
}

var _ http.Handler = (*Handler)(nil)
