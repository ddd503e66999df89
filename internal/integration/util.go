package integration

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"

	"github.com/livegate/livegate/internal/selection"
	"github.com/livegate/livegate/internal/vtl"
)

// util is $util as WebSocket APIs have it; AppSync's has more.
type util struct{ work *work }

func (util) Get(string) (any, bool) { return nil, false }

func (u util) Call(name string, args []any) (any, error) {
	if len(args) == 1 {
		s := ""
		if args[0] != nil {
			s = text(args[0])
		}
		weight := reading
		if name == "parseJson" {
			weight = building
		}
		if err := u.work.spend(len(s), weight); err != nil {
			return nil, err
		}
		switch name {
		case "escapeJavaScript":
			return escapeJavaScript(s), nil
		case "parseJson":
			if !selection.ValidJSON([]byte(s)) {
				return nil, fmt.Errorf("$util.parseJson: not JSON but %s", shape(s))
			}
			return vtl.FromJSON([]byte(s))
		case "urlEncode":
			return urlEncode(s), nil
		case "urlDecode":
			out, err := url.QueryUnescape(s)
			if err != nil {
				return nil, fmt.Errorf("$util.urlDecode: %w", err)
			}
			return out, nil
		case "base64Encode":
			return base64.StdEncoding.EncodeToString([]byte(s)), nil
		case "base64Decode":
			return base64Decode(s)
		}
	}
	return nil, fmt.Errorf("$util has no method %s with %d arguments; there are escapeJavaScript, parseJson, urlEncode, urlDecode, base64Encode and base64Decode", name, len(args))
}

func base64Decode(s string) (any, error) {
	s = strings.TrimRight(strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, s), "=")
	for _, coding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if raw, err := coding.DecodeString(s); err == nil {
			return string(raw), nil
		}
	}
	return nil, errors.New("$util.base64Decode: not base64")
}

const hexUpper = "0123456789ABCDEF"

// urlEncode is Java's URLEncoder: letters, digits and .-*_ stay, a space is "+".
func urlEncode(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/4)
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '*', c == '_':
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.Write([]byte{'%', hexUpper[c>>4], hexUpper[c&15]})
		}
	}
	return b.String()
}

// escapeJavaScript is that of Apache Commons: quotes of both kinds, backslash,
// slash, control characters and everything beyond ASCII. The guide says what it
// means for JSON: "\'" is no JSON escape, so templates append
// .replaceAll("\\'","'").
func escapeJavaScript(s string) string {
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	for _, r := range s {
		switch {
		case r == '"', r == '\'', r == '\\', r == '/':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r > 0x7e:
			for _, unit := range utf16.Encode([]rune{r}) {
				b.Write([]byte{'\\', 'u', hexUpper[unit>>12], hexUpper[unit>>8&15], hexUpper[unit>>4&15], hexUpper[unit&15]})
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

var _ vtl.Object = util{}
