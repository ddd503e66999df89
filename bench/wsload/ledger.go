//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// A message is fixed text around two numbers at fixed places, so that a wrong
// reply can be told from whose it is.
const (
	head     = `{"action":"echo","from":`
	middle   = `,"n":`
	fromLen  = 5
	countLen = 10
)

// Faults counts everything that was not the one reply a message is due.
type Faults struct {
	Lost         int `json:"lost"`         // no reply within the deadline, or the connection broke
	Duplicated   int `json:"duplicated"`   // a reply to a message that had been answered
	Misdelivered int `json:"misdelivered"` // another connection's reply
	Wrong        int `json:"wrong"`        // an error frame, or a changed message
}

func (f *Faults) add(g Faults) {
	f.Lost += g.Lost
	f.Duplicated += g.Duplicated
	f.Misdelivered += g.Misdelivered
	f.Wrong += g.Wrong
}

func (f Faults) any() bool { return f != Faults{} }

// ledger is one connection's books. At most one message is unanswered.
type ledger struct {
	from   int
	text   []byte // the message under way, in place
	n      int
	due    bool
	faults Faults
	sample string // the first reply that was wrong
}

// newLedger makes messages of size bytes; what the numbers need is the least.
func newLedger(from, size int) *ledger {
	text := fmt.Sprintf(`%s%0*d%s%0*d,"pad":""}`, head, fromLen, 10000+from, middle, countLen, 1_000_000_000)
	if pad := size - len(text); pad > 0 {
		text = text[:len(text)-2] + strings.Repeat("x", pad) + text[len(text)-2:]
	}
	return &ledger{from: 10000 + from, n: 1_000_000_000, text: []byte(text)}
}

// next is the message to send now, valid until the next call.
func (l *ledger) next() []byte {
	l.n++
	at := len(head) + fromLen + len(middle)
	strconv.AppendInt(l.text[at:at], int64(l.n), 10)
	l.due = true
	return l.text
}

// got books a reply and says whether it settles the message under way.
func (l *ledger) got(reply []byte) bool {
	if l.due && bytes.Equal(reply, l.text) {
		l.due = false
		return true
	}
	from, n, ok := parse(reply)
	switch {
	case ok && from != l.from:
		l.faults.Misdelivered++
		return false
	case ok && (n < l.n || !l.due):
		l.faults.Duplicated++
		return false
	}
	l.faults.Wrong++
	if l.sample == "" {
		l.sample = string(reply)
	}
	settled := l.due // an error frame is the answer to it
	l.due = false
	return settled
}

// lost books the message under way as never answered.
func (l *ledger) lost() {
	if l.due {
		l.faults.Lost++
		l.due = false
	}
}

func parse(reply []byte) (from, n int, ok bool) {
	at := len(head) + fromLen + len(middle)
	if len(reply) < at+countLen || string(reply[:len(head)]) != head {
		return 0, 0, false
	}
	from, err1 := strconv.Atoi(string(reply[len(head) : len(head)+fromLen]))
	n, err2 := strconv.Atoi(string(reply[at : at+countLen]))
	return from, n, err1 == nil && err2 == nil
}
