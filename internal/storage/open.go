package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"

	"github.com/livegate/livegate/internal/fault"
)

// syncEvery is how often Fast brings the log to the disk.
const syncEvery = time.Second

// Open opens or creates the file, and its directory. Errors name the file and
// what to do: Conflict when another process holds it or its format is newer,
// Unavailable when the disk is full, Internal when it is damaged or cannot be
// written.
func Open(path string, cfg Config) (*DB, error) {
	return openWith(path, cfg, limits{checkpointAt: checkpointAt, maxLayer: maxLayer})
}

func openWith(path string, cfg Config, l limits) (*DB, error) {
	if cfg.LockWait == 0 {
		cfg.LockWait = 300 * time.Millisecond
	}
	if cfg.Check == 0 {
		cfg.Check = 2 * time.Second
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, unusable(path, err)
	}
	file, err := lock(path, cfg.LockWait)
	if err != nil {
		return nil, err
	}
	a, err := newAudit(path, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	if a != nil {
		go a.run()
		select {
		case <-a.done:
		case <-time.After(cfg.Check):
		}
	}
	db := &DB{
		path: path, fast: cfg.Fast, sync: cfg.Sync, limits: l, idle: time.NewTimer(time.Hour),
		queue: make(chan *request, maxBatch), done: make(chan struct{}), quit: make(chan struct{}),
	}
	if err := db.open(file, cfg, a); err != nil {
		return nil, err
	}
	if cfg.Fast {
		db.background.Go(db.syncNowAndThen)
	}
	go db.write()
	return db, nil
}

// open lets the engine see the file, and an audit that is not done go on beside.
func (db *DB) open(file *os.File, cfg Config, a *audit) (err error) {
	complete := a == nil || a.finished()
	if a != nil && complete && a.err != nil {
		file.Close()
		return a.err
	}
	if db.bolt, err = openEngine(db.path, file, cfg); err != nil {
		if a != nil {
			a.cancel()
		}
		return err
	}
	if !complete {
		err = db.observe(a)
	}
	if err == nil {
		err = db.admit(a)
	}
	if err == nil {
		err = db.recover()
	}
	if err != nil {
		if a != nil {
			a.cancel()
		}
		db.background.Wait()
		_ = db.bolt.Close() // the first error is the one to tell
	}
	return err
}

func (a *audit) finished() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// observe waits for an audit in the background. A read transaction keeps the
// pages that it reads as they are.
func (db *DB) observe(a *audit) error {
	pin, err := db.bolt.Begin(false)
	if err != nil {
		return unusable(db.path, err)
	}
	db.audit = a
	db.background.Go(func() {
		<-a.done
		_ = pin.Rollback() // closing a read transaction cannot fail usefully
		if e, ok := errors.AsType[*fault.Error](a.err); ok && !a.stop.Load() {
			db.damage.Store(e)
		}
	})
	return nil
}

// lock opens the file and waits until no other process has it. The engine locks
// it again through the same descriptor, which is no other.
func lock(path string, wait time.Duration) (*os.File, error) {
	for deadline := time.Now().Add(wait); ; {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, unusable(path, err)
		}
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			var here, there os.FileInfo
			if here, err = f.Stat(); err == nil {
				there, err = os.Stat(path)
			}
			if err == nil && os.SameFile(here, there) {
				return f, nil
			}
			// Compacted meanwhile: this one has no name any more.
		}
		f.Close()
		switch {
		case err != nil && !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, os.ErrNotExist):
			return nil, unusable(path, err)
		case time.Now().After(deadline):
			return nil, fault.New(fault.Conflict, "%s is in use: another livegate is running on this data directory; stop it, or name another with --data-dir", path)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// openEngine hands the file to the engine, turning the engine's panics on damaged
// pages into errors. The file is closed when there is an error.
func openEngine(path string, file *os.File, cfg Config) (b *bolt.DB, err error) {
	defer guard(func(p any) {
		file.Close()
		b, err = nil, damagedFile(path, p)
	})()
	options := bolt.Options{
		Timeout:         cfg.LockWait,
		FreelistType:    bolt.FreelistMapType,
		InitialMmapSize: mapSize,
		NoStatistics:    true,
		OpenFile:        func(string, int, os.FileMode) (*os.File, error) { return file, nil },
	}
	b, err = bolt.Open(path, 0o600, &options)
	switch {
	case err == nil:
		b.AllocSize = growBy
		return b, nil
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

// admit checks that the file is ours, marks a new one, and brings an older format
// up to date.
func (db *DB) admit(a *audit) (err error) {
	defer guard(func(p any) { err = damagedFile(db.path, p) })()
	format := uint32(0)
	err = db.bolt.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(metaSpace))
		if b == nil {
			name, _ := tx.Cursor().First()
			if name != nil {
				return fault.New(fault.Conflict, "%s is not a Livegate data file; move it away or name another directory with --data-dir", db.path)
			}
			return nil
		}
		v := b.Get([]byte(formatKey))
		if len(v) != 4 {
			return damagedFile(db.path, "its format number is unreadable")
		}
		if format = binary.BigEndian.Uint32(v); format > Format {
			return fault.New(fault.Conflict, "%s has data format %d and this livegate reads formats up to %d: use a newer livegate, or start over with `livegate reset`", db.path, format, Format)
		}
		return nil
	})
	if err == nil && format == Format {
		return db.readPosition()
	}
	if err != nil {
		return err
	}
	if a != nil && format < 2 { // the first one gets its totals from the audit
		if <-a.done; a.err != nil {
			return a.err
		}
	}
	if err = db.bolt.Update(func(tx *bolt.Tx) error { return db.raise(tx, a, format) }); err != nil {
		return unusable(db.path, err)
	}
	return nil
}

