package runtime

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/livegate/livegate/internal/model"
)

const (
	maxLine       = 256 << 10 // CloudWatch's limit for one event
	maxQueued     = 10_000    // lines waiting for Config.Logs
	maxQueuedText = 8 << 20   // and their bytes
)

// logQueue stands between workers, which must never wait, and Config.Logs, which
// may be slow. Overflow policy: drop the newest, and say how many.
type logQueue struct {
	sink func(model.LogLine)
	wake chan struct{} // capacity 1
	done chan struct{}

	mu      sync.Mutex
	lines   []model.LogLine
	bytes   int
	dropped int
	closed  bool
}

func newLogQueue(sink func(model.LogLine)) *logQueue {
	q := &logQueue{sink: sink, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

func (q *logQueue) put(line model.LogLine) {
	if q.sink == nil {
		return
	}
	q.mu.Lock()
	if q.closed || len(q.lines) >= maxQueued || q.bytes+len(line.Text) > maxQueuedText {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.lines = append(q.lines, line)
	q.bytes += len(line.Text)
	first := len(q.lines) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
}

func (q *logQueue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *logQueue) run() {
	defer close(q.done)
	for range q.wake {
		q.mu.Lock()
		lines, dropped, closed := q.lines, q.dropped, q.closed
		q.lines, q.bytes, q.dropped = nil, 0, 0
		q.mu.Unlock()
		for _, line := range lines {
			q.sink(line)
		}
		if dropped > 0 && len(lines) > 0 {
			last := lines[len(lines)-1]
			q.sink(model.LogLine{At: last.At, Level: "warn", Source: last.Source,
				Text: fmt.Sprintf("%d log lines dropped: functions write faster than they can be shown", dropped)})
		}
		if closed {
			return
		}
	}
}

// close delivers what is queued and ends the goroutine.
func (q *logQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	<-q.done
}

// lineBuffer turns the chunks of one stream into events: a chunk that ends with a
// line break is one event, whatever it holds (a stack trace stays together); an
// unfinished line waits for its end. Owned by the goroutine that reads.
type lineBuffer struct{ held strings.Builder }

func (b *lineBuffer) add(chunk []byte, emit func(text string)) {
	if len(chunk) == 0 {
		return
	}
	if b.held.Len() == 0 && chunk[len(chunk)-1] == '\n' {
		emit(string(chunk[:len(chunk)-1]))
		return
	}
	b.held.Write(chunk)
	if chunk[len(chunk)-1] == '\n' || b.held.Len() >= maxLine {
		b.flush(emit)
	}
}

func (b *lineBuffer) flush(emit func(text string)) {
	if b.held.Len() > 0 {
		emit(strings.TrimSuffix(b.held.String(), "\n"))
		b.held.Reset()
	}
}

// addLines is add for raw streams, where a chunk is whatever a read returned:
// every line is an event of its own.
func (b *lineBuffer) addLines(chunk []byte, emit func(text string)) {
	for len(chunk) > 0 {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			b.add(chunk, emit)
			return
		}
		b.add(chunk[:i+1], emit)
		chunk = chunk[i+1:]
	}
}
