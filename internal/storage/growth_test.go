package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Endless put and delete beside a scan that never stops: pages that a reader can
// see are not reused, so the file must not grow with the number of writes, only
// with what is written during one page of a scan.
func TestFileStopsGrowing(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	const keys, page = 4000, 200
	value := make([]byte, 500)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	{
		wg.Go(func() {
			for ctx.Err() == nil {
				for from := []byte(nil); ; { // a scan, a transaction for each page
					n := 0
					if err := db.View(func(tx *Tx) error {
						tx.Ascend("s", from, nil, func(k, _ []byte) bool {
							from = append(append(from[:0], k...), 0)
							n++
							return n < page
						})
						return nil
					}); err != nil {
						t.Error(err)
					}
					if n < page {
						break
					}
				}
			}
		})
	}
	churn := func(rounds int) int64 {
		for i := range rounds {
			err := db.Update(ctx, func(tx *Tx) error {
				for range 10 {
					key := fmt.Appendf(nil, "%05d", rand.IntN(keys))
					if tx.Get("s", key) != nil && i%2 == 0 {
						if err := tx.Delete("s", key); err != nil {
							return err
						}
						continue
					}
					if err := tx.Put("s", key, value); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		return db.Stats().FileBytes
	}
	rounds := 400
	if testing.Short() {
		rounds = 300
	}
	early := churn(rounds)
	late := churn(3 * rounds)
	if late > early+2*growBy {
		t.Errorf("%d bytes after %d rounds, %d after %d", early, rounds, late, 4*rounds)
	}
}

// A read is answered while the writer is busy for as long as it likes.
func TestReadsDoNotWaitForTheWriter(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	put(t, db, "a", "1")
	busy, release := make(chan struct{}), make(chan struct{})
	written := make(chan error, 1)
	go func() {
		written <- db.Update(context.Background(), func(tx *Tx) error {
			err := tx.Put("s", []byte("a"), []byte("2"))
			close(busy)
			<-release
			return err
		})
	}()
	<-busy
	read := make(chan string, 1)
	go func() { read <- dump(t, db) }()
	select {
	case got := <-read:
		if got != "a=1 " {
			t.Errorf("%q was read", got)
		}
	case <-time.After(10 * time.Second):
		t.Error("a read waits for the writer")
	}
	close(release)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
}
