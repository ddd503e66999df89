package conn

import (
	"slices"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

// HeadLimits bound what a client may send before it is anybody. Zero fields
// take the defaults.
type HeadLimits struct {
	Total   int // bytes of request line and headers; 16 KiB; over it: 431
	Headers int // header lines; 100; over it: 431
	URL     int // characters of the request target; 4096 (AWS's quota); over it: 414
	// Timeout is for TLS handshake and head together; 10 s; over it: dropped. On event
	// loops it begins with the first byte, or after about a second without any:
	// that long the kernel keeps silent clients to itself.
	Timeout time.Duration
	Early   int // bytes a client may send before the 101; 4 KiB; over it: 400
	// TLS handshakes under way at once; 1024; more wait for their turn. One takes a
	// goroutine and up to 100 kB until its client has answered. While others wait,
	// those whose client has not answered for a twentieth of Timeout are dropped, the
	// eldest first: hellos that nobody means to follow up keep no one else out.
	Handshakes int
}

// grace is how long a client on TLS may let others wait for it.
func (l HeadLimits) grace() time.Duration { return l.Timeout / 20 }

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
	or(&l.Handshakes, 1024)
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

	// The outbound queue, and what happens to a message that finds it full:
	//
	//	bound.Refuse      Send says ErrQueueFull, the connection stays
	//	bound.Close       as Refuse, and the connection closes with OverflowCode
	//	                  "Slow consumer"; what waits is dropped
	//	bound.DropOldest  the oldest messages that have not begun to leave make room
	//	bound.Coalesce    messages with the same frame.Prepared.Key that have not
	//	                  begun to leave make room; without any, as Refuse
	SendBytes    int // 1 MiB
	SendItems    int // 1024
	Overflow     bound.Policy
	OverflowCode int // 1013; 1008 says that trying again is no use

	// Heartbeat finds peers that are gone without a word; off while Every is 0.
	Heartbeat Heartbeat

	// CloseWait is how long a client may take to answer our close frame; 2 s.
	// Then the socket is closed under it.
	CloseWait time.Duration
	// WriteWait is how long a client may take nothing at all of what is being
	// written to it, and how long everything queued before a close frame may take to
	// leave; 30 s. Then it counts as lost (1006), after twice that at the latest. A
	// byte that it acknowledges is enough, where the system tells (Linux); elsewhere
	// one for which the socket's buffer had room. So a slow reader who does read is
	// left alone: what waits for him is bounded by SendBytes.
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
	if l.OverflowCode == 0 {
		l.OverflowCode = frame.CodeTryAgain
	}
	if l.Heartbeat.Wait <= 0 {
		l.Heartbeat.Wait = l.Heartbeat.Every
	}
	return l
}

// Heartbeat: a ping when nothing at all arrived for Every; when nothing arrives
// within Wait after that either, the client is lost (1006). So a half-open
// connection is found within Every + Wait. A connection whose reading is paused,
// or whose output is stuck (see Limits.WriteWait), is not asked.
type Heartbeat struct {
	Every time.Duration
	Wait  time.Duration // Every, when 0
}

// interned are the Limits in use: there are as many as there are kinds of
// clients, so connections share them.
type interned struct {
	mu    sync.Mutex
	known []*Limits // guarded by mu
}

// share returns l where others may have it already. Beyond maxInterned different
// ones, the oldest are forgotten; whoever has one keeps it.
func (i *interned) share(l Limits) *Limits {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.known {
		if *k == l {
			return k
		}
	}
	if len(i.known) == maxInterned {
		i.known = slices.Delete(i.known, 0, 1)
	}
	kept := new(Limits) // not &l: that would allocate on every call
	*kept = l
	i.known = append(i.known, kept)
	return kept
}

const maxInterned = 64

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

	// One connection's frames, or HTTP requests, have slice of a loop's turn, all
	// connections together, and each of them share at once; but fewFrames, a power
	// of two, whatever the time: in so few steps the clock is not looked at. What
	// was read and not handled waits behind, and nothing more is read meanwhile.
	slice     = time.Millisecond
	share     = slice / 4
	fewFrames = 16

	// lingerBytes are read and dropped after a connection ended, so that closing
	// the socket does not reset it before the client saw our last words.
	lingerBytes = 1 << 20
)
