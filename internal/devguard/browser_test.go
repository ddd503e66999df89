package devguard

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// chromium starts a headless browser in which every *.example name means this
// machine, as a rebinding name server would have it; or skips, saying so.
func chromium(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed: what a real browser does is not tested here")
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	limited, done := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(done)
	return limited
}

// victim is a development port: everything that gets through the guard is
// recorded, and the API's answer holds a secret.
type victim struct {
	port string
	mu   sync.Mutex
	got  []string
}

func newVictim(t *testing.T, wrap func(http.Handler) http.Handler) *victim {
	v := &victim{}
	srv := httptest.NewServer(wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			return
		}
		v.mu.Lock()
		v.got = append(v.got, r.Method+" "+r.URL.Path)
		v.mu.Unlock()
		if r.Method == http.MethodGet && r.URL.Path == "/" {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<title>start page</title><p id=out>start page</p><script>window.inline = true</script>`)
			return
		}
		fmt.Fprint(w, "SECRET")
	})))
	t.Cleanup(srv.Close)
	_, v.port, _ = net.SplitHostPort(srv.Listener.Addr().String())
	return v
}

func (v *victim) reached() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	got := v.got
	v.got = nil
	return got
}

// eval runs a script's async body in the page and returns its value.
func eval(t *testing.T, ctx context.Context, script string) string {
	t.Helper()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => {"+script+"})()", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return out
}

func visit(t *testing.T, ctx context.Context, url string) {
	t.Helper()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

func TestBrowserAttacks(t *testing.T) {
	ctx, v := chromium(t), newVictim(t, guard(Config{}).Wrap)
	bare := newVictim(t, func(h http.Handler) http.Handler { return h })
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, "<title>attacker</title><iframe name=sink></iframe>")
	}))
	t.Cleanup(attacker.Close)
	_, attackerPort, _ := net.SplitHostPort(attacker.Listener.Addr().String())

	attacks := map[string]string{
		"simple POST":    `try { await fetch(U + "/", {method: "POST", mode: "no-cors", body: "{}"}); return "sent" } catch (e) { return "error" }`,
		"CORS POST":      `try { const r = await fetch(U + "/", {method: "POST", headers: {"X-Amz-Target": "DynamoDB_20120810.Scan"}, body: "{}"}); return await r.text() } catch (e) { return "error" }`,
		"read the API":   `try { const r = await fetch(U + "/_livegate/api/status"); return await r.text() } catch (e) { return "error" }`,
		"image":          `return await new Promise(ok => { const i = new Image(); i.onload = i.onerror = e => ok(e.type); i.src = U + "/_livegate/api/status" })`,
		"script":         `return await new Promise(ok => { const s = document.createElement("script"); s.onload = s.onerror = e => ok(e.type); s.src = U + "/_livegate/api/status"; document.head.append(s) })`,
		"beacon":         `navigator.sendBeacon(U + "/_livegate/api/invoke", "{}"); await new Promise(ok => setTimeout(ok, 200)); return "sent"`,
		"form in frame":  `const f = document.createElement("form"); f.method = "POST"; f.action = U + "/_livegate/api/invoke"; f.target = "sink"; document.body.append(f); const done = new Promise(ok => document.querySelector("[name=sink]").onload = ok); f.submit(); await done; return "sent"`,
		"frame the page": `return await new Promise(ok => { const f = document.createElement("iframe"); f.onload = e => ok(e.type); f.src = U + "/"; document.body.append(f) })`,
	}
	origin := "http://attacker.example:" + attackerPort
	// Without the guard every attack arrives; else the test would prove nothing.
	visit(t, ctx, origin)
	for name, script := range attacks {
		eval(t, ctx, strings.ReplaceAll(script, "U + ", fmt.Sprintf("%q + ", "http://localhost:"+bare.port)))
		if got := bare.reached(); len(got) == 0 {
			t.Errorf("%s does not reach an unguarded server", name)
		}
	}
	for _, origin := range []string{origin, "http://localhost:" + attackerPort} {
		for _, target := range []string{"http://localhost:" + v.port, "http://127.0.0.1:" + v.port, "http://rebound.example:" + v.port} {
			visit(t, ctx, origin)
			for name, script := range attacks {
				out := eval(t, ctx, strings.ReplaceAll(script, "U + ", fmt.Sprintf("%q + ", target)))
				if got := v.reached(); len(got) != 0 || strings.Contains(out, "SECRET") {
					t.Errorf("%s from %s to %s: %q, read %q", name, origin, target, got, out)
				}
			}
		}
	}

	// Rebinding: the attacker's name now means us, so for the browser this is
	// the attacker's own origin.
	visit(t, ctx, "http://rebound.example:"+v.port+"/_livegate/api/status")
	body := eval(t, ctx, "return document.body.innerText")
	if got := v.reached(); len(got) != 0 || !strings.Contains(body, "DNS rebinding") {
		t.Errorf("rebinding: %q, read %q", got, body)
	}
}

// The guard must not be in the way of our own page, or of a link to it.
func TestBrowserOwnPage(t *testing.T) {
	ctx, v := chromium(t), newVictim(t, guard(Config{}).Wrap)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a id=go href="http://localhost:%s/">start page</a>`, v.port)
	}))
	t.Cleanup(elsewhere.Close)
	_, port, _ := net.SplitHostPort(elsewhere.Listener.Addr().String())
	visit(t, ctx, "http://elsewhere.example:"+port)
	if _, err := chromedp.RunResponse(ctx, chromedp.Evaluate[chromedp.Void](`document.getElementById("go").click()`)); err != nil {
		t.Fatal(err)
	}
	title := eval(t, ctx, `return document.title`)
	api := eval(t, ctx, `return await (await fetch("/_livegate/api/status")).text()`)
	inline := eval(t, ctx, `return String(window.inline)`) == "true"
	if title != "start page" || api != "SECRET" {
		t.Errorf("title %q, API %q", title, api)
	}
	if inline {
		t.Error("an inline script ran: the content security policy does not hold")
	}
	if got := v.reached(); !slices.Equal(got, []string{"GET /", "GET /_livegate/api/status"}) {
		t.Errorf("reached: %q", got)
	}
}
