package vtl

import (
	"math"
	"math/big"
	"strconv"
)

func (x *exec) callInteger(v int64, name string, args []any) (any, error) {
	if len(args) == 0 {
		switch name {
		case "intValue":
			return int64(int32(v)), nil
		case "longValue":
			return v, nil
		case "shortValue":
			return int64(int16(v)), nil
		case "byteValue":
			return int64(int8(v)), nil
		case "doubleValue", "floatValue":
			return float64(v), nil
		case "hashCode":
			if v == int64(int32(v)) {
				return v, nil // Integer's
			}
			return int64(int32(v ^ int64(uint64(v)>>32))), nil // Long's
		}
	}
	if s, ok := one[string](args); ok {
		return parseInteger(v, name, s)
	}
	if n, ok := one[int64](args); ok {
		switch name {
		case "toHexString":
			return strconv.FormatUint(narrow(n), 16), nil
		case "toBinaryString":
			return strconv.FormatUint(narrow(n), 2), nil
		case "toOctalString":
			return strconv.FormatUint(narrow(n), 8), nil
		case "valueOf":
			return n, nil
		case "toString":
			return strconv.FormatInt(n, 10), nil
		case "signum":
			return int64(big.NewInt(n).Sign()), nil
		}
	}
	if a, b, ok := two[int64, int64](args); ok {
		switch name {
		case "compare":
			c, _ := order(a, b)
			return int64(c), nil
		case "max":
			return max(a, b), nil
		case "min":
			return min(a, b), nil
		case "sum":
			return a + b, nil
		}
	}
	if s, radix, ok := two[string, int64](args); ok && (name == "parseInt" || name == "parseLong" || name == "valueOf") {
		return parseRadix(s, radix, v == int64(int32(v)) && name != "parseLong")
	}
	return x.asNumber(v, name, args)
}

// narrow is the bit pattern that Integer (or Long) prints in another base.
func narrow(n int64) uint64 {
	if n == int64(int32(n)) {
		return uint64(uint32(n))
	}
	return uint64(n)
}

// parseInteger is Integer.parseInt("5") on whatever number a template has at
// hand: 32 bits on an Integer, 64 on a Long.
func parseInteger(v int64, name, s string) (any, error) {
	switch name {
	case "parseInt", "valueOf", "decode":
		return parseRadix(s, 10, name == "parseInt" || v == int64(int32(v)))
	case "parseLong":
		return parseRadix(s, 10, false)
	case "parseDouble", "parseFloat":
		return parseDouble(s)
	}
	return nil, ErrNoMethod
}

func parseRadix(s string, radix int64, int32s bool) (any, error) {
	if radix < 2 || radix > 36 {
		return nil, exception("NumberFormatException", "radix %d is out of range", radix)
	}
	size := 64
	if int32s {
		size = 32
	}
	n, err := strconv.ParseInt(s, int(radix), size)
	if err != nil {
		return nil, exception("NumberFormatException", "for input string %.60q", s)
	}
	return n, nil
}

func parseDouble(s string) (any, error) {
	t := javaTrim(s)
	if n := len(t); n > 1 && (t[n-1]|0x20 == 'd' || t[n-1]|0x20 == 'f') && isDigit(t[n-2]) {
		t = t[:n-1] // Java's 1.5d
	}
	for _, c := range t {
		if !isDigit(byte(c)) && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' && t != "NaN" && t != "Infinity" && t != "-Infinity" {
			return nil, exception("NumberFormatException", "for input string %.60q", s)
		}
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, exception("NumberFormatException", "for input string %.60q", s)
	}
	return f, nil
}

func (x *exec) callDecimal(v any, name string, args []any) (any, error) {
	f := float(v)
	if len(args) == 0 {
		switch name {
		case "intValue":
			return int64(toInt32(v, f)), nil
		case "longValue":
			return toInt64(v, f), nil
		case "doubleValue", "floatValue":
			return f, nil
		case "isNaN":
			return math.IsNaN(f), nil
		case "isInfinite":
			return math.IsInf(f, 0), nil
		case "hashCode":
			if d, ok := v.(float64); ok {
				b := math.Float64bits(d)
				return int64(int32(b ^ b>>32)), nil
			}
		}
	}
	if s, ok := one[string](args); ok && (name == "parseDouble" || name == "valueOf") {
		return parseDouble(s)
	}
	return x.asNumber(v, name, args)
}

// asNumber is what all numbers have.
func (x *exec) asNumber(v any, name string, args []any) (any, error) {
	if name == "compareTo" && len(args) == 1 && isNumber(args[0]) {
		c, _ := order(v, args[0])
		return int64(c), nil
	}
	if name == "equals" && len(args) == 1 {
		// Of one Java class only: 1 is not equal to 1.0.
		return v == args[0], nil
	}
	return x.asObject(v, name, args)
}

// toInt32 narrows as Java does: a double saturates, a BigInteger keeps its low bits.
func toInt32(v any, f float64) int32 {
	if n := bigInt(v); n != nil {
		return int32(lowBits(n))
	}
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt32:
		return math.MaxInt32
	case f <= math.MinInt32:
		return math.MinInt32
	}
	return int32(f)
}

func toInt64(v any, f float64) int64 {
	if n := bigInt(v); n != nil {
		return lowBits(n)
	}
	switch {
	case math.IsNaN(f):
		return 0
	case f >= math.MaxInt64:
		return math.MaxInt64
	case f <= math.MinInt64:
		return math.MinInt64
	}
	return int64(f)
}

// lowBits is the two's complement of n's lowest 64 bits.
func lowBits(n *big.Int) int64 {
	low := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)) // And takes two's complement
	return int64(low.Uint64())
}
