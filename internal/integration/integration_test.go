package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/tools/txtar"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// invoke is a Functions made of one func.
type invoke func(ctx context.Context, in model.Invocation) (model.InvokeResult, error)

func (f invoke) Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	return f(ctx, in)
}

const functionPath = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:"

func request(plan *Plan, eventType string) *Request {
	r := &Request{
		Plan: plan, Type: eventType, TwoWay: true,
		Conn: &event.Connection{ID: "Qa1zTdYbrRcCJ4w=", APIID: "k3v9x1m2qz", Stage: "prod", DomainName: "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com",
			SourceIP: "198.51.100.23", UserAgent: "acme-client/2.4", ConnectedAt: 1754395986101, Authorizer: []byte(`{"principalId":"user-77","seats":"5"}`)},
		Call: event.Call{RouteKey: "placeOrder", RequestID: "Qa2CpFYtrRcFh2k=", At: time.UnixMilli(1754396050377)},
	}
	switch eventType {
	case event.TypeConnect:
		r.Handshake = &event.Handshake{Query: "token=t1", Headers: []event.Field{{Name: "Host", Value: "x"}, {Name: "Sec-WebSocket-Key", Value: "k"},
			{Name: "Connection", Value: "Upgrade"}, {Name: "authorization", Value: "AWS4-HMAC-SHA256 Credential=…"}, {Name: "Cookie", Value: "a=b"}}}
	case event.TypeMessage:
		r.Call.MessageID = "Qa2CpfZ1rRcCJ4w="
		r.Body = []byte(`{"action":"placeOrder","kind":"big"}`)
	case event.TypeDisconnect:
		r.Code, r.Reason = 1001, "Going away"
	}
	return r
}

func TestProxyResults(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "result.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		var payload []string
		for line := range strings.Lines(string(f.Data)) {
			line = strings.TrimSuffix(line, "\n")
			kind, want, found := strings.Cut(line, ": ")
			if !found || (!strings.HasPrefix(kind, "message") && !strings.HasPrefix(kind, "connect")) {
				payload = append(payload, line)
				continue
			}
			t.Run(f.Name+"/"+kind, func(t *testing.T) {
				connect := strings.HasPrefix(kind, "connect")
				got, err := parseResult([]byte(strings.Join(payload, "\n")), connect, !connect, false)
				switch {
				case strings.HasSuffix(kind, "error"):
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Fatalf("error %v, want %q", err, want)
					}
				case err != nil:
					t.Fatal(err)
				case connect && strings.TrimSpace(fmt.Sprint(got.Status, " ", got.Protocol)) != want:
					t.Fatalf("%d %q, want %s", got.Status, got.Protocol, want)
				case !connect && strconv.Quote(string(got.Body)) != want:
					t.Fatalf("%q, want %s", got.Body, want)
				}
			})
		}
	}
}

func FuzzProxyResult(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"a":1},"body":"x","isBase64Encoded":true}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		resp, err := parseResult(payload, true, true, false)
		if err == nil && !json.Valid(payload) {
			t.Fatalf("%q was accepted", payload)
		}
		if err == nil && (resp.Status < 200 || resp.Status > 599) {
			t.Fatalf("%q: status %d", payload, resp.Status)
		}
	})
}

func TestFunctionIsNamedByItsURI(t *testing.T) {
	for _, v := range []struct {
		uri, want string
		kind      fault.Kind
	}{
		{functionPath + "echo/invocations", "echo", 0},
		{functionPath + "echo:live/invocations", "echo:live", 0},
		{functionPath + "${stageVariables.fn}:${stageVariables.alias}/invocations", "orders:blue", 0}, // A39
		{"arn:aws:lambda:eu-west-1:111122223333:function:bare", "bare", 0},
		{functionPath + "${stageVariables.nope}/invocations", `stage variable "nope" is not set on stage "prod"`, fault.Internal},
		{"https://example.org", "does not name a function", fault.BadRequest},
		{functionPath + "${stageVariables.fn/invocations", "is written ${stageVariables.name}", fault.BadRequest},
	} {
		var called string
		x := New(Config{Functions: invoke(func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
			called = FunctionName(in.Function)
			return model.InvokeResult{}, nil
		})})
		r := request(Compile(&model.Integration{LogicalID: "I", Type: model.AWSProxy, URI: v.uri}), event.TypeMessage)
		r.StageVariables = map[string]string{"fn": "orders", "alias": "blue"}
		_, err := x.Call(t.Context(), r)
		if err != nil {
			if !fault.Is(err, v.kind) || !strings.Contains(err.Error(), v.want) {
				t.Errorf("%s: %v, want %q", v.uri, err, v.want)
			}
		} else if called != v.want {
			t.Errorf("%s: called %q, want %q", v.uri, called, v.want)
		}
	}
}

