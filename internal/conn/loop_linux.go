package conn

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	readSize = 64 << 10 // the read buffer of a loop
	urgent   = 256      // connections attended to per turn

	// While so many connections are behind, or so much of a turn went through
	// ciphers, a read takes chunkSize at most: what is read may have to be kept, and
	// opening records of one byte takes a hundred times longer than handling bytes.
	crowd     = 16
	openSlice = 128 << 10

	taskSlice = 500 * time.Microsecond // of a slice, for tasks while connections wait to be written
	// tasksAhead is how many turns tasks have before the connections that waited at
	// the first of them are written. A turn of fanout's hands on 64 messages or
	// 64 KiB at most, so eight fit the queues of a connection that keeps up.
	tasksAhead = 8
	maxSleep   = time.Hour
)

// Marks of the descriptors in a loop's epoll set that are no connections.
const (
	markWake   = -1
	markAccept = -2 // and below: an index into acceptors
)

// loop is one event loop: a goroutine, an epoll set, and the connections in it.
// It carries them: see carrier.
type loop struct {
	// static after start
	e    *engine
	ep   int
	wake int // eventfd

	base home // srv, shard, the time of the turn, counters

	// owned by the loop's goroutine
	conns      []*Conn // by spot.slot
	free       []int32 // slots
	seq        uint32
	wheel      wheel
	fire       func(*Conn)
	acceptors  []*acceptor
	live       int // connections in the table
	leaving    bool
	deaf       bool // accepts no more
	yielded    time.Duration
	events     [256]unix.EpollEvent
	buf        []byte     // what was just read
	flat       []byte     // small segments gathered for one write
	batch      [][]byte   // segments of one write
	inbounds   []*inbound // free list
	scratch    *inbound
	urgent     fifo // connections somebody sent to
	backlog    fifo // connections a fan-out sent to
	tasks      []Task
	owed       int           // connections of the backlog to write before
	ahead      int           // this many turns of tasks are forgotten: see tasksAhead
	until      time.Duration // when the slice of tasks ends
	asked      uint32        // how often spent was called
	spentFn    func() bool
	hotBuf     []byte // responses of this turn
	hotHead    head
	hotRequest HotRequest
	behind     fifo     // connections that have had their share, in turn
	spares     [][]byte // for what they hold: readSize each
	opened     int      // bytes of this turn that went through ciphers

	// TLS and context takeover; owned by the loop's goroutine
	greetings    []*Conn       // handshakes under way, by coding.place
	maxGreetings int           // static after start
	waiting      fifo          // for a handshake to end
	looked       time.Duration // for handshakes whose client keeps those waiting
	plain        []byte
	coded        []byte
	packed       []byte
	sources      []source
	record       tlsScratch

	// the mailbox
	mu     sync.Mutex
	mail   mail // guarded by mu
	ended  bool // guarded by mu
	asleep atomic.Bool
	done   chan struct{} // closed when the loop has ended
}

// mail is what others want of a loop.
type mail struct {
	prompt    []*Conn
	fanned    []*Conn
	tasks     []Task
	newcomers []newcomer
	greeted   []greeted
	acceptors []*acceptor
	census    []chan<- []*Conn // wants to know who is here
	leave     bool             // Shutdown
	deaf      bool             // stop accepting
	cut       bool             // Shutdown's time is over
}

func (m *mail) empty() bool {
	return len(m.prompt) == 0 && len(m.fanned) == 0 && len(m.tasks) == 0 && len(m.newcomers) == 0 && len(m.greeted) == 0 &&
		len(m.acceptors) == 0 && len(m.census) == 0 && !m.leave && !m.deaf && !m.cut
}

// fifo is a queue of connections that keeps its storage.
type fifo struct {
	q    []*Conn
	head int
}

func (f *fifo) len() int { return len(f.q) - f.head }

func (f *fifo) pop() *Conn {
	c := f.q[f.head]
	f.q[f.head] = nil
	if f.head++; f.head == len(f.q) {
		f.q, f.head = f.q[:0], 0
	}
	return c
}

func (f *fifo) push(c ...*Conn) {
	if f.head > 1024 && f.head > len(f.q)/2 {
		n := copy(f.q, f.q[f.head:])
		clear(f.q[n:])
		f.q, f.head = f.q[:n], 0
	}
	f.q = append(f.q, c...)
}

