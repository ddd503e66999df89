package gateway

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
)

// link is an open client as the gateway uses it; *conn.Conn is one.
type link interface {
	registry.Link
	reads
	receives
}

type reads interface {
	Pause()  // stop reading
	Resume() // read again
}

type receives interface {
	SendPrepared(p *frame.Prepared) error // queue a shared frame; never blocks
	Shard() int                           // the event loop it lives on
}

// upgrade is a handshake waiting for its answer, exactly one of the first two.
type upgrade interface {
	// Accept answers 101. Reading is paused until Resume, so that nothing arrives
	// before the connection is in the registry. An error means that the client is
	// gone, and that onClose will not be called.
	Accept(s *session, subprotocol string) (link, error)
	Refuse(r refusal)
	// Detach runs f where it may block.
	Detach(f func())
}

// headers are those of a handshake.
type headers interface {
	Get(name string) string // the first value, by case-insensitive name
	Fields() []event.Field
}

// handshake is what the client asked for.
type handshake struct {
	host, path, query string // path is decoded
	target            string // path and query as sent
	secure            bool
	certificates      []*x509.Certificate // the client's own first; read only if somebody may ask
	headers           headers
	remote            netip.Addr
	at                time.Time
	protocols         []string
}

// visit is a handshake on the stage it is for.
type visit struct {
	g       *Gateway
	h       *handshake
	u       upgrade
	session *session
	stage   *stage

	requestID string // drawn when somebody is shown it
	event     *event.Handshake
	outcome   event.Outcome // for the access log
	granted   string        // subprotocol that carried a token; "": none
}

// serve decides a handshake. The order of checks is §1.5 of the reference.
func (g *Gateway) serve(h *handshake, u upgrade) {
	if !g.enter() {
		g.refuse(u, refuse(http.StatusServiceUnavailable, "Service Unavailable"), "", "shutting down")
		return
	}
	s, st := g.admit(h, u)
	switch {
	case s == nil:
		g.leave()
	case st.waits(g.cfg.Journal != nil):
		kept := *h // h is the caller's again when serve returns
		u.Detach(func() { g.decide(&visit{g: g, h: &kept, u: u, session: s, stage: st}) })
	case st.plain(g):
		g.cfg.Registry.Begin(&s.entry)
		g.open(s, u, "", "")
	default:
		g.decide(&visit{g: g, h: h, u: u, session: s, stage: st})
	}
}

// plain reports whether there is nothing to decide, nor anything to log: that visit
// needs no memory.
func (st *stage) plain(g *Gateway) bool {
	return !st.guarded && st.api.connect == nil && st.access == nil && !g.verbose
}

// admit makes the checks that need nobody; nil means that the client was refused.
func (g *Gateway) admit(h *handshake, u upgrade) (*session, *stage) {
	d := g.current.Load()
	if d == nil {
		g.refuse(u, refuse(http.StatusServiceUnavailable, "Service Unavailable"), "", "nothing is deployed yet")
		return nil, nil
	}
	addr, slot, why := d.locate(h)
	if why != "" {
		g.refuse(u, refuse(http.StatusForbidden, textForbidden), "", why)
		return nil, nil
	}
	st := slot.current.Load()
	s := g.newSession(addr, slot, st, h)
	// Any lane will do: handshakes are rare, next to messages.
	if lane := int(h.at.UnixNano()); !g.connects.Take(lane) || !g.take(st, st.api.connect, lane) {
		g.stats[0].throttled.Add(1)
		v := &visit{g: g, h: h, u: u, session: s, stage: st}
		v.refuse(v.no(http.StatusTooManyRequests, textThrottled, "too many handshakes"))
		return nil, nil
	}
	return s, st
}

// decide asks whoever has a say in a handshake, and answers it.
func (g *Gateway) decide(v *visit) {
	v.traceConnect()
	protocol, no := g.judgeSafely(v)
	if no != nil {
		v.refuse(no)
		g.leave()
		return
	}
	if protocol == "" {
		protocol = v.granted // a browser drops a connection whose offer got no answer
	}
	v.accessConnect(http.StatusOK)
	requestID := ""
	if g.verbose {
		requestID = v.id()
	}
	g.open(v.session, v.u, protocol, requestID)
}

