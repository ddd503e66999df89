package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// row is one named case: a section of an RFC, what it is about, and the steps of
// the conversation.
type row struct {
	section string // "RFC 6455 §5.2"
	what    string
	inside  bool // needs an in-process server
	deflate bool // needs permessage-deflate
	steps   []step
}

func (r *row) name() string { return r.section + " " + r.what }

type step func(c *client)

// book collects the rows of one section.
type book struct {
	section string
	rows    []row
}

// open adds a row that begins on an open WebSocket.
func (b *book) open(what string, steps ...step) *row {
	return b.bare(what, append([]step{upgrade()}, steps...)...)
}

// bare adds a row that begins on a fresh TCP connection.
func (b *book) bare(what string, steps ...step) *row {
	b.rows = append(b.rows, row{section: b.section, what: what, steps: steps})
	return &b.rows[len(b.rows)-1]
}

// allRows is the whole table.
func allRows() []row {
	var rows []row
	for _, f := range []func() []row{
		requestRows, answerRows, headRows, targetRows, boundRows, bodyRows, lateRows, secureRows,
		sizeRows, choppedRows, reservedRows, maskRows, lengthRows,
		fragmentRows, fragmentOrderRows, controlRows, closePayloadRows, closeOrderRows, closeRaceRows,
		validTextRows, invalidTextRows, textInPiecesRows,
		largeRows, manyRows,
		negotiationRows, deflateDataRows, deflateOfferRows, deflateFrameRows,
	} {
		rows = append(rows, f()...)
	}
	return rows
}

// run performs one row.
func (r *row) run(t *testing.T, s *server) {
	switch {
	case r.inside && s.inside == nil:
		t.Skip("looks into the server: in process only")
	case r.deflate && !s.deflates:
		t.Skip("the server declines permessage-deflate")
	}
	c := s.dial(t)
	for _, do := range r.steps {
		do(c)
	}
}

// Steps that send.

// send writes all frames at once.
func send(frames ...[]byte) step {
	b := join(frames...)
	return func(c *client) { c.t.Helper(); c.write(b) }
}

// sendEach writes one frame per write.
func sendEach(frames [][]byte) step {
	return func(c *client) {
		c.t.Helper()
		for _, f := range frames {
			c.write(f)
		}
	}
}

// chop writes n bytes at a time.
func chop(n int, frames ...[]byte) step {
	b := join(frames...)
	return func(c *client) {
		c.t.Helper()
		for piece := range slices.Chunk(b, n) {
			c.write(piece)
		}
	}
}

// tail writes what may meet a closed connection.
func tail(frames ...[]byte) step {
	b := join(frames...)
	return func(c *client) { c.attempt(b) }
}

// ask writes a request head or anything else of HTTP; {host}, {path} and {id}
// stand for the server's.
func ask(head string) step {
	return func(c *client) { c.t.Helper(); c.write([]byte(c.fill(head))) }
}

func (c *client) fill(s string) string {
	return strings.NewReplacer("{host}", c.srv.host, "{path}", c.srv.path, "{id}", c.id).Replace(s)
}

// fin ends our side of the TCP connection.
func fin() step {
	return func(c *client) {
		c.t.Helper()
		hc, ok := c.nc.(interface{ CloseWrite() error })
		if !ok {
			c.t.Fatal("no half-close on this transport")
		}
		if err := hc.CloseWrite(); err != nil {
			c.t.Fatalf("half-close: %v", err)
		}
	}
}

// Steps that expect.

// want is what must come, in this order, before anything else.
func want(frames ...string) step {
	return func(c *client) {
		c.t.Helper()
		for _, w := range frames {
			if got := c.next(); got != w {
				c.t.Fatalf("got %s, want %s", got, w)
			}
		}
	}
}

// fails: the server fails the connection (RFC 6455 §7.1.7) with one of codes.
func fails(codes ...int) step {
	return func(c *client) {
		c.t.Helper()
		got := c.next()
		if !slices.ContainsFunc(codes, func(code int) bool { return strings.HasPrefix(got, fmt.Sprintf("close %d ", code)) }) {
			c.t.Fatalf("got %s, want close %v", got, codes)
		}
		gone()(c)
	}
}

// closed is the server's half of a clean close, and the end of TCP, which a
// server begins (§7.1.1).
func closed(code int) step {
	return func(c *client) {
		c.t.Helper()
		got, w := c.next(), fmt.Sprintf("close %d ", code)
		if code == 1005 {
			w = "close"
		}
		if got != w && (code == 1005 || !strings.HasPrefix(got, w)) {
			c.t.Fatalf("got %s, want %s", got, w)
		}
		gone()(c)
	}
}

