package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/term"

	"github.com/livegate/livegate/internal/terminal"
)

// talk is one conversation with a server.
type talk struct {
	cli  *cli
	url  string
	wait time.Duration // with piped input: how long to listen after its end
	out  terminal.Look
}

func newTalk(c *cli, url string, wait time.Duration) *talk {
	return &talk{cli: c, url: url, wait: wait, out: c.look(c.out)}
}

// received is one message or the end of the connection.
type received struct {
	data   []byte
	binary bool
	err    error
}

// listen hands over what arrives until the connection ends or ctx does.
func listen(ctx context.Context, conn *websocket.Conn) <-chan received {
	ch := make(chan received, 16)
	go func() {
		defer close(ch)
		for {
			kind, data, err := conn.Read(ctx)
			select {
			case ch <- received{data, kind == websocket.MessageBinary, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return ch
}

// piped sends each line of the input and prints each message as one line, with
// nothing around it, so that a script can read both ends.
func (t *talk) piped(ctx context.Context, conn *websocket.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- t.sendLines(ctx, conn) }()
	var over <-chan time.Time
	arrivals := listen(ctx, conn)
	for {
		select {
		case m, ok := <-arrivals:
			if !ok {
				return context.Cause(ctx)
			}
			if m.err != nil {
				return t.ended(m.err)
			}
			if m.binary {
				fmt.Fprintf(t.cli.err, "binary message, %d bytes, not shown\n", len(m.data))
				continue
			}
			fmt.Fprintln(t.cli.out, t.out.JSON(string(m.data)))
		case err := <-sent:
			if err != nil {
				return err
			}
			over = time.After(t.wait)
		case <-over:
			return conn.Close(websocket.StatusNormalClosure, "")
		case <-ctx.Done():
			_ = conn.Close(websocket.StatusNormalClosure, "") // interrupted: the cause is the news
			return context.Cause(ctx)
		}
	}
}

func (t *talk) sendLines(ctx context.Context, conn *websocket.Conn) error {
	lines := bufio.NewReader(t.cli.in)
	for {
		line, err := lines.ReadString('\n')
		if text := strings.TrimRight(line, "\r\n"); text != "" {
			if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
				return nil // the reading side knows why
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the input: %w", err)
		}
	}
}

// ended reports the end of the connection on standard error.
func (t *talk) ended(err error) error {
	text, failed := describeClose(err)
	look := t.cli.look(t.cli.err)
	fmt.Fprintln(t.cli.err, look.Paint(terminal.Dim, look.Clean(text)))
	if failed {
		return errReported
	}
	return nil
}

// interactive lets a person type. term.Terminal keeps the line being typed in
// place while messages arrive above it.
func (t *talk) interactive(ctx context.Context, conn *websocket.Conn, in *os.File) error {
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(int(in.Fd()), old) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, t.cli.out}, t.out.Paint(terminal.Bold, "> "))
	history, err := openHistory(t.cli)
	if err != nil {
		fmt.Fprintf(screen, "%s\n", t.out.Paint(terminal.Dim, "lines will not be remembered: "+err.Error()))
	}
	defer history.close()
	screen.History = history
	defer followSize(screen, in)()

	hello := "connected to " + t.url
	if p := conn.Subprotocol(); p != "" {
		hello += ", subprotocol " + p
	}
	fmt.Fprintf(screen, "%s\n", t.out.Paint(terminal.Dim, hello+". /help lists commands, Ctrl-C closes."))

	typed := make(chan string)
	go func() {
		defer close(typed)
		for {
			line, err := screen.ReadLine()
			if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
				return // Ctrl-C, Ctrl-D, or the terminal is gone
			}
			select {
			case typed <- line:
			case <-ctx.Done():
				return
			}
		}
	}()
	return t.converse(ctx, conn, screen, typed)
}

