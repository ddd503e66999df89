package fanout

import (
	"encoding/binary"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/frame"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type task = func(spent func() bool) bool

// stepped are loops that run when told to.
type stepped struct {
	queues [][]task
	posts  int
}

func newStepped(shards int) *stepped { return &stepped{queues: make([][]task, shards)} }

func (l *stepped) Shards() int { return len(l.queues) }

func (l *stepped) Post(shard int, t task) {
	l.queues[shard] = append(l.queues[shard], t)
	l.posts++
}

// turn gives the first task of a shard one slice, which is spent after looks
// looks at the clock.
func (l *stepped) turn(shard, looks int) {
	if len(l.queues[shard]) == 0 {
		return
	}
	t := l.queues[shard][0]
	done := t(func() bool { looks--; return looks < 0 })
	if done {
		l.queues[shard] = l.queues[shard][1:]
	}
}

// drain runs everything to its end.
func (l *stepped) drain() {
	for shard := range l.queues {
		for len(l.queues[shard]) > 0 {
			l.turn(shard, 1<<30)
		}
		l.queues[shard] = nil
	}
}

// running are loops with a goroutine each, whose slices are a few looks long.
type running struct {
	queues []*mailbox
	wg     sync.WaitGroup
}

type mailbox struct {
	mu    sync.Mutex
	ready sync.Cond
	tasks []task
	stop  bool
}

func newRunning(shards int) *running {
	l := &running{}
	for range shards {
		q := &mailbox{}
		q.ready.L = &q.mu
		l.queues = append(l.queues, q)
		l.wg.Go(q.loop)
	}
	return l
}

func (l *running) Shards() int { return len(l.queues) }

func (l *running) Post(shard int, t task) {
	q := l.queues[shard]
	q.mu.Lock()
	q.tasks = append(q.tasks, t)
	q.mu.Unlock()
	q.ready.Signal()
}

// call runs f on a loop and waits for it.
func (l *running) call(shard int, f func()) {
	done := make(chan struct{})
	l.Post(shard, func(func() bool) bool { f(); close(done); return true })
	<-done
}

// stop ends the loops when their queues are empty.
func (l *running) stop() {
	for _, q := range l.queues {
		q.mu.Lock()
		q.stop = true
		q.mu.Unlock()
		q.ready.Signal()
	}
	l.wg.Wait()
}

// loop puts an unfinished task behind the others: the hub must not need more.
func (q *mailbox) loop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.tasks) == 0 {
			if q.stop {
				return
			}
			q.ready.Wait()
		}
		t := q.tasks[0]
		q.tasks = q.tasks[1:]
		q.mu.Unlock()
		looks := 3
		done := t(func() bool { looks--; return looks < 0 })
		q.mu.Lock()
		if !done {
			q.tasks = append(q.tasks, t)
		}
	}
}

// payload of a numbered message: who published it, and the how manieth it is.
func payload(publisher, seq int) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(publisher))
	return binary.BigEndian.AppendUint32(b, uint32(seq))
}

func parse(p *frame.Prepared) (publisher, seq int) {
	b := p.Plain()[len(p.Plain())-p.Size():]
	return int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
}

// sink calls got for each message.
type sink struct {
	shard int
	got   func(s *sink, p *frame.Prepared)
	count int
}

func (s *sink) Shard() int { return s.shard }

func (s *sink) Deliver(p *frame.Prepared) {
	s.count++
	if s.got != nil {
		s.got(s, p)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
