package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// control reports characters that Clean looks at: C0, DEL, C1, and the
// bidirectional overrides with which a name can be made to read backwards.
func control(r rune) bool {
	return unicode.IsControl(r) || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// sequence measures the escape sequence at the start of s (which begins with ESC)
// and tells whether it is SGR: ESC [ … m. Forms as in ECMA-48 §5.3–5.6; a sequence
// that is cut off ends with the text.
func sequence(s string) (n int, sgr bool) {
	if len(s) < 2 {
		return len(s), false
	}
	switch s[1] {
	case '[': // CSI: parameters 0x30–0x3f, intermediates 0x20–0x2f, final 0x40–0x7e
		plain := true
		for i := 2; i < len(s); i++ {
			switch c := s[i]; {
			case c >= 0x40 && c <= 0x7e:
				return i + 1, c == 'm' && plain
			case c < 0x20 || c > 0x3f:
				return i, false
			case (c < '0' || c > '9') && c != ';' && c != ':':
				plain = false
			}
		}
		return len(s), false
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: up to BEL or ST
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1, false
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2, false
			}
			if s[i] == '\n' {
				return i, false
			}
		}
		return len(s), false
	}
	_, size := utf8.DecodeRuneInString(s[1:])
	return 1 + size, false
}

// columns is how many cells s takes, without its SGR sequences.
func columns(s string) int { return runewidth.StringWidth(strip(s)) }

func strip(s string) string {
	if strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] == 0x1b {
			n, _ := sequence(s[i:])
			i += n
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

// wrap breaks plain text into lines of at most width cells, at spaces where it
// can, inside a word where it must.
func wrap(s string, width int) []string {
	var lines []string
	for para := range strings.SplitSeq(s, "\n") {
		line, used := "", 0
		for _, word := range strings.Fields(para) {
			w := columns(word)
			if used > 0 && used+1+w <= width {
				line, used = line+" "+word, used+1+w
				continue
			}
			if used > 0 {
				lines = append(lines, line)
			}
			for w > width {
				head := runewidth.Truncate(word, width, "")
				if head == "" { // one character wider than the column
					_, n := utf8.DecodeRuneInString(word)
					head = word[:n]
				}
				lines = append(lines, head)
				word = word[len(head):]
				w = columns(word)
			}
			line, used = word, w
		}
		lines = append(lines, line)
	}
	return lines
}

// fit cuts plain text to width cells, with "…" where something is missing.
func fit(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	return runewidth.Truncate(s, max(width, 1), "…")
}

// fill pads s with spaces to width cells.
func fill(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}
