package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server and returns a client that holds its token.
func serve(t *testing.T, cfg Config) *client.Client {
	t.Helper()
	cfg.Token = "t0ken"
	if cfg.Timeline == nil {
		cfg.Timeline = NewTimeline(0)
	}
	srv := httptest.NewServer(New(cfg))
	transport := &http.Transport{}
	t.Cleanup(func() {
		cfg.Timeline.Close()
		transport.CloseIdleConnections()
		srv.Close()
	})
	return &client.Client{Run: client.RunFile{URL: srv.URL, Token: "t0ken"}, HTTP: &http.Client{Transport: transport}}
}

func TestStatusAndHealth(t *testing.T) {
	st := client.Status{Stack: "chat", PID: 7, Version: "v1"}
	c := serve(t, Config{Status: func() client.Status { return st }})
	h, err := c.Health(t.Context())
	if err != nil || h.Ready || h.Stack != "chat" || h.PID != 7 {
		t.Errorf("starting: %+v, %v", h, err)
	}
	st.Ready = true
	if h, err = c.Health(t.Context()); err != nil || !h.Ready {
		t.Errorf("ready: %+v, %v", h, err)
	}
	got, err := c.Status(t.Context())
	if err != nil || got.Stack != "chat" || got.APIs == nil || got.Outputs == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every field of the documented status, as scripts see it.
func TestStatusJSONIsStable(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	full := client.Status{Stack: "s", Region: "r", AccountID: "a", EndpointURL: "e", CAFile: "c", Ready: true, PID: 1, Version: "v", StartedAt: at,
		APIs:      []client.API{{ID: "i", Name: "n", Stages: []client.Stage{{Name: "Prod", WebSocketURL: "ws", SecureWebSocketURL: "wss", ManagementURL: "m"}}}},
		Functions: []client.Function{{Name: "f", LogicalID: "F", ARN: "arn", Runtime: "nodejs20.x", RunsOn: "node 20", Handler: "h"}},
		Tables:    []client.Table{{Name: "t", LogicalID: "T", ARN: "arn", HashKey: "k"}},
		Outputs:   map[string]string{"o": "1"},
		Findings:  []client.Finding{{Severity: "note", Code: "x", Message: "m", Pos: model.Pos{File: "t.yaml", Line: 3}}}}
	for _, c := range []struct {
		status client.Status
		want   string
	}{
		{full, `{"stack":"s","region":"r","accountId":"a","endpointUrl":"e","caFile":"c",` +
			`"apis":[{"id":"i","name":"n","stages":[{"name":"Prod","webSocketUrl":"ws","secureWebSocketUrl":"wss","managementUrl":"m"}],"routes":[],"routeSelectionExpression":""}],` +
			`"functions":[{"name":"f","logicalId":"F","arn":"arn","runtime":"nodejs20.x","runsOn":"node 20","handler":"h"}],` +
			`"tables":[{"name":"t","logicalId":"T","arn":"arn","hashKey":"k","rangeKey":"","indexes":[]}],"outputs":{"o":"1"},"ready":true,` +
			`"findings":[{"severity":"note","code":"x","message":"m","hint":"","resource":"","pos":{"file":"t.yaml","line":3}}],"pid":1,"version":"v","startedAt":"2026-11-22T12:00:00Z"}`},
		{client.Status{}, `{"stack":"","region":"","accountId":"","endpointUrl":"","caFile":"","apis":[],"functions":[],"tables":[],"outputs":{},"ready":false,"findings":[],"pid":0,"version":"","startedAt":"0001-01-01T00:00:00Z"}`},
	} {
		got, err := json.Marshal(c.status)
		if err != nil || string(got) != c.want {
			t.Errorf("got\n%s\nwant\n%s\n%v", got, c.want, err)
		}
	}
	if full.Tables[0].Indexes != nil || full.APIs[0].Routes != nil {
		t.Error("marshalling changed the caller's status")
	}
}

func TestInvoke(t *testing.T) {
	c := serve(t, Config{Invoke: func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		switch in.Function {
		case "missing":
			return model.InvokeResult{}, fault.Typed(fault.NotFound, "ResourceNotFoundException", "Function not found: missing")
		case "secret":
			return model.InvokeResult{}, errors.New("/home/ada: internal detail")
		case "throws":
			return model.InvokeResult{Payload: []byte(`{"errorMessage":"x"}`), FunctionError: "Unhandled", ErrorType: "Error"}, nil
		}
		return model.InvokeResult{Payload: in.Payload, LogTail: []byte(fmt.Sprint("log ", in.LogTail, "\n")), Duration: 1500 * time.Microsecond, RequestID: "r-1"}, nil
	}})
	payload := []byte("{\"a\": \"\u2028\"}\n")
	res, err := c.Invoke(t.Context(), model.Invocation{Function: "my fn&x", Payload: payload, LogTail: true})
	if err != nil || string(res.Payload) != string(payload) || string(res.LogTail) != "log true\n" || res.Duration != 1500*time.Microsecond || res.RequestID != "r-1" || res.FunctionError != "" {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err = c.Invoke(t.Context(), model.Invocation{Function: "throws"}); err != nil || res.FunctionError != "Unhandled" || res.ErrorType != "Error" {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err = c.Invoke(t.Context(), model.Invocation{Function: "missing"}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "Function not found: missing") {
		t.Errorf("missing: %v", err)
	}
	if _, err = c.Invoke(t.Context(), model.Invocation{Function: "secret"}); err == nil || strings.Contains(err.Error(), "ada") {
		t.Errorf("an internal error was told to the client: %v", err)
	}
	if _, err = c.Invoke(t.Context(), model.Invocation{Function: "f", Payload: make([]byte, MaxPayload+1)}); !fault.Is(err, fault.TooLarge) {
		t.Errorf("oversized: %v", err)
	}
	if _, err = c.Invoke(t.Context(), model.Invocation{}); !fault.Is(err, fault.BadRequest) {
		t.Errorf("no name: %v", err)
	}
}

func TestWhoIsAdmitted(t *testing.T) {
	called := 0
	s := New(Config{Token: "t0ken", Local: func(host string) bool { return local(host) || hostname(host) == "tunnel.example" }, Invoke: func(context.Context, model.Invocation) (model.InvokeResult, error) {
		called++
		return model.InvokeResult{Payload: []byte("{}")}, nil
	}})
	for _, c := range []struct {
		name, method, host, headers string
		want                        int
	}{
		{"a script", "GET", "localhost:3001", "", 200},
		{"by address", "GET", "127.0.0.1:3001", "", 200},
		{"by address, IPv6", "GET", "[::1]:3001", "", 200},
		{"an api's name", "GET", "abc.localhost:3001", "", 200},
		{"an allowed host", "GET", "Tunnel.Example", "", 200},
		{"DNS rebinding", "GET", "evil.example:3001", "", 403},
		{"a name that starts well", "GET", "localhost.evil.example", "", 403},
		{"an address in the LAN", "GET", "192.168.1.7:3001", "", 403},
		{"no Host", "GET", "", "", 403},
		{"our own page", "GET", "localhost:3001", "Sec-Fetch-Site: same-origin", 200},
		{"typed into the address bar", "GET", "localhost:3001", "Sec-Fetch-Site: none", 200},
		{"another site", "GET", "localhost:3001", "Sec-Fetch-Site: cross-site", 403},
		{"another port here", "GET", "localhost:3001", "Sec-Fetch-Site: same-site", 403},
		{"a foreign origin", "GET", "localhost:3001", "Origin: https://evil.example", 403},
		{"a sandboxed frame", "GET", "localhost:3001", "Origin: null", 403},
		{"the same host, another port", "GET", "localhost:3001", "Origin: http://localhost:3000", 403},
		{"our origin", "GET", "localhost:3001", "Origin: http://localhost:3001", 200},
		{"invoke without a token", "POST", "localhost:3001", "", 401},
		{"invoke with a wrong token", "POST", "localhost:3001", "Authorization: Bearer nope", 401},
		{"invoke with an empty token", "POST", "localhost:3001", "Authorization: Bearer ", 401},
		{"invoke by a page that guessed", "POST", "localhost:3001", "Authorization: Bearer t0ken|Origin: https://evil.example", 403},
		{"invoke", "POST", "localhost:3001", "Authorization: Bearer t0ken", 200},
	} {
		path := client.Base + "/status"
		if c.method == "POST" {
			path = client.Base + "/invoke?function=f"
		}
		r := httptest.NewRequest(c.method, path, nil)
		r.Host = c.host
		for h := range strings.SplitSeq(c.headers, "|") {
			if name, value, ok := strings.Cut(h, ": "); ok {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", c.name, w.Code, c.want, w.Body)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: CORS was granted", c.name)
		}
	}
	if called != 1 {
		t.Errorf("the function ran %d times, want once", called)
	}
	if New(Config{}).admit(post("")) == nil {
		t.Error("without a token in Config, an empty one was accepted")
	}
}

func post(token string) *http.Request {
	r := httptest.NewRequest("POST", client.Base+"/invoke?function=f", nil)
	r.Host = "localhost"
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func TestUnknownPathNamesWhatExists(t *testing.T) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", client.Base+"/nope", nil)
	r.Host = "localhost"
	New(Config{}).ServeHTTP(w, r)
	if w.Code != 404 || !strings.Contains(w.Body.String(), "status, health, events") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func line(text string) model.LogLine {
	return model.LogLine{At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Level: "info", Source: "f", Text: text}
}

func TestEventsBringHistoryThenNews(t *testing.T) {
	tl := NewTimeline(0)
	tl.Add(line("one"))
	tl.Add(line("two\nlines \u2028 here"))
	c := serve(t, Config{Timeline: tl})
	ctx, cancel := context.WithCancel(t.Context())
	var got []string
	err := c.Events(ctx, 1, func(e client.Event) {
		got = append(got, fmt.Sprint(e.Seq, " ", e.Text))
		switch e.Seq {
		case 2:
			tl.Add(line("three"))
		case 3:
			cancel()
		}
	})
	if err != nil || len(got) != 2 || got[0] != "2 two\nlines \u2028 here" || got[1] != "3 three" {
		t.Errorf("%q, %v", got, err)
	}
}

// stream reads events as a browser would: raw, with the given headers.
func stream(t *testing.T, s *Server, header map[string]string, until string) string {
	t.Helper()
	srv := httptest.NewServer(s)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+client.Base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), until) {
		n, err := resp.Body.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			t.Fatalf("%q never came: %v\n%s", until, err, got.String())
		}
	}
	return got.String()
}

