package cfn

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// intrinsics are the functions a template may call, besides Ref.
func intrinsics() []string {
	return []string{"Fn::And", "Fn::Base64", "Fn::Cidr", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn",
		"Fn::Equals", "Fn::FindInMap", "Fn::GetAZs", "Fn::GetAtt", "Fn::If", "Fn::ImportValue", "Fn::Join",
		"Fn::Length", "Fn::Not", "Fn::Or", "Fn::RefAll", "Fn::Select", "Fn::Split", "Fn::Sub", "Fn::ToJsonString",
		"Fn::Transform", "Fn::ValueOf", "Fn::ValueOfAll"}
}

// Eval resolves an expression. Entries that come out as AWS::NoValue are left
// out of lists and maps; a nil expression is None. The result carries the
// position of the expression, not of what it refers to.
func (t *Template) Eval(n *Node) *Node {
	if n == nil {
		return &Node{Kind: None}
	}
	switch n.Kind {
	case String:
		return t.dynamic(n)
	case List:
		out := &Node{Kind: List, Pos: n.Pos}
		for _, c := range n.List {
			if v := t.Eval(c); v.Kind != None {
				out.List = append(out.List, v)
			}
		}
		return out
	case Map:
		if name, arg, ok := n.Call(); ok {
			return t.apply(name, arg, n)
		}
		out := &Node{Kind: Map, Pos: n.Pos}
		for _, e := range n.Map {
			if v := t.Eval(e.Value); v.Kind != None {
				out.Map = append(out.Map, Entry{e.Key, e.Pos, v})
			}
		}
		return out
	}
	return n
}

func (t *Template) apply(name string, arg, n *Node) *Node {
	at := n.Pos
	switch name {
	case "Ref":
		return t.ref(arg, at)
	case "Fn::GetAtt":
		return t.getAtt(arg, at)
	case "Fn::Sub":
		return t.sub(arg, at)
	case "Fn::Join":
		return t.join(arg, at)
	case "Fn::Select":
		return t.selectFrom(arg, at)
	case "Fn::Split":
		return t.split(arg, at)
	case "Fn::If":
		return t.choose(arg, at)
	case "Fn::FindInMap":
		return t.findInMap(arg, at)
	case "Fn::ImportValue":
		return t.importValue(arg, at)
	case "Fn::Base64":
		if s, ok := t.text(name, arg); ok {
			return Text(base64.StdEncoding.EncodeToString([]byte(s)), at)
		}
	case "Fn::Cidr":
		return t.cidr(arg, at)
	case "Fn::GetAZs":
		if s, ok := t.text(name, arg); ok {
			if s == "" {
				s = t.bind.Region
			}
			return ListOf(at, Text(s+"a", at), Text(s+"b", at), Text(s+"c", at))
		}
	case "Fn::Length":
		v := t.Eval(arg)
		if v.Kind == List {
			return &Node{Kind: Number, Text: strconv.Itoa(len(v.List)), Pos: at}
		}
		return t.wrong(name, at, v, "a list")
	case "Fn::ToJsonString":
		v := t.Eval(arg)
		if v.Kind == List || v.Kind == Map {
			return Text(v.JSON(), at)
		}
		return t.wrong(name, at, v, "a map or a list")
	case "Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals", "Fn::Contains", "Fn::EachMemberIn", "Fn::EachMemberEquals":
		return &Node{Kind: Bool, Text: strconv.FormatBool(t.decide(n)), Pos: at}
	case "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll":
		t.errorf(at, "bad-intrinsic", "", "%s asks what only an AWS account knows.", name)
	}
	return bad(at) // unknown functions are reported by check
}

// wrong reports an argument of the wrong kind, unless that was reported already.
func (t *Template) wrong(name string, at Pos, got *Node, want string) *Node {
	if got.Kind != Bad {
		t.errorf(at, "bad-intrinsic", "", "%s needs %s, not %s.", name, want, got.Kind)
	}
	return bad(at)
}

// args are the elements of a list argument, not yet evaluated.
func (t *Template) args(name string, arg *Node, least, most int, shape string) ([]*Node, bool) {
	if arg.Kind == Bad {
		return nil, false
	}
	if arg.Kind != List || len(arg.List) < least || len(arg.List) > most {
		t.errorf(arg.Pos, "bad-intrinsic", "", "%s needs %s.", name, shape)
		return nil, false
	}
	return arg.List, true
}

// text evaluates an expression that must be a scalar.
func (t *Template) text(name string, n *Node) (string, bool) {
	v := t.Eval(n)
	if v.Scalar() {
		return v.Text, true
	}
	t.wrong(name, n.Pos, v, "text")
	return "", false
}

func (t *Template) join(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::Join", arg, 2, 2, "[delimiter, [values]]")
	if !ok {
		return bad(at)
	}
	sep, ok := t.text("Fn::Join", args[0])
	list := t.Eval(args[1])
	if !ok || list.Kind != List {
		return t.wrong("Fn::Join", args[1].Pos, list, "a list as its second value")
	}
	parts := make([]string, 0, len(list.List))
	for _, e := range list.List {
		if !e.Scalar() {
			return t.wrong("Fn::Join", e.Pos, e, "text in its list")
		}
		parts = append(parts, e.Text)
	}
	return t.made(strings.Join(parts, sep), at)
}

