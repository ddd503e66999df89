// Package registry knows who is connected to this node: post to a connection,
// close it, look at it, by connection id.
//
// A connection is pending while its $connect runs, open after its 101, and then
// removed; there is no way back. What callers are promised:
//   - an id is valid only for the API and stage it was made for, and only while
//     its node lives: everything else is Gone, never somebody else's connection.
//     All 88 bits are compared, so an id from before a restart is Gone too;
//   - posts from inside a connection's own $connect are Gone at once, as on AWS:
//     the function waits for the post and the handshake for the function, so
//     holding them could only end in a time-out;
//   - posts by anybody else during $connect are held, in order, within bounds,
//     and delivered right after the 101 (ARCHITECTURE §4): three of the public
//     applications push from a stream or an asynchronous call that $connect
//     caused, and on AWS latency hides the race;
//   - posts by one caller that waits for each answer arrive in order. Concurrent
//     callers race, as on AWS.
//
// A Link is called without any lock held. Post blocks only while its connection
// is pending, and not at all when Target.NoWait is set; Open delivers held posts
// before it returns. Errors are of kind fault.Gone, fault.Throttled (the client's
// send queue is full) or fault.Unavailable (the caller's context ended first).
//
// An idle connection costs what [Entry] takes, which its owner embeds in a struct
// of its own, and about twelve bytes of table. Equal user agents are kept once.
package registry

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
)

// Link is one client's transport. Send queues a text message and never blocks; it
// does not keep text.
type Link interface {
	Send(text []byte) error
	Close(code int, reason string)
	LastActive() time.Time
	Touch() // outbound traffic: the idle timer starts over
}

// Scope is the stage a connection is on. One value is shared by all of a stage's
// connections.
type Scope struct{ APIID, Stage string }

// Info is what is known of a connection.
type Info struct {
	Scope       *Scope // not nil
	SourceIP    netip.Addr
	UserAgent   string
	ConnectedAt time.Time // kept to the millisecond
}

// Status is what GET @connections shows.
type Status struct {
	Info
	LastActive time.Time
}

// Item is one connection in a listing.
type Item struct {
	ID   id.Conn
	Info Info
	Open bool // false while $connect runs
}

// Target is the connection a caller means, and on what terms.
type Target struct {
	APIID, Stage string
	Conn         id.Conn
	// InConnect says that the caller is that connection's own $connect, or
	// something it waits for.
	InConnect bool
	// NoWait refuses with ErrPending what would be held, for callers that must not
	// block.
	NoWait bool
}

// ErrPending answers a NoWait call on a connection whose $connect still runs.
var ErrPending = fault.New(fault.Unavailable, "the connection is not open yet")

var errGone = fault.New(fault.Gone, "the connection is gone")

// Config of a registry. Zero values mean the defaults.
type Config struct {
	Node id.NodeKey
	// Bounds of what is held for one connection while its $connect runs.
	HeldPosts int           // 64
	HeldBytes int           // 256 KiB
	HeldWait  time.Duration // 2 s
}

// Close code and reason that DELETE @connections produces (boto/boto3#3789).
const (
	deleteCode   = 1000
	deleteReason = "Connection Closed Normally"
)

// Registry is safe for concurrent use.
type Registry struct {
	cfg    Config // static after New
	count  atomic.Int64
	stats  counters
	shards [shards]shard
}

// New returns an empty registry.
func New(cfg Config) *Registry {
	if cfg.HeldPosts <= 0 {
		cfg.HeldPosts = 64
	}
	if cfg.HeldBytes <= 0 {
		cfg.HeldBytes = 256 << 10
	}
	if cfg.HeldWait <= 0 {
		cfg.HeldWait = 2 * time.Second
	}
	return &Registry{cfg: cfg}
}

// Node is the key that this registry's connection ids carry.
func (r *Registry) Node() id.NodeKey { return r.cfg.Node }