// judgeSafely is judge, which leaves nothing behind if somebody in it panics. The panic
// goes on to the connection's owner, who answers 500.
func (g *Gateway) judgeSafely(v *visit) (protocol string, no *refusal) {
	done := false
	defer func() {
		if !done {
			g.cfg.Registry.Remove(&v.session.entry)
			g.leave()
		}
	}()
	protocol, no = g.judge(v)
	done = true
	return protocol, no
}

// judge runs the checks that may need somebody, in order; the refusal is nil when the
// client may come in.
func (g *Gateway) judge(v *visit) (protocol string, no *refusal) {
	if no = g.authorize(v); no != nil {
		return "", no
	}
	if rt := v.stage.api.connect; rt != nil {
		if missing := missingParameters(rt.model, v.h); len(missing) > 0 {
			text := "Missing required request parameters: [" + strings.Join(missing, ", ") + "]"
			return "", v.no(http.StatusBadRequest, text, text)
		}
	}
	if err := g.beginJournal(v.session, v.stage); err != nil {
		return "", v.no(http.StatusInternalServerError, textInternal, "the journal cannot promise $disconnect: "+err.Error())
	}
	g.cfg.Registry.Begin(&v.session.entry)
	if protocol, no = g.connect(v); no != nil {
		g.cfg.Registry.Remove(&v.session.entry)
		g.endJournal(v.session)
	}
	return protocol, no
}

// id is the handshake's requestId.
func (v *visit) id() string {
	if v.requestID == "" {
		v.requestID = id.NewRequest()
	}
	return v.requestID
}

// call is what events of the handshake share.
func (v *visit) call() event.Call {
	return event.Call{RouteKey: model.RouteConnect, RequestID: v.id(), At: v.h.at, StageVariables: v.stage.variables}
}

// handshakeEvent is what the client asked, for functions.
func (v *visit) handshakeEvent() *event.Handshake {
	if v.event == nil {
		v.event = &event.Handshake{Headers: v.h.headers.Fields(), Query: v.h.query, TraceID: id.NewTrace(v.h.at.Unix())}
	}
	return v.event
}

// no is a refusal, with its reason for the log.
func (v *visit) no(status int, text, why string) *refusal {
	r := refuse(status, text)
	r.why = why
	if v.outcome.Error.Message == "" {
		v.outcome.Error = event.Failure{Message: text, ResponseType: responseTypes[status]}
	}
	return &r
}

// refuse answers a handshake and counts it.
func (v *visit) refuse(no *refusal) {
	g := v.g
	rt := v.stage.api.connect
	switch {
	case no.integration: // counted where it was called
	case no.status >= http.StatusInternalServerError:
		g.stats[0].errors.Add(1)
		v.stage.count(rt, 0, func(t *laneTally) { t.executionErrors.Add(1) })
	default:
		v.stage.count(rt, 0, func(t *laneTally) { t.clientErrors.Add(1) })
	}
	v.accessConnect(no.status) // before the client can know
	requestID := ""
	if g.verbose || no.status == http.StatusInternalServerError {
		requestID = v.id()
	}
	g.refuse(v.u, *no, requestID, no.why)
}

func (g *Gateway) refuse(u upgrade, r refusal, requestID, why string) {
	g.stats[0].refused.Add(1)
	u.Refuse(r)
	switch {
	case why == "":
	case r.integration && g.verbose: // what the application wants is no trouble
		g.log("info", requestID, "connect refused with %d: %s", r.status, why)
	case !r.integration && (g.verbose || r.status == http.StatusInternalServerError):
		g.log("warn", requestID, "connect refused with %d: %s", r.status, why)
	}
}

// newSession draws the connection id, before $connect, because its event names it.
func (g *Gateway) newSession(addr model.Address, sl *slot, st *stage, h *handshake) *session {
	s := &session{slot: sl, domain: st.domain}
	if addr.Custom != nil {
		s.domain = unique.Make(model.HostName(h.host))
	}
	s.entry.Init(id.NewConn(g.cfg.Registry.Node()), registry.Info{
		Scope: &sl.scope, SourceIP: h.remote, UserAgent: h.headers.Get("User-Agent"), ConnectedAt: h.at,
	})
	return s
}

