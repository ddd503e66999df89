package cfn

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of one template. CloudFormation takes at most 1 MB; the rest keeps a
// hostile file from exhausting memory or the stack.
const (
	maxBytes = 4 << 20
	maxNodes = 300_000 // after aliases are expanded
	maxDepth = 100
	maxText  = 1 << 20 // of one resolved value
)

// shortTags maps YAML short tags to intrinsic functions.
func shortTag(tag string) (long string, ok bool) {
	name := strings.TrimPrefix(tag, "!")
	if name == "Ref" || name == "Condition" {
		return name, true
	}
	for _, long := range intrinsics() {
		if long == "Fn::"+name {
			return long, true
		}
	}
	return "", false
}

// Parse reads one YAML or JSON document. The result is nil when the text could
// not be read at all; problems then say why.
func Parse(file string, data []byte) (*Node, []Problem) {
	r := &report{}
	return parse(file, data, r), r.list
}

func parse(file string, data []byte, r *report) *Node {
	top := Pos{File: file, Line: 1, Col: 1}
	if len(data) > maxBytes {
		r.errorf(top, "template-too-large", "CloudFormation accepts 1 MB; split the template into nested stacks.",
			"The file has %d bytes; at most %d are read.", len(data), maxBytes)
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		strict := &report{}
		n := parseJSON(file, data, strict)
		if n != nil || strings.HasSuffix(file, ".json") {
			r.list = append(r.list, strict.list...)
			return n
		}
		// A brace also opens a YAML flow mapping, where keys need no quotes.
		loose := &report{}
		if n = parseYAML(file, data, loose); n != nil && len(loose.list) == 0 {
			return n
		}
		r.list = append(r.list, strict.list...)
		return nil
	}
	return parseYAML(file, data, r)
}

// counter hands out one byte at a time and so knows, when the parser gives up,
// how far it had read: yaml/v3 reports the line where the enclosing block began,
// or none at all, instead of the line of the mistake.
type counter struct {
	data []byte
	n    int
}

func (c *counter) Read(p []byte) (int, error) {
	if c.n >= len(c.data) {
		return 0, io.EOF
	}
	p[0] = c.data[c.n]
	c.n++
	return 1, nil
}

func (c *counter) line() int {
	text := bytes.TrimRight(c.data[:c.n], "\r\n\t ")
	return 1 + bytes.Count(text, []byte("\n"))
}

func parseYAML(file string, data []byte, r *report) *Node {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 0:
		r.errorf(Pos{File: file, Line: 1, Col: 1}, "not-a-template", "A template needs at least a Resources section.", "The file is empty.")
		return nil
	case err != nil:
		yamlError(file, data, err, r)
		return nil
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		r.errorf(Pos{file, second.Line, 1}, "yaml-syntax", "Put one template in one file.", "A second YAML document starts here (after ---).")
		return nil
	} else if !errors.Is(err, io.EOF) {
		yamlError(file, data, err, r)
		return nil
	}
	y := &yamlReader{file: file, report: r, budget: maxNodes}
	return y.node(doc.Content[0], 0)
}

var yamlWhere = regexp.MustCompile(`^yaml: (?:line \d+: )?`)

// yamlError explains a syntax error in the template author's words.
func yamlError(file string, data []byte, err error, r *report) {
	c := &counter{data: data}
	var doc yaml.Node
	line := 1
	if again := yaml.NewDecoder(c).Decode(&doc); again != nil {
		line = c.line()
	}
	text := yamlWhere.ReplaceAllString(err.Error(), "")
	at := Pos{File: file, Line: line, Col: 1}
	hint := ""
	switch {
	case strings.Contains(text, "cannot start any token") && strings.Contains(lineOf(data, line), "\t"):
		text, hint = "A tab is used for indentation.", "YAML allows only spaces."
	case strings.Contains(text, "cannot start any token"):
		text, hint = "A value starts with a character that YAML reserves (@, %, ` or a tab).", "Put the value in quotes."
	case strings.Contains(text, "mapping values are not allowed"):
		text, hint = "A second \": \" stands in this value, or the line is indented too far.", "Quote the value, or align the key with its neighbours."
	case strings.Contains(text, "did not find expected key"), strings.Contains(text, "did not find expected '-' indicator"):
		text, hint = "This line does not fit the indentation of the block it stands in.", "Align it with the lines above, or indent it under its key."
	case strings.Contains(text, "did not find expected ',' or"):
		text, hint = "A list or map in brackets is not closed, or a comma is missing.", "Check the brackets that are open at this line."
	case strings.Contains(text, "unexpected end of stream"), strings.Contains(text, "document indicator"):
		text, hint = "A quoted string is never closed.", "Check the quotes; the file ends inside one."
	case strings.Contains(text, "unknown escape character"):
		text, hint = `A double-quoted string holds an unknown \ escape.`, `Write \\ for a backslash, or use single quotes.`
	case strings.Contains(text, "unknown anchor"):
		hint = "Define it with &name before it is used; quote values that start with *."
	case strings.Contains(text, "control characters are not allowed"), strings.Contains(text, "invalid"):
		hint = "Save the file as UTF-8 text."
	}
	r.errorf(at, "yaml-syntax", hint, "%s", text)
}

