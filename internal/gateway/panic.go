package gateway

import "runtime/debug"

// A panic on a goroutine of ours is the end of the connection it happened for, as one in
// place is (package conn): one client's message must not close everybody's connection.

const (
	panicked       = 1011
	panickedReason = "Internal error"
)

// contained runs one job, its panic included. queued is as in message.
func (s *session) contained(j *job, queued func()) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		g := s.slot.g
		g.stats[0].errors.Add(1)
		what := "route " + j.key()
		if j.end {
			what = "$disconnect"
		}
		g.log("error", j.id(), "%s of %s panicked: %v: %s", what, s.entry.ID(), v, debug.Stack())
		if !j.end {
			s.link().Close(panicked, panickedReason)
		}
	}()
	if j.end {
		s.disconnect(j)
	} else {
		s.message(j, queued)
	}
}