// raise brings an older format, or an empty file, up to date.
func (db *DB) raise(tx *bolt.Tx, a *audit, format uint32) error {
	b, err := tx.CreateBucketIfNotExists([]byte(metaSpace))
	if err != nil {
		return err
	}
	if a != nil && format < 2 {
		for name, t := range a.totals {
			key := []byte(totalPrefix + name)
			if err := b.Put(key, sealed(key, t.encode())); err != nil {
				return err
			}
		}
	}
	own, err := tx.CreateBucketIfNotExists([]byte(logSpace))
	if err != nil {
		return err
	}
	if err := own.Put([]byte(positionKey), db.newPosition()); err != nil {
		return err
	}
	return b.Put([]byte(formatKey), binary.BigEndian.AppendUint32(nil, Format))
}

// readPosition learns up to which commit the file goes.
func (db *DB) readPosition() error {
	return db.bolt.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte(logSpace)); b != nil {
			if id, commit, ok := parsePosition(b.Get([]byte(positionKey))); ok {
				db.id = id
				db.committed.Store(commit)
				return nil
			}
		}
		return damagedFile(db.path, "where its log begins is unreadable")
	})
}

// full says whether an error is for want of space: on the disk, of a quota, or up
// to the largest file that the process may write. The engine passes some on as
// text only.
func full(err error) bool {
	for _, no := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, no) || err != nil && strings.HasSuffix(err.Error(), no.Error()) {
			return true
		}
	}
	return false
}

func fullDisk(path string, err error) *fault.Error {
	return &fault.Error{Kind: fault.Unavailable, Msg: fmt.Sprintf("the disk is full: nothing was written to %s, what it holds can be read; free some space and writing goes on by itself", path), Err: err}
}

// unwritable is why no write can be tried.
func (db *DB) unwritable() error {
	if e := db.damage.Load(); e != nil {
		return e
	}
	if e := db.refusal.Load(); e != nil {
		return e
	}
	return nil
}

// unlogged is what a record that could not be written means. When the disk
// refused it, nothing has happened, and the next one may try again. When the disk
// said that it could not keep what it had taken, the kernel has already forgotten
// which pages those were, and a second try would succeed without writing them.
func (db *DB) unlogged(err error) error {
	if _, lost := errors.AsType[*lostError](err); lost {
		return db.refuse(err)
	}
	return unusable(db.path, err)
}

// uncommitted is the same for a checkpoint: when a write was refused, the pages of
// the state before are still all there.
func (db *DB) uncommitted(err error) error {
	var refused *os.PathError // of write and truncate; sync fails with a bare number
	if errors.As(err, &refused) || full(err) && isEngineComplaint(err) {
		return unusable(db.path, err)
	}
	return db.refuse(err)
}

func (db *DB) refuse(err error) error {
	e := &fault.Error{Kind: fault.Unavailable, Err: err,
		Msg: fmt.Sprintf("the disk failed to store %s: nothing more is written until livegate is restarted; check the disk first", db.path)}
	db.refusal.Store(e)
	return e
}

// syncNowAndThen is Fast's way to the disk.
func (db *DB) syncNowAndThen() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	synced := uint64(0)
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-db.quit:
			<-db.done
			last = true
		}
		now := db.commits.Load()
		if now == synced {
			continue
		}
		synced = now
		for i := range db.logs {
			f := db.logs[i].file.Load()
			if f == nil {
				continue
			}
			if err := syncData(f); err != nil {
				_ = db.refuse(err) // kept: the next write is told
			}
		}
	}
}
