package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// runner answers every invocation with result, err.
type runner struct {
	result      model.InvokeResult
	err         error
	sync, async []model.Invocation
	cancelled   bool
}

func (r *runner) Invoke(ctx context.Context, inv model.Invocation) (model.InvokeResult, error) {
	r.sync = append(r.sync, inv)
	r.cancelled = ctx.Err() != nil
	return r.result, r.err
}

func (r *runner) InvokeAsync(_ context.Context, inv model.Invocation) error {
	r.async = append(r.async, inv)
	return r.err
}

const base = "arn:aws:lambda:us-east-1:123456789012:function:"

func testApp() *model.App {
	return &model.App{
		Region: "us-east-1", AccountID: "123456789012", Partition: "aws",
		Functions: []*model.Function{
			{Name: "worker", ARN: base + "worker", Runtime: "nodejs20.x", Handler: "i.h", Timeout: 7 * time.Second, MemoryMB: 256,
				Reserved: 2, Env: map[string]string{"A": "1"}, Layers: []string{"arn:layer:1"}, Arch: "arm64", Aliases: map[string]string{"live": "3"}},
			{Name: "audit", ARN: base + "audit", Reserved: -1},
			{Name: "zeta", ARN: base + "zeta", Reserved: -1},
		},
	}
}

func call(r *runner, method, target, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, "http://localhost"+target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	sigv4.Sign(req, []byte(body), sigv4.Key{ID: "ASIAWORKER", Secret: "s"}, sigv4.Scope{Region: "us-east-1", Service: "lambda"}, time.Now())
	rec := httptest.NewRecorder()
	New(Config{Functions: r, App: testApp}).ServeHTTP(rec, req)
	return rec
}

func invoke(r *runner, name, body string, header ...string) *httptest.ResponseRecorder {
	return call(r, "POST", "/2015-03-31/functions/"+name+"/invocations", body, header...)
}

func TestInvoke(t *testing.T) {
	r := &runner{result: model.InvokeResult{Payload: []byte(`{"ok":true}`), LogTail: []byte("log")}}
	rec := invoke(r, "worker", `{"x":1}`, "X-Amz-Log-Type", "Tail", "X-Amz-Client-Context", base64.StdEncoding.EncodeToString([]byte(`{"custom":{}}`)))
	if rec.Code != 200 || rec.Body.String() != `{"ok":true}` || rec.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if h := rec.Header(); h.Get("X-Amz-Executed-Version") != "$LATEST" || h.Get("X-Amz-Log-Result") != "bG9n" || h.Get("X-Amz-Function-Error") != "" {
		t.Errorf("headers %v", h)
	}
	got := r.sync[0]
	if got.Function != "worker" || string(got.Payload) != `{"x":1}` || got.Caller != "ASIAWORKER" || !got.LogTail || got.ClientContext != `{"custom":{}}` {
		t.Errorf("invocation %+v", got)
	}
	if got.RequestID == "" || got.RequestID != rec.Header().Get("X-Amzn-Requestid") {
		t.Errorf("request id %q, header %q", got.RequestID, rec.Header().Get("X-Amzn-Requestid"))
	}
}

