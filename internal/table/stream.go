package table

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/attr"
)

// A stream is the log of one table's changes while it was switched on. Its
// records are cut into shards by time, one of which is open; each is the parent
// of the next. A reader that takes the shards in order sees every change once,
// in the order of the writes.

const (
	// streamLife is how long a record can be read, and a stream after it was
	// switched off (Developer Guide, "Change data capture for DynamoDB Streams").
	streamLife = 24 * time.Hour
	// shardLife is how long a shard stays open: about four hours, on AWS too.
	shardLife = 4 * time.Hour
	// sequenceShift leaves room for a million records in a millisecond.
	sequenceShift = 20
)

// streamDefinition is what is persisted of a stream. Fields are only ever added.
type streamDefinition struct {
	Table, TableID string
	Label          string // the moment it was switched on, unique for its table
	View           string
	KeySchema      []KeySchemaElement
	Created        int64   // Unix milliseconds
	Closed         int64   // Unix milliseconds; 0 is open
	Shards         []shard // oldest first
}

// shard is a range of sequence numbers.
type shard struct {
	ID     string
	Parent string `json:",omitempty"`
	First  uint64
	Last   uint64 `json:",omitempty"` // 0: open
	Opened int64  // Unix milliseconds
}

// stream is one stream: immutable, but for the log.
type stream struct {
	def streamDefinition
	log *streamLog
}

// streamLog is what the versions of one stream share.
type streamLog struct {
	last uint64 // the latest number given out; writer only, after the load

	mu      sync.Mutex
	changed chan struct{} // closed when something was committed; nil: nobody waits
}

// id names the stream in the store and the catalog.
func (s *stream) id() string { return s.def.Table + "/" + s.def.Label }

func (s *stream) space() string { return "s:" + s.def.TableID + ":" + s.def.Label }

func (s *stream) open() bool { return s.def.Closed == 0 }

// committed is the stream's definition in a transaction's snapshot. The catalog is
// ahead of it while the writer commits: a shard may be closed there whose last
// records are not readable yet, and who took its end from the catalog would miss
// them.
func (s *stream) committed(tx Tx) (def streamDefinition, err error) {
	v := tx.Get(streamsSpace, []byte(s.id()))
	if v == nil {
		return s.def, nil // new or forgotten: it has no records either way
	}
	err = json.Unmarshal(v, &def)
	return def, err
}

// wait returns a channel that is closed at the next commit of a record.
func (l *streamLog) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

func (l *streamLog) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// wake tells those who follow a table's stream that a write was committed.
func (e *Engine) wake(t *state) {
	if s := e.streamOf(&t.def); s != nil {
		s.log.wake()
	}
}

// streamOf is the table's present or last stream; nil if it has none.
func (e *Engine) streamOf(def *definition) *stream {
	if def.StreamLabel == "" {
		return nil
	}
	return e.snapshot().streams[def.Name+"/"+def.StreamLabel]
}

func (e *Engine) streamARN(s *stream) string {
	return e.tableARN(s.def.Table) + "/stream/" + s.def.Label
}

// Sequence numbers: the millisecond, then a counter. They go to clients as 21
// digits, so that they compare as text and as numbers.

func sequenceAt(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 1)) << sequenceShift }

func sequenceTime(seq uint64) time.Time { return time.UnixMilli(int64(seq >> sequenceShift)) }

func sequenceKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

func sequenceText(seq uint64) string { return fmt.Sprintf("1%020d", seq) }

// append adds the record of a write that is being done. old is the item's wire
// form before it, nil if there was none.
func (s *stream) append(tx Tx, now time.Time, w *write, old []byte) error {
	s.log.last = max(s.log.last+1, sequenceAt(now))
	r := StreamRecord{Event: eventModify, Expired: w.expired, Keys: attr.AppendItem(nil, w.key), Size: w.key.Size()}
	switch {
	case w.old == nil:
		r.Event = eventInsert
	case w.new == nil:
		r.Event = eventRemove
	}
	if w.new != nil && (s.def.View == "NEW_IMAGE" || s.def.View == "NEW_AND_OLD_IMAGES") {
		_, r.New = splitRecord(w.record)
		r.Size += w.newSize
	}
	if w.old != nil && (s.def.View == "OLD_IMAGE" || s.def.View == "NEW_AND_OLD_IMAGES") {
		r.Old = old
		r.Size += w.oldSize
	}
	return tx.Put(s.space(), sequenceKey(s.log.last), r.encode())
}

// Names of events.
const (
	eventInsert = "INSERT"
	eventModify = "MODIFY"
	eventRemove = "REMOVE"
)

