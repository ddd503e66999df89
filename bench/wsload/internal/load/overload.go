//go:build linux

package load

import (
	"fmt"
	"sync/atomic"
	"time"

	"math/rand/v2"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/bench/wsload/internal/proc"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Overload offers Times what the server can take, in messages and handshakes at
// once, then stops and waits for it to be well again.
type Overload struct {
	N, Size       int // connections that flood
	Times         float64
	Control       Control
	Quiet, Time   time.Duration
	RecoverWithin time.Duration
}

// Run measures.
func (f Overload) Run(t *Target, m Metrics) ([]Sample, error) {
	c, err := openControl(t, f.Control)
	if err != nil {
		return nil, err
	}
	defer c.end(m)
	c.rest(m, f.Quiet)
	progress("  measuring what the server can take")
	if err := f.capacity(t, m); err != nil {
		return nil, err
	}
	w := t.watch(f.Time)
	_, err = c.during(m, "fault_", func() error { return f.flood(t, m) })
	w.end(m)
	delete(m, "rss_drift")
	if err != nil {
		return w.samples, err
	}
	m["recovered_s"] = c.recovery(f.RecoverWithin)
	m["alive"] = alive(t)
	late, err := newGroup(t, use{n: 100, path: t.Proto.Path})
	if err != nil {
		return w.samples, err
	}
	defer late.stop()
	if err := late.open(100, f.RecoverWithin); err != nil {
		progress("  after the overload: " + err.Error())
	}
	m["opened_after"] = float64(late.opened.Load())
	m["rss_mb_after"] = t.rss() / 1e6
	return w.samples, nil
}

func alive(t *Target) float64 {
	for _, p := range t.PIDs {
		if !proc.Alive(p) {
			return 0
		}
	}
	return 1
}

// capacity is what a saturated closed loop gets answered.
func (f Overload) capacity(t *Target, m Metrics) error {
	x, err := newEchoes(t, Echo{N: 200, Depth: 16, Size: f.Size}, use{first: perSource})
	if err != nil {
		return err
	}
	defer x.g.stop()
	start := time.Now()
	if err := x.g.open(200, time.Minute); err != nil {
		return err
	}
	m["capacity_handshakes_per_s"] = 200 / time.Since(start).Seconds()
	x.start()
	time.Sleep(time.Second)
	x.measure()
	time.Sleep(2 * time.Second)
	n := x.measured.Load()
	m["capacity_per_s"] = float64(n) / 2
	x.running.Store(false)
	if n == 0 {
		return fmt.Errorf("the server answered nothing%s", x.g.why())
	}
	return nil
}

// flood offers messages on N connections, as many in one write as keep the
// schedule, and opens and abandons others meanwhile. A message for a connection
// whose socket is full is held back: that is the server saying no.
func (f Overload) flood(t *Target, m Metrics) error {
	var answers, offered, heldBack atomic.Uint64
	rate := f.Times * m["capacity_per_s"]
	u := use{
		n: f.N, path: or(t.Proto.EchoPath, t.Proto.Path), channel: channelName, mayEnd: true, inflight: 256,
		onMessage: func(*group, *conn, []byte, int64) { answers.Add(1) },
	}
	g, err := newGroup(t, u)
	if err != nil {
		return err
	}
	defer g.stop()
	if err := g.open(f.N, time.Minute); err != nil {
		return err
	}
	abandoned, door, err := f.knock(t)
	if err != nil {
		return err
	}
	defer door.stop()
	const batch = 64
	q := t.Proto.stamp(t.Proto.Echo, "", f.Size).put(stat.Record{})
	var many []byte
	for range batch {
		many = frame.Append(many, frame.Text, rand.Uint32(), q)
	}
	start, turn, k := clock(), 0, 0
	g.do(func() {
		g.tick = func(now int64) int64 {
			for burst := 0; burst < 32; burst++ {
				due := start + int64(float64(k*batch)/rate*1e9)
				if due > now {
					return due
				}
				k++
				offered.Add(batch)
				c := g.conns[turn%len(g.conns)]
				turn++
				if c.state == open && len(c.out) == 0 {
					g.send(c, many)
				} else {
					heldBack.Add(batch)
				}
			}
			return now
		}
	})
	time.Sleep(f.Time)
	g.do(func() { g.tick = nil })
	s := f.Time.Seconds()
	m["offered_per_s"], m["held_back_per_s"], m["answered_per_s"] = float64(offered.Load())/s, float64(heldBack.Load())/s, float64(answers.Load())/s
	m["offered_times"] = m["offered_per_s"] / m["capacity_per_s"]
	m["handshakes_per_s"] = float64(abandoned.Load()) / s
	m["handshakes_refused_per_s"] = float64(door.failed.Load()) / s
	m["flood_connections_ended"] = float64(g.ended.Load())
	return nil
}

// knock opens connections as fast as they come and leaves each at once.
func (f Overload) knock(t *Target) (*atomic.Uint64, *group, error) {
	var came atomic.Uint64
	u := use{n: 1000, first: 2 * perSource, path: t.Proto.Path, mayEnd: true, inflight: 1000, spread: true,
		onOpen: func(g *group, c *conn) { came.Add(1); g.drop(c, "") }}
	g, err := newGroup(t, u)
	if err != nil {
		return nil, nil, err
	}
	g.do(func() {
		g.tick = func(now int64) int64 {
			n := 0
			for _, c := range g.conns {
				if (c.state == gone || c.state == fresh) && n < 32 {
					g.redial(c)
					n++
				}
			}
			return now + 1e6
		}
	})
	return &came, g, nil
}

// recovery is how many seconds pass until the control group's p99 over half a
// second is at most twice what it was in quiet; limit when it never is.
func (c *control) recovery(limit time.Duration) float64 {
	began := time.Now()
	for time.Since(began) < limit {
		at := time.Since(began)
		c.measure()
		time.Sleep(500 * time.Millisecond)
		h, _ := c.window()
		if h.Count() > 0 && float64(h.Quantile(.99))/1e3 <= 2*c.quiet {
			return at.Seconds()
		}
	}
	return limit.Seconds()
}

// Files opens more connections than the server may have descriptors, holds that,
// and lets go.
type Files struct {
	N             int // connections wanted; more than the server's limit
	Control       Control
	Quiet, Time   time.Duration
	RecoverWithin time.Duration
}

// Run measures.
func (f Files) Run(t *Target, m Metrics) ([]Sample, error) {
	c, err := openControl(t, f.Control)
	if err != nil {
		return nil, err
	}
	defer c.end(m)
	quiet := t.meter()
	c.rest(m, f.Quiet)
	rested := t.meter()
	m["quiet_srv_cores"] = rested.srv.Sub(quiet.srv).Total() / (float64(rested.at-quiet.at) / 1e9)
	g, err := newGroup(t, use{n: f.N, path: t.Proto.Path, mayEnd: true, inflight: 256})
	if err != nil {
		return nil, err
	}
	g.open(f.N, 5*time.Second) //nolint:errcheck // more than it can take: that is the point
	w := t.watch(f.Time)
	a := t.meter()
	_, err = c.during(m, "fault_", func() error { time.Sleep(f.Time); return nil })
	b := t.meter()
	w.end(m)
	delete(m, "rss_drift")
	m["wanted"], m["opened"], m["refused"] = float64(f.N), float64(g.opened.Load()), float64(g.failed.Load())
	m["left_waiting"] = m["wanted"] - m["opened"] - m["refused"] - float64(g.ended.Load())
	a.cost(b, 0, m)
	g.stop()
	began := time.Now()
	for m["opened_after"] < 50 && time.Since(began) < f.RecoverWithin {
		late, err := newGroup(t, use{n: 50, first: perSource, path: t.Proto.Path, mayEnd: true})
		if err != nil {
			return w.samples, err
		}
		late.open(50, time.Second) //nolint:errcheck // tried again
		m["opened_after"] = float64(late.opened.Load())
		late.stop()
	}
	m["recovered_s"] = time.Since(began).Seconds()
	m["alive"] = alive(t)
	return w.samples, err
}
