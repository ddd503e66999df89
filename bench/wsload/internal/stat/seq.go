//go:build linux

package stat

// Seq follows one ordered stream of numbers 1,2,3,… as one receiver sees it.
// It remembers the last 64 numbers, so a late message is told from a repeated
// one as long as it is at most 63 behind; anything older counts as Stale.
type Seq struct {
	high uint32 // highest number seen
	seen uint64 // bit k: number high-k was seen
}

// Verdict says what one observed number meant.
type Verdict uint8

const (
	InOrder Verdict = iota // new and higher than all before
	Late                   // new, but a higher one came first
	Dup                    // seen before
	Stale                  // too far behind to tell
)

// See records number n.
func (s *Seq) See(n uint32) Verdict {
	switch {
	case n > s.high:
		d := n - s.high
		if d >= 64 {
			s.seen = 0
		} else {
			s.seen <<= d
		}
		s.seen |= 1
		s.high = n
		return InOrder
	case s.high-n >= 64:
		return Stale
	}
	bit := uint64(1) << (s.high - n)
	if s.seen&bit != 0 {
		return Dup
	}
	s.seen |= bit
	return Late
}

// Tally sums verdicts over many receivers.
type Tally struct {
	Unique, Late, Dup, Stale uint64
}

// Note adds one verdict.
func (t *Tally) Note(v Verdict) {
	switch v {
	case InOrder:
		t.Unique++
	case Late:
		t.Unique++
		t.Late++
	case Dup:
		t.Dup++
	case Stale:
		t.Stale++
	}
}

// Merge adds o to t.
func (t *Tally) Merge(o Tally) {
	t.Unique += o.Unique
	t.Late += o.Late
	t.Dup += o.Dup
	t.Stale += o.Stale
}

// Lost is how many of the expected messages never came.
func (t Tally) Lost(expected uint64) uint64 {
	if t.Unique >= expected {
		return 0
	}
	return expected - t.Unique
}
