package gateway

import (
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/model"
)

// Limits of the gateway and of one connection. Zero means no limit, except for
// InFlight and the send bounds, where it means the default.
type Limits struct {
	Frame    int           // bytes of one inbound frame; over it: close 1009
	Message  int           // bytes of one message, in or out; over it: close 1009
	Idle     time.Duration // close 1001
	Lifetime time.Duration // close 1001
	// Binary lets binary messages in; without it they close the connection with 1003.
	Binary bool
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
	// Requests bounds handshakes, messages and callbacks (see Gateway.Take) of all APIs
	// together, and Connects the handshakes alone. Over it: 429, or the frame "Too Many
	// Requests".
	Requests, Connects model.Throttle
	// Strikes is how many throttled messages within one second end their connection
	// with 1008. 0: none do.
	Strikes int
}

const defaultInFlight = 64

// Quotas that the warnings for payloads name.
const (
	awsFrame   = 32 << 10
	awsMessage = 128 << 10
)

// AWSLimits are API Gateway's quotas (Developer Guide, "Quotas for WebSocket
// APIs"): 32 KB frames, 128 KB messages, 10 minutes idle, 2 hours; 10 000 requests
// per second with a burst of 5 000, 500 new connections per second. AWS never pings,
// and a caller of @connections learns of a full queue. It closes with 1008 when one
// client sends too much; how much that is, it does not say: here, 100 messages over
// the limit in a second.
func AWSLimits() Limits {
	return Limits{
		Frame: awsFrame, Message: awsMessage, Idle: 10 * time.Minute, Lifetime: 2 * time.Hour,
		Deflate:  frame.DeflatePolicy{Enabled: true},
		Requests: model.Throttle{Rate: 10_000, Burst: 5_000}, Connects: model.Throttle{Rate: 500, Burst: 500}, Strikes: 100,
	}
}

// OpenLimits keep memory bounded and lift everything else. A client that does not
// read is told to come back (1013), and one that is gone without a word is found
// within 45 seconds. What a stage says about throttling still holds.
func OpenLimits() Limits {
	const message = 1 << 20
	return Limits{
		Message: message, SendBytes: message + frame.MaxHeader, // or the largest could come in and never go out
		Binary:   true,
		Overflow: bound.Close, OverflowCode: 1013,
		Heartbeat: 25 * time.Second, HeartbeatWait: 20 * time.Second,
		Deflate: frame.DeflatePolicy{Enabled: true},
		Strikes: 100,
	}
}

func profile(name string) Limits {
	if name == "open" {
		return OpenLimits()
	}
	return AWSLimits()
}
