package gateway

import (
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/event"
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

	extra atomic.Pointer[extra] // nil for most; what it points to is never changed, but for strikes

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
	identity     *event.Identity
	grant        *authz.Grant
	expiry       *time.Timer // closes the connection when its grant ends
	strikes      *strikes
}

// amend changes what extra says. It returns the new one.
func (s *session) amend(change func(*extra)) *extra {
	for {
		old, next := s.extra.Load(), &extra{}
		if old != nil {
			*next = *old
		}
		change(next)
		if s.extra.CompareAndSwap(old, next) {
			return next
		}
	}
}

// disconnectID is the requestId that the journal promised to $disconnect; "" without
// a promise.
func (s *session) disconnectID() string {
	if e := s.extra.Load(); e != nil {
		return e.disconnectID
	}
	return ""
}

// backlog is what a connection needs while it has work. All of it is guarded by
// the session's mu.
type backlog struct {
	queue       []job // arrived, not handed over
	inFlight    int   // queued or running
	dispatching bool  // a goroutine owns the front of queue
	paused      bool  // reads are, or are about to be, paused
	flowing     bool  // a goroutine is at pausing or resuming
	ordered     []job // handed over, and waiting for the one before on an ordered route
	ordering    bool  // a goroutine runs them
}

// job is one thing to do for a connection, in order of arrival.
type job struct {
	route  *route // nil: no route takes the message
	stage  *stage
	body   []byte
	binary bool
	// Drawn when somebody is shown them.
	requestID, messageID string
	at                   time.Time
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
	st := s.slot.current.Load()
	rt := st.api.disconnect
	if e := s.extra.Load(); e != nil && e.expiry != nil {
		e.expiry.Stop()
	}
	if idle && s.disconnectID() == "" && st.access == nil && (rt == nil || rt.model.Integration == nil) {
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
	if b != nil && b.inFlight == 0 && !b.dispatching && !b.paused && !b.flowing && !b.ordering {
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
	if s.inOrder(b, &j) {
		s.passFront(b)
		return
	}
	var passed atomic.Bool
	pass := func() {
		if !passed.Swap(true) {
			s.passFront(b)
		}
	}
	s.contained(&j, pass)
	pass()
	s.settle(b, &j, false)
}

// settle takes note that a job is done. After an ordered one it says whether more of
// them wait; b is not the caller's any longer if none do.
func (s *session) settle(b *backlog, j *job, ordered bool) (more bool) {
	s.mu.Lock()
	b.inFlight--
	if ordered && len(b.ordered) == 0 {
		b.ordering, b.ordered = false, nil
	}
	more = ordered && b.ordering
	s.relax()
	s.mu.Unlock()
	s.slot.g.stats[0].inFlight.Add(-1)
	if j.end {
		s.slot.g.leave()
	} else {
		s.flow()
	}
	return more
}

func (s *session) passFront(b *backlog) {
	s.mu.Lock()
	b.dispatching = len(b.queue) > 0
	more := b.dispatching
	s.relax() // an ordered job may have been settled by now
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
	if e := s.extra.Load(); e != nil {
		c.Authorizer, c.Identity = e.authorizer, e.identity
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