func TestABrowserContinuesWhereItWas(t *testing.T) {
	tl := NewTimeline(3)
	for i := range 6 {
		tl.Add(line(fmt.Sprint("n", i+1)))
	}
	s := New(Config{Timeline: tl})
	if got := stream(t, s, nil, `"n6"`); strings.Contains(got, "gap") || strings.Contains(got, `"n3"`) || !strings.Contains(got, `"n4"`) {
		t.Errorf("a new reader got\n%s", got)
	}
	if got := stream(t, s, map[string]string{"Last-Event-ID": tl.run + ".5"}, `"n6"`); strings.Contains(got, `"n5"`) || strings.Contains(got, "gap") {
		t.Errorf("a reader after 5 got\n%s", got)
	}
	if got := stream(t, s, map[string]string{"Last-Event-ID": tl.run + ".1"}, `"n6"`); !strings.HasPrefix(got, "event: gap\ndata: {\"lost\": 2}\n\n") {
		t.Errorf("a reader that missed 2 and 3 got\n%s", got)
	}
	if got := stream(t, s, map[string]string{"Last-Event-ID": "another-run.5"}, `"n6"`); !strings.Contains(got, `"n4"`) {
		t.Errorf("a reader of an earlier run got\n%s", got)
	}
}

func TestAnIdleStreamShowsThatItLives(t *testing.T) {
	s := New(Config{Beat: time.Millisecond})
	stream(t, s, nil, ": alive")
}

