package stack

import (
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
)

// props reads the properties of a resource, or a map inside them, resolving each
// on demand and reporting values of the wrong kind.
type props struct {
	in   *instance
	r    *cfn.Resource
	n    *cfn.Node // a Map; nil reads as empty
	path string    // "" or "Environment.Variables."
}

func (in *instance) props(r *cfn.Resource) props {
	n := r.Properties
	if _, _, call := n.Call(); call {
		n = in.Eval(n)
	}
	return props{in: in, r: r, n: n}
}

// known warns of properties that the type does not have.
func (p props) known(names ...string) {
	if p.n == nil || p.r.From != "" {
		return
	}
	for _, e := range p.n.Map {
		if !slices.Contains(names, e.Key) && !strings.HasPrefix(e.Key, "Fn::") {
			p.in.report(Warning, "unknown-property", p.r, e.Pos, cfn.DidYouMean(e.Key, names), "%s has no property %s.", p.r.Type, quote(p.path+e.Key))
		}
	}
}

// get is a resolved property; nil when absent, AWS::NoValue, null or broken.
func (p props) get(key string) *cfn.Node {
	n := p.n.Get(key)
	if n == nil {
		return nil
	}
	v := p.in.Eval(n)
	if v.Kind == cfn.None || v.Kind == cfn.Null || v.Kind == cfn.Bad {
		return nil
	}
	return v
}

// pos is where a property stands; the resource's position when it does not.
func (p props) pos(key string) cfn.Pos {
	if n := p.n.Get(key); n != nil {
		return n.Pos
	}
	return p.r.Pos
}

// wrote reports whether the property was written, even if broken.
func (p props) wrote(key string) bool {
	n := p.n.Get(key)
	return n != nil && (n.Kind == cfn.Bad || p.in.Eval(n).Kind != cfn.None)
}

func (p props) wrong(key string, v *cfn.Node, want string) {
	p.in.report(Error, "bad-property", p.r, v.Pos, "", "%s of %s must be %s, not %s.", p.path+key, p.r.ID, want, v.Kind)
}

// missing reports a required property that was not written.
func (p props) missing(key, hint string) bool {
	if p.wrote(key) {
		return false
	}
	at := p.r.Pos
	if p.path != "" && p.n != nil {
		at = p.n.Pos
	}
	p.in.report(Error, "missing-property", p.r, at, hint, "%s (%s) needs %s.", p.r.ID, p.r.Type, p.path+key)
	return true
}

func (p props) str(key string) string {
	v := p.get(key)
	if v == nil {
		return ""
	}
	if !v.Scalar() {
		p.wrong(key, v, "text")
		return ""
	}
	return v.Text
}

// oneOf is str limited to given values; anything else is reported.
func (p props) oneOf(key string, allowed ...string) string {
	s := p.str(key)
	if s != "" && !slices.Contains(allowed, s) {
		p.in.report(Error, "bad-property", p.r, p.pos(key), cfn.DidYouMean(s, allowed), "%s of %s cannot be %s.", p.path+key, p.r.ID, quote(s))
		return ""
	}
	return s
}

func (p props) boolean(key string) bool {
	v := p.get(key)
	if v == nil {
		return false
	}
	if !v.Scalar() || (v.Text != "true" && v.Text != "false") {
		p.in.report(Error, "bad-property", p.r, v.Pos, "Write true or false.", "%s of %s must be true or false.", p.path+key, p.r.ID)
		return false
	}
	return v.Text == "true"
}

// integer is a whole number between least and most, def when absent or wrong.
func (p props) integer(key string, def, least, most int) int {
	v := p.get(key)
	if v == nil {
		return def
	}
	n, err := strconv.Atoi(v.Text)
	if !v.Scalar() || err != nil {
		p.in.report(Error, "bad-property", p.r, v.Pos, "", "%s of %s must be a whole number.", p.path+key, p.r.ID)
		return def
	}
	if n < least || n > most {
		p.in.report(Error, "bad-property", p.r, v.Pos, "", "%s of %s must be between %d and %d, not %d.", p.path+key, p.r.ID, least, most, n)
		return def
	}
	return n
}

func (p props) float(key string) float64 {
	v := p.get(key)
	if v == nil {
		return 0
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if !v.Scalar() || err != nil {
		p.in.report(Error, "bad-property", p.r, v.Pos, "", "%s of %s must be a number.", p.path+key, p.r.ID)
		return 0
	}
	return f
}

// strings is a list of scalars; a single scalar counts as a list of one.
func (p props) strings(key string) []string {
	v := p.get(key)
	if v == nil {
		return nil
	}
	if v.Scalar() {
		return []string{v.Text}
	}
	if v.Kind != cfn.List {
		p.wrong(key, v, "a list")
		return nil
	}
	var out []string
	for _, e := range v.List {
		switch {
		case e.Scalar():
			out = append(out, e.Text)
		case e.Kind == cfn.List: // a list-valued Ref inside a list
			for _, f := range e.List {
				out = append(out, f.Text)
			}
		case e.Kind != cfn.Bad:
			p.wrong(key, e, "a list of text")
		}
	}
	return out
}

// texts is a map of scalars. Values that could not be resolved are left out.
func (p props) texts(key string) map[string]string {
	v := p.get(key)
	if v == nil {
		return nil
	}
	if v.Kind != cfn.Map {
		p.wrong(key, v, "a map")
		return nil
	}
	out := make(map[string]string, len(v.Map))
	for _, e := range v.Map {
		switch {
		case e.Value.Scalar():
			out[e.Key] = e.Value.Text
		case e.Value.Kind != cfn.Bad:
			p.wrong(key+"."+e.Key, e.Value, "text")
		}
	}
	return out
}

// sub reads a map-valued property.
func (p props) sub(key string) props {
	v := p.get(key)
	if v != nil && v.Kind != cfn.Map {
		p.wrong(key, v, "a map")
		v = nil
	}
	return props{in: p.in, r: p.r, n: v, path: p.path + key + "."}
}

// each reads a list of maps.
func (p props) each(key string) []props {
	v := p.get(key)
	if v == nil {
		return nil
	}
	if v.Kind != cfn.List {
		p.wrong(key, v, "a list")
		return nil
	}
	var out []props
	for _, e := range v.List {
		if e.Kind == cfn.Map {
			out = append(out, props{in: p.in, r: p.r, n: e, path: p.path + key + "."})
		} else if e.Kind != cfn.Bad {
			p.wrong(key, e, "a list of maps")
		}
	}
	return out
}
