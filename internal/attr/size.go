package attr

import "strings"

// Sizes in bytes as DynamoDB counts them (Developer Guide, "DynamoDB item sizes
// and formats"): names and strings in UTF-8, numbers by their digits, one byte
// for booleans and nulls, three for a list or map and one more per element.

// Size is the item's size: every name and every value.
func (m Map) Size() int {
	n := 0
	for i := range m {
		n += len(m[i].Name) + m[i].Value.Size()
	}
	return n
}

// Size is the value's size.
func (v Value) Size() int {
	switch v.Kind {
	case S, B:
		return len(v.Str)
	case N:
		return numberSize(v.Str)
	case L:
		n := 3
		for i := range v.List {
			n += 1 + v.List[i].Size()
		}
		return n
	case M:
		return 3 + len(v.Map) + v.Map.Size()
	case SS, BS:
		n := 0
		for _, s := range v.Set {
			n += len(s)
		}
		return n
	case NS:
		n := 0
		for _, s := range v.Set {
			n += numberSize(s)
		}
		return n
	}
	return 1 // BOOL, NULL
}

// numberSize is one byte, one per two significant digits, and one for a minus.
func numberSize(s string) int {
	n := 1
	if strings.HasPrefix(s, "-") {
		s = s[1:]
		n++
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if fraction == "" {
		whole = strings.TrimRight(whole, "0")
	}
	digits := strings.TrimLeft(whole, "0") + fraction
	if strings.TrimLeft(whole, "0") == "" {
		digits = strings.TrimLeft(fraction, "0")
	}
	return n + (len(digits)+1)/2
}