func lineOf(data []byte, n int) string {
	lines := bytes.Split(data, []byte("\n"))
	if n < 1 || n > len(lines) {
		return ""
	}
	return string(lines[n-1])
}

type yamlReader struct {
	*report
	file    string
	budget  int // nodes left
	aliases []*yaml.Node
}

func (y *yamlReader) pos(n *yaml.Node) Pos { return Pos{y.file, n.Line, n.Column} }

func (y *yamlReader) node(n *yaml.Node, depth int) *Node {
	at := y.pos(n)
	if y.budget--; y.budget < 0 {
		if y.budget == -1 {
			y.errorf(at, "template-too-large", "Aliases (*name) are expanded; too many of them multiply.",
				"The template grows beyond %d values.", maxNodes)
		}
		return bad(at)
	}
	if depth > maxDepth {
		y.errorf(at, "template-too-deep", "", "Values are nested deeper than %d levels.", maxDepth)
		return bad(at)
	}
	out := &Node{Pos: at}
	switch n.Kind {
	case yaml.AliasNode:
		return y.alias(n, depth)
	case yaml.ScalarNode:
		y.scalar(n, out)
	case yaml.SequenceNode:
		out.Kind = List
		for _, c := range n.Content {
			out.List = append(out.List, y.node(c, depth+1))
		}
	case yaml.MappingNode:
		out.Kind = Map
		y.mapping(n, out, depth)
	}
	return y.tagged(n, out)
}

func (y *yamlReader) alias(n *yaml.Node, depth int) *Node {
	for _, a := range y.aliases {
		if a == n.Alias {
			y.errorf(y.pos(n), "alias-loop", "", "The alias *%s stands inside the value it names.", n.Value)
			return bad(y.pos(n))
		}
	}
	y.aliases = append(y.aliases, n.Alias)
	defer func() { y.aliases = y.aliases[:len(y.aliases)-1] }()
	return y.node(n.Alias, depth+1)
}

func (y *yamlReader) scalar(n *yaml.Node, out *Node) {
	out.Kind, out.Text = String, n.Value
	out.Block = n.Style&yaml.LiteralStyle != 0
	const quoted = yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	tagged := n.Style&yaml.TaggedStyle != 0
	if n.Style&quoted == 0 && !tagged {
		out.Kind, out.Text = plain(n.Value)
	}
}

// tagged turns `!Name value` into {"Fn::Name": value}.
func (y *yamlReader) tagged(n *yaml.Node, out *Node) *Node {
	if n.Style&yaml.TaggedStyle == 0 || strings.HasPrefix(n.ShortTag(), "!!") {
		if n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
			out.Kind, out.Text = plain(n.Value)
		}
		return out
	}
	long, ok := shortTag(n.Tag)
	if !ok {
		y.errorf(out.Pos, "unknown-tag", DidYouMean(n.Tag, shortTags()), "%s is not a CloudFormation function.", n.Tag)
		return bad(out.Pos)
	}
	arg := *out
	// The argument of a scalar tag stands behind "!Name ".
	if arg.Kind != List && arg.Kind != Map {
		arg.Pos.Col += len(n.Tag) + 1
	}
	return &Node{Kind: Map, Pos: out.Pos, Tag: n.Tag, Map: []Entry{{Key: long, Pos: out.Pos, Value: &arg}}}
}

func shortTags() []string {
	tags := []string{"!Ref", "!Condition"}
	for _, long := range intrinsics() {
		tags = append(tags, "!"+strings.TrimPrefix(long, "Fn::"))
	}
	return tags
}

func (y *yamlReader) mapping(n *yaml.Node, out *Node, depth int) {
	at := map[string]Pos{}
	var merges []*Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		for k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			y.errorf(y.pos(k), "bad-key", "Quote the value if it holds braces, such as \"{{resolve:…}}\".", "A key must be text, not %s.", yamlKind(k.Kind))
			continue
		}
		value := y.node(v, depth+1)
		if k.ShortTag() == "!!merge" {
			merges = append(merges, value)
			continue
		}
		if first, dup := at[k.Value]; dup {
			y.errorf(y.pos(k), "duplicate-key", "Remove one of them, or give it another name.", "The key %s is already used on line %d.", quote(k.Value), first.Line)
			continue
		}
		at[k.Value] = y.pos(k)
		out.Map = append(out.Map, Entry{Key: k.Value, Pos: y.pos(k), Value: value})
	}
	for _, m := range merges {
		y.merge(out, m)
	}
}

// merge adds the entries of `<<: value` that are not overridden.
func (y *yamlReader) merge(out, from *Node) {
	switch from.Kind {
	case Map:
		for _, e := range from.Map {
			if out.Get(e.Key) == nil {
				out.Map = append(out.Map, e)
			}
		}
	case List:
		for _, m := range from.List {
			y.merge(out, m)
		}
	case Bad:
	default:
		y.errorf(from.Pos, "bad-key", "Write `<<: *name`.", "The merge key << needs a map, not %s.", from.Kind)
	}
}

func yamlKind(k yaml.Kind) string {
	if k == yaml.SequenceNode {
		return "a list"
	}
	return "a map"
}
