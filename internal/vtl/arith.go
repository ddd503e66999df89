package vtl

import (
	"math"
	"math/big"
	"math/bits"
	"reflect"
	"strconv"
)

// maxDigits bounds integers beyond 64 bits: repeated squaring doubles them.
const maxDigits = 4096

func isNumber(v any) bool {
	switch v.(type) {
	case int64, float64, Number:
		return true
	}
	return false
}

// digits is the length of a Number: reading one takes time.
func digits(v any) int {
	n, _ := v.(Number)
	return len(n)
}

// float is a number as float64.
func float(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	case Number:
		f, _ := strconv.ParseFloat(string(v), 64) // out of range is ±Inf, as wanted
		return f
	}
	return 0
}

// bigInt is a whole number, or nil.
func bigInt(v any) *big.Int {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v)
	case Number:
		if len(v) <= maxDigits+1 {
			if n, ok := new(big.Int).SetString(string(v), 10); ok {
				return n
			}
		}
	}
	return nil
}

// arithmetic is a op b for numbers, null for anything else and for division by
// zero (Velocity logs and goes on).
func (x *exec) arithmetic(op operator, a, b any) (any, error) {
	if !isNumber(a) || !isNumber(b) {
		return nil, nil
	}
	if (op == opDiv || op == opMod) && float(b) == 0 {
		return nil, nil
	}
	i, ok1 := a.(int64)
	j, ok2 := b.(int64)
	if ok1 && ok2 {
		if v, ok := integer(op, i, j); ok {
			return v, nil
		}
	}
	_, f1 := a.(float64)
	_, f2 := b.(float64)
	if !f1 && !f2 {
		p, q := bigInt(a), bigInt(b)
		if p != nil && q != nil {
			return x.bigArithmetic(op, p, q)
		}
	}
	return floatArithmetic(op, float(a), float(b)), nil
}

// integer computes in 64 bits; ok is false if the result does not fit.
func integer(op operator, a, b int64) (v int64, ok bool) {
	switch op {
	case opAdd:
		v = a + b
		return v, (v^a)&(v^b) >= 0
	case opSub:
		v = a - b
		return v, (a^b)&(v^a) >= 0
	case opMul:
		v = a * b
		hi, _ := bits.Mul64(magnitude(a), magnitude(b))
		return v, hi == 0 && (a == 0 || b == 0 || (v < 0) == ((a < 0) != (b < 0)) && v != 0)
	case opDiv:
		return a / b, true
	default:
		return a % b, true
	}
}

func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func (x *exec) bigArithmetic(op operator, a, b *big.Int) (any, error) {
	if err := x.step(x.at, 1+(a.BitLen()+b.BitLen())/64); err != nil {
		return nil, err
	}
	if a.BitLen()+b.BitLen() > maxDigits*3 { // 3.32 bits a digit
		return nil, x.tooLarge("a number has more than %d digits", maxDigits)
	}
	v := new(big.Int)
	switch op {
	case opAdd:
		v.Add(a, b)
	case opSub:
		v.Sub(a, b)
	case opMul:
		v.Mul(a, b)
	case opDiv:
		v.Quo(a, b)
	default:
		v.Rem(a, b)
	}
	if v.IsInt64() {
		return v.Int64(), nil
	}
	n := Number(v.String())
	return n, x.charge(len(n))
}

func floatArithmetic(op operator, a, b float64) float64 {
	switch op {
	case opAdd:
		return a + b
	case opSub:
		return a - b
	case opMul:
		return a * b
	case opDiv:
		return a / b
	default:
		return math.Mod(a, b)
	}
}

// order compares two numbers; ok is false if either is NaN.
func order(a, b any) (c int, ok bool) {
	i, ok1 := a.(int64)
	j, ok2 := b.(int64)
	switch {
	case ok1 && ok2:
		switch {
		case i < j:
			return -1, true
		case i > j:
			return 1, true
		}
		return 0, true
	}
	_, f1 := a.(float64)
	_, f2 := b.(float64)
	if !f1 && !f2 {
		if p, q := bigInt(a), bigInt(b); p != nil && q != nil {
			return p.Cmp(q), true
		}
	}
	f, g := float(a), float(b)
	switch {
	case f < g:
		return -1, true
	case f > g:
		return 1, true
	}
	return 0, f == g
}

// compareNumbers is a op b; false unless both are numbers.
func compareNumbers(op operator, a, b any) bool {
	if !isNumber(a) || !isNumber(b) {
		return false
	}
	c, ok := order(a, b)
	if !ok {
		return false
	}
	switch op {
	case opLt:
		return c < 0
	case opGt:
		return c > 0
	case opLe:
		return c <= 0
	default:
		return c >= 0
	}
}

// looseEqual is ==: null equals only null, numbers compare by value, values of
// one kind by content, and values of different kinds by what they print.
func (x *exec) looseEqual(a, b any) (bool, error) {
	if a == nil || b == nil {
		return a == nil && b == nil, nil
	}
	if isNumber(a) && isNumber(b) {
		c, ok := order(a, b)
		return ok && c == 0, nil
	}
	if sameKind(a, b) {
		return x.equal(a, b)
	}
	s, err := x.text(a)
	if err != nil {
		return false, err
	}
	t, err := x.text(b)
	return s == t, err
}

func sameKind(a, b any) bool {
	switch a.(type) {
	case string:
		_, ok := b.(string)
		return ok
	case bool:
		_, ok := b.(bool)
		return ok
	case *List:
		_, ok := b.(*List)
		return ok
	case *Map:
		_, ok := b.(*Map)
		return ok
	case Object:
		_, ok := b.(Object)
		return ok
	}
	return false
}

// equal is Java's equals: same kind, same content.
func (x *exec) equal(a, b any) (bool, error) { return x.equalAt(a, b, 0) }

func (x *exec) equalAt(a, b any, depth int) (bool, error) {
	if err := x.step(x.at, 1); err != nil {
		return false, err
	}
	if depth > maxDepth {
		return false, x.tooLarge("a value is nested more than %d deep", maxDepth)
	}
	switch a := a.(type) {
	case *List:
		b, ok := b.(*List)
		if !ok || len(a.items) != len(b.items) {
			return false, nil
		}
		for i := range a.items {
			if ok, err := x.equalAt(a.items[i], b.items[i], depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case *Map:
		b, ok := b.(*Map)
		if !ok || a.Len() != b.Len() {
			return false, nil
		}
		for k, v := range a.All() {
			w, ok := b.Get(k)
			if !ok {
				return false, nil
			}
			if ok, err := x.equalAt(v, w, depth+1); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case string:
		b, ok := b.(string)
		if !ok || len(a) != len(b) {
			return false, nil
		}
		return a == b, x.work(len(a))
	case nil, bool, int64, float64, Number, *block:
		return a == b, nil
	case Object:
		// An object of the caller's may be of a type that == panics on.
		return reflect.TypeOf(a).Comparable() && a == b, nil
	}
	return false, nil
}