// start makes the loop's descriptors and runs it.
func (l *loop) start() error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: markWake})
	}
	if err != nil {
		closeFD(ep)
		if wake > 0 {
			closeFD(wake)
		}
		return os.NewSyscallError("eventfd", err)
	}
	l.ep, l.wake = ep, wake
	l.buf = make([]byte, readSize)
	l.flat = make([]byte, 0, batchSize)
	l.scratch = &inbound{}
	l.maxGreetings = max(l.base.srv.head.Handshakes/len(l.e.loops), 1)
	l.fire = l.fired
	l.spentFn = l.spent
	l.base.turn = max(l.base.srv.since(), 1)
	l.wheel.now = uint32(l.base.turn / tick)
	go l.run()
	return nil
}

func (l *loop) home() *home { return &l.base }

// run is the loop.
func (l *loop) run() {
	for !l.over() {
		n := l.poll()
		l.base.turn = max(l.base.srv.since(), 1)
		l.base.stats.turns.Add(1)
		l.base.inflated, l.opened = 0, 0
		l.catchUpBehind()
		for i := range n {
			l.event(&l.events[i])
		}
		l.takeMail()
		l.wheel.advance(l.conns, l.base.turn, l.fire)
		l.resumeAccepting()
		l.greetNext()
		for n := min(l.urgent.len(), urgent); n > 0; n-- {
			l.attend(l.urgent.pop())
		}
		l.fanOut()
		// Nothing below this ever blocks: others on this processor get their turn.
		if now := l.base.turn; now-l.yielded > slice {
			l.yielded = now
			runtime.Gosched()
		}
	}
	l.end()
}

// poll waits for something to do. It looks without blocking first: a blocking
// call hands the processor over and takes it back, which costs more than a
// message does.
func (l *loop) poll() int {
	if len(l.greetings) > 0 {
		// A blocking call would take this processor along, and the handshakes with it,
		// until the runtime's monitor notices.
		runtime.Gosched()
	}
	if n := epollNow(l.ep, l.events[:]); n > 0 {
		return n
	}
	if l.busy() {
		return 0
	}
	l.asleep.Store(true)
	if l.hasMail() {
		l.asleep.Store(false)
		return 0
	}
	n, err := unix.EpollWait(l.ep, l.events[:], l.patience())
	l.asleep.Store(false)
	l.base.stats.wakeups.Add(1)
	l.yielded = l.base.srv.since()
	if err != nil { // EINTR
		return 0
	}
	return n
}

func (l *loop) busy() bool {
	return l.urgent.len() > 0 || l.backlog.len() > 0 || len(l.tasks) > 0 || l.behind.len() > 0
}

// patience is how long the loop may sleep, in milliseconds.
func (l *loop) patience() int {
	d := maxSleep
	now := l.base.srv.since()
	if at, ok := l.wheel.next(); ok {
		d = min(d, at-now)
	}
	if l.waiting.len() > 0 {
		d = min(d, stalledPause)
	}
	for _, a := range l.acceptors {
		if a.resume > 0 {
			d = min(d, a.resume-now)
		}
	}
	return int((max(d, 0) + time.Millisecond - 1) / time.Millisecond)
}

// event handles one readiness event.
func (l *loop) event(ev *unix.EpollEvent) {
	if ev.Fd < 0 {
		if ev.Fd == markWake {
			clearEvent(l.wake)
		} else if i := int(markAccept - ev.Fd); i < len(l.acceptors) {
			l.accept(l.acceptors[i])
		}
		return
	}
	c := l.conns[ev.Fd]
	if c == nil || c.spot.seq != uint32(ev.Pad) {
		return // closed earlier in this turn
	}
	if ev.Events&unix.EPOLLOUT != 0 {
		l.writable(c)
	}
	if ev.Events&^unix.EPOLLOUT != 0 && c.spot.slot >= 0 {
		l.readable(c, ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0)
	}
}

// takeMail empties the mailbox.
func (l *loop) takeMail() {
	l.mu.Lock()
	if l.mail.empty() {
		l.mu.Unlock()
		return
	}
	m := l.mail
	l.urgent.push(m.prompt...)
	l.backlog.push(m.fanned...)
	l.tasks = append(l.tasks, m.tasks...)
	clear(m.prompt)
	clear(m.fanned)
	clear(m.tasks)
	l.mail = mail{prompt: m.prompt[:0], fanned: m.fanned[:0], tasks: m.tasks[:0]}
	l.mu.Unlock()

	for _, a := range m.acceptors {
		l.listen(a)
	}
	if m.deaf || m.leave {
		l.deaf = true
		l.stopAccepting()
	}
	for _, n := range m.newcomers {
		if c := l.adopt(n); c != nil {
			l.watch(c)
		}
	}
	for _, to := range m.census {
		to <- slices.DeleteFunc(slices.Clone(l.conns), func(c *Conn) bool { return c == nil })
	}
	for _, g := range m.greeted {
		l.onGreeted(g)
	}
	if m.leave && !l.leaving {
		l.leaving = true
		l.sendAway()
	}
	if m.cut {
		l.cutAll()
	}
}

