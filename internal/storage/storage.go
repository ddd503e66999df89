// Package storage is an ordered, durable key-value store in one local file, with a
// log beside it. It is the only importer of the engine (bbolt).
//
// Keys live in named spaces and are ordered bytewise within each. Every change
// runs in a function given to [DB.Update]; when Update returns nil the change
// is on disk, and when the process is killed at any instant, either all of the
// function's writes are there at the next start or none is.
//
// One goroutine writes. It takes every function that is waiting, runs them one
// after the other, appends what they changed to the log as one record, and pays one
// sync for all (group commit). A function that returns an error takes back its own
// writes only; its neighbours commit.
//
// What is in the log and not yet in the file is in memory too, ordered, at most some
// tens of MiB. When there are a few MiB, or a second passes without a write, a
// checkpoint brings it to the file in one engine transaction, while writes go on
// with the other of two logs. Open does that with what a crash left in them, and
// Close removes them, so that after it the file is all there is.
//
// Reads ([DB.View]) see the last committed state: the file, and above it what is in
// memory. They run beside the writer and never wait for it. Keep them short: pages
// that a reader can see are not reused, so a read that stays open makes the file
// grow.
//
// A full disk refuses writes (Unavailable, saying so); reads go on, and writes
// too as soon as there is space. When the disk fails to store what it took,
// nothing can be known about it any more: writes are refused until a restart.
//
// Each value carries a checksum, and each space keeps the number of its entries
// and the sum of their hashes. Open reads the whole file and compares, so a
// damaged or truncated one, entries that vanished included, is an error that
// names the file, never a panic and never a wrong answer. A file too large to be
// read in [Config].Check opens meanwhile; damage that is found later ends every
// use of it from then on. Records of the log have checksums and numbers without
// gaps. A last one that is cut short was never acknowledged and is not there; a bad
// one before others is damage.
//
// Test with a file in t.TempDir(); Config{Fast: true} skips the fsync.
package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/meter"
)

// Format is the version of the file's layout that this package writes. A file
// with a higher number is refused.
const Format = 3

const (
	// Spaces of ours begin like this; the one of this name holds the format and the
	// totals.
	metaSpace = "\x00livegate"
	formatKey = "format"

	totalPrefix = "total:" // and a space's name: what it holds

	// logSpace says up to which commit the file goes. It is a space of its own because
	// format 2 knows only totals beside its format, and would call the file damaged
	// before it sees that it is newer.
	logSpace    = metaSpace + ".log"
	positionKey = "position"

	// maxFormat tells a newer format from a number that is none.
	maxFormat = 1 << 16

	// mapSize is address space, not memory. bbolt stops all readers when it has to
	// map a grown file again, and they it; a large first mapping avoids that.
	// 64 GiB where addresses have 64 bits, else 1 GiB.
	mapSize = 1 << 30 << (6 * (^uint(0) >> 63))

	// growBy is how much the file grows at a time. bbolt's 16 MiB would make every
	// small project's data directory that large.
	growBy = 4 << 20

	maxBatch = 256 // functions in one commit
)

// Config tunes a database. The zero value is durable.
type Config struct {
	// Fast waits for no disk: the log is brought to it every second, and at Close.
	// A killed process loses nothing. A power failure, or a crash of the system,
	// loses the last second; if it comes in the middle of that bringing, the log may
	// be damaged, which the next Open says.
	Fast bool
	// Check is how long Open waits until the whole file has been read; 0 means 2 s.
	Check time.Duration
	// LockWait is how long Open waits for another process to let go of the file;
	// 0 means 300 ms.
	LockWait time.Duration
	// Sync gets the seconds that each commit waited for the disk; nil for nobody.
	Sync *meter.Histogram
}

// DB is an open file.
type DB struct {
	// static after Open
	path  string
	bolt  *bolt.DB
	id    []byte // of the file, drawn when it was made
	seed  uint32 // of the checksums in its log
	fast  bool
	queue chan *request
	done  chan struct{} // closed when the writer has returned
	sync  *meter.Histogram
	limits

	commits, updates, failures atomic.Uint64

	damage  atomic.Pointer[fault.Error] // found after Open: ends every use
	refusal atomic.Pointer[fault.Error] // why nothing can be written any more

	quit       chan struct{}  // closed by Close
	background sync.WaitGroup // the audit that Open did not wait for, and the syncer of Fast
	audit      *audit         // the former; nil when there is none

	// stored by the writer only
	layers    atomic.Pointer[layers]
	committed atomic.Uint64 // the newest commit that may be seen

	// owned by the writer
	logs    [2]logFile
	current int        // the log that is written
	held    bool       // both logs hold what the file does not
	running chan error // tells how the checkpoint under way ends; nil when none is
	failed  time.Time  // when a checkpoint failed
	idle    *time.Timer
	changes []change // room for the next transaction's
	applied []*request
	record  []byte

	// guarded by mu
	mu     sync.RWMutex
	closed bool
}

