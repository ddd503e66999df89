package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/livegate/livegate/internal/model"
)

// executable is the name of the file that a runtime starts.
func executable(fn *model.Function) string {
	if fn.Runtime == "go1.x" && fn.Handler != "" {
		return filepath.ToSlash(filepath.Clean(fn.Handler))
	}
	return "bootstrap"
}

// finishProvided stages an executable. A missing x bit, which archives made on
// other systems lose, is put back.
func (b *Builder) finishProvided(fn *model.Function, src *source, out *Output) error {
	name := executable(fn)
	e := src.tree.find(name)
	if e == nil || e.link != "" && !isFile(e.link) {
		where := src.dir
		if where == "" {
			where = "its code"
		}
		return &missingHandler{fmt.Sprintf("runtime %s starts the executable %q, which is not in %s: build it first, set Metadata BuildMethod, or put a go.mod beside Go code", fn.Runtime, name, where)}
	}
	e.mode |= 0o755
	if err := b.stage(fn, src, nil, out); err != nil {
		return err
	}
	out.Command = []string{filepath.Join(out.Task, filepath.FromSlash(name))}
	out.RunsOn = "executable " + name
	return nil
}

// needsGo reports whether dir holds Go code that has to be compiled.
func needsGo(fn *model.Function, dir string) bool {
	if fn.Build.Method == "go1.x" {
		return true
	}
	if fn.Build.Method != "" || isFile(filepath.Join(dir, filepath.FromSlash(executable(fn)))) {
		return false
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	return err == nil && len(files) > 0
}

// compileGo builds the main package in dir. lambda.norpc leaves out the legacy
// go1.x protocol of aws-lambda-go, which we do not speak.
func (b *Builder) compileGo(ctx context.Context, fn *model.Function, dir string) (*source, error) {
	goTool := b.tools.resolve("go")
	if err := goTool.need("go", "Go source code", "install Go (https://go.dev/dl) or build the executable "+executable(fn)+" yourself"); err != nil {
		return nil, err
	}
	root := moduleRoot(dir)
	if root == "" {
		return nil, fmt.Errorf("there is Go code in %s but no go.mod there or above: run go mod init and go mod tidy", dir)
	}
	bin := filepath.Join(b.cfg.Dir, "go", safeName(fn.Name))
	defer b.alone(bin)()
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return nil, err
	}
	env := []string{"CGO_ENABLED=0", "GOOS=", "GOARCH=", "GOFLAGS=" + withoutMod(os.Getenv("GOFLAGS")), "PWD=" + dir}
	build := func(dir string, flags ...string) error {
		tmp := bin + ".tmp"
		args := append([]string{"build", "-tags", "lambda.norpc", "-buildvcs=false", "-trimpath", "-o", tmp}, flags...)
		if err := run(ctx, dir, env, goTool.path, append(args, ".")...); err != nil {
			return err
		}
		return os.Rename(tmp, bin)
	}
	err := b.step(fn.Name, "go build", func() error {
		err := build(dir)
		if err == nil || !strings.Contains(err.Error(), "go.sum") && !strings.Contains(err.Error(), "updates to go.mod") && !strings.Contains(err.Error(), "go mod tidy") {
			return err
		}
		return b.onCopy(root, func(copied string) error {
			rel, err := filepath.Rel(root, dir)
			if err != nil {
				return err
			}
			return build(filepath.Join(copied, rel), "-mod=mod")
		})
	})
	if err != nil {
		return nil, err
	}
	t := &tree{}
	t.add(entry{rel: executable(fn), mode: 0o755, path: bin})
	return &source{dir: dir, tree: t}, nil
}

// withoutMod drops -mod from GOFLAGS: -mod=mod would let the go command write to
// the user's go.mod and go.sum.
func withoutMod(flags string) string {
	var keep []string
	for f := range strings.FieldsSeq(flags) {
		if !strings.HasPrefix(f, "-mod") {
			keep = append(keep, f)
		}
	}
	return strings.Join(keep, " ")
}

