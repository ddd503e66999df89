package runtime

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/runtime/bootstrap"
)

// pipeLink talks frames to our Node.js and Python bootstraps (package bootstrap
// describes them).
type pipeLink struct {
	w    *worker
	to   *os.File // the process's descriptor 3
	from *os.File // its descriptor 4
	done chan struct{}

	// The answer may arrive, and the next invocation begin, before the goroutine
	// that wrote this one has returned from Write.
	writing sync.Mutex
	buf     []byte // reused; guarded by writing
}

func newPipeLink(w *worker) (p *pipeLink, child []*os.File, err error) {
	in, to, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	from, out, err := os.Pipe()
	if err != nil {
		in.Close()
		to.Close()
		return nil, nil, err
	}
	return &pipeLink{w: w, to: to, from: from, done: make(chan struct{})}, []*os.File{in, out}, nil
}

// deliver writes one invocation frame in one write.
func (p *pipeLink) deliver(c *call) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	b := append(p.buf[:0], 0, 0, 0, 0, 'I', 0, 0)
	b = append(b, c.id...)
	b = append(b, '\n')
	b = strconv.AppendInt(b, c.deadline.UnixMilli(), 10)
	b = append(b, '\n')
	b = append(b, c.trace...)
	b = append(b, '\n')
	b = append(b, c.arn...)
	b = append(b, '\n')
	b = append(b, c.inv.ClientContext...)
	head := len(b) - 7
	if head > 0xffff {
		return fmt.Errorf("the client context is too large: %d bytes", len(c.inv.ClientContext))
	}
	binary.BigEndian.PutUint16(b[5:], uint16(head))
	b = append(b, c.inv.Payload...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	if cap(b) <= 64<<10 {
		p.buf = b
	}
	c.delivered.Store(true)
	n, err := p.to.Write(b)
	if err != nil && n == 0 {
		c.delivered.Store(false)
	}
	return err
}

func (p *pipeLink) stop() {
	p.to.Close()
	p.from.Close()
}

// drain waits for the reader, which ends at end of file: soon, because the
// process group is dead; a deadline guards against a writer that left the group.
func (p *pipeLink) drain() {
	p.from.SetReadDeadline(time.Now().Add(time.Second)) //nolint:errcheck // pipes have deadlines on unix
	<-p.done
	p.stop()
}

// read reports frames until the process is gone or breaks the protocol.
func (p *pipeLink) read() {
	defer close(p.done)
	r := bufio.NewReaderSize(p.from, 32<<10)
	var head [5]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint32(head[:])) - 1
		if n < 0 || n > bootstrap.MaxFrame {
			p.w.onGarbage(fmt.Sprintf("something wrote %q to descriptor 4, which belongs to the runtime", head[:]))
			return
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return
		}
		if !p.frame(head[4], body) {
			return
		}
	}
}

// frame handles one frame; false ends the reading.
func (p *pipeLink) frame(kind byte, body []byte) bool {
	w := p.w
	c := w.running()
	switch {
	case kind == 'L' && len(body) >= 2:
		p.log(body)
	case kind == 'R' && len(body) == 0 && c == nil:
		w.onReady()
	case kind == 'F':
		w.onInitError(body)
	case kind == 'X' && len(body) > 0:
		w.onFatal(body[1:], body[0] == '1')
	case c != nil && kind == 'O':
		w.flushLogs()
		w.onResult(c, body)
	case c != nil && kind == 'E':
		w.flushLogs()
		w.onError(c, body)
	default:
		w.onGarbage(fmt.Sprintf("something wrote an unexpected frame %q to descriptor 4, which belongs to the runtime", kind))
		return false
	}
	return true
}

func (p *pipeLink) log(body []byte) {
	w := p.w
	level := "info"
	switch body[0] {
	case 'w':
		level = "warn"
	case 'e':
		level = "error"
	}
	if body[1] == '1' {
		w.out.add(body[2:], func(text string) { w.log(level, "stdout", text) })
	} else {
		w.err.add(body[2:], func(text string) { w.log(level, "stderr", text) })
	}
}

// flushLogs ends unfinished lines with their invocation.
func (w *worker) flushLogs() {
	w.out.flush(func(text string) { w.log("info", "stdout", text) })
	w.err.flush(func(text string) { w.log("warn", "stderr", text) })
}

var _ link = (*pipeLink)(nil)
