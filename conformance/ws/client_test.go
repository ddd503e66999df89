package ws

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for something that must come: generously, since the
// race detector on a busy machine makes a 4 MiB message take seconds.
const patience = 20 * time.Second

// client is one raw connection to the server under test.
type client struct {
	t   testing.TB
	srv *server
	nc  net.Conn
	r   *bufio.Reader
	id  string // names this connection to an in-process server

	patience time.Duration
	opened   bool
	part     *message // a fragmented message under way
	pmd      *deflate // when permessage-deflate was negotiated
	last     *response
}

type message struct {
	op         byte
	compressed bool
	payload    []byte
}

func (s *server) dial(t testing.TB) *client {
	t.Helper()
	nc, err := s.connect()
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { nc.Close() })
	return newClient(t, s, nc)
}

func (s *server) connect() (net.Conn, error) { return net.DialTimeout("tcp", s.addr, patience) }

func newClient(t testing.TB, s *server, nc net.Conn) *client {
	c := &client{t: t, srv: s, nc: nc, r: bufio.NewReader(nc), id: s.nextID(), patience: patience}
	c.extend()
	return c
}

// extend moves the deadline of whatever comes next.
func (c *client) extend() { _ = c.nc.SetDeadline(time.Now().Add(c.patience)) }

func (c *client) write(b []byte) {
	c.t.Helper()
	c.extend()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatalf("write of %d bytes: %v", len(b), err)
	}
}

// attempt writes what the server may be too disgusted to read.
func (c *client) attempt(b []byte) {
	c.extend()
	_, _ = c.nc.Write(b)
}

// Opcodes, RFC 6455 §5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA

	bitFin  = 0x80
	bitRsv1 = 0x40
)

// sampleMask is the key of the example in RFC 6455 §5.7.
func sampleMask() [4]byte { return [4]byte{0x37, 0xfa, 0x21, 0x3d} }

// masked is a client's frame with the shortest length form (§5.2) and any first
// byte.
func masked(first byte, payload string) []byte {
	return maskedWith(sampleMask(), first, payload)
}

func maskedWith(key [4]byte, first byte, payload string) []byte {
	b := append(lengthForm(first, 0x80, shortest(len(payload)), uint64(len(payload))), key[:]...)
	at := len(b)
	b = append(b, payload...)
	for i := at; i < len(b); i++ {
		b[i] ^= key[(i-at)%4]
	}
	return b
}

// unmasked is a frame as only a server may send it.
func unmasked(first byte, payload string) []byte {
	return append(lengthForm(first, 0, shortest(len(payload)), uint64(len(payload))), payload...)
}

func shortest(n int) int {
	switch {
	case n < 126:
		return 7
	case n < 1<<16:
		return 16
	}
	return 64
}

