package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// fillVar makes the test binary fill a file under a limit of its length: the
// limit of a process is one that every system has, and that a child can give
// itself.
const fillVar = "STORAGE_TEST_FILL"

const fillLimit = 12 << 20

func limitFile(bytes uint64) error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		return err
	}
	l.Cur = min(bytes, l.Max)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
}

// runFill fills, frees, and goes on, in a process of its own.
func runFill(path string) {
	if path, found := strings.CutSuffix(path, "?open"); found {
		if err := openWhileFull(path); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	path, checkpoint := strings.CutSuffix(path, "?checkpoint")
	limit, l := uint64(fillLimit), limits{checkpointAt: checkpointAt, maxLayer: maxLayer}
	if checkpoint { // the logs stay far below what the file may grow to
		limit, l = 6<<20, limits{checkpointAt: 256 << 10, maxLayer: 1 << 20}
	}
	err := fillAndRecover(path, l,
		func() error { return limitFile(limit) },
		func() error { return limitFile(1 << 40) })
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// fillAndRecover writes until the disk is full, looks that everything that was
// acknowledged can still be read, and that writing goes on once there is space,
// without a restart and after one.
func fillAndRecover(path string, l limits, limit, release func() error) error {
	db, err := openWith(path, Config{}, l)
	if err != nil {
		return err
	}
	if err := limit(); err != nil {
		return err
	}
	value := strings.Repeat("v", 20_000)
	add := func(i int) error {
		return db.Update(context.Background(), func(tx *Tx) error {
			return tx.Put("s", fmt.Appendf(nil, "%06d", i), []byte(value))
		})
	}
	stored := 0
	for err = add(stored); err == nil && stored < 5_000; err = add(stored) {
		stored++
	}
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), path) {
		return fmt.Errorf("after %d writes: %v", stored, err)
	}
	for range 20 { // it stays so, and nothing is lost by trying
		if err := add(stored); !fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("while full: %v", err)
		}
	}
	check := func() error {
		return db.View(func(tx *Tx) error {
			n := 0
			tx.Ascend("s", nil, nil, func(k, v []byte) bool {
				if string(k) == fmt.Sprintf("%06d", n) && string(v) == value {
					n++
				}
				return true
			})
			if n != stored {
				return fmt.Errorf("%d of %d values can be read", n, stored)
			}
			return nil
		})
	}
	if err := check(); err != nil {
		return err
	}
	if err := release(); err != nil {
		return err
	}
	for range 100 {
		if err := add(stored); err != nil {
			return fmt.Errorf("with space again: %w", err)
		}
		stored++
	}
	if err := check(); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = Open(path, Config{}); err != nil { // reads all of it
		return err
	}
	if err := check(); err != nil {
		return err
	}
	return db.Close()
}

// openWhileFull opens what a crash left, with no room to bring it to the file.
func openWhileFull(path string) error {
	crashed, err := Open(path+".crashed", Config{})
	if err != nil {
		return err
	}
	add := func(db *DB, key string) error {
		return db.Update(context.Background(), func(tx *Tx) error { return tx.Put("s", []byte(key), []byte("v")) })
	}
	for i := range 100 {
		if err := add(crashed, fmt.Sprintf("%03d", i)); err != nil {
			return err
		}
	}
	for _, end := range []string{"", ".log0"} {
		b, err := os.ReadFile(path + ".crashed" + end)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+end, b, 0o600); err != nil {
			return err
		}
	}
	if err := limitFile(8 << 10); err != nil { // the file is longer: its first pages can be written
		return err
	}
	frozen, gate := make(chan struct{}, 100), make(chan struct{})
	var hold atomic.Bool
	db, err := openWith(path, Config{}, limits{checkpointAt: checkpointAt, maxLayer: maxLayer, step: func(step string) {
		if step == "frozen" && hold.Load() {
			frozen <- struct{}{}
			<-gate
		}
	}})
	if err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	count := func() (n int) {
		_ = db.View(func(tx *Tx) error {
			tx.Ascend("s", nil, nil, func(k, v []byte) bool { n++; return true })
			return nil
		})
		return n
	}
	if n := count(); n != 100 {
		return fmt.Errorf("%d of 100 can be read", n)
	}
	for range 3 {
		if err := add(db, "x"); !fault.Is(err, fault.Unavailable) {
			return fmt.Errorf("while full: %v", err)
		}
	}
	hold.Store(true)
	if err := limitFile(1 << 40); err != nil {
		return err
	}
	<-frozen // tried again by itself, and not done yet
	done := make(chan error)
	go func() { done <- add(db, "x") }()
	select {
	case err := <-done:
		return fmt.Errorf("written over the log that is not in the file: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(gate)
	if err := <-done; err != nil {
		return err
	}
	if n := count(); n != 101 {
		return fmt.Errorf("%d of 101 can be read", n)
	}
	return db.Close()
}

func TestOpenOnAFullDisk(t *testing.T) {
	testFill(t, filepath.Join(t.TempDir(), "x.db")+"?open")
}

func TestFullFileRefusesWritesAndRecovers(t *testing.T) {
	testFill(t, filepath.Join(t.TempDir(), "x.db"))
}

// The log has room and the file has none: writes go on until too much waits for a
// checkpoint, and are refused then.
func TestFullDiskDuringACheckpoint(t *testing.T) {
	testFill(t, filepath.Join(t.TempDir(), "x.db")+"?checkpoint")
}

func testFill(t *testing.T, what string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fillVar+"="+what)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// The same on a disk that is really full, where the test may make one.
func TestFullDiskRefusesWritesAndRecovers(t *testing.T) {
	dir := t.TempDir()
	if err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", dir).Run(); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	defer func() {
		if err := exec.CommandContext(context.WithoutCancel(t.Context()), "umount", dir).Run(); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	err := fillAndRecover(filepath.Join(dir, "x.db"), limits{checkpointAt: checkpointAt, maxLayer: maxLayer},
		func() error { return os.WriteFile(ballast, make([]byte, 8<<20), 0o600) },
		func() error { return os.Remove(ballast) })
	if err != nil {
		t.Fatal(err)
	}
}