// limits are when checkpoints come; tests have others.
type limits struct {
	checkpointAt, maxLayer int
	step                   func(string) // told where a checkpoint is, unless nil
}

// Path is the file's name.
func (db *DB) Path() string { return db.path }

// Stats is what a database has done since it was opened. All but the lengths only
// grow.
type Stats struct {
	Commits   uint64 // transactions in the log
	Updates   uint64 // functions of Update that they carried
	Failures  uint64 // transactions that could not be written; their functions were told
	FileBytes int64  // the file's length, free pages included; 0 when it cannot be told
	LogBytes  int64  // that of the log, room included
}

// Stats returns the numbers now.
func (db *DB) Stats() Stats {
	s := Stats{Commits: db.commits.Load(), Updates: db.updates.Load(), Failures: db.failures.Load()}
	if info, err := os.Stat(db.path); err == nil {
		s.FileBytes = info.Size()
	}
	for _, path := range logPaths(db.path) {
		if info, err := os.Stat(path); err == nil {
			s.LogBytes += info.Size()
		}
	}
	return s
}

// View runs fn on a snapshot of the last committed state. It never waits for
// the writer. Slices that fn is given live until fn returns.
func (db *DB) View(fn func(*Tx) error) (err error) {
	defer db.survive(debug.SetPanicOnFault(true), &err)
	if e := db.damage.Load(); e != nil {
		return e
	}
	tx := &Tx{db: db}
	if err := db.snapshot(tx); err != nil {
		return err
	}
	defer func() { _ = tx.bolt.Rollback() }() // closing a read transaction cannot fail usefully
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

// snapshot begins a transaction at the last commit. The file may go further than
// commits that the layers show, or less far, in which case the frozen layer is
// above it: what matters is that no layer was let go, or frozen and stored, between
// looking at the layers and at the file.
func (db *DB) snapshot(tx *Tx) (err error) {
	for {
		tx.layers = db.layers.Load()
		db.stepped("looked")
		if tx.bolt, err = db.bolt.Begin(false); err != nil {
			return db.engineError(err)
		}
		if db.layers.Load() == tx.layers {
			tx.commit = db.committed.Load()
			return nil
		}
		_ = tx.bolt.Rollback() // as in View
	}
}

// Update runs fn in a write transaction and returns when its writes are durable,
// together with those of every other function that was waiting. fn runs on the
// writer's goroutine: it must not block, and it must not call Update. Its error
// takes back its writes and is returned as it is. A context that ends before fn
// has started cancels it; afterwards it is too late.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	r := &request{ctx: ctx, fn: fn, done: make(chan struct{})}
	db.mu.RLock()
	if db.closed {
		db.mu.RUnlock()
		return closedError(db.path)
	}
	select {
	case db.queue <- r:
		db.mu.RUnlock()
	case <-ctx.Done():
		db.mu.RUnlock()
		return ctx.Err()
	}
	<-r.done
	if r.panicked != nil {
		panic(r.panicked)
	}
	return r.err
}

// Close waits for the functions already accepted, brings everything to the file and
// closes it. When that is impossible, for want of space, what is left stays in the
// log for the next Open. Calls after it fail with Unavailable.
func (db *DB) Close() error {
	db.mu.Lock()
	first := !db.closed
	db.closed = true
	db.mu.Unlock()
	if first {
		db.queue <- nil // the last thing ever sent: the channel itself stays open
		close(db.quit)
	}
	<-db.done
	if !first {
		return nil
	}
	if db.audit != nil {
		db.audit.cancel()
	}
	db.background.Wait()
	if db.flush() == nil {
		_ = db.removeLogs() // what stays is passed over by the next Open
	}
	for i := range db.logs {
		db.logs[i].close()
	}
	return db.bolt.Close()
}

func (db *DB) engineError(err error) error {
	if errors.Is(err, bolterr.ErrDatabaseNotOpen) {
		return closedError(db.path)
	}
	return unusable(db.path, err)
}

func closedError(path string) error {
	return fault.New(fault.Unavailable, "%s is closed: livegate is stopping", path)
}

func unusable(path string, err error) error {
	if full(err) {
		return fullDisk(path, err)
	}
	return &fault.Error{Kind: fault.Internal, Msg: fmt.Sprintf("cannot write %s: check that the directory exists, is writable and has space", path), Err: err}
}
