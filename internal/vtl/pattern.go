package vtl

import (
	"regexp"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// Bounds on patterns: their length, the size that repetitions such as {1,500}
// multiply them to, how many an execution keeps, and what one match or one unit
// of program costs of Limits.Data.
const (
	maxPattern  = 2000
	maxProgram  = 20_000
	keptPattern = 64
	matchCost   = 64
)

// literalPattern is the text that a pattern without operators stands for:
// \\' is a backslash and a quote. Most templates never need the rest of this file.
func literalPattern(p string) (string, bool) {
	if !strings.ContainsAny(p, `\.[]{}()*+?^$|`) {
		return p, true
	}
	if strings.ContainsAny(p, `.[]{}()*+?^$|`) && !strings.Contains(p, `\`) {
		return "", false
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		c := p[i]
		if strings.IndexByte(`.[]{}()*+?^$|`, c) >= 0 {
			return "", false
		}
		if c == '\\' {
			i++
			if i == len(p) || isLetter(p[i]) || isDigit(p[i]) || p[i] >= 0x80 {
				return "", false
			}
			c = p[i]
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// pattern is a compiled java.util.regex pattern and the size of its program.
type pattern struct {
	re   *regexp.Regexp
	size int
}

// compile compiles a pattern, once per execution.
func (x *exec) compile(java string) (*pattern, error) {
	if p := x.patterns[java]; p != nil {
		return p, nil
	}
	if len(java) > maxPattern {
		return nil, fault.New(fault.TooLarge, "the regular expression has %d bytes, more than %d", len(java), maxPattern)
	}
	t := translator{in: java}
	if err := t.run(); err != nil {
		return nil, err
	}
	size := t.size()
	if size > maxProgram {
		return nil, fault.New(fault.TooLarge, "the regular expression %.100q multiplies to more than %d steps", java, maxProgram)
	}
	if err := x.step(x.at, 16+len(java)+size/4); err != nil {
		return nil, err
	}
	if err := x.charge(matchCost * size); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(t.out.String())
	if err != nil {
		return nil, exception("PatternSyntaxException", "%.100q: %v", java, err)
	}
	if x.patterns == nil {
		x.patterns = map[string]*pattern{}
	}
	p := &pattern{re, size}
	if len(x.patterns) < keptPattern {
		x.patterns[java] = p
	}
	return p, nil
}

// search pays for one pass of a pattern over s, which takes time in proportion
// to both.
func (x *exec) search(s string, p *pattern) error {
	return x.step(x.at, 1+len(s)/16+len(s)*p.size/64)
}

func (x *exec) matches(s, java string) (any, error) {
	if lit, ok := literalPattern(java); ok {
		return s == lit, nil
	}
	p, err := x.compile(`(?:` + java + `)\z`)
	if err != nil {
		return nil, err
	}
	if err := x.search(s, p); err != nil {
		return nil, err
	}
	// RE2 finds the leftmost match only, and Java wants one that spans all of s.
	if loc := p.re.FindStringIndex(s); loc == nil || loc[0] != 0 {
		return false, nil
	}
	return true, nil
}

// findAll finds at most n matches (-1: as many as Limits.Data pays for).
func (x *exec) findAll(s string, p *pattern, n int) ([][]int, error) {
	if err := x.search(s, p); err != nil {
		return nil, err
	}
	cost := matchCost + 16*p.re.NumSubexp()
	most := (x.limits.Data-x.data)/cost + 1
	if n < 0 || n > most {
		n = most
	}
	found := p.re.FindAllStringSubmatchIndex(s, n)
	return found, x.charge(cost * len(found))
}

// replacePattern is replaceAll (n = -1) and replaceFirst (n = 1).
func (x *exec) replacePattern(s, java, to string, n int) (any, error) {
	if lit, ok := literalPattern(java); ok && lit != "" && !strings.ContainsAny(to, `\$`) {
		if n == 1 {
			return strings.Replace(s, lit, to, 1), x.charge(len(s) + len(to))
		}
		return x.stringReplace(s, "replace", lit, to)
	}
	p, err := x.compile(java)
	if err != nil {
		return nil, err
	}
	found, err := x.findAll(s, p, n)
	if err != nil || len(found) == 0 {
		return s, err
	}
	pieces, err := replacement(to, p.re)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	last, paid := 0, 0
	for _, m := range found {
		b.WriteString(s[last:m[0]])
		for _, piece := range pieces {
			b.WriteString(piece.text)
			if g := piece.group; g >= 0 && m[2*g] >= 0 {
				b.WriteString(s[m[2*g]:m[2*g+1]])
			}
		}
		last = m[1]
		if err := x.charge(b.Len() - paid); err != nil {
			return nil, err
		}
		paid = b.Len()
	}
	b.WriteString(s[last:])
	return b.String(), x.charge(b.Len() - paid)
}

// piece is a text and then a group, -1 for none.
type piece struct {
	text  string
	group int
}

// replacement reads Java's replacement syntax: $1, ${name}, and a backslash that
// makes the next character plain.
func replacement(s string, re *regexp.Regexp) ([]piece, error) {
	var out []piece
	var text strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 == len(s):
			return nil, exception("IllegalArgumentException", "the replacement %.60q ends in a backslash", s)
		case c == '\\':
			i++
			text.WriteByte(s[i])
		case c == '$':
			g, n := group(s[i+1:], re)
			if g < 0 {
				return nil, exception("IllegalArgumentException", "the replacement %.60q has a $ without a group of the pattern", s)
			}
			out = append(out, piece{text.String(), g})
			text.Reset()
			i += n
		default:
			text.WriteByte(c)
		}
	}
	return append(out, piece{text.String(), -1}), nil
}

// group reads "1" or "{name}" and tells how many bytes that took. Of digits it
// takes as many as still name a group.
func group(s string, re *regexp.Regexp) (g, n int) {
	if strings.HasPrefix(s, "{") {
		name, _, ok := strings.Cut(s[1:], "}")
		if !ok {
			return -1, 0
		}
		return re.SubexpIndex(name), len(name) + 2
	}
	g = -1
	for n < len(s) && isDigit(s[n]) {
		next := max(g, 0)*10 + int(s[n]-'0')
		if next > re.NumSubexp() {
			break
		}
		g = next
		n++
	}
	return g, n
}

// split is String.split: no empty texts at the end unless limit says otherwise,
// and none at the start from a match of nothing.
func (x *exec) split(s, java string, limit int64) (any, error) {
	var parts []string
	if lit, ok := literalPattern(java); ok && lit != "" {
		n := -1
		if limit > 0 {
			n = int(min(limit, int64(len(s)+1)))
		}
		if err := x.charge(2 * slot * (1 + strings.Count(s, lit))); err != nil {
			return nil, err
		}
		parts = strings.SplitN(s, lit, n)
	} else {
		p, err := x.compile(java)
		if err != nil {
			return nil, err
		}
		found, err := x.findAll(s, p, -1)
		if err != nil {
			return nil, err
		}
		last := 0
		for _, m := range found {
			if limit > 0 && int64(len(parts)) == limit-1 {
				break
			}
			if m[1] == 0 || m[0] == m[1] && m[0] == len(s) {
				continue // of nothing, at either end
			}
			parts = append(parts, s[last:m[0]])
			last = m[1]
		}
		parts = append(parts, s[last:])
	}
	if limit == 0 && len(parts) > 1 {
		for len(parts) > 0 && parts[len(parts)-1] == "" {
			parts = parts[:len(parts)-1]
		}
	}
	l := &List{items: make([]any, 0, len(parts))}
	for p := range slices.Values(parts) {
		l.items = append(l.items, p)
	}
	return l, x.charge(2 * slot * len(parts))
}