func TestFunctionErrorIsA200(t *testing.T) {
	r := &runner{result: model.InvokeResult{Payload: []byte(`{"errorMessage":"boom"}`), FunctionError: "Unhandled"}}
	rec := invoke(r, "worker", "")
	if rec.Code != 200 || rec.Header().Get("X-Amz-Function-Error") != "Unhandled" || rec.Body.String() != `{"errorMessage":"boom"}` {
		t.Fatalf("%d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	if string(r.sync[0].Payload) != "{}" {
		t.Errorf("an empty payload arrives as %q", r.sync[0].Payload)
	}
	if _, there := rec.Header()["X-Amz-Log-Result"]; there {
		t.Error("a log nobody asked for")
	}
}

func TestNamesAndQualifiers(t *testing.T) {
	for target, want := range map[string]struct{ fn, version string }{
		"worker":                                {"worker", "$LATEST"},
		"worker:live":                           {"worker:live", "3"},
		"worker:$LATEST":                        {"worker:$LATEST", "$LATEST"},
		"worker:3":                              {"worker:3", "3"},
		"123456789012:function:worker":          {"worker", "$LATEST"},
		"123456789012%3Afunction%3Aworker:live": {"worker:live", "3"},
		"arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Aworker": {"worker", "$LATEST"},
		base + "worker:live": {"worker:live", "3"},
	} {
		r := &runner{}
		rec := invoke(r, target, "")
		if rec.Code != 200 || r.sync[0].Function != want.fn || rec.Header().Get("X-Amz-Executed-Version") != want.version {
			t.Errorf("%s: %d %s %+v", target, rec.Code, rec.Body, r.sync)
		}
	}
	r := &runner{}
	if rec := call(r, "POST", "/2015-03-31/functions/worker/invocations?Qualifier=live", ""); rec.Code != 200 || r.sync[0].Function != "worker:live" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := call(r, "POST", "/2015-03-31/functions/worker:3/invocations?Qualifier=live", ""); rec.Code != 400 {
		t.Errorf("two qualifiers: %d %s", rec.Code, rec.Body)
	}
	for target, want := range map[string]string{
		"absent":         "Function not found: " + base + "absent",
		"absent:live":    "Function not found: " + base + "absent:live",
		"worker:9":       "Function not found: " + base + "worker:9",
		base + "absent2": "Function not found: " + base + "absent2",
	} {
		rec := invoke(&runner{}, target, "")
		var body struct{ Type, Message string }
		json.Unmarshal(rec.Body.Bytes(), &body)
		if rec.Code != 404 || rec.Header().Get("X-Amzn-Errortype") != "ResourceNotFoundException" || body.Message != want || body.Type != "User" {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

func TestEventAndDryRun(t *testing.T) {
	r := &runner{}
	if rec := invoke(r, "worker", `[1]`, "X-Amz-Invocation-Type", "Event"); rec.Code != 202 || rec.Body.Len() != 0 || string(r.async[0].Payload) != "[1]" {
		t.Errorf("Event: %d %s", rec.Code, rec.Body)
	}
	if rec := invoke(r, "worker", `{}`, "X-Amz-Invocation-Type", "DryRun"); rec.Code != 204 {
		t.Errorf("DryRun: %d", rec.Code)
	}
	if rec := call(r, "POST", "/2014-11-13/functions/worker/invoke-async/", `{"a":1}`); rec.Code != 202 || rec.Body.String() != `{"Status":202}` || len(r.async) != 2 {
		t.Errorf("InvokeAsync: %d %s", rec.Code, rec.Body)
	}
	if len(r.sync) != 0 {
		t.Errorf("ran synchronously: %+v", r.sync)
	}
	if rec := invoke(r, "worker", `{}`, "X-Amz-Invocation-Type", "Sometimes"); rec.Code != 400 || !strings.Contains(rec.Body.String(), "Sometimes") {
		t.Errorf("unknown type: %d %s", rec.Code, rec.Body)
	}
}

func TestLimitsAndErrors(t *testing.T) {
	big := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for name, c := range map[string]struct {
		r      *runner
		body   string
		header []string
		status int
		code   string
		text   string
	}{
		"6 MB":           {&runner{}, big(6 << 20), nil, 200, "", ""},
		"6 MB and one":   {&runner{}, big(6<<20 + 1), nil, 413, "RequestTooLargeException", "Request must be smaller than 6291456 bytes for the InvokeFunction operation"},
		"event too big":  {&runner{}, big(1<<20 + 1), []string{"X-Amz-Invocation-Type", "Event"}, 413, "RequestTooLargeException", "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"},
		"not JSON":       {&runner{}, `{"a":`, nil, 400, "InvalidRequestContentException", "Could not parse request body into json"},
		"client context": {&runner{}, `{}`, []string{"X-Amz-Client-Context", "%%"}, 400, "InvalidRequestContentException", "base64"},
		"throttled":      {&runner{err: fault.New(fault.Throttled, "full")}, `{}`, nil, 429, "TooManyRequestsException", `"message":"Rate Exceeded."`},
		"vanished":       {&runner{err: fault.New(fault.NotFound, "Function not found: x")}, `{}`, nil, 404, "ResourceNotFoundException", "Function not found: x"},
		"ours":           {&runner{err: errors.New("secret internals")}, `{}`, nil, 500, "ServiceException", `"Type":"Service"`},
		"throttled event": {&runner{err: fault.New(fault.Throttled, "full")}, `{}`, []string{"X-Amz-Invocation-Type", "Event"}, 429,
			"TooManyRequestsException", "Rate Exceeded."},
	} {
		rec := invoke(c.r, "worker", c.body, c.header...)
		if rec.Code != c.status || rec.Header().Get("X-Amzn-Errortype") != c.code || !strings.Contains(rec.Body.String(), c.text) {
			t.Errorf("%s: %d %s %.200s", name, rec.Code, rec.Header().Get("X-Amzn-Errortype"), rec.Body)
		}
		if strings.Contains(rec.Body.String(), "internals") {
			t.Errorf("%s: internals leak", name)
		}
	}
}

// The function goes on when its caller hangs up.
func TestCallerHangsUp(t *testing.T) {
	r := &runner{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequest("POST", "/2015-03-31/functions/worker/invocations", nil).WithContext(ctx)
	New(Config{Functions: r, App: testApp}).ServeHTTP(httptest.NewRecorder(), req)
	if len(r.sync) != 1 || r.cancelled {
		t.Fatal("the invocation was cancelled with its caller")
	}
}

func TestConfigurations(t *testing.T) {
	rec := call(&runner{}, "GET", "/2015-03-31/functions/worker/configuration?Qualifier=live", "")
	const want = `{"FunctionName":"worker","FunctionArn":"` + base + `worker:live","Runtime":"nodejs20.x","Handler":"i.h","Timeout":7,"MemorySize":256,"Version":"3",` +
		`"Environment":{"Variables":{"A":"1"}},"Layers":[{"Arn":"arn:layer:1"}],"Architectures":["arm64"],"EphemeralStorage":{"Size":512},` +
		`"PackageType":"Zip","State":"Active","LastUpdateStatus":"Successful"}`
	if rec.Code != 200 || rec.Body.String() != want {
		t.Errorf("%d\n%s\n%s", rec.Code, rec.Body, want)
	}
	rec = call(&runner{}, "GET", "/2015-03-31/functions/worker", "")
	if rec.Code != 200 || !strings.Contains(rec.Body.String(), `"Concurrency":{"ReservedConcurrentExecutions":2}`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	rec = call(&runner{}, "GET", "/2015-03-31/functions/audit", "")
	if rec.Code != 200 || strings.Contains(rec.Body.String(), "Concurrency") || !strings.Contains(rec.Body.String(), `"Timeout":3,"MemorySize":128`) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	for _, path := range []string{"/2015-03-31/functions/absent", "/2015-03-31/functions/absent/configuration"} {
		if rec := call(&runner{}, "GET", path, ""); rec.Code != 404 {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
}

func TestListIsPaged(t *testing.T) {
	var names []string
	marker := ""
	for range 5 {
		rec := call(&runner{}, "GET", "/2015-03-31/functions/?MaxItems=2&Marker="+marker, "")
		var page struct {
			Functions  []struct{ FunctionName string }
			NextMarker string
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &page); err != nil || rec.Code != 200 {
			t.Fatal(rec.Code, rec.Body)
		}
		for _, f := range page.Functions {
			names = append(names, f.FunctionName)
		}
		if marker = page.NextMarker; marker == "" {
			break
		}
	}
	if strings.Join(names, " ") != "audit worker zeta" {
		t.Errorf("listed %v", names)
	}
	if rec := call(&runner{}, "GET", "/2015-03-31/functions?MaxItems=x", ""); rec.Code != 400 {
		t.Errorf("MaxItems=x: %d", rec.Code)
	}
}

func TestOtherOperationsAreNamed(t *testing.T) {
	for _, c := range [][2]string{
		{"DELETE", "/2015-03-31/functions/worker"}, {"POST", "/2015-03-31/functions"}, {"GET", "/2015-03-31/event-source-mappings"},
		{"POST", "/2021-11-15/functions/worker/response-streaming-invocations"}, {"GET", "/"}, {"POST", "/2015-03-31/functions/worker/invocations/x"},
	} {
		rec := call(&runner{}, c[0], c[1], "")
		if rec.Code != http.StatusNotImplemented || !strings.Contains(rec.Body.String(), c[0]+" "+c[1]) || !strings.Contains(rec.Body.String(), "--aws-passthrough lambda") {
			t.Errorf("%v: %d %s", c, rec.Code, rec.Body)
		}
	}
}

func TestNoApplicationYet(t *testing.T) {
	h := New(Config{Functions: &runner{}, App: func() *model.App { return nil }})
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("POST", "/2015-03-31/functions/worker/invocations", nil))
	if rec.Code != 404 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}
