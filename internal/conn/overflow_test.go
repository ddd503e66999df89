package conn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

// upgraded is a server's connection and the client at its other end.
func upgraded(t *testing.T, h Handler, l Limits) (s *Server, c *Conn, p *peer) {
	t.Helper()
	up := make(chan *Conn, 1)
	s, addr := serveTCP(t, Config{Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: h, Limits: l})
		if err != nil {
			t.Error(err)
		}
		up <- c
	}})
	p = dialTCP(t, addr)
	if err := p.nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	p.open()
	return s, <-up, p
}

// stick sends until nothing leaves any more, and returns how many were taken.
func stick(t *testing.T, c *Conn, msg []byte) (sent int) {
	t.Helper()
	give := time.Now().Add(patience)
	for {
		switch err := c.Send(msg); {
		case err == nil:
			sent++
		case !errors.Is(err, ErrQueueFull):
			t.Fatal(err)
		case full(c):
			return sent
		case time.Now().After(give):
			t.Fatal("the socket never fills up")
		default:
			runtime.Gosched()
		}
	}
}

func numbered(i int) []byte {
	return fmt.Appendf(nil, "%06d %s", i, strings.Repeat("n", 1000))
}

// fillNumbered sends 0, 1, 2 … until size messages wait behind a stuck socket.
func fillNumbered(t *testing.T, c *Conn, until func(st Stats) bool) (n int) {
	t.Helper()
	give := time.Now().Add(patience)
	for !until(c.srv().Stats()) {
		switch err := c.Send(numbered(n)); {
		case err == nil:
			n++
		case !errors.Is(err, ErrQueueFull): // all that waits is being written
			t.Fatal(n, err)
		}
		if n%16 == 0 {
			runtime.Gosched()
		}
		if time.Now().After(give) {
			t.Fatal("the socket never fills up")
		}
	}
	return n
}

// Drop-oldest: what arrives is in order, ends with the newest, and misses as many
// as the counter says.
func TestDropOldest(t *testing.T) { onEngines(t, testDropOldest) }

func testDropOldest(t *testing.T) {
	s, c, p := upgraded(t, newRecorder(), Limits{SendItems: 50, Overflow: bound.DropOldest})
	n := fillNumbered(t, c, func(st Stats) bool { return st.Overflows.DropOldest >= 100 })
	dropped := s.Stats().Overflows.DropOldest
	got, last := 0, -1
	for last < n-1 {
		payload, err := p.payload()
		if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(payload[:6])
		if err != nil {
			t.Fatal(err)
		}
		if i <= last || !bytes.Equal([]byte(payload), numbered(i)) {
			t.Fatalf("message %d after %d", i, last)
		}
		last = i
		got++
	}
	if got+int(dropped) != n {
		t.Errorf("%d sent, %d arrived, %d counted as dropped", n, got, dropped)
	}
	p.send(ping("alive"))
	if got := p.next(); got != `pong "alive"` {
		t.Error(got)
	}
}

// Close: the slow consumer is told 1013, without its backlog.
func TestSlowConsumerIsClosed(t *testing.T) { onEngines(t, testSlowConsumerIsClosed) }

