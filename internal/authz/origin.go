package authz

import (
	"net"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// sameHost allows pages of the host that is connected to.
const sameHost = "same-host"

// origins is an allow-list of web origins (RFC 6454 §6.2; RFC 6455 §10.2). It guards
// against pages that open a connection with somebody else's cookies (CWE-1385). A
// client that is no browser sends no Origin and is not a page: it passes.
type origins struct {
	sameHost bool
	list     []origin
}

// origin is a scheme, a host and a port. A host of "*.example.com" stands for exactly
// one label before ".example.com".
type origin struct{ scheme, host, port string }

func compileOrigins(list []string) (*origins, error) {
	o := &origins{}
	for _, text := range list {
		if text == sameHost {
			o.sameHost = true
			continue
		}
		parsed, ok := parseOrigin(text, true)
		if !ok {
			return nil, fault.New(fault.BadRequest, `the origin %q cannot be used: write "https://app.example.com", "https://*.example.com" or "same-host"`, text)
		}
		o.list = append(o.list, parsed)
	}
	return o, nil
}

// parseOrigin reads "scheme://host[:port]", lower-cased and with the port filled in.
// Whatever else there is in it, it is no origin: that is how "null",
// "https://app.example.com.evil.test/", "https://app.example.com@evil.test" and lists
// are refused.
func parseOrigin(text string, pattern bool) (o origin, ok bool) {
	scheme, rest, found := strings.Cut(strings.ToLower(text), "://")
	if !found || scheme == "" || rest == "" {
		return o, false
	}
	for i := range len(scheme) {
		if c := scheme[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '+' {
			return o, false
		}
	}
	host, port, ok := splitHost(rest)
	if !ok {
		return o, false
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	name := host
	if pattern {
		name = strings.TrimPrefix(name, "*.")
	}
	return origin{scheme, host, port}, plainHost(name)
}

// splitHost splits a host from a port of digits, if there is one; an IPv6 address is
// in brackets and loses them.
func splitHost(s string) (host, port string, ok bool) {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil || port == "" || strings.Trim(port, "0123456789") != "" {
			return "", "", false
		}
		return host, port, host != ""
	}
	host = s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	}
	return host, "", host != ""
}

// plainHost reports whether a name holds only what host names, addresses and extension
// ids are made of. A trailing dot would be a second name for the same host.
func plainHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' && c != ':' {
			return false
		}
	}
	return s != "" && !strings.HasSuffix(s, ".") && !strings.HasPrefix(s, ".")
}

func defaultPort(scheme string) string {
	switch scheme {
	case "https", "wss":
		return "443"
	case "http", "ws":
		return "80"
	}
	return ""
}

func (o *origins) admit(r *Request) bool {
	given, n := "", 0
	for _, f := range r.Handshake.Headers {
		if strings.EqualFold(f.Name, "Origin") {
			given = strings.TrimSpace(f.Value)
			n++
		}
	}
	if n == 0 {
		return true
	}
	page, ok := parseOrigin(given, false)
	if n > 1 || !ok {
		return false
	}
	if o.sameHost && page.isHost(r.Host, r.Secure) {
		return true
	}
	for _, allowed := range o.list {
		if allowed.scheme == page.scheme && allowed.port == page.port && allowed.covers(page.host) {
			return true
		}
	}
	return false
}

func (o origin) covers(host string) bool {
	suffix, wild := strings.CutPrefix(o.host, "*")
	if !wild {
		return o.host == host
	}
	label, found := strings.CutSuffix(host, suffix)
	return found && label != "" && !strings.Contains(label, ".")
}

// isHost reports whether a page is from the host of a request. A page that came
// without TLS is somebody else's to a connection with it: anybody on the way may have
// written it.
func (o origin) isHost(host string, secure bool) bool {
	if o.scheme != "https" && (o.scheme != "http" || secure) {
		return false
	}
	name, port, ok := splitHost(strings.ToLower(host))
	if port == "" {
		// Behind a proxy that ends TLS a Host without a port is https's, too.
		port = defaultPort(o.scheme)
	}
	return ok && name == o.host && port == o.port
}
