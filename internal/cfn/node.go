package cfn

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Pos is where a value was written. The zero Pos is unknown.
type Pos struct {
	File      string // as given to Load
	Line, Col int    // 1-based
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Kind is the shape of a Node.
type Kind uint8

const (
	Bad    Kind = iota // could not be resolved; the reason has been reported
	None               // AWS::NoValue: as if it had not been written
	Null               // null, or a key without a value
	Bool               // Text is "true" or "false"
	Number             // Text is a JSON number, as written
	String             //
	List               //
	Map                //
)

func (k Kind) String() string {
	return [...]string{"an unresolved value", "no value", "null", "a boolean", "a number", "a string", "a list", "a map"}[k]
}

// Node is a template value. Short tags are kept as their long form, a Map with
// one entry: `!Sub x` is {"Fn::Sub": "x"}.
//
// Nodes are shared (aliases, evaluation results) and must not be changed once
// Load has returned.
type Node struct {
	Kind Kind
	Text string  // scalars
	List []*Node // List
	Map  []Entry // Map, in source order
	Pos  Pos
	Tag  string // the short tag it was written with, e.g. "!Sub"
	// Block marks a literal block scalar ("|"): line k of Text, counted from 0,
	// stands on line Pos.Line+1+k of the file.
	Block bool
}

// Entry is a key with its value.
type Entry struct {
	Key   string
	Pos   Pos // of the key
	Value *Node
}

// Text makes a string node.
func Text(s string, at Pos) *Node { return &Node{Kind: String, Text: s, Pos: at} }

// ListOf makes a list node.
func ListOf(at Pos, items ...*Node) *Node { return &Node{Kind: List, List: items, Pos: at} }

// MapOf makes a map node whose entries stand at their values' positions.
func MapOf(at Pos, entries ...Entry) *Node {
	n := &Node{Kind: Map, Pos: at}
	for _, e := range entries {
		if e.Value == nil {
			continue
		}
		if e.Pos == (Pos{}) {
			e.Pos = e.Value.Pos
		}
		n.Map = append(n.Map, e)
	}
	return n
}

// call makes {"name": arg}.
func call(name string, arg *Node) *Node {
	return MapOf(arg.Pos, Entry{Key: name, Value: arg})
}

func bad(at Pos) *Node { return &Node{Kind: Bad, Pos: at} }

// Get returns the value of a key; nil when n is not a map or has no such key.
func (n *Node) Get(key string) *Node {
	if e := n.Entry(key); e != nil {
		return e.Value
	}
	return nil
}

// Entry returns the entry of a key, nil when there is none.
func (n *Node) Entry(key string) *Entry {
	if n == nil || n.Kind != Map {
		return nil
	}
	for i := range n.Map {
		if n.Map[i].Key == key {
			return &n.Map[i]
		}
	}
	return nil
}

// Scalar reports whether n is a boolean, a number or a string.
func (n *Node) Scalar() bool {
	return n != nil && (n.Kind == String || n.Kind == Number || n.Kind == Bool)
}

// with returns a shallow copy of the map n in which key holds value; nil removes.
func (n *Node) with(key string, value *Node) *Node {
	out := *n
	out.Map = make([]Entry, 0, len(n.Map)+1)
	done := value == nil
	for _, e := range n.Map {
		if e.Key != key {
			out.Map = append(out.Map, e)
		} else if !done {
			e.Value, done = value, true
			out.Map = append(out.Map, e)
		}
	}
	if !done {
		out.Map = append(out.Map, Entry{Key: key, Pos: value.Pos, Value: value})
	}
	return &out
}

// Call reports whether n is an intrinsic function call: a map with the one key
// "Ref" or "Fn::…".
func (n *Node) Call() (name string, arg *Node, ok bool) {
	if n == nil || n.Kind != Map || len(n.Map) != 1 {
		return "", nil, false
	}
	e := n.Map[0]
	if e.Key == "Ref" || (strings.HasPrefix(e.Key, "Fn:") && !isLoop(e.Key)) {
		return e.Key, e.Value, true
	}
	return "", nil, false
}

// JSON renders a resolved node as compact JSON with its keys in source order.
// Bad, None and Null become null.
func (n *Node) JSON() string {
	var b strings.Builder
	n.writeJSON(&b)
	return b.String()
}

func (n *Node) writeJSON(b *strings.Builder) {
	if n == nil {
		b.WriteString("null")
		return
	}
	switch n.Kind {
	case String:
		writeJSONString(b, n.Text)
	case Number, Bool:
		b.WriteString(n.Text)
	case List:
		b.WriteByte('[')
		for i, c := range n.List {
			if i > 0 {
				b.WriteByte(',')
			}
			c.writeJSON(b)
		}
		b.WriteByte(']')
	case Map:
		b.WriteByte('{')
		for i, e := range n.Map {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSONString(b, e.Key)
			b.WriteByte(':')
			e.Value.writeJSON(b)
		}
		b.WriteByte('}')
	default:
		b.WriteString("null")
	}
}

// writeJSONString quotes like encoding/json, without its HTML escaping:
// templates hold "<" and "&" that must reach a function as written.
func writeJSONString(b *strings.Builder, s string) {
	enc := json.NewEncoder(trimNewline{b})
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string cannot fail to encode, nor a Builder to write
}

type trimNewline struct{ b *strings.Builder }

func (t trimNewline) Write(p []byte) (int, error) {
	t.b.WriteString(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (n *Node) equal(m *Node) bool {
	if n.Scalar() && m.Scalar() {
		return n.Text == m.Text
	}
	return n.Kind == m.Kind && n.JSON() == m.JSON()
}
