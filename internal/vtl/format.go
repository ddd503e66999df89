package vtl

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// maxWidth bounds %1000000000d.
const maxWidth = 1000

// format is String.format for the verbs that templates use: %s %d %x %X %f %e
// %b %c %n %%, with "-", "0", "+" and ",", a width and a precision.
func (x *exec) format(f string, args []any) (any, error) {
	var b strings.Builder
	used, paid := 0, 0
	for {
		i := strings.IndexByte(f, '%')
		if i < 0 {
			b.WriteString(f)
			return b.String(), x.charge(b.Len() - paid)
		}
		b.WriteString(f[:i])
		v, rest, err := readVerb(f[i+1:])
		if err != nil {
			return nil, err
		}
		f = rest
		switch v.letter {
		case '%', 'n':
			b.WriteString(v.pad(map[byte]string{'%': "%", 'n': "\n"}[v.letter]))
		default:
			if used == len(args) {
				return nil, exception("MissingFormatArgumentException", "format specifier '%%%c'", v.letter)
			}
			s, err := x.formatOne(v, args[used])
			if err != nil {
				return nil, err
			}
			used++
			b.WriteString(s)
		}
		if err := x.step(x.at, 1); err != nil {
			return nil, err
		}
		if err := x.charge(b.Len() - paid); err != nil {
			return nil, err
		}
		paid = b.Len()
	}
}

type verb struct {
	flags     string
	width     int
	precision int // -1 for none
	letter    byte
}

// readVerb reads what follows a percent sign.
func readVerb(s string) (v verb, rest string, err error) {
	v.precision = -1
	i := 0
	for i < len(s) && strings.IndexByte("-0+,", s[i]) >= 0 {
		i++
	}
	v.flags = s[:i]
	number := func() int {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		n, err := strconv.Atoi(s[start:i])
		if start < i && (err != nil || n > maxWidth) {
			return maxWidth + 1
		}
		return n
	}
	v.width = number()
	if i < len(s) && s[i] == '.' {
		i++
		v.precision = number()
	}
	if v.width > maxWidth || v.precision > maxWidth {
		return v, "", exception("IllegalFormatException", "a width of more than %d", maxWidth)
	}
	if i == len(s) || strings.IndexByte("sSdxXfebcn%", s[i]) < 0 {
		return v, "", exception("UnknownFormatConversionException", "%.20q (known: s d x X f e b c n %%)", "%"+s[:min(len(s), i+1)])
	}
	v.letter = s[i]
	return v, s[i+1:], nil
}

func (v verb) has(flag byte) bool { return strings.IndexByte(v.flags, flag) >= 0 }

func (v verb) pad(s string) string {
	n := v.width - units(s)
	switch {
	case n <= 0:
		return s
	case v.has('-'):
		return s + strings.Repeat(" ", n)
	case v.has('0') && strings.IndexByte("dxXfe", v.letter) >= 0:
		sign := ""
		if s != "" && (s[0] == '-' || s[0] == '+') {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", n) + s
	}
	return strings.Repeat(" ", n) + s
}

func (x *exec) formatOne(v verb, arg any) (string, error) {
	wrong := func() error {
		return exception("IllegalFormatConversionException", "%%%c takes no %s", v.letter, kindName(arg))
	}
	if arg == nil && v.letter != 'b' {
		return v.pad("null"), nil
	}
	var s string
	switch v.letter {
	case 's', 'S':
		text, err := x.text(arg)
		if err != nil {
			return "", err
		}
		s = text
		if v.precision >= 0 && v.precision < units(s) {
			if s, err = substring(s, 0, int64(v.precision)); err != nil {
				return "", err
			}
		}
		if v.letter == 'S' {
			s = strings.ToUpper(s)
		}
	case 'b':
		s = strconv.FormatBool(arg != nil && arg != false)
	case 'c':
		switch c := arg.(type) {
		case int64:
			s = string(rune(c))
		case string:
			if units(c) != 1 {
				return "", wrong()
			}
			s = c
		default:
			return "", wrong()
		}
	case 'd', 'x', 'X':
		n := bigInt(arg)
		if n == nil {
			return "", wrong()
		}
		s = v.whole(n, arg)
	default:
		f, ok := arg.(float64)
		if !ok {
			return "", wrong()
		}
		s = v.real(f)
	}
	return v.pad(s), nil
}

func (v verb) whole(n *big.Int, arg any) string {
	s := n.String()
	if v.letter != 'd' {
		if i, ok := arg.(int64); ok {
			s = strconv.FormatUint(narrow(i), 16)
		} else {
			s = n.Text(16)
		}
		if v.letter == 'X' {
			s = strings.ToUpper(s)
		}
		return s
	}
	if v.has(',') {
		s = grouped(s)
	}
	if v.has('+') && n.Sign() >= 0 {
		s = "+" + s
	}
	return s
}

func (v verb) real(f float64) string {
	p := v.precision
	if p < 0 {
		p = 6
	}
	s := fmt.Sprintf("%.*"+string(v.letter), p, f)
	if v.has(',') {
		s = grouped(s)
	}
	if v.has('+') && f >= 0 {
		s = "+" + s
	}
	return s
}

// grouped puts a comma before every third digit of the whole part.
func grouped(s string) string {
	start := 0
	if s != "" && s[0] == '-' {
		start = 1
	}
	end := strings.IndexByte(s, '.')
	if end < 0 {
		end = len(s)
	}
	for i := end - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// kindName names a value's kind in messages.
func kindName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "text"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64, Number:
		return "number"
	case *List:
		return "list"
	case *Map:
		return "map"
	}
	return "object"
}
