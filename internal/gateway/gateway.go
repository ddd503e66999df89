// Package gateway is the WebSocket API itself: $connect, route selection,
// $default, $disconnect, two-way replies, error frames and the limits profile, as
// Amazon API Gateway does them.
//
// Promises:
//   - A client gets its 101 only after its authorization, if the API asks for one, and
//     after $connect returned a 2xx status, or when there is no $connect route. Access
//     control that nobody can check refuses the handshake; it is never skipped.
//   - A connection's messages reach their integrations in the order of arrival:
//     message 2 is handed over only once the runtime has put message 1 in line.
//     They then run side by side, and replies leave as they come, as on AWS.
//     Beyond Limits.InFlight messages the connection is not read.
//   - $disconnect runs exactly once per connection whose $connect succeeded, after
//     the connection left the registry and after its last message was handed over,
//     whatever ended it; a client that vanishes during $connect included. With a
//     journal it runs at least once, with the same requestId, across a crash.
//   - A deployment is swapped whole. An open connection sees the new one with its
//     next message; one whose stage or API is gone is closed with 1001, and its
//     $disconnect runs on the deployment that last had it.
//
// A route may act on a channel (model.Channel): join it, leave it, or publish the
// message to it. That happens in the message's turn and before its integration, if
// the route has one. Without an integration, a two-way route answers
// {"action":"join","channel":"news/a"}.
//
// A message that its route's model does not fit, that is over a limit or that its
// sender may not send calls nothing; the client gets an error frame, and the log why.
// Logs hold no credential a client sent, and no message unless the stage asks for data
// trace.
//
// Nothing here blocks a connection's reader or an event loop. A handshake that
// needs a function or the journal is decided on a goroutine of its own; a message
// whose answer needs no waiting (MOCK, channel, no route) is answered in place,
// without allocating; every other one is copied first, because the reader only
// lends it.
//
// An idle connection without a grant or a journal record takes one object of 144
// bytes.
//
// The package knows no sockets beyond the small interface link, no templates and
// no storage. Tests run it over fake links; suite_test.go runs it over real ones.
package gateway

import (
	"context"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/selection"
)

// Integrations runs integrations; *integration.Executor does.
type Integrations interface {
	Compile(in *model.Integration) *integration.Plan
	Call(ctx context.Context, r *integration.Request) (integration.Response, error)
}

// Journal remembers connections whose $disconnect has not run yet.
type Journal interface {
	// Begin stores a record under an id; it is on disk when Begin returns.
	Begin(rec []byte, id string) error
	// End forgets it.
	End(id string) error
	// Pending returns all records.
	Pending() ([][]byte, error)
}

// Config of a gateway. Registry and Integrations are required.
type Config struct {
	Registry     *registry.Registry
	Integrations Integrations
	// Journal makes $disconnect survive a crash; nil: it does not.
	Journal Journal
	// Guard decides who may connect. nil: APIs with access control refuse everybody.
	Guard Guard
	// Profile is "aws" (also ""), or "open"; Limits, when set, replaces it.
	Profile string
	Limits  *Limits
	// Channels makes what the channel routes of a stage run on, called once for each
	// stage: equal names on two stages are two channels. nil: such routes answer with
	// an error frame.
	Channels func(apiID, stage string) Channels
	// AccessLog gets one line for every event of a stage that has an access log, in the
	// stage's format. It must not block: lines come from event loops too. nil: no access
	// logs.
	AccessLog func(apiID, stage, line string)
	// PeerCertificates are those that a client showed on its TLS connection, its own
	// first; nil when it showed none. Without this function, domains that want client
	// certificates refuse everybody.
	PeerCertificates func(u *conn.Upgrade) []*x509.Certificate
	// Logs gets one line per event; it must not block. nil: no logs.
	Logs func(model.LogLine)
	// Quiet leaves out the lines that only follow what clients do: connections that
	// come, go and are refused, messages that ran or that no route took, frames a slow
	// client lost. Stats counts them all. What somebody must repair is still said.
	Quiet bool
}

