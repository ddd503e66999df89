// Package bound keeps queues finite. Every queue between two worlds has a limit
// on items and on bytes, and a full one answers with a [Verdict] whose name is
// also the metric label of what happens next.
//
// [Rate] is the same for time: how often something may happen.
//
// [Budget] is the counting alone, for owners that keep their own storage; a
// [Queue] is a first-in first-out list on top of it. [Policy] names what an owner
// does about a verdict that is not Accepted. Nothing of these locks: they all belong
// to a struct that has a mutex or a single owning goroutine. A queue holds no
// memory while empty, since most queues are empty most of the time.
package bound

// Verdict says what became of an item.
type Verdict uint8

const (
	Accepted  Verdict = iota
	FullItems         // the item limit is reached
	FullBytes         // the byte limit is reached, others are waiting
	TooBig            // larger than the byte limit: waiting cannot help
)

// String is the metric label.
func (v Verdict) String() string {
	return [...]string{"accepted", "full_items", "full_bytes", "too_big"}[v]
}

// Policy is what happens to an item that finds its queue full.
type Policy uint8

const (
	Refuse     Policy = iota // the sender hears of it, the queue stays as it is
	Close                    // the owner of the queue is ended
	DropOldest               // the oldest whole items make room
	Coalesce                 // older items with the same key make room
)

// String is the metric label.
func (p Policy) String() string {
	return [...]string{"refuse", "close", "drop_oldest", "coalesce"}[p]
}

// Limits bound a queue. 0 means no limit.
type Limits struct {
	Items int
	Bytes int
}

// Budget counts what is in a queue against its limits.
type Budget struct {
	Limits
	items, bytes int
}

// Take asks for room for one item of size bytes and takes it when Accepted.
func (b *Budget) Take(size int) Verdict {
	switch {
	case b.Bytes > 0 && size > b.Bytes:
		return TooBig
	case b.Items > 0 && b.items >= b.Items:
		return FullItems
	case b.Bytes > 0 && b.bytes > b.Bytes-size:
		return FullBytes
	}
	b.items++
	b.bytes += size
	return Accepted
}

// Give returns room that Take took.
func (b *Budget) Give(items, bytes int) {
	b.items -= items
	b.bytes -= bytes
	if b.items < 0 || b.bytes < 0 {
		panic("bound: more given back than taken")
	}
}

// Len is the number of items inside, Size their bytes.
func (b *Budget) Len() int  { return b.items }
func (b *Budget) Size() int { return b.bytes }

// Queue is a bounded first-in first-out queue. The zero value is unbounded; set
// Limits through New.
type Queue[T any] struct {
	budget Budget
	ring   []entry[T] // length is a power of two, nil while empty
	head   int
}

type entry[T any] struct {
	v    T
	size int
}

// New returns an empty queue.
func New[T any](l Limits) *Queue[T] { return &Queue[T]{budget: Budget{Limits: l}} }

// Push appends v, counted as size bytes, unless a limit forbids it.
func (q *Queue[T]) Push(v T, size int) Verdict {
	verdict := q.budget.Take(size)
	if verdict != Accepted {
		return verdict
	}
	n := q.budget.items - 1 // before this one
	if n == len(q.ring) {
		q.grow(n)
	}
	q.ring[(q.head+n)&(len(q.ring)-1)] = entry[T]{v, size}
	return Accepted
}

func (q *Queue[T]) grow(n int) {
	ring := make([]entry[T], max(4, 2*n))
	for i := range n {
		ring[i] = q.ring[(q.head+i)&(n-1)]
	}
	q.ring, q.head = ring, 0
}

// Pop removes the oldest item.
func (q *Queue[T]) Pop() (v T, ok bool) {
	if q.budget.items == 0 {
		return v, false
	}
	e := q.ring[q.head]
	q.ring[q.head] = entry[T]{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.budget.Give(1, e.size)
	if q.budget.items == 0 {
		q.ring, q.head = nil, 0
	}
	return e.v, true
}

// Peek is the oldest item, left where it is.
func (q *Queue[T]) Peek() (v T, ok bool) {
	if q.budget.items == 0 {
		return v, false
	}
	return q.ring[q.head].v, true
}

// Len is the number of items waiting, Size their bytes.
func (q *Queue[T]) Len() int  { return q.budget.items }
func (q *Queue[T]) Size() int { return q.budget.bytes }
