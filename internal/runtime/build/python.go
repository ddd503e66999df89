package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/livegate/livegate/internal/model"
)

const advicePython = "install Python 3.8 or newer and start again"

// finishPython chooses an interpreter, adds packages and layers, and stages.
func (b *Builder) finishPython(ctx context.Context, fn *model.Function, src *source, layers []string, out *Output) error {
	boto, err := src.tree.importsBoto()
	if err != nil {
		return fmt.Errorf("its code cannot be read: %w", err)
	}
	python := b.interpreter(ctx, fn.Runtime, boto)
	if err := python.need("python3", fn.Runtime, advicePython); err != nil {
		return err
	}
	out.Command, out.Frames, out.RunsOn = []string{python.path}, true, "Python "+python.version
	minor := python.version[:max(0, strings.LastIndexByte(python.version, '.'))]
	if fn.Runtime != "python"+minor {
		b.note(out, "%s runs on Python %s", fn.Runtime, python.version)
	}
	if err := pythonHandler(fn, src, len(layers) > 0); err != nil {
		return err
	}
	for _, layer := range layers {
		for _, dir := range []string{filepath.Join(layer, "python"), filepath.Join(layer, "python", "lib", "python"+minor, "site-packages")} {
			if isDir(dir) {
				out.PythonPath = append([]string{dir}, out.PythonPath...)
			}
		}
	}
	if src.tree.find("requirements.txt") != nil && src.dir != "" {
		dir, err := b.requirements(ctx, fn.Name, python, src.dir, out)
		if err != nil {
			return err
		}
		if dir != "" {
			out.PythonPath = append(out.PythonPath, dir)
		}
	}
	if boto && !b.hasModule(ctx, python, "boto3", out.PythonPath) && src.tree.find("boto3/__init__.py") == nil {
		dir, err := b.pip(ctx, fn.Name, python, []string{"boto3"})
		if err != nil {
			b.note(out, "it imports boto3, which Lambda provides, %s lacks, and pip could not install: install boto3 for %s yourself", python.path, python.path)
		} else {
			out.PythonPath = append(out.PythonPath, dir)
		}
	}
	return b.stage(fn, src, nil, out)
}

// interpreter prefers the declared version if it is installed and, for code that
// uses the SDK, has it; else python3.
func (b *Builder) interpreter(ctx context.Context, runtime string, boto bool) *tool {
	usual := b.tools.python("python3")
	exact := b.tools.python(runtime)
	if runtime == "python2.7" || exact.err != nil {
		return usual
	}
	if boto && usual.err == nil && !b.hasModule(ctx, exact, "boto3", nil) && b.hasModule(ctx, usual, "boto3", nil) {
		return usual
	}
	return exact
}

// hasModule asks an interpreter whether a top-level module can be imported.
func (b *Builder) hasModule(ctx context.Context, python *tool, module string, search []string) bool {
	cmd := exec.CommandContext(ctx, python.path, "-c", "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)", module)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(search, string(os.PathListSeparator)))
	return cmd.Run() == nil
}

func pythonHandler(fn *model.Function, src *source, layers bool) error {
	dot := strings.LastIndexByte(fn.Handler, '.')
	if dot <= 0 {
		return &missingHandler{fmt.Sprintf("handler %q is not of the form MODULE.FUNCTION", fn.Handler)}
	}
	base := strings.ReplaceAll(path.Clean(fn.Handler[:dot]), ".", "/")
	if layers || src.tree.find(base+".py") != nil || src.tree.find(base+"/__init__.py") != nil {
		return nil
	}
	where := src.dir
	if where == "" {
		where = "its inline code"
	}
	return &missingHandler{fmt.Sprintf("handler %q: there is no %s.py in %s", fn.Handler, base, where)}
}

var botoImport = regexp.MustCompile(`(?m)^\s*(?:import|from)\s+(?:boto3|botocore)\b`)

func (t *tree) importsBoto() (bool, error) {
	for _, e := range t.entries {
		if e.link != "" || path.Ext(e.rel) != ".py" {
			continue
		}
		text := e.data
		if e.path != "" {
			var err error
			if text, err = os.ReadFile(e.path); err != nil {
				return false, err
			}
		}
		if botoImport.Match(text) {
			return true, nil
		}
	}
	return false, nil
}

// missingRequirements prints the requirements that no installed distribution
// meets by name. Versions are not compared: what is there is tried first.
const missingRequirements = `
import sys, re
try:
    from importlib.metadata import version, PackageNotFoundError
except ImportError:
    sys.exit(print("*"))
for line in open(sys.argv[1], encoding="utf-8"):
    line = line.split("#")[0].strip()
    if not line:
        continue
    m = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(?:[<>=!~;@]|$)", line)
    if not m:
        print(line)
        continue
    try:
        version(m.group(1))
    except PackageNotFoundError:
        print(line)
`

// requirements installs requirements.txt unless everything in it is there: beside
// the code, in a layer or in the interpreter. "" when nothing is to be added.
func (b *Builder) requirements(ctx context.Context, function string, python *tool, dir string, out *Output) (string, error) {
	file := filepath.Join(dir, "requirements.txt")
	cmd := exec.CommandContext(ctx, python.path, "-c", missingRequirements, file)
	search := append([]string{dir}, out.PythonPath...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+strings.Join(search, string(os.PathListSeparator)))
	missing, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	names := strings.Fields(string(missing))
	if len(names) == 0 {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	target, err := b.pip(ctx, function, python, []string{"-r", file}, string(text))
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		b.note(out, "requirements.txt asks for %s, which is not installed for %s, and pip could not install it:\n%v", strings.Join(names, ", "), python.path, errors.Unwrap(err))
		return "", nil
	}
	return target, nil
}

// pip installs into pip/HASH; what says what is asked for, key adds to its hash.
func (b *Builder) pip(ctx context.Context, function string, python *tool, what []string, key ...string) (string, error) {
	if len(key) == 0 {
		key = what
	}
	dest := filepath.Join(b.cfg.Dir, "pip", hashStrings(append(key, python.version)...))
	return dest, b.produce(dest, func(tmp string) error {
		return b.step(function, "pip install", func() error {
			args := []string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "10", "--target", tmp}
			if err := run(ctx, filepath.Dir(tmp), nil, python.path, append(args, what...)...); err != nil {
				return fmt.Errorf("pip install: %w", err)
			}
			return nil
		})
	})
}
