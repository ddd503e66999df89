// Package storage is an ordered, durable key-value store in one local file. It
// is the only importer of the engine (bbolt).
//
// Keys live in named spaces and are ordered bytewise within each. Every change
// runs in a function given to [DB.Update]; when Update returns nil the change
// is on disk, and when the process is killed at any instant, either all of the
// function's writes are there at the next start or none is.
//
// One goroutine writes. It takes every function that is waiting, runs them one
// after the other in a single engine transaction, and pays one fsync for all
// (group commit). A function that returns an error takes back its own writes
// only; its neighbours commit. The engine's own batching is not used: its 10 ms
// delay makes a lone writer thirty times slower.
//
// Reads ([DB.View]) see the last committed state, run beside the writer and
// never wait for it. Keep them short: pages that a reader can see are not
// reused, so a read that stays open makes the file grow.
//
// Each value carries a checksum. A damaged or truncated file is an error that
// names the file, never a panic and never a wrong answer.
//
// Test with a file in t.TempDir(); Config{Fast: true} skips the fsync.
package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
const Format = 1

const (
	metaSpace = "\x00livegate" // reserved: holds the format
	formatKey = "format"

	// mapSize is address space, not memory. bbolt stops new readers for a moment
	// when it has to map a grown file again; a large first mapping avoids that.
	mapSize = 1 << 30

	// growBy is how much the file grows at a time. bbolt's 16 MiB would make every
	// small project's data directory that large.
	growBy = 4 << 20

	maxBatch = 256 // functions in one commit
)

// Config tunes a database. The zero value is durable.
type Config struct {
	// Fast skips fsync: a killed process loses nothing, a power failure may lose
	// the file.
	Fast bool
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
	queue chan *request
	done  chan struct{} // closed when the writer has returned
	sync  *meter.Histogram

	commits, updates, failures atomic.Uint64

	// guarded by mu
	mu     sync.RWMutex
	closed bool
}

// Open opens or creates the file, and its directory. Errors name the file and
// what to do: Conflict when another process holds it or its format is newer,
// Internal when it is damaged or cannot be written.
func Open(path string, cfg Config) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, unusable(path, err)
	}
	b, err := openEngine(path, cfg)
	if err != nil {
		return nil, err
	}
	db := &DB{path: path, bolt: b, queue: make(chan *request, maxBatch), done: make(chan struct{}), sync: cfg.Sync}
	if err := db.admit(); err != nil {
		_ = b.Close() // the first error is the one to tell
		return nil, err
	}
	go db.write()
	return db, nil
}

// openEngine opens the file, turning the engine's panics on damaged pages into
// errors and letting go of the lock when that happens.
func openEngine(path string, cfg Config) (b *bolt.DB, err error) {
	var file *os.File
	defer guard(func(p any) {
		if file != nil {
			file.Close()
		}
		b, err = nil, damagedFile(path, p)
	})()
	if cfg.LockWait == 0 {
		cfg.LockWait = 300 * time.Millisecond
	}
	b, err = bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         cfg.LockWait,
		NoSync:          cfg.Fast,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			file = f
			return f, err
		},
	})
	switch {
	case err == nil:
		b.AllocSize = growBy
		return b, nil
	case errors.Is(err, bolterr.ErrTimeout):
		return nil, fault.New(fault.Conflict, "%s is in use: another livegate is running on this data directory; stop it, or name another with --data-dir", path)
	case errors.Is(err, bolterr.ErrInvalid), errors.Is(err, bolterr.ErrChecksum), errors.Is(err, bolterr.ErrVersionMismatch), isEngineComplaint(err):
		return nil, damagedFile(path, err)
	}
	return nil, unusable(path, err)
}

// isEngineComplaint is for the engine's unnamed errors about the file's content:
// what the operating system says always carries a *PathError or an errno.
func isEngineComplaint(err error) bool {
	var pathErr *os.PathError
	var sysErr interface{ Timeout() bool } // syscall.Errno and friends
	return !errors.As(err, &pathErr) && !errors.As(err, &sysErr)
}

// admit checks that the file is whole and ours, and marks a new one.
func (db *DB) admit() (err error) {
	defer guard(func(p any) { err = damagedFile(db.path, p) })()
	fresh := false
	err = db.bolt.View(func(tx *bolt.Tx) error {
		info, err := os.Stat(db.path)
		if err != nil {
			return unusable(db.path, err)
		}
		if info.Size() < tx.Size() {
			return damagedFile(db.path, fmt.Sprintf("%d bytes long, should be at least %d", info.Size(), tx.Size()))
		}
		b := tx.Bucket([]byte(metaSpace))
		if b == nil {
			name, _ := tx.Cursor().First()
			if name != nil {
				return fault.New(fault.Conflict, "%s is not a Livegate data file; move it away or name another directory with --data-dir", db.path)
			}
			fresh = true
			return nil
		}
		v := b.Get([]byte(formatKey))
		if len(v) != 4 {
			return damagedFile(db.path, "its format number is unreadable")
		}
		if f := binary.BigEndian.Uint32(v); f > Format {
			return fault.New(fault.Conflict, "%s has data format %d and this livegate reads formats up to %d: use a newer livegate, or start over with `livegate reset`", db.path, f, Format)
		}
		return nil
	})
	if err != nil || !fresh {
		return err
	}
	err = db.bolt.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte(metaSpace))
		if err != nil {
			return err
		}
		return b.Put([]byte(formatKey), binary.BigEndian.AppendUint32(nil, Format))
	})
	if err != nil {
		return unusable(db.path, err)
	}
	return nil
}

// Path is the file's name.
func (db *DB) Path() string { return db.path }

// Stats is what a database has done since it was opened. All but FileBytes only
// grow.
type Stats struct {
	Commits   uint64 // transactions on disk
	Updates   uint64 // functions of Update that they carried
	Failures  uint64 // transactions that could not be written; their functions were told
	FileBytes int64  // the file's length, free pages included; 0 when it cannot be told
}

// Stats returns the numbers now.
func (db *DB) Stats() Stats {
	s := Stats{Commits: db.commits.Load(), Updates: db.updates.Load(), Failures: db.failures.Load()}
	if info, err := os.Stat(db.path); err == nil {
		s.FileBytes = info.Size()
	}
	return s
}

// View runs fn on a snapshot of the last committed state. It never waits for
// the writer. Slices that fn is given live until fn returns.
func (db *DB) View(fn func(*Tx) error) (err error) {
	defer guard(func(p any) { err = damagedFile(db.path, p) })()
	b, err := db.bolt.Begin(false)
	if err != nil {
		return db.engineError(err)
	}
	defer func() { _ = b.Rollback() }() // closing a read transaction cannot fail usefully
	tx := &Tx{db: db, bolt: b}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
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

// Close waits for the functions already accepted, then closes the file. Calls
// after it fail with Unavailable.
func (db *DB) Close() error {
	db.mu.Lock()
	first := !db.closed
	db.closed = true
	db.mu.Unlock()
	if first {
		db.queue <- nil // the last thing ever sent: the channel itself stays open
	}
	<-db.done
	if !first {
		return nil
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
	return &fault.Error{Kind: fault.Internal, Msg: fmt.Sprintf("cannot write %s: check that the directory exists, is writable and has space", path), Err: err}
}
