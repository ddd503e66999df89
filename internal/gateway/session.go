package gateway

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/registry"
)

// session is one connection, from its handshake to the end of its $disconnect.
// There may be very many, nearly all of them idle: what an idle one does not need
// is elsewhere.
type session struct {
	entry registry.Entry // id, address, user agent, times, link

	// static after the handshake
	slot   *slot
	domain unique.Handle[string] // the host name that its events show
	extra  *extra                // nil for most

	over   atomic.Bool // the close was taken note of
	joined atomic.Bool // it was in a channel

	// guarded by mu
	mu   sync.Mutex
	busy *backlog // nil while nothing waits, runs or is paused
}

// extra is what only some connections have.
type extra struct {
	disconnectID string // requestId of $disconnect, when journalled; else ""
	authorizer   []byte // the authorizer's context, JSON
}

// backlog is what a connection needs while it has work. All of it is guarded by
// the session's mu.
type backlog struct {
	queue       []job // arrived, not handed over
	inFlight    int   // queued or running
	dispatching bool  // a goroutine owns the front of queue
	paused      bool  // reads are, or are about to be, paused
	flowing     bool  // a goroutine is at pausing or resuming
}

// job is one thing to do for a connection, in order of arrival.
type job struct {
	route *route // nil: no route takes the message
	stage *stage
	body  []byte
	// The end: code and reason of $disconnect.
	end    bool
	code   int
	reason string
}

// link is the open client. Not before open has returned.
func (s *session) link() link {
	l, _ := s.entry.Link().(link)
	return l
}

// stats are the counters of the connection's event loop. Not before open has
// returned: what may come earlier counts in the first stripe.
func (s *session) stats() *counters { return &s.slot.g.stats[s.link().Shard()&(stripes-1)] }

// onMessage takes one message, which is only lent. It is called by the
// connection's reader, in order, and does not block.
func (s *session) onMessage(body []byte) {
	n := s.stats()
	n.messages.Add(1)
	st := s.slot.current.Load()
	j := job{route: s.slot.g.choose(st.api, body), stage: st, body: body}
	if j.route.instant() {
		s.mu.Lock()
		free := s.busy == nil || !s.busy.dispatching
		s.mu.Unlock()
		// Only this goroutine adds messages, so nothing can slip in between.
		if free {
			n.instant.Add(1)
			s.message(&j, nil)
			return
		}
	}
	n.queued.Add(1)
	j.body = bytes.Clone(body)
	s.push(j)
}

// onClose takes note that the connection is over. $disconnect runs after whatever
// arrived before.
func (s *session) onClose(code int, reason string) {
	n := &s.slot.g.stats[0] // open may still be at work, on another goroutine
	n.open.Add(-1)
	n.disconnects.Add(1)
	s.finish(code, reason)
}

func (s *session) finish(code int, reason string) {
	if s.over.Swap(true) {
		return
	}
	g := s.slot.g
	g.cfg.Registry.Remove(&s.entry)
	if s.joined.Load() {
		s.slot.channels.UnsubscribeAll(s)
	}
	j := job{end: true, code: code, reason: reason}
	s.mu.Lock()
	idle := s.busy == nil
	s.mu.Unlock()
	rt := s.slot.current.Load().api.disconnect
	if idle && s.extra == nil && (rt == nil || rt.model.Integration == nil) {
		s.farewell(&j, "") // nothing to run: no goroutine for that
		g.leave()
		return
	}
	s.push(j)
}

// push queues a job and makes sure that somebody dispatches.
func (s *session) push(j job) {
	g := s.slot.g
	g.stats[0].inFlight.Add(1)
	s.mu.Lock()
	b := s.busy
	if b == nil {
		if b, _ = g.backlogs.Get().(*backlog); b == nil {
			b = &backlog{}
		}
		s.busy = b
	}
	b.queue = append(b.queue, j)
	b.inFlight++
	start := !b.dispatching
	b.dispatching = true
	s.mu.Unlock()
	if start {
		go s.dispatch()
	}
	if !j.end {
		s.flow()
	}
}

// relax gives the backlog back when there is nothing left for it to know. Needs mu.
func (s *session) relax() {
	b := s.busy
	if b != nil && b.inFlight == 0 && !b.dispatching && !b.paused && !b.flowing {
		s.busy = nil
		s.slot.g.backlogs.Put(b)
	}
}

// dispatch runs the job at the front and passes the front on as soon as its
// invocation has its place in line. Starting a goroutine per message instead
// would let the scheduler decide which of two reaches the runtime first: a chat
// would show "world" before "hello" now and then.
func (s *session) dispatch() {
	s.mu.Lock()
	b := s.busy // stays as long as this job is in flight
	j := b.queue[0]
	b.queue[0] = job{}
	if b.queue = b.queue[1:]; len(b.queue) == 0 {
		b.queue = nil // an idle connection keeps no buffer
	}
	s.mu.Unlock()
	var passed atomic.Bool
	pass := func() {
		if !passed.Swap(true) {
			s.passFront(b)
		}
	}
	if j.end {
		s.disconnect(&j)
	} else {
		s.message(&j, pass)
	}
	pass()
	s.mu.Lock()
	b.inFlight--
	s.relax()
	s.mu.Unlock()
	s.slot.g.stats[0].inFlight.Add(-1)
	if j.end {
		s.slot.g.leave()
	} else {
		s.flow()
	}
}

func (s *session) passFront(b *backlog) {
	s.mu.Lock()
	b.dispatching = len(b.queue) > 0
	more := b.dispatching
	s.mu.Unlock()
	if more {
		go s.dispatch()
	}
}

