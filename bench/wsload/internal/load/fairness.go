//go:build linux

package load

import (
	"syscall"
	"time"
	"unsafe"
)

// Fairness is a control group beside a fan-out that never pauses: the next
// message is published as soon as all subscribers have the last.
type Fairness struct {
	Subscribers, Size int
	Control           Control
	Quiet, Time       time.Duration
}

// Run measures.
func (f Fairness) Run(t *Target, m Metrics) error {
	s, err := newSubscribers(t, Fanout{N: f.Subscribers, Window: 1, Size: f.Size, Settle: time.Second}, use{})
	if err != nil {
		return err
	}
	defer s.stop()
	if err := s.open(); err != nil {
		return err
	}
	c, err := openControl(t, f.Control)
	if err != nil {
		return err
	}
	c.rest(m, f.Quiet)
	a := t.meter()
	_, err = c.during(m, "", func() error { return s.publish(f.Time, nil) })
	b := t.meter()
	p50, p99, answers := m["p50_us"], m["p99_us"], m["answers"]
	fan := Metrics{}
	s.report(fan)
	for _, k := range []string{"published", "delivered", "lost", "duplicated", "reordered", "misdelivered", "connections_lost"} {
		m[k] = fan[k]
	}
	m["deliveries_per_s"], m["fanout_p50_us"], m["fanout_p99_us"] = fan["per_s"], fan["p50_us"], fan["p99_us"]
	m["p50_us"], m["p99_us"], m["answers"] = p50, p99, answers
	c.end(m)
	a.cost(b, uint64(m["delivered"]), m)
	return err
}

// Slow has one in a hundred subscribers read a byte per second while the others
// are served. They have the smallest receive buffer, are replaced when the server
// ends them, and come back as new ones every five minutes, so that the share holds.
type Slow struct {
	N, Size     int
	Rate        float64 // messages per second
	Control     Control
	Quiet, Time time.Duration
}

const slowLife = 5 * time.Minute

// Run measures.
func (f Slow) Run(t *Target, m Metrics) ([]Sample, error) {
	s, err := newSubscribers(t, Fanout{N: f.N, Rate: f.Rate, Size: f.Size, Settle: time.Second}, use{})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := s.open(); err != nil {
		return nil, err
	}
	c, err := openControl(t, f.Control)
	if err != nil {
		return nil, err
	}
	defer c.end(m)
	if _, err := c.during(Metrics{}, "", func() error { return s.publish(min(f.Quiet, 2*time.Second), nil) }); err != nil {
		return nil, err
	}
	if _, err := c.during(m, "quiet_", func() error { return s.publish(f.Quiet, nil) }); err != nil {
		return nil, err
	}
	d, err := dawdle(t, f)
	if err != nil {
		return nil, err
	}
	defer d.g.stop()
	w := t.watch(f.Time)
	a := t.meter()
	_, err = c.during(m, "fault_", func() error { return s.publish(f.Time, nil) })
	b := t.meter()
	w.end(m)
	s.report(m)
	a.cost(b, uint64(m["delivered"]), m)
	m["slow_connections"] = float64(f.N / 100)
	d.g.do(func() { m["slow_bytes_read"], m["slow_ended"], m["slow_renewed"] = d.read, d.ended, d.renewed })
	return w.samples, err
}

// dawdlers are the slow readers.
type dawdlers struct {
	g                    *group
	born                 map[*conn]int64
	turn                 int64 // when the next byte is due
	read, ended, renewed float64
}

func dawdle(t *Target, f Slow) (*dawdlers, error) {
	d := &dawdlers{born: map[*conn]int64{}}
	p := &t.Proto
	u := use{
		first: 5 * perSource, n: max(f.N/100, 1), path: or(p.SubPath, p.Path), hello: p.Sub, ready: p.SubReady,
		recvBuf: 2048, deaf: true, mayEnd: true,
		onOpen: func(_ *group, c *conn) { d.born[c] = clock() },
		onEnd:  func(*group, *conn) { d.ended++ },
	}
	var err error
	if d.g, err = newGroup(t, u); err != nil {
		return nil, err
	}
	if err := d.g.open(u.n, time.Minute); err != nil {
		d.g.stop()
		return nil, err
	}
	d.g.do(func() { d.turn = clock(); d.g.tick = d.bite })
	return d, nil
}

// bite takes one byte from each, once a second.
func (d *dawdlers) bite(now int64) int64 {
	if now < d.turn {
		return d.turn
	}
	d.turn += 1e9
	var one [1]byte
	for _, c := range d.g.conns {
		switch {
		case c.state == gone:
			d.g.redial(c)
		case c.state != open:
		case now-d.born[c] > int64(slowLife):
			d.renewed++
			d.ended-- // not the server's doing
			d.g.drop(c, "")
		default:
			n, _, e := syscall.RawSyscall(syscall.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&one)), 1)
			if e == 0 && n == 0 || e != 0 && e != syscall.EAGAIN {
				d.g.drop(c, "ended by the server")
			} else if e == 0 {
				d.read++
			}
		}
	}
	return d.turn
}
