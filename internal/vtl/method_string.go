package vtl

import (
	"iter"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// callString is a method of java.lang.String. Positions count UTF-16 units, as
// in Java; half of a surrogate pair becomes "?", as it does when Java prints it.
func (x *exec) callString(s, name string, args []any) (any, error) {
	if err := x.work(len(s)); err != nil {
		return nil, err
	}
	switch len(args) {
	case 0:
		return x.stringPlain(s, name)
	case 1:
		switch a := args[0].(type) {
		case string:
			return x.stringWithText(s, name, a)
		case int64:
			return x.stringAt(s, name, a)
		}
	case 2:
		if a, b, ok := two[string, string](args); ok {
			return x.stringReplace(s, name, a, b)
		}
		if a, b, ok := two[int64, int64](args); ok {
			switch name {
			case "substring":
				return substring(s, a, b)
			case "subSequence":
				return substring(s, a, b)
			}
		}
		if a, from, ok := two[string, int64](args); ok {
			switch name {
			case "indexOf", "lastIndexOf":
				return x.find(s, a, from, name == "lastIndexOf")
			case "startsWith":
				rest, err := substring(s, from, int64(units(s)))
				return err == nil && strings.HasPrefix(rest, a), nil
			case "split":
				return x.split(s, a, from)
			}
		}
	}
	switch name {
	case "format":
		if f, ok := args[0].(string); ok {
			return x.format(f, args[1:])
		}
	case "join":
		if sep, ok := args[0].(string); ok {
			if l, ok := args[len(args)-1].(*List); ok && len(args) == 2 {
				return x.join(sep, l)
			}
			return x.join(sep, &List{items: args[1:]})
		}
	case "valueOf":
		if len(args) == 1 && args[0] != nil {
			return x.text(args[0])
		}
	}
	return x.asObject(s, name, args)
}

func (x *exec) stringPlain(s, name string) (any, error) {
	switch name {
	case "length":
		return int64(units(s)), nil
	case "isEmpty":
		return s == "", nil
	case "isBlank":
		return strings.TrimSpace(s) == "", nil
	case "trim":
		return javaTrim(s), nil
	case "strip":
		return strings.TrimSpace(s), nil
	case "toLowerCase":
		return strings.ToLower(s), x.charge(len(s))
	case "toUpperCase":
		// Java's one mapping that lengthens and that texts really have.
		return strings.ReplaceAll(strings.ToUpper(s), "ß", "SS"), x.charge(2 * len(s))
	case "intern", "toString":
		return s, nil
	case "hashCode":
		var h int32
		for u := range eachUnit(s) {
			h = 31*h + int32(u)
		}
		return int64(h), nil
	case "toCharArray":
		if err := x.charge(2 * slot * len(s)); err != nil {
			return nil, err
		}
		l := &List{}
		for u := range eachUnit(s) {
			l.items = append(l.items, string(rune(u)))
		}
		return l, nil
	}
	return x.asObject(s, name, nil)
}

func (x *exec) stringWithText(s, name, a string) (any, error) {
	if err := x.work(len(a)); err != nil {
		return nil, err
	}
	switch name {
	case "contains":
		return strings.Contains(s, a), nil
	case "startsWith":
		return strings.HasPrefix(s, a), nil
	case "endsWith":
		return strings.HasSuffix(s, a), nil
	case "equals", "contentEquals":
		return s == a, nil
	case "equalsIgnoreCase":
		return equalFold(s, a), nil
	case "compareTo":
		return compareText(s, a), nil
	case "compareToIgnoreCase":
		return compareText(strings.ToLower(strings.ToUpper(s)), strings.ToLower(strings.ToUpper(a))), nil
	case "indexOf":
		return x.find(s, a, 0, false)
	case "lastIndexOf":
		return x.find(s, a, int64(len(s)), true)
	case "concat":
		return s + a, x.charge(len(s) + len(a))
	case "matches":
		return x.matches(s, a)
	case "split":
		return x.split(s, a, 0)
	case "format":
		return x.format(a, nil)
	case "valueOf", "copyValueOf":
		return a, nil
	case "join":
		return "", nil // of nothing
	}
	return x.asObject(s, name, []any{a})
}

func (x *exec) stringAt(s, name string, i int64) (any, error) {
	switch name {
	case "substring":
		return substring(s, i, int64(units(s)))
	case "charAt":
		out, err := substring(s, i, i+1)
		return out, err
	case "codePointAt":
		if n := int64(units(s)); i < 0 || i >= n {
			return nil, exception("StringIndexOutOfBoundsException", "index %d of a text of %d", i, n)
		}
		off, split := byteOffset(s, i)
		r, _ := utf8.DecodeRuneInString(s[off:])
		if split {
			_, r = utf16.EncodeRune(r)
		}
		return int64(r), nil
	case "indexOf", "lastIndexOf":
		return x.find(s, string(rune(i)), startOf(name, s), name == "lastIndexOf")
	case "repeat":
		if i < 0 {
			return nil, exception("IllegalArgumentException", "repeat(%d)", i)
		}
		if s != "" && i > int64(x.limits.Data)/int64(len(s)) {
			return nil, x.charge(x.limits.Data + 1)
		}
		if err := x.charge(int(i) * len(s)); err != nil || s == "" {
			return "", err
		}
		return strings.Repeat(s, int(i)), nil
	case "format":
		return nil, ErrNoMethod
	}
	if name == "valueOf" {
		return x.text(i)
	}
	return x.asObject(s, name, []any{i})
}

// startOf is where a search without a start begins.
func startOf(name, s string) int64 {
	if name == "lastIndexOf" {
		return int64(len(s))
	}
	return 0
}

func (x *exec) stringReplace(s, name, from, to string) (any, error) {
	switch name {
	case "replace":
		n := strings.Count(s, from)
		if n == 0 {
			return s, nil
		}
		grow := max(0, len(to)-len(from))
		if grow > 0 && n > x.limits.Data/grow {
			return nil, x.charge(x.limits.Data + 1)
		}
		if err := x.charge(len(s) + n*grow); err != nil {
			return nil, err
		}
		return strings.ReplaceAll(s, from, to), nil
	case "replaceAll":
		return x.replacePattern(s, from, to, -1)
	case "replaceFirst":
		return x.replacePattern(s, from, to, 1)
	case "format":
		return x.format(from, []any{to})
	case "join":
		return to, nil
	}
	return nil, ErrNoMethod
}

// find is indexOf and lastIndexOf, in UTF-16 units, -1 if there is none.
func (x *exec) find(s, a string, from int64, last bool) (any, error) {
	if err := x.work(len(s)); err != nil {
		return nil, err
	}
	n := int64(units(s))
	if last {
		if from < 0 {
			return int64(-1), nil
		}
		end, _ := byteOffset(s, min(from, n))
		i := strings.LastIndex(s[:min(len(s), end+len(a))], a)
		if i < 0 {
			return int64(-1), nil
		}
		return int64(units(s[:i])), nil
	}
	start, _ := byteOffset(s, min(max(from, 0), n))
	i := strings.Index(s[start:], a)
	if i < 0 {
		return int64(-1), nil
	}
	return int64(units(s[:start+i])), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// units is Java's length: UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// eachUnit goes through the UTF-16 units of s.
func eachUnit(s string) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for _, r := range s {
			if r > 0xFFFF {
				hi, lo := utf16.EncodeRune(r)
				if !yield(uint16(hi)) || !yield(uint16(lo)) {
					return
				}
			} else if !yield(uint16(r)) {
				return
			}
		}
	}
}