func TestStatusChangesAreAnnounced(t *testing.T) {
	tl := NewTimeline(0)
	s := New(Config{Timeline: tl, Beat: time.Millisecond})
	var once sync.Once
	changed := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.ServeHTTP(&onFlush{ResponseWriter: w, f: func() { once.Do(tl.Changed) }}, r)
	})
	srv := httptest.NewServer(changed)
	defer srv.Close()
	defer tl.Close()
	transport := &http.Transport{DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+client.Base+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got strings.Builder
	buf := make([]byte, 512)
	for !strings.Contains(got.String(), "event: status") {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(buf[:n])
	}
}

// onFlush calls f after each flush: once the stream is up.
type onFlush struct {
	http.ResponseWriter
	f func()
}

func (o *onFlush) FlushError() error {
	err := http.NewResponseController(o.ResponseWriter).Flush()
	o.f()
	return err
}

func TestCloseEndsStreams(t *testing.T) {
	tl := NewTimeline(0)
	tl.Add(line("x"))
	c := serve(t, Config{Timeline: tl})
	err := c.Events(t.Context(), 0, func(client.Event) { tl.Close() })
	if err == nil {
		t.Error("the end of the stream was not reported")
	}
}

func TestTheTimelineIsBounded(t *testing.T) {
	tl := NewTimeline(100)
	tl.Add(line(strings.Repeat("x", 1<<20)))
	events, _, _, _ := tl.read(0)
	if n := len(events[0].Text); n > maxText+64 || !strings.HasSuffix(events[0].Text, "bytes more)") {
		t.Errorf("a huge event was kept with %d bytes", n)
	}
	for range 10_000 {
		tl.Add(line("short"))
	}
	if len(tl.events) != 100 || tl.last != 10_001 {
		t.Errorf("%d events kept of %d", len(tl.events), tl.last)
	}
	for range 200 {
		tl.Add(line(strings.Repeat("y", maxText)))
	}
	if tl.bytes > historyBytes {
		t.Errorf("%d bytes kept, the limit is %d", tl.bytes, historyBytes)
	}
}

// Writers, readers and changes at once: each reader sees increasing numbers, and
// what it did not see was announced.
func TestTimelineConcurrently(t *testing.T) {
	tl := NewTimeline(50)
	const writers, each = 4, 500
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for range each {
				tl.Add(line("x"))
				tl.Changed()
			}
		})
	}
	for range 4 {
		all.Go(func() {
			after, seen, lost := uint64(0), 0, uint64(0)
			for after < writers*each {
				events, gone, _, wake := tl.read(after)
				lost += gone
				for _, e := range events {
					if e.Seq <= after {
						t.Errorf("%d came after %d", e.Seq, after)
					}
					after = e.Seq
					seen++
				}
				if len(events) == 0 {
					<-wake
				}
			}
			if uint64(seen)+lost != writers*each {
				t.Errorf("%d seen and %d lost of %d", seen, lost, writers*each)
			}
		})
	}
	all.Wait()
}
