package vtl

import "strings"

// ending says what closed a block.
type ending uint8

const (
	atEOF ending = iota
	atEnd
	atElse
	atElseif
)

func (p *parser) template() ([]node, error) {
	body, end, err := p.block()
	if err != nil {
		return nil, err
	}
	switch end {
	case atEnd:
		return nil, p.errorAt(p.pos, "#end closes nothing")
	case atElse, atElseif:
		return nil, p.errorAt(p.pos, "#else without #if")
	}
	return body, nil
}

// block reads statements up to the end of the text or to an #end, #else or
// #elseif, at whose "#" the cursor then stands.
func (p *parser) block() ([]node, ending, error) {
	start := p.pos
	if err := p.nest(start); err != nil {
		return nil, atEOF, err
	}
	defer func() { p.depth-- }()
	b := blockBuilder{}
	for !p.eof() {
		if end := p.closing(); end != atEOF {
			return b.done(), end, nil
		}
		if err := p.statement(&b); err != nil {
			return nil, atEOF, err
		}
	}
	return b.done(), atEOF, nil
}

// body reads a block that must close with #end, and the #end.
func (p *parser) body(open int, name string) ([]node, error) {
	nodes, end, err := p.block()
	if err != nil {
		return nil, err
	}
	if end != atEnd {
		return nil, p.unclosed(open, name, end)
	}
	p.end()
	return nodes, nil
}

func (p *parser) unclosed(open int, name string, end ending) error {
	if end == atEOF {
		return p.errorAt(open, "#%s has no #end", name)
	}
	return p.errorAt(p.pos, "#else does not belong in #%s", name)
}

// closing tells whether an #end, #else or #elseif stands at the cursor.
func (p *parser) closing() ending {
	if p.peek(0) != '#' {
		return atEOF
	}
	start := p.pos
	p.pos++
	name := p.directiveName()
	p.pos = start
	switch name {
	case "end":
		return atEnd
	case "else":
		return atElse
	case "elseif":
		return atElseif
	}
	return atEOF
}

// end consumes #end or #else with the rest of its line.
func (p *parser) end() {
	p.pos++
	p.directiveName()
	p.lineEnd()
}

// blockBuilder collects nodes, joining neighbouring texts.
type blockBuilder struct {
	nodes   []node
	pending []string
}

func (b *blockBuilder) text(s string) {
	if s != "" {
		b.pending = append(b.pending, s)
	}
}

func (b *blockBuilder) add(n node) {
	if n != nil {
		b.nodes = append(b.done(), n)
	}
}

func (b *blockBuilder) done() []node {
	if len(b.pending) > 0 {
		b.nodes = append(b.nodes, &textNode{strings.Join(b.pending, "")})
		b.pending = nil
	}
	return b.nodes
}

