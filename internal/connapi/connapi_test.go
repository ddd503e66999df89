package connapi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/sigv4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// book is a Registry that answers what it is told and remembers what it was asked.
type book struct {
	err     error
	pending bool // a call that may not wait is told so
	status  registry.Status

	api, stage string
	conn       id.Conn
	data       []byte
	inConnect  bool
	asked      string
}

func (b *book) note(op string, t registry.Target, data []byte) {
	b.asked, b.api, b.stage, b.conn, b.inConnect = op, t.APIID, t.Stage, t.Conn, t.InConnect
	b.data = bytes.Clone(data)
}

func (b *book) Post(_ context.Context, t registry.Target, data []byte) error {
	b.note("POST", t, data)
	return b.fail(t)
}

func (b *book) Inspect(_ context.Context, t registry.Target) (registry.Status, error) {
	b.note("GET", t, nil)
	return b.status, b.fail(t)
}

func (b *book) Disconnect(_ context.Context, t registry.Target) error {
	b.note("DELETE", t, nil)
	return b.fail(t)
}

func (b *book) fail(t registry.Target) error {
	if b.pending && t.NoWait {
		return registry.ErrPending
	}
	return b.err
}

type callers map[string]string

func (c callers) Tag(key string) string { return c[key] }

func app() *model.App {
	return &model.App{
		Region: "eu-west-1", URLSuffix: "amazonaws.com",
		APIs:    []*model.API{{ID: "k3v9x1m2qz", Stages: []*model.Stage{{Name: "prod", Deployed: true}}}},
		Domains: []*model.Domain{{Name: "ws.example.test", Mappings: []model.Mapping{{Key: "chat", APIID: "k3v9x1m2qz", Stage: "prod"}}}},
	}
}

const apiHost = "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"

type server struct {
	t *testing.T
	*httptest.Server
	book *book
}

func serve(t *testing.T, cfg connapi.Config) *server {
	b := &book{}
	cfg.Registry = b
	if cfg.App == nil {
		cfg.App = app
	}
	return listen(t, connapi.New(cfg), b)
}

func listen(t *testing.T, h http.Handler, b *book) *server {
	s := &server{t, httptest.NewServer(h), b}
	t.Cleanup(s.Close)
	return s
}

var key = sigv4.Key{ID: "ASIAEXAMPLEWORKERKEY", Secret: "secret"}

func (s *server) do(method, host, path string, body []byte, signed bool) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Host = host
	if signed {
		sigv4.Sign(r, body, key, sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}, time.Now())
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, string(text)
}

func TestURLForms(t *testing.T) {
	c := id.NewConn(id.NewNodeKey())
	raw, encoded := c.String(), strings.ReplaceAll(c.String(), "=", "%3D")
	s := serve(t, connapi.Config{})
	for _, v := range []struct{ host, path string }{
		{apiHost, "/prod/@connections/" + raw},
		{apiHost + ":443", "/prod/@connections/" + encoded},
		{apiHost, "/prod/%40connections/" + encoded},
		{apiHost, "/prod//@connections/" + encoded},
		{apiHost, "//prod/@connections/" + encoded + "/"},
		{"localhost:3001", "/prod/@connections/" + raw},
		{"127.0.0.1:3001", "/k3v9x1m2qz/prod/@connections/" + raw},
		{"localhost:3001", "/@connections/" + raw}, // the only stage there is
		{"k3v9x1m2qz.localhost", "/prod/@connections/" + raw},
		{"ws.example.test", "/chat/@connections/" + raw},
	} {
		s.book.asked = ""
		resp, body := s.do("POST", v.host, v.path, []byte("hi"), false)
		if resp.StatusCode != 200 || s.book.asked != "POST" || s.book.conn != c || s.book.api != "k3v9x1m2qz" || s.book.stage != "prod" || string(s.book.data) != "hi" {
			t.Errorf("%s%s: %d %s, asked %+v", v.host, v.path, resp.StatusCode, body, s.book)
		}
	}
}