// fanOut works for at most a slice: tasks, which queue, then connections that
// wait to be written. While those that waited when it began are written, only so
// many tasks run: queueing is many times cheaper than writing, so a burst of
// messages would otherwise overflow the queues of clients that read as fast as
// they can. Whoever waits in the backlog meanwhile gets everything in one write.
func (l *loop) fanOut() {
	if len(l.tasks) == 0 && l.backlog.len() == 0 {
		return
	}
	began := l.base.srv.since()
	end := began + slice
	l.until = end
	if l.backlog.len() > 0 {
		l.until = began + taskSlice
	}
	for len(l.tasks) > 0 && l.ahead < tasksAhead {
		l.asked = 0
		if l.base.runTask(l.tasks[0], l.spentFn) {
			l.tasks[0] = nil
			l.tasks = l.tasks[1:]
		}
		l.takeMail() // what the task queued
		if l.ahead++; l.owed == 0 {
			l.owed = l.backlog.len()
		}
		if l.owed == 0 {
			l.ahead = 0 // it queued nothing
		}
		if l.base.srv.since() >= l.until {
			break
		}
	}
	if len(l.tasks) == 0 {
		l.tasks = nil
	}
	if l.base.srv.since()-began > 2*slice {
		l.base.stats.overruns.Add(1)
	}
	for n := 1; l.backlog.len() > 0; n++ {
		c := l.backlog.pop()
		if l.owed--; l.owed <= 0 {
			l.owed, l.ahead = 0, 0
		}
		if l.flush(c); c.stuck && c.mask&wantWrite == 0 && c.spot.slot >= 0 {
			l.settle(c)
		}
		if n%8 == 0 && l.base.srv.since() >= end {
			break
		}
	}
}

// spent tells a task whether its time is over. It looks at the clock only now
// and then: a task may ask before every connection.
func (l *loop) spent() bool {
	l.asked++
	return l.asked%16 == 0 && l.base.srv.since() >= l.until
}

// ready is called by anybody, with c.mu held: see carrier.
func (l *loop) ready(c *Conn, how urgency) {
	if urgency(c.posted.Load()) >= how {
		return
	}
	c.posted.Store(uint32(how))
	l.mu.Lock()
	if how == prompt {
		l.mail.prompt = append(l.mail.prompt, c)
	} else {
		l.mail.fanned = append(l.mail.fanned, c)
	}
	l.rouse()
	l.mu.Unlock()
}

// hangUp: the loop sees the state when it attends to c.
func (l *loop) hangUp(*Conn) {}

// rouse wakes the loop if it sleeps. Needs mu: the loop's descriptors may be
// somebody else's once it has ended.
func (l *loop) rouse() {
	if !l.ended && l.asleep.Load() && l.asleep.CompareAndSwap(true, false) {
		signalEvent(l.wake)
	}
}

func (l *loop) hasMail() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.mail.empty()
}

// tell puts something into the mailbox. false: the loop has ended.
func (l *loop) tell(f func(*mail)) bool {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	f(&l.mail)
	l.rouse()
	l.mu.Unlock()
	return true
}

// over: Shutdown was called, and nobody is left to wait for.
func (l *loop) over() bool { return l.leaving && l.live == 0 }

// end frees the loop's descriptors.
func (l *loop) end() {
	l.mu.Lock()
	l.ended = true
	m := l.mail
	l.mail = mail{}
	l.mu.Unlock()
	for _, a := range m.acceptors {
		a.close()
	}
	for _, n := range m.newcomers {
		l.e.turnOff(n)
	}
	for _, to := range m.census {
		to <- nil
	}
	for _, t := range append(l.tasks, m.tasks...) { // somebody may wait for them
		l.base.srv.Post(l.base.shard, t)
	}
	closeFD(l.wake)
	closeFD(l.ep)
	close(l.done)
}
