package attr

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"
)

// ReadItem reads an object of attribute values: {"pk":{"S":"a"},…}. null reads
// as no document.
func (r *Reader) ReadItem() Document {
	r.invalid, r.at, r.values = nil, "", 0
	m := r.members(1)
	return Document{m, r.invalid, r.at}
}

// ReadValue reads one attribute value, {"S":"a"}, and says which rule it breaks.
func (r *Reader) ReadValue() (v Value, invalid error) {
	r.invalid, r.member, r.values = nil, "", 0
	return r.value(1), r.invalid
}

// usualMember is about how many bytes a short member of an item takes, so that the
// rest of the input tells how much room a key or an item needs.
const usualMember = 32

func (r *Reader) members(depth int) Map {
	m := Map{}
	sorted := true
	isObject := r.Object(func(name string) {
		if depth == 1 {
			r.member = name
		}
		if len(m) == 0 && depth == 1 {
			m = make(Map, 0, min((len(r.buf)-r.pos)/usualMember+1, 8))
		}
		if n := len(m); sorted && n > 0 && m[n-1].Name >= name {
			sorted = false
		}
		if v := r.value(depth); r.worth() {
			m = append(m, Member{name, v})
		}
	})
	if !isObject {
		return nil
	}
	if sorted {
		return m
	}
	slices.SortStableFunc(m, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return uniqueLast(m)
}

// uniqueLast keeps the last of members with one name, as JSON readers do.
func uniqueLast(m Map) Map {
	out := m[:0]
	for i := range m {
		if i+1 < len(m) && m[i+1].Name == m[i].Name {
			continue
		}
		out = append(out, m[i])
	}
	return out
}

// value reads one attribute value at a depth of nesting.
func (r *Reader) value(depth int) Value {
	var v Value
	if depth > MaxDepth+1 && !r.trusted {
		r.breaks(Invalid("Nesting Levels have exceeded supported limits"))
		r.Skip()
		return v
	}
	types := 0
	ok := r.Object(func(name string) {
		kind, known := ParseKind(name)
		if !known || r.Null() {
			if !known {
				r.Skip()
			}
			return
		}
		types++
		v = Value{Kind: kind}
		r.content(&v, depth)
	})
	switch {
	case r.err != nil:
	case !ok || types == 0:
		r.breaks(Invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"))
	case types > 1:
		r.breaks(Invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"))
	}
	return v
}

// content reads what follows the type name of v.
func (r *Reader) content(v *Value, depth int) {
	switch v.Kind {
	case S:
		v.Str = r.String()
	case N:
		v.Str = r.number()
	case B:
		v.Str = r.binary()
	case BOOL:
		v.Bool = r.Bool()
	case NULL:
		if v.Bool = r.Bool(); !v.Bool && r.err == nil {
			r.breaks(Invalid("One or more parameter values were invalid: Null attribute value types must have the value of true"))
		}
	case M:
		if v.Map = r.members(depth + 1); v.Map == nil {
			v.Map = Map{}
		}
	case L:
		v.List = []Value{}
		r.Array(func() {
			if e := r.value(depth + 1); r.worth() {
				v.List = append(v.List, e)
			}
		})
	case SS:
		r.elements(v, r.String)
	case NS:
		r.elements(v, r.number)
	case BS:
		r.elements(v, r.binary)
	}
	if v.Kind.IsSet() && !r.trusted && r.err == nil {
		if err := checkSet(*v); err != nil {
			r.breaks(err)
		}
	}
}

// elements reads the members of a set.
func (r *Reader) elements(v *Value, element func() string) {
	r.Array(func() {
		if e := element(); r.worth() {
			v.Set = append(v.Set, e)
		}
	})
}

// maxValues is more than any item can have: each counts one byte at least towards its
// 400 KB.
const maxValues = 400 << 10

// worth reports whether the value just read is worth keeping: not in a document that
// will be refused anyway, whose size then is the request's alone.
func (r *Reader) worth() bool {
	if r.trusted {
		return true
	}
	if r.values++; r.values > maxValues {
		r.breaks(Invalid("Item size has exceeded the maximum allowed size"))
	}
	return r.invalid == nil
}

// number reads an N's text. AWS's own mapping templates emit JSON numbers here,
// so those are accepted too.
func (r *Reader) number() string {
	var text string
	if c := r.Peek(); c == '-' || c >= '0' && c <= '9' {
		text = r.numberToken()
	} else {
		text = r.String()
	}
	if r.trusted || r.err != nil {
		return text
	}
	d, err := ParseNumber(text)
	if err != nil {
		r.breaks(err)
		return "0"
	}
	return d.String()
}

func (r *Reader) binary() string {
	text := r.String()
	if r.err != nil {
		return ""
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		r.Fail(unserializable("Invalid Base64: %q is not base64", clip(text)))
	}
	return string(b)
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// checkSet applies the rules of sets: not empty, no duplicates.
func checkSet(v Value) error {
	if len(v.Set) == 0 {
		switch v.Kind {
		case SS:
			return Invalid("One or more parameter values were invalid: An string set  may not be empty")
		case NS:
			return Invalid("One or more parameter values were invalid: An number set  may not be empty")
		}
		return Invalid("One or more parameter values were invalid: Binary sets should not be empty")
	}
	if !hasDuplicates(v.Set) {
		return nil
	}
	switch v.Kind {
	case NS:
		return Invalid("Input collection contains duplicates")
	case BS:
		shown := make([]string, len(v.Set))
		for i, s := range v.Set {
			shown[i] = base64.StdEncoding.EncodeToString([]byte(s))
		}
		return Invalid("One or more parameter values were invalid: Input collection [%s]of type BS contains duplicates.", strings.Join(shown, ", "))
	}
	return Invalid("One or more parameter values were invalid: Input collection [%s] contains duplicates.", strings.Join(v.Set, ", "))
}

func hasDuplicates(set []string) bool {
	if len(set) <= 8 {
		for i := range set {
			if slices.Contains(set[:i], set[i]) {
				return true
			}
		}
		return false
	}
	seen := make(map[string]struct{}, len(set))
	for _, s := range set {
		if _, ok := seen[s]; ok {
			return true
		}
		seen[s] = struct{}{}
	}
	return false
}

// DecodeItem reads an item that AppendItem has written.
func DecodeItem(b []byte) (Map, error) {
	r := NewReader(b)
	r.trusted = true
	m := r.members(1)
	return m, r.err
}

// ParseItem reads an item in wire form from outside.
func ParseItem(b []byte) (Map, error) {
	r := NewReader(b)
	d := r.ReadItem()
	r.End()
	if r.err != nil {
		return nil, r.err
	}
	return d.Map, d.Invalid
}

// AppendItem appends the wire form: the same bytes for equal items.
func AppendItem(dst []byte, m Map) []byte {
	dst = append(dst, '{')
	for i := range m {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, m[i].Name)
		dst = append(dst, ':')
		dst = AppendValue(dst, m[i].Value)
	}
	return append(dst, '}')
}

// AppendValue appends a value's wire form.
func AppendValue(dst []byte, v Value) []byte {
	dst = append(dst, '{', '"')
	dst = append(dst, v.Kind.String()...)
	dst = append(dst, '"', ':')
	switch v.Kind {
	case S, N:
		dst = AppendString(dst, v.Str)
	case B:
		dst = appendBase64(dst, v.Str)
	case BOOL, NULL:
		if v.Bool {
			dst = append(dst, "true"...)
		} else {
			dst = append(dst, "false"...)
		}
	case M:
		dst = AppendItem(dst, v.Map)
	case L:
		dst = append(dst, '[')
		for i := range v.List {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendValue(dst, v.List[i])
		}
		dst = append(dst, ']')
	case SS, NS, BS:
		dst = append(dst, '[')
		for i, s := range v.Set {
			if i > 0 {
				dst = append(dst, ',')
			}
			if v.Kind == BS {
				dst = appendBase64(dst, s)
			} else {
				dst = AppendString(dst, s)
			}
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

func appendBase64(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(s))
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// AppendString appends a JSON string.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			continue
		}
		if c >= utf8.RuneSelf {
			continue // valid UTF-8, checked when it was read
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
