package conn

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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

// Connections are dealt out evenly, and each stays where it is.
func TestLoopsShareConnections(t *testing.T) {
	var on [3]atomic.Int32
	s, addr := serveTCP(t, Config{Loops: 3, Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: echo{}})
		if err != nil {
			t.Error(err)
			return
		}
		on[c.Shard()].Add(1)
	}})
	if s.Shards() != 3 {
		t.Fatal(s.Shards())
	}
	for range 30 {
		dialTCP(t, addr).open()
	}
	for i := range on {
		if n := on[i].Load(); n < 9 || n > 11 {
			t.Errorf("shard %d has %d of 30", i, n)
		}
	}
}

// Tasks of a shard run in order, in slices, while messages are echoed in between.
func TestTasksAreSliced(t *testing.T) {
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: accepting(Options{Handler: echo{}})})
	p := dialTCP(t, addr).open()
	var order []int
	stop, done := atomic.Bool{}, make(chan struct{})
	calls := 0
	s.Post(0, func(spent func() bool) bool { // as long as the test wants
		calls++
		for !spent() {
			runtime.Gosched()
		}
		if !stop.Load() {
			return false
		}
		order = append(order, 1)
		return true
	})
	s.Post(0, func(func() bool) bool { order = append(order, 2); return true })
	s.Post(0, func(func() bool) bool { close(done); return true })
	for range 20 {
		p.send(text("between"))
		if got := p.next(); got != `text "between"` {
			t.Fatal(got)
		}
	}
	stop.Store(true)
	<-done
	if fmt.Sprint(order) != "[1 2]" || calls < 20 {
		t.Errorf("order %v, %d slices", order, calls)
	}
}

// A fan-out to many connections does not hold up an echo: the echo is answered
// after a slice, not after the backlog.
func TestEchoDuringFanOut(t *testing.T) {
	const subscribers, rounds = 300, 20
	var mu sync.Mutex
	var subs []*Conn
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		c, err := u.Accept(Options{Handler: echo{}, Limits: Limits{SendBytes: 1 << 30, SendItems: 1 << 20}})
		if err != nil {
			t.Error(err)
		}
		if u.Path == "/sub" {
			mu.Lock()
			subs = append(subs, c)
			mu.Unlock()
		}
	}})
	var wg sync.WaitGroup
	defer wg.Wait()
	for range subscribers {
		p := dialTCP(t, addr)
		p.send([]byte(upgradeHead("/sub")))
		p.response()
		defer p.nc.Close()
		wg.Go(func() { io.Copy(io.Discard, p.nc) })
	}
	p := dialTCP(t, addr).open()
	big := frame.Prepare(frame.Text, []byte(strings.Repeat("f", 60<<10)), "")
	least := uint64(subscribers)
	for range rounds {
		left := 0
		s.Post(0, func(spent func() bool) bool {
			for ; left < len(subs); left++ {
				if spent() {
					return false
				}
				if err := subs[left].SendPrepared(big); err != nil && !errors.Is(err, ErrClosed) { // the test's end
					t.Error(err)
				}
			}
			return true
		})
		before := s.Stats().Writes
		p.send(text("now"))
		if got := p.next(); got != `text "now"` {
			t.Fatal(got)
		}
		least = min(least, s.Stats().Writes-before)
	}
	// Were echoes behind the backlog, all of it would have been written before any.
	if least > subscribers/2 {
		t.Errorf("at least %d writes before each echo", least)
	}
}

