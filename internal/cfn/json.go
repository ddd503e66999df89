package cfn

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseJSON reads RFC 8259 JSON with positions. The YAML parser would accept
// most of it, but not "\/" and surrogate escapes, and would let trailing commas
// pass that CloudFormation refuses.
func parseJSON(file string, data []byte, r *report) *Node {
	p := &jsonReader{report: r, file: file, src: string(data), line: 1, budget: maxNodes}
	n := p.value(0)
	if n == nil {
		return nil
	}
	p.space()
	if p.i < len(p.src) {
		p.fail("A template is one value; remove what follows it.", "Unexpected %s after the end of the template.", p.here())
		return nil
	}
	return n
}

type jsonReader struct {
	*report
	file   string
	src    string
	i      int
	line   int // of i
	start  int // offset of that line
	budget int
}

func (p *jsonReader) pos() Pos {
	return Pos{p.file, p.line, 1 + utf8.RuneCountInString(p.src[p.start:p.i])}
}

func (p *jsonReader) fail(hint, format string, args ...any) *Node {
	p.errorf(p.pos(), "json-syntax", hint, format, args...)
	return nil
}

// here names what stands at the cursor.
func (p *jsonReader) here() string {
	if p.i >= len(p.src) {
		return "end of file"
	}
	c, _ := utf8.DecodeRuneInString(p.src[p.i:])
	return strconv.QuoteRune(c)
}

func (p *jsonReader) space() {
	for p.i < len(p.src) {
		switch p.src[p.i] {
		case '\n':
			p.line++
			p.start = p.i + 1
		case ' ', '\t', '\r':
		default:
			return
		}
		p.i++
	}
}

func (p *jsonReader) peek() byte {
	p.space()
	if p.i >= len(p.src) {
		return 0
	}
	return p.src[p.i]
}

// value returns nil after a syntax error.
func (p *jsonReader) value(depth int) *Node {
	c := p.peek()
	if p.budget--; p.budget < 0 {
		p.errorf(p.pos(), "template-too-large", "", "The template has more than %d values.", maxNodes)
		return nil
	}
	if depth > maxDepth {
		p.errorf(p.pos(), "template-too-deep", "", "Values are nested deeper than %d levels.", maxDepth)
		return nil
	}
	at := p.pos()
	switch {
	case c == '{':
		return p.object(at, depth)
	case c == '[':
		return p.array(at, depth)
	case c == '"':
		s, ok := p.text()
		if !ok {
			return nil
		}
		return Text(s, at)
	case c == '\'':
		return p.fail("JSON strings are written in double quotes.", "Unexpected single quote.")
	case c == '/':
		return p.fail("JSON has no comments; use a Metadata or Description entry.", "Unexpected comment.")
	}
	end := p.i
	for end < len(p.src) && !strings.ContainsRune(" \t\r\n,]}:\"", rune(p.src[end])) {
		end++
	}
	word := p.src[p.i:end]
	switch {
	case word == "true" || word == "false":
		p.i = end
		return &Node{Kind: Bool, Text: word, Pos: at}
	case word == "null":
		p.i = end
		return &Node{Kind: Null, Pos: at}
	case jsonNumber(word):
		p.i = end
		return &Node{Kind: Number, Text: word, Pos: at}
	case word == "":
		return p.fail("", "A value is missing before %s.", p.here())
	}
	return p.fail("Strings need double quotes; numbers no leading zero.", "%s is not a JSON value.", quote(word))
}

func (p *jsonReader) array(at Pos, depth int) *Node {
	n := &Node{Kind: List, Pos: at}
	p.i++
	if p.peek() == ']' {
		p.i++
		return n
	}
	for {
		v := p.value(depth + 1)
		if v == nil {
			return nil
		}
		n.List = append(n.List, v)
		switch p.peek() {
		case ',':
			p.i++
			if p.peek() == ']' {
				return p.fail("Remove the last comma.", "A list may not end with a comma.")
			}
		case ']':
			p.i++
			return n
		default:
			return p.fail("", "Expected a comma or ] in the list that starts on line %d, found %s.", at.Line, p.here())
		}
	}
}

func (p *jsonReader) object(at Pos, depth int) *Node {
	n := &Node{Kind: Map, Pos: at}
	seen := map[string]int{}
	p.i++
	if p.peek() == '}' {
		p.i++
		return n
	}
	for {
		if p.peek() != '"' {
			return p.fail("Keys are written in double quotes.", "Expected a key, found %s.", p.here())
		}
		keyAt := p.pos()
		key, ok := p.text()
		if !ok {
			return nil
		}
		if p.peek() != ':' {
			return p.fail("", "Expected a colon after the key %s, found %s.", quote(key), p.here())
		}
		p.i++
		v := p.value(depth + 1)
		if v == nil {
			return nil
		}
		if line, dup := seen[key]; dup {
			p.errorf(keyAt, "duplicate-key", "Remove one of them, or give it another name.", "The key %s is already used on line %d.", quote(key), line)
		} else {
			seen[key] = keyAt.Line
			n.Map = append(n.Map, Entry{Key: key, Pos: keyAt, Value: v})
		}
		switch p.peek() {
		case ',':
			p.i++
			if p.peek() == '}' {
				return p.fail("Remove the last comma.", "A map may not end with a comma.")
			}
		case '}':
			p.i++
			return n
		default:
			return p.fail("", "Expected a comma or } in the map that starts on line %d, found %s.", at.Line, p.here())
		}
	}
}

// text reads a string; the cursor is on its opening quote.
func (p *jsonReader) text() (string, bool) {
	open := p.pos()
	end := p.i + 1
	for end < len(p.src) && p.src[end] != '"' {
		if p.src[end] == '\\' {
			end++
		}
		if end < len(p.src) && p.src[end] < ' ' {
			end = len(p.src)
		}
		end++
	}
	if end >= len(p.src) {
		p.errorf(open, "json-syntax", `A string ends on its line; write \n for a line break.`, "The string is never closed.")
		return "", false
	}
	raw := p.src[p.i+1 : end]
	s, ok := unescape(raw)
	if !ok {
		p.errorf(open, "json-syntax", `Known escapes: \" \\ \/ \b \f \n \r \t \uXXXX.`, "The string %s holds an unknown \\ escape or bytes that are not UTF-8.", quote(raw))
		return "", false
	}
	p.i = end + 1
	return s, true
}