// byteOffset is where unit i begins; split if that is inside a surrogate pair,
// which then begins there.
func byteOffset(s string, i int64) (off int, split bool) {
	if isASCII(s) {
		return int(i), false
	}
	n := int64(0)
	for off, r := range s {
		if n == i {
			return off, false
		}
		n++
		if r > 0xFFFF {
			if n == i {
				return off, true
			}
			n++
		}
	}
	return len(s), false
}

func substring(s string, from, to int64) (string, error) {
	n := int64(units(s))
	if from < 0 || to > n || from > to {
		return "", exception("StringIndexOutOfBoundsException", "begin %d, end %d, length %d", from, to, n)
	}
	if from == to {
		return "", nil
	}
	i, split1 := byteOffset(s, from)
	j, split2 := byteOffset(s, to)
	if !split1 && !split2 {
		return s[i:j], nil
	}
	const half = "?" // what Java writes for a lone surrogate
	head, tail := "", ""
	if split1 {
		_, w := utf8.DecodeRuneInString(s[i:])
		head, i = half, i+w
	}
	if split2 {
		tail = half
	}
	return head + s[i:j] + tail, nil
}

// javaTrim drops everything up to the blank from both ends.
func javaTrim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' })
}

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

// compareText is the difference of the first two units that differ, else of the
// lengths.
func compareText(a, b string) int64 {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	for i > 0 && (i < len(a) && !utf8.RuneStart(a[i]) || i < len(b) && !utf8.RuneStart(b[i])) {
		i--
	}
	a, b = a[i:], b[i:]
	if a == "" || b == "" {
		return int64(units(a) - units(b))
	}
	next, stop := iter.Pull(eachUnit(b))
	defer stop()
	for u := range eachUnit(a) {
		v, ok := next()
		if !ok {
			break
		}
		if u != v {
			return int64(u) - int64(v)
		}
	}
	return int64(units(a) - units(b))
}
