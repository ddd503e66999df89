package attr

import (
	"bytes"
	"math/big"
	"strconv"
	"strings"
)

// MaxDigits is the precision of a number: 38 significant decimal digits
// (Amazon DynamoDB Developer Guide, "Naming rules and data types").
const MaxDigits = 38

// The decimal exponent e of d.ddd × 10^e lies within these bounds.
const (
	minExponent = -130
	maxExponent = 125
)

// Decimal is an exact number: ±0.d1d2…dn × 10^exp, without leading or trailing
// zeros among the digits. The zero Decimal is 0.
type Decimal struct {
	neg    bool
	exp    int16
	n      uint8
	digits [MaxDigits]byte // values 0 to 9
}

func notNumeric(s string) error {
	if s == "" {
		return Invalid("The parameter cannot be converted to a numeric value")
	}
	return Invalid("The parameter cannot be converted to a numeric value: %s", s)
}

var (
	errDigits    = Invalid("Attempting to store more than 38 significant digits in a Number")
	errOverflow  = Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
	errUnderflow = Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
)

// ParseNumber reads a decimal number with optional sign, fraction and exponent.
// Beyond 38 significant digits or the range of magnitudes (1E-130 to
// 9.99…E+125) it fails with DynamoDB's text.
func ParseNumber(s string) (Decimal, error) {
	var d Decimal
	rest := s
	if rest != "" && (rest[0] == '-' || rest[0] == '+') {
		d.neg = rest[0] == '-'
		rest = rest[1:]
	}
	mantissa, exponent := rest, 0
	if i := strings.IndexAny(rest, "eE"); i >= 0 {
		mantissa = rest[:i]
		text := rest[i+1:]
		if text == "" || strings.Trim(text, "+-0123456789") != "" || len(text) > 9 {
			return d, notNumeric(s)
		}
		e, err := strconv.Atoi(text)
		if err != nil {
			return d, notNumeric(s)
		}
		exponent = e
	}
	point, digits, zeros, overlong := -1, 0, 0, false
	seen := 0 // digits of the mantissa so far, zeros included
	first := 0
	for i := 0; i < len(mantissa); i++ {
		c := mantissa[i]
		switch {
		case c == '.' && point < 0:
			point = seen
			continue
		case c < '0' || c > '9':
			return d, notNumeric(s)
		}
		seen++
		if c == '0' {
			if digits > 0 {
				zeros++
			}
			continue
		}
		if digits == 0 {
			first = seen
		}
		if digits+zeros+1 > MaxDigits {
			overlong = true
			digits, zeros = MaxDigits, 0
			continue
		}
		digits += zeros
		d.digits[digits] = c - '0'
		digits, zeros = digits+1, 0
	}
	if seen == 0 {
		return d, notNumeric(s)
	}
	if digits == 0 {
		return Decimal{}, nil
	}
	if point < 0 {
		point = seen
	}
	exp := point - first + 1 + exponent
	switch {
	case exp-1 > maxExponent:
		return d, errOverflow
	case exp-1 < minExponent:
		return d, errUnderflow
	case overlong:
		return d, errDigits
	}
	d.exp, d.n = int16(exp), uint8(digits)
	return d, nil
}

// String is the canonical text: plain notation, no exponent, no superfluous zeros.
func (d Decimal) String() string {
	if d.n == 0 {
		return "0"
	}
	n, exp := int(d.n), int(d.exp)
	var buf [MaxDigits + 140]byte
	out := buf[:0]
	if d.neg {
		out = append(out, '-')
	}
	if exp <= 0 {
		out = append(out, "0."...)
		for range -exp {
			out = append(out, '0')
		}
	}
	for i := range n {
		if i == exp && exp > 0 {
			out = append(out, '.')
		}
		out = append(out, d.digits[i]+'0')
	}
	for range exp - n {
		out = append(out, '0')
	}
	return string(out)
}

// compare returns -1, 0 or 1.
func (d Decimal) compare(o Decimal) int {
	sign := func(d Decimal) int {
		switch {
		case d.n == 0:
			return 0
		case d.neg:
			return -1
		}
		return 1
	}
	a, b := sign(d), sign(o)
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == 0:
		return 0
	case d.exp != o.exp:
		if d.exp < o.exp {
			return -a
		}
		return a
	}
	return a * bytes.Compare(d.digits[:d.n], o.digits[:o.n])
}

// compareText compares two canonical numbers.
func compareText(a, b string) int {
	if a == b {
		return 0
	}
	x, errX := ParseNumber(a)
	y, errY := ParseNumber(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b) // cannot happen: Str of an N is canonical
	}
	return x.compare(y)
}

// integer is d × 10^-scale; scale must not exceed the exponent of its last digit.
func (d Decimal) integer(scale int) *big.Int {
	text := make([]byte, 0, MaxDigits)
	for _, c := range d.digits[:d.n] {
		text = append(text, c+'0')
	}
	if len(text) == 0 {
		return new(big.Int)
	}
	i, _ := new(big.Int).SetString(string(text), 10)
	shift := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(int(d.exp)-int(d.n)-scale)), nil)
	i.Mul(i, shift)
	if d.neg {
		i.Neg(i)
	}
	return i
}

// Add returns a+b, exactly; subtract by minus. It fails when the result needs
// more than 38 digits or leaves the range.
func Add(a, b Value, minus bool) (Value, error) {
	if v, ok := addSmall(a.Str, b.Str, minus); ok {
		return v, nil
	}
	x, err := ParseNumber(a.Str)
	if err != nil {
		return Value{}, err
	}
	y, err := ParseNumber(b.Str)
	if err != nil {
		return Value{}, err
	}
	y.neg = y.neg != minus
	scale := min(int(x.exp)-int(x.n), int(y.exp)-int(y.n))
	sum := new(big.Int).Add(x.integer(scale), y.integer(scale))
	d, err := ParseNumber(sum.String() + "e" + strconv.Itoa(scale))
	if err != nil {
		return Value{}, err
	}
	return Value{Kind: N, Str: d.String()}, nil
}

// addSmall is the common case, counters: both are integers of up to 17 digits.
func addSmall(a, b string, minus bool) (Value, bool) {
	if len(a) > 17 || len(b) > 17 {
		return Value{}, false
	}
	x, errX := strconv.ParseInt(a, 10, 64)
	y, errY := strconv.ParseInt(b, 10, 64)
	if errX != nil || errY != nil {
		return Value{}, false
	}
	if minus {
		y = -y
	}
	return Value{Kind: N, Str: strconv.FormatInt(x+y, 10)}, true
}
