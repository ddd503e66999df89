package gateway

import (
	"regexp"
	"strings"

	"github.com/livegate/livegate/internal/event"
)

// Data trace (DataTraceEnabled with a LoggingLevel, in the stage's settings): the
// messages and answers of a route go to the log, shortened to a log event's 1024 bytes
// (reference, §9). It is the only way a message gets into a log.
//
// What looks like a credential is left out even so. That is a safety net, not a
// promise: a password in a member called "x" cannot be told from other text.

const maxTrace = 1024

// secretName is what names of secrets have in them.
const secretName = `(?:token|passw|secret|authorization|api[-_]?key|credential|cookie|session|signature|private)`

// secrets are members, parameters and words whose value is one. A member may stand in
// JSON within JSON, its quotes escaped; of a list or an object all up to its first end is
// left out.
var secrets = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)("[^"]{0,64}` + secretName + `[^"]{0,64}"\s*:\s*)(?:\\+"(?:[^"]*\\{2,}")*[^"]*"?|"(?:[^"\\]|\\.)*"?|[\[{][^\]}]*[\]}]?|[^\s",{}\[\]]+)`), `${1}"****"`},
	{regexp.MustCompile(`(?i)([\w.-]*` + secretName + `[\w.-]*=)[^&\s"'\\,;}\]]+`), `${1}****`},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+`), `${1} ****`},
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_-]*`), `****`},
}

// redact makes a body fit for a log.
func redact(body []byte, binary bool) string {
	if binary {
		return "(binary)"
	}
	// Shortened before as well, because the patterns look at all of it.
	text := cut(string(body), 4*maxTrace)
	for _, s := range secrets {
		text = s.pattern.ReplaceAllString(text, s.instead)
	}
	if len(text) > maxTrace {
		text = cut(text, maxTrace) + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// trace logs a message and its answer.
func (s *session) trace(j *job, answer []byte) {
	g := s.slot.g
	g.log("info", j.id(), "trace: route %s of %s: message %s", j.key(), s.entry.ID(), redact(j.body, j.binary))
	if len(answer) > 0 {
		g.log("info", j.id(), "trace: route %s of %s: answer %s", j.key(), s.entry.ID(), redact(answer, false))
	}
}

// traceConnect logs a handshake: the names of its headers and parameters, and the
// values of headers that never hold a credential.
func (v *visit) traceConnect() {
	if v.stage.api.connect == nil || !v.stage.of(v.stage.api.connect).trace {
		return
	}
	var b strings.Builder
	for _, f := range v.h.headers.Fields() {
		value := "****"
		if harmless(f.Name) {
			value = cut(f.Value, 128)
		}
		b.WriteString(" " + cut(f.Name, 64) + "=" + strings.ReplaceAll(value, " ", "_"))
	}
	for _, q := range event.Query(v.h.query) {
		b.WriteString(" ?" + cut(redact([]byte(q.Name), false), 64) + "=****") // "?TOKEN" is a name, too
	}
	v.g.log("info", v.id(), "trace: $connect of %s:%s", v.session.entry.ID(), cut(strings.ToValidUTF8(b.String(), "\uFFFD"), maxTrace))
}

func harmless(header string) bool {
	switch strings.ToLower(header) {
	case "host", "connection", "upgrade", "user-agent", "sec-websocket-version", "sec-websocket-extensions", "accept", "accept-encoding", "accept-language":
		return true
	}
	return false
}
