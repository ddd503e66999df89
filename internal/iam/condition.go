package iam

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// condition is one key of one operator, e.g. StringLike of aws:Referer.
type condition struct {
	test     test
	set      set
	ifExists bool
	key      string // lower case
	values   []operand
	broken   bool // not understood
}

// set is how a key with several values is read.
type set uint8

const (
	single set = iota
	forAny
	forAll
)

// test is an operator without its "Not": negated ones hold when the plain one does
// not.
type test struct {
	kind    testKind
	negated bool
	order   order
}

type testKind uint8

const (
	stringEquals testKind = iota
	stringFold
	stringLike
	arnLike
	numeric
	date
	boolean
	ipAddress
	binary
	null
)

// order is which results of a comparison hold.
type order uint8

const (
	less order = 1 << iota
	equal
	greater
)

// operand is a value of the policy, made ready for its test.
type operand struct {
	text    string
	pattern pattern // strings and the parts of ARNs
	number  float64
	at      time.Time
	prefix  netip.Prefix
	arn     []pattern // 6
}

// operators are the names of tests.
func operators() map[string]test {
	return map[string]test{
		"StringEquals": {kind: stringEquals}, "StringNotEquals": {kind: stringEquals, negated: true},
		"StringEqualsIgnoreCase": {kind: stringFold}, "StringNotEqualsIgnoreCase": {kind: stringFold, negated: true},
		"StringLike": {kind: stringLike}, "StringNotLike": {kind: stringLike, negated: true},
		// The documentation makes no difference between these pairs.
		"ArnEquals": {kind: arnLike}, "ArnLike": {kind: arnLike},
		"ArnNotEquals": {kind: arnLike, negated: true}, "ArnNotLike": {kind: arnLike, negated: true},
		"NumericEquals": {kind: numeric, order: equal}, "NumericNotEquals": {kind: numeric, order: equal, negated: true},
		"NumericLessThan": {kind: numeric, order: less}, "NumericLessThanEquals": {kind: numeric, order: less | equal},
		"NumericGreaterThan": {kind: numeric, order: greater}, "NumericGreaterThanEquals": {kind: numeric, order: greater | equal},
		"DateEquals": {kind: date, order: equal}, "DateNotEquals": {kind: date, order: equal, negated: true},
		"DateLessThan": {kind: date, order: less}, "DateLessThanEquals": {kind: date, order: less | equal},
		"DateGreaterThan": {kind: date, order: greater}, "DateGreaterThanEquals": {kind: date, order: greater | equal},
		"Bool": {kind: boolean}, "BinaryEquals": {kind: binary},
		"IpAddress": {kind: ipAddress}, "NotIpAddress": {kind: ipAddress, negated: true},
		"Null": {kind: null},
	}
}

// compileCondition reads one key of one operator; problem is why it is not
// understood.
func compileCondition(known map[string]test, operator, key string, values []string, vars bool) (c condition, problem string) {
	c.key = strings.ToLower(key)
	name := operator
	if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		name, c.set = rest, forAny
	} else if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		name, c.set = rest, forAll
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	t, ok := known[name]
	if !ok || t.kind == null && (c.set != single || c.ifExists) {
		c.broken = true
		return c, "the condition operator " + brief(operator) + " is not known"
	}
	c.test = t
	for _, v := range values {
		o, ok := compileOperand(t.kind, v, vars)
		if !ok {
			c.broken = true
			return c, "the value of " + brief(key) + " is no value for " + brief(operator)
		}
		c.values = append(c.values, o)
	}
	return c, ""
}

