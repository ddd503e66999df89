package attr

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Reader reads JSON in one pass without reflection. Errors stick: after the
// first one every call returns a zero value, and [Reader.Err] tells it, as a
// SerializationException. A value that is good JSON and breaks DynamoDB's rules
// is reported beside the value (see [Document]) and reading goes on.
//
// It refuses what encoding/json refuses: trailing text, bare control characters,
// leading zeros; and, beyond that, bytes that are not UTF-8.
type Reader struct {
	buf   []byte
	text  string // buf, copied once: strings that are read are parts of it
	pos   int
	depth int
	err   error
	// invalid is the first broken rule in the document that is being read, and at
	// the member of that document it was found in.
	invalid error
	at      string
	member  string
	// trusted skips the checks of values that this package has encoded itself.
	trusted bool
	// values counts those of the document that is being read.
	values int
}

// maxNesting bounds recursion over anything in a request: values nest 32 deep,
// each level two objects, under a few levels of request structure.
const maxNesting = 128

// NewReader reads b. Strings that it returns keep one copy of b alive.
func NewReader(b []byte) *Reader { return &Reader{buf: b, text: string(b)} }

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail records an error, unless there is one already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// breaks records that the value being read breaks a rule.
func (r *Reader) breaks(rule error) {
	if r.invalid == nil && r.err == nil {
		r.invalid, r.at = rule, r.member
	}
}

func (r *Reader) syntax() { r.Fail(unserializable("")) }

