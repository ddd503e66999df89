package iam

import (
	"strconv"
	"strings"
)

func formatInt(n int64) string { return strconv.FormatInt(n, 10) }

// patterns are alternatives.
type patterns []pattern

func (ps patterns) match(r *Request, text string) bool {
	for i := range ps {
		if ps[i].match(r, text) {
			return true
		}
	}
	return false
}

// pattern is text with * and ?, and with policy variables. One without variables is
// cut at its stars once.
type pattern struct {
	fold  bool // ASCII letters are compared without case
	parts []part
	// pieces are what is between the stars, when there are no variables.
	pieces []piece
	plain  bool // pieces holds it
}

// piece is a run without stars.
type piece struct {
	text string // in lower case when fold
	wild []bool // where a ? stands, which is any one byte; nil: nowhere
	fold bool
}

// part is a literal run, a star, a question mark, or a variable.
type part struct {
	kind    partKind
	text    string // literal; name of the variable, in lower case
	or      string // what stands for a variable that has no value
	hasElse bool
}

type partKind uint8

const (
	literal partKind = iota
	star
	question
	variable
)

// compilePattern reads a pattern. Wildcards are * and ? where wild; variables are
// read when vars.
func compilePattern(s string, fold, wild, vars bool) pattern {
	p := pattern{fold: fold}
	for s != "" {
		if vars && strings.HasPrefix(s, "${") {
			if end := strings.IndexByte(s, '}'); end > 0 {
				p.parts = append(p.parts, readVariable(s[2:end]))
				s = s[end+1:]
				continue
			}
		}
		switch {
		case s[0] == '*' && wild:
			if n := len(p.parts); n == 0 || p.parts[n-1].kind != star {
				p.parts = append(p.parts, part{kind: star})
			}
			s = s[1:]
		case s[0] == '?' && wild:
			p.parts = append(p.parts, part{kind: question})
			s = s[1:]
		default:
			n := 1
			for n < len(s) && !(wild && (s[n] == '*' || s[n] == '?')) && !(vars && s[n] == '$') {
				n++
			}
			p.parts = append(p.parts, part{kind: literal, text: s[:n]})
			s = s[n:]
		}
	}
	p.plain = true
	for _, part := range p.parts {
		p.plain = p.plain && part.kind != variable
	}
	if p.plain {
		p.pieces = cutPieces(p.parts, fold)
	}
	return p
}

// readVariable reads what is between "${" and "}": "aws:username",
// "aws:username, 'default'", or one of the characters that cannot be written
// otherwise.
func readVariable(s string) part {
	if s == "*" || s == "?" || s == "$" {
		return part{kind: literal, text: s}
	}
	name, or, hasElse := strings.Cut(s, ",")
	or = strings.TrimSpace(or)
	if hasElse && len(or) >= 2 && or[0] == '\'' && or[len(or)-1] == '\'' {
		or = or[1 : len(or)-1]
	}
	return part{kind: variable, text: strings.ToLower(strings.TrimSpace(name)), or: or, hasElse: hasElse}
}

// cutPieces joins literals and question marks between stars. A pattern of n stars
// has n+1 pieces.
func cutPieces(parts []part, fold bool) []piece {
	pieces := []piece{{fold: fold}}
	for _, p := range parts {
		last := &pieces[len(pieces)-1]
		switch p.kind {
		case star:
			pieces = append(pieces, piece{fold: fold})
			continue
		case question:
			for len(last.wild) < len(last.text) {
				last.wild = append(last.wild, false)
			}
			last.text += "?"
			last.wild = append(last.wild, true)
		default:
			if fold {
				p.text = strings.ToLower(p.text)
			}
			last.text += p.text
		}
		for last.wild != nil && len(last.wild) < len(last.text) {
			last.wild = append(last.wild, false)
		}
	}
	return pieces
}

// match compares. A variable without a value makes the pattern match nothing; its
// value is taken letter by letter, stars in it included.
func (p *pattern) match(r *Request, text string) bool {
	if p.plain {
		return matchPieces(p.pieces, text)
	}
	parts := make([]part, len(p.parts))
	for i, x := range p.parts {
		if x.kind == variable {
			v, ok := r.value(x.text)
			switch {
			case ok:
			case x.hasElse:
				v = x.or
			default:
				return false
			}
			x = part{kind: literal, text: v}
		}
		parts[i] = x
	}
	return matchPieces(cutPieces(parts, p.fold), text)
}

// needs adds the variables that must have a value.
func (p *pattern) needs(keys []string) []string {
	for _, x := range p.parts {
		if x.kind == variable && !x.hasElse {
			keys = append(keys, x.text)
		}
	}
	return keys
}

// matchPieces puts the first piece at the start, the last at the end and each between
// at its first place. The first place is always good enough: what a later one would
// leave to the rest, an earlier one leaves too. So nothing is tried twice.
func matchPieces(pieces []piece, text string) bool {
	first, last := &pieces[0], &pieces[len(pieces)-1]
	if len(pieces) == 1 {
		return len(text) == len(first.text) && first.at(text)
	}
	if len(text) < len(first.text)+len(last.text) || !first.at(text) || !last.at(text[len(text)-len(last.text):]) {
		return false
	}
	text = text[len(first.text) : len(text)-len(last.text)]
	for i := 1; i < len(pieces)-1; i++ {
		n := pieces[i].in(text)
		if n < 0 {
			return false
		}
		text = text[n+len(pieces[i].text):]
	}
	return true
}

// at reports whether text starts with the piece.
func (p *piece) at(text string) bool {
	if p.wild == nil && !p.fold {
		return strings.HasPrefix(text, p.text)
	}
	if len(text) < len(p.text) {
		return false
	}
	for i := range len(p.text) {
		c := text[i]
		if p.fold && 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if p.text[i] != c && (p.wild == nil || !p.wild[i]) {
			return false
		}
	}
	return true
}

// in is where the piece first stands in text; -1: nowhere.
func (p *piece) in(text string) int {
	if p.wild == nil && !p.fold {
		return strings.Index(text, p.text)
	}
	for i := 0; i+len(p.text) <= len(text); i++ {
		if p.at(text[i:]) {
			return i
		}
	}
	return -1
}
