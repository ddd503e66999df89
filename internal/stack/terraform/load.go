package terraform

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/livegate/livegate/internal/cfn"
)

// Config says what to read.
type Config struct {
	// Dir is the root module's directory, absolute.
	Dir string
	// Read reads a file by absolute path; List names the files of a directory
	// (base names, sorted).
	Read func(path string) ([]byte, error)
	List func(dir string) ([]string, error)
	// Show is how a file is named in positions.
	Show func(path string) string
	// Variables are given values, as on the command line of Terraform.
	Variables map[string]string
	// Region and AccountID are what data sources answer; an empty Region is the
	// provider's own, or us-east-1.
	Region, AccountID string
}

// Result is a configuration as a template.
type Result struct {
	Tree     *cfn.Node // a template: Resources and Outputs
	Region   string
	Problems []cfn.Problem
}

const (
	maxModules   = 10   // levels of modules
	maxCalls     = 200  // modules in all
	maxInstances = 1000 // resources that one block makes
	maxProblems  = 200
)

// loader reads one configuration.
type loader struct {
	Config
	res    *Result
	marks  []mark
	ids    map[string]bool
	seen   map[string]bool   // problems, by their text
	warned map[string]bool   // types that are not understood
	depth  int               // of expressions evaluating others
	zips   map[string]string // archives: output path → what they are made of
	tried  bool              // to find them
	calls  int               // of modules
}

// Load reads a root module. What cannot be read is in Problems; Tree is never nil.
func Load(c Config) *Result {
	l := &loader{Config: c, res: &Result{Region: c.Region}, ids: map[string]bool{}, seen: map[string]bool{}, warned: map[string]bool{}, zips: map[string]string{}}
	root := l.module(nil, c.Dir, "", hcl.Range{}, nil)
	if l.res.Region == "" {
		l.res.Region = root.providerRegion()
	}
	resources, outputs := cfn.MapOf(cfn.Pos{}), cfn.MapOf(cfn.Pos{})
	l.emit(root, resources)
	root.emitOutputs(outputs)
	at := cfn.Pos{File: c.Show(c.Dir), Line: 1, Col: 1}
	if len(root.order) > 0 {
		at = l.pos(root.order[0].block.DefRange())
	}
	resources.Pos, outputs.Pos = at, at
	if len(resources.Map) == 0 {
		l.problem(cfn.Error, "no-resources", at, "Add an aws_apigatewayv2_api and its routes.", "The configuration declares no resource that runs here.")
	}
	l.res.Tree = cfn.MapOf(at, cfn.Entry{Key: "Resources", Pos: at, Value: resources})
	if len(outputs.Map) > 0 {
		l.res.Tree.Map = append(l.res.Tree.Map, cfn.Entry{Key: "Outputs", Pos: at, Value: outputs})
	}
	return l.res
}

func (l *loader) pos(r hcl.Range) cfn.Pos {
	return cfn.Pos{File: l.Show(r.Filename), Line: max(r.Start.Line, 1), Col: max(r.Start.Column, 1)}
}

func (l *loader) problem(s cfn.Severity, code string, at cfn.Pos, hint, message string) {
	key := at.String() + code + message
	if l.seen[key] || len(l.res.Problems) >= maxProblems {
		return
	}
	l.seen[key] = true
	l.res.Problems = append(l.res.Problems, cfn.Problem{Severity: s, Code: code, Message: message, Hint: hint, Pos: at})
}

func (l *loader) errorAt(r hcl.Range, hint, message string) {
	l.problem(cfn.Error, "terraform", l.pos(r), hint, message)
}

func (l *loader) diagnostics(diags hcl.Diagnostics, where hcl.Range) {
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		at := where
		if d.Subject != nil && d.Subject.Filename != "" {
			at = *d.Subject
		}
		message := strings.TrimSuffix(d.Summary, ".") + "."
		if d.Detail != "" {
			message = strings.TrimSuffix(d.Summary, ".") + ": " + strings.Join(strings.Fields(unmarked(d.Detail)), " ")
		}
		l.errorAt(at, "", message)
	}
}