func TestFunctionInvocations(t *testing.T) {
	plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations"})
	for eventType, check := range map[string]func(in model.Invocation) bool{
		event.TypeConnect:    func(in model.Invocation) bool { return in.Tag == "Qa1zTdYbrRcCJ4w=" && !in.MustRun },
		event.TypeMessage:    func(in model.Invocation) bool { return in.Tag == "" && !in.MustRun },
		event.TypeDisconnect: func(in model.Invocation) bool { return in.Tag == "" && in.MustRun },
	} {
		x := New(Config{Functions: invoke(func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
			var e struct{ RequestContext struct{ EventType string } }
			if err := json.Unmarshal(in.Payload, &e); err != nil || e.RequestContext.EventType != eventType || !check(in) {
				t.Errorf("%s: %+v %s", eventType, in, in.Payload)
			}
			return model.InvokeResult{Payload: []byte(`{"statusCode":200}`)}, nil
		})})
		if _, err := x.Call(t.Context(), request(plan, eventType)); err != nil {
			t.Error(err)
		}
	}
}

func TestFunctionFailures(t *testing.T) {
	plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations"})
	for _, v := range []struct {
		res  model.InvokeResult
		err  error
		kind fault.Kind
		text string
	}{
		{res: model.InvokeResult{FunctionError: "Unhandled", ErrorType: "Sandbox.Timedout", Payload: []byte(`{"errorMessage":"Task timed out after 3.00 seconds"}`)},
			kind: fault.Upstream, text: "function echo failed: Sandbox.Timedout: Task timed out"},
		{res: model.InvokeResult{FunctionError: "Unhandled"}, kind: fault.Upstream, text: "without a message"},
		{res: model.InvokeResult{Payload: []byte(`"x"`)}, kind: fault.Upstream, text: "function echo returned a malformed proxy result"},
		{err: fault.New(fault.Throttled, "queue"), kind: fault.Throttled, text: "queue"},
		{err: errors.New("pipe"), kind: fault.Internal, text: "pipe"},
	} {
		x := New(Config{Functions: invoke(func(context.Context, model.Invocation) (model.InvokeResult, error) { return v.res, v.err })})
		_, err := x.Call(t.Context(), request(plan, event.TypeMessage))
		if !fault.Is(err, v.kind) || !strings.Contains(err.Error(), v.text) {
			t.Errorf("%v, want %v with %q", err, v.kind, v.text)
		}
	}
	_, err := New(Config{}).Call(t.Context(), request(plan, event.TypeMessage))
	if !fault.Is(err, fault.Unsupported) {
		t.Errorf("without a runtime: %v", err)
	}
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for given, want := range map[time.Duration]time.Duration{0: 29 * time.Second, 50 * time.Millisecond: 50 * time.Millisecond} {
			plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations", Timeout: given})
			x := New(Config{Functions: invoke(func(ctx context.Context, _ model.Invocation) (model.InvokeResult, error) {
				<-ctx.Done()
				return model.InvokeResult{}, ctx.Err()
			})})
			started := time.Now()
			_, err := x.Call(t.Context(), request(plan, event.TypeMessage))
			if took := time.Since(started); !fault.Is(err, fault.Timeout) || took != want {
				t.Errorf("%v after %v, want a Timeout after %v", err, took, want)
			}
		}
	})
}

