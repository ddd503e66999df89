package conn

import (
	"crypto/tls"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What a message costs in the collector: crypto/tls makes one small object for
// every read of the wire, and nothing else.
func TestTLSAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	for _, r := range []struct {
		size  int
		open  float64
		frame int
	}{
		{128, 1, 1}, {540, 1, 2}, {4096, 2, 1}, {tlsMaxPlain, 2, 3},
	} {
		server, client := tlsConfigs(t)
		p := greetTLS(t, server, client, nil)
		msg := make([]byte, r.size)
		frames := make([][]byte, r.frame)
		for i := range frames {
			frames[i] = msg
		}
		s := new(tlsScratch)
		wire, plain := make([]byte, 0, 64<<10), make([]byte, 0, 96<<10)
		sealed := testing.AllocsPerRun(1, func() { wire, _ = p.server.seal(wire[:0], s, frames...) })
		if n := testing.AllocsPerRun(100, func() { wire, _ = p.server.seal(wire[:0], s, frames...) }); n > 0 {
			t.Errorf("%d bytes: %v allocations to seal (at first %v)", r.size, n, sealed)
		}
		const runs = 100
		var in [runs + 4][]byte
		for i := range in {
			in[i], _ = p.client.seal(nil, nil, msg)
		}
		i := 0
		next := func() {
			got, reply, err := p.server.open(plain[:0], in[i])
			if len(got) != r.size || reply != nil || err != nil {
				t.Fatalf("%d bytes, %x, %v", len(got), reply, err)
			}
			i++
		}
		next()
		if n := testing.AllocsPerRun(runs, next); n > r.open {
			t.Errorf("%d bytes: %v allocations to open, want %v", r.size, n, r.open)
		}
	}
}

// tlsHeap is what n parked connections hold each, after use did something with
// every one.
func tlsHeap(t testing.TB, n int, server, client *tls.Config, use func(p *tlsPair)) int {
	heap := func() int {
		runtime.GC()
		runtime.GC() // the pools of crypto/tls live through one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	use(greetTLS(t, server, client, nil))
	keep := make([]*parkedTLS, n)
	before := heap()
	for i := range keep {
		p := greetTLS(t, server, client, nil)
		use(p)
		keep[i] = p.server
	}
	size := (heap() - before) / n
	runtime.KeepAlive(keep)
	return size
}

// What a parked connection holds, by version, key exchange and largest record.
func TestTLSMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own idea of memory")
	}
	say := func(size int) func(p *tlsPair) {
		return func(p *tlsPair) {
			p.toServer(1<<20, make([]byte, size))
			p.toClient(1<<20, make([]byte, size))
		}
	}
	for _, r := range []struct {
		name   string
		v      uint16
		curves []tls.CurveID
		use    func(p *tlsPair)
		max    int
	}{
		{"1.3, ML-KEM", tls.VersionTLS13, nil, say(128), 5500},
		{"1.3, X25519", tls.VersionTLS13, []tls.CurveID{tls.X25519}, say(500), 4300},
		{"1.2", tls.VersionTLS12, nil, say(128), 4400},
		{"1.3, had 16 KiB", tls.VersionTLS13, nil, say(tlsMaxPlain), 24 << 10},
	} {
		server, client := tlsConfigs(t)
		client.MaxVersion, client.CurvePreferences = r.v, r.curves
		got := tlsHeap(t, 200, server, client, r.use)
		t.Logf("%s: %d bytes", r.name, got)
		if got > r.max {
			t.Errorf("%s: %d bytes per connection, want %d", r.name, got, r.max)
		}
	}
}

// threadCPU is the CPU time of the calling thread, in ns.
func threadCPU(t testing.TB) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return ts.Nano()
}

