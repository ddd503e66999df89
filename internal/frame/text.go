package frame

import "unicode/utf8"

// TextCheck validates UTF-8 that arrives in pieces, cut anywhere. It fails at
// the first byte that no continuation could repair: after F4 90 it does not wait
// for the two bytes that would have followed (RFC 6455 §8.1; a peer that waits
// for more would otherwise hold a message it can never complete).
//
// The zero value is at the start of a text.
type TextCheck struct {
	need   uint8 // continuation bytes still due
	lo, hi uint8 // range of the next one
}

// Write checks the next piece. After false the text is invalid for good.
func (t *TextCheck) Write(p []byte) bool {
	for t.need > 0 && len(p) > 0 {
		if !t.next(p[0]) {
			return false
		}
		p = p[1:]
	}
	if len(p) == 0 {
		return true
	}
	whole := len(p) - openTail(p)
	if !utf8.Valid(p[:whole]) {
		return false
	}
	for _, c := range p[whole:] {
		if !t.next(c) {
			return false
		}
	}
	return true
}

// Done reports whether the text may end here.
func (t *TextCheck) Done() bool { return t.need == 0 }

// openTail is the length of the character at the end of p that is not complete:
// 0 … 3 bytes.
func openTail(p []byte) int {
	for n := 1; n <= 3 && n <= len(p); n++ {
		c := p[len(p)-n]
		switch {
		case c < 0x80:
			return 0
		case c < 0xC0: // continuation, look further back
			continue
		case c < 0xE0 && n < 2, c >= 0xE0 && c < 0xF0 && n < 3, c >= 0xF0 && n < 4:
			return n
		}
		return 0
	}
	return 0
}

// next takes one byte. The ranges are those of Unicode's table 3-7 (well-formed
// UTF-8): overlong forms, surrogates and code points beyond U+10FFFF fail on
// their second byte.
func (t *TextCheck) next(c byte) bool {
	if t.need > 0 {
		if c < t.lo || c > t.hi {
			return false
		}
		t.need--
		t.lo, t.hi = 0x80, 0xBF
		return true
	}
	t.lo, t.hi = 0x80, 0xBF
	switch {
	case c < 0x80:
	case c >= 0xC2 && c < 0xE0:
		t.need = 1
	case c >= 0xE0 && c < 0xF0:
		t.need = 2
		switch c {
		case 0xE0:
			t.lo = 0xA0
		case 0xED:
			t.hi = 0x9F
		}
	case c >= 0xF0 && c < 0xF5:
		t.need = 3
		switch c {
		case 0xF0:
			t.lo = 0x90
		case 0xF4:
			t.hi = 0x8F
		}
	default:
		return false
	}
	return true
}
