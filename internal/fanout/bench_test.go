package fanout

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/livegate/livegate/internal/frame"
)

// counting is the cheapest sink there is, of the size of a small connection: what
// is measured is the hub.
type counting struct {
	shard int
	n     int
	_     [112]byte
}

func (c *counting) Shard() int              { return c.shard }
func (c *counting) Deliver(*frame.Prepared) { c.n++ }

func forever() bool { return false }

func (l *stepped) finish() {
	for i, q := range l.queues {
		for _, t := range q {
			for !t(forever) {
			}
		}
		l.queues[i] = q[:0]
	}
}

func BenchmarkPublish(b *testing.B) {
	message := make([]byte, 128)
	for _, n := range []int{0, 1, 100, 10_000, 100_000} {
		for _, together := range []int{1, 16} {
			b.Run(fmt.Sprintf("to=%d/together=%d", n, together), func(b *testing.B) {
				loops := newStepped(2)
				h := New(Config{Loops: loops})
				for i := range n {
					must(b, h.Subscribe("default/hot", &counting{shard: i % 2}))
				}
				b.ReportAllocs()
				for b.Loop() {
					for range together {
						h.Publish("default/hot", frame.Text, message)
					}
					loops.finish()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*together*max(n, 1)), "ns/delivery")
			})
		}
	}
}

// 10 000 subscribers, a tenth of them through two filters.
func BenchmarkPublishOverlapping(b *testing.B) {
	loops := newStepped(2)
	h := New(Config{Loops: loops})
	for i := range 10_000 {
		s := &counting{shard: i % 2}
		must(b, h.Subscribe("default/hot", s))
		if i%10 == 0 {
			must(b, h.Subscribe("default/*", s))
		}
	}
	for b.Loop() {
		h.Publish("default/hot", frame.Text, nil)
		loops.finish()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*10_000), "ns/delivery")
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprintf("on=%d", n), func(b *testing.B) {
			h := New(Config{Loops: newStepped(2)})
			sinks := make([]*counting, n)
			for i := range sinks {
				sinks[i] = &counting{shard: i % 2}
				must(b, h.Subscribe("default/hot", sinks[i]))
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i = (i + 7919) % n
				if h.Unsubscribe("default/hot", sinks[i]) != nil || h.Subscribe("default/hot", sinks[i]) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

// Publishing from every core to channels of their own.
func BenchmarkPublishParallel(b *testing.B) {
	h := New(Config{Loops: newStepped(1)})
	message := make([]byte, 128)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Publish("default/nobody", frame.Text, message)
		}
	})
}

// What the hub holds for a sink, the sink itself not counted.
func BenchmarkMemory(b *testing.B) {
	const n = 200_000
	for name, channel := range map[string]func(i int) string{
		"one-channel":  func(int) string { return "default/hot" },
		"own-channels": func(i int) string { return fmt.Sprintf("default/rooms/%d", i) },
	} {
		b.Run(name, func(b *testing.B) {
			var per float64
			for b.Loop() {
				h := New(Config{Loops: newStepped(2)})
				sinks := make([]*counting, n)
				for i := range sinks {
					sinks[i] = &counting{shard: i % 2}
				}
				base := heap()
				for i, s := range sinks {
					must(b, h.Subscribe(channel(i), s))
				}
				per = float64(heap()-base) / n
				runtime.KeepAlive(h)
				runtime.KeepAlive(sinks)
			}
			b.ReportMetric(per, "B/subscriber")
		})
	}
}
