//go:build linux

package load

import (
	"fmt"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/livegate/livegate/bench/wsload/internal/proc"
)

// HalfOpen has clients vanish as if their cable were pulled: a filter on their
// sockets drops whatever arrives, so the server sees neither ACK, FIN nor RST.
// What is measured is when it lets go of them.
type HalfOpen struct {
	N       int
	Bound   time.Duration // what the server promises
	Limit   time.Duration // when to stop waiting
	Control Control
}

// Run measures.
func (h HalfOpen) Run(t *Target, m Metrics) ([]Sample, error) {
	c, err := openControl(t, h.Control)
	if err != nil {
		return nil, err
	}
	defer c.end(m)
	c.rest(m, 3*time.Second)
	before := t.sample(time.Now()).Sockets // its own connection for metrics included
	g, err := newGroup(t, use{n: h.N, path: t.Proto.Path, mayEnd: true})
	if err != nil {
		return nil, err
	}
	defer g.stop()
	if err := g.open(h.N, time.Minute); err != nil {
		return nil, err
	}
	time.Sleep(500 * time.Millisecond)
	full := t.sample(time.Now()).Sockets
	if full-before < h.N {
		return nil, fmt.Errorf("the server holds %d sockets more for %d connections: it cannot be told how many it lets go", full-before, h.N)
	}
	g.do(func() {
		for _, c := range g.conns {
			if err == nil {
				err = vanish(int(c.fd))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("SO_ATTACH_FILTER: %w", err)
	}
	cut := time.Now()
	w := t.watch(h.Limit)
	a := t.meter()
	_, err = c.during(m, "fault_", func() error { h.await(t, m, before, full, cut); return nil })
	w.end(m)
	a.cost(t.meter(), 0, m)
	delete(m, "rss_drift") // connections go away here: nothing is meant to be flat
	delete(m, "files_drift")
	m["vanished"], m["bound_s"] = float64(h.N), h.Bound.Seconds()
	return w.samples, err
}

// await notes when the first, half and all of the vanished were let go.
func (h HalfOpen) await(t *Target, m Metrics, before, full int, cut time.Time) {
	m["noticed"] = 0
	for time.Since(cut) < h.Limit {
		_, now := proc.Files(proc.Tree(t.PIDs))
		gone, at := min(full-now, h.N), time.Since(cut).Seconds()
		m["noticed"] = float64(gone)
		for name, n := range map[string]int{"first_s": 1, "half_s": (h.N + 1) / 2, "all_s": h.N} {
			if _, noted := m[name]; !noted && gone >= n {
				m[name] = at
			}
		}
		if now <= before || gone >= h.N {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// vanish attaches a classic BPF program of one instruction to a socket: accept 0
// bytes of any packet (socket(7), SO_ATTACH_FILTER). The kernel then drops what
// arrives before TCP sees it.
func vanish(fd int) error {
	type instruction struct {
		code uint16
		_, _ uint8  // where to jump
		_    uint32 // the operand: 0 bytes
	}
	type program struct {
		n  uint16
		at *instruction
	}
	const ret = 0x06 // BPF_RET | BPF_K
	p := &program{1, &instruction{code: ret}}
	_, _, e := syscall.Syscall6(syscall.SYS_SETSOCKOPT, uintptr(fd), syscall.SOL_SOCKET, syscall.SO_ATTACH_FILTER,
		uintptr(unsafe.Pointer(p)), unsafe.Sizeof(*p), 0)
	runtime.KeepAlive(p)
	if e != 0 {
		return e
	}
	return nil
}
