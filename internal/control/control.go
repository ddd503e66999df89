// Package control is the door for tools: the command line, scripts and the
// console ask a running instance what it runs, follow its events and invoke its
// functions, over HTTP under /_livegate/api.
//
//	GET  /_livegate/api/status            client.Status
//	GET  /_livegate/api/health            client.Health; 503 until ready
//	GET  /_livegate/api/events?after=SEQ  server-sent events: log, status, gap
//	POST /_livegate/api/invoke?function=NAME[&log=1]   body: payload → payload
//
// Errors are client.Problem with the status of their fault kind.
//
// It promises: reading needs a local Host name and no foreign origin (so no web
// page elsewhere can read it, not even by DNS rebinding); whatever runs or changes
// something also needs the token of the run file; a slow reader of events never
// delays the application and is told how many events it missed; memory for the
// timeline is bounded.
//
// It knows no engine: Config hands it functions.
package control

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// MaxPayload is the largest payload that invoke accepts: Lambda's 6 MB for
// synchronous calls and some room, so that the limit itself is the runtime's to explain.
const MaxPayload = 8 << 20

// Config says what to serve. The zero Config serves an empty status and refuses
// every invocation.
type Config struct {
	Status func() client.Status
	Invoke func(context.Context, model.Invocation) (model.InvokeResult, error)
	// Token is the bearer token for everything that runs or changes something.
	// Without one such requests are refused.
	Token string
	// Local decides which Host headers are accepted; nil means localhost,
	// *.localhost and loopback addresses.
	Local func(host string) bool
	// Timeline is what the event stream shows; nil means an empty one.
	Timeline *Timeline
	// Beat is the time between signs of life on an idle event stream; 0 means 15 s.
	Beat time.Duration
}

// Server is the control API, an http.Handler.
type Server struct {
	cfg Config
	mux *http.ServeMux
}

// New returns a server for cfg.
func New(cfg Config) *Server {
	if cfg.Status == nil {
		cfg.Status = func() client.Status { return client.Status{} }
	}
	if cfg.Local == nil {
		cfg.Local = local
	}
	if cfg.Beat <= 0 {
		cfg.Beat = 15 * time.Second
	}
	if cfg.Timeline == nil {
		cfg.Timeline = NewTimeline(0)
	}
	s := &Server{cfg: cfg, mux: http.NewServeMux()}
	s.mux.HandleFunc("GET "+client.Base+"/status", s.handleStatus)
	s.mux.HandleFunc("GET "+client.Base+"/health", s.handleHealth)
	s.mux.HandleFunc("GET "+client.Base+"/events", s.handleEvents)
	s.mux.HandleFunc("POST "+client.Base+"/invoke", s.handleInvoke)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		sendProblem(w, fault.New(fault.NotFound, "there is no %s %s here: the control API has status, health, events and invoke", r.Method, r.URL.Path))
	})
	return s
}

// ServeHTTP serves /_livegate/api/….
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if err := s.admit(r); err != nil {
		sendProblem(w, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// admit keeps other web pages out. Three doors, each closed by another check:
// a page of evil.example that resolves to 127.0.0.1 has the wrong Host (DNS
// rebinding); a page that fetches http://localhost:3001 has a foreign Origin or
// Sec-Fetch-Site; a form post or image from anywhere has Sec-Fetch-Site too.
func (s *Server) admit(r *http.Request) error {
	if !s.cfg.Local(r.Host) {
		return fault.New(fault.Forbidden, "Host %q is not allowed here: use localhost, or start with --allow-host %s", r.Host, hostname(r.Host))
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return fault.New(fault.Forbidden, "requests from another site's page are refused")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return fault.New(fault.Forbidden, "requests from origin %q are refused", origin)
		}
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || s.cfg.Token == "" || subtle.ConstantTimeCompare([]byte(token), []byte(s.cfg.Token)) != 1 {
		return fault.New(fault.Unauthorized, "this needs the token from run.json in the data directory (Authorization: Bearer …)")
	}
	return nil
}

// local is the Host allow-list of a server that was given none.
func local(host string) bool {
	name := hostname(host)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(host)
}

func (s *Server) handleStatus(w http.ResponseWriter, _ *http.Request) {
	sendJSON(w, http.StatusOK, s.cfg.Status())
}

func (s *Server) handleHealth(w http.ResponseWriter, _ *http.Request) {
	st := s.cfg.Status()
	code := http.StatusOK
	if !st.Ready {
		code = http.StatusServiceUnavailable
	}
	sendJSON(w, code, client.Health{Ready: st.Ready, PID: st.PID, Version: st.Version, Stack: st.Stack})
}

func (s *Server) handleInvoke(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("function")
	if name == "" {
		sendProblem(w, fault.New(fault.BadRequest, "name the function: ?function=NAME"))
		return
	}
	if s.cfg.Invoke == nil {
		sendProblem(w, fault.New(fault.Unavailable, "functions cannot be invoked yet: the application is still starting"))
		return
	}
	payload, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxPayload))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			err = fault.New(fault.TooLarge, "the payload is larger than %d bytes", MaxPayload)
		}
		sendProblem(w, err)
		return
	}
	res, err := s.cfg.Invoke(r.Context(), model.Invocation{
		Function: name, Payload: payload, LogTail: r.URL.Query().Get("log") == "1",
	})
	if err != nil {
		sendProblem(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	set := func(name, value string) {
		if value != "" {
			h.Set(name, value)
		}
	}
	set(client.HeaderFunctionError, res.FunctionError)
	set(client.HeaderErrorType, res.ErrorType)
	set(client.HeaderRequestID, res.RequestID)
	set(client.HeaderLog, base64.StdEncoding.EncodeToString(res.LogTail))
	h.Set(client.HeaderDuration, strconv.FormatFloat(float64(res.Duration.Microseconds())/1000, 'f', -1, 64))
	_, _ = w.Write(res.Payload)
}

func sendJSON(w http.ResponseWriter, code int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		sendProblem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}

func sendProblem(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	body, _ := json.Marshal(client.Problem{Error: fault.Message(err), Kind: kind.String()})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(kind.Status())
	_, _ = w.Write(append(body, '\n'))
}

var _ http.Handler = (*Server)(nil)
