package authz

import (
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

// Cross-site WebSocket hijacking: tricks with ports, suffixes and names.
func TestOrigins(t *testing.T) {
	const host = "ws.example.com"
	for _, c := range []struct {
		allowed string // separated by blanks
		origin  string // "-": no header
		host    string
		plain   bool // not over TLS
		in      bool
	}{
		{"https://app.example.com", "https://app.example.com", host, false, true},
		{"https://app.example.com", "HTTPS://APP.example.COM", host, false, true},
		{"https://app.example.com", "https://app.example.com:443", host, false, true},
		{"https://app.example.com:443", "https://app.example.com", host, false, true},
		{"https://app.example.com", "-", host, false, true}, // no browser
		{"https://app.example.com", "https://app.example.com:8443", host, false, false},
		{"https://app.example.com:8443", "https://app.example.com", host, false, false},
		{"https://app.example.com", "http://app.example.com", host, false, false},
		{"https://app.example.com", "http://app.example.com:443", host, false, false},
		{"https://app.example.com", "https://app.example.com.evil.test", host, false, false},
		{"https://app.example.com", "https://evilapp.example.com", host, false, false},
		{"https://app.example.com", "https://app.example.com@evil.test", host, false, false},
		{"https://app.example.com", "https://evil.test/https://app.example.com", host, false, false},
		{"https://app.example.com", "https://evil.test#app.example.com", host, false, false},
		{"https://app.example.com", "https://app.example.com/", host, false, false},
		{"https://app.example.com", "https://app.example.com.", host, false, false},
		{"https://app.example.com", "https://app.example.com https://evil.test", host, false, false},
		{"https://app.example.com", "https://app.example.com, https://evil.test", host, false, false},
		{"https://app.example.com", "null", host, false, false},
		{"https://app.example.com", "", host, false, false},
		{"https://app.example.com", "https://", host, false, false},
		{"https://app.example.com", "app.example.com", host, false, false},
		{"https://app.example.com", "https://app.example.com:", host, false, false},
		{"https://app.example.com", "https://app.example.com:44 3", host, false, false},
		{"https://app.example.com", "file://", host, false, false},
		{"https://*.example.com", "https://a.example.com", host, false, true},
		{"https://*.example.com", "https://example.com", host, false, false},
		{"https://*.example.com", "https://.example.com", host, false, false},
		{"https://*.example.com", "https://a.b.example.com", host, false, false},
		{"https://*.example.com", "https://aexample.com", host, false, false},
		{"https://*.example.com", "https://a.example.com.evil.test", host, false, false},
		{"https://*.example.com", "https://*.example.com", host, false, false},
		{"https://*.example.com:8443", "https://a.example.com:8443", host, false, true},
		{"https://a.test https://b.test", "https://b.test", host, false, true},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", host, false, true},
		{"capacitor://localhost", "capacitor://localhost", host, false, true},
		{"http://[::1]:3000", "http://[::1]:3000", host, false, true},
		{"same-host", "https://ws.example.com", host, false, true},
		{"same-host", "https://ws.example.com", "WS.example.com:443", false, true},
		{"same-host", "https://ws.example.com:8443", "ws.example.com:8443", false, true},
		{"same-host", "https://ws.example.com:8443", host, false, false},
		{"same-host", "https://ws.example.com", "ws.example.com:8443", false, false},
		{"same-host", "http://ws.example.com", host, false, false}, // anybody on the way may have written it
		{"same-host", "http://ws.example.com", host, true, true},
		{"same-host", "http://localhost:3001", "localhost:3001", true, true},
		{"same-host", "http://localhost:3000", "localhost:3001", true, false},
		{"same-host", "http://127.0.0.1:3001", "localhost:3001", true, false},
		{"same-host", "https://ws.example.com.evil.test", host, false, false},
		{"same-host", "https://example.com", host, false, false},
		{"same-host", "null", "null", false, false},
		{"same-host", "chrome-extension://ws.example.com", host, false, false},
		{"same-host https://app.example.com", "https://app.example.com", host, false, true},
	} {
		w := newWorld(t)
		w.route.Access = &model.Access{Origins: strings.Fields(c.allowed)}
		p := w.plan()
		if p.Err() != nil || !p.Guarded() || p.Waits() {
			t.Fatal(p.Err())
		}
		r := w.request("", "Origin: "+c.origin)
		if c.origin == "-" {
			r.Handshake.Headers = nil
		}
		r.Host, r.Secure = c.host, !c.plain
		_, no := w.authorize(p, r)
		if c.in {
			w.want(c.allowed+" for "+c.origin, no, 0, "")
		} else {
			w.want(c.allowed+" for "+c.origin, no, 403, "Forbidden")
		}
	}
	w := newWorld(t)
	w.route.Access = &model.Access{Origins: []string{"https://app.example.com"}}
	p := w.plan()
	for _, two := range [][]string{{"https://app.example.com", "https://evil.test"}, {"https://evil.test", "https://app.example.com"}} {
		_, no := w.authorize(p, w.request("", "Origin: "+two[0], "Origin: "+two[1]))
		w.want("two", no, 403, "Forbidden")
	}
}

func TestOriginPatterns(t *testing.T) {
	for _, text := range []string{"*", "https://*", "example.com", "https://", "https://*.", "https://a.*.com", "https://**.example.com", "https://a*.example.com",
		"https://example.com/path", "https://u@example.com", "null", "", "https://example.com.", "https://exa mple.com"} {
		if _, err := compileOrigins([]string{text}); err == nil {
			t.Errorf("%q is a pattern", text)
		}
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://app.example.com", "https://app.example.com:443", "null", "https://[::1]:3", "https://a.example.com@b", "x://:1"} {
		f.Add(s)
	}
	o, err := compileOrigins([]string{"https://*.example.com", "https://app.test:8443"})
	if err != nil {
		f.Fatal(err)
	}
	w := newWorld(&testing.T{})
	f.Fuzz(func(t *testing.T, text string) {
		r := w.request("", "Origin: "+strings.TrimSpace(text))
		if !o.admit(r) {
			return
		}
		low := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), ":443")
		label, ok := strings.CutSuffix(strings.TrimPrefix(low, "https://"), ".example.com")
		if low != "https://app.test:8443" && (!ok || !strings.HasPrefix(low, "https://") || label == "" || strings.ContainsAny(label, "./@:#?\\")) {
			t.Fatalf("%q is let in", text)
		}
	})
}
