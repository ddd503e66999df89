package devguard

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func guard(cfg Config) *Guard {
	if cfg.Intercepted == nil {
		cfg.Intercepted = func(host string) bool {
			return strings.HasSuffix(host, ".amazonaws.com") || host == "ws.example.org"
		}
	}
	return New(cfg)
}

func TestAllowHost(t *testing.T) {
	g := guard(Config{Bind: []string{"127.0.0.1", "192.168.7.7", "::1"}, Hosts: []string{"Dev.example.org", ".tunnel.example"}})
	for host, want := range map[string]bool{
		"localhost": true, "localhost:3001": true, "LOCALHOST:9": true, "localhost.:3001": true, "a.localhost": true, "abc123.localhost:3001": true,
		"127.0.0.1:3001": true, "127.0.0.1": true, "127.9.9.9": true, "[::1]:3001": true, "[::1]": true, "[0:0:0:0:0:0:0:1]:3001": true,
		"[::ffff:127.0.0.1]:3001": true, "192.168.7.7:3001": true,
		"dynamodb.us-east-1.amazonaws.com": true, "dynamodb.us-east-1.amazonaws.com:443": true, "ws.example.org": true,
		"dev.example.org:3001": true, "a.tunnel.example": true,

		"": false, ":3001": false, "evil.example": false, "evil.example:3001": false, "localhost.evil.example": false, "evillocalhost": false,
		"127.0.0.1.nip.io": false, "127.0.0.1.evil.example": false, "0.0.0.0:3001": false, "[::]:3001": false, "0x7f.1": false, "127.1": false,
		"2130706433": false, "10.0.0.1:3001": false, "192.168.7.8": false, "[fd00::1]:3001": false, "[::1": false, "[::1]x": false, "[127.0.0.1]": false,
		"[::1%25lo]:3001": false, "localhost:3001@evil.example": false, "user@localhost": false, "localhost/..": false, "localhost:": true,
		"localhost:3001:1": false, "localhost:99999999": false, "local\x00host": false, "localhost evil": false, "tunnel.example": false,
		"dev.example.org.evil.example": false, "amazonaws.com.evil.example": false, "xn--lcalhost-54a": false, "[::ffff:10.0.0.1]": false,
	} {
		if g.AllowHost(host) != want {
			t.Errorf("%q: not %v", host, want)
		}
	}
	open := guard(Config{Bind: []string{"0.0.0.0"}})
	for host, want := range map[string]bool{"10.0.0.1:3001": true, "[fd00::1]:3001": true, "evil.example": false, "localhost": true} {
		if open.AllowHost(host) != want {
			t.Errorf("bound to everything, %q: not %v", host, want)
		}
	}
	if zero := New(Config{}); !zero.AllowHost("localhost") || zero.AllowHost("dynamodb.us-east-1.amazonaws.com") {
		t.Error("the zero Config")
	}
}

// try sends a request through the guard and reports whether it got through.
func try(g *Guard, method, host, path string, header ...string) (bool, *httptest.ResponseRecorder) {
	through := false
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { through = true })).ServeHTTP(rec, r)
	if through != (rec.Code == 200) {
		panic("a refusal that reached the handler")
	}
	return through, rec
}

