package topic

import (
	"fmt"
	"runtime"
	"testing"
)

// value is as large as what the fan-out keeps.
type value [3]uintptr

func BenchmarkChannel(b *testing.B) {
	for b.Loop() {
		if _, err := (Grammar{}).Channel("default/rooms/4711"); err != nil {
			b.Fatal(err)
		}
	}
}

// One filter among n, without and with wildcards around.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1, 1_000, 1_000_000} {
		for _, wild := range []bool{false, true} {
			b.Run(fmt.Sprintf("filters=%d/wild=%v", n, wild), func(b *testing.B) {
				x := NewIndex[value](0)
				for i := range n {
					x.Subscribe(mustFilter(b, fmt.Sprintf("default/rooms/%d", i)), 0, value{})
				}
				if wild {
					x.Subscribe(mustFilter(b, "default/*"), 0, value{})
				}
				channels := make([]Channel, 1024)
				for i := range channels {
					channels[i] = mustChannel(b, fmt.Sprintf("default/rooms/%d", i*7919%n))
				}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					var buf [8]View[value]
					if len(x.Match(channels[i&1023], buf[:0])) == 0 {
						b.Fatal("no match")
					}
					i++
				}
			})
		}
	}
}

// One subscriber joins and one leaves, where many are.
func BenchmarkJoinLeave(b *testing.B) {
	for _, n := range []int{0, 1, 100, 100_000} {
		b.Run(fmt.Sprintf("on=%d", n), func(b *testing.B) {
			x := NewIndex[value](0)
			f := mustFilter(b, "hot")
			var subs []*Subscription[value]
			for range n + 1 {
				s, _ := x.Subscribe(f, 0, value{})
				subs = append(subs, s)
			}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i = (i + 7919) % len(subs)
				x.Unsubscribe(subs[i])
				subs[i], _ = x.Subscribe(f, 0, value{})
			}
		})
	}
}

// A large set comes and goes as a whole: growing and merging, per subscription.
func BenchmarkFlood(b *testing.B) {
	f := mustFilter(b, "hot")
	for b.Loop() {
		x := NewIndex[value](0)
		subs := make([]*Subscription[value], 100_000)
		for i := range subs {
			subs[i], _ = x.Subscribe(f, 0, value{})
		}
		for i := range subs {
			x.Unsubscribe(subs[i*7919%len(subs)])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/subscription")
}

func BenchmarkMemory(b *testing.B) {
	for name, filter := range map[string]func(i int) string{
		"one-filter":  func(int) string { return "default/hot" },
		"own-filters": func(i int) string { return fmt.Sprintf("default/rooms/%d", i) },
	} {
		b.Run(name, func(b *testing.B) {
			const n = 1_000_000
			var per float64
			for b.Loop() {
				x := NewIndex[value](0)
				base := heap()
				for i := range n {
					x.Subscribe(mustFilter(b, filter(i)), i&1, value{})
				}
				per = float64(heap()-base) / n
				runtime.KeepAlive(x)
			}
			b.ReportMetric(per, "B/subscription")
		})
	}
}
