package storage

import (
	"encoding/binary"
)

// total is what a space holds: how many entries, and the sum of a hash of each.
// An entry that is lost, doubled, or taken from an older page changes it.
type total struct{ entries, sum uint64 }

func (t *total) add(o total) { t.entries += o.entries; t.sum += o.sum }

// entryHash stretches an entry's checksum and lengths to 64 bits (the finaliser
// of MurmurHash3), so that errors do not cancel out in a sum.
func entryHash(crc uint32, keyLen, valueLen int) uint64 {
	h := uint64(crc)<<32 ^ uint64(keyLen)<<40 ^ uint64(valueLen)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func (t total) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, t.entries)
	return binary.BigEndian.AppendUint64(b, t.sum)
}

func decodeTotal(b []byte) total {
	return total{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// unsealed strips and verifies an entry's checksum.
func unsealed(key, stored []byte) (value []byte, ok bool) {
	n := len(stored) - sumSize
	if n < 0 || binary.LittleEndian.Uint32(stored[n:]) != checksum(key, stored[:n]) {
		return nil, false
	}
	return stored[:n:n], true
}
