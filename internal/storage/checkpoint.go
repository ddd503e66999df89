package storage

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A checkpoint brings a layer to the engine's file, in one transaction that also
// says up to which commit the file now goes. Then the log of that layer is of no
// use any more. Meanwhile the writer fills another layer and the other log.
const (
	// checkpointAt is when a layer is frozen: its bytes of memory, and twice those of
	// its log, since the disk needs room for the log and the file. More saves work,
	// because keys that change often are brought to the file once; less saves memory,
	// room, and time at the next start after a crash.
	checkpointAt = 8 << 20
	// maxLayer is when the writer waits for the checkpoint that is under way.
	maxLayer = 3 * checkpointAt
	// maxRecord is when functions that wait together are not put into one record.
	maxRecord = 4 << 20
	// maxChanges is what the writer keeps room for.
	maxChanges = 1 << 14
	// idleAfter is when what is in the log goes to the file although it is little.
	idleAfter = time.Second
	// retryAfter: how long to wait after a checkpoint that failed.
	retryAfter = time.Second
)

// next waits for a function; nil is the end. While nothing is to be done the writer
// looks after checkpoints.
func (db *DB) next() *request {
	select {
	case r := <-db.queue:
		return r
	default:
	}
	for {
		var idle <-chan time.Time
		ls := db.layers.Load()
		if db.running == nil && (ls.frozen != nil || ls.active.commits > 0 && ls.active.changed()) && db.unwritable() == nil {
			db.idle.Reset(idleAfter)
			idle = db.idle.C
		}
		select {
		case r := <-db.queue:
			return r
		case err := <-db.running:
			db.finish(err)
			if db.layers.Load().active.commits == 0 {
				db.shrink()
			}
		case <-idle:
			if ls.frozen == nil {
				db.freeze()
			}
			db.start()
		}
	}
}

// makeRoom sees to it that the next commit has a layer and a log to go to.
func (db *DB) makeRoom() error {
	if db.running != nil {
		select {
		case err := <-db.running:
			db.finish(err)
		default:
			if db.layers.Load().active.bytes < db.maxLayer && !db.held {
				return nil
			}
			db.finish(<-db.running)
		}
	}
	ls := db.layers.Load()
	if ls.frozen != nil { // a checkpoint failed
		switch full := ls.active.bytes >= db.maxLayer || db.held; {
		case full:
			err := db.checkpoint(ls.frozen)
			if db.finish(err); err != nil {
				return err
			}
		case time.Since(db.failed) > retryAfter:
			db.start()
		}
		ls = db.layers.Load()
	}
	if ls.frozen == nil && (ls.active.bytes >= db.checkpointAt || db.logs[db.current].end >= int64(db.checkpointAt)/2) {
		db.freeze()
		db.start()
	}
	return nil
}

// freeze turns to a new layer and the other log.
func (db *DB) freeze() {
	full := db.layers.Load().active
	db.layers.Store(&layers{active: newLayer(full.last), frozen: full})
	db.current = 1 - db.current
	db.logs[db.current].end = 0
}

// start begins the checkpoint of the frozen layer.
func (db *DB) start() {
	l, done := db.layers.Load().frozen, make(chan error, 1)
	db.running = done
	go func() { done <- db.checkpoint(l) }()
}

// finish lets go of a layer whose checkpoint is done. After a failure everything
// stays as it is: the layer in memory, its commits in their log.
func (db *DB) finish(err error) {
	db.running = nil
	if err != nil {
		db.failed = time.Now()
		return
	}
	db.layers.Store(&layers{active: db.layers.Load().active})
	db.held = false
	old := &db.logs[1-db.current]
	if old.end = 0; old.size > 2*checkpointAt { // after an unusual transaction
		old.shrink()
	}
	db.stepped("let go")
}

// shrink gives back what the logs take when nothing is in them.
func (db *DB) shrink() {
	if db.layers.Load().frozen != nil {
		return
	}
	for i := range db.logs {
		db.logs[i].shrink()
	}
}

