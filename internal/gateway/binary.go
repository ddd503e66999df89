package gateway

import (
	"unicode/utf8"

	"github.com/livegate/livegate/internal/frame"
)

// Binary messages. AWS has none: it closes with 1003 (Developer Guide, "Working with
// binary media types for WebSocket APIs"), and so do we unless Limits.Binary is set.
// With it, a binary message takes part like any other: it is routed by its bytes, which
// for anything but JSON means $default; a function gets it in base64 with
// isBase64Encoded, an HTTP back end as it is, and a channel passes it on as binary.
// An answer whose integration calls it binary leaves as binary.

// sendBinary queues a binary message. Where binary messages are off, the bytes leave as
// text if that is what they are, and not at all otherwise: a frame of bytes that are no
// text would end the connection in every client (RFC 6455 §8.1).
func (s *session) sendBinary(data []byte) bool {
	g := s.slot.g
	if g.limits.Binary {
		return s.sent(s.link().SendPrepared(frame.Prepare(frame.Binary, data, "")))
	}
	if utf8.Valid(data) {
		return s.send(data)
	}
	s.stats().dropped.Add(1)
	g.log("warn", "", "an answer for %s was dropped: it is binary, and no text; binary messages need the open profile", s.entry.ID())
	return false
}

// opcode is that of a message that is passed on as it came.
func (j *job) opcode() frame.Opcode {
	if j.binary {
		return frame.Binary
	}
	return frame.Text
}
