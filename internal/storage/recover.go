package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"

	"github.com/livegate/livegate/internal/fault"
)

const idSize = 16

// newPosition is that of a file which has no log yet.
func (db *DB) newPosition() []byte {
	db.id = make([]byte, idSize)
	_, _ = rand.Read(db.id) // never fails
	return db.position(0)
}

// parsePosition reads what [DB.position] wrote.
func parsePosition(stored []byte) (id []byte, commit uint64, ok bool) {
	value, ok := unsealed([]byte(positionKey), stored)
	if !ok || len(value) != idSize+8 {
		return nil, 0, false
	}
	return slices.Clone(value[:idSize]), binary.BigEndian.Uint64(value[idSize:]), true
}

// recover brings the commits that the last process left in the logs to the file.
// When the disk has no room for that they stay where they are and are served from
// memory, and writes wait for room.
func (db *DB) recover() error {
	db.seed = crc32.Checksum(db.id, crc32.MakeTable(crc32.Castagnoli))
	db.layers.Store(&layers{active: newLayer(db.committed.Load())})
	paths := logPaths(db.path)
	for i := range paths {
		db.logs[i].path = paths[i]
	}
	left, err := db.readLogs(paths[:])
	if err != nil {
		return err
	}
	if left != nil {
		db.committed.Store(left.last)
		db.layers.Store(&layers{active: newLayer(left.last), frozen: left})
		err := db.checkpoint(left)
		if db.finish(err); err != nil {
			db.held = true // both logs
			if fault.Is(err, fault.Unavailable) && db.unwritable() == nil {
				return nil
			}
			return err
		}
	}
	return db.removeLogs()
}

// readLogs is a layer of all commits that are in the logs and not in the file; nil
// if there are none.
func (db *DB) readLogs(paths []string) (*layer, error) {
	from := db.committed.Load()
	var all []record
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, unusable(path, err)
		}
		list, sound := records(b, db.seed, from)
		if !sound {
			return nil, damagedFile(path, "a commit in the middle of it cannot be read")
		}
		all = append(all, list...)
	}
	all = slices.DeleteFunc(all, func(r record) bool { return r.commit <= from })
	if len(all) == 0 {
		return nil, nil
	}
	slices.SortFunc(all, func(a, b record) int { return int(int64(a.commit - b.commit)) })
	l := newLayer(from)
	for i, r := range all {
		if want := from + 1 + uint64(i); r.commit != want {
			return nil, damagedFile(db.path, fmt.Sprintf("commit %d is missing between it and %s; if it is a copy that was put here, remove the log files of its predecessor", want, filepath.Base(paths[0])))
		}
		if err := l.replay(r); err != nil {
			return nil, damagedFile(db.path, fmt.Sprintf("commit %d in its log is unreadable", r.commit))
		}
	}
	return l, nil
}

// removeLogs removes logs that nothing is in.
func (db *DB) removeLogs() error {
	for i := range db.logs {
		l := &db.logs[i]
		l.close()
		if err := os.Remove(l.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return unusable(l.path, err)
		}
	}
	return nil
}
