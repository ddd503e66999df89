// Package build turns what a template names as a function's code into a
// directory that a worker can run from, outside the user's source tree.
//
// It promises:
//
//   - The user's tree is only read. Everything is written below Config.Dir and
//     Config.SDKDir, first under a temporary name and then renamed, so that a
//     kill -9 at any moment leaves nothing half-made that a later start would use.
//   - A directory is named by the hash of its content: what has not changed is
//     not built again, across restarts too. Nothing starts npm, pip or make when
//     its result is there.
//   - Two livegates may share Config.SDKDir: installs take a file lock.
//
// Layout below Config.Dir, and why: Node.js resolves packages through the
// directories above a module (NODE_PATH does not apply to ES modules), so the
// order of precedence of a Lambda runtime is the order of the ancestors.
//
//	node_modules            → the SDKs that the runtime provides
//	package.json            {}: the "type" of a package.json above does not leak in
//	fn/NAME/HASH/node_modules   packages of layers
//	fn/NAME/HASH/task           the function's code (LAMBDA_TASK_ROOT)
//	fn/NAME/HASH/task/node_modules → the function's own packages
//	npm pip make zip layer  results by hash of their input
//
// The package does not start workers and knows nothing of invocations.
package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// Config configures a Builder.
type Config struct {
	Dir      string // required: builds of this project
	SDKDir   string // required: SDKs, shared by all projects of the user
	Offline  bool   // there may be no network: caches first, and what cannot be had is a note, not an error
	Progress func(Progress)
}

// Progress is one step of a build, reported when it starts and when it is done.
type Progress struct {
	Function string // "" for what several functions share
	Step     string // "npm install", "go build", …
	Done     bool
	Took     time.Duration // of a step that is done
	Err      error
}

// Family is how a function's process is started.
type Family string

const (
	Node     Family = "node"     // under our Node.js bootstrap
	Python   Family = "python"   // under our Python bootstrap
	Provided Family = "provided" // an executable that speaks the Runtime API
)

// Output is a function ready to run. Values are immutable.
type Output struct {
	Family  Family
	Root    string   // what Sweep must keep
	Task    string   // LAMBDA_TASK_ROOT and working directory
	Hash    string   // of everything that a worker could notice
	Command []string // interpreter, or the executable itself
	Frames  bool     // the process runs one of our bootstraps
	RunsOn  string   // "Node 20.20.2", "Python 3.11.7", "bootstrap"

	NodePath, PythonPath, Bin, Lib []string

	Notes []string // for the user, each said once
}

// Error is a function that cannot be built: what is wrong and what to do.
type Error struct {
	Function string // logical id, else name
	Pos      model.Pos
	Err      error
}

