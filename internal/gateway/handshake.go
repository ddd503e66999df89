package gateway

import (
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
	headers           headers
	remote            netip.Addr
	at                time.Time
	protocols         []string
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
		u.Detach(func() { g.decide(s, st, &kept, u) })
	default:
		g.decide(s, st, h, u)
	}
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
	if rt := st.api.connect; rt != nil {
		if why := denied(rt.model); why != "" {
			g.stats[0].errors.Add(1)
			g.refuse(u, refuse(http.StatusInternalServerError, textInternal), id.NewRequest(), "API "+st.api.model.LogicalID+", $connect: "+why)
			return nil, nil
		}
		if missing := missingParameters(rt.model, h); len(missing) > 0 {
			text := "Missing required request parameters: [" + strings.Join(missing, ", ") + "]"
			g.refuse(u, refuse(http.StatusBadRequest, text), id.NewRequest(), text)
			return nil, nil
		}
	}
	return g.newSession(addr, slot, st, h), st
}

// decide runs what a handshake waits for, if anything, and answers it.
func (g *Gateway) decide(s *session, st *stage, h *handshake, u upgrade) {
	requestID := ""
	if st.api.connect != nil || g.verbose {
		requestID = id.NewRequest()
	}
	if err := g.beginJournal(s, st); err != nil {
		g.stats[0].errors.Add(1)
		g.refuse(u, refuse(http.StatusInternalServerError, textInternal), requestID, "the journal cannot promise $disconnect: "+err.Error())
		g.leave()
		return
	}
	g.cfg.Registry.Begin(&s.entry)
	protocol, no := g.connect(s, st, h, requestID)
	if no != nil {
		g.cfg.Registry.Remove(&s.entry)
		g.endJournal(s)
		g.stats[0].refused.Add(1) // before the client can know
		u.Refuse(*no)
		g.leave()
		return
	}
	g.open(s, u, protocol, requestID)
}

func (g *Gateway) refuse(u upgrade, r refusal, requestID, why string) {
	g.stats[0].refused.Add(1)
	u.Refuse(r)
	if g.verbose || r.status == http.StatusInternalServerError {
		g.log("warn", requestID, "connect refused with %d: %s", r.status, why)
	}
}

// locate finds the stage a client wants. Everything it may not have looks the
// same to it: 403 Forbidden.
func (d *deployment) locate(h *handshake) (model.Address, *slot, string) {
	addr, ok := d.app.Locate(h.host, h.path)
	switch {
	case !ok && addr.API != nil:
		return addr, nil, "API " + addr.API.LogicalID + " has no stage for path " + h.path
	case !ok:
		return addr, nil, "no API and stage at " + h.host + h.path
	case addr.Rest != "":
		return addr, nil, "nothing may follow the stage in a WebSocket URL: " + h.path
	case !addr.Stage.Deployed:
		return addr, nil, "stage " + addr.Stage.Name + " has no deployment: set AutoDeploy, DeploymentId or the deployment's StageName"
	case addr.API.DisableExecuteAPIEndpoint && addr.Custom == nil && strings.Contains(strings.ToLower(h.host), ".execute-api."):
		return addr, nil, "API " + addr.API.LogicalID + " has DisableExecuteApiEndpoint: use its custom domain"
	}
	return addr, d.slots[slotKey{addr.API.ID, addr.Stage.Name}], ""
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
func (g *Gateway) connect(s *session, st *stage, h *handshake, requestID string) (protocol string, no *refusal) {
	rt := st.api.connect
	if rt == nil || rt.model.Integration == nil {
		return "", nil
	}
	if resp, ok := rt.plan.Fixed(); ok && resp.Status/100 == 2 {
		return g.protocol(h, resp, requestID), nil
	}
	started := time.Now()
	req := s.request(st, rt, event.TypeConnect, requestID, started)
	req.Handshake = &event.Handshake{Headers: h.headers.Fields(), Query: h.query, TraceID: id.NewTrace(started.Unix())}
	resp, err := g.cfg.Integrations.Call(g.ctx, req)
	if err != nil {
		r := refuseError(err, req.Conn.ID, requestID)
		g.stats[0].errors.Add(1)
		g.log("error", requestID, "$connect of %s failed, refused with %d: %s", req.Conn.ID, r.status, reason(err))
		return "", &r
	}
	if resp.Status < 200 || resp.Status > 299 {
		r := refuseStatus(resp.Status)
		if g.verbose {
			g.log("info", requestID, "connect refused with %d: the answer of $connect", r.status)
		}
		return "", &r
	}
	return g.protocol(h, resp, requestID), nil
}

// protocol is the subprotocol for the 101: what $connect answered, if the client
// offered it. One that was not offered would make every client fail the
// connection (RFC 6455 §4.1), so it is left out, and said.
func (g *Gateway) protocol(h *handshake, resp integration.Response, requestID string) string {
	offered := slices.Contains(h.protocols, resp.Protocol)
	switch {
	case resp.Protocol == "" || offered && isToken(resp.Protocol):
		return resp.Protocol
	case offered:
		g.log("warn", requestID, "$connect answered Sec-WebSocket-Protocol %q, which the client offered but is no token (RFC 6455 §4.1); none is sent", resp.Protocol)
	case len(h.protocols) > 0:
		g.log("warn", requestID, "$connect answered Sec-WebSocket-Protocol %q, which is not one of those offered; none is sent", resp.Protocol)
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
