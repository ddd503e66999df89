package console_test

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/console"
)

func get(t *testing.T, path string) (code int, body string, header func(string) string) {
	t.Helper()
	w := httptest.NewRecorder()
	console.New().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String(), w.Header().Get
}

// Everything the page and its modules name is served, with the type a browser
// insists on, and nothing comes from anywhere else.
func TestPageIsCompleteAndClosed(t *testing.T) {
	code, html, header := get(t, "/")
	if code != 200 || !strings.HasPrefix(header("Content-Type"), "text/html") {
		t.Fatalf("GET /: %d %s", code, header("Content-Type"))
	}
	if csp := header("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy: %q", csp)
	}
	for _, bad := range []string{"style=", "onclick=", "onload=", "javascript:", `src="http`, `href="http`, `src="//`} {
		if strings.Contains(html, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	queue := []string{}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllStringSubmatch(html, -1) {
		queue = append(queue, m[1])
	}
	seen := map[string]bool{}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		code, body, header := get(t, path)
		if code != 200 {
			t.Errorf("%s: %d", path, code)
			continue
		}
		if strings.HasSuffix(path, ".js") {
			if header("Content-Type") != "text/javascript; charset=utf-8" {
				t.Errorf("%s is %s", path, header("Content-Type"))
			}
			if strings.Contains(body, "innerHTML") || strings.Contains(body, "insertAdjacentHTML") || strings.Contains(body, "eval(") {
				t.Errorf("%s makes markup out of text", path)
			}
			for _, m := range regexp.MustCompile(`from '\./([^']+)'`).FindAllStringSubmatch(body, -1) {
				queue = append(queue, console.Prefix+m[1])
			}
		}
	}
	if len(seen) < 7 {
		t.Errorf("only %d assets were reached: %v", len(seen), seen)
	}
}

func TestOtherPathsAreNotOurs(t *testing.T) {
	for _, path := range []string{"/index.html", "/_livegate/", "/_livegate/page/main.js", "/_livegate/../secret", "/Prod"} {
		if code, _, _ := get(t, path); code != 404 {
			t.Errorf("%s: %d, want 404", path, code)
		}
	}
}

func TestUnchangedAssetsAreNotSentAgain(t *testing.T) {
	_, _, header := get(t, "/_livegate/main.js")
	r := httptest.NewRequest("GET", "/_livegate/main.js", nil)
	r.Header.Set("If-None-Match", header("ETag"))
	w := httptest.NewRecorder()
	console.New().ServeHTTP(w, r)
	if w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("%d with %d bytes, want 304 and none", w.Code, w.Body.Len())
	}
	w = httptest.NewRecorder()
	console.New().ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
	if w.Code != 405 {
		t.Errorf("POST /: %d, want 405", w.Code)
	}
}
