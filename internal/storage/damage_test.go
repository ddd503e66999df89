package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

// sample is the content of a file with a few hundred pages.
func sample(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := Open(path, Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	for batch := range 20 {
		err := db.Update(context.Background(), func(tx *Tx) error {
			for i := range 100 {
				if err := tx.Put("s", fmt.Appendf(nil, "key-%03d-%03d", i, batch), fmt.Appendf(nil, "%0300d", i)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := newAudit(path, f)
	if err != nil {
		t.Fatal(err)
	}
	defer a.unmap()
	return append([]byte{}, a.file[:a.meta.high*a.meta.pageSize]...) // the rest is room to grow
}

// use opens a file and reads and writes it; the error must name the file. It
// returns the values read.
func use(t *testing.T, content []byte) (values int, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "y.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, Config{Fast: true})
	if err == nil {
		err = db.View(func(tx *Tx) error {
			tx.Ascend("s", nil, nil, func(k, v []byte) bool {
				var i, batch, n int
				if _, err := fmt.Sscanf(string(k), "key-%03d-%03d", &i, &batch); err != nil {
					t.Fatalf("key %q was served from a damaged file", k)
				}
				if _, err := fmt.Sscanf(string(v), "%d", &n); err != nil || n != i {
					t.Fatalf("value %q of key %q was served from a damaged file", v, k)
				}
				values++
				return true
			})
			return nil
		})
		if err == nil {
			err = db.Update(context.Background(), func(tx *Tx) error { return tx.Put("s", []byte("key-999-999"), fmt.Appendf(nil, "%0300d", 999)) })
		}
		_ = db.Close() // may fail: the file is damaged
	}
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("error does not name the file: %v", err)
	}
	return values, err
}

func TestTruncatedFileIsReported(t *testing.T) {
	whole := sample(t)
	for _, part := range []float64{0.1, 0.3, 0.5, 0.9} {
		n := int(float64(len(whole)) * part)
		_, err := use(t, whole[:n])
		if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	for _, n := range []int{1, 100, 5000} {
		if _, err := use(t, whole[:n]); err == nil {
			t.Errorf("the first %d bytes were accepted", n)
		}
	}
}

// Flipped bytes anywhere must end in an error or in the right data, never in a
// crash or in other data.
func TestDamagedFileIsNeverServed(t *testing.T) {
	whole := sample(t)
	rounds := 100
	if testing.Short() {
		rounds = 40
	}
	rng := rand.New(rand.NewPCG(1, 2))
	reported := 0
	for range rounds {
		bad := append([]byte{}, whole...)
		at := rng.IntN(len(bad))
		for i := range min(1+rng.IntN(64)*rng.IntN(2), len(bad)-at) { // often a single one
			bad[at+i] ^= byte(1 + rng.IntN(255))
		}
		switch n, err := use(t, bad); {
		case err != nil:
			reported++
		case n != 2000:
			t.Fatalf("damage at byte %d: %d of 2000 values were served", at, n)
		}
	}
	if reported == 0 {
		t.Fatal("no damage was ever noticed: the test does not bite")
	}
}
