package e2e

import "testing"

// Whatever a handler does to itself, its caller gets what AWS gives and the next
// message works.
func TestMisbehavingHandlers(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url("tag=faults"), dialing{})
	for _, c := range []struct{ kind, frame, log string }{
		{kind: "throw", log: "thrown on purpose"},
		{kind: "hang", log: `(?i)timed? ?out`},
		{kind: "exit", log: "(?i)exit"},
		{kind: "garbage"},
		{kind: "circular"},
		{kind: "bigint"},
		{kind: "huge"},
		{kind: "stack", log: "RangeError"},
		{kind: "flood", frame: "flooded", log: "flood 39999"},
		{kind: "raw", frame: "raw written", log: "forged"},
	} {
		t.Run(c.kind, func(t *testing.T) {
			s := s.in(t)
			p := p.in(t)
			s.call("fault", c.kind)
			if c.frame != "" {
				s.expect(c.frame)
			} else {
				s.expectError("Internal server error")
			}
			s.call("echo", "after "+c.kind)
			s.expect("after " + c.kind)
			if c.log != "" {
				p.says(c.log)
			}
		})
	}
	t.Run("unhandled rejection", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		// Node ends the process at some moment after the answer: this message may be
		// answered either way, the next ones may not be lost.
		s.call("fault", "reject")
		s.next()
		p.says("rejected on purpose")
		for range 3 {
			s.call("echo", "after")
			s.expect("after")
		}
	})
	t.Run("the log names the function", func(t *testing.T) { p.in(t).says("probe-message") })
}
