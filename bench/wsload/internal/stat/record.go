//go:build linux

package stat

import "bytes"

// A Record is what every payload carries: when it was sent (nanoseconds of the
// generator's own monotonic clock), its number in its stream, and a tag (the
// phase of the run and the stream or target it belongs to). It is written as
// 34 ASCII bytes that need no escaping in JSON, protobuf or plain text:
// "@@" + 16 hex digits + 8 hex digits + 8 hex digits.
type Record struct {
	At  int64
	Seq uint32
	Tag uint32
}

// RecordLen is the encoded size; it is also the smallest payload possible.
const RecordLen = 34

const hexDigits = "0123456789abcdef"

func putHex(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = hexDigits[v&15]
		v >>= 4
	}
}

func getHex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			if d = c - 'a' + 10; d < 10 || d > 15 {
				return 0, false
			}
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

// Put writes r to the first RecordLen bytes of b.
func (r Record) Put(b []byte) {
	b[0], b[1] = '@', '@'
	putHex(b[2:18], uint64(r.At))
	putHex(b[18:26], uint64(r.Seq))
	putHex(b[26:34], uint64(r.Tag))
}

// Payload returns a payload of n bytes (at least RecordLen) that starts with r.
func (r Record) Payload(n int) []byte {
	if n < RecordLen {
		n = RecordLen
	}
	b := make([]byte, n)
	for i := RecordLen; i < n; i++ {
		b[i] = 'x'
	}
	r.Put(b)
	return b
}

// Next finds the first record in b and returns it with the bytes after it.
// found is false when there is no whole record; rest is then nil when nothing
// could be the beginning of one, or the tail that might be.
func Next(b []byte) (r Record, rest []byte, found bool) {
	for {
		i := bytes.IndexByte(b, '@')
		if i < 0 {
			return Record{}, nil, false
		}
		b = b[i:]
		if len(b) < RecordLen {
			return Record{}, b, false
		}
		if b[1] == '@' {
			at, ok1 := getHex(b[2:18])
			sq, ok2 := getHex(b[18:26])
			tg, ok3 := getHex(b[26:34])
			if ok1 && ok2 && ok3 {
				return Record{int64(at), uint32(sq), uint32(tg)}, b[RecordLen:], true
			}
		}
		b = b[1:]
	}
}
