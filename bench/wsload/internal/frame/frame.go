//go:build linux

// Package frame is the client half of RFC 6455 framing, as little of it as a
// load generator needs: build a masked frame, take server frames off a buffer.
package frame

import "encoding/binary"

// Opcodes.
const (
	Cont  = 0
	Text  = 1
	Bin   = 2
	Close = 8
	Ping  = 9
	Pong  = 10
)

// Append adds one masked, final frame to dst.
func Append(dst []byte, op byte, key uint32, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	n := len(payload)
	switch {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	var k [4]byte
	binary.LittleEndian.PutUint32(k[:], key)
	dst = append(dst, k[:]...)
	at := len(dst)
	dst = append(dst, payload...)
	if key != 0 {
		Mask(dst[at:], key)
	}
	return dst
}

// Mask applies the key (little-endian view of the four key bytes) in place.
func Mask(b []byte, key uint32) {
	k8 := uint64(key)<<32 | uint64(key)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^k8)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key >> (8 * uint(i&3)))
	}
}

// Take reads one server frame from the front of b. size is the whole frame's
// length; it is 0 when the header is incomplete, and greater than len(b) when
// only the payload is. bad is set for masked server frames and reserved bits.
func Take(b []byte) (fin bool, op byte, payload []byte, size int, bad bool) {
	if len(b) < 2 {
		return
	}
	fin = b[0]&0x80 != 0
	op = b[0] & 15
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		bad = true
		return
	}
	n, h := int(b[1]), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return
		}
		n, h = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return
		}
		u := binary.BigEndian.Uint64(b[2:])
		if u > 1<<30 {
			bad = true
			return
		}
		n, h = int(u), 10
	}
	size = h + n
	if len(b) >= size {
		payload = b[h:size]
	}
	return
}