func TestUnknownTargets(t *testing.T) {
	c := id.NewConn(id.NewNodeKey()).String()
	s := serve(t, connapi.Config{})
	for _, v := range []struct {
		host, path string
		status     int
		errorType  string
		body       string
	}{
		{apiHost, "/nope/@connections/" + c, 403, "ForbiddenException", `{"message":"Forbidden"}`},
		{"zzzzzzzzzz.execute-api.eu-west-1.amazonaws.com", "/prod/@connections/" + c, 403, "ForbiddenException", `{"message":"Forbidden"}`},
		{apiHost, "/prod/more/@connections/" + c, 403, "ForbiddenException", `{"message":"Forbidden"}`},
		{"ws.example.test", "/chat/prod/@connections/" + c, 404, "NotFoundException", `{"message":"No method found matching route prod/@connections/` + c + ` for http method POST"}`},
		{apiHost, "/prod/@connections", 403, "MissingAuthenticationTokenException", `{"message":"Missing Authentication Token"}`},
		{apiHost, "/prod/@connections/short", 400, "BadRequestException", `{"message":"Invalid connectionId: short"}`},
		{apiHost, "/prod/@connections/" + c + "/x", 400, "BadRequestException", `{"message":"Invalid connectionId: ` + c + `/x"}`},
	} {
		resp, body := s.do("POST", v.host, v.path, nil, false)
		if resp.StatusCode != v.status || resp.Header.Get("x-amzn-errortype") != v.errorType || body != v.body {
			t.Errorf("%s%s: %d %s %s", v.host, v.path, resp.StatusCode, resp.Header.Get("x-amzn-errortype"), body)
		}
	}
	if s.book.asked != "" {
		t.Errorf("the registry was asked: %s", s.book.asked)
	}
}

