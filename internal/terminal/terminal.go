// Package terminal is how things look on a terminal: log lines, tables, error
// reports with their source line, progress, JSON in colour.
//
// It promises: without colour the output is plain text with no escape sequence at
// all, whatever a function printed; with colour, only colours and weights pass
// through, never a sequence that moves the cursor, sets a title or writes the
// clipboard. Tables fit the given width. A Screen may be written to from several
// goroutines; a spinner never tears a log line.
//
// It knows no application, no network and no flag. Everything renders into
// strings or an io.Writer, so tests compare text.
package terminal

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// DefaultWidth is used when the output is no terminal, or does not say.
const DefaultWidth = 100

// Look says what an output can show. The zero Look is plain text, DefaultWidth wide.
type Look struct {
	Color       bool
	Interactive bool // a person is watching: spinners make sense
	Columns     int  // 0 means DefaultWidth
}

// Width is the usable width in columns.
func (l Look) Width() int {
	if l.Columns <= 0 {
		return DefaultWidth
	}
	return l.Columns
}

// Detect looks at an output and the environment: colours only on a terminal, never
// with NO_COLOR set to anything (no-color.org) or TERM=dumb.
func Detect(w io.Writer, getenv func(string) string) Look {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return Look{}
	}
	l := Look{Interactive: getenv("TERM") != "dumb"}
	l.Color = l.Interactive && getenv("NO_COLOR") == ""
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		l.Columns = width
	}
	return l
}

// Paint is a colour or weight, as an SGR sequence (ECMA-48 §8.3.117).
type Paint string

const (
	Plain   Paint = ""
	Bold    Paint = "\x1b[1m"
	Dim     Paint = "\x1b[2m"
	Red     Paint = "\x1b[31m"
	Green   Paint = "\x1b[32m"
	Yellow  Paint = "\x1b[33m"
	Blue    Paint = "\x1b[34m"
	Magenta Paint = "\x1b[35m"
	Cyan    Paint = "\x1b[36m"
	reset         = "\x1b[0m"
)

// Paint wraps s in p where colours are shown.
func (l Look) Paint(p Paint, s string) string {
	if !l.Color || p == Plain || s == "" {
		return s
	}
	return string(p) + s + reset
}

// sourcePaint is the colour of the nth log source: neighbours differ. Red and
// yellow are left to errors and warnings.
func sourcePaint(n int) Paint {
	paints := [...]Paint{Cyan, Magenta, Green, Blue, "\x1b[36;1m", "\x1b[35;1m", "\x1b[32;1m", "\x1b[34;1m"}
	return paints[n%len(paints)]
}

// Clean makes text from outside safe to print: line ends become \n, tabs stay,
// escape sequences and other control characters go. Colours (SGR sequences) stay
// where colours are shown; reset is added when one was left open.
//
// A worked counter-example: a chat client sends "\x1b]0;pwned\x07\x1b[2J" and the
// function logs the message. Printed as it is, the log clears the developer's
// screen and renames the window.
func (l Look) Clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD") // a lone 0x9b is CSI to an 8-bit terminal
	if !strings.ContainsFunc(s, control) {
		return s
	}
	var b strings.Builder
	painted := false
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			n, sgr := sequence(s[i:])
			if sgr && l.Color {
				b.WriteString(s[i : i+n])
				painted = true
			}
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\r' && strings.HasPrefix(s[i+1:], "\n"):
		case r == '\r':
			b.WriteByte('\n') // progress bars: one line per state
		case r == '\n', r == '\t', !control(r):
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	if painted {
		b.WriteString(reset)
	}
	return b.String()
}
