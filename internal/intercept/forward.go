package intercept

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/livegate/livegate/internal/fault"
)

// absolute answers an authenticated "GET http://host/path". Workers are not told
// to use us for plain http; clients that do so anyway find the same rules.
func (p *Proxy) absolute(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Proxy-Authorization")
	r.Header.Del("Proxy-Connection")
	if r.URL.Scheme != "http" {
		http.Error(w, "Only http:// URLs can be forwarded; https goes through CONNECT.", http.StatusBadRequest)
		return
	}
	t, err := parseTarget(r.URL.Host, "80")
	if err != nil {
		p.refuseForward(w, r.URL.Host, err)
		return
	}
	if !p.intercepts(t) {
		p.forward.ServeHTTP(w, r)
		return
	}
	if p.cfg.Local == nil {
		p.refuseForward(w, t.host, fault.New(fault.Unavailable, "%s is intercepted, and nothing here serves it", t.host))
		return
	}
	inner := r.Clone(r.Context())
	inner.Host = r.URL.Host
	inner.URL.Scheme, inner.URL.Host = "", ""
	inner.RequestURI = inner.URL.RequestURI()
	p.cfg.Local.ServeHTTP(w, inner)
}

// newForward makes the reverse proxy of plain http. Its connections are made by
// reach, like tunnels, so mapping, --offline and the address check are the same
// and redirects are the client's business.
func (p *Proxy) newForward() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) { pr.Out.Host = pr.In.URL.Host },
		Transport: &http.Transport{
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				t, err := parseTarget(address, "80")
				if err != nil {
					return nil, err
				}
				ctx, cancel := context.WithTimeout(ctx, p.cfg.DialTimeout)
				defer cancel()
				return p.reach(ctx, t)
			},
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.refuseForward(w, (&url.URL{Host: r.URL.Host}).Hostname(), err)
		},
	}
}

func (p *Proxy) refuseForward(w http.ResponseWriter, host string, err error) {
	kind, msg := fault.KindOf(err), fault.Message(err)
	if kind == fault.Internal { // the transport's own errors are the far side's
		kind, msg = fault.Upstream, host+" did not answer: "+err.Error()
	}
	if kind != fault.BadRequest {
		p.tell(host, msg)
	}
	http.Error(w, "Livegate: "+msg+".", kind.Status())
}
