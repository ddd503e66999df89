//go:build linux

package stat

import (
	"math/rand"
	"sort"
	"testing"
)

// The histogram must agree with an exact sort within its stated error.
func TestQuantilesAgainstSort(t *testing.T) {
	rng := rand.New(rand.NewSource(7))
	for _, n := range []int{1, 2, 3, 10, 999, 100000} {
		var h, a, b Hist
		xs := make([]int64, n)
		for i := range xs {
			xs[i] = int64(rng.ExpFloat64() * 3e5)
			if i%17 == 0 {
				xs[i] *= 1000
			}
			h.Add(xs[i])
			if i%2 == 0 {
				a.Add(xs[i])
			} else {
				b.Add(xs[i])
			}
		}
		a.Merge(&b)
		if a != h {
			t.Fatalf("n=%d: merged histogram differs from the direct one", n)
		}
		sort.Slice(xs, func(i, j int) bool { return xs[i] < xs[j] })
		for _, q := range []float64{0, .5, .9, .99, .999, 1} {
			k := int(q * float64(n))
			if float64(k) < q*float64(n) {
				k++
			}
			if k > 0 {
				k--
			}
			want, got := xs[k], h.Quantile(q)
			if got < want || float64(got) > float64(want)*(1+1.0/subN)+1 {
				t.Errorf("n=%d q=%v: got %d want %d", n, q, got, want)
			}
		}
		if h.Max() != xs[n-1] || h.Min() != xs[0] || h.Count() != uint64(n) {
			t.Errorf("n=%d: min/max/count wrong", n)
		}
	}
}

func TestSlotsAreMonotonicAndTight(t *testing.T) {
	prev := -1
	for v := int64(0); v < 1<<20; v++ {
		s := slotOf(v)
		if s != prev && s != prev+1 {
			t.Fatalf("slot jumps from %d to %d at %d", prev, s, v)
		}
		if s == prev+1 && prev >= 0 && upper(prev) != v-1 {
			t.Fatalf("upper(%d)=%d, want %d", prev, upper(prev), v-1)
		}
		prev = s
	}
	for _, v := range []int64{1<<62 + 12345, 1<<63 - 1} {
		if s := slotOf(v); s >= (rows+1)*subN || upper(s) < v {
			t.Fatalf("large value %d: slot %d upper %d", v, s, upper(s))
		}
	}
}

func TestSeqLostDupLate(t *testing.T) {
	var s Seq
	var c Tally
	for _, n := range []uint32{1, 2, 3, 3, 5, 4, 4, 8, 6, 100, 90, 90, 10} {
		c.Note(s.See(n))
	}
	// unique: 1 2 3 5 4 8 6 100 90 = 9; late: 4 6 90; dup: 3 4 90; stale: 10
	want := Tally{Unique: 9, Late: 3, Dup: 3, Stale: 1}
	if c != want {
		t.Fatalf("got %+v want %+v", c, want)
	}
	if c.Lost(12) != 3 || c.Lost(9) != 0 {
		t.Fatalf("lost wrong")
	}
}

// A random drop/repeat/swap schedule must be counted exactly.
func TestSeqRandom(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	var s Seq
	var c Tally
	var drops, dups uint64
	const n = 50000
	for i := uint32(1); i <= n; i++ {
		switch rng.Intn(10) {
		case 0:
			drops++
		case 1:
			c.Note(s.See(i))
			c.Note(s.See(i))
			dups++
		default:
			c.Note(s.See(i))
		}
	}
	if c.Lost(n) != drops || c.Dup != dups || c.Late != 0 || c.Stale != 0 {
		t.Fatalf("got %+v, want %d drops %d dups", c, drops, dups)
	}
}

func TestRecordRoundTripAndScan(t *testing.T) {
	r1 := Record{At: 1234567890123456789, Seq: 42, Tag: 0xdeadbeef}
	r2 := Record{At: 1, Seq: 1<<32 - 1, Tag: 7}
	buf := append([]byte(`{"push":{"a@b":"@`), r1.Payload(64)...)
	buf = append(buf, `"}}`+"\n"+`{"x":"`...)
	buf = append(buf, r2.Payload(0)...)
	buf = append(buf, `"} user@`...)
	got1, rest, ok := Next(buf)
	if !ok || got1 != r1 {
		t.Fatalf("first: %+v %v", got1, ok)
	}
	got2, rest, ok := Next(rest)
	if !ok || got2 != r2 {
		t.Fatalf("second: %+v %v", got2, ok)
	}
	if _, rest, ok = Next(rest); ok || string(rest) != "@" {
		t.Fatalf("tail: %q %v", rest, ok)
	}
	if _, rest, ok = Next([]byte("no marker here")); ok || rest != nil {
		t.Fatalf("none: %q %v", rest, ok)
	}
}

func BenchmarkNext(b *testing.B) {
	p := Record{At: 99, Seq: 1, Tag: 2}.Payload(128)
	for i := 0; i < b.N; i++ {
		if _, _, ok := Next(p); !ok {
			b.Fatal()
		}
	}
}
