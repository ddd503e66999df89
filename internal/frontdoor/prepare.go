package frontdoor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Config says which project to prepare. The zero Config prepares the working
// directory with this process's environment, keeps nothing and installs nothing.
type Config struct {
	// Path is what the user named: a file or a directory; "" means Dir.
	Path string
	// Dir is what Path is relative to; "" means the working directory.
	Dir string
	// DataDir is where artifacts are remembered; "" means they are not.
	DataDir string
	// ToolDir is where a missing packager is installed (some 100 MB, so a directory
	// that projects share is best); "" means "tools" in DataDir, and without either
	// nothing is installed.
	ToolDir string
	// Stage and Region are passed to the Serverless Framework; "" leaves its own.
	Stage, Region string
	// AccountID is what the project believes to be deployed to; "" means
	// 123456789012.
	AccountID string
	// Environ is the packager's environment; nil means this process's. Names
	// that start with AWS_ are not passed on.
	Environ []string
	// ReadOnly runs nothing: what is missing is an error that says what to run.
	ReadOnly bool
	// Say hears what is being done, one short sentence at a time; nil is silence.
	Say func(text string)
}

// Kind is the tool that a project is built with.
type Kind string

const (
	Template   Kind = "template" // nothing to prepare
	Serverless Kind = "serverless"
	CDK        Kind = "cdk"
)

// Result is a project that can be loaded.
type Result struct {
	Kind Kind
	// Path is what to load: stack.Options.Path.
	Path string
	// Sources say from which directory to run an artifact, both absolute:
	// stack.Options.Sources. An artifact that is a plain copy is run from its
	// original, so that an edit is seen without packaging again.
	Sources map[string]string
	// Watch are absolute paths of files whose change calls for another Prepare.
	Watch    []string
	Ran      bool // a packager ran
	Findings []Finding
}

// Finding is one thing to know about a project; stack.Finding without resource.
type Finding struct {
	Severity string // "error", "warning" or "note"
	Code     string // stable, kebab-case
	Message  string
	Hint     string // what to do
	Pos      model.Pos
}

const defaultAccount = "123456789012"

// Prepare finds out what kind of project stands at a path and makes it loadable.
// Errors: NotFound when there is nothing, Upstream when the packager failed (its
// own words are in the message), Unavailable when there is no packager,
// BadRequest for a configuration that cannot be read.
func Prepare(ctx context.Context, c Config) (res *Result, err error) {
	defer fault.Wrap(&err, "frontdoor.Prepare(%q)", c.Path)
	if c.Dir == "" {
		if c.Dir, err = os.Getwd(); err != nil {
			return nil, err
		}
	}
	if c.Path == "" {
		c.Path = c.Dir
	}
	if !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(c.Dir, c.Path)
	}
	if c.Path, err = filepath.Abs(c.Path); err != nil {
		return nil, err
	}
	if c.AccountID == "" {
		c.AccountID = defaultAccount
	}
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	if c.ToolDir == "" && c.DataDir != "" {
		c.ToolDir = filepath.Join(c.DataDir, "tools")
	}
	if c.Say == nil {
		c.Say = func(string) {}
	}
	info, err := os.Stat(c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fault.Error{Kind: fault.NotFound, Msg: "there is no file or directory " + c.Path, Err: err}
	} else if err != nil {
		return nil, err
	}
	switch kind, config := detect(c.Path, info.IsDir()); kind {
	case Serverless:
		return c.serverless(ctx, config)
	case CDK:
		return c.cdk(ctx, config)
	}
	return &Result{Kind: Template, Path: c.Path}, nil
}

// Files that make a directory a project of a tool. A template wins over both: it
// is what the user wrote for CloudFormation.
var (
	serverlessConfigs = []string{"serverless.yml", "serverless.yaml", "serverless.json", "serverless.js", "serverless.cjs", "serverless.mjs", "serverless.ts"}
	cdkConfig         = "cdk.json"
)

// detect names the tool and its configuration file.
func detect(path string, dir bool) (Kind, string) {
	if !dir {
		switch base := filepath.Base(path); {
		case base == cdkConfig:
			return CDK, path
		case slices.Contains(serverlessConfigs, base):
			return Serverless, path
		}
		return Template, ""
	}
	if slices.ContainsFunc(cfn.TemplateFiles(), func(name string) bool { return isFile(filepath.Join(path, name)) }) {
		return Template, ""
	}
	for _, name := range serverlessConfigs {
		if full := filepath.Join(path, name); isFile(full) {
			return Serverless, full
		}
	}
	if full := filepath.Join(path, cdkConfig); isFile(full) {
		return CDK, full
	}
	return Template, ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// shown is a path as the user would write it.
func (c *Config) shown(path string) string {
	if rel, err := filepath.Rel(c.Dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}