// gone: the stream has ended, and not by a reset, which could have overtaken the
// last frame.
func gone() step {
	return func(c *client) {
		c.t.Helper()
		var got string
		if c.opened {
			got = c.next()
		} else {
			c.extend()
			b, err := c.r.Peek(16)
			if len(b) > 0 {
				got = fmt.Sprintf("%q", b)
			} else {
				got = ending(err)
			}
		}
		if got != "eof" && (c.srv.inside != nil || got != "reset") {
			c.t.Fatalf("after the end: %s, want eof", got)
		}
	}
}

// usable: the connection echoes, and closes cleanly.
func usable() step {
	return func(c *client) {
		c.t.Helper()
		c.write(text("still here"))
		want(`text "still here"`)(c)
		c.write(closing(1000, ""))
		closed(1000)(c)
	}
}

// ends: what the server's handler heard of the end.
func ends(outcome string) step {
	return func(c *client) {
		c.t.Helper()
		if c.srv.inside == nil {
			return
		}
		if got := c.srv.inside.outcome(c.id); got != outcome {
			c.t.Errorf("OnClose got %q, want %q", got, outcome)
		}
	}
}

// status reads a response that must have one of these status codes.
func status(codes ...int) step {
	return func(c *client) {
		c.t.Helper()
		r, err := c.response()
		if err != nil {
			c.t.Fatalf("no response: %s", ending(err))
		}
		c.last = r
		if !slices.Contains(codes, r.status) {
			c.t.Fatalf("status %d %s, want %v", r.status, r.body, codes)
		}
		if r.status == 101 {
			c.checkSwitching()
		}
	}
}

// refused: an HTTP error and the end of the connection, which must not be read
// any further.
func refused(codes ...int) step {
	return func(c *client) {
		c.t.Helper()
		status(codes...)(c)
		gone()(c)
	}
}

// notUpgraded: anything that is not a 101; a server may also just hang up.
func notUpgraded() step {
	return func(c *client) {
		c.t.Helper()
		r, err := c.responseHead() // a response to HEAD has no body
		if err == nil && r.status < 200 {
			c.t.Fatalf("status %d", r.status)
		}
		if err == nil {
			return
		}
		if end := ending(err); end != "eof" && end != "reset" {
			c.t.Fatalf("neither a response nor the end: %s", end)
		}
	}
}

// says: a header of the last response.
func says(name, value string) step {
	return func(c *client) {
		c.t.Helper()
		if got := c.last.get(name); got != value {
			c.t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ==" // RFC 6455 §1.3

// hello is a valid opening handshake (§4.1) with its lines edited: "+Name: value"
// adds a line, "-Name" removes one, "Name: value" replaces it.
func hello(requestLine string, edits ...string) string {
	lines := []string{"Host: {host}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: " + sampleKey, "Sec-WebSocket-Version: 13", "X-Row: {id}"}
	for _, e := range edits {
		if line, ok := strings.CutPrefix(e, "+"); ok {
			lines = append(lines, line)
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(e, "-"), ":")
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
		if e[0] == '-' {
			lines = slices.Delete(lines, at, at+1)
		} else {
			lines[at] = e
		}
	}
	return requestLine + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

const get = "GET {path} HTTP/1.1"

// upgrade opens the WebSocket.
func upgrade(edits ...string) step {
	head := hello(get, edits...)
	return func(c *client) { c.t.Helper(); ask(head)(c); status(101)(c) }
}

// checkSwitching holds the last response against RFC 6455 §4.2.2 item 5.
func (c *client) checkSwitching() {
	c.t.Helper()
	c.opened = true
	sum := sha1.Sum([]byte(sampleKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	for _, f := range [][2]string{
		{"Upgrade", "websocket"},
		{"Connection", "upgrade"},
		{"Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:])},
	} {
		got := c.last.headers[strings.ToLower(f[0])]
		exact := f[0] == "Sec-WebSocket-Accept"
		if len(got) != 1 || exact && got[0] != f[1] || !strings.EqualFold(got[0], f[1]) {
			c.t.Errorf("%s: %q, want %q", f[0], got, f[1])
		}
	}
	for _, name := range []string{"content-length", "transfer-encoding"} { // RFC 9110 §8.6, RFC 9112 §6.1
		if got, ok := c.last.headers[name]; ok {
			c.t.Errorf("%s: %q in a 101", name, got)
		}
	}
}
