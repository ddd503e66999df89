package vtl

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// translator writes a java.util.regex pattern in RE2's syntax (Go's regexp). RE2
// never backtracks, so no pattern can take more than linear time; what only a
// backtracking engine can do is refused by name.
//
// One known difference stays: Java's $ also matches before a final line end.
type translator struct {
	in     string
	pos    int
	class  int // depth of [ ... ]
	dotAll bool
	out    strings.Builder

	// The size of the program to come: outer groups, what precedes the last atom
	// in this one, and that atom, which a {1,500} multiplies.
	outer []int
	sum   int
	last  int
}

// atom counts one more piece of the given size.
func (t *translator) atom(size int) {
	t.sum = min(t.sum+t.last, maxProgram+1)
	t.last = size
}

func (t *translator) size() int {
	n := t.sum + t.last
	for _, o := range t.outer {
		n += o
	}
	return n
}

// repeat applies the {n,m} at the cursor.
func (t *translator) repeat() {
	body, _, _ := strings.Cut(t.in[t.pos+1:], "}")
	most := 1
	for n := range strings.SplitSeq(body, ",") {
		if v, err := strconv.Atoi(n); err == nil {
			most = max(most, min(v, maxProgram))
		}
	}
	t.last = min(t.last*most, maxProgram+1)
}

func (t *translator) refuse(what string) error {
	return fault.New(fault.Unsupported, "the regular expression %.100q uses %s, which Livegate's linear-time engine does not have", t.in, what)
}

func (t *translator) has(s string) bool { return strings.HasPrefix(t.in[t.pos:], s) }

func (t *translator) run() error {
	for t.pos < len(t.in) {
		if err := t.next(); err != nil {
			return err
		}
	}
	return nil
}

// javaDot is what a dot matches in Java: anything but five line ends.
const javaDot = `[^\n\r\x{85}\x{2028}\x{2029}]`

func (t *translator) next() error {
	c := t.in[t.pos]
	switch {
	case t.class > 0:
		t.last++
	case c == '{':
		if isRepeat(t.in[t.pos:]) {
			t.repeat()
		}
	case c == ')':
		t.last += t.sum
		t.sum = 0
		if n := len(t.outer); n > 0 {
			t.sum, t.outer = t.outer[n-1], t.outer[:n-1]
		}
	case c == '(':
		t.atom(1)
		t.outer = append(t.outer, t.sum)
		t.sum = 0
	case strings.IndexByte("*+?}", c) < 0:
		t.atom(1)
	}
	return t.write(c)
}

func (t *translator) write(c byte) error {
	switch {
	case c == '\\':
		return t.escape()
	case c == '[':
		if t.class > 0 {
			return t.refuse("a character class inside another")
		}
		t.class++
		t.pos++
		t.out.WriteByte('[')
		if t.has("^") {
			t.pos++
			t.out.WriteByte('^')
		}
		if t.has("]") {
			return exception("PatternSyntaxException", "%.100q: unclosed character class", t.in)
		}
		return nil
	case c == ']' && t.class > 0:
		t.class--
	case t.class > 0:
		if t.has("&&") {
			return t.refuse("an intersection of character classes (&&)")
		}
	case c == '(':
		return t.open()
	case c == '.' && !t.dotAll:
		t.pos++
		t.out.WriteString(javaDot)
		return nil
	case strings.IndexByte("*+?}", c) >= 0:
		if c == '}' && !t.closesRepeat() {
			break
		}
		if t.pos+1 < len(t.in) && t.in[t.pos+1] == '+' {
			return t.refuse("a possessive quantifier (" + t.in[t.pos:t.pos+2] + ")")
		}
	case c == '{' && !isRepeat(t.in[t.pos:]):
		return exception("PatternSyntaxException", "%.100q: a { that is no repetition must be written \\{", t.in)
	}
	t.out.WriteByte(c)
	t.pos++
	return nil
}

// closesRepeat tells whether the } at the cursor ends a {1,2}.
func (t *translator) closesRepeat() bool {
	i := strings.LastIndexByte(t.in[:t.pos], '{')
	return i >= 0 && isRepeat(t.in[i:t.pos+1])
}

func isRepeat(s string) bool {
	body, _, ok := strings.Cut(s[1:], "}")
	if !ok || body == "" || !isDigit(body[0]) {
		return false
	}
	return strings.Trim(body, "0123456789,") == "" && strings.Count(body, ",") <= 1
}

