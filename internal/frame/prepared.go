package frame

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Prepared is a message encoded once and shared by every connection it goes to.
// It is safe for concurrent use, and what it gives out never changes.
type Prepared struct {
	// Key names what the message is about, such as its channel: a queue with the
	// coalesce policy keeps only the latest message of each key.
	Key string

	plain []byte
	size  int // of the payload
	op    Opcode

	building sync.Mutex
	// A pointer is set once, when the first peer of its window size turns up.
	compressed [MaxWindowBits - MinWindowBits + 1]atomic.Pointer[[]byte]
}

// Prepare encodes a message from a server. It copies payload, which for Text
// must be UTF-8.
func Prepare(op Opcode, payload []byte, key string) *Prepared {
	p := &Prepared{Key: key, size: len(payload), op: op}
	p.plain = Append(make([]byte, 0, HeaderSize(len(payload))+len(payload)), op, payload)
	return p
}

// Plain is the whole frame without extensions. The caller must not change it.
func (p *Prepared) Plain() []byte { return p.plain }

// Payload is what the frame says. The caller must not change it.
func (p *Prepared) Payload() []byte { return p.plain[len(p.plain)-p.size:] }

// Size is the payload's length in bytes.
func (p *Prepared) Size() int { return p.size }

// Encoded is the whole frame in the dialect: compressed, or the plain one where
// that is not larger. Each dialect is encoded when it is first asked for, while
// others that ask for it wait, and then shared. The caller must not change it.
//
// To a peer whose window we keep, the frame must be added to that window if it
// was sent compressed: its first byte has [Rsv1] set (see [Window.Add]).
func (p *Prepared) Encoded(d Dialect) []byte {
	if d == Plain || p.size < MinCompressed || p.op.Control() {
		return p.plain
	}
	// Windows that hold the whole message give the same frame.
	d = min(max(d, MinWindowBits), MaxWindowBits, Dialect(max(bits.Len(uint(p.size-1)), MinWindowBits)))
	slot := &p.compressed[d-MinWindowBits]
	if f := slot.Load(); f != nil {
		return *f
	}
	return p.encode(slot, d)
}

func (p *Prepared) encode(slot *atomic.Pointer[[]byte], d Dialect) []byte {
	p.building.Lock()
	defer p.building.Unlock()
	if f := slot.Load(); f != nil {
		return *f
	}
	f := p.plain
	if b := AppendCompressed(nil, p.op, p.Payload(), d, nil); len(b) < len(f) {
		f = append(make([]byte, 0, len(b)), b...) // it is kept: without the room it grew into
	}
	slot.Store(&f)
	return f
}