// stuck is a back end of every kind that never answers.
type stuck struct{}

func (stuck) Do(ctx context.Context, _, _, _ string, _ *http.Request) (*http.Response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (stuck) Knows(string, string) bool { return true }

func (stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestTimeoutOfMappedTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(Config{Services: stuck{}, HTTP: &http.Client{Transport: stuck{}}, Functions: invoke(func(ctx context.Context, _ model.Invocation) (model.InvokeResult, error) {
			<-ctx.Done()
			return model.InvokeResult{}, ctx.Err()
		})})
		for _, in := range []model.Integration{
			{Type: model.HTTP, URI: "http://example.test"}, {Type: model.HTTPProxy, URI: "http://example.test"},
			{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem"}, {Type: model.AWS, URI: functionPath + "f/invocations"},
		} {
			in.Timeout = 50 * time.Millisecond
			started := time.Now()
			_, err := x.Call(t.Context(), request(Compile(&in), event.TypeMessage))
			if took := time.Since(started); !fault.Is(err, fault.Timeout) || took != in.Timeout {
				t.Errorf("%s %s: %v after %v", in.Type, in.URI, err, took)
			}
		}
	})
}

// The runtime says when the call has its place in line; nothing else may.
func TestQueuedIsTheRuntimesToSay(t *testing.T) {
	plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations"})
	said := 0
	x := New(Config{Functions: invoke(func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		if said != 0 {
			t.Error("said before the runtime had the call")
		}
		in.Queued()
		return model.InvokeResult{}, nil
	})})
	r := request(plan, event.TypeMessage)
	r.Queued = func() { said++ }
	if _, err := x.Call(t.Context(), r); err != nil || said != 1 {
		t.Fatalf("%v, said %d times", err, said)
	}
}

// backend records the last request.
type backend struct {
	*httptest.Server
	header http.Header
	host   string
	uri    string
	method string
	body   string

	mu     sync.Mutex
	answer func(w http.ResponseWriter)
}

func (b *backend) answers(fn func(w http.ResponseWriter)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = fn
}

func newBackend(t *testing.T) (*backend, *Executor) {
	b := &backend{answer: func(w http.ResponseWriter) { io.WriteString(w, "answer") }}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.header, b.host, b.uri, b.method, b.body = r.Header, r.Host, r.RequestURI, r.Method, string(raw)
		answer := b.answer
		b.mu.Unlock()
		answer(w)
	}))
	t.Cleanup(b.Close)
	return b, New(Config{HTTP: b.Client()})
}

