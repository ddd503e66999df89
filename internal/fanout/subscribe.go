package fanout

import (
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/topic"
)

// member is a sink's subscriptions. Guarded by its shard's members.mu, but for
// seen.
type member struct {
	subs []*subscription
	at   map[topic.Filter]int // index into subs, once there are many

	// seen is the number of the last message that matched through several filters;
	// owned by the loop.
	seen uint64
}

type subscription = topic.Subscription[subscriber]

// few is up to how many subscriptions are found by looking at each.
const few = 16

func (m *member) find(f topic.Filter) int {
	if m.at != nil {
		if i, ok := m.at[f]; ok {
			return i
		}
		return -1
	}
	for i, s := range m.subs {
		if s.Filter() == f {
			return i
		}
	}
	return -1
}

func (m *member) add(s *subscription) {
	m.subs = append(m.subs, s)
	switch {
	case m.at != nil:
		m.at[s.Filter()] = len(m.subs) - 1
	case len(m.subs) > few:
		m.at = make(map[topic.Filter]int, 2*few)
		for i, s := range m.subs {
			m.at[s.Filter()] = i
		}
	}
}

func (m *member) remove(i int) {
	last := len(m.subs) - 1
	if m.at != nil {
		delete(m.at, m.subs[i].Filter())
		if i != last {
			m.at[m.subs[last].Filter()] = i
		}
	}
	m.subs[i] = m.subs[last]
	m.subs[last] = nil
	m.subs = m.subs[:last]
	if last <= few/2 {
		m.at = nil
	}
}

// Subscribe delivers to s what is published to a channel, or to those that a
// wildcard such as "news/*" stands for. What s is subscribed to already stays as
// it is. Errors are of kind fault.BadRequest (the name is malformed) or
// fault.Throttled (a limit is reached); then nothing has changed.
//
// A subscription holds s in memory until it is given up: when a sink goes, call
// UnsubscribeAll after its last Subscribe.
func (h *Hub) Subscribe(name string, s Sink) (err error) {
	defer fault.Wrap(&err, "fanout.Subscribe")
	f, err := h.cfg.Grammar.Filter(name)
	if err != nil {
		return err
	}
	sh, group, err := h.shardOf(s)
	if err != nil {
		return err
	}
	sh.members.mu.Lock()
	defer sh.members.mu.Unlock()
	m := sh.of[s]
	if m == nil {
		m = &member{subs: make([]*subscription, 0, 1)}
	}
	if m.find(f) >= 0 {
		return nil
	}
	if len(m.subs) >= h.cfg.PerSink {
		return fault.New(fault.Throttled,
			"channel %q: the subscriber has %d subscriptions, the most allowed; unsubscribe from another channel first",
			f.String(), len(m.subs))
	}
	sub, err := h.index.Subscribe(f, group, subscriber{s, m})
	if err != nil {
		return err
	}
	m.add(sub)
	if len(m.subs) == 1 {
		sh.members.add(s, m)
	}
	return nil
}

// Unsubscribe ends what Subscribe began with the same name, in any spelling.
// Errors are of kind fault.BadRequest (the name is malformed) or fault.NotFound
// (s is not subscribed to it).
func (h *Hub) Unsubscribe(name string, s Sink) (err error) {
	defer fault.Wrap(&err, "fanout.Unsubscribe")
	f, err := h.cfg.Grammar.Filter(name)
	if err != nil {
		return err
	}
	sh, _, err := h.shardOf(s)
	if err != nil {
		return err
	}
	sh.members.mu.Lock()
	defer sh.members.mu.Unlock()
	m := sh.of[s]
	i := -1
	if m != nil {
		i = m.find(f)
	}
	if i < 0 {
		return fault.New(fault.NotFound, "channel %q: the subscriber is not subscribed to it", f.String())
	}
	h.index.Unsubscribe(m.subs[i])
	m.remove(i)
	if len(m.subs) == 0 {
		sh.members.remove(s)
	}
	return nil
}

// UnsubscribeAll ends all subscriptions of s and says how many there were. It
// costs as much as they are many. Nothing is held in memory for s afterwards.
func (h *Hub) UnsubscribeAll(s Sink) int {
	sh, _, err := h.shardOf(s)
	if err != nil {
		return 0 // Subscribe refused it as well
	}
	sh.members.mu.Lock()
	m := sh.of[s]
	if m != nil {
		sh.members.remove(s)
	}
	sh.members.mu.Unlock()
	if m == nil {
		return 0
	}
	for _, sub := range m.subs {
		h.index.Unsubscribe(sub)
	}
	return len(m.subs)
}

func (ms *members) add(s Sink, m *member) {
	if ms.of == nil {
		ms.of = make(map[Sink]*member)
	}
	ms.of[s] = m
	ms.peak = max(ms.peak, len(ms.of))
}

// remove forgets a sink. A map keeps the size it once had, so one that has become
// far too large is exchanged: its copying is paid for by the departures before.
func (ms *members) remove(s Sink) {
	delete(ms.of, s)
	if ms.peak < 64 || len(ms.of) > ms.peak/8 {
		return
	}
	of := make(map[Sink]*member, len(ms.of))
	for s, m := range ms.of {
		of[s] = m
	}
	ms.of, ms.peak = of, len(of)
}