// module is one module: the root or a local one.
type module struct {
	*loader
	parent    *module
	dir, name string // name is "" for the root, else the path of module names
	depth     int
	given     map[string]argument
	variables map[string]*hclsyntax.Block
	defaults  map[string]cty.Value // from tfvars files
	locals    map[string]*hclsyntax.Attribute
	outputs   map[string]*hclsyntax.Block
	providers []*hclsyntax.Block
	calls     map[string]*hclsyntax.Block
	children  map[string]*module
	resources map[string]*resource // "type.name", "data.type.name"
	order     []*resource
	values    map[string]cty.Value // evaluated variables, locals and outputs
	busy      map[string]bool
	funcs     map[string]function.Function
}

// argument is a value that a module's caller gives, evaluated in the caller.
type argument struct {
	expr hcl.Expression
	in   *module
}

// module reads the files of a directory.
func (l *loader) module(parent *module, dir, name string, called hcl.Range, given map[string]argument) *module {
	m := &module{loader: l, parent: parent, dir: dir, name: name, given: given,
		variables: map[string]*hclsyntax.Block{}, defaults: map[string]cty.Value{}, locals: map[string]*hclsyntax.Attribute{}, outputs: map[string]*hclsyntax.Block{},
		calls: map[string]*hclsyntax.Block{}, children: map[string]*module{}, resources: map[string]*resource{}, values: map[string]cty.Value{}, busy: map[string]bool{}}
	if parent != nil {
		m.depth = parent.depth + 1
	}
	names, err := l.List(dir)
	if err != nil {
		l.errorAt(called, "Modules are read from directories of this project only.", "The module's directory cannot be read: "+err.Error()+".")
		return m
	}
	found := false
	for _, base := range names {
		full := filepath.Join(dir, base)
		switch {
		case strings.HasSuffix(base, ".tf"):
			found = true
			m.file(full)
		case strings.HasSuffix(base, ".tf.json"):
			l.problem(cfn.Warning, "terraform", cfn.Pos{File: l.Show(full), Line: 1, Col: 1}, "Give a plan instead: terraform plan -out p && terraform show -json p > plan.json.", "Configuration in JSON is not read.")
		}
	}
	if !found {
		l.errorAt(called, "", "There are no .tf files in "+l.Show(dir)+".")
	}
	if parent == nil {
		for _, base := range names { // terraform.tfvars first, then *.auto.tfvars by name
			if base == "terraform.tfvars" {
				m.tfvars(filepath.Join(dir, base))
			}
		}
		for _, base := range names {
			if strings.HasSuffix(base, ".auto.tfvars") {
				m.tfvars(filepath.Join(dir, base))
			}
		}
	}
	m.call()
	return m
}

func (m *module) parse(path string) *hclsyntax.Body {
	data, err := m.Read(path)
	if err != nil {
		m.problem(cfn.Error, "missing-file", cfn.Pos{File: m.Show(path), Line: 1, Col: 1}, "", "The file cannot be read: "+err.Error()+".")
		return nil
	}
	f, diags := hclsyntax.ParseConfig(data, path, hcl.InitialPos)
	m.diagnostics(diags, hcl.Range{Filename: path, Start: hcl.InitialPos})
	if f == nil {
		return nil
	}
	body, _ := f.Body.(*hclsyntax.Body)
	return body
}

func (m *module) file(path string) {
	body := m.parse(path)
	if body == nil {
		return
	}
	for _, b := range body.Blocks {
		labels := map[string]int{"resource": 2, "data": 2, "variable": 1, "output": 1, "module": 1, "provider": 1}
		if want, ok := labels[b.Type]; ok && len(b.Labels) != want {
			m.errorAt(b.DefRange(), "", "A "+b.Type+" block has "+[]string{"", "one label", "two labels"}[want]+".")
			continue
		}
		m.block(b)
	}
}