// StreamRecord is one change of one item. Keys, New and Old are items in wire
// form; New and Old are nil where there is none, or where the stream's view
// leaves it out.
type StreamRecord struct {
	ID       string // unique
	Event    string // INSERT, MODIFY, REMOVE
	Sequence string
	At       time.Time // to the millisecond
	View     string
	Size     int // bytes, as DynamoDB counts items
	Keys     []byte
	New, Old []byte
	// Expired marks a deletion by time to live, whose userIdentity is the service.
	Expired bool
}

// The stored form: flags, size, then keys and the images that are there, each
// behind its length.
const (
	flagInsert  = 1 << 0
	flagRemove  = 1 << 1
	flagExpired = 1 << 2
	flagNew     = 1 << 3
	flagOld     = 1 << 4
)

func (r *StreamRecord) encode() []byte {
	flags := byte(0)
	switch r.Event {
	case eventInsert:
		flags = flagInsert
	case eventRemove:
		flags = flagRemove
	}
	if r.Expired {
		flags |= flagExpired
	}
	if r.New != nil {
		flags |= flagNew
	}
	if r.Old != nil {
		flags |= flagOld
	}
	b := make([]byte, 0, len(r.Keys)+len(r.New)+len(r.Old)+16)
	b = binary.AppendUvarint(append(b, flags), uint64(r.Size))
	for _, part := range [][]byte{r.Keys, r.New, r.Old} {
		if part != nil {
			b = append(binary.AppendUvarint(b, uint64(len(part))), part...)
		}
	}
	return b
}

// decode reads a stored record, whose slices it copies.
func (s *stream) decode(seq uint64, b []byte) (*StreamRecord, error) {
	bad := fmt.Errorf("stream record %d of table %s is damaged", seq, s.def.Table)
	if len(b) < 2 {
		return nil, bad
	}
	r := &StreamRecord{Event: eventModify, Sequence: sequenceText(seq), At: sequenceTime(seq), View: s.def.View, Expired: b[0]&flagExpired != 0}
	switch {
	case b[0]&flagInsert != 0:
		r.Event = eventInsert
	case b[0]&flagRemove != 0:
		r.Event = eventRemove
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return nil, bad
	}
	r.Size = int(size)
	rest := b[1+n:]
	part := func() []byte {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			rest = nil
			return nil
		}
		p := append([]byte{}, rest[n:n+int(length)]...)
		rest = rest[n+int(length):]
		return p
	}
	r.Keys = part()
	if b[0]&flagNew != 0 {
		r.New = part()
	}
	if b[0]&flagOld != 0 {
		r.Old = part()
	}
	if r.Keys == nil || len(rest) > 0 {
		return nil, bad
	}
	sum := sha256.Sum256([]byte(s.id() + "/" + r.Sequence))
	r.ID = hex.EncodeToString(sum[:16])
	return r, nil
}

// loadStreams reads the streams that the store holds. Those that are known keep
// their logs, and with them whoever waits there.
func (e *Engine) loadStreams(tx Tx) (map[string]*stream, error) {
	streams := map[string]*stream{}
	known := e.snapshot().streams
	var bad error
	tx.Ascend(streamsSpace, nil, nil, func(k, v []byte) bool {
		s := &stream{log: &streamLog{}}
		if bad = json.Unmarshal(v, &s.def); bad != nil {
			bad = fmt.Errorf("definition of stream %q: %w", k, bad)
			return false
		}
		if same := known[s.id()]; same != nil {
			s.log = same.log
		}
		streams[s.id()] = s
		return true
	})
	for _, s := range streams {
		last := s.trimmed(tx)
		tx.Descend(s.space(), nil, nil, func(k, _ []byte) bool {
			last = max(last, binary.BigEndian.Uint64(k))
			return false
		})
		for _, sh := range s.def.Shards {
			last = max(last, sh.First-1, sh.Last)
		}
		s.log.last = max(s.log.last, last)
	}
	return streams, bad
}

// trimmed is the last sequence number whose record was deleted; 0 if none was.
func (s *stream) trimmed(tx Tx) uint64 {
	if v := tx.Get(trimmedSpace, []byte(s.id())); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

// parseSequence reads a sequence number as sequenceText writes it.
func parseSequence(text string) (uint64, bool) {
	digits, ok := strings.CutPrefix(text, "1")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	var seq uint64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' || seq > (1<<64-1-uint64(c-'0'))/10 {
			return 0, false
		}
		seq = seq*10 + uint64(c-'0')
	}
	return seq, true
}
