package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/console"
	"github.com/livegate/livegate/internal/control"
	"github.com/livegate/livegate/internal/model"
)

// site is a dev port in small: the console, the real control API over a status
// that the test sets, and real WebSockets.
type site struct {
	url     string
	status  atomic.Pointer[client.Status]
	line    *control.Timeline
	invoked atomic.Int32
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{line: control.NewTimeline(0)}
	api := control.New(control.Config{
		Status: func() client.Status { return *s.status.Load() }, Timeline: s.line, Token: "secret",
		Invoke: func(context.Context, model.Invocation) (model.InvokeResult, error) {
			s.invoked.Add(1)
			return model.InvokeResult{}, nil
		},
	})
	mux := http.NewServeMux()
	mux.Handle("/", console.New())
	mux.Handle(client.Base+"/", api)
	mux.HandleFunc("/Prod", echo)
	mux.HandleFunc("/closed", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"Forbidden"}`, http.StatusForbidden)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.line.Close()
		srv.Close()
	})
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://localhost:" + port
	st := sample("localhost:" + port)
	s.status.Store(&st)
	return s
}

// echo answers "bye" by closing with an application's code and everything else
// with itself.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if string(data) == "bye" {
			c.Close(4001, "as you wish")
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}

func sample(host string) client.Status {
	return client.Status{
		Stack: "simple-websockets-chat", Region: "eu-west-1", AccountID: "123456789012", EndpointURL: "http://127.0.0.1:3001",
		CAFile: "/home/ada/.local/share/livegate/ca/ca.pem", Ready: true, PID: 4711, Version: "v0.1.0", StartedAt: time.Now(),
		APIs: []client.API{{ID: "k3v9x1m2qz", Name: "SimpleChatWebSocket", RouteSelectionExpression: "$request.body.action",
			Routes: []string{"$connect", "$disconnect", "sendmessage", "history"},
			Stages: []client.Stage{
				{Name: "Prod", WebSocketURL: "ws://" + host + "/Prod", SecureWebSocketURL: "wss://" + host + "/Prod", ManagementURL: "http://" + host + "/Prod"},
				{Name: "closed", WebSocketURL: "ws://" + host + "/closed", SecureWebSocketURL: "wss://" + host + "/closed", ManagementURL: "http://" + host + "/closed"},
			}}},
		Functions: []client.Function{
			{Name: "simple-websockets-chat-OnConnectFunction-1A2B3C", LogicalID: "OnConnectFunction", Runtime: "nodejs18.x", RunsOn: "node 20.20.2", Handler: "app.handler"},
			{Name: "simple-websockets-chat-SendMessageFunction-4D5E6F", LogicalID: "SendMessageFunction", Runtime: "nodejs18.x", RunsOn: "node 20.20.2", Handler: "app.handler"},
		},
		Tables:  []client.Table{{Name: "simplechat_connections", LogicalID: "ConnectionsTable", HashKey: "connectionId", Indexes: []string{"byRoom"}}},
		Outputs: map[string]string{"WebSocketURI": "wss://k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com/Prod"},
		Findings: []client.Finding{
			{Severity: "note", Code: "no-effect", Message: "AWS::IAM::Role has no effect locally", Pos: model.Pos{File: "template.yaml", Line: 61}},
			{Severity: "warning", Code: "unsupported", Message: "authorizers are not executed yet: <b>$connect</b> is open", Hint: "nothing to do", Pos: model.Pos{File: "template.yaml", Line: 34}},
		},
	}
}

// browser opens headless Chromium, or skips: the page needs the real thing.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium found: install the package chromium to run this test")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WindowSize(1440, 1000))
	ctx, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	t.Cleanup(cancel)
	ctx, close := chromedp.NewContext(ctx)
	t.Cleanup(close)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// see waits until the text of an element satisfies a JavaScript condition on t.
func see(t *testing.T, ctx context.Context, id, condition string) string {
	t.Helper()
	js := fmt.Sprintf(`(() => { const t = document.getElementById(%q)?.innerText ?? ''; return (%s) && (t || ' '); })()`, id, condition)
	got, err := chromedp.Run(ctx, chromedp.Poll[string](js, chromedp.WithPollingTimeout(15*time.Second), chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](fmt.Sprintf(`document.getElementById(%q)?.innerText ?? '(no such element)'`, id)))
		t.Fatalf("#%s never satisfied %s: %v\nit shows:\n%s", id, condition, err, text)
	}
	return got
}

func eval[T any](t *testing.T, ctx context.Context, js string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return v
}

// attack is a payload that runs if anything on the page treats it as markup.
const attack = `<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>`

func TestConsoleInABrowser(t *testing.T) {
	s := newSite(t)
	ctx := browser(t)
	var complaints atomic.Pointer[string]
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	go func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			if m.IsException() || strings.Contains(m.Text, "Content Security Policy") || strings.Contains(m.Text, "Content-Security-Policy") {
				text := m.String()
				complaints.CompareAndSwap(nil, &text)
			}
		}
	}()
	do(t, ctx, chromedp.Navigate(s.url+"/"))

	t.Run("what runs", func(t *testing.T) {
		see(t, ctx, "state", `t.includes('Running')`)
		see(t, ctx, "stack", `t === 'simple-websockets-chat'`)
		see(t, ctx, "endpoints", `t.includes('/Prod') && t.includes('wss://') && t.includes('k3v9x1m2qz')`)
		see(t, ctx, "functions", `t.includes('OnConnectFunction') && t.includes('node 20.20.2')`)
		see(t, ctx, "tables", `t.includes('simplechat_connections') && t.includes('connectionId')`)
		findings := see(t, ctx, "findings", `t.includes('template.yaml:34')`)
		if !strings.Contains(findings, "<b>$connect</b>") {
			t.Errorf("markup in a finding was not shown as text:\n%s", findings)
		}
	})

	t.Run("a message goes out and comes back", func(t *testing.T) {
		do(t, ctx, chromedp.Click(chromedp.CSS("#connect")))
		see(t, ctx, "conn-text", `t === 'Connected'`)
		do(t, ctx, chromedp.Click(chromedp.CSS("#routes button")))
		if got := eval[string](t, ctx, `document.getElementById('message').value`); got != `{"action":"sendmessage"}` {
			t.Errorf("the route button started %s", got)
		}
		do(t, ctx, chromedp.SendKeys(chromedp.CSS("#message"), "\r"))
		see(t, ctx, "tally", `t === '1 sent, 1 received'`)
		var frames []string
		if err := json.Unmarshal([]byte(eval[string](t, ctx, `JSON.stringify([...document.querySelectorAll('.frame.in pre, .frame.out pre')].map((n) => n.innerText))`)), &frames); err != nil {
			t.Fatal(err)
		}
		if len(frames) != 2 || frames[0] != `{"action":"sendmessage"}` || frames[1] != frames[0] {
			t.Errorf("frames: %q", frames)
		}
	})

	t.Run("payloads are text", func(t *testing.T) {
		do(t, ctx, chromedp.SetValue(chromedp.CSS("#message"), attack), chromedp.Click(chromedp.CSS("#send")))
		see(t, ctx, "tally", `t === '2 sent, 2 received'`)
		s.line.Add(model.LogLine{At: time.Now(), Level: "info", Source: attack, RequestID: attack, Text: attack, Stream: "stdout"})
		see(t, ctx, "log", `t.includes('window.pwned')`)
		if n := eval[int](t, ctx, `document.querySelectorAll('#frames img, #frames script, #log img, #log script').length`); n != 0 {
			t.Errorf("%d elements came out of payloads", n)
		}
		if eval[bool](t, ctx, `'pwned' in window`) {
			t.Error("a payload ran")
		}
	})

	t.Run("the server closes", func(t *testing.T) {
		do(t, ctx, chromedp.SetValue(chromedp.CSS("#message"), "bye"), chromedp.Click(chromedp.CSS("#send")))
		see(t, ctx, "frames", `t.includes('closed: 4001: as you wish')`)
		see(t, ctx, "conn-text", `t === 'Closed 4001'`)
		if !eval[bool](t, ctx, `document.getElementById('send').disabled`) {
			t.Error("Send is still enabled")
		}
	})

	t.Run("a subprotocol is offered", func(t *testing.T) {
		do(t, ctx, chromedp.SetValue(chromedp.CSS("#protocols"), "other, chat.v1"), chromedp.Click(chromedp.CSS("#connect")))
		see(t, ctx, "conn-text", `t === 'Connected, chat.v1'`)
		do(t, ctx, chromedp.Click(chromedp.CSS("#connect")))
		see(t, ctx, "conn-text", `t === 'Closed 1000'`)
	})

	t.Run("a refused handshake says where to look", func(t *testing.T) {
		do(t, ctx, chromedp.Evaluate[chromedp.Void](`(() => { const s = document.getElementById('stage'); s.value = 'k3v9x1m2qz/closed'; s.dispatchEvent(new Event('change')); })()`),
			chromedp.Click(chromedp.CSS("#connect")))
		see(t, ctx, "frames", `t.includes('the handshake failed')`)
	})

	t.Run("the log is live and can be filtered", func(t *testing.T) {
		s.line.Add(model.LogLine{At: time.Now(), Level: "error", Source: "simple-websockets-chat-SendMessageFunction-4D5E6F", RequestID: "11111111-2222", Text: "TypeError: x\n    at handler (app.js:3:1)", Stream: "stderr"})
		s.line.Add(model.LogLine{At: time.Now(), Level: "info", Source: "OnConnectFunction", RequestID: "33333333-4444", Text: "hello"})
		see(t, ctx, "log", `t.includes('app.js:3:1') && t.includes('hello') && t.includes('SendMessageFunction') && !t.includes('4D5E6F')`)
		do(t, ctx, chromedp.SendKeys(chromedp.CSS("#filter"), "typeerror"))
		see(t, ctx, "log", `t.includes('app.js:3:1') && !t.includes('hello')`)
		do(t, ctx, chromedp.Evaluate[chromedp.Void](`(() => { const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()`))
		see(t, ctx, "log", `t.includes('hello')`)
	})

	t.Run("a changed status shows by itself", func(t *testing.T) {
		next := *s.status.Load()
		next.Tables = append(next.Tables, client.Table{Name: "rooms", HashKey: "room"})
		s.status.Store(&next)
		s.line.Changed()
		see(t, ctx, "tables", `t.includes('rooms')`)
	})

	if c := complaints.Load(); c != nil {
		t.Errorf("the browser complained: %s", *c)
	}
}

// A page on another origin may send requests to the dev port; it must neither read
// an answer nor make anything run.
func TestAnotherOriginGetsNothing(t *testing.T) {
	s := newSite(t)
	ctx := browser(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<!doctype html><title>evil</title>")
	}))
	t.Cleanup(evil.Close)
	do(t, ctx, chromedp.Navigate(evil.URL))
	js := fmt.Sprintf(`(async () => {
		const seen = [];
		const attempt = async (path, init) => {
			try { const r = await fetch(%q + path, init); seen.push(r.type === 'opaque' ? 'opaque' : 'read ' + r.status); } catch { seen.push('refused'); }
		};
		await attempt('/_livegate/api/status', {});
		await attempt('/_livegate/api/status', {mode: 'no-cors'});
		await attempt('/_livegate/api/invoke?function=f', {method: 'POST', mode: 'no-cors', body: '{}'});
		await attempt('/_livegate/api/invoke?function=f', {method: 'POST', headers: {Authorization: 'Bearer secret'}, body: '{}'});
		return seen.join(' ');
	})()`, s.url)
	got, err := chromedp.Run(ctx, chromedp.Evaluate[string](js, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "read") {
		t.Errorf("another origin read an answer: %s", got)
	}
	if n := s.invoked.Load(); n != 0 {
		t.Errorf("another origin invoked a function %d times", n)
	}
}
