//go:build linux

package load

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

const (
	fresh = iota
	dialing
	upgrading
	greeting
	open
	gone
)

// conn is one plain connection: what the generator holds of it.
type conn struct {
	fd    int32
	index int32
	state uint8
	armed bool // EPOLLOUT is
	seq   stat.Seq
	sent  uint32
	part  []byte  // bytes of an incomplete frame
	out   []byte  // bytes that the socket would not take yet
	due   []int64 // when the messages that wait for a fixed reply were sent
	id    string
}

// use is what a group's connections are for.
type use struct {
	first    int // index of the group's first connection
	n        int // most connections
	inflight int // handshakes under way at once; 64
	path     string
	hello    []string // sent after the upgrade; {ch} is channel(index)
	ready    string   // text that completes the greeting; "": the 101 does
	idKey    string
	channel  func(index int) string
	recvBuf  int  // SO_RCVBUF; 0: the system's
	deaf     bool // readable sockets are left alone after the greeting
	urgent   bool // the thread runs before others of the generator, where allowed
	mayEnd   bool // the server may end connections: not an error
	spread   bool // source addresses all over 127.0.0.0/8, as many clients have

	onMessage func(g *group, c *conn, payload []byte, now int64)
	onConnect func(g *group, c *conn) (handled bool) // instead of the upgrade's request
	onOpen    func(g *group, c *conn)
	onEnd     func(g *group, c *conn)
}

// group is one thread's event loop over its connections. Fields below "owned" are
// touched by that thread alone: do reaches them.
type group struct {
	target *Target
	use    use
	dst    syscall.SockaddrInet4

	// owned
	ep      int
	byFD    []*conn
	conns   []*conn
	next    int // next connection to dial
	dials   int // dials under way
	buf     []byte
	scratch []byte
	frag    map[*conn][]byte
	hist    stat.Hist
	late    stat.Hist // how late the thread itself was, in open loops
	tally   stat.Tally
	bad     uint64                // records on the wrong connection, wrong texts
	tick    func(now int64) int64 // returns when to be called next
	closing bool

	// read anywhere
	want, opened, failed, ended atomic.Int64
	got                         atomic.Uint64
	lastAt                      atomic.Int64
	sent                        atomic.Uint64
	problem                     atomic.Pointer[string]
	stopped                     atomic.Bool
	cmds                        atomic.Int32
	cmd                         chan func()
	done                        chan struct{}
}

func newGroup(t *Target, u use) (*group, error) {
	dst, err := Loopback(t.Addr)
	if err != nil {
		return nil, err
	}
	ep, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if u.inflight <= 0 {
		u.inflight = 64
	}
	if u.channel == nil {
		u.channel = func(int) string { return "t0" }
	}
	g := &group{
		target: t, use: u, dst: dst, ep: ep, buf: make([]byte, 256<<10), frag: map[*conn][]byte{},
		cmd: make(chan func(), 16), done: make(chan struct{}),
	}
	for i := range u.n {
		g.conns = append(g.conns, &conn{index: int32(u.first + i), fd: -1})
	}
	go g.run()
	return g, nil
}

// do runs f on the group's thread and waits for it.
func (g *group) do(f func()) {
	ran := make(chan struct{})
	g.cmd <- func() { f(); close(ran) }
	g.cmds.Add(1)
	<-ran
}

// stop ends the thread and closes every connection with a reset, which leaves no
// TIME_WAIT behind for the next run.
func (g *group) stop() {
	g.do(func() {
		g.closing, g.tick = true, nil
		for _, c := range g.conns {
			if c.fd >= 0 {
				g.drop(c, "")
			}
		}
	})
	g.stopped.Store(true)
	<-g.done
	syscall.Close(g.ep) //nolint:errcheck // nothing is in it any more
}

// fail keeps the first thing that went wrong.
func (g *group) fail(format string, a ...any) {
	s := fmt.Sprintf(format, a...)
	g.problem.CompareAndSwap(nil, &s)
}

// epollPwait2 takes a nanosecond timeout (epoll_wait(2), Linux 5.11); its number
// is the same on every architecture.
const epollPwait2 = 441

func (g *group) wait(ev []syscall.EpollEvent, ns int64) int {
	var n uintptr
	var e syscall.Errno
	ts := syscall.Timespec{Sec: ns / 1e9, Nsec: ns % 1e9}
	at, size, limit := uintptr(unsafe.Pointer(&ev[0])), uintptr(len(ev)), uintptr(unsafe.Pointer(&ts))
	if ns == 0 {
		n, _, e = syscall.RawSyscall6(epollPwait2, uintptr(g.ep), at, size, limit, 0, 0)
	} else {
		n, _, e = syscall.Syscall6(epollPwait2, uintptr(g.ep), at, size, limit, 0, 0)
	}
	if e != 0 {
		return 0
	}
	return int(n)
}

const longestWait = int64(2e6) // ns; how long a command may wait

func (g *group) run() {
	runtime.LockOSThread()
	if g.use.urgent {
		urgent()
	}
	defer close(g.done)
	ev := make([]syscall.EpollEvent, 1024)
	busy := false
	for !g.stopped.Load() {
		for g.cmds.Load() > 0 {
			(<-g.cmd)()
			g.cmds.Add(-1)
		}
		for g.dials < g.use.inflight && int64(g.next) < g.want.Load() && g.next < len(g.conns) && !g.closing {
			g.next++
			g.dial(g.conns[g.next-1])
		}
		timeout := longestWait
		if g.tick != nil {
			timeout = max(0, min(timeout, g.tick(clock())-clock()))
		}
		if busy {
			timeout = 0 // there was work a moment ago: look again before sleeping
		}
		n := g.wait(ev, timeout)
		busy = n > 0
		if busy {
			g.dispatch(ev[:n])
		}
	}
}

func (g *group) dispatch(ev []syscall.EpollEvent) {
	before := g.got.Load()
	for k := range ev {
		c := g.byFD[ev[k].Fd]
		if c == nil {
			continue
		}
		if ev[k].Events&syscall.EPOLLOUT != 0 {
			g.writable(c)
		}
		if g.use.deaf && c.state == open && ev[k].Events&(syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			g.drop(c, "ended by the server")
		}
		if c.state != gone && ev[k].Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			g.readable(c)
		}
	}
	if g.got.Load() != before {
		g.lastAt.Store(clock())
	}
}

// urgent puts the calling thread before the generator's others (setpriority(2),
// which is per thread on Linux); without the right to, it stays as it is. A control
// group that shares its processor with the receiver of a fan-out would measure the
// receiver otherwise. Not SCHED_FIFO: Go's runtime spins on what other threads hold,
// and a real-time thread that spins keeps them from letting go, for a second at a time.
func urgent() {
	const highest = -20
	_, _, _ = syscall.RawSyscall(syscall.SYS_SETPRIORITY, syscall.PRIO_PROCESS, 0, uintptr(uint32(1<<32+highest)))
}