// flow pauses or resumes reading. One goroutine at a time calls the link, without
// a lock, and looks again afterwards: a Resume that overtook its Pause would leave
// a connection deaf for good.
func (s *session) flow() {
	for {
		s.mu.Lock()
		b := s.busy
		if b == nil {
			s.mu.Unlock()
			return
		}
		want := b.inFlight >= s.slot.g.limits.InFlight
		if b.flowing || want == b.paused {
			s.relax()
			s.mu.Unlock()
			return
		}
		b.paused, b.flowing = want, true
		s.mu.Unlock()
		if want {
			s.link().Pause()
		} else {
			s.link().Resume()
		}
		s.mu.Lock()
		b.flowing = false
		s.mu.Unlock()
	}
}

// connection is what events say of it.
func (s *session) connection(st *stage) *event.Connection {
	c := &event.Connection{}
	s.describe(st, c)
	return c
}

func (s *session) describe(st *stage, c *event.Connection) {
	*c = event.Connection{
		ID: s.entry.ID().String(), APIID: s.slot.scope.APIID, Stage: s.slot.scope.Stage, DomainName: s.domain.Value(),
		SourceIP: s.entry.SourceIP().String(), UserAgent: s.entry.UserAgent(), ConnectedAt: s.entry.ConnectedAt(),
	}
	if s.extra != nil {
		c.Authorizer = s.extra.authorizer
	}
}

// request is the part of an integration call that every event type has.
func (s *session) request(st *stage, rt *route, eventType, requestID string, at time.Time) *integration.Request {
	call := &struct {
		request integration.Request
		conn    event.Connection
	}{}
	s.describe(st, &call.conn)
	if ms := call.conn.ConnectedAt; at.UnixMilli() < ms {
		at = time.UnixMilli(ms) // requestTimeEpoch is never before connectedAt
	}
	call.request = integration.Request{
		Plan: rt.plan, Type: eventType, Conn: &call.conn, TwoWay: rt.model.TwoWay,
		StageVariables: st.model.Variables,
		Call:           event.Call{RouteKey: rt.model.Key, RequestID: requestID, At: at, StageVariables: st.variables},
	}
	return &call.request
}

// message runs one message and answers it.
func (s *session) message(j *job, queued func()) {
	g := s.slot.g
	switch {
	case j.route == nil:
		s.forbid()
		return
	case j.route.unbuilt != "":
		s.fail(j.route, fault.New(fault.Unsupported, "%s", j.route.unbuilt), id.NewRequest())
		return
	case j.route.channel != nil && !s.channelMessage(j):
		return
	}
	if resp, ok := j.route.plan.Fixed(); ok && (g.limits.Message == 0 || len(resp.Body) <= g.limits.Message) {
		// A static MOCK shows no id to anybody: drawing two would be a third of an
		// echo's cost.
		s.reply(j.route, resp.Body)
		if g.verbose {
			g.log("info", id.NewRequest(), "route %s of %s answered", j.route.model.Key, s.entry.ID())
		}
		return
	}
	s.integrate(j, queued)
}

// integrate calls a message's integration and answers with what it says.
func (s *session) integrate(j *job, queued func()) {
	g := s.slot.g
	requestID := id.NewRequest()
	started := time.Now()
	req := s.request(j.stage, j.route, event.TypeMessage, requestID, started)
	req.Call.MessageID = id.NewRequest()
	req.Body, req.Queued = j.body, queued
	resp, err := g.cfg.Integrations.Call(g.ctx, req)
	if limit := g.limits.Message; err == nil && limit > 0 && len(resp.Body) > limit && j.route.model.TwoWay {
		err = fault.New(fault.Upstream, "the reply has %d bytes; a message may have %d", len(resp.Body), limit)
	}
	if err != nil {
		s.fail(j.route, err, requestID)
		return
	}
	if g.verbose {
		g.log("info", requestID, "route %s of %s took %v", j.route.model.Key, req.Conn.ID, time.Since(started).Round(10*time.Microsecond))
	}
	s.reply(j.route, resp.Body)
	if queued != nil && j.route.model.TwoWay {
		s.link().Touch() // it was not in place: time has passed since the message counted
	}
}

// forbid answers a message that no route takes.
func (s *session) forbid() {
	g, requestID, name := s.slot.g, id.NewRequest(), s.entry.ID().String()
	s.stats().forbidden.Add(1)
	if g.verbose {
		g.log("warn", requestID, "no route takes this message of %s, and there is no $default: Forbidden", name)
	}
	s.send(errorFrame(textForbidden, name, requestID))
}

// fail answers a message whose integration failed, on one-way routes too.
func (s *session) fail(rt *route, err error, requestID string) {
	s.refuse(rt, err, requestID, "error", frameText(err))
}

// refuse sends an error frame. Errors of level "error" are logged in any case.
func (s *session) refuse(rt *route, err error, requestID, level, text string) {
	g := s.slot.g
	s.stats().errors.Add(1)
	if g.verbose || level == "error" {
		g.log(level, requestID, "route %s failed: %s", rt.model.Key, reason(err))
	}
	s.send(errorFrame(text, s.entry.ID().String(), requestID))
}

// reply sends the answer of a two-way route, if there is one.
func (s *session) reply(rt *route, body []byte) {
	if rt.model.TwoWay && len(body) > 0 && s.send(body) {
		s.stats().replies.Add(1)
	}
}

// send queues a frame; one that is lost to a full queue is counted and said. A
// client that is gone does not miss it.
func (s *session) send(text []byte) bool {
	err := s.link().Send(text)
	if err == nil {
		return true
	}
	s.stats().dropped.Add(1)
	if g := s.slot.g; g.verbose && fault.Is(err, fault.Throttled) {
		g.log("warn", "", "a frame for %s was dropped: its receive buffer is full", s.entry.ID())
	}
	return false
}
