package authz

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is in every secret a test sends. No cause may hold it.
const canary = "CANARY"

const (
	account   = "111122223333"
	methodARN = "arn:aws:execute-api:eu-west-1:" + account + ":k3v9x1m2qz/prod/$connect"
	allowed   = `{"principalId": "user-77", "policyDocument": {"Version": "2012-10-17", "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": "` + methodARN + `"}]}`
)

var at = time.Date(2025, 8, 5, 12, 13, 6, 102e6, time.UTC)

// world is an application with a guard.
type world struct {
	t     *testing.T
	app   *model.App
	api   *model.API
	stage *model.Stage
	route *model.Route // $connect
	cfg   Config
	guard *Guard
	now   time.Time
	fn    function
}

// function is an authorizer.
type function struct {
	answer  string
	failure string // FunctionError
	err     error
	took    time.Duration
	calls   []model.Invocation
	w       *world
}

func (f *function) Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	f.calls = append(f.calls, in)
	f.w.now = f.w.now.Add(f.took)
	if err := ctx.Err(); err != nil {
		return model.InvokeResult{}, err
	}
	res := model.InvokeResult{Payload: []byte(f.answer), FunctionError: f.failure, RequestID: "run-1"}
	return res, f.err
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: at}
	w.fn.w = w
	w.route = &model.Route{Key: model.RouteConnect}
	w.stage = &model.Stage{Name: "prod", Deployed: true}
	w.api = &model.API{LogicalID: "Api", ID: "k3v9x1m2qz", APIKeySelectionExpression: keyHeader, Stages: []*model.Stage{w.stage},
		Routes: []*model.Route{w.route, {Key: "send"}, {Key: "secret"}, {Key: model.RouteDefault}},
		Authorizers: []*model.Authorizer{{LogicalID: "Auth", ID: "auth1", Type: "REQUEST",
			URI: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:" + account + ":function:auth/invocations"}}}
	w.app = &model.App{Region: "eu-west-1", AccountID: account, Partition: "aws", URLSuffix: "amazonaws.com", APIs: []*model.API{w.api}}
	w.cfg = Config{Functions: &w.fn, Now: func() time.Time { return w.now }}
	return w
}

// custom gives $connect the authorizer.
func (w *world) custom(sources ...string) *world {
	w.route.AuthorizationType, w.route.AuthorizerID = "CUSTOM", "auth1"
	w.api.Authorizers[0].IdentitySource = sources
	w.fn.answer = allowed + "}"
	return w
}

func (w *world) plan() *Plan {
	if w.guard == nil {
		w.guard = New(w.cfg)
	}
	return w.guard.Compile(w.app, w.api, w.stage)
}

// request is a handshake with headers "Name: value" and a query.
func (w *world) request(query string, headers ...string) *Request {
	r := &Request{
		Conn: &event.Connection{ID: "Qa1zTdYbrRcCJ4w=", APIID: w.api.ID, Stage: "prod", DomainName: "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com",
			SourceIP: "198.51.100.23", UserAgent: "acme-client/2.4", ConnectedAt: at.UnixMilli() - 1},
		Call: event.Call{RouteKey: model.RouteConnect, RequestID: "Qa1zT0pXrRcFh2k=", At: at, StageVariables: event.StageVariables(w.stage.Variables)},
		Host: "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com", Target: "/prod", Secure: true, Tag: "Qa1zTdYbrRcCJ4w=",
	}
	if query != "" {
		r.Target += "?" + query
	}
	h := &event.Handshake{Query: query, TraceID: "Root=1-66b0c1d2-0a1b2c3d4e5f60718293a4b5"}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Headers = append(h.Headers, event.Field{Name: name, Value: value})
	}
	r.Handshake = h
	return r
}

// authorize decides, and looks for secrets in what the log would get.
func (w *world) authorize(p *Plan, r *Request) (*Grant, *Refusal) {
	w.t.Helper()
	gr, err := w.guard.Authorize(context.Background(), p, r)
	no := w.refused(err)
	if (gr == nil) != (no != nil) {
		w.t.Fatalf("grant %v and refusal %v", gr, no)
	}
	return gr, no
}

func (w *world) refused(err error) *Refusal {
	w.t.Helper()
	if err == nil {
		return nil
	}
	no, ok := errors.AsType[*Refusal](err)
	if !ok || no == nil {
		w.t.Fatalf("%T is no refusal: %v", err, err)
	}
	if strings.Contains(no.Cause+no.Error(), canary) {
		w.t.Errorf("a secret is in the log: %s", no.Error())
	}
	if no.Status < 400 || no.Type == "" || no.Message == "" || no.Cause == "" {
		w.t.Errorf("incomplete: %+v", no)
	}
	return no
}

// want checks a refusal's status and text; status 0 means a grant.
func (w *world) want(name string, no *Refusal, status int, text string) {
	w.t.Helper()
	switch {
	case no == nil && status != 0:
		w.t.Errorf("%s: let in, want %d %s", name, status, text)
	case no != nil && (no.Status != status || no.Message != text):
		w.t.Errorf("%s: %d %q (%s), want %d %q", name, no.Status, no.Message, no.Cause, status, text)
	}
}
