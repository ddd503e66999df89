package conn

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
)

// engine is the event loops of a server. They start with the first listener.
type engine struct {
	srv   *Server
	loops []*loop
	next  atomic.Uint32 // who gets the next connection

	mu      sync.Mutex
	started bool  // guarded by mu
	failed  error // guarded by mu
}

var errLeaving = errors.New("conn: the server is shut down")

func newEngine(s *Server, n int) *engine {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	e := &engine{srv: s, loops: make([]*loop, n)}
	for i := range e.loops {
		e.loops[i] = &loop{e: e, base: home{srv: s, shard: i}, done: make(chan struct{})}
	}
	return e
}

// start runs the loops. An error is for good: connections are then served by the
// portable engine.
func (e *engine) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.started {
		return e.failed
	}
	e.started = true
	if e.srv.isClosing() { // nobody would end them
		e.failed = errLeaving
		return e.failed
	}
	for _, l := range e.loops {
		if e.failed = l.start(); e.failed != nil {
			break
		}
	}
	if e.failed != nil {
		for _, l := range e.loops {
			if l.ep != 0 {
				l.tell(func(m *mail) { m.leave = true })
			}
		}
	}
	return e.failed
}

func (e *engine) running() bool {
	if e == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.started && e.failed == nil
}

// serve accepts from ln on the loops until Shutdown (nil) or until ln fails.
// took is false when it is not a listener for loops; it is then untouched.
func (e *engine) serve(ln net.Listener) (took bool, err error) {
	tl, ok := ln.(*net.TCPListener)
	if e == nil || !ok || e.start() != nil {
		return false, nil
	}
	a, err := newAcceptor(tl)
	if err != nil {
		return false, nil
	}
	// The runtime's own poller would wake up for every connection otherwise.
	ln.Close()
	l := e.loops[int(e.next.Add(1)-1)%len(e.loops)]
	if !l.tell(func(m *mail) { m.acceptors = append(m.acceptors, a) }) {
		a.close()
	}
	return true, <-a.over
}

func (e *engine) each(f func(*home)) {
	if e == nil {
		return
	}
	for _, l := range e.loops {
		f(&l.base)
	}
}

func (e *engine) shards() int {
	if e == nil {
		return 1
	}
	return len(e.loops)
}

// post gives a task to a shard's loop; false when there is none.
func (e *engine) post(shard int, t Task) bool {
	return e.running() && e.loops[shard].tell(func(m *mail) { m.tasks = append(m.tasks, t) })
}

// order tells every loop something.
func (e *engine) order(f func(*mail)) {
	if !e.running() {
		return
	}
	for _, l := range e.loops {
		l.tell(f)
	}
}

// all is every connection on the loops.
func (e *engine) all() (conns []*Conn) {
	if !e.running() {
		return nil
	}
	for _, l := range e.loops {
		answer := make(chan []*Conn, 1)
		if l.tell(func(m *mail) { m.census = append(m.census, answer) }) {
			conns = append(conns, <-answer...)
		}
	}
	return conns
}

func (e *engine) leave()  { e.order(func(m *mail) { m.leave = true }) }
func (e *engine) deafen() { e.order(func(m *mail) { m.deaf = true }) }
func (e *engine) cut()    { e.order(func(m *mail) { m.cut = true }) }

// wait blocks until every loop has ended.
func (e *engine) wait() {
	if !e.running() {
		return
	}
	for _, l := range e.loops {
		<-l.done
	}
}