func (t *Template) selectFrom(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::Select", arg, 2, 2, "[index, [values]]")
	if !ok {
		return bad(at)
	}
	index, ok := t.text("Fn::Select", args[0])
	list := t.Eval(args[1])
	if !ok || list.Kind != List {
		return t.wrong("Fn::Select", args[1].Pos, list, "a list as its second value")
	}
	i, err := strconv.Atoi(index)
	if err != nil || i < 0 || i >= len(list.List) {
		t.errorf(at, "bad-intrinsic", "", "Fn::Select asks for element %s of a list of %d; counting starts at 0.", quote(index), len(list.List))
		return bad(at)
	}
	v := *list.List[i]
	v.Pos = at
	return &v
}

func (t *Template) split(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::Split", arg, 2, 2, "[delimiter, text]")
	if !ok {
		return bad(at)
	}
	sep, ok := t.text("Fn::Split", args[0])
	s, ok2 := t.text("Fn::Split", args[1])
	if !ok || !ok2 {
		return bad(at)
	}
	if sep == "" {
		t.errorf(at, "bad-intrinsic", "", "Fn::Split needs a delimiter.")
		return bad(at)
	}
	out := &Node{Kind: List, Pos: at}
	for part := range strings.SplitSeq(s, sep) {
		out.List = append(out.List, Text(part, at))
	}
	return out
}

func (t *Template) choose(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::If", arg, 3, 3, "[condition, value if true, value if false]")
	if !ok {
		return bad(at)
	}
	i := 2
	if t.branch(args[0]) {
		i = 1
	}
	v := *t.Eval(args[i])
	return &v
}

// branch decides the first argument of Fn::If: a name, or {"Condition": name}.
func (t *Template) branch(n *Node) bool {
	if n.Kind == String {
		return t.holds(n.Text)
	}
	return t.decide(n)
}

func (t *Template) findInMap(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::FindInMap", arg, 3, 4, "[map, key, key]")
	if !ok {
		return bad(at)
	}
	var fallback *Node
	if len(args) == 4 {
		fallback = args[3].Get("DefaultValue")
	}
	n := t.mappings
	known := []string{}
	path := ""
	for _, a := range args[:3] {
		key, ok := t.text("Fn::FindInMap", a)
		if !ok {
			return bad(at)
		}
		known = known[:0]
		if n != nil {
			for _, e := range n.Map {
				known = append(known, e.Key)
			}
		}
		next := n.Get(key)
		if next == nil && fallback != nil {
			return t.Eval(fallback)
		}
		if next == nil {
			t.errorf(a.Pos, "unknown-mapping", DidYouMean(key, known), "There is no key %s in Mappings%s.", quote(key), path)
			return bad(at)
		}
		path += "." + key
		n = next
	}
	v := *n
	v.Pos = at
	return &v
}

func (t *Template) importValue(arg *Node, at Pos) *Node {
	name, ok := t.text("Fn::ImportValue", arg)
	if !ok {
		return bad(at)
	}
	v, ok := t.bind.Imports[name]
	if !ok {
		hint := "Give it: --import " + name + "=VALUE."
		if best := Closest(name, slices.Collect(maps.Keys(t.bind.Imports))); best != "" {
			hint = fmt.Sprintf("Did you mean %q?", best)
		}
		t.errorf(at, "import-value", hint, "The export %s of another stack is not known here.", quote(name))
		return bad(at)
	}
	return Text(v, at)
}

// cidr cuts consecutive blocks of 2^bits addresses out of an address block.
func (t *Template) cidr(arg *Node, at Pos) *Node {
	args, ok := t.args("Fn::Cidr", arg, 2, 3, "[ip block, count, bits]")
	if !ok {
		return bad(at)
	}
	block, ok := t.text("Fn::Cidr", args[0])
	count, ok2 := t.text("Fn::Cidr", args[1])
	bits := "8"
	if len(args) == 3 {
		var ok3 bool
		if bits, ok3 = t.text("Fn::Cidr", args[2]); !ok3 {
			return bad(at)
		}
	}
	if !ok || !ok2 {
		return bad(at)
	}
	prefix, err := netip.ParsePrefix(block)
	n, err2 := strconv.Atoi(count)
	host, err3 := strconv.Atoi(bits)
	if err != nil || err2 != nil || err3 != nil || n < 1 || n > 256 || host < 1 || host >= prefix.Addr().BitLen() {
		t.errorf(at, "bad-intrinsic", `For example ["10.0.0.0/16", 3, 8].`, "Fn::Cidr needs an address block, a count from 1 to 256 and a number of host bits.")
		return bad(at)
	}
	width := prefix.Addr().BitLen() - host
	if free := width - prefix.Bits(); free < 0 || (free < 9 && n > 1<<free) {
		t.errorf(at, "bad-intrinsic", "", "%s has no room for %d blocks of %d host bits.", block, n, host)
		return bad(at)
	}
	out := &Node{Kind: List, Pos: at}
	base := new(big.Int).SetBytes(prefix.Masked().Addr().AsSlice())
	for i := range n {
		addr := new(big.Int).Add(base, new(big.Int).Lsh(big.NewInt(int64(i)), uint(host)))
		raw := addr.FillBytes(make([]byte, prefix.Addr().BitLen()/8))
		ip, _ := netip.AddrFromSlice(raw)
		out.List = append(out.List, Text(netip.PrefixFrom(ip, width).String(), at))
	}
	return out
}
