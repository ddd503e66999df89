//go:build linux

package load

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/proc"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// meter is one moment's processor counts.
type meter struct {
	at         int64
	srv, front proc.CPU
	self       proc.CPU
	machine    float64
}

func (t *Target) meter() meter {
	return meter{
		clock(), proc.CPUOf(proc.Tree(t.PIDs)), proc.CPUOf(proc.Tree(t.Front)),
		proc.CPUOf([]int{os.Getpid()}), proc.Machine(),
	}
}

// cost writes what was used between two meters, per count where there is one.
func (a meter) cost(b meter, count uint64, m Metrics) {
	srv, front := b.srv.Sub(a.srv), b.front.Sub(a.front)
	wall := max(float64(b.at-a.at)/1e9, 1e-9)
	self := b.self.Sub(a.self).Total()
	m["wall_s"] = wall
	m["srv_cpu_s"] = srv.Total()
	m["srv_cores"] = srv.Total() / wall
	m["gen_cores"] = self / wall
	// What everybody else took. Runs with much of it say more about them.
	m["other_cores"] = max(0, (b.machine-a.machine-srv.Total()-self)/wall)
	if count > 0 {
		m["srv_cpu_us"] = srv.Total() / float64(count) * 1e6
		m["srv_user_us"] = srv.User / float64(count) * 1e6
		m["front_cpu_us"] = front.Total() / float64(count) * 1e6
	}
}

func (t *Target) rss() float64 { return float64(proc.RSS(proc.Tree(t.PIDs))) }

// latency writes a histogram's quantiles in microseconds.
func latency(h *stat.Hist, m Metrics, prefix string) {
	if h.Count() == 0 {
		return
	}
	m[prefix+"p50_us"] = float64(h.Quantile(.5)) / 1e3
	m[prefix+"p99_us"] = float64(h.Quantile(.99)) / 1e3
	m[prefix+"p999_us"] = float64(h.Quantile(.999)) / 1e3
	m[prefix+"max_us"] = float64(h.Max()) / 1e3
}

// faults writes everything that was not one message delivered once, in order, to
// whom it was for.
func faults(m Metrics, prefix string, t stat.Tally, want, bad uint64) {
	m[prefix+"lost"] = float64(t.Lost(want))
	m[prefix+"duplicated"] = float64(t.Dup + t.Stale)
	m[prefix+"reordered"] = float64(t.Late)
	m[prefix+"misdelivered"] = float64(bad)
}

// FaultNames are the metrics, prefixes aside, that must be 0 in every run.
func FaultNames() []string {
	return []string{"lost", "duplicated", "reordered", "misdelivered", "connections_lost"}
}

// open raises the number of connections to n and waits until they are there, have
// failed, or time is up.
func (g *group) open(n int, limit time.Duration) error {
	g.want.Store(int64(n))
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		settled := g.opened.Load() + g.failed.Load() + g.ended.Load()
		if settled >= int64(n) {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d connections were open after %v%s", g.opened.Load(), n, limit, g.why())
		}
	}
	if failed := g.failed.Load(); failed > 0 && !g.use.mayEnd {
		return fmt.Errorf("%d of %d connections could not be opened%s", failed, n, g.why())
	}
	return nil
}

// why is the group's first problem, for the end of a sentence.
func (g *group) why() string {
	if p := g.problem.Load(); p != nil {
		return ": " + *p
	}
	return ""
}

// reset begins a new count.
func (g *group) reset() {
	g.hist.Reset()
	g.late.Reset()
	g.tally = stat.Tally{}
	g.bad = 0
	g.got.Store(0)
	g.sent.Store(0)
}

// count is a copy of what the group has counted.
func (g *group) count() (h, late stat.Hist, t stat.Tally, bad uint64) {
	g.do(func() { h, late, t, bad = g.hist, g.late, g.tally, g.bad })
	return h, late, t, bad
}

// awaitQuiet waits until want records have come, or none has for quiet.
func (g *group) awaitQuiet(want uint64, quiet time.Duration) {
	last, at := g.got.Load(), time.Now()
	for last < want && time.Since(at) < quiet {
		time.Sleep(2 * time.Millisecond)
		if n := g.got.Load(); n != last {
			last, at = n, time.Now()
		}
	}
}

// Idle opens connections step by step and holds them. The slope of resident
// memory over the steps is what a connection costs; nobody forces a collection.
type Idle struct {
	Steps    []int // connections
	Settle   time.Duration
	Limit    time.Duration // for opening one step
	Inflight int
}

// Run measures.
func (i Idle) Run(t *Target, m Metrics) error {
	if t.TLS {
		return i.overTLS(t, m)
	}
	g, err := newGroup(t, use{n: i.Steps[len(i.Steps)-1], inflight: i.Inflight, path: t.Proto.Path})
	if err != nil {
		return err
	}
	defer g.stop()
	return i.climb(t, m, func(n int) error { return g.open(n, i.Limit) }, func() int { return int(g.opened.Load()) })
}

// climb is the part that plain and TLS connections share.
func (i Idle) climb(t *Target, m Metrics, open func(n int) error, opened func() int) error {
	rss0 := t.rss()
	a, held := t.meter(), 0.0
	var n, rss []float64
	var openCPU, frontCPU, openSeconds, steady float64
	for _, step := range i.Steps {
		before := t.meter()
		if err := open(step); err != nil {
			return err
		}
		after := t.meter()
		openCPU += after.srv.Sub(before.srv).Total()
		frontCPU += after.front.Sub(before.front).Total()
		openSeconds += float64(after.at-before.at) / 1e9
		time.Sleep(i.Settle)
		held += i.Settle.Seconds()
		steady += t.meter().srv.Sub(after.srv).Total()
		n, rss = append(n, float64(step)), append(rss, t.rss())
		m[fmt.Sprintf("rss_mb_at_%d", step)] = rss[len(rss)-1] / 1e6
	}
	last := n[len(n)-1]
	if float64(opened()) < last {
		return errors.New("connections ended while they were held")
	}
	a.cost(t.meter(), uint64(last), m)
	m["opened"] = last
	m["handshake_cpu_us"] = openCPU / last * 1e6
	m["handshake_front_us"] = frontCPU / last * 1e6
	m["handshakes_per_s"] = last / openSeconds
	m["hold_srv_cores"] = steady / held
	m["rss_mb_before"] = rss0 / 1e6
	m["bytes_per_conn"] = stat.Slope(n, rss)
	return nil
}
