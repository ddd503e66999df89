package app

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/awsapi"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/console"
	"github.com/livegate/livegate/internal/control"
	"github.com/livegate/livegate/internal/intercept"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// front is everything on the dev port that is not a WebSocket: which plane
// answers is decided here and nowhere else.
type front struct {
	app       *App
	callbacks http.Handler
	aws       http.Handler
	control   http.Handler
	console   http.Handler
	own       http.Handler // metrics and health
	mapped    map[string]http.Handler
}

// front builds the planes. Requests addressed to a proxy go before the Host
// allow-list, since their Host is the destination.
func (a *App) front(app *model.App) http.Handler {
	f := &front{app: a}
	a.callbacks = connapi.New(connapi.Config{
		App: a.current, Registry: a.registry, Callers: a.runtime,
		RequireSignature: true, Check: a.check, Allow: a.allow(),
		Take: a.gateway.Take, Certified: a.certified,
	})
	a.bindCallbacks(a.callbacks.Stats)
	f.callbacks = a.callbacks
	f.aws = awsapi.New(awsapi.Config{
		Services: a.services.handlers,
		Secret:   a.callerSecret, Keys: &a.keys, RequireValid: len(a.cfg.Credentials) > 0,
		Region: app.Region, Passthrough: a.passthrough(),
		Credentials: a.ownCredentials, Logs: a.log,
	})
	f.control = control.New(control.Config{
		Status: a.Status, Invoke: a.invoke, Token: a.token,
		Local: a.guard.Local, Timeline: a.timeline,
	})
	f.console = console.New()
	everybody := func(*http.Request) bool { return true } // the guard let nobody else in
	own := http.NewServeMux()
	own.Handle("GET /_livegate/metrics", a.metrics.reg.Handler())
	own.HandleFunc("GET /_livegate/healthz", a.health.handle(a.health.alive, everybody))
	own.HandleFunc("GET /_livegate/readyz", a.health.handle(a.health.ready, everybody))
	f.own = own
	f.mapped = a.fixtures
	guarded := a.guard.Wrap(f)
	a.proxy = intercept.New(intercept.Config{
		Auth:        a.runtime.ProxyWorker,
		Intercepted: a.intercepted,
		Serve:       func(c net.Conn) { a.server.ServeConn(c, false) },
		Local:       f,
		Offline:     a.cfg.Offline,
		Outer:       intercept.OuterFrom(a.cfg.Getenv),
		Logs:        a.log,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if intercept.IsProxy(r) {
			a.proxy.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// ServeHTTP chooses the plane.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	mapped := f.mapped[hostOnly(r.Host)]
	switch {
	case mapped != nil:
		mapped.ServeHTTP(w, r)
	case connapi.Match(path):
		f.callbacks.ServeHTTP(w, r)
	case strings.HasPrefix(path, client.Base+"/"):
		f.control.ServeHTTP(w, r)
	case path == "/_livegate/metrics", path == "/_livegate/healthz", path == "/_livegate/readyz":
		f.own.ServeHTTP(w, r)
	case strings.HasPrefix(path, "/_livegate/"):
		f.console.ServeHTTP(w, r)
	case !isOperation(r) && f.isStage(r):
		// A WebSocket URL without an upgrade (B16: 403, as for an unknown path).
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("x-amzn-errortype", "ForbiddenException")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"Forbidden"}`)
	case awsapi.Addressed(r):
		f.aws.ServeHTTP(w, r)
	case path == "/":
		f.console.ServeHTTP(w, r)
	default:
		http.Error(w, fmt.Sprintf("nothing is served at %s; the start page at %s lists what is", path, f.app.url("http", f.app.publicHost())), http.StatusNotFound)
	}
}

// isOperation reports whether a request is plainly a call of an AWS service: isStage
// would say no to it too, after reading its signature, which is read again later.
func isOperation(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/" && len(r.Header["X-Amz-Target"]) == 1 &&
		strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-") && !strings.Contains(strings.ToLower(r.Host), ".execute-api.")
}

// isStage reports whether a request names an API by host or one of its stages by
// path. On the host of another AWS service, or signed for one, a path is that
// service's: PUT /dev/photo.png on bucket.s3.amazonaws.com is an object, whatever
// our stages are called.
func (f *front) isStage(r *http.Request) bool {
	if strings.Contains(strings.ToLower(r.Host), ".execute-api.") {
		return true
	}
	app := f.app.current()
	if app == nil || sigv4.AWSHost(r.Host) {
		return false
	}
	if sig, err := sigv4.Parse(r.Header, r.URL.RawQuery); err == nil && sig.Service != "execute-api" {
		return false
	}
	addr, ok := app.Locate(r.Host, r.URL.Path)
	return ok && addr.Stage != nil
}

// intercepted are the hosts that CONNECT brings home.
func (a *App) intercepted(host string) bool {
	return sigv4.AWSHost(host) || a.isMapped(host) || a.isDomain(host)
}

// isMapped reports whether --map-host sends a host elsewhere.
func (a *App) isMapped(host string) bool {
	for mapped := range a.cfg.MapHosts {
		if hostOnly(mapped) == hostOnly(host) {
			return true
		}
	}
	return false
}

// isDomain reports whether a host is a custom domain of the present application.
func (a *App) isDomain(host string) bool {
	app := a.current()
	if app == nil {
		return false
	}
	return slices.ContainsFunc(app.Domains, func(d *model.Domain) bool { return d.Matches(host) })
}
