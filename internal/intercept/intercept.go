// Package intercept is the proxy that function workers send their https through:
// calls to AWS stay at home, everything else leaves untouched.
//
// A worker's environment ([Env]) names this proxy with credentials of the
// worker's own. For each CONNECT, in this order:
//   - no valid credentials: 407. A web page or a neighbour on the machine cannot
//     use the proxy, whatever it can reach.
//   - host:port is mapped (Config.MapHost): tunnelled to the mapped address.
//   - the host is intercepted: answered 200, and the connection is handed to
//     Config.Serve, which terminates TLS with the local CA and treats what is
//     inside as if it had been dialled directly.
//   - Config.Offline: refused by name.
//   - otherwise: tunnelled byte for byte, through the outer proxy if the user has
//     one.
//
// Tunnels never reach loopback, link-local or cloud metadata addresses, also not
// by a name that resolves to one: a name is resolved once, every address is
// checked, and a checked address is what is dialled. (Resolving for the check
// and again for the dial is what DNS rebinding needs.) Loopback services are
// reached directly, NO_PROXY sees to that, or by Config.MapHost.
//
// Plain http requests in absolute form ("GET http://…") get the same treatment.
//
// [Proxy] is an http.Handler for the requests for which [IsProxy] holds; it must
// stand before any Host allow-list, since the Host of a proxy request is the
// destination. All methods are safe for concurrent use; Close ends the tunnels.
package intercept

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// DefaultDialTimeout bounds name resolution and connecting together.
const DefaultDialTimeout = 15 * time.Second

// Config is what a Proxy needs. The zero value intercepts AWS hosts, has nobody
// to serve them and lets nobody in.
type Config struct {
	// Auth checks a worker's proxy credentials; nil refuses everybody.
	Auth func(user, secret string) bool
	// Intercepted decides by host name (no port); nil means AWS's domains.
	// See [Hosts].
	Intercepted func(host string) bool
	// Serve takes over a connection whose CONNECT was answered; nil refuses.
	Serve func(net.Conn)
	// Local serves absolute-form requests to intercepted hosts; nil refuses.
	Local http.Handler
	// Offline refuses whatever is neither intercepted nor mapped.
	Offline bool
	// MapHost sends a destination elsewhere: "host" or "host:port" → "addr:port".
	// A mapping goes before everything else, loopback addresses included.
	MapHost map[string]string
	// Passthrough exempts intercepted hosts: they are tunnelled to the real AWS.
	// See [PassthroughHosts].
	Passthrough func(host string) bool
	// Outer is the proxy that the user's own environment names.
	Outer Outer
	// Logs gets one line per refused host.
	Logs func(model.LogLine)

	DialTimeout time.Duration // 0 means DefaultDialTimeout
	// Resolve and Dial replace name resolution and TCP, for tests.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial    func(ctx context.Context, address string) (net.Conn, error)
}

// Proxy is the endpoint. Make one with New.
type Proxy struct {
	cfg     Config // static after New
	outer   outer
	forward *httputil.ReverseProxy

	mu      sync.Mutex
	tunnels map[*tunnel]struct{} // nil after Close
	told    map[string]bool      // refusals already logged
}

// New makes a proxy. It starts nothing.
func New(cfg Config) *Proxy {
	if cfg.Auth == nil {
		cfg.Auth = func(string, string) bool { return false }
	}
	if cfg.Intercepted == nil {
		cfg.Intercepted = sigv4.AWSHost
	}
	if cfg.Passthrough == nil {
		cfg.Passthrough = func(string) bool { return false }
	}
	if cfg.Logs == nil {
		cfg.Logs = func(model.LogLine) {}
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = DefaultDialTimeout
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if cfg.Dial == nil {
		cfg.Dial = func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		}
	}
	mapped := make(map[string]string, len(cfg.MapHost))
	for from, to := range cfg.MapHost {
		mapped[strings.ToLower(from)] = to
	}
	cfg.MapHost = mapped
	p := &Proxy{
		cfg: cfg, outer: newOuter(cfg.Outer),
		tunnels: map[*tunnel]struct{}{}, told: map[string]bool{},
	}
	p.forward = p.newForward()
	return p
}

// IsProxy reports whether a request is addressed to a proxy: CONNECT, or an
// absolute-form target.
func IsProxy(r *http.Request) bool {
	return r.Method == http.MethodConnect || r.URL.Host != ""
}

// ServeHTTP answers one proxy request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !IsProxy(r) {
		http.Error(w, "This address answers proxy requests only.", http.StatusBadRequest)
		return
	}
	user, secret, _ := credentials(r.Header.Get("Proxy-Authorization"))
	if !p.cfg.Auth(user, secret) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="livegate"`)
		http.Error(w, "Livegate's proxy is for the functions it runs: each gets its own credentials in HTTPS_PROXY.", http.StatusProxyAuthRequired)
		return
	}
	if r.Method == http.MethodConnect {
		p.connect(w, r)
		return
	}
	p.absolute(w, r)
}

// Close ends every tunnel. Connections handed to Serve are not ours any more.
func (p *Proxy) Close() {
	p.mu.Lock()
	tunnels := p.tunnels
	p.tunnels = nil
	p.mu.Unlock()
	for t := range tunnels {
		t.close()
	}
	p.forward.Transport.(*http.Transport).CloseIdleConnections()
}

// credentials reads a Basic Proxy-Authorization header.
func credentials(header string) (user, secret string, ok bool) {
	scheme, value, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(plain), ":")
}

// tell logs a refusal once per key: a function in a retry loop would flood the
// terminal otherwise. The memory is bounded, since names are chosen by functions.
func (p *Proxy) tell(key, text string) {
	p.mu.Lock()
	known := p.told[key]
	if len(p.told) < 1024 {
		p.told[key] = true
	}
	p.mu.Unlock()
	if !known {
		p.cfg.Logs(model.LogLine{At: time.Now(), Level: "warn", Source: "proxy", Text: text})
	}
}
