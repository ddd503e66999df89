package app

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

const testToken = "0123456789abcdef"

// managed starts an application with a management listener and returns its URL.
func managed(t *testing.T, cfg Config) (r *running, base string) {
	t.Helper()
	if cfg.Management == "" {
		cfg.Management = "0"
	}
	r = start(t, cfg)
	for line := range r.logs {
		if m := regexp.MustCompile(`^management at (http://\S+): `).FindStringSubmatch(line.Text); m != nil {
			return r, m[1]
		}
	}
	return nil, ""
}

// fetch gets a page; header are names and values, Host among them.
func fetch(t *testing.T, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

// checks gets a health answer and returns the failing checks with their errors.
func checks(t *testing.T, url string) (status int, names []string, failing map[string]string) {
	t.Helper()
	status, body, _ := fetch(t, url)
	var r report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%s: %v\n%s", url, err, body)
	}
	if (r.Status == "ok") != (status == http.StatusOK) {
		t.Errorf("%s: %d with status %q", url, status, r.Status)
	}
	failing = map[string]string{}
	for _, c := range r.Checks {
		names = append(names, c.Name)
		if !c.OK {
			failing[c.Name] = c.Error
		}
	}
	return status, names, failing
}

func TestTheManagementListenerAnswers(t *testing.T) {
	r, base := managed(t, Config{})
	if !strings.HasPrefix(base, "http://127.0.0.1:") {
		t.Errorf("listens at %s", base)
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/metrics":           {200, "\nlivegate_ready 1\n"},
		"/healthz":           {200, `"status": "ok"`},
		"/readyz":            {200, `"status": "ok"`},
		"/":                  {404, "/metrics, /healthz and /readyz"},
		"/debug/pprof/":      {404, "start with --pprof"},
		"/debug/pprof/heap":  {404, "start with --pprof"},
		"/_livegate/metrics": {404, "/metrics"},
	} {
		if status, body, _ := fetch(t, base+path); status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/_livegate/metrics", "/_livegate/healthz", "/_livegate/readyz"} {
		if status, body, _ := fetch(t, r.status.EndpointURL+path); status != http.StatusOK {
			t.Errorf("%s on the dev port: %d %s", path, status, body)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/debug/pprof/", "/_livegate/debug/pprof/"} {
		if status, _, _ := fetch(t, r.status.EndpointURL+path); status != http.StatusNotFound {
			t.Errorf("%s on the dev port: %d", path, status)
		}
	}
}

func TestProfilesWhenAskedFor(t *testing.T) {
	_, base := managed(t, Config{Profiling: true})
	for path, want := range map[string]string{
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile:",
		"/debug/pprof/cmdline":           "app.test",
		"/debug/pprof/heap?debug=1":      "heap profile:",
	} {
		if status, body, _ := fetch(t, base+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.100s", path, status, body)
		}
	}
}

// A page on a name that was rebound to loopback must read neither numbers nor
// profiles; nor may any page set off a profile.
func TestManagementIsClosedToWebPages(t *testing.T) {
	r, base := managed(t, Config{Profiling: true})
	for name, c := range map[string]struct {
		url    string
		header []string
	}{
		"a rebound name":                 {base + "/metrics", []string{"Host", "evil.example:9090"}},
		"a rebound name asks for health": {base + "/readyz", []string{"Host", "evil.example"}},
		"a rebound name profiles":        {base + "/debug/pprof/profile?seconds=1", []string{"Host", "evil.example"}},
		"another origin":                 {base + "/metrics", []string{"Origin", "https://evil.example"}},
		"an image":                       {base + "/debug/pprof/profile?seconds=1", []string{"Sec-Fetch-Site", "cross-site"}},
		"a link":                         {base + "/debug/pprof/trace?seconds=1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}},
		"a rebound name, dev port":       {r.status.EndpointURL + "/_livegate/metrics", []string{"Host", "evil.example"}},
		"an AWS name, dev port":          {r.status.EndpointURL + "/_livegate/readyz", []string{"Host", "sts.amazonaws.com"}},
	} {
		if status, body, _ := fetch(t, c.url, c.header...); status != http.StatusForbidden || !strings.Contains(body, "Livegate") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestTheTokenIsNeeded(t *testing.T) {
	r, base := managed(t, Config{Management: "127.0.0.1:0", ManagementToken: testToken, Profiling: true})
	for _, path := range []string{"/metrics", "/debug/pprof/", "/nothing"} {
		for name, header := range map[string][]string{
			"none": nil, "empty": {"Authorization", "Bearer "}, "wrong": {"Authorization", "Bearer 0123456789abcdeF"},
			"longer": {"Authorization", "Bearer " + testToken + "x"}, "another scheme": {"Authorization", "Basic " + testToken},
		} {
			status, body, head := fetch(t, base+path, header...)
			if status != http.StatusUnauthorized || !strings.HasPrefix(head.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(body, "Authorization: Bearer") {
				t.Errorf("%s with %s token: %d %s", path, name, status, body)
			}
		}
	}
	if status, _, _ := fetch(t, base+"/metrics", "Authorization", "bearer "+testToken); status != http.StatusOK {
		t.Errorf("with the token: %d", status)
	}
	// A scraper names us as it likes: the token decides, not the Host.
	if status, _, _ := fetch(t, base+"/metrics", "Authorization", "Bearer "+testToken, "Host", "gateway.internal:9090"); status != http.StatusOK {
		t.Errorf("under another name: %d", status)
	}
	if status, body, _ := fetch(t, base+"/readyz", "Host", "10.0.0.7:9090"); status != http.StatusOK || !strings.Contains(body, `"accepting"`) {
		t.Errorf("a load balancer's question: %d %s", status, body)
	}
	// The dev port has its own guard.
	if status, _, _ := fetch(t, r.status.EndpointURL+"/_livegate/metrics"); status != http.StatusOK {
		t.Errorf("dev port: %d", status)
	}
}

func TestWhatManagementRefusesToBe(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		want string // in the error; "" for none
	}{
		{"nothing", Config{}, ""},
		{"a port", Config{Management: "9090"}, ""},
		{"a port with a colon", Config{Management: ":9090"}, ""},
		{"loopback", Config{Management: "127.0.0.1:9090"}, ""},
		{"IPv6 loopback", Config{Management: "[::1]:9090"}, ""},
		{"localhost", Config{Management: "localhost:9090"}, ""},
		{"everywhere", Config{Management: "0.0.0.0:9090"}, "has no credential"},
		{"everywhere in IPv6", Config{Management: "[::]:9090"}, "--management-token-file"},
		{"a LAN address", Config{Management: "192.168.1.7:9090"}, "LIVEGATE_MANAGEMENT_TOKEN"},
		{"a name that may be anything", Config{Management: "localhost.example.org:9090"}, "has no credential"},
		{"everywhere with a token", Config{Management: "0.0.0.0:9090", ManagementToken: testToken}, ""},
		{"a short token", Config{Management: "9090", ManagementToken: "secret"}, "16 characters"},
		{"a token of two lines", Config{Management: "9090", ManagementToken: testToken + "\n" + testToken}, "blanks"},
		{"no port", Config{Management: "127.0.0.1"}, "HOST:PORT"},
		{"no number", Config{Management: "127.0.0.1:http"}, "HOST:PORT"},
		{"a port that is none", Config{Management: "70000"}, "HOST:PORT"},
		{"profiles nowhere", Config{Profiling: true}, "--management 9090"},
		{"a token for nothing", Config{ManagementToken: testToken}, "no --management"},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (!fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestAManagementAddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg, _ := project(t, strings.Replace(mockApp, "%s", "pong", 1))
	cfg.Management = taken.Addr().String()
	if err := New(cfg).Run(t.Context(), nil); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "--management") {
		t.Errorf("%v", err)
	}
}

// ending is an application whose $disconnect calls a back end that hangs until
// it is released.
type ending struct {
	app     *App
	status  client.Status
	base    string        // of the management listener
	called  chan struct{} // one for each $disconnect that has begun
	release context.CancelFunc
	stop    context.CancelFunc
	done    chan error
}

func startEnding(t *testing.T, cfg Config) *ending {
	t.Helper()
	e := &ending{called: make(chan struct{}, 100)}
	released, release := context.WithCancel(t.Context())
	e.release = release
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		e.called <- struct{}{}
		select {
		case <-released.Done():
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hung.Close)
	t.Cleanup(release)
	dir, _ := project(t, strings.Replace(mockApp, "%s", "pong", 1)+`
  Ended:
    Type: AWS::ApiGatewayV2::Integration
    Properties: {ApiId: !Ref Api, IntegrationType: HTTP_PROXY, IntegrationMethod: POST, IntegrationUri: '`+hung.URL+`'}
  Disconnect:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: $disconnect, Target: !Sub 'integrations/${Ended}'}
`)
	cfg.Path, cfg.CacheDir, cfg.Management = dir.Path, dir.CacheDir, "0"
	ctx, stop := context.WithCancel(t.Context())
	e.stop = stop
	e.app = New(cfg)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	ready, done := run(t, ctx, e.app)
	e.done = done
	e.status = <-ready
	e.base = "http://" + e.app.management.ln.Addr().String()
	return e
}

func (e *ending) dial(t *testing.T) (*websocket.Conn, *http.Response, error) {
	return websocket.Dial(t.Context(), e.status.APIs[0].Stages[0].WebSocketURL, nil)
}

// A load balancer must look elsewhere before clients are closed; an orchestrator
// must not kill what is winding down.
func TestAStopIsSeenFromItsFirstMoment(t *testing.T) {
	e := startEnding(t, Config{})
	if status, _, failing := checks(t, e.base+"/readyz"); status != http.StatusOK {
		t.Fatalf("before: %d %v", status, failing)
	}
	c, _, err := e.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	e.stop()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("closed with %v", err)
	}
	<-e.called // $disconnect runs, and will until it is released
	if status, names, failing := checks(t, e.base+"/readyz"); status != http.StatusServiceUnavailable || len(failing) != 1 || !strings.Contains(failing["accepting"], "draining") {
		t.Errorf("ready: %d %v %v", status, names, failing)
	}
	if status, _, failing := checks(t, e.base+"/healthz"); status != http.StatusOK {
		t.Errorf("alive: %d %v", status, failing)
	}
	if status, body, _ := fetch(t, e.base+"/metrics"); status != http.StatusOK || !strings.Contains(body, "\nlivegate_ready 0\n") || !strings.Contains(body, "\nlivegate_connections_open 0\n") {
		t.Errorf("metrics: %d", status)
	}
	if _, resp, err := e.dial(t); err == nil || resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new handshake: %v %v", resp, err)
	}
	e.release()
	if err := result(t, e.done); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(e.base, "http://")); err == nil {
		t.Error("the management listener outlived the application")
	}
}

func TestTheGracePeriodIsAHardStop(t *testing.T) {
	e := startEnding(t, Config{Grace: 200 * time.Millisecond})
	c, _, err := e.dial(t)
	if err != nil {
		t.Fatal(err)
	}
	c.CloseRead(t.Context()) // answers our close frame at once
	e.stop()
	<-e.called
	if err := result(t, e.done); !fault.Is(err, fault.Timeout) || !strings.Contains(err.Error(), "1 connection") {
		t.Errorf("%v", err)
	}
}

// The management listener is there before the application is: an orchestrator
// tells a long build from a hung process.
func TestAliveBeforeReady(t *testing.T) {
	cfg, _ := project(t, strings.Replace(mockApp, "%s", "pong", 1))
	cfg.Management = "0"
	a := New(cfg)
	asked := make(chan struct{})
	a.cfg.Logs = func(l model.LogLine) {
		if !strings.HasPrefix(l.Text, "management at ") {
			return
		}
		defer close(asked)
		base := "http://" + a.management.ln.Addr().String()
		if status, names, failing := checks(t, base+"/healthz"); status != http.StatusOK || len(names) != 1 {
			t.Errorf("alive: %d %v %v", status, names, failing)
		}
		if status, _, failing := checks(t, base+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(failing["accepting"], "starting") {
			t.Errorf("ready: %d %v", status, failing)
		}
		if status, body, _ := fetch(t, base+"/metrics"); status != http.StatusOK || !strings.Contains(body, "\nlivegate_ready 0\n") {
			t.Errorf("metrics: %d", status)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	ready, done := run(t, ctx, a)
	<-ready
	<-asked
	stop()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}