// moduleRoot is the directory of the go.mod that dir belongs to; "" without one.
func moduleRoot(dir string) string {
	for {
		if isFile(filepath.Join(dir, "go.mod")) {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

// onCopy gives do a throw-away copy of dir, for tools that write where they read.
func (b *Builder) onCopy(dir string, do func(copied string) error) error {
	base := filepath.Join(b.cfg.Dir, "tmp")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(base, "copy-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // New clears what stays behind
	t, err := scan(dir, b.cfg.Dir)
	if err != nil {
		return err
	}
	if t, err = t.unlinked(); err != nil {
		return err
	}
	if err := t.write(tmp); err != nil {
		return err
	}
	return do(tmp)
}

// make runs SAM's makefile build, on a copy, with ARTIFACTS_DIR set. Equal
// sources give the earlier result.
func (b *Builder) make(ctx context.Context, logicalID, dir string) (string, error) {
	makeTool := b.tools.resolve("make")
	if err := makeTool.need("make", "BuildMethod makefile", "install make"); err != nil {
		return "", err
	}
	if !isFile(filepath.Join(dir, "Makefile")) {
		return "", fmt.Errorf("BuildMethod makefile: there is no Makefile in %s", dir)
	}
	t, err := scan(dir, b.cfg.Dir)
	if err != nil {
		return "", err
	}
	hash, err := t.hash()
	if err != nil {
		return "", err
	}
	dest := filepath.Join(b.cfg.Dir, "make", hashStrings(logicalID, hash))
	return dest, b.produce(dest, func(artifacts string) error {
		return b.step(logicalID, "make build-"+logicalID, func() error {
			return b.onCopy(dir, func(copied string) error {
				return run(ctx, copied, []string{"ARTIFACTS_DIR=" + artifacts}, makeTool.path, "build-"+logicalID)
			})
		})
	})
}

// layerDirs are the directories of fn's layers, lowest first, built if they say so.
func (b *Builder) layerDirs(ctx context.Context, fn *model.Function, out *Output) ([]string, error) {
	var dirs []string
	for _, arn := range fn.Layers {
		b.mu.Lock()
		l := b.layers[arn]
		b.mu.Unlock()
		if l == nil {
			b.note(out, "layer %s is not in the template and cannot be downloaded: it is left out", arn)
			continue
		}
		dir, err := b.layer(ctx, l, out)
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.LogicalID, err)
		}
		dirs = append(dirs, dir)
	}
	return dirs, nil
}

func (b *Builder) layer(ctx context.Context, l *model.Layer, out *Output) (string, error) {
	dir := l.Dir
	if l.File != "" {
		return b.unzip(l.File)
	}
	if !isDir(dir) {
		return "", fmt.Errorf("its directory %s does not exist: check ContentUri", dir)
	}
	switch method := l.Build.Method; {
	case method == "":
		return dir, nil
	case method == "makefile":
		return b.make(ctx, l.LogicalID, dir)
	case strings.HasPrefix(method, "nodejs"):
		return b.nodeLayer(ctx, l, out)
	case strings.HasPrefix(method, "python"):
		return b.pythonLayer(ctx, l, out)
	default:
		return "", fmt.Errorf("BuildMethod %s is not supported for layers: nodejs*, python* and makefile are", method)
	}
}

// nodeLayer is SAM's: the sources and their packages below nodejs/.
func (b *Builder) nodeLayer(ctx context.Context, l *model.Layer, out *Output) (string, error) {
	dir := l.Dir
	if !isFile(filepath.Join(dir, "package.json")) && isFile(filepath.Join(dir, "nodejs", "package.json")) {
		dir = filepath.Join(dir, "nodejs")
	}
	t, err := scan(dir, b.cfg.Dir)
	if err != nil {
		return "", err
	}
	if t.find(nameModules) == nil {
		if err := b.tools.node().need("node", "BuildMethod "+l.Build.Method, adviceNode); err != nil {
			return "", err
		}
		// Unlike a function, a layer exists to bring its packages along, those of
		// the SDK included.
		modules, err := b.layerPackages(ctx, l, dir, out)
		if err != nil {
			return "", err
		}
		if modules != "" {
			t.add(entry{rel: nameModules, link: modules})
		}
	}
	return b.stageLayer(l, t, "nodejs")
}

func (b *Builder) layerPackages(ctx context.Context, l *model.Layer, dir string, out *Output) (string, error) {
	m, err := readManifest(filepath.Join(dir, "package.json"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(m.Dependencies)+len(m.OptionalDependencies) == 0 {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	npm := b.tools.resolve("npm")
	if err := npm.need("npm", "BuildMethod "+l.Build.Method, "install npm (it comes with Node.js)"); err != nil {
		return "", err
	}
	root, err := b.npmInstall(ctx, l.LogicalID, dir)
	if err != nil && b.cfg.Offline && ctx.Err() == nil {
		b.note(out, "the packages of layer %s are not installed, and npm could get them neither from its cache nor from the network: start once where there is a network", l.LogicalID)
		return "", nil
	}
	return filepath.Join(root, nameModules), err
}

// pythonLayer is SAM's: the sources and requirements below python/.
func (b *Builder) pythonLayer(ctx context.Context, l *model.Layer, out *Output) (string, error) {
	t, err := scan(l.Dir, b.cfg.Dir)
	if err != nil {
		return "", err
	}
	python := b.tools.python("python3")
	if err := python.need("python3", "BuildMethod "+l.Build.Method, advicePython); err != nil {
		return "", err
	}
	if t.find("requirements.txt") != nil {
		dir, err := b.requirements(ctx, l.LogicalID, python, l.Dir, out)
		if err != nil {
			return "", err
		}
		if dir != "" {
			packages, err := scan(dir, "")
			if err != nil {
				return "", err
			}
			t.entries = append(t.entries, packages.entries...)
		}
	}
	return b.stageLayer(l, t, "python")
}

// stageLayer writes a built layer to layer/NAME/HASH, below the folder that its
// language reads.
func (b *Builder) stageLayer(l *model.Layer, t *tree, folder string) (string, error) {
	hash, err := t.hash()
	if err != nil {
		return "", err
	}
	dest := filepath.Join(b.cfg.Dir, "layer", safeName(l.LogicalID), hash)
	return dest, b.produce(dest, func(tmp string) error {
		sub := filepath.Join(tmp, folder)
		if err := os.Mkdir(sub, 0o755); err != nil {
			return err
		}
		return t.write(sub)
	})
}
