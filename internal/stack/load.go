package stack

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Options say what to load. The zero Options load the template of the working
// directory.
type Options struct {
	// Path is a template, or a directory that holds one; "" means Dir.
	Path string
	// Dir is what relative paths and shown file names are relative to; "" means
	// the working directory.
	Dir string
	// StackName defaults to samconfig.toml's, then to the template's directory.
	StackName string
	// Region defaults to samconfig.toml's, then to us-east-1.
	Region string
	// AccountID defaults to 123456789012.
	AccountID string
	// Parameters override samconfig.toml and defaults, by name.
	Parameters map[string]string
	// ConfigFile is a samconfig.toml; "" means the one beside the template, if any.
	ConfigFile string
	// ConfigEnv is the environment in it; "" means "default".
	ConfigEnv string
	// SSM holds values for parameters of type AWS::SSM::Parameter::Value<…>, by
	// the name in Systems Manager.
	SSM map[string]string
	// Imports holds values for Fn::ImportValue, by export name.
	Imports map[string]string
}

// Result is a loaded application.
type Result struct {
	// App is never nil; with errors among the findings it is what could be read.
	App      *model.App
	Template string // absolute path
	Findings []Finding
	// Files are the absolute paths that, when they change, call for another Load:
	// templates, included files and samconfig.toml.
	Files      []string
	Parameters []Parameter // of the root template, in source order
}

// Parameter is a parameter of the root template with its value.
type Parameter struct {
	Name   string
	Type   string
	Value  string // "****" for NoEcho
	Given  bool   // by options or samconfig.toml, not by Default
	NoEcho bool
	Pos    model.Pos
}

// Failed reports whether any finding is an error.
func (r *Result) Failed() bool { return r.Count(Error) > 0 }

// Count is the number of findings of a severity.
func (r *Result) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

const (
	defaultRegion  = "us-east-1"
	defaultAccount = "123456789012"
)

// Load reads a template and everything it names. The error is for files that
// cannot be read (fault NotFound when there is no template); findings are for
// the rest.
func Load(ctx context.Context, o Options) (res *Result, err error) {
	defer fault.Wrap(&err, "stack.Load(%q)", o.Path)
	if o.Dir == "" {
		if o.Dir, err = os.Getwd(); err != nil {
			return nil, err
		}
	}
	path, err := find(o)
	if err != nil {
		return nil, err
	}
	b := &builder{ctx: ctx, opts: o, rank: map[string]int{}}
	b.rank[b.shown(path)] = 0 // findings of the template come first
	if err := b.config(path); err != nil {
		return nil, err
	}
	data, err := b.read(path)
	if err != nil {
		return nil, err
	}
	b.app = &model.App{StackName: b.opts.StackName, Region: b.opts.Region, AccountID: b.opts.AccountID,
		Partition: partition(b.opts.Region), URLSuffix: urlSuffix(b.opts.Region), Dir: filepath.Dir(path)}
	root := b.open(nil, nil, path, data, b.opts.StackName, b.given)
	b.build(root)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, in := range b.instances {
		for _, p := range in.Problems() {
			b.add(fromProblem(p))
		}
	}
	return &Result{App: b.app, Template: path, Findings: b.sorted(b.rank), Files: b.files, Parameters: parameters(root.Template)}, nil
}

// candidates are the template names looked for in a directory, in this order.
var candidates = []string{"template.yaml", "template.yml", "template.json", "template.sam.yaml"}

// find returns the absolute path of the template.
func find(o Options) (string, error) {
	path := o.Path
	if path == "" {
		path = o.Dir
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &fault.Error{Kind: fault.NotFound, Msg: "there is no file or directory " + path, Err: err}
	} else if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return path, nil
	}
	for _, name := range candidates {
		full := filepath.Join(path, name)
		if info, err := os.Stat(full); err == nil && !info.IsDir() {
			return full, nil
		}
	}
	msg := fmt.Sprintf("no template in %s: looked for %s; name the file if it is called otherwise", path, strings.Join(candidates, ", "))
	for _, other := range []struct{ name, what string }{{"cdk.out", "CDK output (cdk.out)"}, {".serverless", "Serverless Framework output (.serverless)"},
		{"serverless.yml", "serverless.yml"}, {"cdk.json", "a CDK app"}} {
		if _, err := os.Stat(filepath.Join(path, other.name)); err == nil {
			msg += "; " + other.what + " is not read yet"
			break
		}
	}
	return "", fault.New(fault.NotFound, "%s", msg)
}

// builder fills one App from a root template and its nested stacks.
type builder struct {
	findings
	ctx       context.Context
	opts      Options
	given     map[string]*cfn.Node // parameters of the root template
	app       *model.App
	instances []*instance
	files     []string
	rank      map[string]int // shown file name → order of loading
	functions map[string]*builtFunction
	layers    map[string]*model.Layer // by ARN
	apis      map[string]*builtAPI    // by API id
	domains   map[string]*model.Domain
}

// read reads a file and remembers it for Result.Files.
func (b *builder) read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err == nil && !slices.Contains(b.files, path) {
		b.files = append(b.files, path)
		if _, ok := b.rank[b.shown(path)]; !ok {
			b.rank[b.shown(path)] = len(b.rank)
		}
	}
	return data, err
}

// shown is how a file is named in findings: relative to Dir when it is below.
func (b *builder) shown(path string) string {
	if rel, err := filepath.Rel(b.opts.Dir, path); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return rel
	}
	return path
}

func parameters(t *cfn.Template) []Parameter {
	var out []Parameter
	for _, p := range t.Parameters {
		v := p.Value.Text
		if p.Value.Kind == cfn.List {
			var parts []string
			for _, e := range p.Value.List {
				parts = append(parts, e.Text)
			}
			v = strings.Join(parts, ",")
		}
		if p.NoEcho {
			v = "****"
		}
		out = append(out, Parameter{Name: p.Name, Type: p.Type, Value: v, Given: p.Given, NoEcho: p.NoEcho, Pos: position(p.Pos)})
	}
	return out
}

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

func urlSuffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// stackName makes a valid stack name out of a directory's.
func stackName(dir string) string {
	var b strings.Builder
	for _, r := range dir {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			b.WriteRune(r)
		default:
			b.WriteByte('-')
		}
	}
	s := strings.Trim(b.String(), "-")
	for strings.Contains(s, "--") {
		s = strings.ReplaceAll(s, "--", "-")
	}
	if s == "" {
		return "app"
	}
	if s[0] >= '0' && s[0] <= '9' {
		s = "app-" + s
	}
	return strings.TrimRight(s[:min(len(s), 128)], "-")
}

// uuid derives a stable UUID-shaped string.
func uuid(parts ...string) string {
	h := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
