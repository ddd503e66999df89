package gateway

import (
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

// Access logs (Developer Guide, "Configure logging for a WebSocket API"): one line for
// every handshake that reached a stage, every message and every $disconnect, in the
// format the stage gives, with the $context variables of event.Context.
//
// A variable without a value is "-". Values are escaped as in JSON, because formats put
// them between quotes and a User-Agent may hold some: a client must not be able to
// write a second line, or a second member of the object. They and the line are bounded.

const (
	maxLogValue = 1024
	maxLogLine  = 16 << 10
)

// accessLog is a compiled format: text, variable, text, …, text.
type accessLog struct{ parts []string }

const contextOpen = "$context."

func compileAccessLog(format string) *accessLog {
	a := &accessLog{}
	format = strings.TrimRight(strings.NewReplacer("\r", "", "\n", " ").Replace(format), " ") // a line is a line
	for {
		before, after, found := strings.Cut(format, contextOpen)
		a.parts = append(a.parts, before)
		if !found {
			return a
		}
		end := strings.IndexFunc(after, func(r rune) bool {
			return r != '.' && r != '_' && r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
		})
		if end < 0 {
			end = len(after)
		}
		name := strings.TrimRight(after[:end], ".-")
		a.parts = append(a.parts, name)
		format = after[len(name):]
	}
}

// line writes one line.
func (a *accessLog) line(c *event.Connection, call *event.Call, eventType string) string {
	out := make([]byte, 0, 512)
	for i, part := range a.parts {
		if len(out) > maxLogLine {
			break
		}
		if i%2 == 0 {
			out = append(out, part...)
			continue
		}
		v, ok := event.Context(c, call, eventType, part)
		switch {
		case !ok || v == "":
			out = append(out, '-')
		case part == "identity.apiKey":
			out = append(out, mask(v)...)
		case part == "error.messageString": // with its quotes, which must be two
			v, _ = event.Context(c, call, eventType, "error.message")
			out = event.AppendString(out, cut(v, maxLogValue))
		default:
			out = appendEscaped(out, cut(v, maxLogValue))
		}
	}
	return strings.ToValidUTF8(cut(string(out), maxLogLine), "\uFFFD")
}

// mask hides all of a secret but its end, by which its owner knows it.
func mask(secret string) string {
	if len(secret) < 12 {
		return "****"
	}
	return "****" + secret[len(secret)-4:]
}

// cut shortens a text at the end of a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}

// appendEscaped is a JSON string without its quotes.
func appendEscaped(dst []byte, s string) []byte {
	from := len(dst)
	dst = event.AppendString(dst, s)
	copy(dst[from:], dst[from+1:])
	return dst[:len(dst)-2]
}

// access writes the line of a message.
func (s *session) access(j *job, o event.Outcome) {
	if j.messageID == "" {
		j.messageID = id.NewRequest()
	}
	if j.at.IsZero() {
		j.at = time.Now()
	}
	call := event.Call{RequestID: j.id(), MessageID: j.messageID, At: j.at, Outcome: &o}
	if j.route != nil {
		call.RouteKey = j.route.model.Key
	}
	s.writeAccess(j.stage, &call, event.TypeMessage)
}

func (s *session) writeAccess(st *stage, call *event.Call, eventType string) {
	s.slot.g.cfg.AccessLog(s.slot.scope.APIID, s.slot.scope.Stage, st.access.line(s.connection(st), call, eventType))
}

// failureOf is what $context says of an integration that failed.
func failureOf(err error, text string) event.Outcome {
	o := event.Outcome{Status: http.StatusInternalServerError, Error: event.Failure{Message: text, ResponseType: "INTEGRATION_FAILURE"}}
	o.Integration.Error = reason(err)
	switch fault.KindOf(err) {
	case fault.Timeout:
		o.Status, o.Error.ResponseType = http.StatusGatewayTimeout, "INTEGRATION_TIMEOUT"
	case fault.Throttled:
		o.Status, o.Error.ResponseType = http.StatusTooManyRequests, "THROTTLED"
	case fault.BadRequest:
		o.Status, o.Error.ResponseType = http.StatusBadRequest, "BAD_REQUEST_BODY"
		if text == textUnsupported {
			o.Status, o.Error.ResponseType = http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"
		}
	case fault.Upstream, fault.TooLarge:
		o.Integration.Status = http.StatusBadGateway
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Type == "" {
			o.Integration.BackendStatus = http.StatusOK // it answered, and not what it should
		}
	default:
		o.Error.ResponseType = "API_CONFIGURATION_ERROR"
	}
	return o
}

// accessConnect writes the line of a handshake.
func (v *visit) accessConnect(status int) {
	if v.stage.access == nil {
		return
	}
	v.outcome.Status = status
	call := v.call()
	call.Outcome = &v.outcome
	v.session.writeAccess(v.stage, &call, event.TypeConnect)
}

// accessDisconnect writes the line of a $disconnect.
func (s *session) accessDisconnect(st *stage, requestID string, at time.Time, o event.Outcome) {
	if st.access == nil {
		return
	}
	s.writeAccess(st, &event.Call{RouteKey: model.RouteDisconnect, RequestID: requestID, At: at, Outcome: &o}, event.TypeDisconnect)
}
