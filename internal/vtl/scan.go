package vtl

import (
	"fmt"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// maxNesting bounds blocks, parentheses and literals inside each other, so that
// neither the parser nor the evaluator can be driven into deep recursion.
const maxNesting = 100

// parser reads a template straight from its text: Velocity's tokens depend on
// where they stand, so there is no token stream to speak of.
type parser struct {
	src    *source
	d      Dialect
	pos    int
	depth  int
	quoted bool // inside a double-quoted string literal
	inCall bool // among a method's arguments
	macros map[string]*macro
}

func (p *parser) errorAt(off int, format string, args ...any) *SyntaxError {
	line, col := pos{p.src, off}.lineCol()
	return &SyntaxError{Name: p.src.name, Line: line, Col: col, Msg: fmt.Sprintf(format, args...), kind: fault.BadRequest}
}

func (p *parser) unsupportedAt(off int, format string, args ...any) *SyntaxError {
	e := p.errorAt(off, format, args...)
	e.kind = fault.Unsupported
	return e
}

// unexpected describes what stands at the cursor where want was expected.
func (p *parser) unexpected(want string) *SyntaxError {
	if p.eof() {
		return p.errorAt(p.pos, "the template ends where %s was expected", want)
	}
	rest := p.src.text[p.pos:]
	end := strings.IndexAny(rest, " \t\r\n")
	if end <= 0 {
		end = len(rest)
	}
	for end > 20 || end > 0 && end < len(rest) && rest[end]&0xC0 == 0x80 {
		end-- // at most 20 bytes, and no half character
	}
	return p.errorAt(p.pos, "%q stands where %s was expected", rest[:max(end, 1)], want)
}

func (p *parser) nest(off int) error {
	if p.depth++; p.depth > maxNesting {
		return p.errorAt(off, "nested more than %d levels deep", maxNesting)
	}
	return nil
}

func (p *parser) eof() bool { return p.pos >= len(p.src.text) }

// peek is the byte n places ahead, 0 at the end.
func (p *parser) peek(n int) byte {
	if p.pos+n < len(p.src.text) {
		return p.src.text[p.pos+n]
	}
	return 0
}

func (p *parser) has(s string) bool { return strings.HasPrefix(p.src.text[p.pos:], s) }

func (p *parser) accept(s string) bool {
	if p.has(s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *parser) expect(s string) error {
	if !p.accept(s) {
		return p.unexpected(`"` + s + `"`)
	}
	return nil
}

// spaces skips blanks and line ends inside a directive.
func (p *parser) spaces() bool {
	start := p.pos
	for isSpace(p.peek(0)) {
		p.pos++
	}
	return p.pos > start
}

// lineEnd eats blanks and one line end, or nothing at all: what a closing
// parenthesis or #end of a directive does.
func (p *parser) lineEnd() {
	i := p.pos
	for i < len(p.src.text) && (p.src.text[i] == ' ' || p.src.text[i] == '\t') {
		i++
	}
	switch rest := p.src.text[i:]; {
	case strings.HasPrefix(rest, "\r\n"):
		p.pos = i + 2
	case rest != "" && (rest[0] == '\n' || rest[0] == '\r'):
		p.pos = i + 1
	}
}

// identifier reads a reference's name part, "" if there is none.
func (p *parser) identifier() string {
	if c := p.peek(0); !isLetter(c) && c != '_' {
		return ""
	}
	start := p.pos
	for c := p.peek(0); isLetter(c) || isDigit(c) || c == '_' || c == '-'; c = p.peek(0) {
		p.pos++
	}
	return p.src.text[start:p.pos]
}

// word reads a directive's name or a bare word, "" if there is none.
func (p *parser) word() string {
	if c := p.peek(0); !isLetter(c) && c != '_' && c != '@' {
		return ""
	}
	start := p.pos
	for c := p.peek(0); isLetter(c) || isDigit(c) || c == '_' || c == '@'; c = p.peek(0) {
		p.pos++
	}
	return p.src.text[start:p.pos]
}

// directiveName reads "name" or "{name}" after a "#".
func (p *parser) directiveName() string {
	if p.peek(0) != '{' {
		return p.word()
	}
	start := p.pos
	p.pos++
	if w := p.word(); w != "" && p.accept("}") {
		return w
	}
	p.pos = start
	return ""
}

// setStart measures "[blanks]#set[ ](" or "[blanks]#{set}[ ](" at the cursor; 0
// if there is none.
func (p *parser) setStart() int {
	rest := p.src.text[p.pos:]
	i := 0
	for i < len(rest) && (rest[i] == ' ' || rest[i] == '\t') {
		i++
	}
	switch {
	case strings.HasPrefix(rest[i:], "#set"):
		i += len("#set")
	case strings.HasPrefix(rest[i:], "#{set}"):
		i += len("#{set}")
	default:
		return 0
	}
	for i < len(rest) && rest[i] == ' ' {
		i++
	}
	if i < len(rest) && rest[i] == '(' {
		return i + 1
	}
	return 0
}

func isSpace(c byte) bool  { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
