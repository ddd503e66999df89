package storage

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/livegate/livegate/internal/fault"
)

// Compact rewrites the file without its free pages and returns its lengths before
// and after, in bytes. The copy is read back and compared before it takes the
// file's place, in one step: killed at any instant, it leaves the old file or the
// new one under the name. It needs as much free space as the file has content.
// Errors are those of [Open], and NotFound when there is no file.
func Compact(path string) (before, after int64, err error) {
	if before, err = length(path); err != nil {
		return 0, 0, err
	}
	db, err := Open(path, Config{Check: time.Hour}) // all of it, and the lock
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if left := db.layers.Load().frozen; left != nil {
		return 0, 0, fullDisk(path, syscall.ENOSPC) // of a crash; Open had no room to store it
	}
	side := path + ".compact"
	if err := os.Remove(side); err != nil && !errors.Is(err, os.ErrNotExist) { // of one that was killed
		return 0, 0, unusable(side, err)
	}
	defer func() {
		if err != nil {
			os.Remove(side)
		}
	}()
	if err := copyTo(side, db); err != nil {
		return 0, 0, err
	}
	if after, err = length(side); err != nil {
		return 0, 0, err
	}
	if err := os.Rename(side, path); err != nil {
		return 0, 0, unusable(path, err)
	}
	return before, after, syncDir(filepath.Dir(path))
}

func length(path string) (int64, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return 0, fault.New(fault.NotFound, "%s does not exist: nothing has been stored there yet", path)
	case err != nil:
		return 0, unusable(path, err)
	}
	return info.Size(), nil
}

// copyTo writes what db holds into a new file and checks that.
func copyTo(side string, db *DB) (err error) {
	defer guard(func(p any) { err = damagedFile(db.path, p) })()
	to, err := bolt.Open(side, 0o600, &bolt.Options{NoSync: true, NoGrowSync: true, FreelistType: bolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return unusable(side, err)
	}
	const batch = 4 << 20 // bytes in one transaction
	err = bolt.Compact(to, db.bolt, batch)
	if err == nil {
		err = to.Sync()
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return unusable(side, err)
	}
	copied, err := Open(side, Config{Check: time.Hour}) // compares entries and totals
	if err != nil {
		return err
	}
	return copied.Close()
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return unusable(dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return unusable(dir, err)
	}
	return nil
}
