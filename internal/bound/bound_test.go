package bound

import (
	"math/rand/v2"
	"testing"
)

func TestVerdicts(t *testing.T) {
	q := New[string](Limits{Items: 3, Bytes: 10})
	for _, r := range []struct {
		size int
		want Verdict
	}{{4, Accepted}, {11, TooBig}, {7, FullBytes}, {6, Accepted}, {0, Accepted}, {0, FullItems}} {
		if got := q.Push("x", r.size); got != r.want {
			t.Errorf("Push of %d: %s, want %s", r.size, got, r.want)
		}
	}
	if q.Len() != 3 || q.Size() != 10 {
		t.Error(q.Len(), q.Size())
	}
}

func TestZeroLimitsAreNone(t *testing.T) {
	var q Queue[int]
	for i := range 10_000 {
		if v := q.Push(i, 1<<40); v != Accepted {
			t.Fatal(v)
		}
	}
	for i := range 10_000 {
		if v, ok := q.Pop(); !ok || v != i {
			t.Fatal(v, ok)
		}
	}
	if q.ring != nil {
		t.Error("an empty queue holds memory")
	}
	if _, ok := q.Pop(); ok {
		t.Error("popped from nothing")
	}
	if _, ok := q.Peek(); ok {
		t.Error("peeked into nothing")
	}
}

// The size is a sum that must not overflow into acceptance.
func TestHugeSizes(t *testing.T) {
	b := Budget{Limits: Limits{Bytes: 1<<63 - 1}}
	if v := b.Take(1<<63 - 1); v != Accepted {
		t.Fatal(v)
	}
	if v := b.Take(1<<63 - 1); v != FullBytes {
		t.Fatal(v)
	}
}

func TestGivingTooMuchPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("accepted")
		}
	}()
	var b Budget
	b.Take(1)
	b.Give(1, 2)
}

// Against a plain slice, at random.
func TestQueueAgainstSlice(t *testing.T) {
	type item struct{ v, size int }
	rng := rand.New(rand.NewPCG(1, 2))
	q := New[int](Limits{Items: 20, Bytes: 100})
	var model []item
	bytes := 0
	for i := range 100_000 {
		if rng.IntN(2) == 0 {
			size := rng.IntN(30)
			fits := len(model) < 20 && bytes+size <= 100
			if got := q.Push(i, size) == Accepted; got != fits {
				t.Fatalf("step %d: accepted %v, model %v", i, got, fits)
			}
			if fits {
				model, bytes = append(model, item{i, size}), bytes+size
			}
			continue
		}
		peek, _ := q.Peek()
		v, ok := q.Pop()
		if ok != (len(model) > 0) {
			t.Fatalf("step %d: popped %v, model has %d", i, ok, len(model))
		}
		if ok {
			if v != model[0].v || peek != v {
				t.Fatalf("step %d: popped %d after peeking %d, model %d", i, v, peek, model[0].v)
			}
			bytes -= model[0].size
			model = model[1:]
		}
		if q.Len() != len(model) || q.Size() != bytes {
			t.Fatalf("step %d: %d/%d, model %d/%d", i, q.Len(), q.Size(), len(model), bytes)
		}
	}
}
