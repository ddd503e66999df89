package stack

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
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
	// Path is a template, the manifest.json of a cloud assembly, the
	// cloudformation-template-update-stack.json of the Serverless Framework, a
	// Terraform file or plan (JSON), or a directory that holds one of them (in
	// cdk.out or .serverless for those two); "" means Dir.
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
	// Stack chooses one stack of a cloud assembly by name, id or display name; ""
	// takes those with a WebSocket API. Stacks that it depends on come with it.
	Stack string
	// Sources say from which directory to run a packaged artifact (absolute path of
	// a zip file or of an asset's directory) instead, so that edits there are seen.
	Sources map[string]string
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
	b := &builder{ctx: ctx, opts: o, rank: map[string]int{}, imports: maps.Clone(o.Imports)}
	if b.imports == nil {
		b.imports = map[string]string{}
	}
	b.rank[b.shown(path)] = 0 // findings of the template come first
	p, err := b.project(path)
	if err != nil {
		return nil, err
	}
	if err := b.config(p, path); err != nil {
		return nil, err
	}
	dir := path
	if !isDir(path) {
		dir = filepath.Dir(path)
	}
	b.app = &model.App{StackName: b.opts.StackName, Region: b.opts.Region, AccountID: b.opts.AccountID,
		Partition: partition(b.opts.Region), URLSuffix: urlSuffix(b.opts.Region), Dir: dir}
	roots, err := b.openAll(p)
	if err != nil {
		return nil, err
	}
	b.build(roots)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var given []Parameter
	for _, in := range b.instances {
		for _, problem := range in.Problems() {
			b.add(fromProblem(problem))
		}
		if in.parent == nil {
			given = append(given, parameters(in.Template)...)
		}
	}
	return &Result{App: b.app, Template: path, Findings: b.sorted(b.rank), Files: b.files, Parameters: given}, nil
}

// openAll loads the templates at the top, each with what those before it export.
func (b *builder) openAll(p *origin) ([]*instance, error) {
	var out []*instance
	for _, r := range p.roots {
		var data []byte
		if r.tree == nil {
			var err error
			if data, err = b.read(r.path); err != nil {
				return nil, err
			}
		}
		in := b.open(nil, r, data, orElse(r.name, b.opts.StackName), b.given)
		for _, o := range in.Outputs {
			if o.Export == nil || len(p.roots) == 1 {
				continue
			}
			name, value := in.Eval(o.Export), in.Eval(o.Value)
			if _, taken := b.opts.Imports[name.Text]; !taken && name.Scalar() && value.Scalar() {
				b.imports[name.Text] = value.Text
			}
		}
		out = append(out, in)
	}
	return out, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// builder fills one App from a root template and its nested stacks.
type builder struct {
	findings
	ctx       context.Context
	opts      Options
	imports   map[string]string    // for Fn::ImportValue, by export name
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