func compileOperand(kind testKind, v string, vars bool) (o operand, ok bool) {
	o.text = v
	var err error
	switch kind {
	case stringEquals:
		o.pattern = compilePattern(v, false, false, vars)
	case stringFold:
		o.pattern = compilePattern(strings.ToLower(v), true, false, vars)
	case stringLike:
		o.pattern = compilePattern(v, false, true, vars)
	case arnLike:
		parts := strings.SplitN(v, ":", arnParts)
		if v == "*" {
			parts = []string{"*", "*", "*", "*", "*", "*"}
		}
		if len(parts) != arnParts {
			return o, false
		}
		for _, p := range parts {
			o.arn = append(o.arn, compilePattern(p, false, true, vars))
		}
	case numeric:
		if o.number, err = strconv.ParseFloat(v, 64); math.IsNaN(o.number) {
			return o, false
		}
	case date:
		o.at, err = parseDate(v)
	case ipAddress:
		o.prefix, err = parsePrefix(v)
	case binary:
		_, err = base64.StdEncoding.DecodeString(v)
	case boolean, null:
		o.text = strings.ToLower(v)
		return o, o.text == "true" || o.text == "false"
	}
	return o, err == nil
}

const arnParts = 6

func parsePrefix(v string) (netip.Prefix, error) {
	if strings.Contains(v, "/") {
		p, err := netip.ParsePrefix(v)
		// Addresses are compared in their short form: a prefix in the long one would match
		// none of them, and a Deny would never apply.
		if bits := p.Bits() - (128 - 32); err == nil && p.Addr().Is4In6() && bits >= 0 {
			return netip.PrefixFrom(p.Addr().Unmap(), bits), nil
		}
		return p, err
	}
	addr, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap()
	return addr.Prefix(addr.BitLen())
}

// parseDate reads ISO 8601 dates (W3C profile) and seconds since 1970.
func parseDate(v string) (time.Time, error) {
	if n, err := strconv.ParseInt(v, 10, 64); err == nil && len(v) != len("2006") {
		return time.Unix(n, 0), nil
	}
	var err error
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly, "2006-01", "2006"} {
		var t time.Time
		if t, err = time.Parse(layout, v); err == nil {
			return t, nil
		}
	}
	return time.Time{}, err
}

// holds evaluates a condition that is understood.
//
// A key that the request does not have: a plain test fails, a negated one holds, and
// IfExists makes either hold. ForAllValues holds for no values, ForAnyValue does not.
func (c *condition) holds(r *Request) bool {
	values := r.values(c.key)
	if c.test.kind == null {
		absent := "false"
		if len(values) == 0 {
			absent = "true"
		}
		for i := range c.values {
			if c.values[i].text == absent {
				return true
			}
		}
		return false
	}
	if len(values) == 0 {
		switch {
		case c.ifExists, c.set == forAll:
			return true
		case c.set == forAny:
			return false
		}
		return c.test.negated
	}
	for _, v := range values {
		ok := c.compare(r, v)
		switch c.set {
		case forAny:
			if ok {
				return true
			}
		case single, forAll:
			if !ok {
				return false
			}
		}
	}
	return c.set != forAny
}

// compare tests one value against the alternatives of the policy. Negated, it must
// be none of them.
func (c *condition) compare(r *Request, v string) bool {
	for i := range c.values {
		if c.test.matches(r, &c.values[i], v) {
			return !c.test.negated
		}
	}
	return c.test.negated
}

func (t test) matches(r *Request, o *operand, v string) bool {
	switch t.kind {
	case stringFold:
		return o.pattern.match(r, strings.ToLower(v))
	case stringEquals, stringLike:
		return o.pattern.match(r, v)
	case arnLike:
		parts := strings.SplitN(v, ":", arnParts)
		if len(parts) != arnParts {
			return false
		}
		for i, p := range parts {
			if !o.arn[i].match(r, p) {
				return false
			}
		}
		return true
	case numeric:
		n, err := strconv.ParseFloat(v, 64)
		return err == nil && !math.IsNaN(n) && t.order&compareOrder(n < o.number, n == o.number) != 0
	case date:
		at, err := parseDate(v)
		return err == nil && t.order&compareOrder(at.Before(o.at), at.Equal(o.at)) != 0
	case boolean:
		return strings.EqualFold(v, o.text)
	case ipAddress:
		addr, err := netip.ParseAddr(v)
		return err == nil && o.prefix.Contains(addr.Unmap())
	case binary:
		return v == o.text
	}
	return false
}

func compareOrder(isLess, isEqual bool) order {
	switch {
	case isLess:
		return less
	case isEqual:
		return equal
	}
	return greater
}