// checkpoint brings a layer that nobody changes any more to the file.
func (db *DB) checkpoint(l *layer) (err error) {
	defer guard(func(p any) { err = damagedFile(db.path, p) })()
	db.stepped("frozen")
	b, err := db.bolt.Begin(true)
	if err != nil {
		return db.engineError(err)
	}
	// After Commit this does nothing; after a panic inside Commit it lets go of
	// the engine's writer lock, so that the next one gets an error too, not silence.
	defer func() { _ = b.Rollback() }()
	spaces := *l.spaces.Load()
	for _, name := range slices.Sorted(maps.Keys(spaces)) {
		if err := store(b, name, spaces[name].newest.Load()); err != nil {
			return unusable(db.path, err)
		}
	}
	if err := b.Bucket([]byte(logSpace)).Put([]byte(positionKey), db.position(l.last)); err != nil {
		return unusable(db.path, err)
	}
	db.stepped("written")
	if err := b.Commit(); err != nil {
		return db.uncommitted(err)
	}
	db.stepped("committed")
	return nil
}

// store brings what a layer says about one space to the file, and the space's total
// with it.
func store(b *bolt.Tx, name string, g *generation) error {
	own, id, totalKey := b.Bucket([]byte(metaSpace)), []byte(name), []byte(totalPrefix+name)
	bucket := b.Bucket(id)
	if g.hides && bucket != nil {
		if err := b.DeleteBucket(id); err != nil {
			return err
		}
		if err := own.Delete(totalKey); err != nil {
			return err
		}
		bucket = nil
	}
	var sum total
	if stored := own.Get(totalKey); stored != nil {
		value, ok := unsealed(totalKey, stored)
		if !ok {
			panic(damage{"checksum of the total of space " + name + " does not match"})
		}
		sum = decodeTotal(value)
	}
	var cursor *bolt.Cursor
	for n := g.list.head[0].Load(); n != nil; n = n.next[0].Load() {
		v := n.newest.Load()
		if v == nil || bucket == nil && v.stored == nil {
			continue
		}
		if bucket == nil {
			var err error
			if bucket, err = b.CreateBucket(id); err != nil {
				return err
			}
		}
		if cursor == nil {
			cursor = bucket.Cursor()
		}
		k, old := cursor.Seek(n.key)
		switch {
		case bytes.Equal(k, n.key):
			sum.add(total{^uint64(0), -hashOf(k, old)})
		case v.stored == nil:
			continue
		}
		var err error
		if v.stored == nil {
			err = bucket.Delete(n.key)
		} else {
			sum.add(total{1, hashOf(n.key, v.stored)})
			err = bucket.Put(n.key, v.stored)
		}
		if err != nil {
			return err
		}
	}
	if bucket == nil {
		return nil
	}
	return own.Put(totalKey, sealed(totalKey, sum.encode()))
}

// position is what the file says about the log: whose it is, and the last commit
// that is in the file.
func (db *DB) position(commit uint64) []byte {
	return sealed([]byte(positionKey), binary.BigEndian.AppendUint64(slices.Clone(db.id), commit))
}

// flush brings everything to the file. Only when the writer has ended, or before it
// has begun.
func (db *DB) flush() error {
	if db.running != nil {
		db.finish(<-db.running)
	}
	for range 2 {
		ls := db.layers.Load()
		switch {
		case ls.frozen != nil:
		case ls.active.commits > 0:
			db.freeze()
		default:
			return nil
		}
		err := db.unwritable()
		if err == nil {
			err = db.checkpoint(db.layers.Load().frozen)
		}
		if db.finish(err); err != nil {
			return err
		}
	}
	return nil
}

// stepped tells a test where a checkpoint is.
func (db *DB) stepped(step string) {
	if db.step != nil {
		db.step(step)
	}
}
