package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/livegate/livegate/internal/fault"
)

// Bounds of a policy. IAM's own largest is 10,240 characters; a Lambda authorizer's
// whole answer is 8 KB.
const (
	MaxSize  = 64 << 10
	maxDepth = 8 // a policy without conditions nests four deep, one with them six
)

// Policy is a policy that was read.
type Policy struct {
	statements []statement
	problems   []string
}

type statement struct {
	allow                    bool
	actions, resources       patterns
	notActions, notResources bool // true: what the patterns do not match
	conditions               []condition
	needs                    []string // variables that have no default
}

// Problems says what of the policy is not understood and is therefore read against
// the caller: `statement 0: the condition operator "StringEquivalent" is not known`.
func (p *Policy) Problems() []string { return p.problems }

// Parse reads a policy. Its errors are of the kind BadRequest and never quote more
// than names. Member names are compared with case, and may not be there twice:
// otherwise what is checked and what is meant could differ.
func Parse(text []byte) (*Policy, error) {
	if len(text) > MaxSize {
		return nil, bad("the policy has %d bytes; %d are allowed", len(text), MaxSize)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	root, err := read(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad("the policy goes on after its end")
	}
	return build(root)
}

func bad(format string, args ...any) error { return fault.New(fault.BadRequest, format, args...) }

// node is a JSON value: an object, a list, or a scalar as text.
type node struct {
	kind    nodeKind
	text    string
	members []member
	items   []node
}

type nodeKind uint8

const (
	isNull nodeKind = iota
	isString
	isNumber
	isBool
	isList
	isObject
)

type member struct {
	name  string
	value node
}

func read(d *json.Decoder, depth int) (n node, err error) {
	if depth > maxDepth {
		return n, bad("the policy nests deeper than %d levels", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return n, bad("the policy is not JSON, near byte %d", d.InputOffset())
	}
	switch v := token.(type) {
	case nil:
		return n, nil
	case string:
		return node{kind: isString, text: v}, nil
	case json.Number:
		return node{kind: isNumber, text: v.String()}, nil
	case bool:
		return node{kind: isBool, text: strconv.FormatBool(v)}, nil
	case json.Delim:
		if v == '[' {
			n.kind = isList
		} else {
			n.kind = isObject
		}
	}
	for d.More() {
		if n.kind == isList {
			item, err := read(d, depth+1)
			if err != nil {
				return n, err
			}
			n.items = append(n.items, item)
			continue
		}
		name, err := d.Token()
		if err != nil {
			return n, bad("the policy is not JSON, near byte %d", d.InputOffset())
		}
		key, _ := name.(string)
		for _, m := range n.members {
			if m.name == key {
				return n, bad("the policy has %s twice in one place", brief(key))
			}
		}
		value, err := read(d, depth+1)
		if err != nil {
			return n, err
		}
		n.members = append(n.members, member{key, value})
	}
	if _, err := d.Token(); err != nil {
		return n, bad("the policy is not JSON, near byte %d", d.InputOffset())
	}
	return n, nil
}

// brief is a name of the policy, fit for an error text.
func brief(s string) string {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return strconv.Quote(s)
}

func build(root node) (*Policy, error) {
	if root.kind != isObject {
		return nil, bad("the policy must be an object with Version and Statement")
	}
	p := &Policy{}
	vars, stated := false, false
	var statements []node
	for _, m := range root.members {
		switch m.name {
		case "Version":
			if m.value.text != "2012-10-17" && m.value.text != "2008-10-17" {
				return nil, bad("the policy's Version must be 2012-10-17 or 2008-10-17")
			}
			vars = m.value.text == "2012-10-17"
		case "Id":
		case "Statement":
			stated = true
			switch m.value.kind {
			case isList:
				statements = m.value.items
			case isObject:
				statements = []node{m.value}
			default:
				return nil, bad("the policy's Statement must be an object or a list")
			}
		default:
			return nil, bad("a policy has no %s; it has Version, Id and Statement", brief(m.name))
		}
	}
	if !stated {
		return nil, bad("the policy has no Statement")
	}
	known := operators()
	for i, n := range statements {
		s, problems, err := buildStatement(n, known, vars)
		if err != nil {
			return nil, bad("statement %d: %s", i, fault.Message(err))
		}
		for _, problem := range problems {
			p.problems = append(p.problems, "statement "+strconv.Itoa(i)+": "+problem)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

func buildStatement(n node, known map[string]test, vars bool) (s statement, problems []string, err error) {
	if n.kind != isObject {
		return s, nil, bad("it must be an object")
	}
	effect := ""
	for _, m := range n.members {
		switch m.name {
		case "Sid":
		case "Effect":
			effect = m.value.text
		case "Action", "NotAction":
			if s.actions != nil {
				return s, nil, bad("Action and NotAction cannot both be there")
			}
			s.notActions = m.name == "NotAction"
			s.actions, err = buildPatterns(m, true, vars)
		case "Resource", "NotResource":
			if s.resources != nil {
				return s, nil, bad("Resource and NotResource cannot both be there")
			}
			s.notResources = m.name == "NotResource"
			s.resources, err = buildPatterns(m, false, vars)
		case "Condition":
			s.conditions, problems, err = buildConditions(m.value, known, vars)
		default:
			err = bad("it has no %s", brief(m.name))
		}
		if err != nil {
			return s, nil, err
		}
	}
	switch {
	case effect != "Allow" && effect != "Deny":
		return s, nil, bad("its Effect must be Allow or Deny")
	case s.actions == nil:
		return s, nil, bad("it needs an Action")
	case s.resources == nil:
		return s, nil, bad("it needs a Resource")
	}
	s.allow = effect == "Allow"
	for i := range s.resources {
		s.needs = s.resources[i].needs(s.needs)
	}
	for i := range s.conditions {
		for _, o := range s.conditions[i].values {
			s.needs = o.pattern.needs(s.needs)
			for j := range o.arn {
				s.needs = o.arn[j].needs(s.needs)
			}
		}
	}
	return s, problems, nil
}

// buildPatterns reads one text or a list of them; never nil without an error.
func buildPatterns(m member, action, vars bool) (patterns, error) {
	texts, err := m.texts()
	if err != nil {
		return nil, err
	}
	if len(texts) == 0 {
		return nil, bad("its %s is empty", m.name)
	}
	out := make(patterns, 0, len(texts))
	for _, t := range texts {
		if t == "" {
			return nil, bad("its %s is empty", m.name)
		}
		out = append(out, compilePattern(t, action, true, vars && !action))
	}
	return out, nil
}

func (m *member) texts() ([]string, error) {
	items := m.value.items
	if m.value.kind != isList {
		items = []node{m.value}
	}
	var out []string
	for _, n := range items {
		if n.kind != isString {
			return nil, bad("its %s must be text or a list of it", m.name)
		}
		out = append(out, n.text)
	}
	return out, nil
}

// buildConditions reads {"operator": {"key": value or [values]}}; all must hold.
func buildConditions(n node, known map[string]test, vars bool) (out []condition, problems []string, err error) {
	if n.kind != isObject {
		return nil, nil, bad("its Condition must be an object of operators")
	}
	for _, operator := range n.members {
		if operator.value.kind != isObject || len(operator.value.members) == 0 {
			return nil, nil, bad("its condition %s must be an object of keys", brief(operator.name))
		}
		for _, key := range operator.value.members {
			values, err := conditionValues(key)
			if err != nil {
				return nil, nil, err
			}
			c, problem := compileCondition(known, operator.name, key.name, values, vars)
			if problem != "" {
				problems = append(problems, problem)
			}
			out = append(out, c)
		}
	}
	return out, problems, nil
}

// conditionValues are texts; numbers and booleans are taken as theirs.
func conditionValues(m member) ([]string, error) {
	items := m.value.items
	if m.value.kind != isList {
		items = []node{m.value}
	}
	var out []string
	for _, n := range items {
		if n.kind != isString && n.kind != isNumber && n.kind != isBool {
			return nil, bad("the values of its condition key %s must be text", brief(m.name))
		}
		out = append(out, n.text)
	}
	if len(out) == 0 {
		return nil, bad("its condition key %s has no values", brief(m.name))
	}
	return out, nil
}
