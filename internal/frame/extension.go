package frame

import (
	"errors"
	"strings"
)

// ErrExtensions is a Sec-WebSocket-Extensions header that is not of the form
// RFC 6455 §9.1 gives it. That section wants the handshake failed: there is no
// telling what such a client offers.
var ErrExtensions = errors.New("the Sec-WebSocket-Extensions header is malformed; " +
	"expected a list like: permessage-deflate; client_max_window_bits=10")

// scanner walks the lines of a Sec-WebSocket-Extensions header:
//
//	1#( token *( ";" token [ "=" ( token / quoted-string ) ] ) )
//
// Lines count as joined by commas, and empty list elements are skipped
// (RFC 7230 §3.2.2, §7). It allocates only to unescape a quoted value.
type scanner struct {
	s string
	i int
}

// param is one parameter of an offer. has tells "a" from "a=", which has no
// value that could stand there and is malformed anyway.
type param struct {
	name, value string
	has         bool
}

// offer skips to the next list element and reads its name. ok is false at the
// end of the line.
func (s *scanner) offer() (name string, ok bool, err error) {
	for s.blank(); s.i < len(s.s) && s.s[s.i] == ','; s.blank() {
		s.i++
	}
	if s.i == len(s.s) {
		return "", false, nil
	}
	if name = s.token(); name == "" {
		return "", false, ErrExtensions
	}
	return name, true, nil
}

// param reads the next parameter of the offer. ok is false after the last one.
func (s *scanner) param() (p param, ok bool, err error) {
	s.blank()
	if s.i == len(s.s) || s.s[s.i] == ',' {
		return p, false, nil
	}
	if s.s[s.i] != ';' {
		return p, false, ErrExtensions
	}
	s.i++
	s.blank()
	if p.name = s.token(); p.name == "" {
		return p, false, ErrExtensions
	}
	s.blank()
	if s.i == len(s.s) || s.s[s.i] != '=' {
		return p, true, nil
	}
	s.i++
	s.blank()
	p.has = true
	if s.i < len(s.s) && s.s[s.i] == '"' {
		p.value, ok = s.quoted()
	} else {
		p.value = s.token()
		ok = p.value != ""
	}
	if !ok {
		return p, false, ErrExtensions
	}
	return p, true, nil
}

func (s *scanner) blank() {
	for s.i < len(s.s) && (s.s[s.i] == ' ' || s.s[s.i] == '\t') {
		s.i++
	}
}

func (s *scanner) token() string {
	from := s.i
	for s.i < len(s.s) && tokenByte(s.s[s.i]) {
		s.i++
	}
	return s.s[from:s.i]
}

// quoted reads a quoted-string. What it says, escapes undone, must be a token
// (RFC 6455 §9.1).
func (s *scanner) quoted() (value string, ok bool) {
	s.i++
	from := s.i
	for s.i < len(s.s) && tokenByte(s.s[s.i]) {
		s.i++
	}
	if s.i < len(s.s) && s.s[s.i] == '"' { // nothing escaped
		value = s.s[from:s.i]
		s.i++
		return value, value != ""
	}
	var b strings.Builder
	b.WriteString(s.s[from:s.i])
	for ; s.i < len(s.s); s.i++ {
		c := s.s[s.i]
		switch {
		case c == '"':
			s.i++
			return b.String(), b.Len() > 0
		case c == '\\' && s.i+1 < len(s.s):
			s.i++
			c = s.s[s.i]
		}
		if !tokenByte(c) {
			return "", false
		}
		b.WriteByte(c)
	}
	return "", false
}

// tokenByte is tchar of RFC 7230 §3.2.6.
func tokenByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
