//go:build linux

package load

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/proc"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Control is the group that others are unharmed for: few connections that ask at
// a moderate rate, on a thread that runs before the rest of the generator.
type Control struct {
	N, Size int
	Rate    float64 // questions per second of the whole group
}

// controlFirst keeps the control group's source addresses apart.
const controlFirst = 10 * perSource

type control struct {
	*echoes
	quiet float64 // p99 in µs without the fault
}

// openControl opens the group and lets it ask.
func openControl(t *Target, c Control) (*control, error) {
	x, err := newEchoes(t, Echo{N: c.N, Size: c.Size, Rate: c.Rate}, use{first: controlFirst, urgent: true})
	if err != nil {
		return nil, err
	}
	if err := x.g.open(c.N, time.Minute); err != nil {
		x.g.stop()
		return nil, fmt.Errorf("control group: %w", err)
	}
	x.start()
	return &control{echoes: x}, nil
}

// during measures the group for as long as f runs and writes it under prefix.
func (c *control) during(m Metrics, prefix string, f func() error) (p99 float64, err error) {
	c.measure()
	err = f()
	h, late := c.window()
	latency(&h, m, prefix)
	// How late the group's own thread was: no part of it is the server's.
	m[prefix+"generator_late_p99_us"] = float64(late.Quantile(.99)) / 1e3
	m[prefix+"answers"] = float64(h.Count())
	return float64(h.Quantile(.99)) / 1e3, err
}

// rest measures the group alone.
func (c *control) rest(m Metrics, d time.Duration) {
	time.Sleep(min(d, time.Second)) // warm up
	c.quiet, _ = c.during(m, "quiet_", func() error { time.Sleep(d); return nil })
}

// end stops asking and books what the group lost.
func (c *control) end(m Metrics) {
	c.finish(m, "control_")
	c.g.stop()
}

// Sample is the server at one moment of a long run.
type Sample struct {
	Seconds    float64 `json:"s"`
	RSS        float64 `json:"rss"`
	Files      int     `json:"files"`
	Sockets    int     `json:"sockets"`
	Threads    int     `json:"threads"`
	Goroutines float64 `json:"goroutines,omitempty"` // when the server tells
}

func (t *Target) sample(since time.Time) Sample {
	pids := proc.Tree(t.PIDs)
	s := Sample{Seconds: time.Since(since).Seconds(), RSS: float64(proc.RSS(pids)), Threads: proc.Threads(pids)}
	// First, so that its own kept-alive connection is among the files of every
	// sample, not of all but the first.
	s.Goroutines, _ = t.scrape("go_goroutines")
	s.Files, s.Sockets = proc.Files(pids)
	return s
}

// scrape reads one gauge of the server's metrics.
func (t *Target) scrape(name string) (float64, bool) {
	if t.Scrape == "" {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.Scrape, nil)
	if err != nil {
		return 0, false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	var v float64
	found := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); { // to the end: the connection is kept then
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err = strconv.ParseFloat(rest, 64)
			found = err == nil
		}
	}
	return v, found
}

// series samples the server until stop is closed, showing where the run is.
type series struct {
	t       *Target
	began   time.Time
	total   time.Duration
	samples []Sample
	stop    chan struct{}
	done    chan struct{}
}

// watch samples every ten seconds, more often in short runs.
func (t *Target) watch(total time.Duration) *series {
	s := &series{t: t, began: time.Now(), total: total, stop: make(chan struct{}), done: make(chan struct{})}
	every := min(10*time.Second, max(total/20, time.Second))
	go func() {
		defer close(s.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
				s.samples = append(s.samples, t.sample(s.began))
				s.show()
			}
		}
	}()
	return s
}

func (s *series) show() {
	last := s.samples[len(s.samples)-1]
	text := fmt.Sprintf("  %4.0f of %.0f s  RSS %7.1f MB  %6d files  %3d threads", last.Seconds, s.total.Seconds(), last.RSS/1e6, last.Files, last.Threads)
	if last.Goroutines > 0 {
		text += fmt.Sprintf("  %6.0f goroutines", last.Goroutines)
	}
	progress(text)
}

// progress shows one line: in place on a terminal, where "" clears it, else as a
// line of its own.
func progress(text string) {
	if st, err := os.Stderr.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%s", text)
		return
	}
	if text == "" {
		return
	}
	fmt.Fprintln(os.Stderr, text)
}

// end stops sampling and writes how each figure drifted over the last two thirds.
func (s *series) end(m Metrics) {
	close(s.stop)
	<-s.done
	progress("")
	var at, rss, files, routines []float64
	peak := 0.0
	for _, p := range s.samples {
		at, rss = append(at, p.Seconds), append(rss, p.RSS)
		files, routines = append(files, float64(p.Files)), append(routines, p.Goroutines)
		peak = max(peak, p.RSS)
	}
	m["samples"] = float64(len(at))
	m["rss_mb_peak"] = peak / 1e6
	m["rss_drift"] = stat.Drift(at, rss)
	m["files_drift"] = stat.Drift(at, files)
	if len(routines) > 0 && routines[len(routines)-1] > 0 {
		m["goroutines_drift"] = stat.Drift(at, routines)
	}
}
