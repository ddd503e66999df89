package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// services is a Services that keeps the last request.
type services struct {
	name, region, role string
	request            *http.Request
	payload            string

	status  int
	content string
	answer  string
	err     error
}

func (s *services) Do(_ context.Context, name, region, role string, r *http.Request) (*http.Response, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(raw))
	s.name, s.region, s.role, s.request, s.payload = name, region, role, r, string(raw)
	if s.err != nil {
		return nil, s.err
	}
	return &http.Response{StatusCode: s.status, Header: http.Header{"Content-Type": {s.content}}, Body: io.NopCloser(strings.NewReader(s.answer))}, nil
}

func (s *services) Knows(service, action string) bool {
	return service != "comprehend" && action != "Nope"
}

// script is one golden case: repeated keys in order, "key|" continues the last value.
type script map[string][]string

func readScript(t *testing.T, data []byte) script {
	out := script{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		i := strings.IndexAny(line, ":|")
		if i < 0 {
			t.Fatalf("line %q", line)
		}
		key, value := line[:i], line[i+1:]
		if line[i] == '|' {
			last := len(out[key]) - 1
			out[key][last] += "\n" + value
			continue
		}
		out[key] = append(out[key], strings.TrimPrefix(value, " "))
	}
	return out
}

func (s script) one(key string) string {
	if len(s[key]) == 0 {
		return ""
	}
	return s[key][0]
}

// integration is what a case configures.
func (s script) integration() *model.Integration {
	in := &model.Integration{LogicalID: "Back", Type: model.AWS, URI: s.one("uri"), Method: s.one("method"), CredentialsARN: s.one("role"),
		TemplateSelectionExpression: s.one("select"), PassthroughBehavior: s.one("passthrough")}
	if text := s.one("template"); text != "" {
		in.RequestTemplates = map[string]string{"$default": text}
	}
	for _, p := range s["param"] {
		if in.RequestParameters == nil {
			in.RequestParameters = map[string]string{}
		}
		dest, source, _ := strings.Cut(p, " = ")
		in.RequestParameters[dest] = source
	}
	for _, key := range s["response"] {
		r := &model.IntegrationResponse{Key: key}
		if text := s.one("answer template"); text != "" {
			r.Templates = map[string]string{"$default": text}
		}
		in.Responses = append(in.Responses, r)
	}
	return in
}

// call is what happens in a case.
func (s script) call(plan *Plan) *Request {
	kind := s.one("event")
	oneWay := kind == "ONEWAY"
	if kind == "" || oneWay {
		kind = event.TypeMessage
	}
	r := request(plan, kind)
	r.TwoWay = !oneWay
	if body, ok := s["body"]; ok {
		r.Body = []byte(body[0])
	}
	r.StageVariables = map[string]string{}
	for _, v := range s["stage"] {
		name, value, _ := strings.Cut(v, "=")
		r.StageVariables[name] = value
	}
	return r
}

func TestServices(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "aws.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		t.Run(f.Name, func(t *testing.T) {
			s := readScript(t, f.Data)
			stub := &services{}
			if answer := strings.SplitN(s.one("service"), " ", 3); len(answer) == 3 {
				stub.status, _ = strconv.Atoi(answer[0])
				stub.content, stub.answer = answer[1], answer[2]
			}
			x := New(Config{Services: stub})
			plan := Compile(s.integration())
			if plan.Err() != nil {
				t.Fatal(plan.Err())
			}
			if plan.Instant() {
				t.Error("a call of a service counts as instant")
			}
			resp, err := x.Call(t.Context(), s.call(plan))
			s.checkRequest(t, stub)
			if want, bad := s["error"]; bad {
				if err == nil || !strings.Contains(err.Error(), want[0]) || !strings.Contains(err.Error(), "integration Back") {
					t.Fatalf("%+v, %v; want %q", resp, err, want[0])
				}
				return
			}
			if err != nil || strconv.Itoa(resp.Status) != s.one("status") || string(resp.Body) != s.one("reply") {
				t.Fatalf("%d %q, %v; want %s %q", resp.Status, resp.Body, err, s.one("status"), s.one("reply"))
			}
		})
	}
}

func (s script) checkRequest(t *testing.T, got *services) {
	t.Helper()
	want := s.one("request")
	if got.request == nil {
		if want != "" {
			t.Fatal("the service was not called")
		}
		return
	}
	if line := got.request.Method + " " + got.request.URL.String(); line != want {
		t.Errorf("request\n     %s\nwant %s", line, want)
	}
	for _, h := range s["header"] {
		name, value, _ := strings.Cut(h, ":")
		if have := got.request.Header.Get(name); have != strings.TrimSpace(value) {
			t.Errorf("%s: %q, want %q", name, have, strings.TrimSpace(value))
		}
	}
	if payload, ok := s["payload"]; ok && got.payload != payload[0] {
		t.Errorf("payload\n     %s\nwant %s", got.payload, payload[0])
	}
	if len(s["form"]) > 0 {
		form, err := url.ParseQuery(strings.TrimSpace(got.payload))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s["form"] {
			name, value, _ := strings.Cut(f, "=")
			if form.Get(name) != value {
				t.Errorf("form field %s = %q, want %q", name, form.Get(name), value)
			}
		}
	}
	// It could go out as it is.
	var wire bytes.Buffer
	if err := got.request.Write(&wire); err != nil {
		t.Errorf("the request cannot be written: %v", err)
	} else if _, err := http.ReadRequest(bufio.NewReader(&wire)); err != nil {
		t.Errorf("the request cannot be read back: %v", err)
	}
	if _, region, _ := strings.Cut(s.one("uri"), "apigateway:"); !strings.HasPrefix(region, got.region+":"+got.name+":") {
		t.Errorf("called %s in %s", got.name, got.region)
	}
}

