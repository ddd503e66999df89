package vtl

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/fault"
)

// maxDepth bounds how deep values are followed; maxText how much text one value
// may make outside an execution. Lists can contain themselves, and a few lines
// of #set build a value whose text is 2^60 bytes.
const (
	maxDepth = 512
	maxText  = 32 << 20
)

var errTooLarge = errors.New("the value's text is too long, or it contains itself")

// AppendString appends v in the form of Java's toString: {a=1, b=[x, y]}, text
// bare, null as "null", 1.0E10 for a large double. It stops after 32 MiB and 512
// levels of nesting, which only a value made to be endless reaches.
func AppendString(dst []byte, v any) []byte {
	w := writer{buf: dst, max: len(dst) + maxText}
	w.value(v, 0)
	return w.buf
}

// AppendJSON appends v as JSON without blanks: keys in their order, doubles as
// Java writes them (1.652716274909E9), no escapes but those JSON demands. The
// error, of kind TooLarge, is for a value of more than 32 MiB of text or 512
// levels of nesting.
func AppendJSON(dst []byte, v any) ([]byte, error) {
	w := writer{buf: dst, max: len(dst) + maxText, json: true}
	w.value(v, 0)
	if w.err != nil {
		if errors.Is(w.err, errTooLarge) {
			w.err = fault.New(fault.TooLarge, "JSON of more than %d bytes or %d levels", maxText, maxDepth)
		}
		return dst, w.err
	}
	return w.buf, nil
}

// writer prints values until it is full.
type writer struct {
	buf  []byte
	max  int
	json bool
	err  error
}

func (w *writer) value(v any, depth int) {
	if len(w.buf) > w.max || depth > maxDepth {
		w.err = errTooLarge
	}
	if w.err != nil {
		return
	}
	switch v := v.(type) {
	case nil:
		w.buf = append(w.buf, "null"...)
	case string:
		w.text(v)
	case bool:
		w.buf = strconv.AppendBool(w.buf, v)
	case int64:
		w.buf = strconv.AppendInt(w.buf, v, 10)
	case int:
		w.buf = strconv.AppendInt(w.buf, int64(v), 10)
	case float64:
		w.double(v)
	case Number:
		w.buf = append(w.buf, v...)
	case *List:
		w.list(v, depth)
	case *Map:
		w.object(v, depth)
	case *entry:
		w.entry(v, depth)
	default:
		w.other(v)
	}
}

func (w *writer) text(s string) {
	if w.json {
		w.buf = appendQuoted(w.buf, s)
		return
	}
	w.buf = append(w.buf, s...)
}

func (w *writer) comma() {
	if w.json {
		w.buf = append(w.buf, ',')
		return
	}
	w.buf = append(w.buf, ", "...)
}

func (w *writer) list(l *List, depth int) {
	w.buf = append(w.buf, '[')
	for i, v := range l.items {
		if i > 0 {
			w.comma()
		}
		if w.value(v, depth+1); w.err != nil {
			return
		}
	}
	w.buf = append(w.buf, ']')
}

func (w *writer) object(m *Map, depth int) {
	w.buf = append(w.buf, '{')
	for i, k := range m.keys {
		if i > 0 {
			w.comma()
		}
		if w.pair(k, m.values[i], depth); w.err != nil {
			return
		}
	}
	w.buf = append(w.buf, '}')
}

func (w *writer) pair(k string, v any, depth int) {
	w.text(k)
	if w.json {
		w.buf = append(w.buf, ':')
	} else {
		w.buf = append(w.buf, '=')
	}
	w.value(v, depth+1)
}

func (w *writer) entry(e *entry, depth int) {
	if w.json {
		w.buf = append(w.buf, '{')
	}
	w.pair(e.key, e.value, depth)
	if w.json {
		w.buf = append(w.buf, '}')
	}
}

func (w *writer) other(v any) {
	if !w.json {
		if s, ok := v.(fmt.Stringer); ok {
			w.buf = append(w.buf, s.String()...)
		}
		return
	}
	if m, ok := v.(json.Marshaler); ok {
		b, err := m.MarshalJSON()
		w.buf, w.err = append(w.buf, b...), err
		return
	}
	if s, ok := v.(fmt.Stringer); ok {
		w.text(s.String())
		return
	}
	w.buf = append(w.buf, "null"...)
}

// double prints as Double.toString: plain from 0.001 up to 10^7, else scientific,
// always with a digit on either side of the point.
func (w *writer) double(f float64) {
	switch abs := math.Abs(f); {
	case math.IsNaN(f):
		w.special("NaN")
	case math.IsInf(f, 0):
		name := "Infinity"
		if f < 0 {
			name = "-Infinity"
		}
		w.special(name)
	case abs == 0 || abs >= 1e-3 && abs < 1e7:
		start := len(w.buf)
		w.buf = strconv.AppendFloat(w.buf, f, 'f', -1, 64)
		for _, c := range w.buf[start:] {
			if c == '.' {
				return
			}
		}
		w.buf = append(w.buf, ".0"...)
	default:
		w.scientific(f)
	}
}

// special is a double without digits; JSON has no word for it, so it is quoted,
// as Jackson does.
func (w *writer) special(name string) {
	if w.json {
		w.buf = append(append(append(w.buf, '"'), name...), '"')
		return
	}
	w.buf = append(w.buf, name...)
}

func (w *writer) scientific(f float64) {
	var tmp [32]byte
	digits := strconv.AppendFloat(tmp[:0], f, 'e', -1, 64) // d.ddde±dd
	e := len(digits) - 1
	for digits[e] != 'e' {
		e--
	}
	mantissa, exp := digits[:e], digits[e+1:]
	w.buf = append(w.buf, mantissa...)
	if n := len(mantissa); n <= 2 { // "1" or "-1"
		w.buf = append(w.buf, ".0"...)
	}
	w.buf = append(w.buf, 'E')
	if exp[0] == '-' {
		w.buf = append(w.buf, '-')
	}
	exp = exp[1:]
	for len(exp) > 1 && exp[0] == '0' {
		exp = exp[1:]
	}
	w.buf = append(w.buf, exp...)
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
