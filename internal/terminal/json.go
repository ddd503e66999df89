package terminal

import (
	"encoding/json"
	"strings"
)

// JSON colours a JSON text without changing a character of it. Text that is not
// JSON, and any text on a plain output, comes back cleaned and otherwise as it was.
func (l Look) JSON(s string) string {
	clean := l.Clean(s)
	if !l.Color || !json.Valid([]byte(s)) || clean != s {
		return clean
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		n, paint := token(s[i:])
		if s[i] == '"' && isKey(s[i+n:]) {
			paint = Blue
		}
		b.WriteString(l.Paint(paint, s[i:i+n]))
		i += n
	}
	return b.String()
}

// token measures the token at the start of valid JSON.
func token(s string) (n int, paint Paint) {
	switch c := s[0]; {
	case c == '"':
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '"':
				return i + 1, Green
			}
		}
		return len(s), Green
	case c == '-' || c >= '0' && c <= '9':
		return span(s, "+-.eE0123456789"), Cyan
	case c >= 'a' && c <= 'z':
		return span(s, "abcdefghijklmnopqrstuvwxyz"), Magenta
	}
	return 1, Plain
}

func span(s, set string) int {
	n := 0
	for n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}

func isKey(rest string) bool {
	return strings.HasPrefix(strings.TrimLeft(rest, " \t\r\n"), ":")
}