func TestHeaders(t *testing.T) {
	c := id.NewConn(id.NewNodeKey()).String()
	s := serve(t, connapi.Config{})
	for _, method := range []string{"POST", "GET", "DELETE"} {
		resp, _ := s.do(method, apiHost, "/prod/@connections/"+c, nil, false)
		for name, pattern := range map[string]string{
			"x-amzn-requestid": `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,
			"x-amz-apigw-id":   `^[A-Za-z0-9_-]{15}=$`,
			"x-amzn-trace-id":  `^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$`,
			"Date":             `GMT$`,
		} {
			if got := resp.Header.Get(name); !regexp.MustCompile(pattern).MatchString(got) {
				t.Errorf("%s: %s = %q", method, name, got)
			}
		}
	}
}

func TestGetBody(t *testing.T) {
	s := serve(t, connapi.Config{})
	s.book.status = registry.Status{
		Info:       registry.Info{SourceIP: netip.MustParseAddr("198.51.100.23"), UserAgent: "acme-client/2.4", ConnectedAt: time.UnixMilli(1754395986101)},
		LastActive: time.UnixMilli(1754396050377),
	}
	want := `{
  "identity" : {
    "sourceIp" : "198.51.100.23",
    "userAgent" : "acme-client/2.4"
  },
  "connectedAt" : "2025-08-05T12:13:06.101Z",
  "lastActiveAt" : "2025-08-05T12:14:10.377Z"
}`
	path := "/prod/@connections/" + id.NewConn(id.NewNodeKey()).String()
	if _, got := s.do("GET", apiHost, path, nil, false); got != want {
		t.Errorf("got %s", got)
	}
	s.book.status.UserAgent = ""
	if _, got := s.do("GET", apiHost, path, nil, false); got != strings.Replace(want, ",\n    \"userAgent\" : \"acme-client/2.4\"", "", 1) {
		t.Errorf("without a user agent: %s", got)
	}
}

func TestErrors(t *testing.T) {
	s := serve(t, connapi.Config{})
	path := "/prod/@connections/" + id.NewConn(id.NewNodeKey()).String()
	for _, v := range []struct {
		err       error
		status    int
		errorType string
		body      string
	}{
		{fault.New(fault.Gone, "gone"), 410, "GoneException", ""},
		{fault.New(fault.Throttled, "the client's receive buffer is full"), 429, "LimitExceededException", `{"message":"the client's receive buffer is full"}`},
		{fault.New(fault.Unavailable, "retry"), 503, "ServiceUnavailableException", `{"message":"retry"}`},
		{errors.New("secret detail"), 500, "InternalServerErrorException", `{"message":"Internal server error"}`},
	} {
		s.book.err = v.err
		for _, method := range []string{"POST", "GET", "DELETE"} {
			resp, body := s.do(method, apiHost, path, nil, false)
			if resp.StatusCode != v.status || resp.Header.Get("x-amzn-errortype") != v.errorType || body != v.body || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %v: %d %s %q", method, v.err, resp.StatusCode, resp.Header.Get("x-amzn-errortype"), body)
			}
		}
	}
}

func TestPayloads(t *testing.T) {
	s := serve(t, connapi.Config{})
	path := "/prod/@connections/" + id.NewConn(id.NewNodeKey()).String()
	for _, v := range []struct {
		body   []byte
		status int
	}{
		{nil, 200},
		{bytes.Repeat([]byte("x"), 128<<10), 200},
		{bytes.Repeat([]byte("x"), 128<<10+1), 413},
		{[]byte("a\xff"), 400},
	} {
		if resp, body := s.do("POST", apiHost, path, v.body, false); resp.StatusCode != v.status {
			t.Errorf("%d bytes: %d %s", len(v.body), resp.StatusCode, body)
		}
	}
	// A body of unknown length meets the same bound.
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+path, io.MultiReader(bytes.NewReader(make([]byte, 200<<10))))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = apiHost
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 || resp.Header.Get("x-amzn-errortype") != "PayloadTooLargeException" {
		t.Errorf("chunked: %d", resp.StatusCode)
	}
}

func TestOtherMethods(t *testing.T) {
	s := serve(t, connapi.Config{})
	for _, method := range []string{"PUT", "PATCH", "OPTIONS"} {
		resp, body := s.do(method, apiHost, "/prod/@connections/"+id.NewConn(id.NewNodeKey()).String(), nil, true)
		if resp.StatusCode != 403 || resp.Header.Get("x-amzn-errortype") != "MissingAuthenticationTokenException" || body != `{"message":"Missing Authentication Token"}` {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
}

func TestSignatures(t *testing.T) {
	c := id.NewConn(id.NewNodeKey())
	path := "/prod/@connections/" + strings.ReplaceAll(c.String(), "=", "%3D")
	refused := func(t *testing.T, s *server, signed bool, errorType string) {
		t.Helper()
		resp, body := s.do("POST", apiHost, path, []byte("x"), signed)
		if resp.StatusCode != 403 || resp.Header.Get("x-amzn-errortype") != errorType || !strings.Contains(body, `"message"`) || s.book.asked != "" {
			t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
		}
	}
	t.Run("required", func(t *testing.T) {
		s := serve(t, connapi.Config{RequireSignature: true})
		refused(t, s, false, "MissingAuthenticationTokenException")
		if resp, body := s.do("POST", apiHost, path, []byte("x"), true); resp.StatusCode != 200 {
			t.Fatal(body)
		}
	})
	t.Run("verified", func(t *testing.T) {
		verify := func(secret string) func(*sigv4.Signature, *sigv4.Request) error {
			return func(sig *sigv4.Signature, r *sigv4.Request) error { return sig.Verify(r, secret, time.Now()) }
		}
		s := serve(t, connapi.Config{Check: verify("secret")})
		refused(t, s, false, "MissingAuthenticationTokenException")
		if resp, body := s.do("POST", apiHost, path, []byte("x"), true); resp.StatusCode != 200 {
			t.Fatal(body)
		}
		refused(t, serve(t, connapi.Config{Check: verify("other")}), true, "InvalidSignatureException")
	})
	t.Run("worker inside the connection's $connect", func(t *testing.T) {
		s := serve(t, connapi.Config{Callers: callers{key.ID: c.String()}})
		for _, method := range []string{"POST", "GET", "DELETE"} {
			if s.do(method, apiHost, path, nil, true); !s.book.inConnect {
				t.Errorf("%s by the worker that runs $connect is not told apart", method)
			}
			if s.do(method, apiHost, path, nil, false); s.book.inConnect {
				t.Errorf("%s by somebody else counts as inside $connect", method)
			}
		}
		other := id.NewConn(c.Node()).String()
		if s.do("POST", apiHost, "/prod/@connections/"+other, nil, true); s.book.inConnect {
			t.Error("a post to another connection counts as inside its $connect")
		}
	})
}

func TestNothingDeployed(t *testing.T) {
	s := serve(t, connapi.Config{App: func() *model.App { return nil }})
	if resp, _ := s.do("GET", apiHost, "/prod/@connections/"+id.NewConn(id.NewNodeKey()).String(), nil, false); resp.StatusCode != 503 {
		t.Fatal(resp.StatusCode)
	}
}

func TestMatch(t *testing.T) {
	for path, want := range map[string]bool{
		"/prod/@connections/x": true, "/@connections/x": true, "/prod/@connections": true,
		"/prod": false, "/prod/@connectionsx/y": false, "/": false,
	} {
		if connapi.Match(path) != want {
			t.Errorf("Match(%q) = %v", path, !want)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	h := connapi.New(connapi.Config{App: app, Registry: &book{}, RequireSignature: true})
	body := []byte(strings.Repeat("x", 128))
	r := httptest.NewRequest("POST", "http://"+apiHost+"/prod/@connections/"+id.NewConn(id.NewNodeKey()).String(), nil)
	sigv4.Sign(r, body, key, sigv4.Scope{Region: "eu-west-1", Service: "execute-api"}, time.Now())
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.ServeHTTP(&blank{http.Header{}}, r)
	}
}

// blank is a ResponseWriter that keeps nothing.
type blank struct{ h http.Header }

func (b *blank) Header() http.Header         { return b.h }
func (b *blank) Write(p []byte) (int, error) { return len(p), nil }
func (b *blank) WriteHeader(int)             {}
