package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/registry"
)

// disconnect runs $disconnect for a connection that ended.
func (s *session) disconnect(j *job) {
	g := s.slot.g
	st := s.slot.current.Load()
	requestID := s.disconnectID()
	if requestID == "" {
		requestID = id.NewRequest()
	}
	s.farewell(j, requestID)
	if g.runDisconnect(g.ctx, s, st, requestID, j) {
		g.endJournal(s)
	}
}

// farewell logs the end of a connection.
func (s *session) farewell(j *job, requestID string) {
	g := s.slot.g
	switch {
	case !g.verbose:
	case j.code == tooBig && strings.HasSuffix(j.reason, "too large"):
		g.log("warn", requestID, "disconnect %s with %d %s: a frame may have %d bytes, a message %d, as on AWS; --profile open lifts it", s.entry.ID(), j.code, j.reason, g.limits.Frame, g.limits.Message)
	default:
		g.log("info", requestID, "disconnect %s with %d %s", s.entry.ID(), j.code, j.reason)
	}
}

// runDisconnect reports whether the matter is settled: false only when our own end
// cut it short, so that the journal keeps it for the next start. A function that
// fails has had its run, as on AWS.
func (g *Gateway) runDisconnect(ctx context.Context, s *session, st *stage, requestID string, j *job) bool {
	rt, started := st.api.disconnect, time.Now()
	if rt == nil || rt.model.Integration == nil {
		s.accessDisconnect(st, requestID, started, event.Outcome{Status: http.StatusOK})
		return true
	}
	req := s.request(st, rt, event.TypeDisconnect, requestID, started)
	req.Code, req.Reason = j.code, j.reason
	resp, err := g.cfg.Integrations.Call(ctx, req)
	st.called(rt, 0, time.Since(started))
	if err != nil {
		g.stats[0].errors.Add(1)
		st.count(rt, 0, failed(err))
		s.accessDisconnect(st, requestID, started, failureOf(err, frameText(err)))
		g.log("error", requestID, "$disconnect of %s failed: %s", req.Conn.ID, reason(err))
		return ctx.Err() == nil
	}
	s.accessDisconnect(st, requestID, started, outcomeOf(rt, &resp, started))
	return true
}

// record is a journalled connection: what its $disconnect event needs.
type record struct {
	Version     int             `json:"v"`
	ID          string          `json:"id"`
	APIID       string          `json:"api"`
	Stage       string          `json:"stage"`
	DomainName  string          `json:"host"`
	SourceIP    string          `json:"ip"`
	UserAgent   string          `json:"ua,omitempty"`
	ConnectedAt int64           `json:"at"`
	RequestID   string          `json:"req"`
	Authorizer  json.RawMessage `json:"auth,omitempty"`
	Identity    *event.Identity `json:"who,omitempty"` // without the value of an API key
}

const recordVersion = 1

// beginJournal promises a connection its $disconnect before its $connect runs: a
// crash between the two must not leave a row in somebody's table for ever.
func (g *Gateway) beginJournal(s *session, st *stage) error {
	rt := st.api.disconnect
	if g.cfg.Journal == nil || rt == nil || rt.model.Integration == nil {
		return nil
	}
	c := s.connection(st)
	promised := id.NewRequest()
	s.amend(func(e *extra) { e.disconnectID = promised })
	var who *event.Identity
	if c.Identity != nil {
		copied := *c.Identity
		copied.APIKey = "" // a secret, which is not for the disk
		who = &copied
	}
	rec, err := json.Marshal(record{
		Version: recordVersion, ID: c.ID, APIID: c.APIID, Stage: c.Stage, DomainName: c.DomainName,
		SourceIP: c.SourceIP, UserAgent: c.UserAgent, ConnectedAt: c.ConnectedAt,
		RequestID: promised, Authorizer: c.Authorizer, Identity: who,
	})
	if err != nil {
		return err
	}
	return g.cfg.Journal.Begin(rec, c.ID)
}

func (g *Gateway) endJournal(s *session) {
	if s.disconnectID() == "" {
		return
	}
	if err := g.cfg.Journal.End(s.entry.ID().String()); err != nil {
		g.log("error", s.disconnectID(), "the journal keeps %s, whose $disconnect will run again at the next start: %v", s.entry.ID(), err)
	}
}

// recovering is how many left-over $disconnects run at a time.
const recovering = 8

// Recover runs the $disconnect of connections that an earlier process left in the
// journal, with code 1006 and the requestId reserved then. Call it after Deploy;
// connections of this process are left alone. It returns when all have run.
func (g *Gateway) Recover(ctx context.Context) (err error) {
	defer fault.Wrap(&err, "gateway.Recover")
	if g.cfg.Journal == nil {
		return nil
	}
	recs, err := g.cfg.Journal.Pending()
	if err != nil {
		return err
	}
	d := g.current.Load()
	if d == nil {
		return fault.New(fault.Internal, "nothing is deployed")
	}
	slots := make(chan struct{}, recovering)
	var wait sync.WaitGroup
	for _, raw := range recs {
		if ctx.Err() != nil {
			break // the journal keeps the rest
		}
		s, requestID, err := g.restore(d, raw)
		if err != nil {
			g.log("warn", requestID, "a journalled connection is dropped: %v", err)
		}
		if s == nil {
			continue
		}
		slots <- struct{}{}
		wait.Add(1)
		go func() {
			defer func() { <-slots; wait.Done() }()
			g.log("info", requestID, "disconnect %s with 1006: left behind by an earlier run", s.entry.ID())
			if g.runDisconnect(ctx, s, s.slot.current.Load(), requestID, &job{code: lost}) {
				g.endJournal(s)
			}
		}()
	}
	wait.Wait()
	return ctx.Err()
}

// restore rebuilds a session from its record; nil without an error when it belongs
// to this process. A record whose stage is gone is erased; one of another version
// is kept, for whoever can read it.
func (g *Gateway) restore(d *deployment, raw []byte) (*session, string, error) {
	var rec record
	if err := json.Unmarshal(raw, &rec); err != nil {
		return nil, "", fmt.Errorf("its record cannot be read: %w", err)
	}
	if rec.Version != recordVersion {
		return nil, "", fmt.Errorf("its record is of version %d; this livegate reads version %d", rec.Version, recordVersion)
	}
	c, err := id.ParseConn(rec.ID)
	if err != nil {
		return nil, rec.RequestID, err
	}
	if c.Node() == g.cfg.Registry.Node() {
		return nil, "", nil
	}
	s := &session{slot: d.slots[slotKey{rec.APIID, rec.Stage}], domain: unique.Make(rec.DomainName)}
	s.extra.Store(&extra{disconnectID: rec.RequestID, authorizer: rec.Authorizer, identity: rec.Identity})
	gone := s.slot == nil
	if gone {
		s.slot = &slot{g: g, scope: registry.Scope{APIID: rec.APIID, Stage: rec.Stage}}
	}
	ip, _ := netip.ParseAddr(rec.SourceIP) // ours; of another build's spelling the event shows "::"
	s.entry.Init(c, registry.Info{Scope: &s.slot.scope, SourceIP: ip, UserAgent: rec.UserAgent, ConnectedAt: time.UnixMilli(rec.ConnectedAt)})
	if gone {
		g.endJournal(s)
		return nil, rec.RequestID, fmt.Errorf("%s was on stage %s of API %s, which is gone", rec.ID, rec.Stage, rec.APIID)
	}
	return s, rec.RequestID, nil
}