func TestServiceRoleAndSubdomain(t *testing.T) {
	stub := &services{status: 200, content: "application/json", answer: "{}"}
	plan := Compile(&model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:data-ats.iot:path/topics/t", CredentialsARN: "arn:aws:iam::1:role/${stageVariables.r}"})
	r := request(plan, event.TypeMessage)
	r.TwoWay, r.StageVariables = false, map[string]string{"r": "x"}
	if _, err := New(Config{Services: stub}).Call(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if stub.name != "iot" || stub.role != "arn:aws:iam::1:role/x" || stub.request.URL.String() != "https://data-ats.iot.eu-west-1.amazonaws.com/topics/t" {
		t.Errorf("%s %s %s", stub.name, stub.role, stub.request.URL)
	}
	r.StageVariables = nil
	if _, err := New(Config{Services: stub}).Call(t.Context(), r); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), `stage variable "r" is not set`) {
		t.Errorf("without the variable: %v", err)
	}
	stub.err = errors.New("down")
	r.StageVariables = map[string]string{"r": "x"}
	if _, err := New(Config{Services: stub}).Call(t.Context(), r); !fault.Is(err, fault.Upstream) || !strings.Contains(err.Error(), "down") {
		t.Errorf("a service that is down: %v", err)
	}
}

// A target that is not built is told when the deployment is made, by name and place.
func TestUnbuiltServicesAreNamedAtLoad(t *testing.T) {
	in := &model.Integration{LogicalID: "Mood", Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:comprehend:action/DetectSentiment", Pos: model.Pos{File: "template.yaml", Line: 12}}
	const want = "integration Mood (template.yaml:12): comprehend DetectSentiment is not supported yet"
	for name, x := range map[string]*Executor{"some services": New(Config{Services: &services{}}), "no services": New(Config{})} {
		p := x.Compile(in)
		if !fault.Is(p.Err(), fault.Unsupported) || p.Err().Error() != want {
			t.Errorf("%s: %v", name, p.Err())
		}
	}
	in.URI = "arn:aws:apigateway:eu-west-1:dynamodb:action/GetItem"
	if p := New(Config{Services: &services{}}).Compile(in); p.Err() != nil {
		t.Errorf("one that is there: %v", p.Err())
	}
	if _, _, ok := Compile(&model.Integration{Type: model.AWS, URI: functionPath + "f/invocations"}).Service(); ok {
		t.Error("a function is a service")
	}
}

func TestLambdaWithMappings(t *testing.T) {
	answers := []*model.IntegrationResponse{
		{Key: "/.*not found.*/", Templates: map[string]string{"$default": `missing: $input.path('$.errorMessage')`}},
		{Key: "$default", Templates: map[string]string{"$default": `{"n":$input.json('$.n')}`}},
	}
	ok := func(payload string) model.InvokeResult { return model.InvokeResult{Payload: []byte(payload)} }
	failed := func(message string) model.InvokeResult {
		return model.InvokeResult{FunctionError: "Unhandled", Payload: []byte(`{"errorType":"Error","errorMessage":` + strconv.Quote(message) + `}`)}
	}
	for _, v := range []struct {
		name    string
		answers []*model.IntegrationResponse
		result  model.InvokeResult
		oneWay  bool
		want    string
		err     string
	}{
		{"result", answers, ok(`{"n":7}`), false, `{"n":7}`, ""},
		{"error by pattern", answers, failed("order not found"), false, "missing: order not found", ""},
		{"pattern matches the whole message", []*model.IntegrationResponse{{Key: "/not found/"}}, failed("order not found"), false, "", "function echo: Error: order not found"},
		{"error by $default", []*model.IntegrationResponse{{Key: "$default"}}, failed("x"), false, `{"errorType":"Error","errorMessage":"x"}`, ""},
		{"error on a one-way route", nil, failed("x"), true, "", "function echo: Error: x"},
		{"one-way", nil, ok(`{"n":7}`), true, "", ""},
		{"two-way without responses", nil, ok(`{"n":7}`), false, "", "no integration response fits status 200"},
		{"a status as key", []*model.IntegrationResponse{{Key: "/2../"}}, ok(`{"n":7}`), false, `{"n":7}`, ""},
		{"text result", []*model.IntegrationResponse{{Key: "$default"}}, ok(`"hello"`), false, `"hello"`, ""},
		{"too large", answers, ok(`"` + strings.Repeat("x", MaxResponse) + `"`), false, "", "more than 131072 bytes"},
	} {
		plan := Compile(&model.Integration{LogicalID: "Back", Type: model.AWS, URI: functionPath + "echo/invocations", Responses: v.answers,
			RequestTemplates: map[string]string{"application/json": `{"id":"$context.connectionId","body":$input.json('$.action')}`}})
		var in model.Invocation
		x := New(Config{Functions: invoke(func(_ context.Context, i model.Invocation) (model.InvokeResult, error) { in = i; return v.result, nil })})
		r := request(plan, event.TypeMessage)
		r.TwoWay = !v.oneWay
		resp, err := x.Call(t.Context(), r)
		if (err != nil) != (v.err != "") || err != nil && !strings.Contains(err.Error(), v.err) || string(resp.Body) != v.want {
			t.Errorf("%s: %q, %v; want %q %q", v.name, resp.Body, err, v.want, v.err)
		}
		if string(in.Payload) != `{"id":"Qa1zTdYbrRcCJ4w=","body":"placeOrder"}` || FunctionName(in.Function) != "echo" {
			t.Errorf("%s: invoked %s with %s", v.name, in.Function, in.Payload)
		}
	}
}

// A function that fails never lets a connection in, whatever fits its error.
func TestLambdaWithMappingsDecidesHandshakes(t *testing.T) {
	for _, v := range []struct {
		name     string
		template string
		failed   bool
		want     int
	}{
		{"succeeds", "", false, 200},
		{"fails", "", true, 502},
		{"fails, and the template says what that means", `{"statusCode":401}`, true, 401},
		{"succeeds, and the template refuses", `{"statusCode": $input.path('$.code')}`, false, 403},
	} {
		r := &model.IntegrationResponse{Key: "$default"}
		if v.template != "" {
			r.Templates = map[string]string{"$default": v.template}
		}
		plan := Compile(&model.Integration{Type: model.AWS, URI: functionPath + "echo/invocations", Responses: []*model.IntegrationResponse{r}})
		x := New(Config{Functions: invoke(func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
			if in.Tag != "Qa1zTdYbrRcCJ4w=" || len(in.Payload) != 0 {
				t.Errorf("%s: tag %q, payload %s", v.name, in.Tag, in.Payload)
			}
			if v.failed {
				return model.InvokeResult{FunctionError: "Unhandled", Payload: []byte(`{"errorMessage":"no"}`)}, nil
			}
			return model.InvokeResult{Payload: []byte(`{"code":403}`)}, nil
		})})
		if resp, err := x.Call(t.Context(), request(plan, event.TypeConnect)); err != nil || resp.Status != v.want {
			t.Errorf("%s: %+v, %v", v.name, resp, err)
		}
	}
}

