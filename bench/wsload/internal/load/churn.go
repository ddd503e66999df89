//go:build linux

package load

import (
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// Churn has clients come, say something and leave in every way there is, at Rate
// per second, with at most N at a time.
type Churn struct {
	N, Size     int
	Rate        float64
	Control     Control
	Quiet, Time time.Duration
}

// The ways to leave.
const (
	afterAnswer  = iota // a reset once the answer is there
	beforeAnswer        // a reset while the answer is on its way
	withFIN             // the socket closed, no close frame
	inFrame             // a reset in the middle of a frame
	inHandshake         // a reset in the middle of the request
	properly            // a close frame, and the server's awaited
	ways
)

// WayNames are the ways in which churning clients leave, as metrics name them.
func WayNames() [ways]string {
	return [ways]string{"after_answer", "before_answer", "with_fin", "in_frame", "in_handshake", "properly"}
}

type churn struct {
	f     Churn
	g     *group
	q     stamped
	reply string
	free  []*conn
	how   map[*conn]int
	left  [ways]float64
	due   int64
	began int64
	k     int
}

// Run measures.
func (f Churn) Run(t *Target, m Metrics) ([]Sample, error) {
	c, err := openControl(t, f.Control)
	if err != nil {
		return nil, err
	}
	defer c.end(m)
	c.rest(m, f.Quiet)
	start := t.sample(time.Now())
	x := &churn{f: f, q: t.Proto.stamp(t.Proto.Echo, "", f.Size), how: map[*conn]int{}, reply: t.Proto.Reply}
	if err := x.open(t); err != nil {
		return nil, err
	}
	w := t.watch(f.Time)
	a := t.meter()
	_, err = c.during(m, "fault_", func() error { time.Sleep(f.Time); return nil })
	b := t.meter()
	w.end(m)
	var came float64
	x.g.do(func() {
		x.g.tick = nil
		for way, name := range WayNames() {
			m["left_"+name] = x.left[way]
			came += x.left[way]
		}
		m["misdelivered"] = float64(x.g.bad)
	})
	x.g.stop()
	m["came"] = came
	m["refused"] = float64(x.g.failed.Load())
	a.cost(b, uint64(came), m)
	x.settle(t, m, start)
	return w.samples, err
}

// settle waits for the server to be as it was: every socket it still holds after
// ten seconds is a leak.
func (x *churn) settle(t *Target, m Metrics, start Sample) {
	began := time.Now()
	end := t.sample(began)
	for end.Files > start.Files && time.Since(began) < 10*time.Second {
		time.Sleep(200 * time.Millisecond)
		end = t.sample(began)
	}
	m["files_before"], m["files_after"] = float64(start.Files), float64(end.Files)
	m["rss_mb_before"], m["rss_mb_after"] = start.RSS/1e6, end.RSS/1e6
	if start.Goroutines > 0 {
		m["goroutines_before"], m["goroutines_after"] = start.Goroutines, end.Goroutines
	}
}

func (x *churn) open(t *Target) (err error) {
	u := use{
		n: x.f.N, path: or(t.Proto.EchoPath, t.Proto.Path), mayEnd: true, spread: true, channel: channelName,
		onConnect: x.connected, onOpen: x.opened, onMessage: x.answered,
		onEnd: func(_ *group, c *conn) { x.free = append(x.free, c) },
	}
	if x.g, err = newGroup(t, u); err != nil {
		return err
	}
	x.g.do(func() {
		x.free = append(x.free, x.g.conns...)
		x.began = clock()
		x.due = x.began
		x.g.tick = x.come
	})
	return nil
}

// come dials whoever is due.
func (x *churn) come(now int64) int64 {
	for burst := 0; x.due <= now && len(x.free) > 0 && burst < 64; burst++ {
		c := x.free[len(x.free)-1]
		x.free = x.free[:len(x.free)-1]
		x.how[c] = rand.IntN(ways)
		x.g.redial(c)
		if c.state == gone { // the handshake could not even begin
			x.free = append(x.free, c)
		}
		x.k++
		x.due = x.began + int64(float64(x.k)/x.f.Rate*1e9)
	}
	return max(x.due, now)
}

func (x *churn) leave(c *conn) {
	x.left[x.how[c]]++
	early := c.state != open
	x.g.drop(c, "")
	if early { // drop tells onEnd of open connections only
		x.g.failed.Add(-1)
		x.free = append(x.free, c)
	}
}

func (x *churn) connected(g *group, c *conn) bool {
	if x.how[c] != inHandshake {
		return false
	}
	request := g.target.upgrade(g.use.path, "")
	g.send(c, request[:1+rand.IntN(len(request)-1)])
	if c.state != gone {
		x.leave(c)
	}
	return true
}

func (x *churn) opened(g *group, c *conn) {
	c.sent++
	q := frame.Append(nil, frame.Text, rand.Uint32(), x.q.put(stat.Record{At: clock(), Seq: c.sent, Tag: uint32(c.index)}))
	switch x.how[c] {
	case inFrame:
		q = q[:1+rand.IntN(len(q)-1)]
	case properly:
		q = append(q, frame.Append(nil, frame.Close, rand.Uint32(), []byte{0x03, 0xe8})...)
	}
	g.send(c, q)
	if c.state == gone {
		return
	}
	switch x.how[c] {
	case beforeAnswer, inFrame:
		x.leave(c)
	case withFIN:
		syscall.SetsockoptLinger(int(c.fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{}) //nolint:errcheck // a reset then, which is fine too
		x.leave(c)
	case properly:
		x.left[properly]++ // the server's close frame ends it
	}
}

func (x *churn) answered(g *group, c *conn, payload []byte, _ int64) {
	switch {
	case x.reply != "" && string(payload) != x.reply:
		g.bad++
		g.fail("connection %d: not the answer: %.120q", c.index, payload)
	case x.reply == "":
		if r, _, ok := stat.Next(payload); !ok || r.Tag != uint32(c.index) {
			g.bad++
		}
	}
	if x.how[c] == afterAnswer {
		x.leave(c)
	}
}
