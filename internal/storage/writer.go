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
		r := db.next()
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

// commit runs a batch. Its functions share a record of the log, or a few when they
// are large. If a record cannot be written (the disk is full) nothing of it is kept
// and every function that had succeeded is told why.
func (db *DB) commit(batch []*request) {
	for len(batch) > 0 {
		n := len(batch)
		var applied []*request
		err := db.apply(batch, &applied, &n)
		if err != nil {
			db.failures.Add(1)
			for _, r := range applied {
				r.err = err
			}
		}
		for _, r := range batch[:n] {
			close(r.done)
		}
		batch = batch[n:]
	}
}

// apply commits the first functions of a batch, n of them.
func (db *DB) apply(batch []*request, applied *[]*request, n *int) (err error) {
	defer guard(func(p any) {
		*applied, *n = batch, len(batch)
		err = damagedFile(db.path, p)
	})()
	*applied = batch
	if err := db.unwritable(); err != nil {
		return err
	}
	if err := db.makeRoom(); err != nil {
		return err
	}
	tx := &Tx{db: db, write: true, changes: db.changes[:0]}
	if err := db.snapshot(tx); err != nil {
		return err
	}
	tx.commit++
	kept := false
	defer func() {
		_ = tx.bolt.Rollback() // closing a read transaction cannot fail usefully
		if !kept {
			tx.rewind(0)
		}
		clear(tx.changes)
		if db.changes = tx.changes; cap(db.changes) > maxChanges {
			db.changes = nil
		}
	}()
	active := tx.layers.active
	limit := active.bytes + maxRecord
	*applied = db.applied[:0]
	for i, r := range batch {
		if r.err = r.ctx.Err(); r.err != nil {
			continue
		}
		tx.run(r)
		if r.err == nil && r.panicked == nil {
			*applied = append(*applied, r)
		}
		if active.bytes >= limit {
			*n = i + 1
			break
		}
	}
	db.applied = *applied
	if len(*applied) == 0 {
		return nil
	}
	if err := db.log(tx); err != nil {
		return err
	}
	kept = true
	active.last, active.commits = tx.commit, active.commits+1
	active.bytes += recordHead
	db.committed.Store(tx.commit) // from here on it is seen
	db.commits.Add(1)
	db.updates.Add(uint64(len(*applied)))
	return nil
}

// log writes a transaction's record.
func (db *DB) log(tx *Tx) (err error) {
	if db.record, err = encode(db.record[:0], db.seed, tx.commit, tx.changes); err != nil {
		return err
	}
	begun := time.Now()
	if err := db.logs[db.current].append(db.record, db.fast); err != nil {
		return db.unlogged(err)
	}
	db.sync.Observe(time.Since(begun).Seconds())
	if cap(db.record) > maxRecord {
		db.record = nil
	}
	return nil
}

// run executes one function of a batch.
func (tx *Tx) run(r *request) {
	tx.begin()
	r.err = tx.call(r)
	if r.err == nil {
		r.err = tx.err
	}
	if r.err == nil && r.panicked == nil {
		tx.settle()
	} else {
		tx.rewind(tx.from)
	}
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
