package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/awsapi"
	"github.com/livegate/livegate/internal/awsapi/lambda"
	"github.com/livegate/livegate/internal/awsapi/sts"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// services are the AWS services that integrations of type AWS call, in this process:
// no socket, and no signature, because the caller is the gateway itself.
type services struct {
	handlers map[string]http.Handler // by signing name
	signed   []string                // of handlers, those that only answer the user's own key
	passed   []string                // services that are AWS's own
	own      func() (sigv4.Key, error)
}

func (a *App) newServices(app *model.App) services {
	s := services{own: a.ownCredentials, passed: a.cfg.Passthrough, handlers: map[string]http.Handler{
		"dynamodb": a.metrics.tables.around(a.dynamoDB()),
		"lambda":   lambda.New(lambda.Config{Functions: a.runtime, App: a.current}),
		"sts":      sts.New(sts.Config{Account: app.AccountID, Partition: app.Partition, Function: a.runtime.FunctionOf}),
	}}
	a.fixtures = a.newFixtures()
	for host, fixture := range a.fixtures {
		// An SDK that honours AWS_ENDPOINT_URL calls us, whatever its host is called.
		if scope, ok := sigv4.HostScope(host); ok && strings.HasPrefix(host, scope.Service+".") {
			s.handlers[scope.Service] = fixture
		}
	}
	if a.external != nil {
		s.signed = []string{"dynamodb"}
	}
	if a.cfg.Offline {
		s.passed = nil
	}
	return s
}

// newFixtures are what --map-host sends hosts to, by host name.
func (a *App) newFixtures() map[string]http.Handler {
	out := make(map[string]http.Handler, len(a.cfg.MapHosts))
	for host, addr := range a.cfg.MapHosts {
		host := hostOnly(host)
		fixture := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
		fixture.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			a.note("error", "livegate", "%s is mapped to %s, which does not answer: %v", host, addr, err)
			http.Error(w, fmt.Sprintf("%s is mapped to %s, which does not answer", host, addr), http.StatusBadGateway)
		}
		out[host] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.EqualFold(hostOnly(r.Host), host) {
				r = r.Clone(r.Context())
				r.Host = host
			}
			fixture.ServeHTTP(w, r)
		})
	}
	return out
}

// Knows reports whether a service is there. That it lacks an action, only its answer
// can say.
func (s services) Knows(service, _ string) bool {
	return s.handlers[service] != nil || slices.Contains(s.passed, service)
}

// maxAnswer bounds what a service may answer: DynamoDB's largest is 16 MB.
const maxAnswer = awsapi.DefaultMaxBody

// Do runs a request as the service's front door would, or at AWS for a service of
// --aws-passthrough.
func (s services) Do(ctx context.Context, service, region, _ string, r *http.Request) (_ *http.Response, err error) {
	r = r.WithContext(ctx)
	h, passed := s.handlers[service], slices.Contains(s.passed, service)
	if passed || slices.Contains(s.signed, service) {
		if err := s.sign(r, sigv4.Scope{Region: region, Service: service}); err != nil {
			return nil, err
		}
	}
	switch {
	case passed:
		return http.DefaultTransport.RoundTrip(r)
	case h == nil:
		return nil, fault.New(fault.Unsupported, "there is no local service %s", service)
	}
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // what came after the headers broke off
			err = fault.New(fault.Upstream, "the answer of %s broke off", service)
		default:
			panic(v)
		}
	}()
	a := &answer{header: http.Header{}}
	h.ServeHTTP(a, r)
	if a.over {
		return nil, fault.New(fault.Upstream, "%s answered more than %d bytes", service, maxAnswer)
	}
	return a.response(r), nil
}

func (s services) sign(r *http.Request, scope sigv4.Scope) error {
	key, err := s.own()
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sigv4.Sign(r, body, key, scope, time.Now())
	return nil
}

// answer is a response in memory.
type answer struct {
	header http.Header
	sent   http.Header // as of WriteHeader
	status int
	body   bytes.Buffer
	over   bool // too much was written
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(b) > maxAnswer {
		a.over = true
		return 0, io.ErrShortWrite
	}
	return a.body.Write(b)
}

func (a *answer) response(r *http.Request) *http.Response {
	a.WriteHeader(http.StatusOK)
	return &http.Response{
		Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}
}
