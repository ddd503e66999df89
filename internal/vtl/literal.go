package vtl

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// operand reads a literal or a reference.
func (p *parser) operand(want string) (expr, error) {
	off := p.pos
	if err := p.nest(off); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	switch c := p.peek(0); {
	case c == '$':
		r, err := p.reference()
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, p.unexpected(want)
		}
		return r, nil
	case c == '"':
		return p.interpolated()
	case c == '\'':
		text, err := p.quotedText('\'')
		if err != nil {
			return nil, err
		}
		return &constant{value: text, text: p.src.text[off:p.pos]}, nil
	case c == '[':
		return p.listOrRange()
	case c == '{':
		return p.mapLiteral()
	case isDigit(c), c == '-' && (isDigit(p.peek(1)) || p.peek(1) == '.' && isDigit(p.peek(2))), c == '.' && isDigit(p.peek(1)):
		return p.number(), nil
	}
	switch p.word() {
	case "true":
		return &constant{value: true, text: "true"}, nil
	case "false":
		return &constant{value: false, text: "false"}, nil
	}
	p.pos = off
	if p.inCall {
		return p.bareName(want)
	}
	return nil, p.unexpected(want)
}

// bareName reads a name without "$" among a method's arguments, which Velocity
// takes for a reference to nothing. That is how $util.toJson(null) works, though
// the language has no null.
func (p *parser) bareName(want string) (expr, error) {
	start := p.pos
	if p.identifier() == "" {
		return nil, p.unexpected(want)
	}
	for more := true; more; {
		var err error
		if more, err = p.part(&ref{}); err != nil {
			return nil, err
		}
	}
	return &constant{text: p.src.text[start:p.pos]}, nil
}

// quotedText reads a literal's text; a doubled quote stands for one.
func (p *parser) quotedText(quote byte) (string, error) {
	start := p.pos
	p.pos++
	doubled := false
	for {
		i := strings.IndexByte(p.src.text[p.pos:], quote)
		if i < 0 {
			p.pos = start
			return "", p.errorAt(start, "the text has no closing %c", quote)
		}
		p.pos += i + 1
		if p.peek(0) != quote {
			break
		}
		p.pos++
		doubled = true
	}
	text := p.src.text[start+1 : p.pos-1]
	if doubled {
		text = strings.ReplaceAll(text, string([]byte{quote, quote}), string(quote))
	}
	return text, nil
}

// interpolated reads a double-quoted literal, which is a template of its own if
// it holds a "$" or a "#".
func (p *parser) interpolated() (expr, error) {
	start := p.pos
	text, err := p.quotedText('"')
	if err != nil {
		return nil, err
	}
	text = unescapeUnicode(text)
	if !strings.ContainsAny(text, "$#") {
		return &constant{value: text, text: p.src.text[start:p.pos]}, nil
	}
	sub := &parser{
		src: &source{name: p.src.name, text: text, at: pos{p.src, start + 1}},
		d:   p.d, depth: p.depth, quoted: true, macros: p.macros,
	}
	body, err := sub.template()
	if err != nil {
		return nil, err
	}
	return &interpolation{at: pos{p.src, start}, body: body, text: p.src.text[start:p.pos]}, nil
}

// unescapeUnicode resolves \uXXXX, the only escape that a literal knows.
func unescapeUnicode(s string) string {
	if !strings.Contains(s, `\u`) {
		return s
	}
	var b strings.Builder
	for {
		i := strings.Index(s, `\u`)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i:]
		v, err := strconv.ParseUint(s[min(2, len(s)):min(6, len(s))], 16, 16)
		if len(s) < 6 || err != nil {
			b.WriteString(s[:2])
			s = s[2:]
			continue
		}
		b.WriteRune(rune(v))
		s = s[6:]
	}
}

func (p *parser) number() expr {
	start := p.pos
	if p.peek(0) == '-' {
		p.pos++
	}
	p.digits()
	float := false
	if p.peek(0) == '.' && p.peek(1) != '.' {
		float = true
		p.pos++
		p.digits()
	}
	if c := p.peek(0); c == 'e' || c == 'E' {
		n := 1
		if s := p.peek(1); s == '+' || s == '-' {
			n = 2
		}
		if isDigit(p.peek(n)) {
			float = true
			p.pos += n
			p.digits()
		}
	}
	text := p.src.text[start:p.pos]
	k := &constant{text: text}
	if float {
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			f = math.Inf(1) // only the range can be wrong; Java says Infinity too
			if text[0] == '-' {
				f = math.Inf(-1)
			}
		}
		k.value = f
	} else if i, err := strconv.ParseInt(text, 10, 64); err == nil {
		k.value = i
	} else {
		k.value = Number(text)
		if n, ok := new(big.Int).SetString(text, 10); ok && len(text) <= maxDigits {
			k.value = Number(n.String())
		}
	}
	return k
}

func (p *parser) digits() {
	for isDigit(p.peek(0)) {
		p.pos++
	}
}

// listOrRange reads [a, b] or [1..3].
func (p *parser) listOrRange() (expr, error) {
	start := p.pos
	p.pos++
	p.spaces()
	if p.accept("]") {
		return &listNode{at: pos{p.src, start}, text: p.src.text[start:p.pos]}, nil
	}
	first, err := p.operand(`an element or "]"`)
	if err != nil {
		return nil, err
	}
	p.spaces()
	if p.accept("..") {
		return p.rangeLiteral(start, first)
	}
	items, err := p.more([]expr{first}, "]")
	if err != nil {
		return nil, err
	}
	return &listNode{at: pos{p.src, start}, items: items, text: p.src.text[start:p.pos]}, nil
}

func (p *parser) rangeLiteral(start int, first expr) (expr, error) {
	p.spaces()
	off := p.pos
	last, err := p.operand("the end of the range")
	if err != nil {
		return nil, err
	}
	if !isBound(first) || !isBound(last) {
		return nil, p.errorAt(off, "the bounds of a range are whole numbers or references")
	}
	p.spaces()
	if err := p.expect("]"); err != nil {
		return nil, err
	}
	return &rangeNode{at: pos{p.src, start}, first: first, last: last, text: p.src.text[start:p.pos]}, nil
}

// isBound tells whether e may bound a range.
func isBound(e expr) bool {
	switch e := e.(type) {
	case *ref:
		return true
	case *constant:
		_, ok := e.value.(int64)
		return ok
	}
	return false
}

func (p *parser) mapLiteral() (expr, error) {
	m := &mapNode{at: pos{p.src, p.pos}}
	start := p.pos
	p.pos++
	p.spaces()
	for !p.accept("}") {
		if len(m.keys) > 0 {
			if !p.accept(",") {
				return nil, p.unexpected(`"," or "}"`)
			}
			p.spaces()
		}
		k, err := p.operand("a key")
		if err != nil {
			return nil, err
		}
		p.spaces()
		if err := p.expect(":"); err != nil {
			return nil, err
		}
		p.spaces()
		v, err := p.operand("a value")
		if err != nil {
			return nil, err
		}
		p.spaces()
		m.keys, m.values = append(m.keys, k), append(m.values, v)
	}
	m.text = p.src.text[start:p.pos]
	return m, nil
}
