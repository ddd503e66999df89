// Package devguard is the front door of the development port: it keeps web pages
// the developer happens to visit from talking to a server on their own machine.
//
// Two attacks, two checks:
//   - DNS rebinding: evil.example serves a page, then points its name at
//     127.0.0.1; for the browser that is still the same origin, so it may read
//     answers. But the Host header says evil.example. Only hosts that can mean us
//     pass: [Guard.AllowHost], also for WebSocket upgrades.
//   - Cross-site requests: any page may *send* simple requests to
//     http://localhost:3001. Browsers label them (Origin, Sec-Fetch-Site);
//     labelled as coming from elsewhere, they are refused before anything reads
//     them. Top-level navigation to a page of ours is allowed: that is a link.
//
// Requests without these labels come from programs, which the checks cannot and
// need not stop; what those may do is decided by signatures and secrets.
//
// Pages and everything below /_livegate/ are served to local names only, never
// under an AWS host name, and carry a content security policy, are not framed
// and not sniffed.
//
// A [Guard] keeps no state; it is safe for concurrent use. It stands behind the
// proxy (whose requests name other hosts by design) and before everything else.
package devguard

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Config says who we are. The zero value answers to loopback names only.
type Config struct {
	// Bind is the host part of every listening address. An unspecified address
	// (0.0.0.0, ::) admits every IP literal: rebinding needs a name.
	Bind []string
	// Hosts are further names to answer to (--allow-host); ".example.org" means
	// every name below.
	Hosts []string
	// Intercepted are names under which functions and clients reach us: AWS's,
	// and the template's custom domains. nil means none.
	Intercepted func(host string) bool
	// Page reports whether a path is a page for people, which links may lead to.
	// nil means "/" and everything below /_livegate/ but the API.
	Page func(path string) bool
}

// Guard applies the checks. Make one with New.
type Guard struct {
	cfg     Config // static after New
	literal bool   // every IP literal is ours
}

// New makes a Guard.
func New(cfg Config) *Guard {
	if cfg.Intercepted == nil {
		cfg.Intercepted = func(string) bool { return false }
	}
	if cfg.Page == nil {
		cfg.Page = page
	}
	g := &Guard{cfg: cfg}
	for _, b := range cfg.Bind {
		if a, err := netip.ParseAddr(strings.Trim(b, "[]")); err == nil && a.IsUnspecified() {
			g.literal = true
		}
	}
	return g
}

// own is where our pages and our control API live.
const own = "/_livegate"

func ownPath(path string) bool { return path == own || strings.HasPrefix(path, own+"/") }

func page(path string) bool {
	return path == "/" || ownPath(path) && path != own+"/api" && !strings.HasPrefix(path, own+"/api/")
}

// AllowHost reports whether a Host header can mean us. The port is not looked
// at: a forwarded port differs and rebinding cannot change the name.
func (g *Guard) AllowHost(host string) bool {
	name, ok := hostname(host)
	return ok && (g.local(name) || g.cfg.Intercepted(name))
}

// Local reports whether a Host header means this server as such, not an AWS
// service behind it: the only names under which its own pages are served.
func (g *Guard) Local(host string) bool {
	name, ok := hostname(host)
	return ok && g.local(name)
}

// local is Local for a name without port.
func (g *Guard) local(name string) bool {
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if a, err := netip.ParseAddr(name); err == nil {
		a = a.Unmap()
		return a.IsLoopback() || g.literal && a.Zone() == "" || slices.ContainsFunc(g.cfg.Bind, func(b string) bool {
			bound, err := netip.ParseAddr(strings.Trim(b, "[]"))
			return err == nil && bound.Unmap() == a && !bound.IsUnspecified()
		})
	}
	return slices.ContainsFunc(append(slices.Clone(g.cfg.Bind), g.cfg.Hosts...), func(h string) bool {
		h = strings.ToLower(h)
		if strings.HasPrefix(h, ".") {
			return strings.HasSuffix(name, h)
		}
		return name == strings.TrimSuffix(h, ".")
	})
}

// hostname takes the name out of a Host header, lower case, without port,
// brackets and trailing dot; false if it is not of that form. "localhost@evil",
// "localhost/" and "localhost:x" are not.
func hostname(host string) (string, bool) {
	name, port := host, ""
	if strings.HasPrefix(host, "[") {
		end := strings.IndexByte(host, ']')
		if end < 0 {
			return "", false
		}
		a, err := netip.ParseAddr(host[1:end])
		if err != nil || !a.Is6() {
			return "", false
		}
		name, port = a.String(), host[end+1:]
		if port != "" && port[0] != ':' {
			return "", false
		}
		port = strings.TrimPrefix(port, ":")
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		name, port = host[:i], host[i+1:]
	}
	if strings.Trim(port, "0123456789") != "" || len(port) > 5 {
		return "", false
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != ':' {
			return "", false
		}
	}
	return name, name != ""
}

// Wrap puts the checks before next.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := hostname(r.Host)
		if !ok || !g.local(name) && !g.cfg.Intercepted(name) {
			refuse(w, "Livegate does not answer to this Host name: a web page can point any name at your machine (DNS rebinding). "+
				"Use localhost, or start with --allow-host NAME if the name is yours.")
			return
		}
		safe := r.Method == http.MethodGet || r.Method == http.MethodHead
		// "/" is the start page, and where SDKs POST to.
		console := ownPath(r.URL.Path) || safe && g.cfg.Page(r.URL.Path)
		if ownPath(r.URL.Path) && !g.local(name) {
			refuse(w, "Livegate's own pages are at http://localhost, not under an AWS host name.")
			return
		}
		if !sameSite(r) && !g.link(r) {
			refuse(w, "Livegate refused this request because a web page of another origin made it.")
			return
		}
		if console && g.local(name) {
			secure(w.Header(), r.Host)
		}
		next.ServeHTTP(w, r)
	})
}

// sameSite reports whether a browser made the request for a page of ours, or no
// browser made it. Both labels must agree where both are there.
func sameSite(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	for _, origin := range r.Header.Values("Origin") {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !sameHost(u, r.Host) {
			return false
		}
	}
	return true
}

// sameHost compares an origin with a Host header; default ports may be left out.
func sameHost(origin *url.URL, host string) bool {
	port := map[string]string{"http": ":80", "https": ":443"}[origin.Scheme]
	return origin.Host != "" && strings.EqualFold(strings.TrimSuffix(origin.Host, port), strings.TrimSuffix(host, port))
}

// link reports whether a request is a navigation of the whole window to a page:
// what following a link from another site is. It cannot read the answer and has
// no effect here. A signature in the query makes it a call instead: "/" is also
// where presigned requests to services without paths go.
func (g *Guard) link(r *http.Request) bool {
	return !strings.Contains(r.URL.RawQuery, "X-Amz-") && (r.Method == http.MethodGet || r.Method == http.MethodHead) && g.cfg.Page(r.URL.Path) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		r.Header.Get("Origin") == ""
}

// secure sets the headers of pages. WebSockets are named one by one because
// 'self' does not cover the ws scheme in every browser.
func secure(h http.Header, host string) {
	sockets := "ws://localhost:* wss://localhost:* ws://127.0.0.1:* wss://127.0.0.1:* ws://" + host + " wss://" + host
	if strings.HasPrefix(host, "[") { // CSP has no IPv6 literals
		sockets = "ws://localhost:* wss://localhost:*"
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
		"connect-src 'self' "+sockets+"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
}

func refuse(w http.ResponseWriter, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusForbidden)
	w.Write([]byte(text + "\n"))
}

// Hostname is the host part of a listening address, for Config.Bind.
func Hostname(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
