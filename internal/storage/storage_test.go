package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/fault"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childVar); path != "" {
		runChild(path)
		return
	}
	if path := os.Getenv(fillVar); path != "" {
		runFill(path)
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := Open(path, Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func put(t testing.TB, db *DB, pairs ...string) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *Tx) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := tx.Put("s", []byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func dump(t testing.TB, db *DB) string {
	t.Helper()
	var b strings.Builder
	if err := db.View(func(tx *Tx) error {
		tx.Ascend("s", nil, nil, func(k, v []byte) bool {
			fmt.Fprintf(&b, "%s=%s ", k, v)
			return true
		})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRangesAreOrderedAndHalfOpen(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	put(t, db, "b", "2", "a", "1", "d", "4", "c", "", "e", "5")
	scan := func(descend bool, from, to string) string {
		var out strings.Builder
		bound := func(s string) []byte {
			if s == "" {
				return nil
			}
			return []byte(s)
		}
		err := db.View(func(tx *Tx) error {
			walk := tx.Ascend
			if descend {
				walk = tx.Descend
			}
			walk("s", bound(from), bound(to), func(k, _ []byte) bool {
				out.Write(k)
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, c := range []struct {
		descend        bool
		from, to, want string
	}{
		{false, "", "", "abcde"}, {true, "", "", "edcba"},
		{false, "b", "d", "bc"}, {true, "b", "d", "cb"},
		{false, "bb", "zz", "cde"}, {true, "bb", "zz", "edc"},
		{true, "", "a", ""}, {false, "f", "", ""}, {true, "", "cc", "cba"},
	} {
		if got := scan(c.descend, c.from, c.to); got != c.want {
			t.Errorf("descend=%v [%s,%s) = %q, want %q", c.descend, c.from, c.to, got, c.want)
		}
	}
	err := db.View(func(tx *Tx) error {
		if v := tx.Get("s", []byte("c")); v == nil || len(v) != 0 {
			t.Errorf("an empty value reads as %v", v)
		}
		if tx.Get("s", []byte("zz")) != nil || tx.Get("none", []byte("a")) != nil {
			t.Error("an absent key has a value")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A failing function shares its transaction with succeeding ones. If its writes
// were taken back by rolling the transaction back, its neighbours would lose
// acknowledged data; if they were left, a failed condition would half apply.
func TestFailureTakesBackOnlyItsOwnWrites(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	put(t, db, "keep", "old", "gone", "old")
	boom := errors.New("boom")
	gate, begun := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	// The first function holds the writer until the others are queued behind it,
	// so that they are one batch.
	wg.Go(func() {
		if err := db.Update(context.Background(), func(*Tx) error { close(begun); <-gate; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-begun
	for i := range 20 {
		wg.Go(func() {
			err := db.Update(context.Background(), func(tx *Tx) error {
				if i%2 == 0 {
					return tx.Put("s", fmt.Appendf(nil, "k%02d", i), []byte("good"))
				}
				_ = tx.Put("s", []byte("keep"), []byte("bad"))
				_ = tx.Put("s", []byte("keep"), []byte("worse"))
				_ = tx.Delete("s", []byte("gone"))
				_ = tx.Put("s", fmt.Appendf(nil, "k%02d", i), []byte("bad"))
				_ = tx.Put("other", []byte("x"), []byte("bad"))
				return boom
			})
			if (i%2 == 1) != errors.Is(err, boom) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	for len(db.queue) < 20 {
		runtime.Gosched()
	}
	close(gate)
	wg.Wait()
	want := "gone=old "
	for i := 0; i < 20; i += 2 {
		want += fmt.Sprintf("k%02d=good ", i)
	}
	if got := dump(t, db); got != want+"keep=old " {
		t.Fatalf("got %q", got)
	}
}

func TestPanicReachesItsCallerAndNobodyElse(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	func() {
		defer func() {
			p := recover()
			if p == nil || !strings.Contains(fmt.Sprint(p), "a bug") {
				t.Errorf("recovered %v", p)
			}
		}()
		_ = db.Update(context.Background(), func(tx *Tx) error {
			_ = tx.Put("s", []byte("k"), []byte("v"))
			panic("a bug")
		})
	}()
	put(t, db, "a", "1")
	if got := dump(t, db); got != "a=1 " {
		t.Fatal(got)
	}
}

func TestDropIsPartOfTheTransaction(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	put(t, db, "a", "1")
	ctx := context.Background()
	err := db.Update(ctx, func(tx *Tx) error {
		if err := tx.Drop("s"); err != nil {
			return err
		}
		if tx.Get("s", []byte("a")) != nil {
			t.Error("dropped space still has its keys")
		}
		return errors.New("no")
	})
	if err == nil || dump(t, db) != "a=1 " {
		t.Fatalf("a failed function dropped the space: %v", err)
	}
	if err := db.Update(ctx, func(tx *Tx) error { return tx.Drop("s") }); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, db); got != "" {
		t.Fatal(got)
	}
	put(t, db, "b", "2")
	if got := dump(t, db); got != "b=2 " {
		t.Fatal(got)
	}
}

// An impossible write fails the function even when the caller drops the error.
func TestImpossibleWriteFailsTheFunction(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	for name, write := range map[string]func(*Tx){
		"empty key":    func(tx *Tx) { _ = tx.Put("s", nil, nil) },
		"overlong key": func(tx *Tx) { _ = tx.Put("s", make([]byte, MaxKey+1), nil) },
		"no space":     func(tx *Tx) { _ = tx.Put("", []byte("k"), nil) },
		"reserved":     func(tx *Tx) { _ = tx.Put(metaSpace, []byte(formatKey), nil) },
		"after drop": func(tx *Tx) {
			_ = tx.Drop("s")
			_ = tx.Put("s", []byte("k"), nil)
		},
	} {
		err := db.Update(context.Background(), func(tx *Tx) error {
			_ = tx.Put("s", []byte("before"), nil)
			write(tx)
			return nil
		})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := db.View(func(tx *Tx) error { _ = tx.Put("s", []byte("k"), nil); return nil }); err == nil {
		t.Error("a read transaction wrote")
	}
	if got := dump(t, db); got != "" {
		t.Fatal(got)
	}
}

func TestCloseWaitsAndRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := Open(path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	acked := 0
	for i := range 50 {
		wg.Go(func() {
			err := db.Update(context.Background(), func(tx *Tx) error {
				return tx.Put("s", fmt.Appendf(nil, "%d", i), []byte("v"))
			})
			if err == nil {
				mu.Lock()
				acked++
				mu.Unlock()
			} else if !fault.Is(err, fault.Unavailable) {
				t.Error(err)
			}
		})
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	if err := db.View(func(*Tx) error { return nil }); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("View after Close: %v", err)
	}
	again := open(t, path)
	if got := strings.Count(dump(t, again), "="); got != acked {
		t.Fatalf("%d writes acknowledged, %d there", acked, got)
	}
}

func TestCancelledBeforeItsTurn(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := db.Update(ctx, func(*Tx) error { ran = true; return nil })
	if !errors.Is(err, context.Canceled) || ran {
		t.Fatal(err, ran)
	}
}

func TestSecondProcessIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path)
	_, err := Open(path, Config{LockWait: 1})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another livegate is running") {
		t.Fatal(err)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte(metaSpace))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(formatKey), []byte{0, 0, 0, Format + 1})
	}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	_, err = Open(path, Config{})
	if !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "data format 4") || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
}

func TestForeignFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("somebody's"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := Open(path, Config{}); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "not a Livegate data file") {
		t.Fatal(err)
	}
}

// Permission bits do not stop root, so the test uses places where nobody can
// write: under a file, and a directory in place of the file.
func TestUnwritablePlaceIsNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(file, "x.db"), dir} {
		_, err := Open(path, Config{})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "writable") {
			t.Errorf("Open(%q) = %v", path, err)
		}
	}
}

func TestConcurrentReadersAndWriters(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				err := db.Update(context.Background(), func(tx *Tx) error {
					// Two keys that must always agree.
					v := fmt.Appendf(nil, "%d", i)
					if err := tx.Put("s", fmt.Appendf(nil, "a%d", w), v); err != nil {
						return err
					}
					return tx.Put("s", fmt.Appendf(nil, "b%d", w), v)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 200 {
				err := db.View(func(tx *Tx) error {
					a, b := tx.Get("s", fmt.Appendf(nil, "a%d", w)), tx.Get("s", fmt.Appendf(nil, "b%d", w))
					if string(a) != string(b) {
						t.Errorf("torn: %s and %s", a, b)
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkUpdate(b *testing.B) {
	for _, clients := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db, err := Open(filepath.Join(b.TempDir(), "x.db"), Config{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			value := make([]byte, 250)
			var wg sync.WaitGroup
			next := make(chan int, clients)
			for range clients {
				wg.Go(func() {
					for i := range next {
						if err := db.Update(context.Background(), func(tx *Tx) error {
							return tx.Put("s", fmt.Appendf(nil, "%08x", uint32(i)*2654435761), value)
						}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			wg.Wait()
		})
	}
}
