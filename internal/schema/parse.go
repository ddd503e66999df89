package schema

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/livegate/livegate/internal/fault"
)

// parse reads JSON (RFC 8259) within the bounds. Of duplicate names the last one
// counts, as in selection expressions and in what functions use.
func parse(text []byte) (any, error) {
	if err := measure(text); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fault.New(fault.BadRequest, "it is not JSON") // the parser's words would quote the message
	}
	if len(bytes.TrimLeft(text[dec.InputOffset():], " \t\r\n")) > 0 {
		return nil, fault.New(fault.BadRequest, "it is not JSON: something follows the value")
	}
	return v, nil
}

// measure looks at the size of a JSON text before anything is built from it. What
// is not JSON may pass: the parser is next.
func measure(text []byte) error {
	depth, values := 0, 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			i = endOfString(text, i)
		case c == '{' || c == '[':
			depth++
			values++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		case c == '-' || c >= '0' && c <= '9':
			end := i + 1
			for end < len(text) && numberByte(text[end]) {
				end++
			}
			if !reasonable(text[i:end]) {
				return fault.New(fault.BadRequest, "a number has more than %d characters or an exponent beyond %d", maxNumber, maxExponent)
			}
			i = end - 1
		}
		if depth > maxDepth {
			return fault.New(fault.BadRequest, "it has more than %d levels", maxDepth)
		}
		if values > maxValues {
			return fault.New(fault.BadRequest, "it has more than %d values", maxValues)
		}
	}
	return nil
}

// endOfString is the index of the quote that ends the string at i.
func endOfString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}

func numberByte(c byte) bool {
	return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || c == '+' || c == '-'
}

func reasonable(number []byte) bool {
	if len(number) > maxNumber {
		return false
	}
	i := bytes.IndexAny(number, "eE")
	if i < 0 {
		return true
	}
	exponent, err := strconv.Atoi(string(number[i+1:]))
	return err == nil && exponent >= -maxExponent && exponent <= maxExponent
}