// missingParameters lists the required request parameters a handshake lacks.
func missingParameters(rt *model.Route, h *handshake) (missing []string) {
	for key, required := range rt.RequestParameters {
		if !required {
			continue
		}
		found := true
		if name, ok := strings.CutPrefix(key, "route.request.querystring."); ok {
			found = slices.ContainsFunc(event.Query(h.query), func(v event.Values) bool { return v.Name == name })
		} else if name, ok := strings.CutPrefix(key, "route.request.header."); ok {
			found = slices.ContainsFunc(h.headers.Fields(), func(f event.Field) bool { return strings.EqualFold(f.Name, name) })
		}
		if !found {
			missing = append(missing, key[strings.LastIndexByte(key, '.')+1:])
		}
	}
	slices.Sort(missing)
	return missing
}

// connect runs $connect; the refusal is nil when the client may come in.
func (g *Gateway) connect(v *visit) (protocol string, no *refusal) {
	s, st, rt := v.session, v.stage, v.stage.api.connect
	if rt == nil || rt.model.Integration == nil {
		return "", nil
	}
	st.count(rt, 0, func(t *laneTally) { t.connects.Add(1) })
	if resp, ok := rt.plan.Fixed(); ok && resp.Status/100 == 2 {
		v.outcome.Integration = outcomeOf(rt, &resp, time.Time{}).Integration
		return g.protocol(v.h, resp, v), nil
	}
	started := time.Now()
	req := s.request(st, rt, event.TypeConnect, v.id(), started)
	req.Handshake = v.handshakeEvent()
	resp, err := g.cfg.Integrations.Call(g.ctx, req)
	st.called(rt, 0, time.Since(started))
	if err != nil {
		r := refuseError(err, req.Conn.ID, v.id())
		r.integration = true
		g.stats[0].errors.Add(1)
		st.count(rt, 0, failed(err))
		o := failureOf(err, textInternal)
		v.outcome.Integration, v.outcome.Error = o.Integration, o.Error
		g.log("error", v.id(), "$connect of %s failed, refused with %d: %s", req.Conn.ID, r.status, reason(err))
		return "", &r
	}
	v.outcome.Integration = outcomeOf(rt, &resp, started).Integration
	if resp.Status < 200 || resp.Status > 299 {
		r := refuseStatus(resp.Status)
		r.integration, r.why = true, "the answer of $connect"
		if resp.Status >= http.StatusBadRequest {
			st.count(rt, 0, func(t *laneTally) { t.integrationErrors.Add(1) })
		}
		return "", &r
	}
	return g.protocol(v.h, resp, v), nil
}

// protocol is the subprotocol for the 101: what $connect answered, if the client
// offered it. One that was not offered would make every client fail the
// connection (RFC 6455 §4.1), so it is left out, and said; not which it was, because
// tokens travel there.
func (g *Gateway) protocol(h *handshake, resp integration.Response, v *visit) string {
	offered := slices.Contains(h.protocols, resp.Protocol)
	switch {
	case resp.Protocol == "" || offered && isToken(resp.Protocol):
		return resp.Protocol
	case offered:
		g.log("warn", v.id(), "$connect answered a Sec-WebSocket-Protocol that the client offered but is no token (RFC 6455 §4.1); none is sent")
	case len(h.protocols) > 0:
		g.log("warn", v.id(), "$connect answered a Sec-WebSocket-Protocol that is not one of those offered; none is sent")
	}
	return ""
}

// isToken is RFC 9110 §5.6.2.
func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && !strings.ContainsRune(marks, rune(c)) {
			return false
		}
	}
	return s != ""
}

// open answers 101 and lets the connection live.
func (g *Gateway) open(s *session, u upgrade, protocol, requestID string) {
	l, err := u.Accept(s, protocol)
	if err != nil {
		g.stats[0].vanished.Add(1)
		if g.verbose {
			g.log("info", requestID, "client of %s vanished during $connect", s.entry.ID())
		}
		s.finish(lost, "")
		return
	}
	n := &g.stats[l.Shard()&(stripes-1)]
	n.connects.Add(1)
	n.open.Add(1)
	if g.verbose {
		g.log("info", requestID, "connect %s from %s to stage %s", s.entry.ID(), s.entry.SourceIP(), s.slot.scope.Stage)
	}
	g.cfg.Registry.Open(&s.entry, l)
	s.watchExpiry()
	if s.slot.removed.Load() {
		l.Close(goingAway, goingAwayReason) // its stage went away, or we are leaving
	}
	l.Resume()
}

// reason is an error in clear, for the log.
func reason(err error) string {
	if fault.KindOf(err) == fault.Internal {
		return err.Error()
	}
	return fault.Message(err)
}