// Prepared messages, texts and pongs of one connection leave in the order in
// which they were queued, whichever list the loop found the connection in.
func TestOrderAcrossUrgencies(t *testing.T) {
	up := make(chan *Conn, 1)
	s, addr := serveTCP(t, Config{Loops: 1, Upgrade: func(u *Upgrade) {
		c, _ := u.Accept(Options{Handler: echo{}, Limits: Limits{SendItems: 1 << 20, SendBytes: 64 << 20}})
		up <- c
	}})
	p := dialTCP(t, addr).open()
	c := <-up
	const n = 3000
	s.Post(0, func(func() bool) bool {
		for i := range n {
			if i%3 == 0 {
				c.Send(fmt.Append(nil, i))
			} else {
				c.SendPrepared(frame.Prepare(frame.Text, fmt.Append(nil, i), ""))
			}
		}
		return true
	})
	for i := range n {
		if got := p.next(); got != fmt.Sprintf("text %q", fmt.Sprint(i)) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
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

// hotEcho answers POST /hot… with its body, and leaves /hot/no to HTTP.
type hotEcho struct{ asked atomic.Int32 }

func (h *hotEcho) Takes(method, target string) bool { return strings.HasPrefix(target, "/hot") }

func (h *hotEcho) ServeHot(dst []byte, r *HotRequest) ([]byte, bool) {
	h.asked.Add(1)
	if strings.HasPrefix(r.Target, "/hot/no") {
		return dst, false
	}
	dst = fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(r.Method)+1+len(r.Body))
	return append(append(append(dst, r.Method...), ' '), r.Body...), true
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

// Hot requests: pipelined ones in order, in whatever pieces; then an upgrade, or
// whatever else, on the same connection.
func TestHot(t *testing.T) {
	h := &hotEcho{}
	s, addr := serveTCP(t, Config{Hot: h, HTTP: seen, Upgrade: accepting(Options{Handler: echo{}})})
	post := func(path, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	}
	long := strings.Repeat("b", 100_000)
	for _, step := range []int{1 << 20, 1000, 7} {
		p := dialTCP(t, addr)
		all := post("/hot", "one") + "GET /hot HTTP/1.1\r\nHost: h\r\n\r\n" + post("/hot", long[:step*100%90_000]) + post("/hot/no", "three") + "GET /x HTTP/1.1\r\nHost: h\r\n\r\n" + post("/hot", "five")
		go func() {
			for at := 0; at < len(all); at += step {
				p.nc.Write([]byte(all[at:min(at+step, len(all))]))
			}
		}()
		for i, want := range []string{"POST one", "GET ", "POST " + long[:step*100%90_000], "http HTTP/1.1 POST /hot/no three", "http HTTP/1.1 GET /x ", "http HTTP/1.1 POST /hot five"} {
			if _, body := p.response(); body != want {
				t.Fatalf("step %d, response %d: %.60q, want %.60q", step, i, body, want)
			}
		}
	}
	if st := s.Stats(); st.Hot != 9 || st.Web != 3 {
		t.Errorf("%d hot, %d handed over", st.Hot, st.Web)
	}
	p := dialTCP(t, addr)
	p.send([]byte(post("/hot", "first")+ws(get)), text("early"))
	if _, body := p.response(); body != "POST first" {
		t.Fatal(body)
	}
	if res, _ := p.response(); res.StatusCode != 101 {
		t.Fatal(res.StatusCode)
	}
	if got := p.next(); got != `text "early"` {
		t.Error(got)
	}
}

// What could be read in two ways is never hot.
func TestHotIsPlain(t *testing.T) {
	h := &hotEcho{}
	_, addr := serveTCP(t, Config{Hot: h, HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(299) })})
	for name, head := range map[string]string{
		"two lengths":        "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
		"length list":        "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2, 2\r\n\r\nhi",
		"signed length":      "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: +2\r\n\r\nhi",
		"chunked":            "POST /hot HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"chunked and length": "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"expect":             "POST /hot HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
		"upgrade":            "POST /hot HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nhi",
		"two hosts":          "POST /hot HTTP/1.1\r\nHost: h\r\nHost: g\r\nContent-Length: 2\r\n\r\nhi",
		"bare LF":            "POST /hot HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi",
		"folded":             "POST /hot HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\nContent-Length: 2\r\n\r\nhi",
		"space before colon": "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length : 2\r\n\r\nhi",
		"HTTP/1.0":           "POST /hot HTTP/1.0\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
		"body too long":      "POST /hot HTTP/1.1\r\nHost: h\r\nContent-Length: 131073\r\n\r\n" + strings.Repeat("x", 131073),
		"no length":          "POST /hot HTTP/1.1\r\nHost: h\r\n\r\n",
	} {
		p := dialTCP(t, addr)
		go p.nc.Write([]byte(head))
		p.response()
		if h.asked.Load() != 0 {
			t.Errorf("%s: served", name)
			h.asked.Store(0)
		}
	}
	p := dialTCP(t, addr)
	p.send([]byte("POST /hot HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"))
	if _, body := p.response(); body != "POST hi" {
		t.Error(body)
	}
	if got := p.next(); got != "eof" {
		t.Error(got)
	}
}
