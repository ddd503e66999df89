package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/term"

	"github.com/livegate/livegate/internal/terminal"
)

// screen is a terminal in memory: what is shown can be waited for.
type screen struct {
	mu    sync.Mutex
	shown bytes.Buffer
	more  chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shown.Write(p)
	select {
	case s.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

func (s *screen) expect(t *testing.T, want string) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for !strings.Contains(s.text(), want) {
		select {
		case <-s.more:
		case <-timeout:
			t.Fatalf("%q was never shown:\n%s", want, s.text())
		}
	}
}

// conversation connects a talk to the test server; typed lines go in, the screen
// and the end come out.
func conversation(t *testing.T) (typed chan string, shown *screen, end chan error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(serveTest))
	t.Cleanup(srv.Close)
	conn, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	typed, end, shown = make(chan string), make(chan error, 1), &screen{more: make(chan struct{}, 1)}
	tty := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{strings.NewReader(""), shown}, "> ")
	talk := &talk{cli: &cli{}, out: terminal.Look{Color: true, Interactive: true}}
	go func() { end <- talk.converse(t.Context(), conn, tty, typed) }()
	return typed, shown, end
}

func TestConversation(t *testing.T) {
	typed, shown, end := conversation(t)
	typed <- `{"a":"b"}`
	shown.expect(t, "\x1b[32m< \x1b[0m{\x1b[34m\"a\"\x1b[0m:\x1b[32m\"b\"\x1b[0m}")
	typed <- "hostile \x1b[2J frame"
	shown.expect(t, "hostile  frame")
	typed <- "binary"
	shown.expect(t, "binary message, 3 bytes")
	typed <- "//slash"
	shown.expect(t, "< \x1b[0m/slash")
	typed <- "/ping"
	shown.expect(t, "pong after")
	typed <- "/nope"
	shown.expect(t, "/nope is not a command")
	typed <- "/close soon"
	shown.expect(t, "a number from 1000 to 4999")
	typed <- "/help"
	shown.expect(t, "/close [CODE [REASON]]")
	typed <- "/close 4001 see you"
	if err := <-end; err != nil {
		t.Errorf("a close that the person asked for: %v", err)
	}
	shown.expect(t, "closed: 4001 see you")
}

func TestTheServerEndsTheConversation(t *testing.T) {
	typed, shown, end := conversation(t)
	typed <- "close 4002"
	if err := <-end; err != errReported {
		t.Errorf("4002: %v, want a reported failure", err)
	}
	shown.expect(t, "closed by the server: 4002: as asked")

	typed, _, end = conversation(t)
	typed <- "close 1000"
	if err := <-end; err != nil {
		t.Errorf("1000: %v", err)
	}
}

func TestCtrlCCloses(t *testing.T) {
	typed, shown, end := conversation(t)
	close(typed) // what the reader does on Ctrl-C and Ctrl-D
	if err := <-end; err != nil {
		t.Error(err)
	}
	shown.expect(t, "closed: 1000 (normal)")
}

func TestHistoryIsKeptAndBounded(t *testing.T) {
	c := &cli{getenv: func(k string) string { return map[string]string{"XDG_DATA_HOME": t.TempDir()}[k] }}
	dir := t.TempDir()
	c.getenv = func(k string) string {
		if k == "XDG_DATA_HOME" {
			return dir
		}
		return ""
	}
	h, err := openHistory(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{"one", "two", "two", "  ", "three"} {
		h.Add(l)
	}
	h.close()
	info, err := os.Stat(filepath.Join(dir, "livegate", "connect-history"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: only the user may read what was typed", info, err)
	}
	again, err := openHistory(c)
	if err != nil || again.Len() != 3 || again.At(0) != "three" || again.At(2) != "one" {
		t.Errorf("%+v, %v", again, err)
	}
	for range 2 * maxHistory {
		again.Add("x")
		again.Add("y")
	}
	if again.Len() != maxHistory || again.At(0) != "y" {
		t.Errorf("%d lines", again.Len())
	}
	if _, err := openHistory(&cli{getenv: func(string) string { return "" }}); err == nil {
		t.Error("without a home, no error")
	}
}

func TestDescribeClose(t *testing.T) {
	for _, c := range []struct {
		err    error
		want   string
		failed bool
	}{
		{websocket.CloseError{Code: 1001, Reason: "Going away"}, "closed by the server: 1001 (going away): Going away", false},
		{websocket.CloseError{Code: 1005}, "closed by the server: 1005 (no status)", false},
		{websocket.CloseError{Code: 1009}, "closed by the server: 1009 (message too big)", true},
		{websocket.CloseError{Code: 4400, Reason: "x"}, "closed by the server: 4400: x", true},
		{io.ErrUnexpectedEOF, "connection lost: 1006 (abnormal): unexpected EOF", true},
	} {
		if text, failed := describeClose(c.err); text != c.want || failed != c.failed {
			t.Errorf("%v: %q %v, want %q %v", c.err, text, failed, c.want, c.failed)
		}
	}
}

func TestAnInterruptIsNotAFailureOfTheServer(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(serveTest))
	defer srv.Close()
	conn, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	r, w := io.Pipe()
	defer w.Close()
	var out, errs bytes.Buffer
	c := &cli{in: r, out: &out, err: &errs, look: func(any) terminal.Look { return terminal.Look{} }}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errInterrupted)
	err = newTalk(c, srv.URL, time.Second).piped(ctx, conn)
	if code := c.report(ctx, nil, err); code != exitInterrupted {
		t.Errorf("exit code %d (%v), want %d", code, err, exitInterrupted)
	}
}