func (r *Registry) find(t *Target) *Entry {
	if t.Conn.Node() != r.cfg.Node {
		return nil
	}
	e := r.shard(&t.Conn).find(&t.Conn)
	if e == nil || e.scope.APIID != t.APIID || e.scope.Stage != t.Stage {
		return nil
	}
	return e
}

// Begin enters a connection whose $connect is about to run. Init came before.
func (r *Registry) Begin(e *Entry) {
	r.shard(&e.id).add(e)
	r.count.Add(1)
	r.stats.begun.Add(1)
}

// Remove forgets a connection; what is held for it is answered Gone.
func (r *Registry) Remove(e *Entry) {
	if r.shard(&e.id).remove(e) {
		r.count.Add(-1)
		e.remove()
	}
}

// Post sends one text message to a connection.
func (r *Registry) Post(ctx context.Context, t Target, data []byte) error {
	_, _, err := r.do(ctx, &t, post, data)
	return err
}

// Inspect returns a connection's status.
func (r *Registry) Inspect(ctx context.Context, t Target) (Status, error) {
	e, l, err := r.do(ctx, &t, inspect, nil)
	if err != nil {
		return Status{}, err
	}
	return Status{Info: e.Info(), LastActive: l.LastActive()}, nil
}

// Disconnect closes a connection with 1000 "Connection Closed Normally". From
// then on it is Gone for every caller.
func (r *Registry) Disconnect(ctx context.Context, t Target) error {
	_, _, err := r.do(ctx, &t, disconnect, nil)
	return err
}

func (r *Registry) do(ctx context.Context, t *Target, k kind, data []byte) (*Entry, Link, error) {
	e := r.find(t)
	if e == nil {
		r.stats.gone.Add(1)
		return nil, nil, errGone
	}
	l, err := e.do(ctx, r, t, k, data)
	return e, l, err
}

// Count is the number of connections, pending ones included.
func (r *Registry) Count() int { return int(r.count.Load()) }

// List returns the connections of a stage in no particular order.
func (r *Registry) List(apiID, stage string) []Item {
	var out []Item
	for _, e := range r.of(apiID, stage) {
		out = append(out, Item{ID: e.id, Info: e.Info(), Open: e.isOpen()})
	}
	return out
}

// Close closes every connection of a stage that has its link, and says how many.
// Those whose $connect still runs are left to their owner.
func (r *Registry) Close(apiID, stage string, code int, reason string) (n int) {
	for _, e := range r.of(apiID, stage) {
		e.mu.Lock()
		l := e.link
		e.mu.Unlock()
		if l != nil {
			l.Close(code, reason)
			n++
		}
	}
	return n
}

func (r *Registry) of(apiID, stage string) []*Entry {
	var out []*Entry
	for i := range r.shards {
		out = r.shards[i].collect(out, apiID, stage)
	}
	return out
}

// Stats is a snapshot of a registry's counters; those that are not marked only
// grow.
type Stats struct {
	Connections int64 // now, pending ones included
	Held        int64 // requests waiting for a 101 now
	Begun       int64 // connections entered
	HeldTotal   int64 // requests that waited for a 101
	HeldExpired int64 // of those, answered without having been delivered
	Delivered   int64 // messages queued for a client
	Throttled   int64 // messages refused because the client's queue was full
	Gone        int64 // requests for connections that are not here
}

type counters struct {
	held, begun, heldTotal, heldExpired, delivered, throttled, gone atomic.Int64
}

// Stats returns the counters now.
func (r *Registry) Stats() Stats {
	c := &r.stats
	return Stats{
		Connections: r.count.Load(), Held: c.held.Load(), Begun: c.begun.Load(), HeldTotal: c.heldTotal.Load(),
		HeldExpired: c.heldExpired.Load(), Delivered: c.delivered.Load(), Throttled: c.throttled.Load(), Gone: c.gone.Load(),
	}
}