func TestHTTPProxyRequests(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{LogicalID: "Back", Type: model.HTTPProxy, Method: "PUT", URI: b.URL + "/${stageVariables.path}/{who}?fixed=1", RequestParameters: map[string]string{
		"integration.request.header.connectionId":   "context.connectionId",
		"integration.request.header.Content-Type":   "'text/plain'",
		"integration.request.header.X-Seats":        "context.authorizer.seats",
		"integration.request.header.X-None":         "context.authorizer.none",
		"integration.request.querystring.action":    "route.request.body.action",
		"integration.request.querystring.table":     "stageVariables.table",
		"integration.request.querystring.token":     "route.request.querystring.token",
		"integration.request.path.who":              "context.identity.sourceIp",
		"integration.request.header.X-Epoch":        "context.requestTimeEpoch",
		"integration.request.header.X-Request-Time": "context.requestTime",
	}})
	vars := map[string]string{"path": "in", "table": "orders"}

	r := request(plan, event.TypeMessage)
	r.StageVariables = vars
	resp, err := x.Call(t.Context(), r)
	if err != nil || string(resp.Body) != "answer" || resp.Status != 200 {
		t.Fatalf("%+v, %v", resp, err)
	}
	if b.method != "PUT" || b.uri != "/in/198.51.100.23?fixed=1&action=placeOrder&table=orders" || b.body != string(r.Body) {
		t.Errorf("%s %s %q", b.method, b.uri, b.body)
	}
	want := map[string]string{
		"Connectionid": "Qa1zTdYbrRcCJ4w=", "Content-Type": "text/plain", "X-Seats": "5", "X-None": "", "X-Epoch": "1754396050377",
		"X-Request-Time": "05/Aug/2025:12:14:10 +0000", "User-Agent": "AmazonAPIGateway_k3v9x1m2qz", "X-Amzn-Apigateway-Api-Id": "k3v9x1m2qz", "Sec-Websocket-Key": "",
	}
	for name, value := range want {
		if got := b.header.Get(name); got != value {
			t.Errorf("message: %s = %q, want %q", name, got, value)
		}
	}

	r = request(plan, event.TypeConnect)
	r.StageVariables = vars
	b.answers(func(w http.ResponseWriter) {
		w.Header().Set("Sec-WebSocket-Protocol", "p1")
		w.WriteHeader(403)
	})
	resp, err = x.Call(t.Context(), r)
	if err != nil || resp.Status != 403 || resp.Protocol != "p1" || resp.Body != nil {
		t.Fatalf("%+v, %v", resp, err)
	}
	if b.body != "" || b.header.Get("Sec-WebSocket-Key") != "k" || b.header.Get("Cookie") != "a=b" || b.header.Get("Connection") != "" ||
		b.header.Get("Authorization") != "" || b.header.Get("X-Forwarded-Proto") != "https" || !strings.Contains(b.uri, "token=t1") {
		t.Errorf("connect: %s %q %v", b.uri, b.body, b.header)
	}

	r = request(plan, event.TypeDisconnect)
	r.StageVariables = vars
	if _, err = x.Call(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"X-Api-Key", "X-Restapi", "X-Forwarded-For"} {
		if got, ok := b.header[name]; !ok || got[0] != "" {
			t.Errorf("disconnect: %s = %q", name, got)
		}
	}
}

func TestHTTPProxyAnswers(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{LogicalID: "Back", Type: model.HTTPProxy, URI: b.URL, Timeout: 100 * time.Millisecond})
	stop := make(chan struct{})
	for _, v := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		kind   fault.Kind
		text   string
	}{
		{"too big", func(w http.ResponseWriter) { w.Write(make([]byte, MaxResponse+1)) }, fault.Upstream, "more than 131072 bytes"},
		{"binary", func(w http.ResponseWriter) { w.Write([]byte{0xff}) }, fault.Upstream, "not UTF-8"},
		{"cut off", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); w.Write([]byte("x")) }, fault.Upstream, "reading the answer"},
		{"slow", func(w http.ResponseWriter) { <-stop }, fault.Timeout, "no answer within 100ms"},
	} {
		b.answers(v.answer)
		if _, err := x.Call(t.Context(), request(plan, event.TypeMessage)); !fault.Is(err, v.kind) || !strings.Contains(err.Error(), v.text) {
			t.Errorf("%s: %v, want %v with %q", v.name, err, v.kind, v.text)
		}
	}
	close(stop)
	b.answers(func(w http.ResponseWriter) {
		w.Header().Set("Location", "http://127.0.0.1:1/")
		w.WriteHeader(307)
		io.WriteString(w, "moved")
	})
	if resp, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err != nil || resp.Status != 307 || string(resp.Body) != "moved" {
		t.Errorf("a redirect: %+v, %v", resp, err)
	}
	b.Close()
	if _, err := x.Call(t.Context(), request(plan, event.TypeMessage)); !fault.Is(err, fault.Upstream) {
		t.Errorf("unreachable: %v", err)
	}
}

func TestHTTPProxyIgnoresVPCLinks(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: b.URL + "/in", Connection: "VPC_LINK"})
	if resp, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err != nil || string(resp.Body) != "answer" || b.uri != "/in" {
		t.Fatalf("%+v, %v, %q", resp, err, b.uri)
	}
}

func TestHTTPProxyDecodesBase64(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: b.URL, ContentHandling: "CONVERT_TO_BINARY"})
	r := request(plan, event.TypeMessage)
	r.Body = []byte("AP8=")
	if _, err := x.Call(t.Context(), r); err != nil || b.body != "\x00\xff" {
		t.Fatalf("%q, %v", b.body, err)
	}
	r.Body = []byte("***")
	if _, err := x.Call(t.Context(), r); !fault.Is(err, fault.Internal) {
		t.Fatal(err)
	}
}

