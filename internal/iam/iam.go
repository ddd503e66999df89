// Package iam reads IAM policies and decides requests by them: the policies that
// Lambda authorizers answer with and those of configured credentials.
//
// Promises:
//   - It fails closed. A policy that cannot be read is an error, never an empty one. A
//     condition that this package does not know never makes an Allow apply and always
//     makes a Deny apply; [Policy.Problems] says which.
//   - An explicit Deny wins over every Allow; nothing that applies means no.
//   - Matching takes no more steps than pattern length × text length, whatever the
//     pattern, and a decision without conditions allocates nothing.
//
// What is understood: Version, Id, Statement (one or a list), Sid, Effect, Action and
// NotAction, Resource and NotResource (text or list), Condition with the String, Arn,
// Numeric, Date, Bool, IpAddress and Null operators, IfExists, ForAnyValue and
// ForAllValues, and policy variables ("${aws:username}", "${aws:userid, 'nobody'}",
// "${*}") where the version is 2012-10-17. Principal is refused: it belongs to
// policies of resources.
//
// Names of actions and condition keys are compared without case, resources with it.
// A resource is compared as one text, so that "*" may stand for several parts of an
// ARN, and a part that is missing is missed:
//
//	arn:aws:execute-api:*:*:api/prod/*     is …:api/prod/$connect
//	arn:aws:execute-api:*:*:api/prod/*/*   is not: there is no "/" after "prod/"
//
// Source: "IAM JSON policy element reference" and "Policy evaluation logic", AWS IAM
// User Guide. Policies are immutable and safe for concurrent use.
package iam

import "time"

// Effect is what became of a request.
type Effect uint8

const (
	ImplicitDeny Effect = iota // nothing applied
	Allow
	ExplicitDeny
)

func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case ExplicitDeny:
		return "explicit deny"
	}
	return "implicit deny"
}

// Request is what somebody wants to do.
type Request struct {
	Action   string // "execute-api:Invoke"
	Resource string // ARN
	// Values returns the values of a condition key, given in lower case
	// ("aws:sourceip"); nil when the request does not have it. A nil Values has none.
	Values func(key string) []string
	// Now is for aws:CurrentTime and aws:EpochTime, which Values is not asked for.
	Now time.Time
}

// Decision is the answer and where it came from. The zero value is a no.
type Decision struct {
	Effect Effect
	// Policy and Statement say what decided, by index; -1 when nothing applied.
	Policy, Statement int
}

// Allowed reports whether the request may be done.
func (d Decision) Allowed() bool { return d.Effect == Allow }

// Decide evaluates a request. No policies, or nil ones, allow nothing.
func Decide(policies []*Policy, r *Request) Decision {
	d := Decision{Policy: -1, Statement: -1}
	for i, p := range policies {
		if p == nil {
			continue
		}
		for j := range p.statements {
			s := &p.statements[j]
			if s.allow && d.Effect == Allow || !s.applies(r) {
				continue
			}
			if !s.allow {
				return Decision{ExplicitDeny, i, j}
			}
			d = Decision{Allow, i, j}
		}
	}
	return d
}

// applies reports whether a statement is about a request. What is not understood
// decides against the caller, and so does a variable without a value in an Allow.
// Without that, {"Effect": "Allow", "NotResource": "…/${aws:username}"} would allow a
// caller without a user name everything.
func (s *statement) applies(r *Request) bool {
	if s.allow {
		for _, key := range s.needs {
			if _, ok := r.value(key); !ok {
				return false
			}
		}
	}
	if s.actions.match(r, r.Action) == s.notActions || s.resources.match(r, r.Resource) == s.notResources {
		return false
	}
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.broken {
			if s.allow {
				return false
			}
			continue
		}
		if !c.holds(r) {
			return false
		}
	}
	return true
}

// value is the only or first value of a condition key.
func (r *Request) value(key string) (string, bool) {
	if v := r.values(key); len(v) > 0 {
		return v[0], true
	}
	return "", false
}

func (r *Request) values(key string) []string {
	switch key {
	case "aws:currenttime":
		return []string{r.Now.UTC().Format(time.RFC3339)}
	case "aws:epochtime":
		return []string{formatInt(r.Now.Unix())}
	}
	if r.Values == nil {
		return nil
	}
	return r.Values(key)
}