func testSlowConsumerIsClosed(t *testing.T) {
	for _, code := range []int{0, 1008} {
		r := newRecorder()
		const items, leaving = 500, 100 // a batch of 64 KiB may be on its way out
		s, c, p := upgraded(t, r, Limits{SendItems: items, Overflow: bound.Close, OverflowCode: code})
		msg, err, n := numbered(0), error(nil), 0
		for ; err == nil; n++ {
			err = c.Send(msg)
		}
		if !errors.Is(err, ErrQueueFull) || !errors.Is(c.Send(msg), ErrClosed) {
			t.Errorf("Send on a full queue: %v", err)
		}
		got, want := p.next(), "close 1013 Slow consumer"
		arrived := 0
		for ; strings.HasPrefix(got, "text"); got = p.next() {
			arrived++
		}
		if code != 0 {
			want = "close 1008 Slow consumer"
		}
		if got != want || arrived > n-(items-leaving) {
			t.Errorf("%s after %d of %d", got, arrived, n)
		}
		p.nc.Close()
		<-r.done
		if st := s.Stats(); st.Overflows.Close != 1 || st.Closes.Policy != 1 || st.Open != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// Coalesce: of each key at least the newest arrives, and what has no key is not
// touched.
func TestCoalesce(t *testing.T) { onEngines(t, testCoalesce) }

func testCoalesce(t *testing.T) {
	s, c, p := upgraded(t, newRecorder(), Limits{SendItems: 40, Overflow: bound.Coalesce})
	refused, i := 0, 0
	for ; s.Stats().Overflows.Coalesce < 300; i++ {
		err := c.SendPrepared(frame.Prepare(frame.Text, numbered(i), fmt.Sprint("key", i%10)))
		if err != nil {
			refused++
		}
		runtime.Gosched()
	}
	if refused > i/2 { // keys whose messages were all being written
		t.Errorf("%d of %d refused", refused, i)
	}
	end := fmt.Sprintf("end %d", refused)
	for errors.Is(c.SendPrepared(frame.Prepare(frame.Text, []byte(end), "key0")), ErrQueueFull) {
		runtime.Gosched()
	}
	newest, last := map[int]int{}, -1
	for {
		payload, err := p.payload()
		if err != nil {
			t.Fatal(err)
		}
		if payload == end {
			break
		}
		i, err := strconv.Atoi(payload[:6])
		if err != nil {
			t.Fatal(err)
		}
		if i <= last {
			t.Fatalf("message %d after %d", i, last)
		}
		newest[i%10], last = i, i
	}
	for key := 1; key < 10; key++ { // key0's was replaced by the end
		if newest[key] < last-10-refused {
			t.Errorf("key %d: newest is %d of %d", key, newest[key], last)
		}
	}
	if s.Stats().Overflows.Coalesce == 0 {
		t.Error("not counted")
	}
}

// The default: refused, counted, and the connection goes on.
func TestRefuseIsCounted(t *testing.T) { onEngines(t, testRefuseIsCounted) }

func testRefuseIsCounted(t *testing.T) {
	s, c, p := upgraded(t, newRecorder(), Limits{SendItems: 20})
	sent := stick(t, c, numbered(0))
	if s.Stats().Overflows.Refuse == 0 {
		t.Errorf("%+v", s.Stats())
	}
	for range sent {
		if _, err := p.payload(); err != nil {
			t.Fatal(err)
		}
	}
}

// A frame of several megabytes leaves in many partial writes, whole.
func TestPartialWrites(t *testing.T) { onEngines(t, testPartialWrites) }

func testPartialWrites(t *testing.T) {
	_, c, p := upgraded(t, newRecorder(), Limits{SendBytes: 64 << 20})
	big := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	for range 3 {
		if err := c.Send(big); err != nil {
			t.Fatal(err)
		}
		if err := c.Send([]byte("between")); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		payload, err := p.payload()
		if err != nil || payload != string(big) {
			t.Fatal(len(payload), err)
		}
		if got := p.next(); got != `text "between"` {
			t.Fatal(got)
		}
	}
}

// The client ends its side, or resets, at any moment: 1006, and nothing is left.
func TestHalfCloseAndReset(t *testing.T) { onEngines(t, testHalfCloseAndReset) }

func testHalfCloseAndReset(t *testing.T) {
	for _, reset := range []bool{false, true} {
		for _, paused := range []bool{false, true} {
			if paused && !reset {
				continue // a pause hides a FIN until Resume
			}
			r := newRecorder()
			_, c, p := upgraded(t, r, Limits{SendItems: 50})
			if paused {
				c.Pause()
			}
			stick(t, c, numbered(0))
			tc := p.nc.(*net.TCPConn)
			if reset {
				tc.SetLinger(0)
				tc.Close()
			} else {
				tc.CloseWrite()
				go io.Copy(io.Discard, tc)
			}
			<-r.done
			if got := r.outcome(); got != "1006" {
				t.Errorf("reset %v, paused %v: %s", reset, paused, got)
			}
			if err := c.Send([]byte("x")); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	}
}

// dropOldest on segments that hold several frames, pongs among them.
func TestDropFromGatheredSegments(t *testing.T) {
	r := stillConn(discard{}, Limits{SendItems: 3, Overflow: bound.DropOldest})
	c := r.c
	for i := range 5 {
		c.sendPong([]byte(fmt.Sprint(i)))
		if err := c.Send([]byte(fmt.Sprint("m", i))); err != nil {
			t.Fatal(err)
		}
	}
	var all []byte
	batch, total := c.out.take(nil, batchSize)
	for _, b := range batch {
		all = append(all, b...)
	}
	want := join(unmasked(frame.Pong, "2"), unmasked(frame.Text, "m2"), unmasked(frame.Pong, "3"), unmasked(frame.Text, "m3"),
		unmasked(frame.Text, "m4"), unmasked(frame.Pong, "4")) // the latest pong only, behind what waited
	if total != len(all) || !bytes.Equal(all, want) {
		t.Errorf("%q", all)
	}
	c.out.wrote(c.srv(), total)
	if c.out.budget.Len() != 0 || c.out.budget.Size() != 0 || c.out.pending != 0 || !c.out.empty() {
		t.Errorf("%+v", c.out)
	}
}
