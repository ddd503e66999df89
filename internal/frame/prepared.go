package frame

// Prepared is a message encoded once and shared by every connection it goes to.
// It is immutable, and safe for concurrent use.
type Prepared struct {
	// Key names what the message is about, such as its channel: a queue with the
	// coalesce policy keeps only the latest message of each key.
	Key string

	plain []byte
	size  int // of the payload
}

// Prepare encodes a message from a server. It copies payload, which for Text
// must be UTF-8.
func Prepare(op Opcode, payload []byte, key string) *Prepared {
	p := &Prepared{Key: key, size: len(payload)}
	p.plain = Append(make([]byte, 0, HeaderSize(len(payload))+len(payload)), op, payload)
	return p
}

// Plain is the whole frame without extensions. The caller must not change it.
func (p *Prepared) Plain() []byte { return p.plain }

// Size is the payload's length in bytes.
func (p *Prepared) Size() int { return p.size }
