package conn

import "time"

// HeadLimits bound what a client may send before it is anybody. Zero fields
// take the defaults.
type HeadLimits struct {
	Total   int           // bytes of request line and headers; 16 KiB; over it: 431
	Headers int           // header lines; 100; over it: 431
	URL     int           // characters of the request target; 4096 (AWS's quota); over it: 414
	Timeout time.Duration // for TLS handshake and head together; 10 s; over it: dropped
	Early   int           // bytes a client may send before the 101; 4 KiB; over it: 400
}

func (l HeadLimits) withDefaults() HeadLimits {
	or := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	or(&l.Total, 16<<10)
	or(&l.Headers, 100)
	or(&l.URL, 4096)
	or(&l.Early, 4<<10)
	if l.Timeout <= 0 {
		l.Timeout = 10 * time.Second
	}
	return l
}

// Limits bound one open connection.
type Limits struct {
	Frame   int // payload bytes of a data frame, 0 = no limit; over it: close 1009
	Message int // bytes of a message, 0 = no limit; over it: close 1009

	Idle     time.Duration // without inbound data, ping or Touch; 0 = off; then: close 1001
	Lifetime time.Duration // since the 101; 0 = off; then: close 1001

	Text bool // a binary frame closes with 1003

	// The outbound queue. At either bound Send says ErrQueueFull.
	SendBytes int // 1 MiB
	SendItems int // 1024

	// CloseWait is how long a client may take to answer our close frame; 2 s.
	// Then the socket is closed under it.
	CloseWait time.Duration
	// WriteWait is how long 64 KiB may take to leave, and everything queued before
	// a close frame; 30 s. Then the client counts as lost (1006).
	WriteWait time.Duration
}

func (l Limits) withDefaults() Limits {
	if l.SendBytes <= 0 {
		l.SendBytes = 1 << 20
	}
	if l.SendItems <= 0 {
		l.SendItems = 1024
	}
	if l.CloseWait <= 0 {
		l.CloseWait = 2 * time.Second
	}
	if l.WriteWait <= 0 {
		l.WriteWait = 30 * time.Second
	}
	return l
}

// Fixed bounds.
const (
	// A message may come in this many fragments before their size matters; beyond,
	// they must average minFragment bytes. A million one-byte frames cost a
	// million parses for one message (CVE class "tiny fragments"); Autobahn's 9.3.1,
	// 4 MiB in 64-byte frames, is legitimate.
	freeFragments = 1024
	minFragment   = 32

	// Control frames: a burst, and a steady rate. RFC 6455 sets none; a client
	// that pings every second uses 1 % of it.
	controlBurst  = 1000
	controlPerSec = 100

	// maxPongs wait to be written; further pings are answered by replacing the
	// last one (RFC 6455 §5.5.3 allows answering the latest only).
	maxPongs = 16

	// lingerBytes are read and dropped after a connection ended, so that closing
	// the socket does not reset it before the client saw our last words.
	lingerBytes = 1 << 20
)

// rate is a token bucket on the server's monotonic axis.
type rate struct {
	tokens float64
	at     time.Duration
}

func (r *rate) allow(now time.Duration, perSec, burst float64) bool {
	if r.at == 0 && r.tokens == 0 {
		r.tokens = burst
	} else {
		r.tokens = min(burst, r.tokens+(now-r.at).Seconds()*perSec)
	}
	r.at = now
	if r.tokens < 1 {
		return false
	}
	r.tokens--
	return true
}
