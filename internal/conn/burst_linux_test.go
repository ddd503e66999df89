package conn

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/livegate/livegate/internal/frame"
)

// A burst of messages, each within the bounds of the queues, reaches every client
// that reads: what is posted waits for what was queued to be written.
func TestBurstDoesNotOverflowReaders(t *testing.T) {
	const clients, messages, items = 20, 3000, 100
	h := newRecorder()
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		_, _ = u.Accept(Options{Handler: h, Limits: Limits{SendItems: items}})
	}})
	var (
		peers []*peer
		conns []*Conn
	)
	for range clients {
		peers = append(peers, dialTCP(t, addr).open())
	}
	for len(conns) < clients {
		conns = s.loops.all()
	}
	var reading sync.WaitGroup
	for _, p := range peers {
		reading.Go(func() {
			for i := range messages {
				got, err := p.payload()
				if err != nil || !strings.HasPrefix(got, strconv.Itoa(i)+" ") {
					t.Errorf("message %d: %.20q, %v", i, got, err)
					return
				}
			}
		})
	}
	for i := range messages {
		p := frame.Prepare(frame.Text, []byte(strconv.Itoa(i)+" "+strings.Repeat("x", 100)), "")
		s.Post(0, func(func() bool) bool {
			for _, c := range conns {
				if err := c.SendPrepared(p); err != nil {
					t.Errorf("message %d: %v", i, err)
				}
			}
			return true
		})
	}
	reading.Wait()
}
