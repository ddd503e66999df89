package topic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/livegate/livegate/internal/fault"
)

func mustFilter(t testing.TB, s string) Filter {
	t.Helper()
	f, err := Grammar{}.Filter(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func mustChannel(t testing.TB, s string) Channel {
	t.Helper()
	c, err := Grammar{}.Channel(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read lists what a view has now.
func read(v View[int]) (values []int) {
	var at Cursor
	for {
		sub := v.Next(&at)
		if sub == nil {
			slices.Sort(values)
			return values
		}
		if sub.In(v) {
			values = append(values, sub.Value)
		}
	}
}

// held is a view and what a map says it must show.
type held struct {
	views []View[int]
	want  map[int]bool
}

// The index against a map of sets, with views kept over the operations that
// follow: they must lose who leaves and nobody else, and gain no one.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := NewIndex[int](0)
		names := []string{"a", "a/b", "a/b/c", "a/*", "a/b/*", "*", "d"}
		channels := []string{"a", "a/b", "a/b/c", "d", "e", "d/e/f"}
		live := map[int]*Subscription[int]{}
		var kept []held
		next := 0
		one := func(t *rapid.T) (int, *Subscription[int]) {
			keys := make([]int, 0, len(live))
			for k := range live {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			k := rapid.SampledFrom(keys).Draw(t, "who")
			return k, live[k]
		}
		grammar := func(t *rapid.T) Grammar { return Grammar{Shallow: rapid.Bool().Draw(t, "shallow")} }
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				f, err := grammar(t).Filter(rapid.SampledFrom(names).Draw(t, "filter"))
				if err != nil {
					t.Fatal(err)
				}
				group := rapid.IntRange(0, 2).Draw(t, "group")
				for range rapid.SampledFrom([]int{1, 1, 3, 40}).Draw(t, "n") {
					next++
					sub, err := x.Subscribe(f, group, next)
					if err != nil || sub.Filter() != f {
						t.Fatal(sub.Filter(), err)
					}
					live[next] = sub
				}
			},
			"unsubscribe": func(t *rapid.T) {
				for range rapid.SampledFrom([]int{1, 1, 3, 40}).Draw(t, "n") {
					if len(live) == 0 {
						return
					}
					k, sub := one(t)
					if !x.Unsubscribe(sub) || x.Unsubscribe(sub) {
						t.Fatal("a subscription ends once")
					}
					delete(live, k)
					for _, h := range kept {
						delete(h.want, k)
					}
				}
			},
			"match": func(t *rapid.T) {
				c, _ := Grammar{}.Channel(rapid.SampledFrom(channels).Draw(t, "channel"))
				h := held{x.Match(c, nil), map[int]bool{}}
				for k, sub := range live {
					if sub.Filter().Matches(c) {
						h.want[k] = true
					}
				}
				n := 0
				for _, v := range h.views {
					n += v.Count
				}
				if n != len(h.want) {
					t.Fatalf("views count %d subscriptions, want %d", n, len(h.want))
				}
				kept = append(kept, h)
				if len(kept) > 4 {
					kept = kept[1:]
				}
			},
			"": func(t *rapid.T) {
				filters := map[Filter]bool{}
				for _, sub := range live {
					filters[sub.Filter()] = true
				}
				if x.Subscriptions() != len(live) || x.Filters() != len(filters) {
					t.Fatalf("%d subscriptions, %d filters; want %d, %d", x.Subscriptions(), x.Filters(), len(live), len(filters))
				}
				for _, h := range kept {
					var got []int
					for _, v := range h.views {
						got = append(got, read(v)...)
					}
					slices.Sort(got)
					want := make([]int, 0, len(h.want))
					for k := range h.want {
						want = append(want, k)
					}
					slices.Sort(want)
					if !slices.Equal(got, want) {
						t.Fatalf("a view shows %v, want %v", got, want)
					}
				}
			},
		})
	})
}

