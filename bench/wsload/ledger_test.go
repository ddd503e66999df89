//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestMessages(t *testing.T) {
	l := newLedger(7, 128)
	first := bytes.Clone(l.next())
	second := bytes.Clone(l.next())
	for _, m := range [][]byte{first, second} {
		if len(m) != 128 || !json.Valid(m) {
			t.Errorf("%d bytes, want 128 of JSON: %s", len(m), m)
		}
	}
	if bytes.Equal(first, second) {
		t.Error("two messages are the same: a duplicate could not be told")
	}
}

func TestLedger(t *testing.T) {
	mine, other := newLedger(1, 128), newLedger(2, 128)
	earlier := bytes.Clone(mine.next())
	mine.got(earlier)
	theirs := bytes.Clone(other.next())
	current := bytes.Clone(mine.next())
	changed := bytes.Clone(current)
	changed[len(changed)-3] = 'y'
	tests := []struct {
		name    string
		reply   []byte
		settles bool
		want    Faults
	}{
		{"the reply", current, true, Faults{}},
		{"a reply that was there before", earlier, false, Faults{Duplicated: 1}},
		{"another connection's", theirs, false, Faults{Misdelivered: 1}},
		{"an error frame", []byte(`{"message": "Internal server error"}`), true, Faults{Wrong: 1}},
		{"a changed message", changed, true, Faults{Wrong: 1}},
		{"nothing", nil, true, Faults{Wrong: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := *mine
			l.text = bytes.Clone(mine.text)
			if got := l.got(tt.reply); got != tt.settles || l.faults != tt.want {
				t.Errorf("settles %v, %+v; want %v, %+v", got, l.faults, tt.settles, tt.want)
			}
			if l.due == tt.settles {
				t.Errorf("due is %v after a reply that settles: %v", l.due, tt.settles)
			}
		})
	}
	t.Run("the same reply twice", func(t *testing.T) {
		l := *mine
		l.got(current)
		l.got(current)
		if l.faults != (Faults{Duplicated: 1}) {
			t.Errorf("%+v", l.faults)
		}
	})
	t.Run("no reply", func(t *testing.T) {
		l := *mine
		l.lost()
		l.lost()
		if l.faults != (Faults{Lost: 1}) {
			t.Errorf("%+v", l.faults)
		}
	})
}

func TestPercentiles(t *testing.T) {
	var hundred []uint32
	for i := range uint32(100) {
		hundred = append(hundred, 100-i)
	}
	if p50, p99 := percentiles(hundred); p50 != 50 || p99 != 99 {
		t.Errorf("p50 %v, p99 %v; want 50 and 99", p50, p99)
	}
}

func TestStatLine(t *testing.T) {
	// The name may hold spaces and parentheses.
	line := "42 (a (b) c) S 7 1 1 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 1 0 100 0 0"
	p, ok := parseStat([]byte(line))
	if want := (process{pid: 42, parent: 7, own: 33, reaped: 77}); !ok || p != want {
		t.Errorf("%+v, %v; want %+v", p, ok, want)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 7 1"} {
		if _, ok := parseStat([]byte(bad)); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestTree(t *testing.T) {
	all := []process{
		{pid: 1, own: 1000}, {pid: 10, parent: 1, own: 5, reaped: 2}, {pid: 11, parent: 10, own: 7, reaped: 1},
		{pid: 12, parent: 11, own: 3}, {pid: 20, parent: 1, own: 500},
	}
	if got, want := sumTree(all, 10), (treeCPU{root: 5, rest: 13}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
