package app

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/devguard"
	"github.com/livegate/livegate/internal/fault"
)

// minToken is the shortest credential of the management listener.
const minToken = 16

// management is the listener for whoever runs this process, apart from the port
// that clients use:
//
//	GET /metrics        Prometheus text format, or OpenMetrics
//	GET /healthz        200 or 503, with the checks as JSON
//	GET /readyz         the same
//	GET /debug/pprof/…  profiles, when they are on
//
// Without a token it is bound to loopback and closed to web pages, like our pages
// on the dev port. With one, metrics and profiles need it; the two health
// questions are answered to anybody, since load balancers cannot send one, but
// only as yes or no.
type management struct {
	ln    net.Listener
	token string

	// set by serve
	http *http.Server
	done chan struct{} // closed when http has returned
}

// managementAddress completes what --management was given: a bare port, and a
// missing host, mean loopback.
func managementAddress(text string) (string, error) {
	if _, err := strconv.ParseUint(text, 10, 16); err == nil {
		text = ":" + text
	}
	host, port, err := net.SplitHostPort(text)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		return "", fault.New(fault.BadRequest, "--management %q: want HOST:PORT or PORT, e.g. 127.0.0.1:9090", text)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// checkManagement refuses what would be a hole, or would do nothing.
func (c *Config) checkManagement() error {
	if c.Management == "" {
		switch {
		case c.Profiling:
			return fault.New(fault.BadRequest, "--pprof needs the management listener: add --management 9090")
		case c.ManagementToken != "":
			return fault.New(fault.BadRequest, "a management token was given, and no --management ADDR that it could protect")
		}
		return nil
	}
	address, err := managementAddress(c.Management)
	if err != nil {
		return err
	}
	const make = "make one with: openssl rand -hex 32"
	if c.ManagementToken != "" && (len(c.ManagementToken) < minToken || strings.ContainsAny(c.ManagementToken, " \t\r\n")) {
		return fault.New(fault.BadRequest, "the management token is too easy to guess, or has blanks: use %d characters or more; %s", minToken, make)
	}
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	if host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) && c.ManagementToken == "" {
		return fault.New(fault.BadRequest, "--management %s can be reached from other machines and has no credential: put one in a file and name it with --management-token-file "+
			"(or set LIVEGATE_MANAGEMENT_TOKEN), or listen on 127.0.0.1; %s", address, make)
	}
	return nil
}

// listenManagement takes the management address, before anything is written.
func (a *App) listenManagement() error {
	if a.cfg.Management == "" {
		return nil
	}
	address, err := managementAddress(a.cfg.Management)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fault.New(fault.Conflict, "the management address %s is in use; choose another with --management", address)
	}
	if err != nil {
		return fault.New(fault.BadRequest, "--management %s: %v", address, err)
	}
	a.management = &management{ln: ln, token: a.cfg.ManagementToken}
	return nil
}

// serve answers from now on: alive, and not ready until the application is.
func (m *management) serve(a *App) {
	m.done = make(chan struct{})
	m.http = &http.Server{
		Handler:           m.guard(a, m.routes(a)),
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		// No WriteTimeout: a profile takes as long as was asked for.
		ErrorLog: log.New(noteWriter{a}, "", 0),
	}
	go func() {
		defer close(m.done)
		if err := m.http.Serve(m.ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
			a.note("error", "livegate", "the management listener ended: %v", err)
		}
	}()
	served := "/metrics, /healthz, /readyz"
	if a.cfg.Profiling {
		served += ", /debug/pprof/"
	}
	a.note("info", "livegate", "management at http://%s: %s", m.ln.Addr(), served)
}

// noteWriter makes log entries of what net/http has to say.
type noteWriter struct{ a *App }

func (n noteWriter) Write(text []byte) (int, error) {
	n.a.note("warn", "livegate", "management: %s", strings.TrimSpace(string(text)))
	return len(text), nil
}

func (m *management) close() error {
	if m.http == nil {
		return m.ln.Close() // the start failed before serve
	}
	err := m.http.Close()
	<-m.done
	return err
}

// routes are what is there.
func (m *management) routes(a *App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.reg.Handler())
	mux.HandleFunc("GET /healthz", a.health.handle(a.health.alive, m.trusted))
	mux.HandleFunc("GET /readyz", a.health.handle(a.health.ready, m.trusted))
	if a.cfg.Profiling {
		// Index serves the named profiles below it too. symbol takes POST as well.
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		text := fmt.Sprintf("nothing is served at %s: there are /metrics, /healthz and /readyz", r.URL.Path)
		if strings.HasPrefix(r.URL.Path, "/debug/pprof") {
			text = "profiles are off: start with --pprof"
		}
		sendProblem(w, fault.New(fault.NotFound, "%s", text))
	})
	return mux
}

// guard admits requests: by token where there is one, else by what a web page
// cannot forge.
func (m *management) guard(a *App, next http.Handler) http.Handler {
	if m.token == "" {
		host, _, _ := net.SplitHostPort(m.ln.Addr().String())
		return devguard.New(devguard.Config{
			Bind: []string{host}, Hosts: a.cfg.AllowHosts,
			Page: func(string) bool { return false },
		}).Wrap(next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		health := r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
		if !health && !m.trusted(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="livegate management"`)
			sendProblem(w, fault.New(fault.Unauthorized, "this needs the management token: Authorization: Bearer …"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// trusted reports whether a request that got this far may see everything.
func (m *management) trusted(r *http.Request) bool {
	if m.token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(m.token)) == 1
}

// sendProblem answers with an error in the form of the control API's.
func sendProblem(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	sendJSON(w, kind.Status(), client.Problem{Error: fault.Message(err), Kind: kind.String()})
}
