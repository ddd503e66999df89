// Package frame is the byte layout of RFC 6455: frame headers, masking, text
// validation across fragments, and close payloads; and the compression of RFC
// 7692, permessage-deflate. It holds no sockets and no timers; both connection
// engines, the load generator and the test kit stand on it.
//
// Framing is pure functions and values without pointers. Compression is
//
//   - [DeflatePolicy.Negotiate]: the handshake, giving [Deflate], the agreement
//   - [Inflater]: one message in, piece by piece as it arrives, within limits
//   - [AppendCompressed] and [Prepared]: one message out, for one peer or for many
//   - [Window]: what a connection keeps between messages if, and only if, context
//     takeover was agreed. Everything else is borrowed from pools, so that a
//     connection that offers compression costs no more memory than another.
//
// Nothing blocks. Nothing allocates in the steady state, except where a dst slice
// has to grow. A rule that a peer broke comes back as a [Violation], which knows
// its close code.
package frame

import (
	"encoding/binary"
	"math/bits"
)

// Opcode says what a frame carries (RFC 6455 §5.2).
type Opcode byte

const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// Control reports whether op is a control opcode, reserved ones included.
func (op Opcode) Control() bool { return op&0x8 != 0 }

// Sizes of RFC 6455 §5.2 and §5.5.
const (
	MaxHeader  = 14  // 2 + 8 bytes of length + 4 of mask
	MaxControl = 125 // payload of a control frame
)

// First byte: FIN, three reserved bits, opcode.
const (
	fin  = 0x80
	rsv  = 0x70
	Rsv1 = 0x40 // permessage-deflate's bit (RFC 7692 §6)
)

// Side is who sent a frame. Clients mask, servers never do (§5.1).
type Side bool

const (
	FromClient Side = true
	FromServer Side = false
)

// Header is a decoded frame header.
type Header struct {
	Length int64  // payload bytes, 0 … 2^63-1
	Key    uint32 // masking key as the four bytes read little-endian; 0 when not masked
	Opcode Opcode
	Fin    bool
	Rsv    byte // the reserved bits in place: 0x40, 0x20, 0x10
	Masked bool
}

// Parse reads the header at the start of b and returns its size. n = 0 with a
// nil error means that b ends before the header does. Rules that the first two
// bytes decide are enforced as soon as those are there, so a peer cannot sit on
// a broken header:
//
//   - reserved bits outside allowed (§5.2) and reserved opcodes
//   - RSV1, even if allowed, on a continuation or control frame: it marks a
//     message, on its first frame (RFC 7692 §6.1)
//   - control frames that are fragmented or longer than 125 bytes (§5.5)
//   - a client's frame without a mask, a server's with one (§5.1)
//   - lengths not in their shortest form, or with the top bit set (§5.2)
//
// allowed is the reserved bits an extension has claimed: [Rsv1] where
// permessage-deflate was agreed, else 0.
func Parse(b []byte, from Side, allowed byte) (h Header, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	b0, b1 := b[0], b[1]
	h.Fin = b0&fin != 0
	h.Rsv = b0 & rsv
	h.Opcode = Opcode(b0 & 0x0f)
	h.Masked = b1&0x80 != 0
	short := b1 & 0x7f
	switch {
	case h.Rsv&^allowed != 0, h.Rsv&Rsv1 != 0 && (h.Opcode == Continuation || h.Opcode.Control()):
		return h, 0, ReservedBits
	case h.Opcode > Binary && h.Opcode < Close || h.Opcode > Pong:
		return h, 0, ReservedOpcode
	case h.Opcode.Control() && !h.Fin:
		return h, 0, FragmentedControl
	case h.Opcode.Control() && short > MaxControl:
		return h, 0, LongControl
	case h.Masked != bool(from):
		if from == FromClient {
			return h, 0, Unmasked
		}
		return h, 0, MaskedByServer
	}
	n = 2
	switch short {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint16(b[2:]))
		if h.Length < 126 {
			return h, 0, LengthForm
		}
		n = 4
	case 127:
		if len(b) >= 3 && b[2]&0x80 != 0 {
			return h, 0, LengthOverflow
		}
		if len(b) < 10 {
			return h, 0, nil
		}
		h.Length = int64(binary.BigEndian.Uint64(b[2:]))
		if h.Length <= 0xffff {
			return h, 0, LengthForm
		}
		n = 10
	default:
		h.Length = int64(short)
	}
	if h.Masked {
		if len(b) < n+4 {
			return h, 0, nil
		}
		h.Key = binary.LittleEndian.Uint32(b[n:])
		n += 4
	}
	return h, n, nil
}

// AppendHeader appends h in its shortest form. h.Length must not be negative.
func AppendHeader(dst []byte, h Header) []byte {
	b0 := byte(h.Opcode) | h.Rsv
	if h.Fin {
		b0 |= fin
	}
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length < 126:
		dst = append(dst, b0, mask|byte(h.Length))
	case h.Length <= 0xffff:
		dst = append(dst, b0, mask|126, byte(h.Length>>8), byte(h.Length))
	default:
		dst = append(dst, b0, mask|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = binary.LittleEndian.AppendUint32(dst, h.Key)
	}
	return dst
}

// HeaderSize is how many bytes a server's header takes before n payload bytes.
func HeaderSize(n int) int {
	switch {
	case n < 126:
		return 2
	case n <= 0xffff:
		return 4
	}
	return 10
}

// Append appends one whole unmasked, final frame, as a server sends it.
func Append(dst []byte, op Opcode, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Length: int64(len(payload))})
	return append(dst, payload...)
}

// AppendMasked appends one whole masked, final frame, as a client sends it.
func AppendMasked(dst []byte, op Opcode, key uint32, payload []byte) []byte {
	dst = AppendHeader(dst, Header{Fin: true, Opcode: op, Length: int64(len(payload)), Masked: true, Key: key})
	at := len(dst)
	dst = append(dst, payload...)
	Mask(dst[at:], key)
	return dst
}

// Mask applies the masking key to b in place (§5.3; masking and unmasking are
// the same) and returns the key rotated for the byte that follows b, so that a
// payload can be unmasked chunk by chunk as it arrives.
func Mask(b []byte, key uint32) uint32 {
	if len(b) >= 8 {
		wide := uint64(key)<<32 | uint64(key)
		for len(b) >= 32 {
			p := b[:32:32]
			binary.LittleEndian.PutUint64(p[0:], binary.LittleEndian.Uint64(p[0:])^wide)
			binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
			binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
			binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
			b = b[32:]
		}
		for len(b) >= 8 {
			binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
			b = b[8:]
		}
	}
	for i := range b {
		b[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
	return key
}
