package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/livegate/livegate/internal/fault"
)

// The log is two files beside the engine's, used in turn: while a checkpoint brings
// what one of them holds to the engine's file, writes go to the other. A file is
// used again from its beginning, over what it held before, because a sync that
// has no new length to store takes half the time.
//
// A record is one commit (little-endian):
//
//	checksum u32 (CRC-32C of what follows, begun with the database's id), length u32, commit u64, changes
//	change   kind u8, space, and the key and the value where the kind has them; each behind its length (uvarint)
//
// Commits are numbered without gaps. What comes after the last record is zeros, or
// older records, whose numbers are lower.
const (
	recordHead = 16
	maxPayload = math.MaxUint32

	changePut    = 1
	changeDelete = 2
	changeDrop   = 3

	// logStep is how much a log grows at a time.
	logStep = 256 << 10
)

func logPaths(path string) [2]string { return [2]string{path + ".log0", path + ".log1"} }

// logFile is one of the two. Owned by the writer.
type logFile struct {
	path string
	file atomic.Pointer[os.File] // nil: not used yet; read by the syncer of Fast too
	end  int64                   // where the next record goes
	size int64                   // up to where there is room
}

// append writes a record, and waits for the disk unless fast. A record that could
// not be written is taken back.
func (l *logFile) append(record []byte, fast bool) error {
	file, err := l.open()
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(record, l.end); err != nil {
		if e := file.Truncate(l.end); e != nil {
			return &lostError{errors.Join(err, e)}
		}
		l.size = l.end
		return err
	}
	end := l.end + int64(len(record))
	if end > l.size {
		l.size = end
		if room := logStep - end%logStep; !fast {
			if n, err := file.WriteAt(make([]byte, room), end); err == nil { // else the next record finds its own
				l.size += int64(n)
			}
		}
	}
	if !fast {
		if err := syncData(file); err != nil {
			return &lostError{err}
		}
	}
	l.end = end
	return nil
}

// lostError is a failure after which nobody knows what the disk holds.
type lostError struct{ error }

func (e *lostError) Unwrap() error { return e.error }

func (l *logFile) open() (*os.File, error) {
	if f := l.file.Load(); f != nil {
		return f, nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syncDir(filepath.Dir(l.path)); err != nil { // else a power failure could forget the name
		f.Close()
		return nil, err
	}
	l.file.Store(f)
	l.end, l.size = 0, 0
	return f, nil
}

// shrink gives back the space of a log without records. It is no loss when that
// fails.
func (l *logFile) shrink() {
	if f := l.file.Load(); f != nil && l.end == 0 && f.Truncate(0) == nil {
		l.size = 0
	}
}

func (l *logFile) close() {
	if f := l.file.Swap(nil); f != nil {
		f.Close()
	}
	l.end, l.size = 0, 0
}

// encode appends the record of a commit.
func encode(b []byte, seed uint32, commit uint64, changes []change) ([]byte, error) {
	b = append(b, make([]byte, recordHead)...)
	for i := range changes {
		c := &changes[i]
		switch {
		case c.node == nil:
			b = appendPart(append(b, changeDrop), c.space)
		case c.version.stored == nil:
			b = appendPart(appendPart(append(b, changeDelete), c.space), c.node.key)
		default:
			b = appendPart(appendPart(append(b, changePut), c.space), c.node.key)
			b = appendPart(b, plain(c.version.stored))
		}
	}
	if len(b)-recordHead > maxPayload {
		return nil, fault.New(fault.TooLarge, "storage: a transaction of %d bytes; %d are possible", len(b), maxPayload)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-recordHead))
	binary.LittleEndian.PutUint64(b[8:], commit)
	binary.LittleEndian.PutUint32(b, crc32.Update(seed, crc32.MakeTable(crc32.Castagnoli), b[4:]))
	return b, nil
}

func appendPart[T string | []byte](b []byte, part T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// record is one commit as it was read.
type record struct {
	commit  uint64
	changes []byte
}

func (r *record) size() int { return recordHead + len(r.changes) }

// recordAt reads the record that begins b, if one does.
func recordAt(b []byte, seed uint32) (r record, ok bool) {
	if len(b) < recordHead {
		return r, false
	}
	n := uint64(binary.LittleEndian.Uint32(b[4:]))
	r.commit = binary.LittleEndian.Uint64(b[8:])
	if r.commit == 0 || n > uint64(len(b)-recordHead) {
		return r, false
	}
	b = b[:recordHead+n]
	r.changes = b[recordHead:]
	return r, crc32.Update(seed, crc32.MakeTable(crc32.Castagnoli), b[4:]) == binary.LittleEndian.Uint32(b)
}

// records are those that follow one another from the beginning of a log. What a
// crash cut short is the end of the log. A record behind it that is newer, and
// whole, is none that a crash can leave: something before it was acknowledged and
// is damaged.
func records(b []byte, seed uint32, after uint64) (list []record, sound bool) {
	at := 0
	for {
		r, ok := recordAt(b[at:], seed)
		if !ok || len(list) > 0 && r.commit != list[len(list)-1].commit+1 {
			break
		}
		list = append(list, r)
		at += r.size()
	}
	if len(list) > 0 {
		after = max(after, list[len(list)-1].commit)
	}
	most := uint64(len(b)) / recordHead // records that can be missing between
	for ; at+recordHead <= len(b); at++ {
		if commit := binary.LittleEndian.Uint64(b[at+8:]); commit <= after || commit-after > most+1 {
			continue
		}
		if _, ok := recordAt(b[at:], seed); ok {
			return nil, false
		}
	}
	return list, true
}

// replay does a record's changes again.
func (l *layer) replay(r record) error {
	b := r.changes
	part := func() []byte {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			b = nil
			return nil
		}
		p := b[used : used+int(n)]
		b = b[used+int(n):]
		return p
	}
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		space := string(part())
		switch kind {
		case changeDrop:
			l.drop(space, r.commit)
			continue
		case changePut, changeDelete:
		default:
			return io.ErrUnexpectedEOF
		}
		key, value := part(), []byte(nil)
		if kind == changePut {
			value = part()
		}
		if len(key) == 0 || space == "" {
			return io.ErrUnexpectedEOF
		}
		l.put(l.space(space).newest.Load(), key, value, kind == changeDelete, r.commit)
	}
	l.last = r.commit
	l.commits++
	return nil
}
