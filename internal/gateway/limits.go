package gateway

import "time"

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
}

const defaultInFlight = 64

// AWSLimits are API Gateway's quotas (Developer Guide, "Quotas for WebSocket
// APIs"): 32 KB frames, 128 KB messages, 10 minutes idle, 2 hours.
func AWSLimits() Limits {
	return Limits{Frame: 32 << 10, Message: 128 << 10, Idle: 10 * time.Minute, Lifetime: 2 * time.Hour}
}

// OpenLimits keep memory bounded and lift everything else.
func OpenLimits() Limits { return Limits{Message: 1 << 20} }

func profile(name string) Limits {
	if name == "open" {
		return OpenLimits()
	}
	return AWSLimits()
}