// later is an Events.
type later struct {
	in  model.Invocation
	err error
}

func (l *later) InvokeAsync(_ context.Context, in model.Invocation) error {
	l.in = in
	return l.err
}

func TestLambdaEvents(t *testing.T) {
	in := &model.Integration{LogicalID: "Back", Type: model.AWS, URI: functionPath + "echo/invocations",
		RequestParameters: map[string]string{"integration.request.header.X-Amz-Invocation-Type": "'Event'"}}
	l := &later{}
	x := New(Config{Events: l})
	r := request(Compile(in), event.TypeMessage)
	r.TwoWay = false
	queued := 0
	r.Queued = func() { queued++ }
	if resp, err := x.Call(t.Context(), r); err != nil || resp.Status != 202 || string(l.in.Payload) != string(r.Body) || queued != 1 {
		t.Errorf("%+v, %v, %s, queued %d times", resp, err, l.in.Payload, queued)
	}
	l.err = fault.New(fault.Throttled, "full")
	if _, err := x.Call(t.Context(), r); !fault.Is(err, fault.Throttled) {
		t.Error(err)
	}
	if _, err := New(Config{}).Call(t.Context(), r); !fault.Is(err, fault.Unsupported) {
		t.Error(err)
	}
	r.Body = []byte("not JSON")
	if _, err := x.Call(t.Context(), r); !fault.Is(err, fault.Upstream) || !strings.Contains(err.Error(), "InvalidRequestContentException") {
		t.Error(err)
	}
	in.RequestParameters["integration.request.header.X-Amz-Invocation-Type"] = "'Sometimes'"
	if _, err := x.Call(t.Context(), request(Compile(in), event.TypeMessage)); err == nil || !strings.Contains(err.Error(), `"Sometimes"`) {
		t.Error(err)
	}
	in.RequestParameters["integration.request.header.X-Amz-Invocation-Type"] = "'RequestResponse'"
	if _, err := x.Call(t.Context(), request(Compile(in), event.TypeMessage)); !fault.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "no function runtime") {
		t.Error(err)
	}
}

func TestQueryJSONRefusesWhatIsNoAnswer(t *testing.T) {
	for _, bad := range []string{"", "text", "<a/><b/>", "<a>", strings.Repeat("<a>", 70) + strings.Repeat("</a>", 70), "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>"} {
		if out, err := queryJSON([]byte(bad)); err == nil {
			t.Errorf("%q gives %s", bad, out)
		}
	}
}
