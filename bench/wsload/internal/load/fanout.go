//go:build linux

package load

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Fanout publishes to N subscribers of one channel. With a Window at most so many
// messages are not yet delivered to all: the server is saturated and never asked
// to drop. With a Rate it is an open loop, and latency counts from the time a
// message was due.
type Fanout struct {
	N, Window, Size    int
	Rate               float64 // messages per second, 0: Window
	Warm, Time, Settle time.Duration
}

// Run measures.
func (f Fanout) Run(t *Target, m Metrics) error {
	s, err := newSubscribers(t, f, use{})
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.open(); err != nil {
		return err
	}
	if err := s.publish(f.Warm, nil); err != nil {
		return err
	}
	a := t.meter()
	if err := s.publish(f.Time, nil); err != nil {
		return err
	}
	b := t.meter()
	b.at = max(s.g.lastAt.Load(), a.at+1) // waiting for stragglers is not part of the run
	s.report(m)
	a.cost(b, uint64(m["delivered"]), m)
	m["srv_rss_mb"] = t.rss() / 1e6
	return nil
}

// subscribers is a group that listens to channel t0, and who publishes there.
type subscribers struct {
	t     *Target
	f     Fanout
	g     *group
	pub   publisher
	phase atomic.Uint32
	sent  uint64
	want  uint64 // deliveries of what was sent and not refused
	first int64

	refused uint64 // messages that the publisher was told will not be delivered

	everybody uint32        // who listens in this phase
	counts    []uint32      // deliveries by message number; owned by the group
	complete  atomic.Uint64 // messages, from the first on, that everybody has
}

func newSubscribers(t *Target, f Fanout, u use) (*subscribers, error) {
	p := &t.Proto
	s := &subscribers{t: t, f: f}
	u.n, u.path, u.hello, u.ready = f.N, or(p.SubPath, p.Path), p.Sub, p.SubReady
	u.onMessage = s.delivered
	var err error
	s.g, err = newGroup(t, u)
	return s, err
}

func (s *subscribers) open() (err error) {
	if err := s.g.open(s.f.N, 2*time.Minute); err != nil {
		return err
	}
	time.Sleep(s.f.Settle)
	s.pub, err = s.t.publisher("t0", s.f.Size)
	return err
}

func (s *subscribers) stop() {
	if s.pub != nil {
		s.pub.close()
	}
	s.g.stop()
}

func (s *subscribers) delivered(g *group, c *conn, payload []byte, now int64) {
	if s.t.Proto.Whole && len(payload) != s.f.Size {
		g.bad++ // not as it came
		return
	}
	phase := s.phase.Load()
	records(payload, func(r stat.Record) {
		if r.Tag != phase {
			if r.Tag > phase {
				g.bad++ // nobody has published this
			}
			return
		}
		g.hist.Add(now - r.At)
		v := c.seq.See(r.Seq)
		g.tally.Note(v)
		if v == stat.InOrder || v == stat.Late { // a repeat is no progress
			g.got.Add(1)
			s.tick(int(r.Seq))
		}
	})
}

// tick counts one delivery of message n, on the group's thread.
func (s *subscribers) tick(n int) {
	for n+1 >= len(s.counts) {
		s.counts = append(s.counts, make([]uint32, 1024+len(s.counts))...)
	}
	s.counts[n]++
	done := s.complete.Load()
	for int(done)+1 < len(s.counts) && s.counts[done+1] >= s.everybody {
		done++
	}
	s.complete.Store(done)
}

// publish runs a new phase for d, or until halt is closed, and waits for its
// deliveries. Messages of earlier phases no longer count.
func (s *subscribers) publish(d time.Duration, halt <-chan struct{}) error {
	var listening uint64
	s.g.do(func() {
		s.g.reset()
		for _, c := range s.g.conns {
			c.seq = stat.Seq{}
			if c.state == open {
				listening++
			}
		}
		clear(s.counts)
		s.complete.Store(0)
		s.everybody = uint32(listening)
		s.phase.Add(1)
	})
	if listening == 0 {
		return errors.New("nobody listens")
	}
	phase, before := s.phase.Load(), s.pub.refused()
	s.sent, s.want, s.first = 0, 0, clock()
	for time.Duration(clock()-s.first) < d {
		select {
		case <-halt:
			d = 0
			continue
		default:
		}
		at := s.due()
		if err := s.pub.publish(stat.Record{At: at, Seq: uint32(s.sent + 1), Tag: phase}); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		s.sent++
		s.want += listening
	}
	s.g.awaitQuiet(s.want, 3*time.Second)
	// What the publisher was told is not lost.
	s.refused = s.pub.refused() - before
	s.want -= min(s.want, s.refused*listening)
	return nil
}

// due waits for the time of the next message.
func (s *subscribers) due() int64 {
	if s.f.Rate > 0 {
		at := s.first + int64(float64(s.sent)/s.f.Rate*1e9)
		for w := at - clock(); w > 0; w = at - clock() {
			time.Sleep(time.Duration(w))
		}
		return at
	}
	// With the message that is about to go, Window are on their way: all but
	// Window-1 of those before are everywhere.
	need := int64(s.sent) - int64(max(s.f.Window, 1)-1)
	last, since := s.g.got.Load(), time.Now()
	for int64(s.complete.Load()) < need {
		time.Sleep(20 * time.Microsecond)
		if n := s.g.got.Load(); n != last {
			last, since = n, time.Now()
		} else if time.Since(since) > 2*time.Second { // lost: go on without
			s.g.do(func() { s.complete.Store(s.sent) })
		}
	}
	return clock()
}

func (s *subscribers) report(m Metrics) {
	h, _, t, bad := s.g.count()
	m["published"], m["refused"] = float64(s.sent), float64(s.refused)
	m["delivered"] = float64(t.Unique)
	m["per_s"] = float64(t.Unique) / (float64(max(s.g.lastAt.Load()-s.first, 1)) / 1e9)
	faults(m, "", t, s.want, bad)
	m["connections_lost"] = float64(s.g.ended.Load())
	latency(&h, m, "")
}
