package awsapi

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

var worker = sigv4.Key{ID: "ASIAWORKER", Secret: secret, Token: "token"}

// door is a Handler over one service, "lambda", that answers what it got.
type door struct {
	*Handler
	mu   sync.Mutex
	logs []string
}

func newDoor(cfg Config) *door {
	d := &door{}
	cfg.Logs = func(l model.LogLine) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.logs = append(d.logs, l.Text)
	}
	if cfg.Services == nil {
		cfg.Services = map[string]http.Handler{}
	}
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(500)
			return
		}
		switch r.Header.Get("X-Amz-Target") {
		case "DynamoDB_20120810.RestoreTable":
			w.WriteHeader(400)
			io.WriteString(w, `{"__type":"com.amazon.coral.service#UnknownOperationException"}`)
			return
		}
		if r.URL.Path == "/unsupported" {
			w.WriteHeader(501)
			return
		}
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	})
	cfg.Services["lambda"], cfg.Services["dynamodb"] = echo, echo
	if cfg.Secret == nil {
		cfg.Secret = func(id string) (string, bool) { return secret, id == worker.ID }
	}
	d.Handler = New(cfg)
	return d
}

// call builds a request; a service of "" leaves it unsigned.
func request(method, url, body string, key sigv4.Key, service string, header ...string) *http.Request {
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if service != "" {
		sigv4.Sign(r, []byte(body), key, sigv4.Scope{Region: "us-east-1", Service: service}, time.Now())
	}
	return r
}

func (d *door) do(r *http.Request) *httptest.ResponseRecorder {
	// httptest sets an absolute RequestURI, as a proxy request would have.
	r.RequestURI = r.URL.RequestURI()
	r.URL.Host, r.URL.Scheme = "", ""
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, r)
	return rec
}

