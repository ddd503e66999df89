// Package id makes and reads the identifiers that clients and functions see, in
// the shape of Amazon API Gateway: 16 characters of URL-safe base64, the last
// one '=', which is 11 bytes (reference: AWS examples such as
// "R0oXAdfD0kwCH6w=").
//
// A connection id is 3 bytes of node key followed by 8 random bytes. The node
// key says which node owns the socket, so no registry look-up is needed to find
// it. An id is not a credential: whoever may call @connections is decided by
// the caller's signature.
//
// Only the canonical base64 form parses. 11 bytes leave two unused bits in the
// fifteenth character; if they were ignored, four strings would name the same
// connection, and a stale row in a user's table could never be told from a
// live one by comparing strings.
package id

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/livegate/livegate/internal/fault"
)

// Size is the length of a connection id in bytes.
const Size = 11

// NodeKey identifies the node that owns a connection; drawn at each start.
type NodeKey [3]byte

// Conn is a connection id.
type Conn [Size]byte

// NewNodeKey draws a node key.
func NewNodeKey() NodeKey {
	var k NodeKey
	rand.Read(k[:])
	return k
}

// NewConn draws a connection id owned by node k.
func NewConn(k NodeKey) Conn {
	var c Conn
	rand.Read(c[:])
	copy(c[:], k[:])
	return c
}

// Node is the key of the node that owns the connection.
func (c Conn) Node() NodeKey { return NodeKey(c[:3]) }

// String is the 16-character form that clients, functions and URLs carry.
func (c Conn) String() string { return base64.URLEncoding.EncodeToString(c[:]) }

// strict refuses unused bits that are set.
var strict = base64.URLEncoding.Strict()

// ParseConn reads a connection id. Anything but the canonical 16 characters is
// a BadRequest with AWS's text ("Invalid connectionId: …").
func ParseConn(s string) (Conn, error) {
	var c Conn
	if len(s) == 16 {
		var in, out [16]byte
		copy(in[:], s)
		if n, err := strict.Decode(out[:], in[:]); err == nil && n == Size {
			return Conn(out[:Size]), nil
		}
	}
	return c, fault.New(fault.BadRequest, "Invalid connectionId: %s", s)
}

// NewRequest draws a request id or message id in the gateway's shape.
func NewRequest() string {
	var room [16]byte
	return string(AppendRequest(room[:0]))
}

// AppendRequest is NewRequest into dst.
func AppendRequest(dst []byte) []byte {
	var b [Size]byte
	rand.Read(b[:])
	return base64.URLEncoding.AppendEncode(dst, b[:])
}

// NewUUID draws a version 4 UUID, the shape of Lambda and x-amzn-requestid ids.
func NewUUID() string {
	var room [36]byte
	return string(AppendUUID(room[:0]))
}

// AppendUUID is NewUUID into dst.
func AppendUUID(dst []byte) []byte {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	dst = hex.AppendEncode(dst, b[:4]) // by hand: Sprintf costs ten times as much
	for i := 4; i < 10; i += 2 {
		dst = hex.AppendEncode(append(dst, '-'), b[i:i+2])
	}
	return hex.AppendEncode(append(dst, '-'), b[10:])
}

// NewTrace draws an X-Ray root trace header value for a moment in Unix seconds:
// "Root=1-{8 hex}-{24 hex}".
func NewTrace(unix int64) string {
	var room [40]byte
	return string(AppendTrace(room[:0], unix))
}

// AppendTrace is NewTrace into dst.
func AppendTrace(dst []byte, unix int64) []byte {
	var b [16]byte
	rand.Read(b[4:])
	binary.BigEndian.PutUint32(b[:], uint32(unix))
	dst = hex.AppendEncode(append(dst, "Root=1-"...), b[:4])
	return hex.AppendEncode(append(dst, '-'), b[4:])
}

const base36 = "0123456789abcdefghijklmnopqrstuvwxyz"

// Stable derives an n-character lower-case id from parts, the same on every
// start: apiIds (10 characters), route and integration ids (7). The first
// character is a letter so that the id can stand in a host name.
func Stable(n int, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	sum := h.Sum(nil)
	out := make([]byte, n)
	for i := range out {
		out[i] = base36[int(sum[i%len(sum)])%36]
	}
	out[0] = base36[10+int(sum[0])%26]
	return string(out)
}
