//go:build linux

package load

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Echo asks and awaits answers: a closed loop with Depth questions in flight per
// connection, or an open loop at Rate, whose latency counts from the time a
// question was due.
type Echo struct {
	N, Depth, Size     int
	Rate               float64 // questions per second, 0: closed loop
	Warm, Time, Settle time.Duration
}

// Run measures.
func (e Echo) Run(t *Target, m Metrics) error {
	if t.TLS {
		return e.overTLS(t, m)
	}
	x, err := newEchoes(t, e, use{})
	if err != nil {
		return err
	}
	defer x.g.stop()
	if err := x.g.open(e.N, time.Minute); err != nil {
		return err
	}
	time.Sleep(e.Settle)
	x.start()
	time.Sleep(e.Warm)
	x.measure()
	a := t.meter()
	time.Sleep(e.Time)
	b := t.meter()
	n := x.measured.Load()
	h, _ := x.finish(m, "")
	m["per_s"] = float64(n) / (float64(b.at-a.at) / 1e9)
	latency(&h, m, "")
	a.cost(b, n, m)
	return nil
}

// echoes is a group that asks: the whole of an echo run, or a control group
// beside something else.
type echoes struct {
	g        *group
	e        Echo
	frames   map[int32]stamped // by connection, when the template names it
	frame    stamped
	reply    []byte // the fixed answer, nil for none
	running  atomic.Bool
	counting atomic.Bool
	measured atomic.Uint64 // answers while counting
	turn     int
}

func newEchoes(t *Target, e Echo, u use) (*echoes, error) {
	p := &t.Proto
	if p.Echo == "" {
		return nil, errors.New("this protocol has no echo")
	}
	if e.Depth < 1 {
		e.Depth = 1
	}
	x := &echoes{e: e}
	u.n, u.path = e.N, or(p.EchoPath, p.Path)
	u.hello, u.ready = p.Pre, p.PreReady
	u.channel = channelName
	if strings.Contains(p.Echo, "{ch}") { // an echo is a publish to a channel of one's own
		u.hello, u.ready = p.Sub, p.SubReady
		x.frames = map[int32]stamped{}
		for i := range e.N {
			x.frames[int32(u.first+i)] = p.stamp(p.Echo, u.channel(u.first+i), e.Size)
		}
	}
	x.frame = p.stamp(p.Echo, "", e.Size)
	if p.Reply != "" {
		x.reply = []byte(p.Reply)
	}
	u.onMessage = x.answered
	if e.Rate == 0 && u.onEnd == nil {
		u.onEnd = func(*group, *conn) {}
	}
	var err error
	x.g, err = newGroup(t, u)
	return x, err
}

func (x *echoes) ask(c *conn, at int64) {
	f := x.frame
	if x.frames != nil {
		f = x.frames[c.index]
	}
	c.sent++
	x.g.sent.Add(1)
	if x.reply != nil {
		c.due = append(c.due, at)
	}
	x.g.sendFrame(c, f.put(stat.Record{At: at, Seq: c.sent, Tag: uint32(c.index)}))
}

// answered books one message from the server.
func (x *echoes) answered(g *group, c *conn, payload []byte, now int64) {
	if x.reply != nil {
		x.fixed(g, c, payload, now)
		return
	}
	found := false
	records(payload, func(r stat.Record) {
		found = true
		if r.Tag != uint32(c.index) {
			g.bad++
			return
		}
		v := c.seq.See(r.Seq)
		g.tally.Note(v)
		if v == stat.InOrder || v == stat.Late {
			x.took(c, now-r.At)
		}
	})
	if !found {
		g.bad++
		g.fail("connection %d: an answer without a record: %.120q", c.index, payload)
	}
}

// fixed books an answer that is the same for all: whose it is cannot be told, so
// each connection's answers are held against its own questions.
func (x *echoes) fixed(g *group, c *conn, payload []byte, now int64) {
	switch {
	case !bytes.Equal(payload, x.reply):
		g.bad++
		g.fail("connection %d: not the answer: %.120q", c.index, payload)
	case len(c.due) == 0:
		g.tally.Note(stat.Dup)
	default:
		at := c.due[0]
		c.due = c.due[:copy(c.due, c.due[1:])]
		g.tally.Note(stat.InOrder)
		x.took(c, now-at)
	}
}

func (x *echoes) took(c *conn, ns int64) {
	x.g.got.Add(1)
	if x.counting.Load() {
		x.g.hist.Add(ns)
		x.measured.Add(1)
	}
	if x.e.Rate == 0 && x.running.Load() {
		x.ask(c, clock())
	}
}

// start begins to ask.
func (x *echoes) start() {
	x.running.Store(true)
	x.g.do(func() {
		if x.e.Rate > 0 {
			x.g.tick = x.openLoop(clock())
			return
		}
		for range x.e.Depth {
			for _, c := range x.g.conns {
				if c.state == open {
					x.ask(c, clock())
				}
			}
		}
	})
}

// openLoop asks on schedule, connection by connection.
func (x *echoes) openLoop(start int64) func(now int64) int64 {
	k := 0
	due := func() int64 { return start + int64(float64(k)/x.e.Rate*1e9) }
	return func(now int64) int64 {
		for burst := 0; burst < 256 && x.running.Load(); burst++ {
			at := due()
			if at > now {
				return at
			}
			if c := x.nextOpen(); c != nil {
				x.g.late.Add(now - at)
				x.ask(c, at)
			}
			k++
		}
		return now
	}
}

func (x *echoes) nextOpen() *conn {
	for range x.g.conns {
		c := x.g.conns[x.turn%len(x.g.conns)]
		x.turn++
		if c.state == open {
			return c
		}
	}
	return nil
}

// measure begins a new window; faults count from the first question on.
func (x *echoes) measure() {
	x.g.do(func() { x.g.hist.Reset(); x.g.late.Reset() })
	x.measured.Store(0)
	x.counting.Store(true)
}

// window ends one and returns what it saw.
func (x *echoes) window() (h, late stat.Hist) {
	x.counting.Store(false)
	h, late, _, _ = x.g.count()
	return h, late
}

// lastWords is how long a duplicate is waited for.
const lastWords = 300 * time.Millisecond

// finish stops asking, waits for the answers that are due, and books faults.
func (x *echoes) finish(m Metrics, prefix string) (h, late stat.Hist) {
	h, late = x.window()
	x.running.Store(false)
	x.g.do(func() {}) // no tick is under way any more
	sent := x.g.sent.Load()
	x.g.awaitQuiet(sent, 3*time.Second)
	time.Sleep(lastWords)
	_, _, t, bad := x.g.count()
	faults(m, prefix, t, sent, bad)
	m[prefix+"connections_lost"] = float64(x.g.ended.Load())
	if p := x.g.problem.Load(); p != nil && (t.Lost(sent) > 0 || bad > 0) {
		fmt.Fprintln(complaints, "first problem:", *p)
	}
	return h, late
}
