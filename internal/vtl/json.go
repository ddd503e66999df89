package vtl

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/fault"
)

// FromJSON parses one JSON text. Objects keep the order of their keys (of
// duplicates the last value counts, in the first one's place), whole numbers are
// int64, others float64, and what fits neither is a [Number]. More than 512
// levels of nesting, or anything RFC 8259 does not allow, is an error of kind
// BadRequest.
func FromJSON(data []byte) (any, error) {
	p := jsonParser{text: string(data)}
	v, ok := p.value(0)
	if ok {
		if p.blanks(); p.pos == len(p.text) {
			return v, nil
		}
	}
	if p.tooDeep {
		return nil, fault.New(fault.BadRequest, "JSON nested more than %d levels deep", maxDepth)
	}
	return nil, fault.New(fault.BadRequest, "not JSON: unexpected text at byte %d", p.pos)
}

type jsonParser struct {
	text    string
	pos     int
	tooDeep bool
}

func (p *jsonParser) blanks() {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

func (p *jsonParser) accept(c byte) bool {
	p.blanks()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *jsonParser) keyword(s string) bool {
	if strings.HasPrefix(p.text[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *jsonParser) value(depth int) (any, bool) {
	p.blanks()
	if depth > maxDepth {
		p.tooDeep = true
		return nil, false
	}
	if p.pos == len(p.text) {
		return nil, false
	}
	switch p.text[p.pos] {
	case '{':
		return p.object(depth)
	case '[':
		return p.array(depth)
	case '"':
		return p.string()
	case 't':
		return true, p.keyword("true")
	case 'f':
		return false, p.keyword("false")
	case 'n':
		return nil, p.keyword("null")
	}
	return p.number()
}

func (p *jsonParser) object(depth int) (any, bool) {
	p.pos++
	m := NewMap()
	if p.accept('}') {
		return m, true
	}
	for {
		p.blanks()
		k, ok := p.string()
		if !ok || !p.accept(':') {
			return nil, false
		}
		v, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		m.Set(k, v)
		if p.accept('}') {
			return m, true
		}
		if !p.accept(',') {
			return nil, false
		}
	}
}

func (p *jsonParser) array(depth int) (any, bool) {
	p.pos++
	l := NewList()
	if p.accept(']') {
		return l, true
	}
	for {
		v, ok := p.value(depth + 1)
		if !ok {
			return nil, false
		}
		l.Append(v)
		if p.accept(']') {
			return l, true
		}
		if !p.accept(',') {
			return nil, false
		}
	}
}

// string reads a string; the rare one with escapes or broken UTF-8 goes through
// encoding/json.
func (p *jsonParser) string() (string, bool) {
	if p.pos == len(p.text) || p.text[p.pos] != '"' {
		return "", false
	}
	start := p.pos
	plain := true
	for i := start + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			quoted := p.text[start : i+1]
			s := quoted[1 : len(quoted)-1]
			if !plain || !utf8.ValidString(s) {
				if json.Unmarshal([]byte(quoted), &s) != nil {
					return "", false
				}
			}
			p.pos = i + 1
			return s, true
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			p.pos = i
			return "", false
		}
	}
	return "", false
}

func (p *jsonParser) digits() bool {
	start := p.pos
	for p.pos < len(p.text) && isDigit(p.text[p.pos]) {
		p.pos++
	}
	return p.pos > start
}

func (p *jsonParser) number() (any, bool) {
	start := p.pos
	p.keyword("-")
	first := p.pos
	if !p.digits() || p.text[first] == '0' && p.pos > first+1 {
		return nil, false
	}
	whole := true
	if p.keyword(".") {
		whole = false
		if !p.digits() {
			return nil, false
		}
	}
	if p.keyword("e") || p.keyword("E") {
		whole = false
		if !p.keyword("+") {
			p.keyword("-")
		}
		if !p.digits() {
			return nil, false
		}
	}
	text := p.text[start:p.pos]
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, true
		}
		return Number(text), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return Number(text), true
	}
	return f, true
}