func TestServiceIsChosenByScopeThenHost(t *testing.T) {
	d := newDoor(Config{})
	for name, r := range map[string]*http.Request{
		"scope":        request("POST", "http://127.0.0.1:3001/x", "hi", worker, "lambda"),
		"scope wins":   request("POST", "http://sts.amazonaws.com/x", "hi", worker, "lambda"),
		"aws host":     request("POST", "http://lambda.eu-west-1.amazonaws.com/x", "hi", worker, "lambda"),
		"another key":  request("POST", "http://localhost/x", "hi", sigv4.Key{ID: "test", Secret: "test"}, "lambda"),
		"long ago key": request("POST", "http://localhost/x", "hi", sigv4.Key{ID: "AKIAOLD", Secret: "zzz"}, "lambda"),
	} {
		if rec := d.do(r); rec.Code != 200 || rec.Body.String() != "POST /x hi" {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	if len(d.logs) != 0 {
		t.Errorf("logs: %q", d.logs)
	}
}

func TestUnsignedAndWrong(t *testing.T) {
	d := newDoor(Config{})
	json10 := []string{"Content-Type", "application/x-amz-json-1.0", "X-Amz-Target", "DynamoDB_20120810.GetItem"}
	wrong := worker
	wrong.Secret = "guess"
	tampered := request("POST", "http://localhost/x", "hi", worker, "lambda")
	tampered.Body = io.NopCloser(strings.NewReader("ho"))
	stale := request("POST", "http://localhost/x", "", worker, "")
	sigv4.Sign(stale, nil, worker, sigv4.Scope{Region: "us-east-1", Service: "lambda"}, time.Now().Add(-6*time.Minute))
	malformed := request("POST", "http://localhost/x", "", worker, "lambda")
	malformed.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
	for name, c := range map[string]struct {
		r      *http.Request
		status int
		code   string
	}{
		"unsigned, known host":  {request("POST", "http://lambda.us-east-1.amazonaws.com/x", "", worker, ""), 403, "MissingAuthenticationTokenException"},
		"unsigned, no service":  {request("POST", "http://localhost/", "{}", worker, "", "X-Amz-Target", "A.B"), 400, "MissingAuthenticationTokenException"},
		"unsigned JSON":         {request("POST", "http://dynamodb.us-east-1.amazonaws.com/", "{}", worker, "", json10...), 400, "MissingAuthenticationTokenException"},
		"wrong secret":          {request("POST", "http://localhost/x", "hi", wrong, "lambda"), 403, "InvalidSignatureException"},
		"wrong secret, JSON":    {request("POST", "http://localhost/", "{}", wrong, "dynamodb", json10...), 400, "InvalidSignatureException"},
		"another body":          {tampered, 403, "InvalidSignatureException"},
		"six minutes old":       {stale, 403, "InvalidSignatureException"},
		"malformed, no service": {malformed, 403, "IncompleteSignatureException"},
	} {
		rec := d.do(c.r)
		if rec.Code != c.status || rec.Header().Get("X-Amzn-Errortype") != c.code {
			t.Errorf("%s: %d %s %s", name, rec.Code, rec.Header().Get("X-Amzn-Errortype"), rec.Body)
		}
		var body map[string]string
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body["message"] == "" {
			t.Errorf("%s: body %s", name, rec.Body)
		}
		if strings.Contains(rec.Body.String(), secret) || strings.Contains(strings.Join(d.logs, ""), secret) {
			t.Errorf("%s: the secret leaks", name)
		}
	}
}

func TestRequireValid(t *testing.T) {
	d := newDoor(Config{RequireValid: true})
	rec := d.do(request("POST", "http://localhost/x", "hi", sigv4.Key{ID: "other", Secret: "x"}, "lambda"))
	if rec.Code != 403 || rec.Header().Get("X-Amzn-Errortype") != "UnrecognizedClientException" {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := d.do(request("POST", "http://localhost/x", "hi", worker, "lambda")); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestBodyLimit(t *testing.T) {
	d := newDoor(Config{MaxBody: 10})
	if rec := d.do(request("POST", "http://localhost/x", strings.Repeat("x", 11), worker, "lambda")); rec.Code != 413 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := d.do(request("POST", "http://localhost/x", strings.Repeat("x", 10), worker, "lambda")); rec.Code != 200 {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// Each protocol gets an error its SDKs can read, naming service and operation.
func TestUnknownServiceSpeaksTheCallersProtocol(t *testing.T) {
	d := newDoor(Config{})
	form := []string{"Content-Type", "application/x-www-form-urlencoded; charset=utf-8"}
	for name, c := range map[string]struct {
		r                *http.Request
		content, in, op  string
		service, errCode string
	}{
		"json 1.0": {request("POST", "http://localhost/", "{}", worker, "states", "Content-Type", "application/x-amz-json-1.0", "X-Amz-Target", "AWSStepFunctions.StartExecution"),
			"application/x-amz-json-1.0", `{"__type":"NotImplementedException"`, "StartExecution", "states", ""},
		"json 1.1": {request("POST", "http://localhost/", "{}", worker, "secretsmanager", "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", "secretsmanager.GetSecretValue"),
			"application/x-amz-json-1.1", `{"__type":"NotImplementedException"`, "GetSecretValue", "secretsmanager", ""},
		"cbor": {request("POST", "http://localhost/service/GraniteServiceVersion20100801/operation/PutMetricData", "", worker, "monitoring", "Smithy-Protocol", "rpc-v2-cbor"),
			"application/cbor", "\xa2\x66__type\x77NotImplementedException\x67message\x78", "PutMetricData", "monitoring", ""},
		"rest json": {request("POST", "http://localhost/v2/email/outbound-emails", "{}", worker, "ses", "Content-Type", "application/json"),
			"application/json", `{"message":"Livegate has no local service \"ses\"`, "POST /v2/email/outbound-emails", "ses", ""},
		"query": {request("POST", "http://localhost/", "Action=Publish&Version=2010-03-31", worker, "sns", form...),
			"text/xml", "<ErrorResponse><Error><Type>Sender</Type><Code>NotImplemented</Code>", "Publish", "sns", ""},
		"ec2": {request("POST", "http://localhost/", "Action=DescribeInstances", worker, "ec2", form...),
			"text/xml", "<Response><Errors><Error><Code>NotImplemented</Code>", "DescribeInstances", "ec2", ""},
		"rest xml": {request("PUT", "http://b.s3.us-east-1.amazonaws.com/key", "data", worker, "s3"),
			"application/xml", "<Error><Code>NotImplemented</Code>", "PUT /key", "s3", ""},
		"unsigned, by host": {request("POST", "http://cognito-idp.us-east-1.amazonaws.com/", "{}", worker, "", "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", "AWSCognitoIdentityProviderService.InitiateAuth"),
			"application/x-amz-json-1.1", `{"__type":"NotImplementedException"`, "InitiateAuth", "cognito-idp", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rec := d.do(c.r)
			body := rec.Body.String()
			if rec.Code != 501 || rec.Header().Get("Content-Type") != c.content || !strings.Contains(body, c.in) {
				t.Errorf("%d %s\n%s", rec.Code, rec.Header().Get("Content-Type"), body)
			}
			for _, want := range []string{c.op, c.service, "--aws-passthrough " + c.service} {
				if !strings.Contains(body, want) {
					t.Errorf("%q is not named in %s", want, body)
				}
			}
			if strings.Contains(c.content, "xml") {
				if err := xml.Unmarshal(rec.Body.Bytes(), new(struct{})); err != nil {
					t.Error(err)
				}
			}
			if rec.Header().Get("X-Amzn-Requestid") == "" {
				t.Error("no request id")
			}
		})
	}
	if len(d.logs) != 8 {
		t.Errorf("%d log lines: %q", len(d.logs), d.logs)
	}
}

func TestUnknownIsLoggedOncePerOperation(t *testing.T) {
	d := newDoor(Config{})
	for range 3 {
		d.do(request("POST", "http://localhost/", "{}", worker, "events", "X-Amz-Target", "AWSEvents.PutEvents"))
		d.do(request("POST", "http://localhost/", "{}", worker, "events", "X-Amz-Target", "AWSEvents.PutRule"))
		d.do(request("POST", "http://localhost/", "{}", worker, "dynamodb", "X-Amz-Target", "DynamoDB_20120810.RestoreTable"))
		d.do(request("GET", "http://localhost/unsupported", "", worker, "lambda"))
	}
	if len(d.logs) != 4 {
		t.Fatalf("logs: %q", d.logs)
	}
	for i, want := range []string{"events PutEvents", "events PutRule", "dynamodb service has no operation RestoreTable", "lambda service has no operation GET /unsupported"} {
		if !strings.Contains(d.logs[i], want) {
			t.Errorf("%q does not name %q", d.logs[i], want)
		}
	}
	evil := "A.B\r\nSet-Cookie"
	r := request("POST", "http://localhost/", "{}", worker, "events")
	r.Header["X-Amz-Target"] = []string{evil}
	d.do(r)
	if last := d.logs[len(d.logs)-1]; strings.ContainsAny(last, "\r\n") {
		t.Errorf("a caller breaks log lines: %q", last)
	}
}

// transport stands in for AWS.
type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPassthroughSignsAnew(t *testing.T) {
	mine := sigv4.Key{ID: "AKIAMINE", Secret: "my own secret"}
	var got *http.Request
	var gotBody []byte
	cfg := Config{
		Passthrough: []string{"s3", "ses", "sqs"}, Region: "us-east-1",
		Credentials: func() (sigv4.Key, error) { return mine, nil },
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			got, gotBody = r, nil
			r.RequestURI = r.URL.RequestURI() // what goes over the wire
			if r.Body != nil {
				gotBody, _ = io.ReadAll(r.Body)
			}
			return &http.Response{StatusCode: 207, Header: http.Header{"X-From": {"aws"}}, Body: io.NopCloser(strings.NewReader("answer"))}, nil
		}),
	}
	d := newDoor(cfg)
	valid := func(t *testing.T, key sigv4.Key) {
		t.Helper()
		sig, err := sigv4.Parse(got.Header, got.URL.RawQuery)
		if err != nil || sig.AccessKeyID != key.ID || sig.Token != key.Token {
			t.Fatalf("%+v %v", sig, err)
		}
		if err := sig.Verify(sigv4.FromHTTP(got, gotBody), key.Secret, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("worker's call", func(t *testing.T) {
		rec := d.do(request("POST", "http://127.0.0.1:3001/v2/email/x%20y?a=1", "hello", worker, "ses", "Content-Type", "application/json"))
		if rec.Code != 207 || rec.Body.String() != "answer" || got.URL.String() != "https://email.us-east-1.amazonaws.com/v2/email/x%20y?a=1" || string(gotBody) != "hello" {
			t.Fatalf("%d %s, %s %q", rec.Code, rec.Body, got.URL, gotBody)
		}
		valid(t, mine)
	})
	t.Run("streamed body", func(t *testing.T) {
		r := request("PUT", "http://b.s3.us-east-1.amazonaws.com/k@v", "", worker, "")
		r.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
		sigv4.Sign(r, nil, worker, sigv4.Scope{Region: "us-east-1", Service: "s3"}, time.Now())
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("big")), 3
		if rec := d.do(r); rec.Code != 207 || string(gotBody) != "big" || got.Host != "b.s3.us-east-1.amazonaws.com" {
			t.Fatalf("%d %s %q", rec.Code, rec.Body, gotBody)
		}
		valid(t, mine)
	})
	t.Run("presigned", func(t *testing.T) {
		r := request("GET", "http://b.s3.us-east-1.amazonaws.com/k?x=a%20b", "", worker, "")
		sigv4.Presign(r, worker, sigv4.Scope{Region: "us-east-1", Service: "s3"}, time.Now(), time.Minute)
		if rec := d.do(r); rec.Code != 207 || got.URL.RawQuery != "x=a%20b" {
			t.Fatalf("%d %s %s", rec.Code, rec.Body, got.URL)
		}
		valid(t, mine)
	})
	t.Run("foreign key goes out as it is", func(t *testing.T) {
		own := sigv4.Key{ID: "AKIAFUNCTION", Secret: "its own"}
		if rec := d.do(request("POST", "http://sqs.us-east-1.amazonaws.com/", "b", own, "sqs")); rec.Code != 207 {
			t.Fatal(rec.Code, rec.Body)
		}
		valid(t, own)
	})
	t.Run("forged worker", func(t *testing.T) {
		got = nil
		forged := worker
		forged.Secret = "guess"
		for _, r := range []*http.Request{
			request("POST", "http://localhost/", "b", forged, "sqs"),
			request("PUT", "http://b.s3.us-east-1.amazonaws.com/k", "b", forged, "s3", "X-Amz-Content-Sha256", sigv4.UnsignedPayload),
		} {
			if rec := d.do(r); rec.Code != 403 || got != nil {
				t.Fatalf("a forged call was signed with the user's credentials: %d", rec.Code)
			}
		}
	})
	t.Run("unsigned", func(t *testing.T) {
		got = nil
		if rec := d.do(request("GET", "http://b.s3.us-east-1.amazonaws.com/k", "", worker, "")); rec.Code != 403 || got != nil {
			t.Fatal(rec.Code)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		cfg.Credentials = func() (sigv4.Key, error) { return sigv4.Key{}, errors.New("AWS_ACCESS_KEY_ID is not set") }
		rec := newDoor(cfg).do(request("POST", "http://localhost/", "b", worker, "sqs"))
		if rec.Code != 403 || !strings.Contains(rec.Body.String(), "AWS_ACCESS_KEY_ID is not set") {
			t.Fatal(rec.Code, rec.Body)
		}
	})
	t.Run("unreachable", func(t *testing.T) {
		cfg.Credentials = func() (sigv4.Key, error) { return mine, nil }
		cfg.Transport = transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("no route") })
		rec := newDoor(cfg).do(request("POST", "http://localhost/", "b", worker, "sqs"))
		if rec.Code != 502 || !strings.Contains(rec.Body.String(), "sqs.us-east-1.amazonaws.com") {
			t.Fatal(rec.Code, rec.Body)
		}
	})
}

func TestAddressed(t *testing.T) {
	for want, rs := range map[bool][]*http.Request{
		true: {
			request("POST", "http://localhost/", "", worker, "lambda"),
			request("GET", "http://localhost/?X-Amz-Algorithm=AWS4-HMAC-SHA256", "", worker, ""),
			request("POST", "http://localhost/", "", worker, "", "X-Amz-Target", "A.B"),
			request("GET", "http://sts.amazonaws.com/", "", worker, ""),
		},
		false: {
			request("GET", "http://localhost/", "", worker, ""),
			request("GET", "http://localhost/", "", worker, "", "Authorization", "Bearer x"),
		},
	} {
		for _, r := range rs {
			if Addressed(r) != want {
				t.Errorf("%s %v: not %v", r.URL, r.Header, want)
			}
		}
	}
}

func TestCBORLengths(t *testing.T) {
	for n, want := range map[int]string{23: "\x77", 24: "\x78\x18", 255: "\x78\xff", 256: "\x79\x01\x00"} {
		if got := string(cborStrings("k", strings.Repeat("a", n))); got != "\xa1\x61k"+want+strings.Repeat("a", n) {
			t.Errorf("%d: %x", n, got[:8])
		}
	}
}
