package app

import (
	"bufio"
	"os"
	"sync"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// accessLog appends lines to a file. Lines come from event loops, so add never waits
// for the disk: what it cannot take is counted.
type accessLog struct {
	file  *os.File
	lines chan string
	lost  atomic.Uint64
	ended chan struct{}

	mu     sync.Mutex
	closed bool // guarded by mu
}

// accessLines is how many lines may wait for the disk.
const accessLines = 8192

func openAccessLog(path string) (*accessLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "--access-log: %v", err)
	}
	l := &accessLog{file: f, lines: make(chan string, accessLines), ended: make(chan struct{})}
	go l.run()
	return l, nil
}

func (l *accessLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.lost.Add(1)
		return
	}
	select {
	case l.lines <- line:
	default:
		l.lost.Add(1)
	}
}

// run writes what there is in one go, and to the file before it waits for more.
func (l *accessLog) run() {
	defer close(l.ended)
	w := bufio.NewWriterSize(l.file, 64<<10)
	write := func(line string) {
		_, _ = w.WriteString(line)
		if w.WriteByte('\n') != nil { // bufio keeps its first error
			l.lost.Add(1)
			w.Reset(l.file)
		}
	}
	for line := range l.lines {
		write(line)
		for more := true; more; {
			select {
			case line, ok := <-l.lines:
				if more = ok; ok {
					write(line)
				}
			default:
				more = false
			}
		}
		if w.Flush() != nil {
			l.lost.Add(1)
			w.Reset(l.file)
		}
	}
}

func (l *accessLog) close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.lines)
	}
	<-l.ended
	return l.file.Close()
}

// access takes a line of a stage's access log: to the file, if there is one, else to
// the log.
func (a *App) accessLine(_, stage, line string) {
	if a.accesses != nil {
		a.accesses.add(line)
		return
	}
	a.log(model.LogLine{Level: "info", Source: "access " + stage, Text: line})
}
