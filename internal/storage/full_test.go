package storage

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

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
	err := fillAndRecover(path,
		func() error { return limitFile(fillLimit) },
		func() error { return limitFile(1 << 40) })
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// fillAndRecover writes until the disk is full, looks that everything that was
// acknowledged can still be read, and that writing goes on once there is space,
// without a restart and after one.
func fillAndRecover(path string, limit, release func() error) error {
	db, err := Open(path, Config{})
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

func TestFullFileRefusesWritesAndRecovers(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), fillVar+"="+filepath.Join(t.TempDir(), "x.db"))
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
	err := fillAndRecover(filepath.Join(dir, "x.db"),
		func() error { return os.WriteFile(ballast, make([]byte, 8<<20), 0o600) },
		func() error { return os.Remove(ballast) })
	if err != nil {
		t.Fatal(err)
	}
}
