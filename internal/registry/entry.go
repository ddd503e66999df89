package registry

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
	"unique"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
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

// Entry is one connection as the registry keeps it, to be embedded in what its
// owner keeps: 96 bytes, of which no part is allocated apart once $connect is over.
type Entry struct {
	// static after Init
	scope *Scope
	agent unique.Handle[string]
	peer  [16]byte // As16 of the address
	since int64    // Unix milliseconds

	next *Entry // guarded by the shard's mu

	// guarded by mu
	mu      sync.Mutex
	link    Link     // set by Open
	waiting *waiting // what is held; nil most of the time
	state   state

	id id.Conn // static after Init
}

// waiting is what is held for a connection while its $connect runs.
type waiting struct {
	held  []*request // in order of arrival
	bytes int
}

// request is one held call.
type request struct {
	kind kind
	data []byte
	done chan error // buffered, so that nobody waits to answer
}

// Init sets what never changes.
func (e *Entry) Init(c id.Conn, info Info) {
	e.id, e.scope = c, info.Scope
	e.peer, e.since = info.SourceIP.As16(), info.ConnectedAt.UnixMilli()
	if info.UserAgent != "" {
		e.agent = unique.Make(info.UserAgent)
	}
}

// ID is the connection's id.
func (e *Entry) ID() id.Conn { return e.id }

// ConnectedAt is in Unix milliseconds.
func (e *Entry) ConnectedAt() int64 { return e.since }

// SourceIP is the client's address, of IPv4 clients in its short form.
func (e *Entry) SourceIP() netip.Addr { return netip.AddrFrom16(e.peer).Unmap() }

// UserAgent is the client's User-Agent; "" without one.
func (e *Entry) UserAgent() string {
	if e.agent == (unique.Handle[string]{}) {
		return ""
	}
	return e.agent.Value()
}

// Link is what Open was given. Only the owner may ask, and only after Open
// returned: nothing guards it then, because nothing changes it.
func (e *Entry) Link() Link { return e.link }

// Info is what Init was given.
func (e *Entry) Info() Info {
	return Info{Scope: e.scope, SourceIP: e.SourceIP(), UserAgent: e.UserAgent(), ConnectedAt: time.UnixMilli(e.since)}
}

func (e *Entry) isOpen() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state == open || e.state == draining
}

// do runs or holds a request and returns the link it ran on.
func (e *Entry) do(ctx context.Context, r *Registry, t *Target, k kind, data []byte) (Link, error) {
	e.mu.Lock()
	switch {
	case e.state == closed, e.state == pending && t.InConnect:
		e.mu.Unlock()
		r.stats.gone.Add(1)
		return nil, errGone
	case e.state == open:
		l := e.link
		if k == disconnect {
			e.state = closed
		}
		e.mu.Unlock()
		return l, r.run(l, k, data)
	case t.NoWait:
		e.mu.Unlock()
		return nil, ErrPending
	}
	w := e.waiting
	if w == nil {
		w = &waiting{}
		e.waiting = w
	}
	if len(w.held) >= r.cfg.HeldPosts || w.bytes+len(data) > r.cfg.HeldBytes {
		draining := e.state == draining
		e.mu.Unlock()
		if draining {
			return nil, fault.New(fault.Throttled, "the connection is still taking what was held during its handshake")
		}
		r.stats.gone.Add(1)
		return nil, errGone
	}
	q := &request{kind: k, data: data, done: make(chan error, 1)}
	w.held = append(w.held, q)
	w.bytes += len(data)
	e.mu.Unlock()
	r.stats.held.Add(1)
	r.stats.heldTotal.Add(1)
	defer r.stats.held.Add(-1)
	return e.wait(ctx, r, q)
}

// wait blocks until a held request was delivered, refused, or has waited enough.
func (e *Entry) wait(ctx context.Context, r *Registry, q *request) (Link, error) {
	// Not on a scaled clock: $connect runs at true speed, and an early 410 makes
	// applications delete rows.
	timer := time.NewTimer(r.cfg.HeldWait)
	defer timer.Stop()
	var err error
	select {
	case err = <-q.done:
		return e.answered(r, err)
	case <-timer.C:
		err = errGone
	case <-ctx.Done():
		err = &fault.Error{Kind: fault.Unavailable, Msg: "the caller gave up waiting for the handshake", Err: context.Cause(ctx)}
	}
	if e.withdraw(q) {
		r.stats.heldExpired.Add(1)
		return nil, err
	}
	// Too late: Open or Remove is about to answer it, and neither blocks.
	return e.answered(r, <-q.done)
}

// answered is what Open or Remove said of a request. Without an error it was Open,
// which had set the link before.
func (e *Entry) answered(r *Registry, err error) (Link, error) {
	if err != nil {
		if errors.Is(err, errGone) { // refused by us: what a link says is another value
			r.stats.heldExpired.Add(1)
		}
		return nil, err
	}
	return e.link, nil
}

// withdraw takes a request back, which only $connect can still have kept waiting:
// one behind others that an open connection is taking will be answered, and 410
// would be wrong.
func (e *Entry) withdraw(q *request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := e.waiting
	if w == nil || e.state != pending {
		return false
	}
	i := slices.Index(w.held, q)
	if i < 0 {
		return false
	}
	w.held = slices.Delete(w.held, i, i+1)
	w.bytes -= len(q.data)
	return true
}

// Open gives a connection its link, right after the 101, and delivers what was
// held for it, in order. A connection that was removed meanwhile stays removed.
//
// Requests that arrive meanwhile queue up behind: were they sent at once, a second
// post could overtake a first one that is still held.
func (r *Registry) Open(e *Entry, l Link) {
	e.mu.Lock()
	e.link = l
	if e.state != pending {
		e.mu.Unlock()
		return
	}
	e.state = draining
	for e.state == draining && e.waiting != nil && len(e.waiting.held) > 0 {
		w := e.waiting
		q := w.held[0]
		w.held = w.held[1:]
		w.bytes -= len(q.data)
		if q.kind == disconnect {
			e.state = closed
		}
		e.mu.Unlock()
		q.done <- r.run(l, q.kind, q.data)
		e.mu.Lock()
	}
	if e.state == draining {
		e.state = open
	}
	rest := e.take()
	e.mu.Unlock()
	refuse(rest)
}

func (e *Entry) remove() {
	e.mu.Lock()
	e.state = closed
	rest := e.take()
	e.mu.Unlock()
	refuse(rest)
}

// take needs mu.
func (e *Entry) take() []*request {
	w := e.waiting
	if w == nil {
		return nil
	}
	e.waiting = nil
	return w.held
}

func refuse(held []*request) {
	for _, q := range held {
		q.done <- errGone
	}
}

// run performs a request on a link.
func (r *Registry) run(l Link, k kind, data []byte) error {
	switch k {
	case post:
		if err := l.Send(data); err != nil {
			if fault.Is(err, fault.Throttled) {
				r.stats.throttled.Add(1)
				return &fault.Error{Kind: fault.Throttled, Msg: "the client's receive buffer is full", Err: err}
			}
			r.stats.gone.Add(1)
			return &fault.Error{Kind: fault.Gone, Msg: "the connection is closing", Err: err}
		}
		r.stats.delivered.Add(1)
		l.Touch()
	case disconnect:
		l.Close(deleteCode, deleteReason)
	}
	return nil
}
