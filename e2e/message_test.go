package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestRoutes(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url(""), dialing{})
	t.Run("two-way sends the body, byte for byte", func(t *testing.T) {
		s := s.in(t)
		for _, text := range []string{"plain", `{"json": true}`, "héllo 🌍 \"q\" \u0000 end", strings.Repeat("long ", 6_000)} {
			s.call("echo", text)
			if got := s.next(); got != text {
				t.Fatalf("got %d bytes %.60q, want %d bytes %.60q", len(got), got, len(text), text)
			}
		}
	})
	t.Run("one-way sends nothing, whatever the function returns", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		s.call("oneway", "seen")
		p.recorded("oneway", "seen")
		s.expectSilence()
	})
	t.Run("no route", func(t *testing.T) {
		s := s.in(t)
		for _, text := range []string{`{"action":"unknown"}`, `{"action":"Echo"}`, "no json", "5", "[1]", `{"action":""}`} {
			s.send(text)
			s.expectError("Forbidden")
		}
	})
	t.Run("mock", func(t *testing.T) {
		s := s.in(t)
		s.call("mock", nil)
		s.expect(`{"mock":true}`)
	})
	t.Run("message event", func(t *testing.T) {
		s := s.in(t)
		s.call("dump", "x")
		var e struct {
			Body            string `json:"body"`
			IsBase64Encoded *bool  `json:"isBase64Encoded"`
			Headers         any    `json:"headers"`
			Context         struct {
				RouteKey, EventType, MessageID, RequestID, ExtendedRequestID, ConnectionID string
			} `json:"requestContext"`
		}
		if err := json.Unmarshal([]byte(s.next()), &e); err != nil {
			t.Fatal(err)
		}
		c := e.Context
		if e.Headers != nil || e.IsBase64Encoded == nil || c.RouteKey != "dump" || c.EventType != "MESSAGE" || c.MessageID == "" || c.RequestID != c.ExtendedRequestID {
			t.Errorf("event %+v", e)
		}
		if want := `{"action":"dump","data":"x"}`; e.Body != want {
			t.Errorf("body %q, want %q", e.Body, want)
		}
	})
}

func TestMessagesOfOneConnectionKeepTheirOrder(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url(""), dialing{})
	// One worker, one message at a time: wait for each. Many in flight at once may
	// overtake each other, as on Lambda; none may be lost.
	for _, text := range strings.Fields("one two three four five") {
		s.call("echo", text)
		s.expect(text)
	}
	want := map[string]bool{}
	for i := range 200 {
		text := strings.Repeat("m", i+1)
		want[text] = true
		s.call("echo", text)
	}
	for range 200 {
		delete(want, s.next())
	}
	if len(want) > 0 {
		t.Errorf("%d of 200 messages got no answer", len(want))
	}
}

func TestLimits(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for name, c := range map[string]struct {
		frames []string // of one message
		kind   websocket.MessageType
		code   websocket.StatusCode // 0: it goes through
	}{
		"32 KB frame":            {frames: []string{message(32 << 10)}},
		"frame over 32 KB":       {frames: []string{message(32<<10 + 1)}, code: websocket.StatusMessageTooBig},
		"128 KB in frames":       {frames: cut(message(128<<10), 32<<10)},
		"over 128 KB in frames":  {frames: cut(message(128<<10+1), 32<<10), code: websocket.StatusMessageTooBig},
		"binary":                 {frames: []string{"\x00\x01"}, kind: websocket.MessageBinary, code: websocket.StatusUnsupportedData},
		"text that is not UTF-8": {frames: []string{"\xff\xfe"}, code: websocket.StatusInvalidFramePayloadData},
		"short message":          {frames: []string{message(60)}},
	} {
		t.Run(name, func(t *testing.T) {
			p := p.in(t)
			tag := strings.ReplaceAll(name, " ", "-")
			s := dial(t, p.url("tag="+tag), dialing{})
			if c.kind == 0 {
				c.kind = websocket.MessageText
			}
			s.fragments(c.kind, c.frames)
			if c.code == 0 {
				want := strings.Join(c.frames, "")
				var sent struct{ Data string }
				if err := json.Unmarshal([]byte(want), &sent); err != nil {
					t.Fatal(err)
				}
				if got := s.next(); got != sent.Data {
					t.Fatalf("got %d bytes back, want %d", len(got), len(sent.Data))
				}
				return
			}
			s.expectClose(c.code, "*")
			if r := p.recorded("disconnect", tag); r.Code != int(c.code) {
				t.Errorf("$disconnect with code %d, want %d", r.Code, c.code)
			}
		})
	}
}

// message is an echo message of exactly n bytes.
func message(n int) string {
	const head, tail = `{"action":"echo","data":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

func cut(text string, n int) []string {
	var parts []string
	for len(text) > n {
		parts, text = append(parts, text[:n]), text[n:]
	}
	return append(parts, text)
}

// fragments sends one message in as many frames as there are parts.
func (s *socket) fragments(kind websocket.MessageType, parts []string) {
	s.t.Helper()
	if len(parts) == 1 {
		// The server may close while we still write: what it says counts, not this error.
		if err := s.ws.Write(context.Background(), kind, []byte(parts[0])); err != nil {
			s.t.Logf("write: %v", err)
		}
		return
	}
	w, err := s.ws.Writer(context.Background(), kind)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, part := range parts {
		if _, err := w.Write([]byte(part)); err != nil {
			s.t.Logf("write: %v", err)
			return
		}
	}
	if err := w.Close(); err != nil {
		s.t.Logf("write: %v", err)
	}
}