// Validate says what is missing or unknown.
func (c *Config) Validate() error {
	switch {
	case c.Registry == nil || c.Integrations == nil:
		return fault.New(fault.Internal, "gateway: Config needs Registry and Integrations")
	case c.Limits == nil && c.Profile != "" && c.Profile != "aws" && c.Profile != "open":
		return fault.New(fault.BadRequest, "unknown limits profile %q: use aws or open", c.Profile)
	}
	return nil
}

// Gateway serves WebSocket APIs. It is safe for concurrent use.
type Gateway struct {
	// static after New
	cfg    Config
	limits Limits
	ctx    context.Context // ends when Drain gives up
	stop   context.CancelFunc
	// verbose: there are logs, and they are not quiet. Asked before a line's
	// arguments are made: they would cost more than an echo.
	verbose  bool
	requests *bound.Rate     // handshakes and messages; nil: no limit
	connects *bound.Rate     // handshakes; nil: no limit
	token    *selection.Expr // of messages that renew

	current   atomic.Pointer[deployment] // nil before the first Deploy
	stats     [stripes]counters
	scratches sync.Pool // of *scratch
	backlogs  sync.Pool // of *backlog

	deploying sync.Mutex // one Deploy at a time

	counting sync.Mutex
	tallies  map[tallyKey]*tally // guarded by counting

	// guarded by mu
	mu       sync.Mutex
	active   int           // handshakes and connections whose $disconnect has not returned
	draining bool          // no new handshakes
	idle     chan struct{} // closed when draining and active is 0
}

// New returns a gateway that refuses every handshake until Deploy.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	g := &Gateway{cfg: cfg, limits: profile(cfg.Profile), idle: make(chan struct{}), tallies: map[tallyKey]*tally{}, verbose: cfg.Logs != nil && !cfg.Quiet}
	if cfg.Limits != nil {
		g.limits = *cfg.Limits
	}
	if g.limits.InFlight <= 0 {
		g.limits.InFlight = defaultInFlight
	}
	g.requests = bound.NewRate(g.limits.Requests.Rate, g.limits.Requests.Burst)
	g.connects = bound.NewRate(g.limits.Connects.Rate, g.limits.Connects.Burst)
	var err error
	if g.token, err = selection.Compile("$request.body.token"); err != nil {
		return nil, err
	}
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g, nil
}

// Drain ends service: new handshakes get 503, open connections are closed with
// 1001 "Going away", and Drain returns when every $disconnect has run. Messages
// that still run then are cancelled, so that a hung function cannot hold up an
// exit. If ctx ends first, $disconnects are cancelled too; their journal records
// stay for Recover.
func (g *Gateway) Drain(ctx context.Context) error {
	g.mu.Lock()
	first := !g.draining
	g.draining = true
	if first && g.active == 0 {
		close(g.idle)
	}
	g.mu.Unlock()
	if d := g.current.Load(); d != nil {
		for _, s := range d.slots {
			s.shut()
		}
	}
	select {
	case <-g.idle:
		g.stop()
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	left := g.active // before they are cancelled
	g.mu.Unlock()
	g.stop()
	if left == 0 {
		return nil
	}
	return fault.New(fault.Timeout, "stopped with %d connections whose $disconnect had not finished", left)
}

// enter counts one handshake in; false while draining.
func (g *Gateway) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining {
		return false
	}
	g.active++
	return true
}

// leave counts a refused handshake or a finished connection out.
func (g *Gateway) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active--
	if g.draining && g.active == 0 {
		close(g.idle)
	}
}

func (g *Gateway) log(level, requestID, format string, args ...any) {
	if g.cfg.Logs != nil {
		g.cfg.Logs(model.LogLine{At: time.Now(), Level: level, Source: "gateway", RequestID: requestID, Text: oneLine(fmt.Sprintf(format, args...))})
	}
}

// oneLine escapes what would make a second line of a log line, or steer a terminal:
// paths, names and close reasons are whatever a client sends.
func oneLine(text string) string {
	if strings.IndexFunc(text, unicode.IsControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}