// open is a group's start.
func (t *translator) open() error {
	for _, g := range []struct{ start, what string }{
		{"(?=", "look-ahead"}, {"(?!", "negative look-ahead"}, {"(?<=", "look-behind"},
		{"(?<!", "negative look-behind"}, {"(?>", "an atomic group"},
	} {
		if t.has(g.start) {
			return t.refuse(g.what + " " + g.start + "...)")
		}
	}
	if !t.has("(?") || t.has("(?:") || t.has("(?<") {
		t.out.WriteByte('(')
		t.pos++
		return nil
	}
	end := strings.IndexAny(t.in[t.pos:], ":)")
	if end < 0 {
		return exception("PatternSyntaxException", "%.100q: unclosed group", t.in)
	}
	flags := t.in[t.pos+2 : t.pos+end]
	if strings.Trim(flags, "ims-") != "" {
		return t.refuse("the flags (?" + flags + ")")
	}
	if on, _, _ := strings.Cut(flags, "-"); strings.Contains(on, "s") {
		t.dotAll = true
	}
	t.out.WriteString(t.in[t.pos : t.pos+end+1])
	t.pos += end + 1
	return nil
}

// escape is a backslash and what follows.
func (t *translator) escape() error {
	if t.pos+1 == len(t.in) {
		return exception("PatternSyntaxException", "%.100q ends in a backslash", t.in)
	}
	c := t.in[t.pos+1]
	switch c {
	case 'u':
		if t.pos+6 > len(t.in) || strings.Trim(t.in[t.pos+2:t.pos+6], "0123456789abcdefABCDEF") != "" {
			return exception("PatternSyntaxException", "%.100q: \\u needs four hexadecimal digits", t.in)
		}
		fmt.Fprintf(&t.out, `\x{%s}`, t.in[t.pos+2:t.pos+6])
		t.pos += 6
		return nil
	case 's', 'S':
		return t.blank(c)
	case 'e':
		t.out.WriteString(`\x1b`)
		t.pos += 2
		return nil
	case 'k', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return t.refuse("a back reference (\\" + string(c) + ")")
	case 'G', 'Z', 'R', 'X', 'h', 'H', 'v', 'V', 'N', '0', 'c':
		return t.refuse("\\" + string(c))
	case 'Q':
		return t.quoted()
	case 'p', 'P':
		return t.property()
	}
	n := 2
	if strings.IndexByte(`<>=!:@#%&~,;'"/ -_`+"`\n\t", c) >= 0 {
		// Java lets any of these be escaped, RE2 only punctuation of its own.
		fmt.Fprintf(&t.out, `\x{%x}`, c)
	} else {
		t.out.WriteString(t.in[t.pos : t.pos+n])
	}
	t.pos += n
	return nil
}

// blank is \s or \S; Java counts the vertical tab, RE2 does not.
func (t *translator) blank(c byte) error {
	t.pos += 2
	switch {
	case c == 's' && t.class > 0:
		t.out.WriteString(`\t-\r `)
	case c == 's':
		t.out.WriteString(`[\t-\r ]`)
	case t.class > 0:
		t.out.WriteString(`\x00-\x08\x0e-\x1f!-\x{10FFFF}`)
	default:
		t.out.WriteString(`[^\t-\r ]`)
	}
	return nil
}

func (t *translator) quoted() error {
	text, _, _ := strings.Cut(t.in[t.pos+2:], `\E`)
	t.pos = min(len(t.in), t.pos+2+len(text)+2)
	for _, r := range text {
		fmt.Fprintf(&t.out, `\x{%x}`, r)
	}
	return nil
}

// posix maps Java's names of ASCII classes to RE2's.
var posix = map[string]string{
	"Lower": "a-z", "Upper": "A-Z", "Alpha": "A-Za-z", "Digit": "0-9", "Alnum": "0-9A-Za-z",
	"Punct": "!-/:-@\\[-`{-~", "Graph": "!-~", "Print": " -~", "Blank": " \\t",
	"Cntrl": "\\x00-\\x1f\\x7f", "XDigit": "0-9A-Fa-f", "Space": "\\t-\\r ", "ASCII": "\\x00-\\x7f",
}

// unicodeClass is about how many ranges a class such as \p{L} has, over two.
const unicodeClass = 300

// property is \p{Name} or \pL.
func (t *translator) property() error {
	t.last += unicodeClass
	rest := t.in[t.pos+2:]
	negate := t.in[t.pos+1] == 'P'
	if !strings.HasPrefix(rest, "{") {
		n := min(len(t.in), t.pos+3)
		t.out.WriteString(t.in[t.pos:n])
		t.pos = n
		return nil
	}
	name, _, ok := strings.Cut(rest[1:], "}")
	if !ok {
		return exception("PatternSyntaxException", "%.100q: unclosed \\p{", t.in)
	}
	set, known := posix[name]
	switch {
	case known && t.class > 0 && negate:
		return t.refuse(`\P{` + name + "} inside a character class")
	case known && t.class > 0:
		t.out.WriteString(set)
	case known && negate:
		t.out.WriteString("[^" + set + "]")
	case known:
		t.out.WriteString("[" + set + "]")
	case strings.HasPrefix(name, "java") || strings.Contains(name, "="):
		return t.refuse(`\p{` + name + "}")
	default:
		t.out.WriteString(`\` + t.in[t.pos+1:t.pos+2] + "{" + strings.TrimPrefix(name, "Is") + "}")
	}
	t.pos += 2 + len(name) + 2
	return nil
}
