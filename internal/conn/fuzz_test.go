package conn

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/frame"
)

// FuzzHead: our parser against net/http's. Whatever we accept, net/http must
// accept and understand alike; and a head must parse the same however it is cut.
func FuzzHead(f *testing.F) {
	for _, a := range upgradeAsks() {
		f.Add([]byte(a.head), uint16(len(a.head)/2))
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"), uint16(3))
	lim := HeadLimits{}.withDefaults()
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		end, err := headEnd(b, 0, lim)
		at := min(int(cut), len(b))
		if e1, err1 := headEnd(b[:at], 0, lim); e1 == 0 && err1 == nil {
			e2, err2 := headEnd(b, at, lim)
			if e2 != end || fmt.Sprint(err2) != fmt.Sprint(err) {
				t.Fatalf("cut at %d: %d %v, whole: %d %v", at, e2, err2, end, err)
			}
		}
		if err != nil || end == 0 {
			return
		}
		h, err := parseHead(b[:end], lim)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, []byte("GET ")) {
			return
		}
		req, err := checkUpgrade(h)
		if err != nil {
			return
		}
		if strings.ContainsAny(req.host+req.path, "\r\n\x00 ") && !strings.Contains(req.path, " ") {
			t.Fatalf("%+v", req)
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:end])))
		if err != nil {
			t.Fatalf("we upgrade what net/http refuses (%v): %q", err, b[:end])
		}
		if h.isUpgrade() != wantsUpgrade(std) || std.ContentLength != 0 || len(std.TransferEncoding) > 0 ||
			std.RequestURI != h.target || std.Header.Get("Sec-WebSocket-Key") != req.key {
			t.Fatalf("net/http reads %+v, we %+v", std, h)
		}
	})
}

// verdict of a stream of client frames: the messages, and how it ends.
type verdict struct {
	messages []string
	pongs    int
	code     int // 0: wants more bytes
	reason   string
}

// naive decodes a whole stream by the book: recursion-free, no partial frames,
// everything copied, text checked only as a prefix of valid UTF-8.
func naive(b []byte, l Limits) (v verdict) {
	var message []byte
	inMessage, binaryMessage := false, false
	fragments := 0
	fail := func(code int) verdict { v.code = code; return v }
	for {
		if len(b) < 2 {
			return v
		}
		op, final, n, h := b[0]&15, b[0]&0x80 != 0, uint64(b[1]&0x7f), 2
		switch {
		case b[0]&0x70 != 0, op > 2 && op < 8, op > 10, op >= 8 && (!final || n > 125), b[1]&0x80 == 0:
			return fail(1002)
		}
		switch n {
		case 126:
			if len(b) < 4 {
				return v
			}
			if n, h = uint64(binary.BigEndian.Uint16(b[2:])), 4; n < 126 {
				return fail(1002)
			}
		case 127:
			if len(b) > 2 && b[2]&0x80 != 0 {
				return fail(1002)
			}
			if len(b) < 10 {
				return v
			}
			if n, h = binary.BigEndian.Uint64(b[2:]), 10; n < 65536 {
				return fail(1002)
			}
		}
		if len(b) < h+4 {
			return v
		}
		if op < 8 {
			if (op == 0) != inMessage {
				return fail(1002)
			}
			if op != 0 {
				inMessage, binaryMessage, fragments = true, op == 2, 0
				if binaryMessage && l.Text {
					return fail(1003)
				}
			}
			fragments++
			if l.Frame > 0 && n > uint64(l.Frame) || l.Message > 0 && uint64(len(message))+n > uint64(l.Message) {
				return fail(1009)
			}
			if fragments > 1024 && len(message) < 32*fragments {
				return fail(1008)
			}
		}
		payload := append([]byte(nil), b[h+4:min(uint64(len(b)), uint64(h+4)+n)]...)
		for i := range payload {
			payload[i] ^= b[h+i%4]
		}
		whole := uint64(len(payload)) == n
		if op < 8 {
			message = append(message, payload...)
			if !binaryMessage && !textPrefix(message, whole && final) {
				return fail(1007)
			}
		}
		if !whole {
			return v
		}
		b = b[uint64(h+4)+n:]
		switch {
		case op == 8:
			switch {
			case n == 1, n >= 2 && !frame.ValidCode(int(payload[0])<<8|int(payload[1])):
				return fail(1002)
			case n == 0:
				return fail(1005)
			case !utf8.Valid(payload[2:]):
				return fail(1007)
			}
			v.reason = string(payload[2:])
			return fail(int(payload[0])<<8 | int(payload[1]))
		case op == 9:
			v.pongs++
		case op < 8 && final:
			v.messages = append(v.messages, string(message))
			message, inMessage = nil, false
		}
	}
}

// textPrefix: valid, or with more bytes to come possibly valid.
func textPrefix(b []byte, done bool) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			return !done && len(b) < 4 && repairable(b)
		}
		b = b[n:]
	}
	return true
}

// repairable tries every continuation.
func repairable(b []byte) bool {
	var try func(b []byte) bool
	try = func(b []byte) bool {
		if utf8.FullRune(b) {
			r, n := utf8.DecodeRune(b)
			return n == len(b) && (r != utf8.RuneError || n > 1)
		}
		for c := byte(0x80); c <= 0xBF; c++ {
			if try(append(b[:len(b):len(b)], c)) {
				return true
			}
		}
		return false
	}
	return len(b) < 4 && try(b)
}

type collect struct{ v verdict }

func (h *collect) OnMessage(_ *Conn, data []byte, _ bool) {
	h.v.messages = append(h.v.messages, string(data))
}
func (h *collect) OnClose(*Conn, int, string) {}

// FuzzFrames: the incremental reader against naive, cut into reads of any size.
func FuzzFrames(f *testing.F) {
	for _, r := range rfcRows() {
		if len(r.send) < 4096 {
			f.Add(r.send, uint8(len(r.send)), false)
			f.Add(r.send, uint8(1), true)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, size uint8, limited bool) {
		var l Limits
		if limited {
			l = Limits{Frame: 50, Message: 120, Text: true}
		}
		l.SendItems = 1 << 20
		want := naive(b, l)
		if want.pongs > controlBurst/2 {
			return
		}
		h := &collect{}
		r := stillConn(h, l)
		c := r.c
		for at := 0; at < len(b); {
			next := min(at+max(int(size), 1), len(b))
			if w := r.in.window(16); w != nil { // as the read loop does
				n := copy(w, b[at:next])
				at += n
				if !c.windowFilled(&r.in, n) {
					break
				}
				continue
			}
			if !r.feed(append([]byte(nil), b[at:next]...)) {
				break
			}
			at = next
		}
		var end ending
		if c.end != nil {
			end = *c.end
		}
		if end.code != want.code || want.reason != "" && end.reason != want.reason || fmt.Sprintf("%q", h.v.messages) != fmt.Sprintf("%q", want.messages) {
			t.Fatalf("got %d %q %q\nwant %d %q %q", end.code, end.reason, h.v.messages, want.code, want.reason, want.messages)
		}
		r.stopTimer()
	})
}
