package bound

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func drain(r *Rate, lane int) (n int) {
	for r.Take(lane) {
		n++
	}
	return n
}

// A small bucket is exact: its burst, then one token per interval.
func TestRateIsExactWhenSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRate(10, 3)
		if n := drain(r, 0); n != 3 {
			t.Fatalf("%d tokens in a burst of 3", n)
		}
		time.Sleep(99 * time.Millisecond)
		if r.Take(1) {
			t.Fatal("a token before its time")
		}
		time.Sleep(time.Millisecond)
		if !r.Take(5) || r.Take(5) {
			t.Fatal("want exactly one token after 100 ms")
		}
		time.Sleep(time.Hour)
		if n := drain(r, 2); n != 3 {
			t.Fatalf("%d tokens after an hour; the burst is 3", n)
		}
	})
}

// A large one may give an eighth more than its burst, and over time its rate.
func TestRateInHandfuls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, burst = 10_000, 5_000
		r := NewRate(rate, burst)
		total := 0
		for lane := range Lanes {
			total += drain(r, lane)
		}
		if total != burst {
			t.Fatalf("%d tokens at once, want %d", total, burst)
		}
		time.Sleep(10 * time.Second)
		for lane := range Lanes {
			r.Take(lane) // each takes a handful
		}
		time.Sleep(10 * time.Second)
		total = 0
		for lane := range Lanes {
			total += drain(r, lane)
		}
		if total < burst || total > burst+burst/8 {
			t.Fatalf("%d tokens at once with full lanes; at most an eighth over %d", total, burst)
		}
		total = 0
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			for lane := range Lanes {
				total += drain(r, lane)
			}
		}
		if total < 99_900 || total > 100_100 {
			t.Fatalf("%d tokens in ten seconds at %d per second", total, rate)
		}
	})
}

func TestRateWithoutLimit(t *testing.T) {
	for _, r := range []*Rate{nil, NewRate(0, 5), NewRate(-1, 5)} {
		for range 10 {
			if !r.Take(0) {
				t.Fatal("a rate that is none refused")
			}
		}
	}
	if !NewRate(1, 0).Take(0) {
		t.Fatal("a burst below 1 is 1")
	}
	if r := NewRate(1e12, 1); r.interval != 1 {
		t.Fatal(r.interval)
	}
}

// Whoever takes, and however they meet, no more than the burst and its eighth is
// given out while no time passes.
func TestRateUnderContention(t *testing.T) {
	for _, burst := range []int{10, 6400} {
		r := NewRate(0.001, burst)
		var given atomic.Int64
		var wait sync.WaitGroup
		for g := range 8 {
			wait.Go(func() {
				for i := range 4 * burst {
					if r.Take(g * i % 3) { // lanes are shared on purpose
						given.Add(1)
					}
				}
			})
		}
		wait.Wait()
		if n := int(given.Load()); n < burst*9/10 || n > burst {
			t.Errorf("burst %d: %d tokens", burst, n)
		}
	}
}

func TestRateDoesNotAllocate(t *testing.T) {
	for _, r := range []*Rate{NewRate(1e9, 1), NewRate(1e9, 1<<20), NewRate(1, 1)} {
		if n := testing.AllocsPerRun(1000, func() { r.Take(3) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkRate(b *testing.B) {
	for name, r := range map[string]*Rate{"exact": NewRate(1e9, 1), "handfuls": NewRate(1e9, 1<<20)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				r.Take(3)
			}
		})
	}
}
