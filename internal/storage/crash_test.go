package storage

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// childVar makes the test binary act as the process that gets killed.
const childVar = "STORAGE_TEST_CHILD"

const childWriters = 8

// runChild writes pairs of keys as fast as it can and prints each number after
// it was acknowledged. It never returns.
func runChild(path string) {
	path, fast := strings.CutSuffix(path, "?fast")
	// Checkpoints every few milliseconds.
	db, err := openWith(path, Config{Fast: fast, LockWait: 5 * time.Second}, limits{checkpointAt: 32 << 10, maxLayer: 64 << 10})
	if err != nil {
		fmt.Println("child:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range childWriters {
		wg.Go(func() {
			from := 0
			_ = db.View(func(tx *Tx) error {
				if v := tx.Get("last", []byte{byte(w)}); v != nil {
					from = int(binary.BigEndian.Uint64(v)) + 1
				}
				return nil
			})
			for i := from; ; i++ {
				n := binary.BigEndian.AppendUint64(nil, uint64(i))
				err := db.Update(context.Background(), func(tx *Tx) error {
					key := append([]byte{byte(w)}, n...)
					if err := tx.Put("a", key, n); err != nil {
						return err
					}
					if err := tx.Put("b", key, n); err != nil {
						return err
					}
					return tx.Put("last", []byte{byte(w)}, n)
				})
				if err != nil {
					fmt.Println("child:", err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(w, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// The promise of the package: what was acknowledged is there after SIGKILL at any
// instant, and a function's writes are there together or not at all.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Run("durable", func(t *testing.T) { testKills(t, "") })
	t.Run("fast", func(t *testing.T) { testKills(t, "?fast") })
}

func testKills(t *testing.T, tier string) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "x.db")
	acked := make([]int, childWriters)
	for w := range acked {
		acked[w] = -1
	}
	for round := range rounds {
		lines := killedRun(t, path+tier, 20+rand.IntN(400))
		for _, line := range lines {
			var w, i int
			if _, err := fmt.Sscanf(line, "%d %d", &w, &i); err != nil {
				t.Fatalf("round %d: child said %q", round, line)
			}
			acked[w] = max(acked[w], i)
		}
		checkAfterKill(t, path, acked)
	}
}

// killedRun lets the child acknowledge so many writes, kills it at a random
// moment after that, and returns everything it had said.
func killedRun(t *testing.T, path string, after int) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		lines = append(lines, sc.Text())
		if len(lines) == after {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait() // killed
	if len(lines) < after {
		t.Fatalf("the child stopped by itself: %q", lines)
	}
	return lines
}

func checkAfterKill(t *testing.T, path string, acked []int) {
	t.Helper()
	db, err := Open(path, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *Tx) error {
		for w, last := range acked {
			prefix := []byte{byte(w)}
			stored := 0
			tx.Ascend("a", prefix, []byte{byte(w) + 1}, func(k, v []byte) bool {
				if string(tx.Get("b", k)) != string(v) {
					t.Errorf("torn: writer %d has key %x in one space only", w, k)
				}
				stored++
				return true
			})
			if stored < last+1 {
				t.Errorf("writer %d: %d writes stored, %s acknowledged", w, stored, strconv.Itoa(last+1))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