// A view taken while a set is large stays exact while the set is merged to a few
// chunks and filled again, and the set gives its memory back.
func TestViewSurvivesMerging(t *testing.T) {
	x := NewIndex[int](0)
	f := mustFilter(t, "hot")
	subs := make([]*Subscription[int], 20_000)
	for i := range subs {
		subs[i], _ = x.Subscribe(f, 0, i)
	}
	before := x.Match(mustChannel(t, "hot"), nil)[0]
	gone := rand.New(rand.NewPCG(1, 2)).Perm(len(subs))[:19_900]
	left := make([]bool, len(subs))
	for _, i := range gone {
		x.Unsubscribe(subs[i])
		left[i] = true
	}
	n := x.find(f)
	var slots, chunks int
	for _, s := range *n.sets.Load() {
		slots += s.slots
		chunks += len(s.list.Load().chunks)
		for c := s.open; c != nil; c = c.next {
			if c.left {
				t.Fatal("the set still holds a chunk that was merged into another")
			}
		}
		total := 0
		for _, c := range s.list.Load().chunks {
			total += len(c.slots)
		}
		if total != s.slots {
			t.Errorf("the set counts %d slots, has %d", s.slots, total)
		}
	}
	if slots > 512 {
		t.Errorf("100 subscriptions of once 20000 keep %d slots in %d chunks", slots, chunks)
	}
	for i := range 5_000 {
		x.Subscribe(f, 0, 100_000+i)
	}
	var want []int
	for i := range subs {
		if !left[i] {
			want = append(want, i)
		}
	}
	if got := read(before); !slices.Equal(got, want) {
		t.Fatalf("the view has %d subscriptions, want the %d that stayed", len(got), len(want))
	}
	after := x.Match(mustChannel(t, "hot"), nil)[0]
	if got := read(after); len(got) != len(want)+5_000 || after.Count != len(got) {
		t.Fatalf("a new view has %d subscriptions and counts %d, want %d", len(got), after.Count, len(want)+5_000)
	}
}

func (x *Index[T]) find(f Filter) *node[T] {
	h := x.hash(f.name)
	return x.shard(h).find(uint32(h), f.reach, f.name)
}

func TestFilterLimit(t *testing.T) {
	x := NewIndex[int](2)
	a, _ := x.Subscribe(mustFilter(t, "a"), 0, 1)
	x.Subscribe(mustFilter(t, "b/*"), 0, 1)
	if _, err := x.Subscribe(mustFilter(t, "a"), 0, 2); err != nil {
		t.Fatal("a filter that is there is no further one:", err)
	}
	_, err := x.Subscribe(mustFilter(t, "c"), 0, 1)
	if !fault.Is(err, fault.Throttled) || !strings.Contains(err.Error(), "2 different channels") {
		t.Fatal(err)
	}
	x.Unsubscribe(a)
	if x.Filters() != 2 {
		t.Fatal("a has one left")
	}
	if _, err = x.Subscribe(mustFilter(t, "c"), 0, 1); err == nil {
		t.Fatal("still two filters")
	}
}

