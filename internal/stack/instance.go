package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/id"
)

// instance is one stack: the root or a nested one.
type instance struct {
	*cfn.Template
	b      *builder
	parent *instance
	name   string // stack name
	id     string // stack ARN
	path   string // absolute path of the template
	dir    string // its directory: local paths in it are relative to this
	*artifacts
	// nested stacks by logical id; nil for one that could not be loaded.
	nested map[string]*instance
}

const maxNesting = 10 // levels of nested stacks

// open loads a template as a stack; parent is nil for those at the top. Without a
// tree the template is read from data.
func (b *builder) open(parent *instance, r root, data []byte, name string, params map[string]*cfn.Node) *instance {
	in := &instance{b: b, parent: parent, name: name, path: r.path, dir: filepath.Dir(r.path), artifacts: r.artifacts, nested: map[string]*instance{}}
	in.id = fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/%s/%s", b.app.Partition, b.app.Region, b.app.AccountID, name, uuid("stack", name))
	bind := cfn.Binding{
		StackName: name, StackID: in.id, Region: b.app.Region, AccountID: b.app.AccountID,
		Partition: b.app.Partition, URLSuffix: b.app.URLSuffix,
		Parameters: params, SSM: b.opts.SSM, Imports: b.imports,
		Read:       in.include,
		Attributes: in.attribute,
	}
	if r.tree != nil {
		in.Template = cfn.LoadTree(b.shown(r.path), r.tree, bind)
	} else {
		in.Template = cfn.Load(b.shown(r.path), data, bind)
	}
	b.instances = append(b.instances, in)
	return in
}

func (in *instance) include(name string) (string, []byte, error) {
	path := in.abs(name)
	data, err := in.b.read(path)
	return in.b.shown(path), data, err
}

// abs resolves a path written in the template.
func (in *instance) abs(name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(in.dir, filepath.FromSlash(name))
}

// report adds a finding about a resource of this stack.
func (in *instance) report(s Severity, code string, r *cfn.Resource, at cfn.Pos, hint, format string, args ...any) {
	f := Finding{Severity: s, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Pos: position(at)}
	if r != nil {
		f.Resource = r.ID
	}
	in.b.add(f)
}

// child is the nested stack of a resource, loaded on first use: another
// resource may ask for its outputs before the builder comes to it.
func (in *instance) child(r *cfn.Resource) *instance {
	if got, ok := in.nested[r.ID]; ok {
		return got
	}
	in.nested[r.ID] = nil // not again, even from its own parameters
	p := in.props(r)
	url := p.get("TemplateURL")
	if url == nil {
		if r.Properties.Get("TemplateURL") == nil {
			in.report(Error, "missing-property", r, r.Pos, "Name the nested template: Location, or TemplateURL.", "%s does not say which template it is.", r.ID)
		}
		return nil
	}
	path, packaged := "", false
	if url.Kind == cfn.String {
		path, packaged = in.artifact(url.Text)
	}
	if !packaged && (url.Kind != cfn.String || strings.Contains(url.Text, "://") || strings.HasPrefix(url.Text, "arn:")) {
		in.report(Warning, "nested-stack-not-local", r, url.Pos, "Name a local template file instead.", "The nested stack %s is not a local file; its resources are missing.", r.ID)
		return nil
	}
	if !packaged {
		path = in.abs(url.Text)
	}
	for up := in; up != nil; up = up.parent {
		if up.path == path {
			in.report(Error, "nested-stack-loop", r, url.Pos, "", "The nested stack %s is one of its own parents.", r.ID)
			return nil
		}
	}
	if in.depth() >= maxNesting {
		in.report(Error, "nested-stack-loop", r, url.Pos, "", "Stacks are nested deeper than %d levels.", maxNesting)
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "template.yaml")
	}
	data, err := in.b.read(path)
	if err != nil {
		in.report(Error, "missing-file", r, url.Pos, "Paths are relative to the template.", "The nested template %s cannot be read.", quote(in.b.shown(path)))
		return nil
	}
	params := map[string]*cfn.Node{}
	if n := p.get("Parameters"); n != nil && n.Kind == cfn.Map {
		for _, e := range n.Map {
			params[e.Key] = e.Value
		}
	}
	child := in.b.open(in, root{path: path, artifacts: in.artifacts}, data, in.generated(r.ID, 128, ""), params)
	in.nested[r.ID] = child
	return child
}

func (in *instance) depth() int {
	n := 0
	for up := in.parent; up != nil; up = up.parent {
		n++
	}
	return n
}

// generated is the physical name of a resource without a name of its own:
// "{stack}-{logical}-{suffix}", as CloudFormation makes them. The stack name is
// shortened where most characters are allowed.
func (in *instance) generated(logical string, most int, end string) string {
	suffix := id.Stable(12, in.name, logical)
	stack := in.name
	if over := len(stack) + len(logical) + len(suffix) + len(end) + 2 - most; over > 0 {
		stack = strings.Trim(stack[:max(len(stack)-over, 1)], "-")
		if over = len(stack) + len(logical) + len(suffix) + len(end) + 2 - most; over > 0 {
			logical = logical[:len(logical)-min(over, len(logical)-1)]
		}
	}
	return stack + "-" + logical + "-" + suffix + end
}
