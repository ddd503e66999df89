package registry

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

type state uint8

const (
	pending  state = iota // $connect runs: requests are held
	draining              // the 101 is out, held requests are being delivered
	open                  // requests go straight to the link
	closed                // closed by DELETE, or removed
)

type kind uint8

const (
	post kind = iota
	inspect
	disconnect
)

// entry is one connection.
type entry struct {
	info Info // static after Begin

	// guarded by mu
	mu    sync.Mutex
	state state
	link  Link       // set by open
	held  []*request // in order of arrival
	bytes int
}

// request is one call, held or direct.
type request struct {
	kind kind
	data []byte
	done chan error // made when held; buffered, so that nobody waits to answer
}

func (e *entry) isOpen() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == open || e.state == draining
}

// do runs or holds a request and returns the link it ran on.
func (e *entry) do(ctx context.Context, cfg *Config, q *request, inConnect bool) (Link, error) {
	e.mu.Lock()
	switch {
	case e.state == closed, e.state == pending && inConnect:
		e.mu.Unlock()
		return nil, gone()
	case e.state == open:
		l := e.link
		if q.kind == disconnect {
			e.state = closed
		}
		e.mu.Unlock()
		return l, q.run(l)
	case len(e.held) >= cfg.HeldPosts || e.bytes+len(q.data) > cfg.HeldBytes:
		draining := e.state == draining
		e.mu.Unlock()
		if draining {
			return nil, fault.New(fault.Throttled, "the connection is still taking what was held during its handshake")
		}
		return nil, gone()
	}
	q.done = make(chan error, 1)
	e.held = append(e.held, q)
	e.bytes += len(q.data)
	e.mu.Unlock()
	return e.wait(ctx, cfg, q)
}

// wait blocks until a held request was delivered, refused, or has waited enough.
func (e *entry) wait(ctx context.Context, cfg *Config, q *request) (Link, error) {
	// Not on a scaled clock: $connect runs at true speed, and an early 410 makes
	// applications delete rows.
	timer := time.NewTimer(cfg.HeldWait)
	defer timer.Stop()
	var err error
	select {
	case err = <-q.done:
		return e.link, err // written before done was answered
	case <-timer.C:
		err = gone()
	case <-ctx.Done():
		err = &fault.Error{Kind: fault.Unavailable, Msg: "the caller gave up waiting for the handshake", Err: context.Cause(ctx)}
	}
	if e.withdraw(q) {
		return nil, err
	}
	// Too late: somebody is delivering it at this moment, which never blocks.
	err = <-q.done
	return e.link, err
}

func (e *entry) withdraw(q *request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.Index(e.held, q)
	if i < 0 {
		return false
	}
	e.held = slices.Delete(e.held, i, i+1)
	e.bytes -= len(q.data)
	return true
}

// open delivers what is held, in order. Requests that arrive meanwhile queue up
// behind: were they sent at once, a second post could overtake a first one that
// is still held.
func (e *entry) open(l Link) {
	e.mu.Lock()
	if e.state != pending {
		e.mu.Unlock()
		return
	}
	e.state, e.link = draining, l
	for e.state == draining && len(e.held) > 0 {
		q := e.held[0]
		e.held = e.held[1:]
		e.bytes -= len(q.data)
		if q.kind == disconnect {
			e.state = closed
		}
		e.mu.Unlock()
		q.done <- q.run(l)
		e.mu.Lock()
	}
	if e.state == draining {
		e.state = open
	}
	rest := e.take()
	e.mu.Unlock()
	refuse(rest)
}

func (e *entry) remove() {
	e.mu.Lock()
	e.state = closed
	rest := e.take()
	e.mu.Unlock()
	refuse(rest)
}

func (e *entry) take() []*request {
	rest := e.held
	e.held, e.bytes = nil, 0
	return rest
}

func refuse(held []*request) {
	for _, q := range held {
		q.done <- gone()
	}
}

// run performs a request on a link.
func (q *request) run(l Link) error {
	switch q.kind {
	case post:
		if err := l.Send(q.data); err != nil {
			if fault.Is(err, fault.Throttled) {
				return &fault.Error{Kind: fault.Throttled, Msg: "the client's receive buffer is full", Err: err}
			}
			return &fault.Error{Kind: fault.Gone, Msg: "the connection is closing", Err: err}
		}
		l.Touch()
	case disconnect:
		l.Close(deleteCode, deleteReason)
	}
	return nil
}