// Readers without a lock while filters come and go around them, so that the
// tables grow and shrink: what is there all the time is found every time.
func TestLookupsDuringChurn(t *testing.T) {
	x := NewIndex[int](0)
	var stable []Channel
	for i := range 200 {
		name := fmt.Sprintf("stable/%d", i)
		x.Subscribe(mustFilter(t, name), i%3, i)
		stable = append(stable, mustChannel(t, name))
	}
	x.Subscribe(mustFilter(t, "stable/*"), 0, -1)
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	var reads atomic.Int64
	for range 2 {
		readers.Go(func() {
			var buf [8]View[int]
			for i := 0; !stop.Load(); i = (i + 1) % len(stable) {
				views := x.Match(stable[i], buf[:0])
				if len(views) != 2 || !slices.Equal(read(views[0]), []int{i}) || !slices.Equal(read(views[1]), []int{-1}) {
					t.Errorf("%q: %d views", stable[i], len(views))
					return
				}
				reads.Add(1)
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			for round := range 6 {
				var subs []*Subscription[int]
				for i := range 2_000 {
					f, _ := Grammar{}.Filter(fmt.Sprintf("w%d/%d/%d", w, round, i))
					sub, _ := x.Subscribe(f, 0, i)
					subs = append(subs, sub)
				}
				for _, sub := range subs {
					x.Unsubscribe(sub)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if x.Filters() != 201 || x.Subscriptions() != 201 || reads.Load() == 0 {
		t.Fatalf("%d filters, %d subscriptions after %d reads", x.Filters(), x.Subscriptions(), reads.Load())
	}
}

// The table is rebuilt again and again: a reader that is led astray by links of a
// later generation must notice, and not report a filter as missing.
func TestLookupsDuringRebuilds(t *testing.T) {
	var s shard[int]
	nodes := make([]*node[int], 1_000)
	for i := range nodes {
		nodes[i] = &node[int]{name: fmt.Sprint(i), hash: uint32(i) * 2654435761}
		s.insert(nodes[i])
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for i := 0; !stop.Load(); i = (i + 7) % len(nodes) {
				if s.find(nodes[i].hash, itself, nodes[i].name) != nodes[i] {
					t.Errorf("%q not found", nodes[i].name)
					return
				}
			}
		})
	}
	for i := range 2_000 {
		s.rebuild(1 << (i % 3))
	}
	stop.Store(true)
	readers.Wait()
}

// One filter, writers and readers at once: a view has each stable subscriber
// once, no subscriber twice, and nobody who left before it was read.
func TestOneHotFilterDuringChurn(t *testing.T) {
	const stable, movers = 1_500, 1_500
	x := NewIndex[int](0)
	f, c := mustFilter(t, "hot"), mustChannel(t, "hot")
	var pre []*Subscription[int]
	for i := range stable * 3 { // two thirds leave again, so that chunks are sparse
		sub, _ := x.Subscribe(f, i%2, i)
		if i%3 != 0 {
			pre = append(pre, sub)
		}
	}
	for _, sub := range pre {
		x.Unsubscribe(sub)
	}
	var stop atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for first := true; first || !stop.Load(); first = false {
				var got []int
				for _, v := range x.Match(c, nil) {
					got = append(got, read(v)...)
				}
				slices.Sort(got)
				n := 0
				for i, v := range got {
					if i > 0 && got[i-1] == v {
						t.Errorf("%d twice", v)
						return
					}
					if v < 3*stable {
						n++
					}
				}
				if n != stable {
					t.Errorf("%d stable subscribers in a view, want %d", n, stable)
					return
				}
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for round := range 6 {
				var subs []*Subscription[int]
				for i := range movers {
					sub, _ := x.Subscribe(f, r.IntN(2), 10*stable+(w*6+round)*movers+i)
					subs = append(subs, sub)
				}
				r.Shuffle(len(subs), func(i, j int) { subs[i], subs[j] = subs[j], subs[i] })
				for _, sub := range subs {
					x.Unsubscribe(sub)
				}
			}
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// When all have left, nothing is left of them.
func TestMemoryReturns(t *testing.T) {
	x := NewIndex[int](0)
	base := heap()
	for range 3 {
		var subs []*Subscription[int]
		hot := mustFilter(t, "hot")
		for i := range 20_000 {
			sub, _ := x.Subscribe(hot, i%2, i)
			subs = append(subs, sub)
			sub, _ = x.Subscribe(mustFilter(t, fmt.Sprintf("own/%d", i)), i%2, i)
			subs = append(subs, sub)
		}
		for _, i := range rand.Perm(len(subs)) {
			x.Unsubscribe(subs[i])
		}
	}
	if after := heap(); after > base+64<<10 {
		t.Errorf("%d bytes are left of 120000 subscriptions", after-base)
	}
	runtime.KeepAlive(x)
}

func TestMatchAllocatesNothing(t *testing.T) {
	x := NewIndex[int](0)
	x.Subscribe(mustFilter(t, "a/b/c"), 0, 1)
	x.Subscribe(mustFilter(t, "a/b/c"), 1, 1)
	x.Subscribe(mustFilter(t, "a/*"), 0, 1)
	if n := testing.AllocsPerRun(100, func() {
		var buf [8]View[int]
		c, err := Grammar{}.Channel("/a/b/c")
		if views := x.Match(c, buf[:0]); err != nil || len(views) != 3 {
			t.Error(len(views), err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
