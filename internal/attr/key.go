package attr

// Key encoding: the bytes of two encoded values of one type compare as the
// values do, and every encoding ends itself, so components can be concatenated.
//
//	S, B  content with 00 written as 00 FF, then 00 01
//	N     01 negative, 02 zero, 03 positive; exponent + 129; two digits a byte,
//	      each pair + 1; 00. Negative numbers have all bytes after the first
//	      complemented, so that larger magnitudes come first.
const (
	escape     = 0x00
	escaped    = 0xff
	terminator = 0x01

	negative = 0x01
	zero     = 0x02
	positive = 0x03

	exponentBias = 129
)

// AppendKey appends the key encoding of v, which must be an S, N or B.
func AppendKey(dst []byte, v Value) []byte {
	if v.Kind == N {
		return appendNumberKey(dst, v.Str)
	}
	return append(AppendKeyPrefix(dst, v.Str), escape, terminator)
}

// AppendKeyPrefix appends what the encodings of all strings (or binaries) that
// begin with s have in common.
func AppendKeyPrefix(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		dst = append(dst, s[i])
		if s[i] == escape {
			dst = append(dst, escaped)
		}
	}
	return dst
}

func appendNumberKey(dst []byte, text string) []byte {
	d, _ := ParseNumber(text) // canonical, so it parses
	switch {
	case d.n == 0:
		return append(dst, zero)
	case d.neg:
		dst = append(dst, negative)
	default:
		dst = append(dst, positive)
	}
	from := len(dst)
	dst = append(dst, byte(int(d.exp)+exponentBias))
	for i := 0; i < int(d.n); i += 2 {
		pair := d.digits[i] * 10
		if i+1 < int(d.n) {
			pair += d.digits[i+1]
		}
		dst = append(dst, pair+1)
	}
	dst = append(dst, 0)
	if d.neg {
		for i := from; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

// KeyLen is the length of the encoded value of type k that key begins with; -1
// if it does not begin with one.
func KeyLen(key []byte, k Kind) int {
	if k == N {
		return numberKeyLen(key)
	}
	for i := 0; i+1 < len(key); i++ {
		if key[i] != escape {
			continue
		}
		if key[i+1] == terminator {
			return i + 2
		}
		i++
	}
	return -1
}

func numberKeyLen(key []byte) int {
	if len(key) == 0 {
		return -1
	}
	end := byte(0)
	switch key[0] {
	case zero:
		return 1
	case negative:
		end = 0xff
	}
	for i := 2; i < len(key); i++ {
		if key[i] == end {
			return i + 1
		}
	}
	return -1
}
