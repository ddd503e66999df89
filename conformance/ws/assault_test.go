package ws

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

// assault is an attack on one engine, with a control connection that must not
// notice, and a watch on this process's memory, our own clients included.
type assault struct {
	*testing.T
	srv     *server
	control *client
	quiet   time.Duration // median echo of the control connection before

	base uint64 // memory in use before
	stop chan struct{}
	done chan uint64 // the peak
}

// attack runs do against every engine. section is a row of the security matrix.
func attack(t *testing.T, section, what string, change func(*setup), do func(a *assault)) {
	t.Helper()
	if *wsURL != "" {
		t.Skip("attacks measure the memory of this process")
	}
	for _, e := range engines() {
		t.Run(what+"/"+e.name, func(t *testing.T) {
			judged(t, section, what, e.name)
			a := &assault{T: t, srv: start(t, e, change), stop: make(chan struct{}), done: make(chan uint64, 1)}
			a.control = a.srv.dial(t)
			upgrade()(a.control)
			a.quiet = a.median(50)
			a.base = inUse(true)
			go a.watch()
			defer func() {
				close(a.stop)
				<-a.done
			}()
			do(a)
			a.median(3) // the control connection still echoes
		})
	}
}

// inUse is the memory of heap and stacks; settled: after a collection, so that
// it is what somebody holds.
func inUse(settled bool) uint64 {
	if settled {
		runtime.GC()
		runtime.GC() // what pools held through the first
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if settled {
		return m.HeapAlloc + m.StackInuse
	}
	return m.HeapInuse + m.StackInuse
}

// watch samples the memory in use, garbage included.
func (a *assault) watch() {
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	peak := uint64(0)
	for {
		select {
		case <-a.stop:
			a.done <- peak
			return
		case <-beat.C:
			peak = max(peak, inUse(false))
		}
	}
}

const mib = 1 << 20

// holds asserts the bound on what is held now, over what was before the attack.
func (a *assault) holds(bound uint64) {
	a.Helper()
	now := inUse(true)
	grown := now - min(now, a.base)
	a.Logf("memory held: %+.1f MiB (bound %.1f)", float64(grown)/mib, float64(bound)/mib)
	if grown > bound {
		a.Errorf("%d bytes held after the attack, bound %d", grown, bound)
	}
}

// peaked asserts the bound on what was ever in use during the attack.
func (a *assault) peaked(bound uint64) {
	a.Helper()
	close(a.stop)
	peak := <-a.done
	a.stop, a.done = make(chan struct{}), make(chan uint64, 1)
	go a.watch()
	grown := peak - min(peak, a.base)
	a.Logf("peak: %+.1f MiB (bound %.1f)", float64(grown)/mib, float64(bound)/mib)
	if grown > bound {
		a.Errorf("%d bytes in use at the peak, bound %d", grown, bound)
	}
}

// median is the median time of n echoes on the control connection.
func (a *assault) median(n int) time.Duration {
	a.Helper()
	times := make([]time.Duration, n)
	for i := range times {
		begin := time.Now()
		a.control.write(text("control"))
		want(`text "control"`)(a.control)
		times[i] = time.Since(begin)
	}
	slices.Sort(times)
	return times[n/2]
}

// unharmed asserts that the control connection echoes while the attack goes on:
// loosely, since attackers and server share the processors of one test.
func (a *assault) unharmed(n int) {
	a.Helper()
	bound := max(100*a.quiet, 500*time.Millisecond)
	during := a.median(n)
	a.Logf("control echo: median %v, %v before (bound %v)", during.Round(time.Microsecond), a.quiet.Round(time.Microsecond), bound)
	if during > bound {
		a.Errorf("control echo takes %v, bound %v", during, bound)
	}
}

// crowd opens n connections; open says whether they become WebSockets.
func (a *assault) crowd(n int, open bool, edits ...string) []*client {
	a.Helper()
	all := make([]*client, n)
	for i := range all {
		all[i] = a.srv.dial(a)
		if open {
			upgrade(edits...)(all[i])
		}
	}
	return all
}

// each runs f for every client, all at once, and waits. f reports with Errorf.
func each(clients []*client, f func(c *client)) {
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() { f(c) })
	}
	wg.Wait()
}

// words reads everything up to the end of the stream and returns what came just
// before it, and the end.
func (c *client) words() (last, end string) {
	for {
		got := c.next()
		switch got {
		case "eof", "reset", "silence":
			return last, got
		}
		last = got
	}
}

// trickle writes one more byte of then[i] for client i at every beat, the last one
// again and again, until all connections ended, and returns how long each lasted.
func trickle(clients []*client, then []string, beat time.Duration) []time.Duration {
	lasted := make([]time.Duration, len(clients))
	begin := time.Now()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				_ = c.nc.SetReadDeadline(begin.Add(slowHead + 2*slack))
				buf := make([]byte, 256)
				for {
					if _, err := c.nc.Read(buf); err != nil {
						lasted[i] = time.Since(begin)
						return
					}
				}
			})
		}
		wg.Wait()
	}()
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for at := 0; ; at++ {
		select {
		case <-ended:
			return lasted
		case <-tick.C:
			for i, c := range clients {
				if n := len(then[i]); n > 0 {
					_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
					_, _ = c.nc.Write([]byte{then[i][min(at, n-1)]}) // fails once the server gave up
				}
			}
		}
	}
}