// statement reads one token's worth of template.
func (p *parser) statement(b *blockBuilder) error {
	if n := p.setStart(); n > 0 {
		set, err := p.set(n)
		b.add(set)
		return err
	}
	text := p.src.text
	switch p.peek(0) {
	case '\\':
		return p.backslashes(b)
	case '$':
		return p.dollar(b, 0)
	case '#':
		return p.hash(b)
	}
	end := strings.IndexAny(text[p.pos:], `$#\`)
	if end < 0 {
		end = len(text) - p.pos
	}
	b.text(text[p.pos : p.pos+end])
	p.pos += end
	return nil
}

// backslashes reads a run of them, which escape the reference or the directive
// that follows and are plain text otherwise.
func (p *parser) backslashes(b *blockBuilder) error {
	start := p.pos
	for p.peek(0) == '\\' {
		p.pos++
	}
	n := p.pos - start
	switch p.peek(0) {
	case '$':
		return p.dollar(b, n)
	case '#':
		hash := p.pos
		p.pos++
		name := p.directiveName()
		known := p.known(name)
		switch {
		case n%2 == 1 && name != "":
			if known {
				n /= 2
			}
			b.text(strings.Repeat(`\`, n))
			b.text(p.src.text[hash:p.pos])
			return nil
		case known && name != "set":
			n /= 2
		}
		p.pos = hash
	}
	b.text(strings.Repeat(`\`, n))
	return nil
}

// known tells whether name is a directive or a macro defined so far: only those
// can be escaped.
func (p *parser) known(name string) bool {
	switch name {
	case "":
		return false
	case "if", "end", "set", "else", "elseif", "stop", "foreach", "macro", "define",
		"evaluate", "parse", "include", "literal", "break":
		return true
	case "return":
		return p.d == AppSync
	}
	return p.macros[name] != nil
}

// dollar reads a reference in text, or the "$" as text if none follows.
func (p *parser) dollar(b *blockBuilder, escapes int) error {
	ref, err := p.reference()
	if err != nil {
		return err
	}
	if ref == nil {
		b.text(strings.Repeat(`\`, escapes))
		p.pos++
		return p.stray(b, p.pos-1)
	}
	b.add(&refNode{ref: ref, escapes: escapes})
	// Right after a bare property "##" begins no comment: Velocity's scanner is
	// still waiting for a method there.
	if n := len(ref.parts); n > 0 && ref.parts[n-1].kind == propertyPart && !ref.formal && p.has("##") {
		p.pos++
		return p.stray(b, p.pos-1)
	}
	return nil
}

// stray reads a "$" or "#" that begins nothing; start is its place, and the cursor
// stands behind it. It prints, unless "if", "#*" and the like follow: Velocity's
// scanner takes them together, and loses the first. Of a "$!" only the "$" prints
// unless "{", "[", "$" or most of "#" follow.
func (p *parser) stray(b *blockBuilder, start int) error {
	for p.peek(0) == '$' && !p.atReference() {
		p.pos++
	}
	dollar := p.src.text[p.pos-1] == '$'
	lead := p.src.text[start:p.pos]
	if dollar && p.peek(0) == '!' {
		p.pos++
		if c := p.peek(0); c == '{' || c == '[' || c == '$' || p.has("##") {
			lead += "!"
		}
	}
	if p.eof() && !p.quoted {
		return p.errorAt(start, "the template ends in %q", lead)
	}
	hash := p.pos
	name := ""
	if (!dollar || p.setStart() == 0) && p.accept("#") {
		name = p.directiveName()
	}
	switch {
	case name == "if", name == "elseif", name == "else", name == "end", name == "" && p.pos > hash && p.peek(0) == '*':
		p.pos = hash
		return nil
	case name == "":
		p.pos = hash
		return p.lone(b, lead)
	}
	// "$#name" is one word to Velocity, and no directive of that name exists.
	_, _, err := p.directiveArguments()
	b.text(p.src.text[start:p.pos])
	return err
}

// atReference tells whether the "$" at the cursor begins a reference.
func (p *parser) atReference() bool {
	i := 1
	if p.peek(i) == '!' {
		i++
	}
	if p.peek(i) == '{' {
		i++
	}
	return isLetter(p.peek(i)) || p.peek(i) == '_'
}

// lone prints a "$" or "#" that begins nothing, with two turns of Velocity's
// scanner: it is lost before a #set and before backslashes that are not text, and
// it makes text of backslashes before a reference.
func (p *parser) lone(b *blockBuilder, lead string) error {
	if p.setStart() > 0 {
		return nil
	}
	start := p.pos
	for p.peek(0) == '\\' {
		p.pos++
	}
	n := p.pos - start
	if n > 0 && p.peek(0) == '$' {
		b.text(lead)
		b.text(p.src.text[start:p.pos])
		return p.dollar(b, 0)
	}
	escaped := n > 1
	if n == 1 && p.peek(0) == '#' {
		p.pos++
		escaped = p.directiveName() != ""
	}
	p.pos = start
	if !escaped {
		b.text(lead)
	}
	return nil
}

// hash reads what begins with "#": a comment, unparsed text, a directive, or the
// character itself.
func (p *parser) hash(b *blockBuilder) error {
	start, text := p.pos, p.src.text
	switch {
	case p.has("#[["):
		end := strings.Index(text[start+3:], "]]#")
		if end < 0 {
			return p.errorAt(start, `"#[[" has no "]]#"`)
		}
		b.text(text[start+3 : start+3+end])
		p.pos = start + 3 + end + 3
		return nil
	case p.has("##"):
		end := strings.IndexAny(text[start:], "\r\n")
		if end < 0 {
			p.pos = len(text)
			if rest := text[start+2:]; !p.quoted && (strings.HasSuffix(rest, "#") || strings.HasSuffix(strings.TrimSuffix(rest, "!"), "$")) {
				return p.errorAt(len(text)-1, `the template ends in "$" or "#", be it in a comment`)
			}
			return nil
		}
		p.pos = start + end
		if !p.accept("\r\n") {
			p.pos++
		}
		return nil
	case p.has("#*"):
		p.pos = start + 2
		p.comment()
		return nil
	}
	p.pos++
	name := p.directiveName()
	if name == "" {
		return p.stray(b, start)
	}
	n, err := p.directive(start, name)
	if n == nil && err == nil {
		b.text(text[start:p.pos])
		return nil
	}
	b.add(n)
	return err
}

// comment skips to behind "*#", or to the end if nobody closes the comment.
// Openings inside it are read as such: "#*#" closes nothing.
func (p *parser) comment() {
	for !p.eof() {
		switch {
		case p.accept("*#"):
			return
		case p.accept("#*"), p.accept("##"), p.accept("#[["):
		default:
			p.pos++
		}
	}
}
