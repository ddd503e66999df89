package gateway

import (
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

// Limits of a connection. Zero means no limit, except for InFlight and the send
// bounds, where it means the default.
type Limits struct {
	Frame    int           // bytes of one inbound frame; over it: close 1009
	Message  int           // bytes of one message, in or out; over it: close 1009
	Idle     time.Duration // close 1001
	Lifetime time.Duration // close 1001
	// InFlight is how many messages of one connection may wait or run before its
	// reads pause; 64.
	InFlight int
	// SendBytes and SendItems bound the outbound queue: 1 MiB, 1024 messages.
	SendBytes, SendItems int
	// Overflow is what happens to a message that finds the outbound queue full;
	// OverflowCode is the close code of bound.Close, 1013.
	Overflow     bound.Policy
	OverflowCode int
	// Heartbeat is the silence after which the server pings; a client that is not
	// heard of within HeartbeatWait then counts as lost (1006). 0: no pings.
	Heartbeat, HeartbeatWait time.Duration
	// Deflate is what is agreed to when a client offers permessage-deflate; the
	// zero value declines. Without context takeover an idle connection keeps no
	// state for it.
	Deflate frame.DeflatePolicy
}

const defaultInFlight = 64

// AWSLimits are API Gateway's quotas (Developer Guide, "Quotas for WebSocket
// APIs"): 32 KB frames, 128 KB messages, 10 minutes idle, 2 hours. AWS never pings,
// and a caller of @connections learns of a full queue.
func AWSLimits() Limits {
	return Limits{
		Frame: 32 << 10, Message: 128 << 10, Idle: 10 * time.Minute, Lifetime: 2 * time.Hour,
		Deflate: frame.DeflatePolicy{Enabled: true},
	}
}

// OpenLimits keep memory bounded and lift everything else. A client that does not
// read is told to come back (1013), and one that is gone without a word is found
// within 45 seconds.
func OpenLimits() Limits {
	const message = 1 << 20
	return Limits{
		Message: message, SendBytes: message + frame.MaxHeader, // or the largest could come in and never go out
		Overflow: bound.Close, OverflowCode: 1013,
		Heartbeat: 25 * time.Second, HeartbeatWait: 20 * time.Second,
		Deflate: frame.DeflatePolicy{Enabled: true},
	}
}

func profile(name string) Limits {
	if name == "open" {
		return OpenLimits()
	}
	return AWSLimits()
}
