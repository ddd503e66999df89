package app

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
)

// backends is the transport of HTTP integrations: mapped hosts go to their
// fixture, and --offline refuses everything that is not on this machine.
type backends struct {
	next    http.RoundTripper
	mapped  map[string]string // lower-case host → address:port
	offline bool
}

func (a *App) backends() http.RoundTripper {
	b := &backends{next: integration.Transport(), mapped: map[string]string{}, offline: a.cfg.Offline}
	for host, addr := range a.cfg.MapHosts {
		b.mapped[hostOnly(host)] = addr
	}
	return b
}

func (b *backends) RoundTrip(r *http.Request) (*http.Response, error) {
	host := strings.ToLower(r.URL.Hostname())
	if addr := b.mapped[host]; addr != "" {
		out := r.Clone(r.Context())
		if out.Host == "" {
			out.Host = r.URL.Host
		}
		out.URL = new(url.URL)
		*out.URL = *r.URL
		out.URL.Scheme, out.URL.Host = "http", addr
		return b.next.RoundTrip(out)
	}
	if b.offline && !local(r.Context(), host) {
		return nil, fault.New(fault.Forbidden, "%s was not called: --offline", r.URL.Host)
	}
	return b.next.RoundTrip(r)
}

// local reports whether every address of a host is this machine.
func local(ctx context.Context, host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addrs, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	for _, ip := range addrs {
		if !ip.IP.IsLoopback() {
			return false
		}
	}
	return err == nil && len(addrs) > 0
}