// Peek returns the first byte of the next value: one of {["tfn, a digit or '-';
// 0 at the end or after an error.
func (r *Reader) Peek() byte {
	if r.err != nil {
		return 0
	}
	for ; r.pos < len(r.buf); r.pos++ {
		switch c := r.buf[r.pos]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take consumes c, which must come next.
func (r *Reader) take(c byte) bool {
	if r.Peek() != c {
		r.syntax()
		return false
	}
	r.pos++
	return true
}

// End checks that nothing follows.
func (r *Reader) End() {
	if r.Peek() != 0 || r.pos < len(r.buf) {
		r.syntax()
	}
}

// Null consumes a null if one comes next.
func (r *Reader) Null() bool {
	return r.Peek() == 'n' && r.literal("null")
}

func (r *Reader) literal(s string) bool {
	if len(r.buf)-r.pos < len(s) || r.text[r.pos:r.pos+len(s)] != s {
		r.syntax()
		return false
	}
	r.pos += len(s)
	return true
}

// valueName is the type of the next value in the words of AWS's JSON layer.
func (r *Reader) valueName() string {
	switch r.Peek() {
	case '"':
		return "STRING_VALUE"
	case 't':
		return "TRUE_VALUE"
	case 'f':
		return "FALSE_VALUE"
	case '{':
		return "START_OBJECT"
	case '[':
		return "START_ARRAY"
	}
	return "NUMBER_VALUE"
}

// mismatch records that the next value is not what the request's shape asks for.
func (r *Reader) mismatch(want string) {
	switch c := r.Peek(); {
	case r.err != nil:
	case c == '{':
		r.Fail(unserializable("Start of structure or map found where not expected."))
	case c == '[':
		r.Fail(unserializable("Start of list found where not expected"))
	case c == '"' || c == 't' || c == 'f' || c == '-' || c >= '0' && c <= '9':
		r.Fail(unserializable("%s cannot be converted to %s", r.valueName(), want))
	default:
		r.syntax()
	}
}

// Object calls field for every member of the object that comes next; field must
// consume the value. A null counts as an absent object.
func (r *Reader) Object(field func(name string)) bool {
	if r.Null() {
		return false
	}
	if c := r.Peek(); c != '{' {
		if c == '[' || c == 0 {
			r.mismatch("")
		} else {
			r.Fail(unserializable("Unexpected field type"))
		}
		return false
	}
	r.nest('}', func() {
		name := r.stringToken()
		if r.take(':') {
			field(name)
		}
	})
	return r.err == nil
}

// Array calls element for every element of the array that comes next; element
// must consume it. A null counts as an absent array.
func (r *Reader) Array(element func()) bool {
	if r.Null() {
		return false
	}
	if c := r.Peek(); c != '[' {
		if c == '{' || c == 0 {
			r.mismatch("")
		} else {
			r.Fail(unserializable("Unexpected field type"))
		}
		return false
	}
	r.nest(']', element)
	return r.err == nil
}

// nest reads the elements between the bracket that comes next and end.
func (r *Reader) nest(end byte, element func()) {
	r.pos++
	if r.depth++; r.depth > maxNesting {
		r.Fail(Invalid("Nesting Levels have exceeded supported limits")) // no reading on: the stack is at stake
		return
	}
	defer func() { r.depth-- }()
	if r.Peek() == end {
		r.pos++
		return
	}
	for r.err == nil {
		element()
		switch r.Peek() {
		case ',':
			r.pos++
			if r.Peek() == end {
				r.syntax()
			}
		case end:
			r.pos++
			return
		default:
			r.syntax()
		}
	}
}

// String reads a string; null reads as "".
func (r *Reader) String() string {
	if r.Null() {
		return ""
	}
	if r.Peek() != '"' {
		r.mismatch("String")
		return ""
	}
	return r.stringToken()
}

// Bool reads a boolean; null reads as false.
func (r *Reader) Bool() bool {
	switch r.Peek() {
	case 't':
		return r.literal("true")
	case 'f':
		r.literal("false")
		return false
	case 'n':
		r.literal("null")
		return false
	}
	r.mismatch("Boolean")
	return false
}

// Int reads a whole number; a fraction is cut off, as AWS does.
func (r *Reader) Int() int64 {
	if c := r.Peek(); c != '-' && (c < '0' || c > '9') {
		r.mismatch("Integer")
		return 0
	}
	text := r.numberToken()
	if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f > 1e18 || f < -1e18 {
		r.syntax()
		return 0
	}
	return int64(f)
}

func (r *Reader) numberToken() string {
	from := r.pos
	digits := func() bool {
		at := r.pos
		for r.pos < len(r.buf) && r.buf[r.pos] >= '0' && r.buf[r.pos] <= '9' {
			r.pos++
		}
		return r.pos > at
	}
	next := func(set string) bool {
		if r.pos < len(r.buf) && (r.buf[r.pos] == set[0] || r.buf[r.pos] == set[len(set)-1]) {
			r.pos++
			return true
		}
		return false
	}
	next("-")
	whole := r.pos
	ok := digits() && (r.buf[whole] != '0' || r.pos == whole+1)
	if ok && next(".") {
		ok = digits()
	}
	if ok && next("eE") {
		next("+-")
		ok = digits()
	}
	if !ok {
		r.syntax()
		return ""
	}
	return r.text[from:r.pos]
}

// Skip passes over the next value, whatever it is.
func (r *Reader) Skip() {
	switch c := r.Peek(); {
	case c == '{':
		r.nest('}', func() {
			r.stringToken()
			r.take(':')
			r.Skip()
		})
	case c == '[':
		r.nest(']', r.Skip)
	case c == '"':
		r.stringToken()
	case c == 't':
		r.literal("true")
	case c == 'f':
		r.literal("false")
	case c == 'n':
		r.literal("null")
	case c == '-' || c >= '0' && c <= '9':
		r.numberToken()
	default:
		r.syntax()
	}
}

// Raw passes over the next value and returns its text, which shares the input.
func (r *Reader) Raw() []byte {
	r.Peek()
	from := r.pos
	r.Skip()
	if r.err != nil {
		return nil
	}
	return r.buf[from:r.pos]
}

// stringToken reads the string that comes next.
func (r *Reader) stringToken() string {
	if !r.take('"') {
		return ""
	}
	from := r.pos
	ascii := true
	for ; r.pos < len(r.buf); r.pos++ {
		switch c := r.buf[r.pos]; {
		case c == '"':
			text := r.text[from:r.pos]
			r.pos++
			if !ascii && !r.trusted && !utf8.ValidString(text) {
				r.syntax()
				return ""
			}
			return text
		case c == '\\':
			return r.escapedString(from)
		case c < ' ':
			r.syntax()
			return ""
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	r.syntax()
	return ""
}

// escapedString finishes a string in which a backslash comes next.
func (r *Reader) escapedString(from int) string {
	out := append(make([]byte, 0, len(r.buf[from:r.pos])+32), r.buf[from:r.pos]...)
	for r.pos < len(r.buf) {
		c := r.buf[r.pos]
		switch {
		case c == '"':
			r.pos++
			if !utf8.Valid(out) {
				r.syntax()
				return ""
			}
			return string(out)
		case c < ' ':
			r.syntax()
			return ""
		case c != '\\':
			out = append(out, c)
			r.pos++
			continue
		}
		if r.pos+1 >= len(r.buf) {
			break
		}
		c = r.buf[r.pos+1]
		r.pos += 2
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			out = utf8.AppendRune(out, r.unicodeEscape())
		default:
			r.syntax()
		}
		if r.err != nil {
			return ""
		}
	}
	r.syntax()
	return ""
}

// unicodeEscape reads the hex digits after \u, and a second \u that completes a
// surrogate pair. A lone surrogate becomes U+FFFD.
func (r *Reader) unicodeEscape() rune {
	first := r.hex4()
	if !utf16.IsSurrogate(first) {
		return first
	}
	if r.pos+1 < len(r.buf) && r.buf[r.pos] == '\\' && r.buf[r.pos+1] == 'u' {
		at := r.pos
		r.pos += 2
		if pair := utf16.DecodeRune(first, r.hex4()); pair != utf8.RuneError {
			return pair
		}
		r.pos = at
	}
	return utf8.RuneError
}

func (r *Reader) hex4() rune {
	if r.pos+4 > len(r.buf) {
		r.syntax()
		return 0
	}
	n, err := strconv.ParseUint(r.text[r.pos:r.pos+4], 16, 32)
	if err != nil {
		r.syntax()
		return 0
	}
	r.pos += 4
	return rune(n)
}