func TestMock(t *testing.T) {
	ok := map[string]string{"$default": `{"statusCode":200}`}
	answers := []*model.IntegrationResponse{
		{Key: `/2\d\d/`, TemplateSelectionExpression: "${request.body.kind}", Templates: map[string]string{"big": "BIG", `\$default`: "other"}},
		{Key: "$default", Templates: map[string]string{"application/json": "failed $5 #1"}},
	}
	for _, v := range []struct {
		name string
		in   model.Integration
		body string
		want string
		kind fault.Kind
	}{
		{"template by message", model.Integration{RequestTemplates: ok, Responses: answers}, `{"kind":"big"}`, "BIG", 0},
		{"$default template", model.Integration{RequestTemplates: ok, Responses: answers}, `{"kind":"small"}`, "other", 0},
		{"$default template of text", model.Integration{RequestTemplates: ok, Responses: answers}, "text", "other", 0},
		{"$default response", model.Integration{RequestTemplates: map[string]string{"application/json": "{statusCode: 404}"}, Responses: answers}, "", "failed $5 #1", 0},
		{"request template by message", model.Integration{TemplateSelectionExpression: "$request.body.s", RequestTemplates: map[string]string{"no": `{"statusCode":"500"}`, "$default": `{"statusCode":200}`}, Responses: answers}, `{"s":"no"}`, "failed $5 #1", 0},
		{"message passed through", model.Integration{Responses: answers}, `{"statusCode":404}`, "failed $5 #1", 0},
		{"message is no status", model.Integration{Responses: answers}, "hello", "", fault.Internal},
		{"no response fits", model.Integration{RequestTemplates: ok, Responses: []*model.IntegrationResponse{{Key: "404"}}}, "", "", fault.Internal},
		{"two-way without responses", model.Integration{RequestTemplates: ok}, "", "", fault.Internal},
		{"NEVER", model.Integration{PassthroughBehavior: "NEVER", Responses: answers}, "{}", "", fault.BadRequest},
		{"WHEN_NO_TEMPLATES with others", model.Integration{PassthroughBehavior: "WHEN_NO_TEMPLATES", TemplateSelectionExpression: "x", RequestTemplates: map[string]string{"y": "{}"}, Responses: answers}, "{}", "", fault.BadRequest},
		{"WHEN_NO_TEMPLATES with none", model.Integration{PassthroughBehavior: "WHEN_NO_TEMPLATES", Responses: answers}, `{"statusCode":404}`, "failed $5 #1", 0},
		{"Velocity in the request", model.Integration{RequestTemplates: map[string]string{"$default": `{"statusCode":$input.json('$.s')}`}, Responses: answers}, `{"s":404}`, "failed $5 #1", 0},
		{"Velocity gives no status", model.Integration{RequestTemplates: map[string]string{"$default": `{"statusCode":$x}`}, Responses: answers}, "", "", fault.Internal},
		{"Velocity in a response", model.Integration{RequestTemplates: ok, Responses: []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": `#set($a=1)$a $context.connectionId $context.status "$input.body"`}}}}, "x", `1 Qa1zTdYbrRcCJ4w= 200 ""`, 0},
		{"broken regex", model.Integration{RequestTemplates: ok, Responses: []*model.IntegrationResponse{{Key: "/(/"}}}, "", "", fault.BadRequest},
	} {
		t.Run(v.name, func(t *testing.T) {
			v.in.Type, v.in.LogicalID = model.Mock, "M"
			r := request(Compile(&v.in), event.TypeMessage)
			r.Body = []byte(v.body)
			resp, err := New(Config{}).Call(t.Context(), r)
			if v.kind != 0 || v.want == "" {
				if !fault.Is(err, v.kind) {
					t.Fatalf("%+v, %v; want %v", resp, err, v.kind)
				}
				return
			}
			if err != nil || string(resp.Body) != v.want {
				t.Fatalf("%q, %v; want %q", resp.Body, err, v.want)
			}
		})
	}
}

func TestMockWithoutResponses(t *testing.T) {
	plan := Compile(&model.Integration{Type: model.Mock, RequestTemplates: map[string]string{"200": `{"statusCode":403}`}, TemplateSelectionExpression: "200"})
	r := request(plan, event.TypeConnect)
	if resp, err := New(Config{}).Call(t.Context(), r); err != nil || resp.Status != 403 {
		t.Errorf("$connect: %+v, %v", resp, err)
	}
	r = request(plan, event.TypeMessage)
	r.TwoWay = false
	if _, err := New(Config{}).Call(t.Context(), r); err != nil {
		t.Errorf("one-way: %v", err)
	}
}

func TestUsesVTL(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, `{"a":"$5 #1"}`: false, "a$": false, "#": false, `{"path":"$"}`: false,
		"$input.body": true, "${x}": true, "$!x": true, "#set($a=1)": true, "## note": true, "#* c *#": true, "#[[raw]]#": true,
	} {
		if got := UsesVTL(text); got != want {
			t.Errorf("UsesVTL(%q) = %v", text, got)
		}
	}
}

func TestInstantAndFixed(t *testing.T) {
	status := map[string]string{"$default": `{"statusCode":200}`}
	answer := func(text string) []*model.IntegrationResponse {
		return []*model.IntegrationResponse{{Key: "/200/", Templates: map[string]string{"$default": text}}}
	}
	for _, v := range []struct {
		name           string
		in             model.Integration
		instant, fixed bool
	}{
		{"static MOCK", model.Integration{Type: model.Mock, RequestTemplates: status, Responses: answer("x")}, true, true},
		{"MOCK by message", model.Integration{Type: model.Mock, TemplateSelectionExpression: "$request.body.a", RequestTemplates: status, Responses: answer("x")}, true, false},
		{"Velocity in the answer", model.Integration{Type: model.Mock, RequestTemplates: status, Responses: answer("$context.stage")}, false, false},
		{"Velocity in the request", model.Integration{Type: model.Mock, RequestTemplates: map[string]string{"$default": "#set($a=1){\"statusCode\":200}"}, Responses: answer("x")}, false, false},
		{"an answer that decides a handshake", model.Integration{Type: model.Mock, RequestTemplates: status, Responses: answer(`{"statusCode":403}`)}, true, false},
		{"an answer that agrees", model.Integration{Type: model.Mock, RequestTemplates: status, Responses: answer(`{"statusCode":200}`)}, true, true},
		{"HTTP", model.Integration{Type: model.HTTP, URI: "http://x", Responses: answer("x")}, false, false},
		{"function", model.Integration{Type: model.AWSProxy, URI: functionPath + "f/invocations"}, false, false},
	} {
		p := Compile(&v.in)
		if p.Err() != nil {
			t.Fatal(p.Err())
		}
		if _, fixed := p.Fixed(); p.Instant() != v.instant || fixed != v.fixed {
			t.Errorf("%s: instant %v, fixed %v", v.name, p.Instant(), fixed)
		}
	}
	x := New(Config{})
	p := Compile(&model.Integration{Type: model.Mock, RequestTemplates: status, Responses: answer(`{"statusCode":403}`)})
	if resp, err := x.Call(t.Context(), request(p, event.TypeConnect)); err != nil || resp.Status != 403 {
		t.Errorf("$connect: %+v, %v", resp, err)
	}
}

// Functions are what most routes call: mappings must not have made that dearer.
func TestFunctionAllocations(t *testing.T) {
	plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations"})
	answer := []byte(`{"statusCode":200,"body":"pong"}`)
	x := New(Config{Functions: invoke(func(context.Context, model.Invocation) (model.InvokeResult, error) {
		return model.InvokeResult{Payload: answer}, nil
	})})
	r := request(plan, event.TypeMessage)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := x.Call(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}); n > 8 {
		t.Errorf("%v allocations per call", n)
	}
}
