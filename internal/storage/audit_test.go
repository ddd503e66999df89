package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/livegate/livegate/internal/fault"
)

// Whatever a series of functions did, failed ones and drops included, the totals
// that the file keeps are those that Open counts; and the content is a model's.
func TestTotalsFollowEveryChange(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	rng := rand.New(rand.NewPCG(7, 8))
	model := map[string]map[string]string{}
	refused := errors.New("no")
	for range 15 {
		db, err := Open(path, Config{Fast: true})
		if err != nil {
			t.Fatal(err)
		}
		for range 40 {
			fails := rng.IntN(4) == 0
			change := map[string]map[string]string{}
			dropped := map[string]bool{}
			err := db.Update(context.Background(), func(tx *Tx) error {
				for range rng.IntN(30) {
					space, key := string('a'+rune(rng.IntN(3))), fmt.Sprint(rng.IntN(200))
					if dropped[space] {
						continue
					}
					if change[space] == nil {
						change[space] = map[string]string{}
					}
					switch rng.IntN(40) {
					case 0:
						dropped[space] = true
						if err := tx.Drop(space); err != nil {
							return err
						}
					case 1, 2, 3, 4, 5, 6, 7, 8, 9, 10:
						change[space][key] = ""
						if err := tx.Delete(space, []byte(key)); err != nil {
							return err
						}
					default:
						v := strings.Repeat("v", 1+rng.IntN(300))
						change[space][key] = v
						if err := tx.Put(space, []byte(key), []byte(v)); err != nil {
							return err
						}
					}
				}
				if fails {
					return refused
				}
				return nil
			})
			if fails {
				if err != refused {
					t.Fatal(err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for space, keys := range change {
				if model[space] == nil {
					model[space] = map[string]string{}
				}
				for k, v := range keys {
					if model[space][k] = v; v == "" {
						delete(model[space], k)
					}
				}
			}
			for space := range dropped {
				delete(model, space)
			}
		}
		err = db.View(func(tx *Tx) error {
			for _, space := range []string{"a", "b", "c"} {
				n := 0
				tx.Ascend(space, nil, nil, func(k, v []byte) bool {
					n++
					if model[space][string(k)] != string(v) {
						t.Fatalf("%s/%s differs", space, k)
					}
					return true
				})
				if n != len(model[space]) {
					t.Fatalf("space %s has %d keys, want %d", space, n, len(model[space]))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// pageOf finds a page of a kind, in use, in a file's bytes.
func pageOf(t *testing.T, file []byte, kind uint16, nth int) int {
	t.Helper()
	path := filepath.Join(t.TempDir(), "z.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := newAudit(path, f) // marks what is free
	if err != nil {
		t.Fatal(err)
	}
	defer a.unmap()
	for id := uint64(2); id < a.meta.high; id++ {
		at := int(id * a.meta.pageSize)
		if binary.LittleEndian.Uint64(file[at:]) == id && binary.LittleEndian.Uint16(file[at+8:]) == kind && binary.LittleEndian.Uint16(file[at+10:]) > 4 && a.mark(id) {
			if nth--; nth < 0 {
				return at
			}
		}
	}
	t.Fatalf("no page of kind %d", kind)
	return 0
}

// Checksums of values cannot see these: every entry that is still found is right.
func TestWhatIsMissingIsReported(t *testing.T) {
	whole := sample(t)
	for name, spoil := range map[string]func(b []byte){
		"a leaf ends early": func(b []byte) {
			at := pageOf(t, b, flagLeaf, 3)
			binary.LittleEndian.PutUint16(b[at+10:], binary.LittleEndian.Uint16(b[at+10:])-1)
		},
		"a branch ends early": func(b []byte) {
			at := pageOf(t, b, flagBranch, 0)
			binary.LittleEndian.PutUint16(b[at+10:], binary.LittleEndian.Uint16(b[at+10:])-1)
		},
		"a branch names a page twice": func(b []byte) {
			at := pageOf(t, b, flagBranch, 0) + pageHead
			copy(b[at+elemSize+8:at+elemSize+16], b[at+8:at+16])
		},
		"pages in a circle": func(b []byte) {
			at := pageOf(t, b, flagBranch, 0)
			copy(b[at+pageHead+8:at+pageHead+16], b[at:at+8])
		},
		"a key of a branch is lower": func(b []byte) {
			at := pageOf(t, b, flagBranch, 0) + pageHead + 2*elemSize
			key := at + int(binary.LittleEndian.Uint32(b[at:]))
			copy(b[key:], "kex")
		},
		"the newest head page": func(b []byte) {
			at := pageHead + 48
			if other := os.Getpagesize() + pageHead + 48; binary.LittleEndian.Uint64(b[other:]) > binary.LittleEndian.Uint64(b[at:]) {
				at = other
			}
			b[at] ^= 1
		},
	} {
		b := append([]byte{}, whole...)
		spoil(b)
		if _, err := use(t, b); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n, err := use(t, whole); n != 2000 || err != nil {
		t.Fatalf("the whole file: %d values, %v", n, err)
	}
}

// A free page that is also in use would be overwritten by the next commit.
func TestFreePageInUseIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	put(t, db, "a", "1")
	put(t, db, "a", "2")
	put(t, db, "a", "3")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
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
	at := a.meta.freelist * a.meta.pageSize
	if n := binary.LittleEndian.Uint16(b[at+10:]); n == 0 {
		t.Fatal("no free page to change")
	}
	binary.LittleEndian.PutUint64(b[at+pageHead:], a.meta.root)
	a.unmap()
	if _, err := use(t, b); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatal(err)
	}
}

// A large file opens before it has been read; what is found then ends its use.
func TestDamageFoundLaterEndsEveryUse(t *testing.T) {
	whole := sample(t)
	at := pageOf(t, whole, flagLeaf, 3)
	binary.LittleEndian.PutUint16(whole[at+10:], binary.LittleEndian.Uint16(whole[at+10:])-1)
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := Open(path, Config{Fast: true, Check: 1})
	if err != nil {
		if strings.Contains(err.Error(), "damaged") {
			t.Skip("the audit was faster")
		}
		t.Fatal(err)
	}
	defer db.Close()
	<-db.audit.done
	for deadline := time.Now().Add(10 * time.Second); db.damage.Load() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("never noticed")
		}
	}
	if err := db.View(func(*Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a read: %v", err)
	}
	if err := db.Update(context.Background(), func(*Tx) error { return nil }); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a write: %v", err)
	}
}

// The audit of a sound file goes on beside writes, and Close ends it.
func TestAuditInTheBackground(t *testing.T) {
	whole := sample(t)
	path := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		db, err := Open(path, Config{Fast: true, Check: 1})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			put(t, db, fmt.Sprintf("key-%03d-%03d", i, 0), strings.Repeat("x", 3000))
		}
		if e := db.damage.Load(); e != nil {
			t.Fatal(e)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFormat1IsBroughtUpToDate(t *testing.T) {
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
		if err := own.Put([]byte(formatKey), []byte{0, 0, 0, 1}); err != nil {
			return err
		}
		s, err := tx.CreateBucket([]byte("s"))
		if err != nil {
			return err
		}
		for i := range 500 {
			k := fmt.Appendf(nil, "k%03d", i)
			if err := s.Put(k, sealed(k, k)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Close()
	for range 2 { // the second time it is the newer format
		db, err := Open(path, Config{Fast: true, Check: 1})
		if err != nil {
			t.Fatal(err)
		}
		if text := dump(t, db); strings.Count(text, " ") != 500 || !strings.Contains(text, "k123=k123 ") {
			t.Error(text)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	bad, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := pageOf(t, bad, flagLeaf, 0)
	binary.LittleEndian.PutUint16(bad[at+10:], 3)
	if _, err := use(t, bad); err == nil {
		t.Error("no totals were made")
	}
}

func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := open(t, path)
	for i := range 40 {
		var pairs []string
		for j := range 50 {
			pairs = append(pairs, fmt.Sprintf("%03d-%d", j, i), strings.Repeat("x", 1000))
		}
		put(t, db, pairs...)
	}
	err := db.Update(context.Background(), func(tx *Tx) error {
		for i := range 39 {
			for j := range 50 {
				if err := tx.Delete("s", fmt.Appendf(nil, "%03d-%d", j, i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := dump(t, db)
	if _, _, err := Compact(path); !fault.Is(err, fault.Conflict) {
		t.Fatalf("while in use: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".compact", []byte("of one that was killed"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, after, err := Compact(path)
	if err != nil || after*4 > before {
		t.Fatalf("%d to %d bytes, %v", before, after, err)
	}
	if _, err := os.Stat(path + ".compact"); !errors.Is(err, os.ErrNotExist) {
		t.Error("the side file is still there")
	}
	if got := dump(t, open(t, path)); got != want {
		t.Error("the content changed")
	}
	if _, _, err := Compact(path + "x"); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
}
