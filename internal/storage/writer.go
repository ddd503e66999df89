package storage

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// request is one function waiting for the writer. err and panicked belong to the
// writer until done is closed, then to the caller.
type request struct {
	ctx      context.Context
	fn       func(*Tx) error
	err      error
	panicked *asError
	done     chan struct{}
}

// write is the writer goroutine: wait for one function, take all that are
// waiting by then, commit them together, answer them all. While a commit waits
// for the disk the next batch gathers by itself.
func (db *DB) write() {
	defer close(db.done)
	batch := make([]*request, 0, maxBatch)
	var p pace
	for {
		r := <-db.queue
		if r == nil {
			return
		}
		batch = append(batch[:0], r)
		last := db.gather(&batch, &p)
		begun := time.Now()
		db.commit(batch)
		p.committed(begun, len(batch), len(db.queue))
		if last {
			return
		}
	}
}

// gather adds what is queued, and for a moment what is about to be; true when
// the database is closing.
func (db *DB) gather(batch *[]*request, p *pace) (last bool) {
	var window <-chan time.Time
	yields, had := p.yields(), 0
	defer func() { p.yielded(had > 0 && len(*batch) > had) }()
	for len(*batch) < maxBatch {
		var r *request
		select {
		case r = <-db.queue:
		default:
			if yields > 0 {
				if yields--; had == 0 {
					had = len(*batch)
				}
				runtime.Gosched()
				continue
			}
			if window == nil {
				if window = p.window(len(*batch)); window == nil {
					return false
				}
			}
			select {
			case r = <-db.queue:
			case <-window:
				return false
			}
		}
		if r == nil {
			return true
		}
		*batch = append(*batch, r)
	}
	return false
}

// pace decides whether a short wait pays. Clients that were just answered come
// back at once, but a little after those that queued meanwhile: without a wait
// eight clients fall into two groups of four that take turns, two fsyncs where
// one would do. So the writer waits for as many as it has reason to expect, at
// most an eighth of what a commit takes. A lone client never waits.
type pace struct {
	expected int
	ended    time.Time // of the last commit
	patience time.Duration
	commits  uint
	paid     bool // the last time that others were let go first brought more
}

// maxYields is how often goroutines that could run do so before a commit: on a busy
// processor they are requests that have arrived and not got as far as the queue.
// Without it a writer that need not wait for the disk commits them one by one. When
// they are something else, a long scan, yielding only costs time; so it is tried
// now and then, and kept up while it pays.
const (
	maxYields = 2
	tryEvery  = 32 // commits
)

func (p *pace) yields() int {
	if p.commits++; p.paid || p.commits%tryEvery == 0 {
		return maxYields
	}
	return 0
}

func (p *pace) yielded(more bool) { p.paid = more }

// minPatience: shorter waits cost more in timers than they gain.
const (
	minPatience = 20 * time.Microsecond
	maxPatience = time.Millisecond
)

func (p *pace) committed(begun time.Time, batch, queued int) {
	p.ended = time.Now()
	p.expected = min(batch+queued, maxBatch)
	p.patience = min(p.ended.Sub(begun)/8, maxPatience)
}

// window is how long to wait for more than have; nil is not at all.
func (p *pace) window(have int) <-chan time.Time {
	left := p.patience - time.Since(p.ended)
	if have >= p.expected || left < minPatience {
		return nil
	}
	return time.After(left)
}

// commit runs a batch in one engine transaction. If the transaction itself
// fails (disk full, damaged page) nothing of it is kept and every function that
// had succeeded is told why.
func (db *DB) commit(batch []*request) {
	var applied []*request
	err := db.apply(batch, &applied)
	if err != nil {
		db.failures.Add(1)
		for _, r := range applied {
			r.err = err
		}
	}
	for _, r := range batch {
		close(r.done)
	}
}

func (db *DB) apply(batch []*request, applied *[]*request) (err error) {
	defer guard(func(p any) {
		*applied = batch
		err = damagedFile(db.path, p)
	})()
	if err := db.unwritable(); err != nil {
		*applied = batch
		return err
	}
	b, err := db.bolt.Begin(true)
	if err != nil {
		*applied = batch
		return db.engineError(err)
	}
	// After Commit this does nothing; after a panic inside Commit it lets go of
	// the engine's writer lock, so that the next batch gets an error too, not silence.
	defer func() { _ = b.Rollback() }()
	tx := &Tx{db: db, bolt: b, write: true}
	for _, r := range batch {
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		if fatal := tx.run(r); fatal != nil {
			*applied = batch
			return unusable(db.path, fatal)
		}
		if r.err == nil && r.panicked == nil {
			*applied = append(*applied, r)
		}
	}
	if len(*applied) == 0 {
		return nil
	}
	if err := tx.keepTotals(); err != nil {
		return unusable(db.path, err)
	}
	begun := time.Now()
	if err := b.Commit(); err != nil {
		return db.uncommitted(err)
	}
	db.sync.Observe(time.Since(begun).Seconds())
	db.commits.Add(1)
	db.updates.Add(uint64(len(*applied)))
	return nil
}

// run executes one function of a batch; a non-nil result means the transaction
// as a whole cannot go on.
func (tx *Tx) run(r *request) error {
	tx.begin()
	r.err = tx.call(r)
	if r.err == nil {
		r.err = tx.err
	}
	if r.err == nil && r.panicked == nil {
		return tx.settle()
	}
	return tx.rewind()
}

// call runs the function and keeps a bug in it away from its neighbours.
func (tx *Tx) call(r *request) (err error) {
	defer func() {
		p := recover()
		switch {
		case p == nil:
		case fromEngine(p):
			panic(damage{fmt.Sprint(p)}) // the frames that prove it are gone after this
		default:
			r.panicked = &asError{p, debug.Stack()}
		}
	}()
	return r.fn(tx)
}
