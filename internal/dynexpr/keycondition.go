package dynexpr

import (
	"github.com/livegate/livegate/internal/attr"
)

// Key is the key attributes a key condition is about. Range is "" when there is
// none.
type Key struct{ Hash, Range string }

// KeyCondition is what a key condition asks of the keys: the hash key's exact
// value, and a comparison of the range key.
type KeyCondition struct {
	Hash  attr.Value
	Op    string // of the range key: "", "=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"
	Range []attr.Value
}

const keyConditionKind = "KeyConditionExpression"

// KeyTerms is a parsed key condition before it is known which attributes are
// keys: a request's form is checked before its table is looked up.
type KeyTerms struct{ byName map[string]*node }

// KeyTerms parses a KeyConditionExpression.
func (s *Scope) KeyTerms(text string) (*KeyTerms, error) {
	p, err := s.parser(keyConditionKind, text)
	if err != nil {
		return nil, err
	}
	root, err := p.whole()
	if err != nil {
		return nil, err
	}
	var terms []*node
	if err := p.keyTerms(root, &terms); err != nil {
		return nil, err
	}
	byName := map[string]*node{}
	for _, t := range terms {
		name, err := p.keyName(t)
		if err != nil {
			return nil, err
		}
		if byName[name] != nil {
			return nil, p.fail("KeyConditionExpressions must only contain one condition per key")
		}
		byName[name] = t
	}
	return &KeyTerms{byName}, nil
}

// Match fits the terms to the keys of a table or index.
func (t *KeyTerms) Match(key Key) (*KeyCondition, error) {
	terms := t.byName
	hash := terms[key.Hash]
	if hash == nil {
		return nil, attr.Invalid("Query condition missed key schema element: %s", key.Hash)
	}
	if hash.op != opEq {
		return nil, attr.Invalid("Query key condition not supported")
	}
	kc := &KeyCondition{Hash: hash.args[1].value}
	if len(terms) == 1 {
		return kc, nil
	}
	term := terms[key.Range]
	if key.Range == "" || term == nil || len(terms) > 2 {
		if key.Range != "" && term == nil {
			return nil, attr.Invalid("Query condition missed key schema element: %s", key.Range)
		}
		return nil, attr.Invalid("Query key condition not supported")
	}
	kc.Op = term.fn
	if term.op != opCall {
		kc.Op = opText[term.op]
	}
	for _, a := range term.args[1:] {
		kc.Range = append(kc.Range, a.value)
	}
	return kc, nil
}

// keyTerms splits the conjunction.
func (p *parser) keyTerms(n *node, terms *[]*node) error {
	switch n.op {
	case opAnd:
		if err := p.keyTerms(n.args[0], terms); err != nil {
			return err
		}
		return p.keyTerms(n.args[1], terms)
	case opOr, opNot, opNe, opIn:
		return p.fail("Invalid operator used in KeyConditionExpression: %s", opText[n.op])
	case opCall:
		if n.fn != "begins_with" {
			return p.fail("Invalid operator used in KeyConditionExpression: %s", n.fn)
		}
	}
	*terms = append(*terms, n)
	return nil
}

// keyName is the one attribute a term is about, and turns ":v > pk" round.
func (p *parser) keyName(n *node) (string, error) {
	if len(n.args) == 2 && n.op != opCall && n.args[0].op == opValue && n.args[1].op == opPath {
		n.args[0], n.args[1] = n.args[1], n.args[0]
		n.op = map[op]op{opEq: opEq, opLt: opGt, opLe: opGe, opGt: opLt, opGe: opLe}[n.op]
	}
	paths := 0
	for _, a := range n.args {
		switch a.op {
		case opPath:
			paths++
			if len(a.path) > 1 {
				return "", p.fail("KeyConditionExpressions cannot have conditions on nested attributes")
			}
		case opCall:
			return "", p.fail("KeyConditionExpressions cannot contain nested operations")
		}
	}
	switch {
	case paths > 1:
		return "", p.fail("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
	case n.args[0].op != opPath:
		return "", p.fail("Invalid condition in KeyConditionExpression: No key attribute specified")
	}
	return n.args[0].path.Top(), nil
}
