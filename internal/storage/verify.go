package storage

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

// audit is one reading of a whole file: every page that is in use, every entry.
// It is the only thing that can notice what checksums of values cannot: entries
// that are not there any more, or that are not found because a key above them
// changed. It reads the file with its own eyes, because the engine trusts its
// pages: pages in a circle, for one, make it recurse until the process dies.
type audit struct {
	path string
	file []byte // mapped
	meta engineMeta
	seen []uint32 // a bit for each page

	format  uint32 // 0: a new file
	totals  map[string]*total
	kept    map[string]total // totals as the file states them
	foreign bool

	done chan struct{}
	err  error // after done
	stop atomic.Bool
}

// newAudit maps the file and checks what must be right before the engine may
// look at it. nil for an empty file. The caller holds the file's lock.
func newAudit(path string, f *os.File) (a *audit, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	a = &audit{path: path, totals: map[string]*total{}, kept: map[string]total{}, done: make(chan struct{})}
	if a.file, err = syscall.Mmap(int(f.Fd()), 0, int(info.Size()), syscall.PROT_READ, syscall.MAP_SHARED); err != nil {
		return nil, unusable(path, err)
	}
	if err = a.heads(); err != nil {
		a.unmap()
		return nil, err
	}
	return a, nil
}

func (a *audit) heads() (err error) {
	defer guard(func(p any) { err = damagedFile(a.path, p) })()
	if a.meta, err = a.newestMeta(); err != nil {
		return err
	}
	a.seen = make([]uint32, a.meta.high/32+1)
	return a.freelist()
}

func (a *audit) unmap() {
	_ = syscall.Munmap(a.file) // only fails for addresses that were never mapped
	a.file = nil
}

// cancel ends a running audit and waits for it.
func (a *audit) cancel() {
	a.stop.Store(true)
	<-a.done
}

// run reads everything; it closes done.
func (a *audit) run() {
	defer close(a.done)
	defer a.unmap()
	defer guard(func(p any) { a.err = damagedFile(a.path, p) })()
	a.err = a.spaces()
}

func (a *audit) bad(format string, args ...any) error {
	return damagedFile(a.path, fmt.Sprintf(format, args...))
}

// spaces walks the tree of spaces, then every space.
func (a *audit) spaces() error {
	var list []walk
	root := walk{a: a, root: a.meta.root, buckets: true}
	root.entry = func(key, value []byte) error {
		w := walk{a: a, name: string(key), root: binary.LittleEndian.Uint64(value)}
		if w.root == 0 {
			if len(value) < bucketHead+pageHead {
				return a.bad("space %q is cut short", key)
			}
			w.inline = value[bucketHead:]
		}
		list = append(list, w)
		return nil
	}
	if err := root.tree(); err != nil {
		return err
	}
	for i := range list {
		if list[i].name == metaSpace {
			list[i].entry = a.own
			if err := list[i].tree(); err != nil {
				return err
			}
		}
	}
	if a.foreign = a.format == 0 && len(list) > 0; a.foreign || a.format > Format {
		return nil // for admit to tell
	}
	for i := range list {
		switch list[i].name {
		case metaSpace:
			continue
		case logSpace:
			list[i].entry = a.logs
			if err := list[i].tree(); err != nil {
				return err
			}
			continue
		}
		if err := list[i].space(); err != nil {
			return err
		}
	}
	return a.compare()
}

// compare holds what the spaces contain against what the file says they do.
func (a *audit) compare() error {
	if a.format < 2 { // from before there were totals
		if len(a.kept) > 0 {
			return a.bad("its format number is wrong")
		}
		return nil
	}
	for name, t := range a.totals {
		if kept, ok := a.kept[name]; !ok || kept != *t {
			return a.bad("space %q has %d entries and should have %d, or others", name, t.entries, kept.entries)
		}
	}
	for name := range a.kept {
		if a.totals[name] == nil {
			return a.bad("space %q is missing", name)
		}
	}
	return nil
}

// own reads an entry of the space that is ours: the format, totals.
func (a *audit) own(key, value []byte) error {
	if string(key) == formatKey {
		if len(value) != 4 {
			return a.bad("its format number is unreadable")
		}
		if a.format = binary.BigEndian.Uint32(value); a.format == 0 || a.format > maxFormat {
			return a.bad("its format number is unreadable")
		}
		return nil
	}
	plain, ok := unsealed(key, value)
	if !ok || len(plain) != 16 || len(key) <= len(totalPrefix) || string(key[:len(totalPrefix)]) != totalPrefix {
		return a.bad("checksum of key %q does not match", key)
	}
	a.kept[string(key[len(totalPrefix):])] = decodeTotal(plain)
	return nil
}

// logs reads an entry of the space that is about the log.
func (a *audit) logs(key, value []byte) error {
	if _, _, ok := parsePosition(value); !ok || string(key) != positionKey {
		return a.bad("where its log begins is unreadable")
	}
	return nil
}
