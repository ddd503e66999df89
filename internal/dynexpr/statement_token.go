package dynexpr

import (
	"slices"
	"strings"
)

// PartiQL's tokens. A word is an unquoted name, a keyword or a function.
type sqlKind uint8

const (
	sqlEnd    sqlKind = iota
	sqlWord           // pk, SELECT, begins_with
	sqlQuoted         // "pk": a name
	sqlString         // 'text'
	sqlNumber         // 1, .5, 7e3
	sqlParam          // ?
	sqlSymbol
)

type sqlToken struct {
	kind sqlKind
	text string // of quoted tokens: the content
	from int    // offset in the statement
}

// lex cuts the statement into tokens; the last one is sqlEnd. What cannot be read
// has an error without a detail, as on AWS.
func (p *statementParser) lex() []sqlToken {
	text := p.text
	tokens := make([]sqlToken, 0, len(text)/4+2)
	for i := 0; i < len(text) && p.err == nil; {
		if n := blank(text[i:]); n > 0 {
			i += n
			continue
		}
		t := sqlToken{from: i}
		end := i + 1
		switch c := text[i]; {
		case isWordByte(c) && !isDigit(c) || c == '$' || c == '@':
			t.kind = sqlWord
			for end < len(text) && (isWordByte(text[end]) || text[end] == '$') {
				end++
			}
			t.text = text[i:end]
		case isDigit(c) || c == '.' && end < len(text) && isDigit(text[end]):
			t.kind, end = sqlNumber, endOfNumber(text, i)
			t.text = text[i:end]
		case c == '\'' || c == '"':
			t.kind = sqlString
			if c == '"' {
				t.kind = sqlQuoted
			}
			t.text, end = quotedText(text, i)
		case c == '?':
			t.kind = sqlParam
		default:
			t.kind, end = sqlSymbol, i+sqlSymbolLen(text[i:])
			t.text = text[i:end]
		}
		if end <= i {
			p.refuseAt(i, "%s", malformed)
		}
		tokens = append(tokens, t)
		i = end
	}
	return append(tokens, sqlToken{kind: sqlEnd, from: len(text)})
}

// blank is the length of the white space or comment that s begins with; 0 if it
// does not. An unfinished /* is neither.
func blank(s string) int {
	switch {
	case isSpace(s[0]):
		return 1
	case strings.HasPrefix(s, "--"):
		if n := strings.IndexByte(s, '\n'); n >= 0 {
			return n + 1
		}
		return len(s)
	case strings.HasPrefix(s, "/*"):
		if n := strings.Index(s[2:], "*/"); n >= 0 {
			return n + 4
		}
	}
	return 0
}

// endOfNumber is where the number at i ends: digits, a fraction, an exponent. An
// e without digits after it is not part of it.
func endOfNumber(text string, i int) int {
	digits := func() {
		for i < len(text) && isDigit(text[i]) {
			i++
		}
	}
	digits()
	if i < len(text) && text[i] == '.' {
		i++
		digits()
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		at := i + 1
		if at < len(text) && (text[at] == '+' || text[at] == '-') {
			at++
		}
		if at < len(text) && isDigit(text[at]) {
			i = at
			digits()
		}
	}
	return i
}

// quotedText is the content of the quotes at i, in which a doubled quote stands
// for one, and where they end; 0 when they do not.
func quotedText(text string, i int) (content string, end int) {
	quote := text[i]
	var out strings.Builder
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] != quote:
			out.WriteByte(text[j])
		case j+1 < len(text) && text[j+1] == quote:
			out.WriteByte(quote)
			j++
		default:
			return out.String(), j + 1
		}
	}
	return "", 0
}

func sqlSymbolLen(s string) int {
	if len(s) > 1 && slices.Contains([]string{"<<", ">>", "<=", ">=", "<>", "!="}, s[:2]) {
		return 2
	}
	if strings.IndexByte("()[]{},.:;=<>+-*", s[0]) >= 0 {
		return 1
	}
	return 0
}

// isKeyword reports whether the present token is a word of the grammar, which
// cannot be a name unless it is quoted.
func (p *statementParser) isKeyword() bool {
	return p.isWord("SELECT", "FROM", "WHERE", "INSERT", "INTO", "VALUE", "VALUES", "UPDATE", "SET", "REMOVE", "DELETE",
		"AND", "OR", "NOT", "IN", "BETWEEN", "IS", "LIKE", "NULL", "MISSING", "TRUE", "FALSE", "ORDER", "BY", "ASC", "DESC",
		"RETURNING", "EXISTS", "AS", "LIMIT", "OFFSET", "GROUP", "HAVING", "JOIN", "UNION", "CASE", "CAST", "DISTINCT", "ALL")
}

// isCall reports whether a function's name and its parenthesis come next.
func (p *statementParser) isCall() bool {
	t := p.peek()
	if p.err != nil || t.kind != sqlWord {
		return false
	}
	after := p.tokens[p.pos+1]
	return after.kind == sqlSymbol && after.text == "("
}
