package conn

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livegate/livegate/internal/frame"
)

// descriptors is how many this process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// Nothing is allocated per message: receive, handle, answer; nor per delivery of
// a prepared message. Measured in the whole process, client included.
func TestLoopDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	up := make(chan *Conn, 1)
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: echo{}, Limits: Limits{Idle: time.Hour, Lifetime: 2 * time.Hour}})
		up <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-up
	nc := p.nc
	nc.SetDeadline(time.Time{})
	msg := text(strings.Repeat("m", 128))
	reply := make([]byte, frame.HeaderSize(128)+128)
	exchange := func() {
		if _, err := nc.Write(msg); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, reply); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		exchange()
	}
	if n := testing.AllocsPerRun(2000, exchange); n > 0 {
		t.Errorf("echo: %v allocations", n)
	}
	prepared := frame.Prepare(frame.Text, []byte(strings.Repeat("p", 128)), "")
	sent := make(chan struct{}, 1)
	task := func(func() bool) bool {
		for range 8 {
			c.SendPrepared(prepared)
		}
		sent <- struct{}{}
		return true
	}
	eight := make([]byte, 8*len(prepared.Plain()))
	deliver := func() {
		s.Post(0, task)
		<-sent
		if _, err := io.ReadFull(nc, eight); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		deliver()
	}
	// The closure of Post's mail and the list of tasks are one each per task.
	if n := testing.AllocsPerRun(2000, deliver); n > 2 {
		t.Errorf("eight deliveries: %v allocations", n)
	}
}

// An idle connection on a loop costs little more than its struct.
func TestIdleConnectionIsSmall(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory counts")
	}
	const conns = 1000
	_, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: discard{}, Limits: Limits{Idle: time.Hour}})})
	ncs := make([]net.Conn, 0, conns+1)
	head := []byte(ws(get))
	buf := make([]byte, 512)
	dial := func() {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Write(head)
		if _, err := nc.Read(buf); err != nil {
			t.Fatal(err)
		}
		ncs = append(ncs, nc)
	}
	live := func() int {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	dial()
	before := live()
	// The client's side of a connection: the same, dialled to somebody else.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var alone []net.Conn
	for range 50 {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		alone = append(alone, nc)
	}
	client := (live() - before) / len(alone)
	for _, nc := range alone {
		nc.Close()
	}
	before = live()
	for range conns {
		dial()
	}
	each := (live()-before)/conns - client
	t.Logf("%d bytes per connection (client's side: %d)", each, client)
	if each > 400 {
		t.Errorf("%d bytes per idle connection", each)
	}
	for _, nc := range ncs {
		nc.Close()
	}
}

// Clients come, speak and vanish in every way: no descriptor and no goroutine
// stays (goleak looks after the test).
func TestChurnLeavesNothing(t *testing.T) {
	before := descriptors(t)
	t.Run("server", func(t *testing.T) {
		s, addr := serveTCP(t, Config{HTTP: seen, Hot: &hotEcho{}, Upgrade: accepting(Options{Handler: echo{}})})
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for i := range 60 {
					churn(addr, w*60+i)
				}
			})
		}
		wg.Wait()
		give := time.Now().Add(patience)
		for s.Stats().Open > 0 {
			if time.Now().After(give) {
				t.Fatalf("%+v", s.Stats())
			}
			runtime.Gosched()
		}
		st := s.Stats()
		var closes uint64
		for _, n := range []uint64{st.Closes.Normal, st.Closes.Abnormal, st.Closes.Protocol, st.Closes.Other} {
			closes += n
		}
		if st.Handshakes != closes || st.Handshakes == 0 {
			t.Errorf("%+v", st)
		}
	})
	give := time.Now().Add(patience)
	for descriptors(t) > before {
		if time.Now().After(give) {
			t.Fatalf("%d descriptors, %d before", descriptors(t), before)
		}
		runtime.Gosched()
	}
}

// churn is one client's visit, its n-th kind.
func churn(addr string, n int) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 1024)
	send := func(b []byte) { nc.Write(b) }
	switch n % 8 {
	case 0: // nothing at all
	case 1:
		send([]byte("GET / HT"))
	case 2:
		send([]byte("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
		nc.Read(buf)
	case 3:
		send([]byte("POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"))
		nc.Read(buf)
	case 4:
		send([]byte("GET / HTTP/1.1\r\nBad Name: x\r\n\r\n"))
		nc.Read(buf)
	default:
		send([]byte(ws(get)))
		nc.Read(buf)
		send(text("hello"))
		switch n % 8 {
		case 5:
			send(bye(1000, ""))
			nc.Read(buf)
		case 6:
			nc.(*net.TCPConn).SetLinger(0)
		case 7:
			send(unmasked(frame.Text, "x"))
		}
	}
}

// Descriptors run out: accepting pauses without spinning, open connections go on,
// and accepting resumes by itself. In a process of its own, for its limit.
func TestDescriptorsRunOut(t *testing.T) {
	if os.Getenv("CONN_TEST_CHILD") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$", "-test.count=1")
		cmd.Env = append(os.Environ(), "CONN_TEST_CHILD=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s, addr := serveTCP(t, Config{Upgrade: accepting(Options{Handler: echo{}})})
	first := dialTCP(t, addr).open()
	// Clients' ends are made beforehand: the server alone shall run out.
	var clients []int
	sa, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	for range 40 {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, fd)
	}
	limit := unix.Rlimit{Cur: uint64(descriptors(t) + 20), Max: uint64(descriptors(t) + 20)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: sa.Port}
	copy(to.Addr[:], sa.IP.To4())
	for _, fd := range clients {
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
	}
	give := time.Now().Add(patience)
	for s.Stats().AcceptPauses < 3 {
		if time.Now().After(give) {
			t.Fatalf("%+v", s.Stats())
		}
		first.send(text("still here"))
		if got := first.next(); got != `text "still here"` {
			t.Fatal(got)
		}
	}
	for _, fd := range clients[:30] {
		unix.Close(fd)
	}
	for s.Stats().Accepted < 41 {
		if time.Now().After(give) {
			t.Fatalf("%+v", s.Stats())
		}
		runtime.Gosched()
	}
	if st := s.Stats(); st.AcceptPauses > 40 {
		t.Errorf("%d pauses", st.AcceptPauses)
	}
	for _, fd := range clients[30:] {
		unix.Close(fd)
	}
}