// converse runs until the person or the server ends it.
func (t *talk) converse(ctx context.Context, conn *websocket.Conn, screen *term.Terminal, typed <-chan string) error {
	defer func() {
		screen.SetPrompt("") // so that the shell's prompt does not follow ours
		fmt.Fprint(screen, "\r")
	}()
	arrivals := listen(ctx, conn)
	say := func(p terminal.Paint, text string) { fmt.Fprintf(screen, "%s\n", t.out.Paint(p, text)) }
	for {
		select {
		case m, ok := <-arrivals:
			switch {
			case !ok:
				return context.Cause(ctx)
			case m.err != nil:
				text, failed := describeClose(m.err)
				say(terminal.Yellow, t.out.Clean(text))
				if failed {
					return errReported
				}
				return nil
			case m.binary:
				say(terminal.Dim, fmt.Sprintf("< binary message, %d bytes", len(m.data)))
			default:
				fmt.Fprintf(screen, "%s%s\n", t.out.Paint(terminal.Green, "< "), t.out.JSON(string(m.data)))
			}
		case line, ok := <-typed:
			if !ok {
				err := conn.Close(websocket.StatusNormalClosure, "")
				say(terminal.Dim, "closed: 1000 (normal)")
				return quietClose(err)
			}
			if done, err := t.typed(ctx, conn, line, say); done || err != nil {
				return err
			}
		case <-ctx.Done():
			_ = conn.Close(websocket.StatusGoingAway, "") // interrupted: the cause is the news
			return context.Cause(ctx)
		}
	}
}

// quietClose forgives a server that does not answer a close: the person is leaving.
func quietClose(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || websocket.CloseStatus(err) != -1 {
		return nil
	}
	return err
}

// typed handles one line: a command, or a message. "//x" sends "/x".
func (t *talk) typed(ctx context.Context, conn *websocket.Conn, line string, say func(terminal.Paint, string)) (done bool, err error) {
	command, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch {
	case line == "":
		return false, nil
	case !strings.HasPrefix(line, "/"), strings.HasPrefix(line, "//"):
		text := line
		if strings.HasPrefix(line, "//") {
			text = line[1:]
		}
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return false, nil // the reading side knows why, and ends the conversation
		}
		return false, nil
	case command == "/ping":
		go ping(ctx, conn, say) // its pong arrives through the reads of converse
		return false, nil
	case command == "/close", command == "/quit":
		code, reason := 1000, ""
		if number, words, _ := strings.Cut(strings.TrimSpace(rest), " "); number != "" {
			if code, err = strconv.Atoi(number); err != nil || code < 1000 || code > 4999 {
				say(terminal.Yellow, "/close CODE REASON: the code is a number from 1000 to 4999")
				return false, nil
			}
			reason = words
		}
		err := conn.Close(websocket.StatusCode(code), reason)
		say(terminal.Dim, fmt.Sprintf("closed: %d %s", code, reason))
		return true, quietClose(err)
	case command == "/help":
		say(terminal.Dim, "/ping             measure the round trip\n/close [CODE [REASON]]  close and leave\n//text            send a message that begins with /\nCtrl-C, Ctrl-D    close with 1000 and leave")
		return false, nil
	}
	say(terminal.Yellow, command+" is not a command (/help); to send it as a message, type /"+line)
	return false, nil
}

func ping(ctx context.Context, conn *websocket.Conn, say func(terminal.Paint, string)) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		say(terminal.Yellow, "no pong within 5 s")
		return
	}
	say(terminal.Dim, fmt.Sprintf("pong after %.1f ms", float64(time.Since(began).Microseconds())/1000))
}

// followSize tells the line editor the terminal's width, now and when it changes.
func followSize(screen *term.Terminal, in *os.File) (stop func()) {
	resize := func() {
		if w, h, err := term.GetSize(int(in.Fd())); err == nil && w > 0 {
			_ = screen.SetSize(w, h) // fails only when the terminal is gone
		}
	}
	resize()
	changed := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(changed, syscall.SIGWINCH)
	go func() {
		for {
			select {
			case <-changed:
				resize()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		close(done)
	}
}
