package registry

import (
	"encoding/binary"
	"sync"

	"github.com/livegate/livegate/internal/id"
)

// shards spreads the table's locks; a power of two.
const shards = 64

// minBuckets is the smallest table of a shard that has ever been used.
const minBuckets = 8

// shard is a hash table whose chains run through the entries: eight to sixteen
// bytes per connection, where a map of ids to pointers needs forty. Ids are random,
// so their bytes are the hash.
type shard struct {
	mu sync.RWMutex
	// guarded by mu
	buckets []*Entry // length is a power of two, or 0
	n       int
}

// shard picks by the last byte, the bucket by four others: all are random.
func (r *Registry) shard(c *id.Conn) *shard { return &r.shards[c[id.Size-1]%shards] }

func (s *shard) bucket(c *id.Conn) **Entry {
	return &s.buckets[int(binary.LittleEndian.Uint32(c[3:]))&(len(s.buckets)-1)]
}

func (s *shard) find(c *id.Conn) *Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.n == 0 {
		return nil
	}
	e := *s.bucket(c)
	for e != nil && e.id != *c {
		e = e.next
	}
	return e
}

func (s *shard) add(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n >= len(s.buckets) {
		s.resize(max(minBuckets, 2*len(s.buckets)))
	}
	b := s.bucket(&e.id)
	e.next, *b = *b, e
	s.n++
}

// remove reports whether the entry was in the table.
func (s *shard) remove(e *Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == 0 {
		return false
	}
	at := s.bucket(&e.id)
	for *at != e {
		if *at == nil {
			return false
		}
		at = &(*at).next
	}
	*at, e.next = e.next, nil
	s.n--
	if len(s.buckets) > minBuckets && s.n < len(s.buckets)/8 {
		s.resize(len(s.buckets) / 2)
	}
	return true
}

func (s *shard) resize(size int) {
	old := s.buckets
	s.buckets = make([]*Entry, size)
	for _, e := range old {
		for e != nil {
			next := e.next
			b := s.bucket(&e.id)
			e.next, *b = *b, e
			e = next
		}
	}
}

// collect appends the shard's entries of a stage.
func (s *shard) collect(dst []*Entry, apiID, stage string) []*Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, e := range s.buckets {
		for ; e != nil; e = e.next {
			if e.scope.APIID == apiID && e.scope.Stage == stage {
				dst = append(dst, e)
			}
		}
	}
	return dst
}
