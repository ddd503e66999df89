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
// is pending; Open delivers held posts before it returns. Errors are of kind
// fault.Gone, fault.Throttled (the client's send queue is full) or
// fault.Unavailable (the caller's context ended first).
package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/id"
)

// Link is one client's transport. Send queues a text message and never blocks.
type Link interface {
	Send(text []byte) error
	Close(code int, reason string)
	LastActive() time.Time
	Touch() // outbound traffic: the idle timer starts over
}

// Info is what is known of a connection.
type Info struct {
	APIID, Stage        string
	SourceIP, UserAgent string
	ConnectedAt         time.Time
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

// shards spreads the map's locks; a power of two.
const shards = 64

// Registry is safe for concurrent use.
type Registry struct {
	cfg    Config // static after New
	count  atomic.Int64
	shards [shards]shard
}

type shard struct {
	mu    sync.RWMutex
	conns map[id.Conn]*entry
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
	r := &Registry{cfg: cfg}
	for i := range r.shards {
		r.shards[i].conns = make(map[id.Conn]*entry)
	}
	return r
}

// Node is the key that this registry's connection ids carry.
func (r *Registry) Node() id.NodeKey { return r.cfg.Node }

// shard picks by the last byte, which is random in every id.
func (r *Registry) shard(c id.Conn) *shard { return &r.shards[c[id.Size-1]%shards] }

func (r *Registry) find(c id.Conn) *entry {
	if c.Node() != r.cfg.Node {
		return nil
	}
	s := r.shard(c)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.conns[c]
}

// Begin enters a connection whose $connect is about to run.
func (r *Registry) Begin(c id.Conn, info Info) {
	s := r.shard(c)
	s.mu.Lock()
	s.conns[c] = &entry{info: info}
	s.mu.Unlock()
	r.count.Add(1)
}

// Open gives a pending connection its link, right after the 101, and delivers
// what was held for it. A connection that was removed meanwhile stays removed.
func (r *Registry) Open(c id.Conn, l Link) {
	if e := r.find(c); e != nil {
		e.open(l)
	}
}

// Remove forgets a connection; what is held for it is answered Gone.
func (r *Registry) Remove(c id.Conn) {
	s := r.shard(c)
	s.mu.Lock()
	e := s.conns[c]
	delete(s.conns, c)
	s.mu.Unlock()
	if e != nil {
		r.count.Add(-1)
		e.remove()
	}
}

// Post sends one text message to a connection. inConnect says that the caller is
// that connection's own $connect, or something it waits for.
func (r *Registry) Post(ctx context.Context, apiID, stage string, c id.Conn, data []byte, inConnect bool) error {
	_, err := r.do(ctx, apiID, stage, c, &request{kind: post, data: data}, inConnect)
	return err
}

// Inspect returns a connection's status.
func (r *Registry) Inspect(ctx context.Context, apiID, stage string, c id.Conn, inConnect bool) (Status, error) {
	l, err := r.do(ctx, apiID, stage, c, &request{kind: inspect}, inConnect)
	if err != nil {
		return Status{}, err
	}
	e := r.find(c)
	if e == nil {
		return Status{}, gone()
	}
	return Status{Info: e.info, LastActive: l.LastActive()}, nil
}

// Disconnect closes a connection with 1000 "Connection Closed Normally". From
// then on it is Gone for every caller.
func (r *Registry) Disconnect(ctx context.Context, apiID, stage string, c id.Conn, inConnect bool) error {
	_, err := r.do(ctx, apiID, stage, c, &request{kind: disconnect}, inConnect)
	return err
}

func (r *Registry) do(ctx context.Context, apiID, stage string, c id.Conn, q *request, inConnect bool) (Link, error) {
	e := r.find(c)
	if e == nil || e.info.APIID != apiID || e.info.Stage != stage {
		return nil, gone()
	}
	return e.do(ctx, &r.cfg, q, inConnect)
}

// Count is the number of connections, pending ones included.
func (r *Registry) Count() int { return int(r.count.Load()) }

// List returns the connections of a stage in no particular order.
func (r *Registry) List(apiID, stage string) []Item {
	var out []Item
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.RLock()
		entries := make(map[id.Conn]*entry)
		for c, e := range s.conns {
			if e.info.APIID == apiID && e.info.Stage == stage {
				entries[c] = e
			}
		}
		s.mu.RUnlock()
		for c, e := range entries {
			out = append(out, Item{ID: c, Info: e.info, Open: e.isOpen()})
		}
	}
	return out
}

func gone() error { return fault.New(fault.Gone, "the connection is gone") }