// lengthForm is the first 2, 4 or 10 bytes of a frame: n in a field of 7, 16 or
// 64 bits, whether or not that is its shortest form.
func lengthForm(first, maskBit byte, bits int, n uint64) []byte {
	switch bits {
	case 7:
		return []byte{first, maskBit | byte(n)}
	case 16:
		return binary.BigEndian.AppendUint16([]byte{first, maskBit | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, maskBit | 127}, n)
}

// announced is a masked header without any of its payload.
func announced(first byte, bits int, n uint64) []byte {
	key := sampleMask()
	return append(lengthForm(first, 0x80, bits, n), key[:]...)
}

func text(s string) []byte { return masked(bitFin|opText, s) }
func bin(s string) []byte  { return masked(bitFin|opBinary, s) }
func ping(s string) []byte { return masked(bitFin|opPing, s) }
func pong(s string) []byte { return masked(bitFin|opPong, s) }

func closing(code int, reason string) []byte {
	return masked(bitFin|opClose, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// join puts frames into one write.
func join(frames ...[]byte) []byte {
	var b []byte
	for _, f := range frames {
		b = append(b, f...)
	}
	return b
}

// fragments cuts a message into frames of size bytes; first is the first byte of
// its first frame without FIN.
func fragments(first byte, payload string, size int) [][]byte {
	var all [][]byte
	for {
		n := min(size, len(payload))
		b := first
		if len(all) > 0 {
			b = opContinuation
		}
		if n == len(payload) {
			return append(all, masked(b|bitFin, payload))
		}
		all = append(all, masked(b, payload[:n]))
		payload = payload[n:]
	}
}

// next is what the server sent, in words: "text …" and "binary …" for whole
// messages, however they were fragmented; "pong …", "close …"; "eof" and "reset"
// for the end. Pings of the server are answered and passed over. A frame that no
// server may send is "malformed: …".
func (c *client) next() string {
	c.extend()
	for {
		op, payload, err := c.message()
		if err != nil {
			return ending(err)
		}
		switch op {
		case opText:
			return say("text", payload)
		case opBinary:
			return say("binary", payload)
		case opPong:
			return say("pong", payload)
		case opPing:
			c.attempt(pong(string(payload)))
			continue
		}
		if len(payload) == 0 {
			return "close"
		}
		return fmt.Sprintf("close %d %q", binary.BigEndian.Uint16(payload), payload[2:])
	}
}

type malformed string

func (m malformed) Error() string { return "malformed: " + string(m) }

// message reads frames until a control frame or a whole message is there.
func (c *client) message() (op byte, payload []byte, err error) {
	for {
		first, payload, err := c.frame()
		if err != nil {
			return 0, nil, err
		}
		op := first & 0x0f
		compressed := first&bitRsv1 != 0
		switch {
		case op >= opClose:
			return op, payload, checkControl(first, payload)
		case op == opContinuation && c.part == nil:
			return 0, nil, malformed("a continuation without a start")
		case op == opContinuation && compressed:
			return 0, nil, malformed("RSV1 on a continuation (RFC 7692 §6)")
		case op != opContinuation && c.part != nil:
			return 0, nil, malformed("a message inside another")
		case compressed && c.pmd == nil:
			return 0, nil, malformed("RSV1 without an extension")
		case op != opContinuation:
			c.part = &message{op: op, compressed: compressed}
		}
		c.part.payload = append(c.part.payload, payload...)
		if first&bitFin == 0 {
			continue
		}
		m := c.part
		c.part = nil
		if m.compressed {
			m.payload, err = c.pmd.decompress(m.payload)
		}
		return m.op, m.payload, err
	}
}

func checkControl(first byte, payload []byte) error {
	switch {
	case first&bitFin == 0:
		return malformed("a fragmented control frame")
	case first&bitRsv1 != 0:
		return malformed("a compressed control frame")
	case len(payload) > 125:
		return malformed("a control frame over 125 bytes")
	case first&0x0f == opClose && len(payload) == 1:
		return malformed("a close payload of one byte")
	}
	return nil
}

// frame reads one frame and checks what RFC 6455 §5.1 and §5.2 say of servers.
func (c *client) frame() (first byte, payload []byte, err error) {
	var h [10]byte
	if _, err = io.ReadFull(c.r, h[:2]); err != nil {
		return 0, nil, err
	}
	first = h[0]
	switch op := first & 0x0f; {
	case h[1]&0x80 != 0:
		return 0, nil, malformed("a masked frame from a server")
	case first&0x30 != 0:
		return 0, nil, malformed("RSV2 or RSV3")
	case op > opBinary && op < opClose || op > opPong:
		return 0, nil, malformed(fmt.Sprintf("opcode %d", op))
	}
	n, bits := uint64(h[1]), 7
	switch h[1] {
	case 126:
		_, err = io.ReadFull(c.r, h[2:4])
		n, bits = uint64(binary.BigEndian.Uint16(h[2:])), 16
	case 127:
		_, err = io.ReadFull(c.r, h[2:10])
		n, bits = binary.BigEndian.Uint64(h[2:]), 64
	}
	if err != nil {
		return 0, nil, fmt.Errorf("cut frame: %w", err)
	}
	if n > 1<<30 || shortest(int(n)) != bits {
		return 0, nil, malformed(fmt.Sprintf("length %d in %d bits", n, bits))
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, fmt.Errorf("cut frame: %w", err)
	}
	return first, payload, nil
}

// ending names the end of the stream.
func ending(err error) string {
	var m malformed
	var timeout net.Error
	switch {
	case errors.As(err, &m):
		return m.Error()
	case errors.Is(err, io.EOF):
		return "eof"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "silence"
	}
	return err.Error()
}

// say puts a payload into words; a long one by size and digest.
func say(kind string, payload []byte) string {
	if len(payload) > 64 {
		return fmt.Sprintf("%s of %d bytes, %x", kind, len(payload), sha256.Sum256(payload))
	}
	return fmt.Sprintf("%s %q", kind, payload)
}

func sayText(s string) string   { return say("text", []byte(s)) }
func sayBinary(s string) string { return say("binary", []byte(s)) }
func sayPong(s string) string   { return say("pong", []byte(s)) }

// response is an HTTP response read by hand (RFC 9112 §4).
type response struct {
	status  int
	headers map[string][]string // names in lower case
	body    string
}

func (r *response) get(name string) string {
	return strings.Join(r.headers[strings.ToLower(name)], ", ")
}

// response reads one response with its body.
func (c *client) response() (*response, error) {
	r, err := c.responseHead()
	if err == nil {
		err = c.body(r)
	}
	return r, err
}

func (c *client) responseHead() (*response, error) {
	c.extend()
	line, err := c.line()
	if err != nil {
		return nil, err
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if err != nil || version != "HTTP/1.1" && version != "HTTP/1.0" {
		return nil, malformed(fmt.Sprintf("status line %q", line))
	}
	r := &response{status: status, headers: map[string][]string{}}
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, malformed(fmt.Sprintf("header line %q", line))
		}
		name = strings.ToLower(name)
		r.headers[name] = append(r.headers[name], strings.Trim(value, " \t"))
	}
	return r, nil
}

func (c *client) body(r *response) error {
	var from io.Reader = c.r
	switch length := r.get("Content-Length"); {
	case r.status == 101, r.status == 204, r.status == 304:
		return nil
	case strings.EqualFold(r.get("Transfer-Encoding"), "chunked"):
		from = httputil.NewChunkedReader(c.r)
	case length != "":
		n, err := strconv.ParseInt(length, 10, 32)
		if err != nil {
			return malformed("Content-Length " + length)
		}
		from = io.LimitReader(c.r, n)
	}
	b, err := io.ReadAll(from)
	r.body = string(b)
	if strings.EqualFold(r.get("Transfer-Encoding"), "chunked") && err == nil {
		_, err = c.line() // the empty line after the last chunk
	}
	return err
}

// line reads up to CRLF; a bare LF is malformed.
func (c *client) line() (string, error) {
	s, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	whole, ok := strings.CutSuffix(s, "\r\n")
	if !ok {
		return "", malformed(fmt.Sprintf("line %q", s))
	}
	return whole, nil
}