func (m *module) block(b *hclsyntax.Block) {
	switch b.Type {
	case "resource", "data":
		key := b.Labels[0] + "." + b.Labels[1]
		if b.Type == "data" {
			key = "data." + key
		}
		if other := m.resources[key]; other != nil {
			m.errorAt(b.DefRange(), "Rename one of them.", key+" is declared twice.")
			return
		}
		r := &resource{mod: m, data: b.Type == "data", typ: b.Labels[0], name: b.Labels[1], block: b}
		m.resources[key] = r
		m.order = append(m.order, r)
	case "variable":
		m.variables[b.Labels[0]] = b
	case "output":
		m.outputs[b.Labels[0]] = b
	case "module":
		m.calls[b.Labels[0]] = b
	case "provider":
		m.providers = append(m.providers, b)
	case "locals":
		for name, a := range b.Body.Attributes {
			m.locals[name] = a
		}
	case "terraform", "moved", "removed", "import", "check":
	default:
		m.errorAt(b.DefRange(), "", "A configuration has no block "+quote(b.Type)+".")
	}
}

func (m *module) tfvars(path string) {
	body := m.parse(path)
	if body == nil {
		return
	}
	for name, a := range body.Attributes {
		v, diags := a.Expr.Value(nil)
		m.diagnostics(diags, a.SrcRange)
		if !diags.HasErrors() {
			m.defaults[name] = v
		}
	}
}

// call opens the local modules that this one calls.
func (m *module) call() {
	names := make([]string, 0, len(m.calls))
	for name := range m.calls {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b := m.calls[name]
		source := ""
		if a := b.Body.Attributes["source"]; a != nil {
			if v, diags := a.Expr.Value(nil); !diags.HasErrors() && v.Type() == cty.String && v.IsKnown() && !v.IsNull() {
				source = v.AsString()
			}
		}
		switch {
		case !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../"):
			m.problem(cfn.Warning, "terraform", m.pos(b.DefRange()), "Give a plan instead: terraform plan -out p && terraform show -json p > plan.json.",
				"The module "+name+" comes from elsewhere ("+source+") and is not read: its resources are missing.")
			continue
		case b.Body.Attributes["for_each"] != nil || b.Body.Attributes["count"] != nil:
			m.errorAt(b.DefRange(), "Give a plan instead: terraform plan -out p && terraform show -json p > plan.json.", "The module "+name+" is called with count or for_each, which is not understood.")
			continue
		}
		full, dir := name, filepath.Join(m.dir, filepath.FromSlash(source))
		m.loader.calls++
		switch {
		case m.calledFrom(dir):
			m.errorAt(b.DefRange(), "Name another directory.", "The module "+name+" is one of its own callers.")
			continue
		case m.depth >= maxModules || m.loader.calls > maxCalls:
			m.errorAt(b.DefRange(), "", "There are too many modules, or they are nested too deeply.")
			continue
		}
		given := map[string]argument{}
		for key, a := range b.Body.Attributes {
			if !slices.Contains([]string{"source", "version", "providers", "depends_on"}, key) {
				given[key] = argument{a.Expr, m}
			}
		}
		if m.name != "" {
			full = m.name + "." + name
		}
		m.children[name] = m.loader.module(m, dir, full, b.DefRange(), given)
	}
}

// calledFrom reports whether a directory is this module's or a caller's.
func (m *module) calledFrom(dir string) bool {
	for up := m; up != nil; up = up.parent {
		if up.dir == dir {
			return true
		}
	}
	return false
}

// providerRegion is the region of the aws provider without an alias.
func (m *module) providerRegion() string {
	m.res.Region = "us-east-1" // while the provider's own expression is evaluated
	for _, b := range m.providers {
		a := b.Body.Attributes["region"]
		if b.Labels[0] != "aws" || b.Body.Attributes["alias"] != nil || a == nil {
			continue
		}
		if v, ok := m.eval(a.Expr, scope{}); ok && v.Type() == cty.String && !v.IsNull() && v.IsKnown() && !strings.ContainsRune(v.AsString(), open) {
			return v.AsString()
		}
	}
	return m.res.Region
}

func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:57]) + "…"
	}
	return `"` + s + `"`
}
