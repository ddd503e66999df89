package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

const (
	defaultHistory = 2000
	historyBytes   = 4 << 20
	// maxText is how much of one event is kept: a function that prints megabytes
	// must not push everybody else out of the history.
	maxText = 64 << 10
	// stall is how long a reader may take for one batch of events before its
	// stream is given up.
	stall = 30 * time.Second
)

// Timeline keeps the last events of a run and wakes those who read it. Readers
// hold a position, not a queue: whoever is too slow finds that the oldest events it
// wanted are gone, and is told how many. Overflow verdict: drop oldest, count,
// tell. It exists before any server does, so that the events of a start are kept.
type Timeline struct {
	maxItems, maxBytes int
	run                string // names this run in event ids
	done               chan struct{}

	mu      sync.Mutex
	events  []client.Event // consecutive Seq, oldest first
	bytes   int            // of text in events
	last    uint64         // Seq of the newest event; 0 before the first
	version uint64         // counts status changes
	wake    chan struct{}  // closed and replaced when there is news
	closed  bool
}

// NewTimeline returns a timeline that keeps the last items events (0 means 2000)
// and at most 4 MiB of their text.
func NewTimeline(items int) *Timeline {
	if items <= 0 {
		items = defaultHistory
	}
	return &Timeline{maxItems: items, maxBytes: historyBytes,
		run: strconv.FormatInt(time.Now().UnixMicro(), 36), done: make(chan struct{}), wake: make(chan struct{})}
}

// Add appends an event. It never blocks on a reader.
func (t *Timeline) Add(l model.LogLine) {
	text := l.Text
	if len(text) > maxText {
		text = fmt.Sprintf("%s… (%d bytes more)", text[:maxText], len(text)-maxText)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	t.events = append(t.events, client.Event{Seq: t.last, At: l.At, Level: l.Level, Source: l.Source,
		RequestID: l.RequestID, Text: text, Stream: l.Stream})
	t.bytes += len(text)
	drop := 0
	for len(t.events)-drop > 1 && (len(t.events)-drop > t.maxItems || t.bytes > t.maxBytes) {
		t.bytes -= len(t.events[drop].Text)
		t.events[drop] = client.Event{} // its text must not stay reachable
		drop++
	}
	t.events = t.events[drop:]
	t.signal()
}

// Changed tells readers that the status is another one now.
func (t *Timeline) Changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version++
	t.signal()
}

// Close ends all event streams, so that an HTTP server can drain. Add still works.
func (t *Timeline) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.done)
	}
}

func (t *Timeline) signal() {
	close(t.wake)
	t.wake = make(chan struct{})
}

// read returns what came after a position: at most 256 events, how many were lost
// before the first of them, the status version, and a channel that is closed when
// there is more.
func (t *Timeline) read(after uint64) (events []client.Event, lost, version uint64, wake <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after > t.last {
		after = 0 // a position from an earlier run of the instance
	}
	oldest := t.last - uint64(len(t.events)) // Seq before the oldest kept
	if after < oldest {
		lost, after = oldest-after, oldest
	}
	from := t.events[after-oldest:]
	return append(events, from[:min(len(from), 256)]...), lost, t.version, t.wake
}

// handleEvents streams the timeline as server-sent events (WHATWG HTML §9.2):
//
//	id: RUN.7
//	event: log
//	data: {client.Event}
//
//	event: status      the status has changed: ask again
//	data: {}
//
//	event: gap         the reader was too slow, or came too late
//	data: {"lost": 12}
//
// A browser that reconnects continues after its Last-Event-ID; RUN tells whether
// that was another run of the instance, whose numbers mean nothing here.
func (s *Server) handleEvents(w http.ResponseWriter, r *http.Request) {
	after, err := s.position(r)
	if err != nil {
		sendProblem(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	// A client that asked for everything did not miss what was dropped before it came.
	fresh := after == 0
	_, _, seen, _ := s.cfg.Timeline.read(after)
	beat := time.NewTicker(s.cfg.Beat)
	defer beat.Stop()
	for {
		events, lost, version, wake := s.cfg.Timeline.read(after)
		// Not every ResponseWriter has deadlines; without one a stuck reader only
		// holds its own goroutine.
		_ = out.SetWriteDeadline(time.Now().Add(stall))
		if lost > 0 && !fresh {
			fmt.Fprintf(w, "event: gap\ndata: {\"lost\": %d}\n\n", lost)
		}
		for _, e := range events {
			body, err := json.Marshal(e)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "id: %s.%d\nevent: log\ndata: %s\n\n", s.cfg.Timeline.run, e.Seq, body)
			after = e.Seq
		}
		fresh = false
		if version != seen {
			fmt.Fprint(w, "event: status\ndata: {}\n\n")
			seen = version
		}
		if err := out.Flush(); err != nil {
			return
		}
		if len(events) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-beat.C:
			fmt.Fprint(w, ": alive\n\n")
		case <-r.Context().Done():
			return
		case <-s.cfg.Timeline.done:
			return
		}
	}
}

// position is the Seq after which a reader wants to go on: from Last-Event-ID, else
// from ?after=SEQ; 0 is the beginning.
func (s *Server) position(r *http.Request) (uint64, error) {
	from := r.URL.Query().Get("after")
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		run, seq, _ := strings.Cut(id, ".")
		if run != s.cfg.Timeline.run {
			return 0, nil
		}
		from = seq
	}
	if from == "" {
		return 0, nil
	}
	after, err := strconv.ParseUint(from, 10, 64)
	if err != nil {
		return 0, fault.New(fault.BadRequest, "%q is not an event number", from)
	}
	return after, nil
}
