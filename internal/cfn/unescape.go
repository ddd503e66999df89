package cfn

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape decodes the inside of a JSON string (RFC 8259 §7).
func unescape(raw string) (string, bool) {
	if !utf8.ValidString(raw) {
		return "", false
	}
	if !strings.Contains(raw, `\`) {
		return raw, true
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b.WriteByte(raw[i])
			continue
		}
		i++
		if i >= len(raw) {
			return "", false
		}
		if raw[i] == 'u' {
			r, n, ok := hexRune(raw[i+1:])
			if !ok {
				return "", false
			}
			b.WriteRune(r)
			i += n
			continue
		}
		c := strings.IndexByte(`"\/bfnrt`, raw[i])
		if c < 0 {
			return "", false
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[c])
	}
	return b.String(), true
}

// hexRune reads "XXXX", or "XXXX\uXXXX" for a surrogate pair, and how many
// bytes that was. A lone surrogate becomes U+FFFD.
func hexRune(s string) (rune, int, bool) {
	if len(s) < 4 {
		return 0, 0, false
	}
	v, err := strconv.ParseUint(s[:4], 16, 32)
	if err != nil {
		return 0, 0, false
	}
	r := rune(v)
	if utf16.IsSurrogate(r) && len(s) >= 10 && s[4:6] == `\u` {
		if low, err := strconv.ParseUint(s[6:10], 16, 32); err == nil {
			if pair := utf16.DecodeRune(r, rune(low)); pair != utf8.RuneError {
				return pair, 10, true
			}
		}
	}
	return r, 4, true
}
