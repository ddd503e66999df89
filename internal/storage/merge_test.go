package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

// held is a read transaction that stays open, and what it must see.
type held struct {
	tx   *Tx
	want contents
}

type contents map[string]map[string]string // space, key → value

func (c contents) clone() contents {
	d := contents{}
	for space, keys := range c {
		d[space] = maps.Clone(keys)
	}
	return d
}

var errRefused = errors.New("no")

// machine is a database in all its states (in the active layer, in a frozen one
// whose checkpoint does not get on, in the file) beside a map of maps.
type machine struct {
	path  string
	db    *DB
	model contents
	held  []held
	gate  chan struct{} // a checkpoint goes on when it is closed
}

func (m *machine) open(t *rapid.T) {
	m.gate = make(chan struct{})
	gate := m.gate
	var err error
	m.db, err = openWith(m.path, Config{Fast: true}, limits{checkpointAt: 1500, maxLayer: 1 << 30, step: func(step string) {
		if step == "frozen" {
			<-gate
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *machine) reopen(t *rapid.T) {
	m.letGo(t)
	m.release(t)
	if err := m.db.Close(); err != nil {
		t.Fatal(err)
	}
	m.open(t)
}

func (m *machine) release(*rapid.T) {
	select {
	case <-m.gate:
	default:
		close(m.gate)
	}
}

func (m *machine) update(t *rapid.T) {
	fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
	after := m.model.clone()
	err := m.db.Update(context.Background(), func(tx *Tx) error {
		dropped := ""
		for range rapid.IntRange(1, 12).Draw(t, "writes") {
			space, key := anySpace(t), anyKey(t)
			if space == dropped {
				continue
			}
			switch op := rapid.IntRange(0, 30).Draw(t, "op"); {
			case op == 0 && dropped == "":
				dropped = space
				if err := tx.Drop(space); err != nil {
					return err
				}
				delete(after, space)
			case op < 12:
				if err := tx.Delete(space, []byte(key)); err != nil {
					return err
				}
				delete(after[space], key)
			default:
				value := rapid.SampledFrom([]string{"", "x", "yy", "a longer value than others"}).Draw(t, "value")
				if err := tx.Put(space, []byte(key), []byte(value)); err != nil {
					return err
				}
				if after[space] == nil {
					after[space] = map[string]string{}
				}
				after[space][key] = value
			}
		}
		check(t, tx, after) // the function sees its own writes
		if fails {
			return errRefused
		}
		return nil
	})
	if fails != errors.Is(err, errRefused) {
		t.Fatal(err)
	}
	if !fails {
		m.model = after
	}
}

func anySpace(t *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "space") }

func anyKey(t *rapid.T) string { return fmt.Sprintf("%02d", rapid.IntRange(0, 40).Draw(t, "key")) }

// check reads a space, or a part of it, in both directions, and single keys.
func check(t *rapid.T, tx *Tx, want contents) {
	space := anySpace(t)
	var from, to []byte
	if rapid.Bool().Draw(t, "from") {
		from = []byte(anyKey(t))
	}
	if rapid.Bool().Draw(t, "to") {
		to = []byte(anyKey(t))
	}
	var keys []string
	for k := range want[space] {
		if k >= string(from) && (to == nil || k < string(to)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	read := func(walk func(string, []byte, []byte, func(k, v []byte) bool)) (got []string) {
		walk(space, from, to, func(k, v []byte) bool {
			if want[space][string(k)] != string(v) {
				t.Fatalf("%s/%s is %q, want %q", space, k, v, want[space][string(k)])
			}
			got = append(got, string(k))
			return true
		})
		return got
	}
	if got := read(tx.Ascend); !slices.Equal(got, keys) {
		t.Fatalf("%s from %q to %q: %q, want %q", space, from, to, got, keys)
	}
	slices.Reverse(keys)
	if got := read(tx.Descend); !slices.Equal(got, keys) {
		t.Fatalf("%s back from %q to %q: %q, want %q", space, to, from, got, keys)
	}
	k := anyKey(t)
	value, there := want[space][k]
	if got := tx.Get(space, []byte(k)); (got != nil) != there || !bytes.Equal(got, []byte(value)) {
		t.Fatalf("%s/%s is %q, want %q, %v", space, k, got, value, there)
	}
}

func (m *machine) view(t *rapid.T) {
	if err := m.db.View(func(tx *Tx) error { check(t, tx, m.model); return nil }); err != nil {
		t.Fatal(err)
	}
}

// crash opens what a crash would leave now.
func (m *machine) crash(t *rapid.T) {
	dir, err := os.MkdirTemp("", "storage-*")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	copyFiles(t, m.path).write(t, dir+"/x.db")
	db, err := Open(dir+"/x.db", Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *Tx) error {
		for _, space := range []string{"a", "b", "c"} {
			n := 0
			tx.Ascend(space, nil, nil, func(k, v []byte) bool {
				if want, there := m.model[space][string(k)]; !there || want != string(v) {
					t.Fatalf("after a crash %s/%s is %q, want %q", space, k, v, want)
				}
				n++
				return true
			})
			if n != len(m.model[space]) {
				t.Fatalf("after a crash %s has %d keys, want %d", space, n, len(m.model[space]))
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) hold(t *rapid.T) {
	if len(m.held) == 3 {
		t.Skip()
	}
	h := held{&Tx{db: m.db}, m.model.clone()}
	if err := m.db.snapshot(h.tx); err != nil {
		t.Fatal(err)
	}
	m.held = append(m.held, h)
}

func (m *machine) readHeld(t *rapid.T) {
	for _, h := range m.held {
		check(t, h.tx, h.want)
	}
}

func (m *machine) letGo(t *rapid.T) {
	m.readHeld(t)
	for _, h := range m.held {
		if err := h.tx.bolt.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	m.held = nil
}

// Whatever is in which place, and however long a reader stays, it sees what was
// there when it began.
func TestMergedReadsAgreeWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "storage-*")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		m := &machine{path: dir + "/x.db", model: contents{}}
		m.open(t)
		defer func() {
			for _, h := range m.held {
				_ = h.tx.bolt.Rollback()
			}
			m.release(t)
			if err := m.db.Close(); err != nil {
				t.Fatal(err)
			}
		}()
		t.Repeat(map[string]func(*rapid.T){
			"update": m.update, "update ": m.update, "update  ": m.update,
			"view": m.view, "hold": m.hold, "read held": m.readHeld, "let go": m.letGo,
			"release": m.release, "reopen": m.reopen, "crash": m.crash,
		})
	})
}

// Two keys that always agree are read while layers are frozen, stored and let go
// all the time.
func TestSnapshotsBesideCheckpoints(t *testing.T) {
	db, err := openWith(t.TempDir()+"/x.db", Config{Fast: true}, limits{checkpointAt: 600, maxLayer: 1200})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			last := 0
			for ctx.Err() == nil {
				_ = db.View(func(tx *Tx) error {
					a, b := string(tx.Get("s", []byte("a"))), ""
					tx.Descend("s", nil, nil, func(k, v []byte) bool {
						b = string(v)
						return false
					})
					if n, _ := strconv.Atoi(a); a != b || n < last {
						t.Errorf("a=%s b=%s after %d", a, b, last)
						cancel()
					} else {
						last = n
					}
					return nil
				})
			}
		})
	}
	for i := 1; i < 500 && ctx.Err() == nil; i++ {
		v := strconv.Itoa(i)
		put(t, db, "a", v, "b", v)
	}
	cancel()
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A reader looks at the layers, which say y=1, and is held up. Meanwhile y=2 and z=2
// are committed together and brought to the file. Going on with what it has looked
// at, it would show y=1 from the layer and z=2 from the file.
func TestAReaderThatWasHeldUp(t *testing.T) {
	var armed atomic.Bool
	looked, gate := make(chan struct{}), make(chan struct{})
	letGo := make(chan struct{}, 1000)
	db, err := openWith(t.TempDir()+"/x.db", Config{Fast: true}, limits{checkpointAt: 1, maxLayer: 1 << 20, step: func(step string) {
		switch {
		case step == "let go":
			letGo <- struct{}{}
		case step == "looked" && armed.CompareAndSwap(true, false):
			close(looked)
			<-gate
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, "y", "1")
	armed.Store(true)
	read := make(chan string)
	go func() {
		var y, z string
		if err := db.View(func(tx *Tx) error {
			y, z = string(tx.Get("s", []byte("y"))), string(tx.Get("s", []byte("z")))
			return nil
		}); err != nil {
			t.Error(err)
		}
		read <- y + z
	}()
	<-looked
	put(t, db, "y", "2", "z", "2")
	for i := 0; len(letGo) < 3; i++ {
		put(t, db, "other", strconv.Itoa(i))
	}
	close(gate)
	if got := <-read; got != "1" && got != "22" {
		t.Errorf("y and z are %q", got)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
