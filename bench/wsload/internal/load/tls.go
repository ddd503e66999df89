//go:build linux

package load

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// tlsConfig offers one key exchange, so that every server does the same work.
// Certificates are not checked: what is measured is the server, and each brings
// its own. No session is resumed.
func tlsConfig() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // #nosec G402 -- a load generator, loopback only
		MinVersion:         tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"http/1.1"},
	}
}

// tlsConn is one TLS connection after its upgrade.
type tlsConn struct {
	c *tls.Conn
	r *bufio.Reader
}

// dialTLS opens a WebSocket connection over TLS.
func (t *Target) dialTLS(path string, index int) (*tlsConn, error) {
	if _, err := Loopback(t.Addr); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: 30 * time.Second}
	if s := index / perSource; s > 0 {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(s))}
	}
	raw, err := d.Dial("tcp4", t.Addr)
	if err != nil {
		return nil, err
	}
	raw.(*net.TCPConn).SetLinger(0) //nolint:errcheck // only leaves fewer ports in TIME_WAIT
	c := tls.Client(raw, tlsConfig())
	if _, err := c.Write(t.upgrade(path, "t0")); err != nil {
		raw.Close()
		return nil, err
	}
	r := bufio.NewReaderSize(c, 512)
	code, _, err := readResponse(r)
	if err == nil && code != 101 {
		err = fmt.Errorf("status %d", code)
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if suite := c.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		raw.Close()
		return nil, fmt.Errorf("the server chose %s; every server is measured with TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(suite))
	}
	return &tlsConn{c, r}, nil
}

// next is the next data message; pings are answered.
func (c *tlsConn) next(buf []byte) ([]byte, error) {
	for {
		head, err := c.r.Peek(2)
		if err != nil {
			return nil, err
		}
		h := 2
		if head[1]&0x7f == 126 {
			h = 4
		}
		if head, err = c.r.Peek(h); err != nil {
			return nil, err
		}
		_, op, _, size, bad := frame.Take(head)
		if bad || size > len(buf) {
			return nil, fmt.Errorf("a frame that was not expected: % x", head)
		}
		if _, err := io.ReadFull(c.r, buf[:size]); err != nil {
			return nil, err
		}
		switch op {
		case frame.Text, frame.Bin:
			return buf[h:size], nil
		case frame.Ping:
			if _, err := c.c.Write(frame.Append(nil, frame.Pong, 1, buf[h:size])); err != nil {
				return nil, err
			}
		case frame.Close:
			return nil, fmt.Errorf("closed by the server: % x", buf[h:size])
		}
	}
}

// overTLS holds connections, each with a goroutine that answers pings.
func (i Idle) overTLS(t *Target, m Metrics) error {
	var mu sync.Mutex
	var conns []*tlsConn
	var ended atomic.Int64
	defer func() {
		for _, c := range conns {
			c.c.NetConn().Close()
		}
	}()
	raise := func(n int) error {
		var next atomic.Int64
		next.Store(int64(len(conns)))
		var all sync.WaitGroup
		errs := make(chan error, 64)
		for range 32 {
			all.Go(func() {
				for k := next.Add(1) - 1; k < int64(n); k = next.Add(1) - 1 {
					c, err := t.dialTLS(t.Proto.Path, int(k))
					if err != nil {
						errs <- fmt.Errorf("connection %d: %w", k, err)
						return
					}
					mu.Lock()
					conns = append(conns, c)
					mu.Unlock()
					go func() {
						c.next(make([]byte, 1024)) //nolint:errcheck // nothing is due but pings; the count tells
						ended.Add(1)
					}()
				}
			})
		}
		all.Wait()
		close(errs)
		return <-errs
	}
	return i.climb(t, m, raise, func() int { return len(conns) - int(ended.Load()) })
}

// overTLS is the closed loop over TLS, a goroutine per connection.
func (e Echo) overTLS(t *Target, m Metrics) error {
	p := &t.Proto
	r := &tlsEcho{t: t, e: e}
	conns := make([]*tlsConn, e.N)
	for k := range conns {
		c, err := t.dialTLS(or(p.EchoPath, p.Path), k)
		if err != nil {
			return fmt.Errorf("connection %d: %w", k, err)
		}
		defer c.c.NetConn().Close()
		conns[k] = c
	}
	time.Sleep(e.Settle)
	var all sync.WaitGroup
	for k, c := range conns {
		all.Go(func() { r.ask(c, uint32(k)) })
	}
	time.Sleep(e.Warm)
	r.phase.Store(1)
	a := t.meter()
	time.Sleep(e.Time)
	b := t.meter()
	r.phase.Store(2)
	all.Wait()
	n := r.measured.Load()
	m["per_s"] = float64(n) / (float64(b.at-a.at) / 1e9)
	faults(m, "", r.tally, r.sent.Load(), r.bad)
	m["connections_lost"] = float64(r.broken)
	latency(&r.hist, m, "")
	a.cost(b, n, m)
	if r.err != nil {
		return r.err
	}
	return nil
}

// tlsEcho is what the goroutines share.
type tlsEcho struct {
	t        *Target
	e        Echo
	phase    atomic.Int32 // 0 warming, 1 measuring, 2 over
	sent     atomic.Uint64
	measured atomic.Uint64

	mu     sync.Mutex // the rest
	hist   stat.Hist
	tally  stat.Tally
	bad    uint64
	broken int
	err    error
}

func (r *tlsEcho) ask(c *tlsConn, tag uint32) {
	p := &r.t.Proto
	var h stat.Hist
	var tally stat.Tally
	var seq stat.Seq
	var bad uint64
	var failed error
	q := p.stamp(p.Echo, "", r.e.Size)
	out, in := []byte(nil), make([]byte, 64<<10)
	for n := uint32(1); r.phase.Load() < 2 && failed == nil; n++ {
		at := clock()
		out = frame.Append(out[:0], frame.Text, rand.Uint32(), q.put(stat.Record{At: at, Seq: n, Tag: tag}))
		c.c.SetDeadline(time.Now().Add(10 * time.Second)) //nolint:errcheck // the read fails then
		r.sent.Add(1)
		if _, failed = c.c.Write(out); failed != nil {
			break
		}
		var answer []byte
		if answer, failed = c.next(in); failed != nil {
			break
		}
		if !r.right(answer, n, tag, &seq, &tally) {
			bad++
			failed = fmt.Errorf("not the answer: %.120q", answer)
		}
		if r.phase.Load() == 1 {
			r.measured.Add(1)
			h.Add(clock() - at)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hist.Merge(&h)
	r.tally.Merge(tally)
	r.bad += bad
	if failed != nil {
		r.broken++
		r.err = failed
	}
}

// right books one answer.
func (r *tlsEcho) right(answer []byte, n, tag uint32, seq *stat.Seq, tally *stat.Tally) bool {
	if reply := r.t.Proto.Reply; reply != "" {
		if !bytes.Equal(answer, []byte(reply)) {
			return false
		}
		tally.Note(stat.InOrder)
		return true
	}
	rec, _, ok := stat.Next(answer)
	if !ok || rec.Tag != tag {
		return false
	}
	tally.Note(seq.See(rec.Seq))
	return rec.Seq == n
}
