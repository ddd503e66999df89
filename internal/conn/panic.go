package conn

import (
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/livegate/livegate/internal/frame"
)

// A panic in what the owner of a Server gave it (a Handler, Config.Upgrade,
// Config.Hot, a Task) is the end of what it happened in, not of the process: one
// client's message must not close everybody's connection. net/http does the same.

// contain recovers from a panic of OnMessage: the connection closes with 1011,
// and ok becomes false. To be deferred, once for all that was read.
func (c *Conn) contain(ok *bool) {
	if v := recover(); v != nil {
		c.stats().panicked(c.srv(), "OnMessage", v)
		c.fail(frame.CodeInternal, reasonInternal)
		*ok = false
	}
}

// reasonInternal is what a client reads of a panic.
const reasonInternal = "Internal error"

// contained recovers from a panic of anything else, and then calls end unless it
// is nil. To be deferred.
func (c *counters) contained(s *Server, where string, end func()) {
	if v := recover(); v != nil {
		c.panicked(s, where, v)
		if end != nil {
			end()
		}
	}
}

func (c *counters) panicked(s *Server, where string, v any) {
	c.panics.Add(1)
	if s.cfg.ErrorLog != nil {
		s.cfg.ErrorLog.Error("panic in "+where, slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	}
}

// decideSafely asks f for the answer to an upgrade.
func (u *Upgrade) decideSafely(f func()) {
	defer u.c.stats().contained(u.c.srv(), "Config.Upgrade", func() {
		u.unanswered()
		u.c.Close(frame.CodeInternal, reasonInternal) // if it was accepted
	})
	f()
}

// runTask runs one slice of a task. One that panicked is done.
func (h *home) runTask(t Task, spent func() bool) (done bool) {
	defer h.stats.contained(h.srv, "a Task", func() { done = true })
	return t(spent)
}

// errPanicked answers a request in which Config.Hot panicked.
var errPanicked = refuse(http.StatusInternalServerError, "Internal server error")
