//go:build linux

package load

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Post sends HTTP posts to random connections, each from one of Posters
// keep-alive clients that wait for their answer.
type Post struct {
	N, Posters, Size   int
	Sign               *Signer // nil: no signature
	Warm, Time, Settle time.Duration
}

// posts is the run's state.
type posts struct {
	p         Post
	t         *Target
	g         *group
	targets   []*conn
	mu        sync.Mutex
	seen      []uint64 // one bit per message number; owned by the group
	rtt       stat.Hist
	next      atomic.Uint64
	accepted  atomic.Uint64
	refused   atomic.Uint64
	inWindow  atomic.Uint64
	measuring atomic.Bool
	halt      atomic.Bool
}

// Run measures.
func (p Post) Run(t *Target, m Metrics) error {
	if t.Proto.HTTPBody == "" {
		return errors.New("this protocol has no HTTP publish")
	}
	x := &posts{p: p, t: t}
	if err := x.open(); err != nil {
		return err
	}
	defer x.g.stop()
	var all sync.WaitGroup
	for k := range p.Posters {
		c, err := t.poster()
		if err != nil {
			return err
		}
		if p.Sign != nil {
			own := *p.Sign
			c.sign = &own
		}
		all.Go(func() { x.keepPosting(c, uint64(k)) })
	}
	time.Sleep(p.Warm)
	x.g.do(func() { x.g.hist.Reset() })
	x.measuring.Store(true)
	a := t.meter()
	time.Sleep(p.Time)
	b := t.meter()
	x.measuring.Store(false)
	x.halt.Store(true)
	n := x.inWindow.Load()
	all.Wait()
	x.g.awaitQuiet(x.accepted.Load(), 2*time.Second)
	time.Sleep(lastWords)
	h, _, tally, bad := x.g.count()
	m["per_s"] = float64(n) / (float64(b.at-a.at) / 1e9)
	m["refused"] = float64(x.refused.Load())
	faults(m, "", tally, x.accepted.Load(), bad)
	m["connections_lost"] = float64(x.g.ended.Load())
	latency(&h, m, "")
	latency(&x.rtt, m, "rtt_")
	a.cost(b, n, m)
	if n == 0 {
		return errors.New("no post was accepted" + x.g.why())
	}
	return nil
}

func (x *posts) open() (err error) {
	p := &x.t.Proto
	u := use{n: x.p.N, path: or(p.SubPath, p.Path), hello: p.Sub, ready: p.SubReady, channel: channelName}
	if p.Ask != nil {
		u.hello, u.ready, u.idKey = p.Ask, p.IDKey, p.IDKey
	}
	u.onMessage = x.delivered
	if x.g, err = newGroup(x.t, u); err != nil {
		return err
	}
	if err := x.g.open(x.p.N, time.Minute); err != nil {
		x.g.stop()
		return err
	}
	time.Sleep(x.p.Settle)
	x.g.do(func() {
		for _, c := range x.g.conns {
			if c.state == open {
				x.targets = append(x.targets, c)
			}
		}
	})
	return nil
}

// mark notes a message number and says whether it is new.
func (x *posts) mark(n uint32) stat.Verdict {
	word, bit := int(n>>6), uint64(1)<<(n&63)
	for word >= len(x.seen) {
		x.seen = append(x.seen, make([]uint64, 1024+len(x.seen))...)
	}
	if x.seen[word]&bit != 0 {
		return stat.Dup
	}
	x.seen[word] |= bit
	return stat.InOrder
}

func (x *posts) delivered(g *group, c *conn, payload []byte, now int64) {
	records(payload, func(r stat.Record) {
		if r.Tag != uint32(c.index) {
			g.bad++
			return
		}
		v := x.mark(r.Seq)
		g.tally.Note(v)
		if v == stat.Dup {
			return
		}
		if x.measuring.Load() {
			g.hist.Add(now - r.At)
		}
		g.got.Add(1)
	})
}

func (x *posts) keepPosting(p *poster, seed uint64) {
	defer func() { p.c.Close() }()
	var h stat.Hist
	msg := stat.Record{}.Payload(x.p.Size)
	random := rand.New(rand.NewPCG(seed, 42))
	for !x.halt.Load() {
		c := x.targets[random.IntN(len(x.targets))]
		at := clock()
		stat.Record{At: at, Seq: uint32(x.next.Add(1)), Tag: uint32(c.index)}.Put(msg)
		if err := p.post(channelName(int(c.index)), c.id, msg); err != nil {
			x.refused.Add(1)
			x.g.fail("post: %v", err)
			if p.again() != nil {
				return
			}
			continue
		}
		x.accepted.Add(1)
		if x.measuring.Load() {
			x.inWindow.Add(1)
			h.Add(clock() - at)
		}
	}
	x.mu.Lock()
	x.rtt.Merge(&h)
	x.mu.Unlock()
}
