package terminal

import (
	"strings"
	"time"
)

// Entry is one event of a log. Its fields are those of model.LogLine, so that one
// converts to the other.
type Entry struct {
	At        time.Time
	Level     string // "info", "warn", "error"
	Source    string
	RequestID string
	Text      string
	Stream    string // "stdout", "stderr" or ""
}

// Log renders entries for one output. The zero Log is plain and usable. It is not
// safe for concurrent use: wrap it in a Screen.
type Log struct {
	Look  Look
	Local *time.Location // nil means time.Local

	width  int            // of the source column: grows to the longest name seen, up to maxSource
	paints map[string]int // source → number, in the order they were first seen
}

const (
	minSource = 8
	maxSource = 24
	shortID   = 8   // characters of a request id that are shown
	maxNames  = 512 // sources that get a colour of their own turn; a bound, not a wish
)

// Reserve fits the source column to names known beforehand, so that lines line up
// from the first on, and names have the same colours in every run.
func (l *Log) Reserve(names ...string) {
	l.width = minSource
	for _, n := range names {
		l.see(n)
	}
}

// see makes room for a name and gives it a colour.
func (l *Log) see(name string) {
	if l.paints == nil {
		l.paints = map[string]int{}
	}
	l.width = min(max(l.width, columns(name), minSource), maxSource)
	if _, known := l.paints[name]; !known && len(l.paints) < maxNames {
		l.paints[name] = len(l.paints)
	}
}

// Line renders one entry, ending in \n:
//
//	12:04:05.123  sendmessage  1f2e3d4c  text
//	                                     continued (stack traces)
//
// Errors and warnings carry their word, so that the log reads without colours.
func (l *Log) Line(e Entry) string {
	loc := l.Local
	if loc == nil {
		loc = time.Local
	}
	source := l.Look.Clean(strings.ReplaceAll(e.Source, "\n", " "))
	l.see(source)
	at := e.At.In(loc).Format("15:04:05.000")
	id := Short(e.RequestID)
	head := l.Look.Paint(Dim, at) + "  " +
		l.Look.Paint(sourcePaint(l.paints[source]), fill(fit(source, l.width), l.width)) + "  " +
		l.Look.Paint(Dim, fill(id, shortID)) + "  "
	indent := strings.Repeat(" ", len(at)+2+l.width+2+shortID+2)

	text := strings.TrimRight(l.Look.Clean(e.Text), "\n")
	paint, word := Plain, ""
	switch e.Level {
	case "error":
		paint, word = Red, "error: "
	case "warn":
		paint, word = Yellow, "warning: "
	}
	if e.Stream != "" {
		word = "" // the function's own words stay its own
	}
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i == 0 {
			b.WriteString(head)
			line = word + line
		} else {
			b.WriteString(indent)
		}
		b.WriteString(l.body(paint, i, line))
		b.WriteByte('\n')
	}
	return b.String()
}

// body paints one line of text: frames of a stack trace step back behind what
// was said.
func (l *Log) body(paint Paint, i int, line string) string {
	if strings.IndexByte(line, 0x1b) >= 0 {
		return line // painted by the function itself
	}
	if i > 0 && traceLine(line) {
		paint = Dim
	}
	return strings.TrimRight(l.Look.Paint(paint, line), " ")
}

// traceLine recognises a frame of a stack trace in the languages that functions
// are written in: "    at f (file.js:1:2)", `  File "x.py", line 3`, "\t/x/main.go:12 +0x1d".
func traceLine(line string) bool {
	t := strings.TrimLeft(line, " \t")
	if len(t) == len(line) {
		return false
	}
	return strings.HasPrefix(t, "at ") || strings.HasPrefix(t, `File "`) || strings.Contains(t, ".go:")
}

// Short is the part of a request id that is shown: the first 8 characters, which
// is the first group of a UUID.
func Short(id string) string {
	if len(id) > shortID {
		id = id[:shortID]
	}
	return strings.Map(func(r rune) rune {
		if control(r) {
			return -1
		}
		return r
	}, id)
}
