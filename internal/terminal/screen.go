package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Screen is one output shared by a log and by the progress of long steps. On a
// terminal the steps in progress stand in a block below the log with a spinner; elsewhere
// each step is a plain line when it begins and one when it ends.
//
// Log never waits for the terminal: whoever logs may be answering a client, and a
// terminal stands still for as long as somebody holds Ctrl-S. Entries wait in a
// bounded queue and leave in batches; beyond it the newest are dropped, and the
// screen says how many.
type Screen struct {
	w    io.Writer
	look Look
	stop chan struct{}
	wake chan struct{} // capacity 1: entries are waiting
	idle sync.WaitGroup

	queue struct { // its lock is never held while writing
		sync.Mutex
		entries []Entry
		bytes   int
		dropped int
		closed  bool // nobody drains any more: Log writes itself
	}

	mu     sync.Mutex
	log    Log
	steps  []*step // in progress, oldest first
	drawn  int     // lines of the block now on the terminal
	frame  int
	closed bool
}

type step struct {
	name, detail string
	began        time.Time
}

// spin is the spinner's pictures: braille dots, one cell each.
const spin = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"

// NewScreen starts a screen on w. Close it.
func NewScreen(w io.Writer, look Look) *Screen {
	s := &Screen{w: w, look: look, stop: make(chan struct{}), wake: make(chan struct{}, 1), log: Log{Look: look}}
	s.idle.Go(s.run)
	return s
}

// Bounds of entries that wait for the terminal.
const (
	maxEntries = 10_000
	maxText    = 8 << 20
)

// Close writes what waits, removes what is in progress and ends the spinner.
// Later writes still work.
func (s *Screen) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.queue.Lock()
	s.queue.closed = true
	s.queue.Unlock()
	s.flush()
	s.erase()
	s.steps = nil
	s.mu.Unlock()
	close(s.stop)
	s.idle.Wait()
}

// Log prints one entry, soon. It never blocks.
func (s *Screen) Log(e Entry) {
	q := &s.queue
	q.Lock()
	if q.closed {
		q.entries = append(q.entries, e)
		q.Unlock()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flush()
		return
	}
	if len(q.entries) >= maxEntries || q.bytes+len(e.Text) > maxText {
		q.dropped++
		q.Unlock()
		return
	}
	q.entries = append(q.entries, e)
	q.bytes += len(e.Text)
	first := len(q.entries) == 1
	q.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// flush writes what waits. The caller holds mu.
func (s *Screen) flush() {
	q := &s.queue
	q.Lock()
	entries, dropped := q.entries, q.dropped
	q.entries, q.bytes, q.dropped = nil, 0, 0
	q.Unlock()
	if len(entries) == 0 {
		return
	}
	var text strings.Builder
	for _, e := range entries {
		text.WriteString(s.log.Line(e))
	}
	if dropped > 0 {
		text.WriteString(s.log.Line(Entry{At: entries[len(entries)-1].At, Level: "warn", Source: "livegate",
			Text: fmt.Sprintf("%d log lines are not shown: the terminal was too slow for them", dropped)}))
	}
	s.erase()
	s.write(text.String())
	s.draw()
}

// Reserve is Log.Reserve.
func (s *Screen) Reserve(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Reserve(names...)
}

// Print prints text as it is, after the entries logged before it; it should end in \n.
func (s *Screen) Print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	s.erase()
	s.write(text)
	s.draw()
}

// Step says that a long step is in progress; again with the same name to show
// another detail.
func (s *Screen) Step(name, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	name, detail = s.look.plain(name), s.look.plain(detail)
	for _, st := range s.steps {
		if st.name == name {
			st.detail = detail
			s.redraw()
			return
		}
	}
	s.steps = append(s.steps, &step{name: name, detail: detail, began: time.Now()})
	if !s.look.Interactive {
		s.write("  · " + name + after(detail) + " …\n")
		return
	}
	s.redraw()
}

// Done ends a step: took is how long it needed, err why it failed.
func (s *Screen) Done(name, detail string, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	name, detail = s.look.plain(name), s.look.plain(detail)
	kept := s.steps[:0]
	for _, st := range s.steps {
		if st.name != name {
			kept = append(kept, st)
			continue
		}
		if took == 0 {
			took = time.Since(st.began)
		}
	}
	clear(s.steps[len(kept):])
	s.steps = kept
	s.erase()
	mark := s.look.Paint(Green, "✓")
	line := name + after(detail) + s.look.Paint(Dim, "  "+Took(took))
	if err != nil {
		mark = s.look.Paint(Red, "✗")
		line = name + after(detail) + ": " + s.look.Clean(err.Error())
	}
	s.write("  " + mark + " " + line + "\n")
	s.draw()
}

// Took is a duration as people say it: "0.4 s", "1 min 12 s".
func Took(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%d ms", max(d.Milliseconds(), 1))
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(d.Seconds(), 0.1))
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
}

func (s *Screen) run() {
	tick := time.NewTicker(100 * time.Millisecond) // of the spinner
	if !s.look.Interactive {
		tick.Stop()
	}
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
			s.mu.Lock()
			s.flush()
			s.mu.Unlock()
		case <-tick.C:
			s.mu.Lock()
			if len(s.steps) > 0 && !s.closed {
				s.frame++
				s.redraw()
			}
			s.mu.Unlock()
		}
	}
}

func (s *Screen) redraw() {
	s.erase()
	s.draw()
}

// erase takes the block of steps off the terminal.
func (s *Screen) erase() {
	if s.drawn > 0 {
		s.write(fmt.Sprintf("\x1b[%dA\r\x1b[J", s.drawn))
		s.drawn = 0
	}
}

func (s *Screen) draw() {
	if !s.look.Interactive || s.closed {
		return
	}
	frames := []rune(spin)
	for _, st := range s.steps {
		waited := ""
		if d := time.Since(st.began); d > 2*time.Second {
			waited = "  " + Took(d)
		}
		// A line that wrapped would be two, and erase would leave one behind.
		text := fit(st.name+after(st.detail)+waited, s.look.Width()-5)
		s.write("  " + s.look.Paint(Cyan, string(frames[s.frame%len(frames)])) + " " + text + "\n")
		s.drawn++
	}
}

// write has nowhere to report an error: a closed terminal must not stop the
// application behind it.
func (s *Screen) write(text string) { _, _ = io.WriteString(s.w, text) }

func after(detail string) string {
	if detail = strings.TrimSpace(detail); detail == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(detail, "\n", " ")
}