func (e *Error) Error() string {
	where := ""
	if p := e.Pos.String(); p != "" {
		where = p + ": "
	}
	return where + "function " + e.Function + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Builder builds functions. Methods may be called concurrently, but Begin only
// while nothing builds.
type Builder struct {
	// Static after New.
	cfg   Config
	tools *toolchain

	// Guarded by mu.
	mu     sync.Mutex
	layers map[string]*model.Layer // by ARN, with and without version
	inputs map[string][]string     // function name → files outside its CodeDir that its bundle read
	said   map[string]bool
	flight map[string]*sync.Mutex // one build per destination at a time
}

// New creates the directories.
func New(cfg Config) (*Builder, error) {
	b := &Builder{
		cfg: cfg, tools: newToolchain(), layers: map[string]*model.Layer{},
		inputs: map[string][]string{}, said: map[string]bool{}, flight: map[string]*sync.Mutex{},
	}
	// What a killed predecessor left half-made.
	if err := os.RemoveAll(filepath.Join(cfg.Dir, "tmp")); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(cfg.Dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	barrier := filepath.Join(cfg.Dir, "package.json")
	if _, err := os.Stat(barrier); err != nil {
		if err := os.WriteFile(barrier, []byte("{}\n"), 0o644); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Close removes temporary files.
func (b *Builder) Close() error { return os.RemoveAll(filepath.Join(b.cfg.Dir, "tmp")) }

// Begin tells which layers the functions of app may name.
func (b *Builder) Begin(app *model.App) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.layers = map[string]*model.Layer{}
	for _, l := range app.Layers {
		b.layers[l.ARN] = l
		if i := strings.LastIndexByte(l.ARN, ':'); i > 0 {
			b.layers[l.ARN[:i]] = l
		}
	}
}

// Build makes fn ready to run. The error is a *Error.
func (b *Builder) Build(ctx context.Context, fn *model.Function) (*Output, error) {
	out, err := b.build(ctx, fn)
	if err != nil {
		name := fn.LogicalID
		if name == "" {
			name = fn.Name
		}
		pos := fn.Pos
		if _, ok := errors.AsType[*missingHandler](err); ok && fn.HandlerPos.File != "" {
			pos = fn.HandlerPos
		}
		return nil, &Error{Function: name, Pos: pos, Err: err}
	}
	return out, nil
}

func (b *Builder) build(ctx context.Context, fn *model.Function) (*Output, error) {
	family, err := familyOf(fn.Runtime)
	if err != nil {
		return nil, err
	}
	out := &Output{Family: family}
	layers, err := b.layerDirs(ctx, fn, out)
	if err != nil {
		return nil, err
	}
	src, err := b.source(ctx, fn, family, out)
	if err != nil {
		return nil, err
	}
	switch family {
	case Node:
		err = b.finishNode(ctx, fn, src, layers, out)
	case Python:
		err = b.finishPython(ctx, fn, src, layers, out)
	default:
		err = b.finishProvided(fn, src, out)
	}
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Backward(layers) { // the last layer wins
		out.Bin = appendDir(out.Bin, filepath.Join(dir, "bin"))
		out.Lib = appendDir(out.Lib, filepath.Join(dir, "lib"))
	}
	out.Lib = appendDir(out.Lib, filepath.Join(out.Task, "lib"))
	content, err := layerContent(layers, b.cfg.Dir)
	if err != nil {
		return nil, err
	}
	out.Hash = hashStrings(append(append([]string{out.Hash, out.RunsOn, content}, layers...), slices.Concat(out.NodePath, out.PythonPath)...)...)
	return out, nil
}

// layerContent hashes what is in layers: those used as they are keep their path
// when they change.
func layerContent(dirs []string, except string) (string, error) {
	var parts []string
	for _, dir := range dirs {
		t, err := scan(dir, except)
		if err != nil {
			return "", fmt.Errorf("layer %s cannot be read: %w", dir, err)
		}
		hash, err := t.hash()
		if err != nil {
			return "", fmt.Errorf("layer %s cannot be read: %w", dir, err)
		}
		parts = append(parts, hash)
	}
	return hashStrings(parts...), nil
}

func appendDir(list []string, dir string) []string {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return append(list, dir)
	}
	return list
}

// familyOf reads a Lambda runtime identifier.
func familyOf(runtime string) (Family, error) {
	switch {
	case strings.HasPrefix(runtime, "nodejs"):
		return Node, nil
	case strings.HasPrefix(runtime, "python"):
		return Python, nil
	case strings.HasPrefix(runtime, "provided"), runtime == "go1.x":
		return Provided, nil
	case runtime == "":
		return "", errors.New("it has no Runtime (container images are not supported): set one of nodejs22.x, python3.13, provided.al2023")
	}
	return "", fmt.Errorf("runtime %s is not supported: nodejs*, python*, provided.* and go1.x are", runtime)
}

// Affected reports whether a change of paths (absolute) concerns fn, and whether
// it is one inside installed packages, which are linked and not part of any hash.
func (b *Builder) Affected(fn *model.Function, paths []string) (hit, modules bool) {
	b.mu.Lock()
	dirs := append([]string{fn.CodeDir, fn.CodeFile}, b.inputs[fn.Name]...)
	for _, arn := range fn.Layers {
		if l := b.layers[arn]; l != nil {
			dirs = append(dirs, l.Dir, l.File)
		}
	}
	b.mu.Unlock()
	for _, p := range paths {
		for _, dir := range dirs {
			if dir == "" || (p != dir && !within(dir, p) && !within(p, dir)) {
				continue
			}
			hit = true
			modules = modules || strings.Contains(p, string(filepath.Separator)+"node_modules"+string(filepath.Separator))
		}
	}
	return hit, modules
}

// within reports whether path lies below dir.
func within(dir, path string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// Sweep removes staged functions whose Root is not in keep.
func (b *Builder) Sweep(keep map[string]bool) error {
	roots, err := filepath.Glob(filepath.Join(b.cfg.Dir, "fn", "*", "*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		if !keep[root] {
			errs = append(errs, os.RemoveAll(root))
		}
	}
	return errors.Join(errs...)
}

// step reports progress around fn.
func (b *Builder) step(function, step string, do func() error) error {
	report := b.cfg.Progress
	if report == nil {
		report = func(Progress) {}
	}
	begin := time.Now()
	report(Progress{Function: function, Step: step})
	err := do()
	report(Progress{Function: function, Step: step, Done: true, Took: time.Since(begin), Err: err})
	return err
}

// note adds a remark to out unless it was made before.
func (b *Builder) note(out *Output, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.said[text] {
		b.said[text] = true
		out.Notes = append(out.Notes, text)
	}
}

// alone serialises builds of the same destination within this process.
func (b *Builder) alone(dest string) (unlock func()) {
	b.mu.Lock()
	m := b.flight[dest]
	if m == nil {
		m = &sync.Mutex{}
		b.flight[dest] = m
	}
	b.mu.Unlock()
	m.Lock()
	return m.Unlock
}
