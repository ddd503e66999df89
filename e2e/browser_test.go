package e2e

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium. rules are for --host-resolver-rules: names that
// must exist for this browser only.
func browser(t *testing.T, rules string) context.Context {
	t.Helper()
	path := need(t, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("proxy-server", "direct://"), chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute))
	if rules != "" {
		options = append(options, chromedp.Flag("host-resolver-rules", rules))
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return tab(t, ctx)
}

// tab opens a page in the same browser.
func tab(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	return ctx
}

// do runs steps on a page; a step that cannot be done fails the test.
func do(t testing.TB, page context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(page, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		text, _ := chromedp.Run(page, chromedp.Evaluate[string]("document.body.innerText"))
		t.Fatalf("browser: %v; the page reads:\n%s", err, text)
	}
}

// eval is the value of a JavaScript expression on a page; promises are awaited.
func eval[T any](t testing.TB, page context.Context, js string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(page, 30*time.Second)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, func(e *runtime.EvaluateParams) { e.AwaitPromise = new(true) }))
	if err != nil {
		t.Fatalf("browser: %s: %v", js, err)
	}
	return value
}

// shows waits until an element is visible and holds a text.
func shows(t testing.TB, page context.Context, selector, want string) {
	t.Helper()
	eventually(t, frameWithin, func() error {
		got := eval[string](t, page, fmt.Sprintf("[...document.querySelectorAll(%q)].map((e) => e.innerText).join('\\n')", selector))
		if !strings.Contains(got, want) {
			return &notShown{selector, want, got}
		}
		return nil
	})
}

type notShown struct{ selector, want, got string }

func (n *notShown) Error() string { return n.selector + " does not show " + n.want + " but " + n.got }

// The page of the chat example, opened from the disk as its README says, in two tabs.
func TestChatPageInABrowser(t *testing.T) {
	need(t, "node")
	ada := browser(t, "")
	dir := copyApp(t, "examples/chat")
	g := launch{Dir: dir}.start(t)
	page := (&url.URL{Scheme: "file", Path: filepath.Join(dir, "index.html"),
		RawQuery: url.Values{"url": {g.stage("Prod").WebSocketURL}}.Encode()}).String()

	join := func(tab context.Context, name string) {
		t.Helper()
		do(t, tab, chromedp.Navigate(page), chromedp.SendKeys(chromedp.CSS("#name"), name+"\r"),
			chromedp.WaitVisible(chromedp.CSS(`main[data-state="open"] #text`)))
	}
	join(ada, "Ada")
	bob := tab(t, ada)
	join(bob, "Bob")
	shows(t, ada, "#log", "Bob joined")

	do(t, bob, chromedp.SendKeys(chromedp.CSS("#text"), "hello <b>Ada</b> 🌍\r"))
	shows(t, ada, "#log li.theirs", "hello <b>Ada</b> 🌍")
	shows(t, bob, "#log li.mine", "hello <b>Ada</b> 🌍")
	do(t, ada, chromedp.SendKeys(chromedp.CSS("#text"), "/no json\r"))
	shows(t, ada, "#log", "to talk to everybody")

	// The page reconnects by itself after the server was away.
	g.stop()
	do(t, ada, chromedp.WaitVisible(chromedp.CSS(`main[data-state="closed"], main[data-state="connecting"]`)))
	l := g.launch
	l.start(t)
	do(t, ada, chromedp.WaitVisible(chromedp.CSS(`main[data-state="open"]`)))
	do(t, ada, chromedp.SendKeys(chromedp.CSS("#text"), "still here\r"))
	shows(t, ada, "#log", "still here")
}
