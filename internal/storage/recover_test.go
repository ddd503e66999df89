package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/livegate/livegate/internal/fault"
)

// files is a copy of a database's files, as a crash at this instant leaves them.
type files struct{ state, log0, log1 []byte }

// copyFiles reads the logs first: a checkpoint may be under way, after which they
// are cut short.
func copyFiles(t interface{ Error(...any) }, path string) (f files) {
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
		return b
	}
	f.log0, f.log1 = read(path+".log0"), read(path+".log1")
	f.state = read(path)
	return f
}

func (f files) write(t interface{ Fatal(...any) }, path string) {
	for name, b := range map[string][]byte{path: f.state, path + ".log0": f.log0, path + ".log1": f.log1} {
		if b == nil {
			continue
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reopened opens a copy and returns what it holds.
func (f files) reopened(t testing.TB) (content string, err error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	f.write(t, path)
	db, err := Open(path, Config{Fast: true})
	if err != nil {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name the file: %v", err)
		}
		return "", err
	}
	content = dump(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range logPaths(path) {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
	again, err := Open(path, Config{Fast: true}) // reads and compares everything
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := dump(t, again); got != content {
		t.Errorf("%q was stored of %q", got, content)
	}
	return content, nil
}

// commits writes a few and returns what a reader sees after each.
func commits(t testing.TB, db *DB, n int) (states []string) {
	t.Helper()
	for i := range n {
		err := db.Update(context.Background(), func(tx *Tx) error {
			if err := tx.Put("s", fmt.Appendf(nil, "k%d", i%4), fmt.Appendf(nil, "v%d", i)); err != nil {
				return err
			}
			if i%3 == 2 {
				return tx.Delete("s", fmt.Appendf(nil, "k%d", (i+1)%4))
			}
			if i%7 == 6 {
				return tx.Drop("other")
			}
			return tx.Put("other", []byte("x"), []byte("1"))
		})
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, dump(t, db))
	}
	return states
}

// crashed is a database with commits in its log only, and where each ends.
func crashed(t testing.TB, n int) (f files, states []string, ends []int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	states = append([]string{""}, commits(t, db, n)...)
	f = copyFiles(t, path)
	list, sound := records(f.log0, db.seed, 0)
	if !sound || len(list) != n {
		t.Fatalf("%d records in the log", len(list))
	}
	end := 0
	for i := range list {
		end += list[i].size()
		ends = append(ends, end)
	}
	return f, states, ends
}

// A log that ends at any byte, with nothing or with zeros behind, holds the
// commits that are whole.
func TestLogCutShortAnywhere(t *testing.T) {
	f, states, ends := crashed(t, 12)
	f.log0 = f.log0[:ends[len(ends)-1]]
	every := 3
	if testing.Short() {
		every = 41
	}
	for cut := 0; cut <= len(f.log0); cut++ {
		whole, _ := slices.BinarySearch(ends, cut+1)
		list, sound := records(f.log0[:cut], seedOf(t, f.state), 0)
		if !sound || len(list) != whole {
			t.Fatalf("%d bytes: %d commits, %d are whole", cut, len(list), whole)
		}
		if cut%every != 0 && !slices.Contains(ends, cut) {
			continue
		}
		short := f
		short.log0 = append(slices.Clone(f.log0[:cut]), make([]byte, cut%2*1000)...)
		if got, err := short.reopened(t); err != nil || got != states[whole] {
			t.Fatalf("%d bytes: %q, %v, want %q", cut, got, err, states[whole])
		}
	}
}

// A log that is used again is written over older records. What a crash cuts short
// there has them behind it, whole ones too, and they are not taken for newer ones.
func TestLogCutShortOverOlderRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	letGo := make(chan struct{}, 100)
	db, err := openWith(path, Config{Fast: true}, limits{checkpointAt: 2500, maxLayer: 1 << 20, step: func(step string) {
		if step == "let go" {
			letGo <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var before, after files
	states := map[uint64]string{0: ""}
	first := func(f files) uint64 {
		r, _ := recordAt(f.log0, db.seed)
		return r.commit
	}
	rounds := 0
	for want := uint64(0); ; { // until the first log was begun a second time, and has three commits
		states[db.committed.Load()+1] = commits(t, db, 1)[0]
		select {
		case <-letGo:
			rounds++
		default:
		}
		f := copyFiles(t, path)
		if rounds < 2 || first(f) == 1 {
			before = f
			continue
		}
		if want == 0 {
			want = db.committed.Load() + 2
		}
		if db.committed.Load() == want {
			after = f
			break
		}
	}
	list, sound := records(after.log0, db.seed, 0)
	if !sound || len(list) < 3 {
		t.Fatalf("%v, %d commits", sound, len(list))
	}
	end, from := 0, 0
	for _, r := range list {
		from, end = end, end+r.size()
	}
	last := list[len(list)-1].commit
	for cut := from; cut <= end; cut++ {
		torn := after
		torn.log0 = append(slices.Clone(after.log0[:cut]), before.log0[cut:]...)
		want := last - 1
		if bytes.Equal(torn.log0[:end], after.log0[:end]) {
			want = last
		}
		if got, err := torn.reopened(t); err != nil || got != states[want] {
			t.Fatalf("%d of %d bytes: %q, %v, want %q", cut-from, end-from, got, err, states[want])
		}
	}
}

// A writer that is faster than the checkpoints waits for them: what is in memory
// stays bounded.
func TestWriterWaitsForACheckpoint(t *testing.T) {
	frozen, gate := make(chan struct{}, 1000), make(chan struct{})
	db, err := openWith(filepath.Join(t.TempDir(), "x.db"), Config{Fast: true}, limits{checkpointAt: 2000, maxLayer: 20_000, step: func(step string) {
		if step == "frozen" {
			frozen <- struct{}{}
			<-gate
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	const writes = 1000
	done := make(chan error)
	go func() {
		for i := range writes {
			if err := db.Update(context.Background(), func(tx *Tx) error {
				return tx.Put("s", fmt.Appendf(nil, "%d", i), make([]byte, 100))
			}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	<-frozen
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for last := uint64(0); ; { // until it stands still
		<-tick.C
		now := db.Stats().Commits
		if now == last {
			break
		}
		last = now
	}
	if n := db.Stats().Commits; n < 20 || n > 22_000/100 {
		t.Errorf("%d commits of 100 bytes were taken", n)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func seedOf(t testing.TB, state []byte) uint32 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.db")
	if err := os.WriteFile(path, state, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var seed uint32
	_ = b.View(func(tx *bolt.Tx) error {
		id, _, _ := parsePosition(tx.Bucket([]byte(logSpace)).Get([]byte(positionKey)))
		seed = crc32.Checksum(id, crc32.MakeTable(crc32.Castagnoli))
		return nil
	})
	return seed
}

// A flipped bit anywhere but in the last commit is damage that is reported. In the
// last one it looks like a write that a crash cut short.
func TestFlippedBitsInTheLog(t *testing.T) {
	f, states, ends := crashed(t, 6)
	n := len(ends)
	for at := range ends[n-1] {
		bad := f
		bad.log0 = slices.Clone(f.log0)
		bad.log0[at] ^= 1 << (at % 8)
		list, sound := records(bad.log0, seedOf(t, f.state), 0)
		if last := at >= ends[n-2]; sound != last || last && len(list) != n-1 {
			t.Fatalf("byte %d: sound is %v, %d commits", at, sound, len(list))
		}
		if at%29 != 0 {
			continue
		}
		got, err := bad.reopened(t)
		if at >= ends[n-2] {
			if err != nil || got != states[n-1] {
				t.Errorf("byte %d: %q, %v", at, got, err)
			}
		} else if !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("byte %d: %q, %v", at, got, err)
		}
	}
}

// Commits that are missing between the file and the log, or between the logs, are
// damage: an older copy of the file beside a newer log, a log that was removed.
func TestMissingCommitsAreReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	gate, letGo := make(chan struct{}), make(chan struct{}, 1000)
	db, err := openWith(path, Config{Fast: true}, limits{checkpointAt: 2000, maxLayer: 1 << 20, step: func(step string) {
		switch step {
		case "frozen":
			<-gate
		case "let go":
			letGo <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	old := copyFiles(t, path).state
	states := commits(t, db, 40)
	f := copyFiles(t, path) // one layer is frozen, its log full
	if got, err := f.reopened(t); err != nil || got != states[39] {
		t.Fatalf("%q, %v", got, err)
	}
	for name, bad := range map[string]files{
		"the first log is gone": {state: f.state, log1: f.log1},
		"its end is gone":       {state: f.state, log0: f.log0[:len(f.log0)/2], log1: f.log1},
	} {
		if got, err := bad.reopened(t); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	close(gate)
	for len(letGo) < 3 { // then the first log was begun again
		states = append(states, commits(t, db, 1)...)
	}
	f = copyFiles(t, path)
	f.state = old
	if got, err := f.reopened(t); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("an older file: %q, %v", got, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	f = copyFiles(t, path)
	if got, err := f.reopened(t); err != nil || got != states[len(states)-1] || f.log0 != nil || f.log1 != nil {
		t.Errorf("after Close: %q, %v", got, err)
	}
}

// A crash between any two steps of a checkpoint loses nothing, while writes go on
// beside it, over many rounds of both logs.
func TestCrashBetweenStepsOfACheckpoint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var mu sync.Mutex
	acked := map[string]string{} // what must be there, or something newer
	steps := map[string]int{}
	check := func(step string) {
		if step == "looked" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if steps[step]++; steps[step] > 12 {
			return
		}
		want := maps.Clone(acked)
		got, err := copyFiles(t, path).reopened(t)
		if err != nil {
			t.Errorf("%s: %v", step, err)
			return
		}
		there := map[string]string{}
		for pair := range strings.FieldsSeq(got) {
			k, v, _ := strings.Cut(pair, "=")
			there[k] = v
		}
		if there["a"] != there["b"] {
			t.Errorf("%s: torn: a=%s b=%s", step, there["a"], there["b"])
		}
		for k, v := range want {
			if there[k] < v {
				t.Errorf("%s: %s=%s, acknowledged %s", step, k, there[k], v)
			}
		}
	}
	db, err := openWith(path, Config{Fast: true}, limits{checkpointAt: 3000, maxLayer: 6000, step: check})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 3000; i++ {
		v := fmt.Sprintf("%06d", i)
		put(t, db, "a", v, "b", v, fmt.Sprintf("k%d", i%50), v)
		mu.Lock()
		acked["a"], acked[fmt.Sprintf("k%d", i%50)] = v, v
		done := steps["let go"] > 12
		mu.Unlock()
		if done {
			break
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"frozen", "written", "committed", "let go"} {
		if steps[step] < 5 {
			t.Errorf("%d times at %q", steps[step], step)
		}
	}
}

// Functions that fail after writing a lot fill a layer without a commit. Its
// checkpoint once said that the file goes up to commit 0, and the commits in the log
// after that did not fit to it.
func TestALayerWithoutCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	letGo := make(chan struct{}, 100)
	db, err := openWith(path, Config{Fast: true}, limits{checkpointAt: 3000, maxLayer: 1 << 20, step: func(step string) {
		if step == "let go" {
			letGo <- struct{}{}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "a", "1")
	for len(letGo) < 3 {
		err := db.Update(context.Background(), func(tx *Tx) error {
			_ = tx.Put("s", []byte("no"), make([]byte, 4000))
			return errRefused
		})
		if err != errRefused {
			t.Fatal(err)
		}
	}
	put(t, db, "b", "2")
	if got, err := copyFiles(t, path).reopened(t); err != nil || got != "a=1 b=2 " {
		t.Errorf("%q, %v", got, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestFormat2IsBroughtUpToDate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	b, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bolt.Tx) error {
		own, err := tx.CreateBucket([]byte(metaSpace))
		if err != nil {
			return err
		}
		s, err := tx.CreateBucket([]byte("s"))
		if err != nil {
			return err
		}
		var sum total
		for i := range 500 {
			k := fmt.Appendf(nil, "k%03d", i)
			if err := s.Put(k, sealed(k, k)); err != nil {
				return err
			}
			sum.add(total{1, hashOf(k, sealed(k, k))})
		}
		key := []byte(totalPrefix + "s")
		if err := own.Put(key, sealed(key, sum.encode())); err != nil {
			return err
		}
		return own.Put([]byte(formatKey), binary.BigEndian.AppendUint32(nil, 2))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time it is the newer format
		db, err := Open(path, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if text := dump(t, db); strings.Count(text, " ") != 500 || !strings.Contains(text, "k123=") {
			t.Error(text)
		}
		put(t, db, "k123", "new")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
