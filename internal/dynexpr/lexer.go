package dynexpr

// token kinds. Words cover keywords, attribute names and function names; which
// one it is, the parser decides by place.
type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // pk, AND, begins_with
	tokenName             // #placeholder
	tokenValue            // :placeholder
	tokenNumber           // list index
	tokenSymbol           // ( ) [ ] , . + - = <> < <= > >=
	tokenBad              // a byte that begins nothing
)

type token struct {
	kind     tokenKind
	text     string
	from, to int // in the expression
}

func isWordByte(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// lex cuts an expression into tokens; the last one is tokenEnd.
func lex(text string) []token {
	tokens := make([]token, 0, len(text)/3+2)
	for i := 0; i < len(text); {
		c := text[i]
		if isSpace(c) {
			i++
			continue
		}
		from := i
		kind := tokenBad
		switch {
		case isDigit(c):
			kind = tokenNumber
			for i < len(text) && isDigit(text[i]) {
				i++
			}
		case isWordByte(c):
			kind, i = tokenWord, endOfWord(text, i)
		case c == '#' && endOfWord(text, i+1) > i+1:
			kind, i = tokenName, endOfWord(text, i+1)
		case c == ':' && endOfWord(text, i+1) > i+1:
			kind, i = tokenValue, endOfWord(text, i+1)
		default:
			if n := symbolLen(text[i:]); n > 0 {
				kind, i = tokenSymbol, i+n
			} else {
				i++
			}
		}
		tokens = append(tokens, token{kind, text[from:i], from, i})
	}
	return append(tokens, token{tokenEnd, "<EOF>", len(text), len(text)})
}

func endOfWord(text string, i int) int {
	for i < len(text) && isWordByte(text[i]) {
		i++
	}
	return i
}

func symbolLen(s string) int {
	switch s[0] {
	case '<':
		if len(s) > 1 && (s[1] == '>' || s[1] == '=') {
			return 2
		}
		return 1
	case '>':
		if len(s) > 1 && s[1] == '=' {
			return 2
		}
		return 1
	case '(', ')', '[', ']', ',', '.', '+', '-', '=':
		return 1
	}
	return 0
}