// Handshakes by certificate and key exchange. server-µs is the CPU time of the
// server's thread; the client's is in ns/op, not in there.
func BenchmarkTLSHandshake(b *testing.B) {
	ecdsa, rsa := tlsECDSA(b), tlsRSA(b)
	for _, r := range []struct {
		name   string
		cert   tls.Certificate
		v      uint16
		curves []tls.CurveID
		resume bool
	}{
		{"ECDSA/X25519", ecdsa, tls.VersionTLS13, []tls.CurveID{tls.X25519}, false},
		{"ECDSA/P256", ecdsa, tls.VersionTLS13, []tls.CurveID{tls.CurveP256}, false},
		{"ECDSA/X25519MLKEM768", ecdsa, tls.VersionTLS13, nil, false},
		{"ECDSA/X25519/resumed", ecdsa, tls.VersionTLS13, []tls.CurveID{tls.X25519}, true},
		{"ECDSA/X25519MLKEM768/resumed", ecdsa, tls.VersionTLS13, nil, true},
		{"ECDSA/TLS1.2", ecdsa, tls.VersionTLS12, []tls.CurveID{tls.X25519}, false},
		{"ECDSA/TLS1.2/resumed", ecdsa, tls.VersionTLS12, []tls.CurveID{tls.X25519}, true},
		{"RSA2048/X25519", rsa, tls.VersionTLS13, []tls.CurveID{tls.X25519}, false},
		{"RSA2048/X25519/resumed", rsa, tls.VersionTLS13, []tls.CurveID{tls.X25519}, true},
	} {
		b.Run(r.name, func(b *testing.B) {
			server, client := tlsConfigs(b)
			server.Certificates = []tls.Certificate{r.cert}
			client.MaxVersion, client.CurvePreferences, client.ServerName = r.v, r.curves, "localhost"
			if r.resume {
				client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
				greetTLS(b, server, client, nil)
			}
			var spent int64
			for b.Loop() {
				spent += timedGreeting(b, server, client)
			}
			b.ReportMetric(float64(spent)/1000/float64(b.N), "server-µs")
		})
	}
}

// timedGreeting is a handshake whose server has a thread to itself.
func timedGreeting(b *testing.B, server, client *tls.Config) (spent int64) {
	var s, c *parkedTLS
	s = newParkedTLS(server, func(wire []byte) { c.push(wire) })
	c = &parkedTLS{}
	c.wire.greet(func(wire []byte) { s.push(wire) })
	c.tc = tls.Client(&c.wire, client)
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		start := threadCPU(b)
		if err := s.handshake(); err != nil {
			b.Error(err)
		}
		spent = threadCPU(b) - start
	})
	if err := c.handshake(); err != nil {
		b.Error(err)
	}
	wg.Wait()
	if _, _, err := c.open(nil, c.park()); err != nil { // the ticket, for the next
		b.Error(err)
	}
	return spent
}

// An echo without sockets: what open and seal cost, without the client.
func BenchmarkTLSEcho(b *testing.B) {
	for _, size := range []int{128, 1024, tlsMaxPlain} {
		for _, batch := range []int{1, 16} {
			b.Run(fmt.Sprintf("%d bytes, %d at a time", size, batch), func(b *testing.B) {
				if size*batch > 64<<10 {
					b.Skip("more than a loop reads at once")
				}
				server, client := tlsConfigs(b)
				client.CurvePreferences = []tls.CurveID{tls.X25519}
				p := greetTLS(b, server, client, nil)
				msg, s := make([]byte, size), new(tlsScratch)
				frames := make([][]byte, batch)
				for i := range frames {
					frames[i] = msg
				}
				wire, plain, out := []byte(nil), make([]byte, 0, 96<<10), make([]byte, 0, 96<<10)
				var spent int64
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				for b.Loop() {
					wire = wire[:0]
					for range batch {
						wire, _ = p.client.seal(wire, nil, msg)
					}
					start := threadCPU(b)
					got, _, err := p.server.open(plain[:0], wire)
					if err != nil || len(got) != size*batch {
						b.Fatal(len(got), err)
					}
					out, _ = p.server.seal(out[:0], s, frames...)
					spent += threadCPU(b) - start
				}
				b.ReportMetric(float64(spent)/float64(b.N)/float64(batch), "server-ns/message")
			})
		}
	}
}
