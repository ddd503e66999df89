package gateway

import (
	"bytes"
	"net/http"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"
)

// id is the message's requestId.
func (j *job) id() string {
	if j.requestID == "" {
		j.requestID = id.NewRequest()
	}
	return j.requestID
}

// key is the route key that logs show.
func (j *job) key() string {
	if j.route == nil {
		return "(none)"
	}
	return j.route.model.Key
}

// onMessage takes one message, which is only lent. It is called by the
// connection's reader, in order, and does not block.
func (s *session) onMessage(body []byte, binary bool) {
	g := s.slot.g
	lane := s.link().Shard()
	n := &g.stats[lane&(stripes-1)]
	n.messages.Add(1)
	st := s.slot.current.Load()
	j := job{route: g.choose(st.api, body), stage: st, body: body, binary: binary}
	st.tally.lanes[lane&(stripes-1)].messages.Add(1)
	if own := st.of(j.route).tally; own != nil {
		own.lanes[lane&(stripes-1)].messages.Add(1)
	}
	if g.verbose {
		s.warnOfSize(&j)
	}
	if !g.take(st, j.route, lane) {
		s.throttled(&j)
		return
	}
	if j.route.instant() {
		s.mu.Lock()
		free := s.busy == nil || !s.busy.dispatching && !(s.busy.ordering && j.route.isOrdered())
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

// warnOfSize says when a message would not get through on AWS, although the limits
// here let it.
func (s *session) warnOfSize(j *job) {
	g := s.slot.g
	switch n := len(j.body); {
	case j.binary:
		g.log("warn", j.id(), "%s sent a binary message; AWS closes the connection with 1003", s.entry.ID())
	case n > awsMessage:
		g.log("warn", j.id(), "%s sent a message of %d bytes; AWS closes the connection with 1009 above %d", s.entry.ID(), n, awsMessage)
	case n > awsFrame && (g.limits.Frame == 0 || g.limits.Frame > awsFrame):
		g.log("warn", j.id(), "%s sent a message of %d bytes; AWS closes the connection with 1009 if a frame has more than %d", s.entry.ID(), n, awsFrame)
	}
}

// message runs one message and answers it.
func (s *session) message(j *job, queued func()) {
	g := s.slot.g
	switch {
	case j.route == nil:
		s.forbid(j, "no route takes this message, and there is no $default")
		return
	case j.route.unbuilt != "":
		s.fail(j, fault.New(fault.Unsupported, "%s", j.route.unbuilt))
		return
	case j.stage.guard.guarded && !s.mayUse(j):
		return
	case j.route.models != nil && !s.valid(j):
		return
	case j.route.model.Reauthorize && !s.renew(j):
		return
	case j.route.channel != nil && !s.channelMessage(j):
		return
	}
	if resp, ok := j.route.plan.Fixed(); ok && (g.limits.Message == 0 || len(resp.Body) <= g.limits.Message) {
		// A static MOCK shows no id to anybody: drawing two would be a third of an
		// echo's cost.
		s.reply(j, &resp)
		if g.verbose {
			g.log("info", j.id(), "route %s of %s answered", j.key(), s.entry.ID())
		}
		s.follow(j, &resp)
		return
	}
	s.integrate(j, queued)
}

// follow logs what a stage wants to know about an integration's answer.
func (s *session) follow(j *job, resp *integration.Response) {
	if j.stage.of(j.route).trace {
		s.trace(j, resp.Body)
	}
	if j.stage.access != nil {
		s.access(j, outcomeOf(j.route, resp, time.Time{}))
	}
}

// outcomeOf is what $context says of an answer; started is zero for one in place.
func outcomeOf(rt *route, resp *integration.Response, started time.Time) event.Outcome {
	o := event.Outcome{Status: http.StatusOK}
	if rt.model.Integration == nil {
		return o
	}
	p := &o.Integration
	p.Status, p.BackendStatus = resp.Status, resp.Status
	if p.Status == 0 {
		p.Status = http.StatusOK
	}
	if rt.model.Integration.Type == model.AWSProxy || p.BackendStatus == 0 {
		p.BackendStatus = http.StatusOK // the service's own answer, not the function's
	}
	if !started.IsZero() {
		p.Latency = time.Since(started).Milliseconds()
	}
	return o
}

// integrate calls a message's integration and answers with what it says.
func (s *session) integrate(j *job, queued func()) {
	g := s.slot.g
	lane := s.link().Shard()
	started := time.Now()
	req := s.request(j.stage, j.route, event.TypeMessage, j.id(), started)
	req.Call.MessageID = id.NewRequest()
	j.messageID, j.at = req.Call.MessageID, req.Call.At
	req.Body, req.Binary, req.Queued = j.body, j.binary, queued
	resp, err := g.cfg.Integrations.Call(g.ctx, req)
	j.stage.called(j.route, lane, time.Since(started))
	if limit := g.limits.Message; err == nil && limit > 0 && len(resp.Body) > limit && j.route.model.TwoWay {
		err = fault.New(fault.Upstream, "the reply has %d bytes; a message may have %d", len(resp.Body), limit)
	}
	if err != nil {
		s.fail(j, err)
		return
	}
	if resp.Status >= http.StatusBadRequest {
		s.tally(j, func(t *laneTally) { t.integrationErrors.Add(1) })
	}
	if g.verbose {
		g.log("info", j.id(), "route %s of %s took %v", j.key(), req.Conn.ID, time.Since(started).Round(10*time.Microsecond))
		if n := len(resp.Body); n > awsMessage && j.route.model.TwoWay {
			g.log("warn", j.id(), "route %s answered %s with %d bytes; on AWS a message has at most %d", j.key(), req.Conn.ID, n, awsMessage)
		}
	}
	s.reply(j, &resp)
	if j.stage.of(j.route).trace {
		s.trace(j, resp.Body)
	}
	if j.stage.access != nil {
		s.access(j, outcomeOf(j.route, &resp, started))
	}
	if queued != nil && j.route.model.TwoWay {
		s.link().Touch() // it was not in place: time has passed since the message counted
	}
}

// forbid answers a message that no route takes, or that its sender may not send.
func (s *session) forbid(j *job, why string) {
	g, name := s.slot.g, s.entry.ID().String()
	s.stats().forbidden.Add(1)
	s.tally(j, func(t *laneTally) { t.clientErrors.Add(1) })
	if g.verbose {
		g.log("warn", j.id(), "%s: %s got Forbidden", why, name)
	}
	s.send(errorFrame(textForbidden, name, j.id()))
	if j.stage.access != nil {
		s.access(j, event.Outcome{Status: http.StatusForbidden, Error: event.Failure{Message: textForbidden, ResponseType: "ACCESS_DENIED"}})
	}
}

// fail answers a message whose integration failed, on one-way routes too.
func (s *session) fail(j *job, err error) { s.refuse(j, err, "error", frameText(err)) }

// refuse sends an error frame. Errors of level "error" are logged in any case.
func (s *session) refuse(j *job, err error, level, text string) {
	g := s.slot.g
	s.stats().errors.Add(1)
	s.tally(j, failed(err))
	if g.verbose || level == "error" {
		g.log(level, j.id(), "route %s failed: %s", j.key(), reason(err))
	}
	s.send(errorFrame(text, s.entry.ID().String(), j.id()))
	if j.stage.of(j.route).trace {
		s.trace(j, nil)
	}
	if j.stage.access != nil {
		s.access(j, failureOf(err, text))
	}
}

// reply sends the answer of a two-way route, if there is one.
func (s *session) reply(j *job, resp *integration.Response) {
	if !j.route.model.TwoWay || len(resp.Body) == 0 {
		return
	}
	var ok bool
	if resp.Binary {
		ok = s.sendBinary(resp.Body)
	} else {
		ok = s.send(resp.Body)
	}
	if ok {
		s.stats().replies.Add(1)
	}
}

// send queues a frame; one that is lost to a full queue is counted and said. A
// client that is gone does not miss it.
func (s *session) send(text []byte) bool { return s.sent(s.link().Send(text)) }

func (s *session) sent(err error) bool {
	l := s.link()
	if err == nil {
		s.slot.current.Load().tally.lanes[l.Shard()&(stripes-1)].messages.Add(1)
		return true
	}
	s.stats().dropped.Add(1)
	if g := s.slot.g; g.verbose && fault.Is(err, fault.Throttled) {
		g.log("warn", "", "a frame for %s was dropped: its receive buffer is full", s.entry.ID())
	}
	return false
}
