package fanout

import (
	"sync"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
)

// Publish sends a message to all subscribers of a channel and says how many
// subscriptions it matched; a sink that matched through several is counted for
// each. The payload, for frame.Text valid UTF-8, is copied, and only if there are
// any. Errors are of kind fault.BadRequest (the name is malformed, or a wildcard),
// fault.TooLarge (the payload alone is over the limit of bytes waiting) or
// fault.Throttled (too much is waiting); then nobody gets the message.
func (h *Hub) Publish(name string, op frame.Opcode, payload []byte) (subscriptions int, err error) {
	return h.publish(name, op, payload, nil)
}

// PublishPrepared is Publish with a message that is encoded already.
func (h *Hub) PublishPrepared(name string, p *frame.Prepared) (subscriptions int, err error) {
	return h.publish(name, 0, nil, p)
}

func (h *Hub) publish(name string, op frame.Opcode, payload []byte, p *frame.Prepared) (n int, err error) {
	c, err := h.cfg.Grammar.Channel(name)
	if err != nil {
		fault.Wrap(&err, "fanout.Publish")
		return 0, err
	}
	var buf [8]view // most channels match one filter, with a view per shard
	views := h.index.Match(c, buf[:0])
	for _, v := range views {
		n += v.Count
	}
	if len(views) > 0 {
		if p == nil {
			p = frame.Prepare(op, payload, c.String())
		}
		if err := h.reserve(views, p.Size()); err != nil {
			h.refused.Add(1)
			fault.Wrap(&err, "fanout.Publish(%q)", name)
			return 0, err
		}
		h.post(views, p)
	}
	h.published.Add(1)
	return n, nil
}

// reserve takes room for a message on every shard that it goes to, or on none.
func (h *Hub) reserve(views []view, size int) error {
	if size > h.cfg.PendingBytes {
		return fault.New(fault.TooLarge, "the message is %d bytes long; at most %d may wait to be delivered",
			size, h.cfg.PendingBytes)
	}
	for i, v := range views {
		if repeated(views, i) || h.shards[v.Group].take(size, h.cfg) {
			continue
		}
		for j := range views[:i] {
			if !repeated(views, j) {
				h.shards[views[j].Group].give(1, size)
			}
		}
		return fault.New(fault.Throttled,
			"too many messages wait to be delivered (limits: %d messages, %d bytes); publish again later",
			h.cfg.PendingMessages, h.cfg.PendingBytes)
	}
	return nil
}

// repeated reports whether views[i] is not the first of its group.
func repeated(views []view, i int) bool {
	for _, v := range views[:i] {
		if v.Group == views[i].Group {
			return true
		}
	}
	return false
}

func (h *Hub) post(views []view, p *frame.Prepared) {
	for i, v := range views {
		if repeated(views, i) {
			continue
		}
		m := message{p: p, view: v}
		for _, other := range views[i+1:] {
			if other.Group == v.Group {
				m.more = append(m.more, other)
			}
		}
		s := &h.shards[v.Group]
		if s.push(m) {
			h.cfg.Loops.Post(v.Group, s.task)
		}
	}
}

// message is one publication's part on one shard.
type message struct {
	p    *frame.Prepared
	view view
	more []view // other filters that match
}

// outbox is what waits to be delivered on one shard. Its own queue, and not one
// task per message, so that the order does not hang on how a loop treats tasks
// that are not done, and so that messages to the same subscribers go together.
type outbox struct {
	task func(spent func() bool) bool // static

	messages  atomic.Int64 // reserved or waiting
	bytes     atomic.Int64
	delivered atomic.Uint64

	mu     sync.Mutex
	queue  []message // guarded by mu
	posted bool      // guarded by mu: the task is posted or running

	work // owned by the loop
}

func (o *outbox) take(size int, c Config) bool {
	messages, bytes := o.messages.Add(1), o.bytes.Add(int64(size))
	if messages > int64(c.PendingMessages) || bytes > int64(c.PendingBytes) {
		o.give(1, size)
		return false
	}
	return true
}

func (o *outbox) give(messages, size int) {
	o.messages.Add(-int64(messages))
	o.bytes.Add(-int64(size))
}

// push queues a message and reports whether the task must be posted.
func (o *outbox) push(m message) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.queue = append(o.queue, m)
	post := !o.posted
	o.posted = true
	return post
}