func TestCrossOrigin(t *testing.T) {
	g := guard(Config{})
	const local = "localhost:3001"
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for name, c := range map[string]struct {
		method, host, path string
		header             []string
		want               bool
	}{
		"an SDK":                         {"POST", local, "/", nil, true},
		"undici's fetch":                 {"POST", local, "/", []string{"Sec-Fetch-Mode", "cors"}, true},
		"our page":                       {"POST", local, "/_livegate/api/invoke", []string{"Origin", "http://localhost:3001", "Sec-Fetch-Site", "same-origin"}, true},
		"our page over https":            {"POST", local, "/_livegate/api/invoke", []string{"Origin", "https://LOCALHOST:3001"}, true},
		"default port left out":          {"POST", "localhost", "/", []string{"Origin", "http://localhost:80"}, true},
		"typed into the bar":             {"GET", local, "/", []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, true},
		"a link to the start page":       {"GET", local, "/", link, true},
		"a link to a console page":       {"GET", local, "/_livegate/timeline", link, true},
		"another origin":                 {"POST", local, "/", []string{"Origin", "https://evil.example"}, false},
		"another port":                   {"POST", local, "/", []string{"Origin", "http://localhost:5173"}, false},
		"another port, same site":        {"POST", local, "/", []string{"Sec-Fetch-Site", "same-site"}, false},
		"another name of ours":           {"POST", local, "/", []string{"Origin", "http://127.0.0.1:3001"}, false},
		"null origin":                    {"POST", local, "/", []string{"Origin", "null"}, false},
		"empty origin":                   {"POST", local, "/", []string{"Origin", ""}, false},
		"an extension":                   {"POST", local, "/", []string{"Origin", "chrome-extension://localhost:3001"}, false},
		"origin with credentials":        {"POST", local, "/", []string{"Origin", "http://localhost:3001@evil.example"}, false},
		"prefix trick":                   {"POST", local, "/", []string{"Origin", "http://localhost:3001.evil.example"}, false},
		"subdomain trick":                {"POST", local, "/", []string{"Origin", "http://evil.localhost:3001"}, false},
		"two origins":                    {"POST", local, "/", []string{"Origin", "http://localhost:3001", "Origin", "http://evil.example"}, false},
		"labels disagree":                {"POST", local, "/", []string{"Origin", "http://localhost:3001", "Sec-Fetch-Site", "cross-site"}, false},
		"two sites":                      {"POST", local, "/", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		"unknown site":                   {"POST", local, "/", []string{"Sec-Fetch-Site", "SAME-ORIGIN?"}, false},
		"preflight":                      {"OPTIONS", local, "/", []string{"Origin", "http://evil.example", "Access-Control-Request-Method", "POST"}, false},
		"a form's post":                  {"POST", local, "/", append([]string{"Origin", "http://evil.example"}, link...), false},
		"a link to the API":              {"GET", local, "/_livegate/api/status", link, false},
		"a link to an AWS endpoint":      {"GET", local, "/dev/@connections/x", link, false},
		"a frame":                        {"GET", local, "/", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		"an image":                       {"GET", local, "/_livegate/api/status", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		"a script of the console":        {"GET", local, "/_livegate/app.js", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script"}, false},
		"a cross-site call on AWS hosts": {"POST", "sts.amazonaws.com", "/", []string{"Origin", "https://evil.example"}, false},
		"rebinding":                      {"GET", "evil.example:3001", "/_livegate/api/status", []string{"Sec-Fetch-Site", "same-origin"}, false},
		"no Host":                        {"GET", "", "/", nil, false},
		"our API under an AWS host":      {"GET", "evil.elb.us-east-1.amazonaws.com", "/_livegate/api/status", nil, false},
		"our page under a custom domain": {"GET", "ws.example.org", "/_livegate/", nil, false},
		"an AWS call":                    {"POST", "dynamodb.us-east-1.amazonaws.com", "/", nil, true},
	} {
		ok, rec := try(g, c.method, c.host, c.path, c.header...)
		if ok != c.want {
			t.Errorf("%s: through %v", name, ok)
		}
		if rec.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: CORS headers", name)
		}
		if !c.want && (rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "Livegate")) {
			t.Errorf("%s: %d %q", name, rec.Code, rec.Body)
		}
	}
}

// Any page could send the browser to http://localhost:3001/?Action=…&X-Amz-Signature=…
// and have the call made: "/" is the start page, so it passed as a followed link, and
// what arrived there was a presigned call to an AWS service.
func TestAPresignedCallIsNotALink(t *testing.T) {
	g := guard(Config{})
	link := []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	for path, want := range map[string]bool{
		"/":                               true,
		"/?tab=log":                       true,
		"/?Action=X&X-Amz-Signature=0":    false,
		"/?X-Amz-Algorithm=AWS4&Action=X": false,
	} {
		if ok, _ := try(g, "GET", "localhost:3001", path, link...); ok != want {
			t.Errorf("%s: through %v", path, ok)
		}
		if ok, _ := try(g, "GET", "localhost:3001", path); !ok {
			t.Errorf("%s: a program's call is refused", path)
		}
	}
}

func TestLocalIsUsAndNotAnAWSService(t *testing.T) {
	g := guard(Config{Bind: []string{"192.168.1.7"}, Hosts: []string{".tunnel.example"}})
	for host, want := range map[string]bool{
		"localhost:3001": true, "[::1]:3001": true, "192.168.1.7:3001": true, "a.tunnel.example": true,
		"192.168.1.8": false, "dynamodb.us-east-1.amazonaws.com": false, "ws.example.org": false, "evil.example": false, "": false,
	} {
		if g.Local(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}

func TestPagesAreSealed(t *testing.T) {
	g := guard(Config{})
	for _, path := range []string{"/", "/_livegate/", "/_livegate/api/status"} {
		_, rec := try(g, "GET", "localhost:3001", path)
		csp := rec.Header().Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "ws://localhost:3001"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: %q is not in %q", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, " ws: ") {
			t.Errorf("%s: %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin"} {
			if rec.Header().Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, rec.Header().Get(name))
			}
		}
	}
	// AWS's answers stay as AWS gives them.
	if _, rec := try(g, "POST", "dynamodb.us-east-1.amazonaws.com", "/"); len(rec.Header()) != 0 {
		t.Errorf("an AWS answer got headers: %v", rec.Header())
	}
	for _, path := range []string{"/", "/dev/@connections/x"} {
		if _, rec := try(g, "POST", "localhost:3001", path); len(rec.Header()) != 0 {
			t.Errorf("a call to %s got headers: %v", path, rec.Header())
		}
	}
}

func FuzzAllowHost(f *testing.F) {
	for _, s := range []string{"localhost:3001", "[::1]:3001", "evil.example", "localhost:3001@evil", "127.0.0.1", "a.localhost."} {
		f.Add(s)
	}
	g := New(Config{})
	f.Fuzz(func(t *testing.T, host string) {
		if !g.AllowHost(host) {
			return
		}
		name, ok := hostname(host)
		if !ok || name != "localhost" && !strings.HasSuffix(name, ".localhost") && !strings.HasPrefix(name, "127.") && name != "::1" && !strings.HasPrefix(name, "::ffff:127.") {
			t.Fatalf("%q passes as %q", host, name)
		}
		if strings.ContainsAny(host, " \r\n;\"'<>@/\\") {
			t.Fatalf("%q passes and could break a header", host)
		}
	})
}
