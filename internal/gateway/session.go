package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
)

// session is one connection, from its handshake to the end of its $disconnect.
type session struct {
	// static after the handshake
	g            *Gateway
	id           id.Conn
	conn         event.Connection
	slot         *slot
	link         link   // set before reading starts
	disconnectID string // requestId of $disconnect, when journalled; else ""

	// guarded by slot.mu
	prev, next    *session
	listed, ended bool

	over atomic.Bool // the close was taken note of

	// guarded by mu
	mu          sync.Mutex
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

// onMessage takes one message. It is called by the connection's reader, in order,
// and does not block.
func (s *session) onMessage(body []byte) {
	g := s.g
	g.stats.messages.Add(1)
	st := s.slot.current.Load()
	j := job{route: g.choose(st.api, body), stage: st, body: body}
	if j.route.instant() {
		s.mu.Lock()
		busy := s.dispatching
		s.mu.Unlock()
		// Only this goroutine adds messages, so nothing can slip in between.
		if !busy {
			s.message(&j, nil)
			return
		}
	}
	s.push(j)
}

// onClose takes note that the connection is over. $disconnect runs after whatever
// arrived before.
func (s *session) onClose(code int, reason string) {
	s.g.stats.open.Add(-1)
	s.g.stats.disconnects.Add(1)
	s.finish(code, reason)
}

func (s *session) finish(code int, reason string) {
	if s.over.Swap(true) {
		return
	}
	s.g.cfg.Registry.Remove(s.id)
	s.slot.drop(s)
	s.push(job{end: true, code: code, reason: reason})
}

// push queues a job and makes sure that somebody dispatches.
func (s *session) push(j job) {
	s.g.stats.inFlight.Add(1)
	s.mu.Lock()
	s.queue = append(s.queue, j)
	s.inFlight++
	start := !s.dispatching
	s.dispatching = true
	s.mu.Unlock()
	if start {
		go s.dispatch()
	}
	if !j.end {
		s.flow()
	}
}

// dispatch runs the job at the front and passes the front on as soon as its
// invocation has its place in line. Starting a goroutine per message instead
// would let the scheduler decide which of two reaches the runtime first: a chat
// would show "world" before "hello" now and then.
func (s *session) dispatch() {
	s.mu.Lock()
	j := s.queue[0]
	s.queue[0] = job{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil // an idle connection keeps no buffer
	}
	s.mu.Unlock()
	var passed atomic.Bool
	pass := func() {
		if !passed.Swap(true) {
			s.passFront()
		}
	}
	if j.end {
		s.disconnect(&j)
	} else {
		s.message(&j, pass)
	}
	pass()
	s.mu.Lock()
	s.inFlight--
	s.mu.Unlock()
	s.g.stats.inFlight.Add(-1)
	if j.end {
		s.g.leave()
	} else {
		s.flow()
	}
}

func (s *session) passFront() {
	s.mu.Lock()
	s.dispatching = len(s.queue) > 0
	more := s.dispatching
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
		want := s.inFlight >= s.g.limits.InFlight
		if s.flowing || want == s.paused {
			s.mu.Unlock()
			return
		}
		s.paused, s.flowing = want, true
		s.mu.Unlock()
		if want {
			s.link.Pause()
		} else {
			s.link.Resume()
		}
		s.mu.Lock()
		s.flowing = false
		s.mu.Unlock()
	}
}

// request is the part of an integration call that every event type has.
func (s *session) request(st *stage, rt *route, eventType, requestID string, at time.Time) *integration.Request {
	if ms := s.conn.ConnectedAt; at.UnixMilli() < ms {
		at = time.UnixMilli(ms) // requestTimeEpoch is never before connectedAt
	}
	return &integration.Request{
		Plan: rt.plan, Type: eventType, Conn: &s.conn, TwoWay: rt.model.TwoWay,
		StageVariables: st.model.Variables,
		Call:           event.Call{RouteKey: rt.model.Key, RequestID: requestID, At: at, StageVariables: st.variables},
	}
}

// message runs one message and answers it.
func (s *session) message(j *job, queued func()) {
	g := s.g
	if j.route != nil && j.route.unbuilt == "" && g.cfg.Logs == nil {
		// A static MOCK shows no id to anybody: drawing two would be a third of an
		// echo's cost.
		if resp, ok := j.route.plan.Fixed(); ok && (g.limits.Message == 0 || len(resp.Body) <= g.limits.Message) {
			s.reply(j.route, resp.Body, "")
			return
		}
	}
	requestID := id.NewRequest()
	if j.route == nil {
		g.stats.forbidden.Add(1)
		g.log("warn", requestID, "no route takes this message of %s, and there is no $default: Forbidden", s.conn.ID)
		s.send(errorFrame(textForbidden, s.conn.ID, requestID), requestID)
		return
	}
	if j.route.unbuilt != "" {
		s.fail(j.route, fault.New(fault.Unsupported, "%s", j.route.unbuilt), requestID)
		return
	}
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
	if g.cfg.Logs != nil {
		g.log("info", requestID, "route %s of %s took %v", j.route.model.Key, s.conn.ID, time.Since(started).Round(10*time.Microsecond))
	}
	s.reply(j.route, resp.Body, requestID)
}

// fail answers a message whose integration failed, on one-way routes too.
func (s *session) fail(rt *route, err error, requestID string) {
	s.g.stats.errors.Add(1)
	s.g.log("error", requestID, "route %s failed: %s", rt.model.Key, reason(err))
	s.send(errorFrame(frameText(err), s.conn.ID, requestID), requestID)
}

// reply sends the answer of a two-way route, if there is one.
func (s *session) reply(rt *route, body []byte, requestID string) {
	if rt.model.TwoWay && len(body) > 0 && s.send(body, requestID) {
		s.g.stats.replies.Add(1)
	}
}

// send queues a frame; one that is lost to a full queue is counted and said. A
// client that is gone does not miss it.
func (s *session) send(text []byte, requestID string) bool {
	err := s.link.Send(text)
	if err == nil {
		s.link.Touch()
		return true
	}
	s.g.stats.dropped.Add(1)
	if fault.Is(err, fault.Throttled) {
		s.g.log("warn", requestID, "a frame for %s was dropped: its receive buffer is full", s.conn.ID)
	}
	return false
}
