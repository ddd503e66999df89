package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/livegate/livegate/internal/model"
)

// missingHandler is an error about the Handler property, not about the code.
type missingHandler struct{ text string }

func (e *missingHandler) Error() string { return e.text }

// source is a function's code before it is staged.
type source struct {
	dir  string // the user's directory, or a build's; never written
	tree *tree
}

// source finds the code and runs the build method, if there is one.
func (b *Builder) source(ctx context.Context, fn *model.Function, family Family, out *Output) (*source, error) {
	dir := fn.CodeDir
	switch {
	case fn.Inline != "":
		t := &tree{}
		t.add(entry{rel: inlineName(family, fn.Inline), mode: 0o644, data: []byte(fn.Inline)})
		return &source{tree: t}, nil
	case fn.CodeFile != "" && strings.EqualFold(filepath.Ext(fn.CodeFile), ".zip"):
		var err error
		if dir, err = b.unzip(fn.CodeFile); err != nil {
			return nil, err
		}
	case fn.CodeFile != "":
		t := &tree{}
		info, err := os.Stat(fn.CodeFile)
		if err != nil {
			return nil, fmt.Errorf("its code: %w", err)
		}
		t.add(entry{rel: filepath.Base(fn.CodeFile), mode: info.Mode().Perm(), path: fn.CodeFile})
		return &source{tree: t}, nil
	case dir == "":
		return nil, errors.New("it has no code: set CodeUri (or Code) to a directory beside the template, or InlineCode")
	}
	if !isDir(dir) {
		return nil, fmt.Errorf("its code directory %s does not exist: check CodeUri", dir)
	}
	switch {
	case fn.Build.Method == "makefile":
		made, err := b.make(ctx, fn.LogicalID, dir)
		if err != nil {
			return nil, err
		}
		dir = made
	case family == Provided && needsGo(fn, dir):
		return b.compileGo(ctx, fn, dir)
	case family == Node && (fn.Build.Method == "esbuild" || typeScript(fn.Handler, dir) != ""):
		return b.bundle(ctx, fn, dir, out)
	}
	t, err := scan(dir, b.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("its code cannot be read: %w", err)
	}
	return &source{dir: dir, tree: t}, nil
}

var esmSyntax = regexp.MustCompile(`(?m)^\s*(import\s+[\w*{'"]|export\s)`)

func inlineName(family Family, code string) string {
	switch {
	case family == Python:
		return "index.py"
	case family == Provided:
		return "bootstrap"
	case esmSyntax.MatchString(code):
		return "index.mjs"
	}
	return "index.js"
}

// stage writes the code to fn/NAME/HASH and fills in Root, Task and Hash. links
// become fn/NAME/HASH/node_modules: package name → directory.
func (b *Builder) stage(fn *model.Function, src *source, links map[string]string, out *Output) error {
	hash, err := src.tree.hash()
	if err != nil {
		return fmt.Errorf("its code cannot be read: %w", err)
	}
	packages := &tree{}
	for name, dir := range links {
		packages.add(entry{rel: nameModules + "/" + name, link: dir})
	}
	linked, err := packages.hash()
	if err != nil {
		return err
	}
	out.Hash = hashStrings(hash, linked)
	out.Root = filepath.Join(b.cfg.Dir, "fn", safeName(fn.Name), out.Hash)
	out.Task = filepath.Join(out.Root, "task")
	return b.produce(out.Root, func(tmp string) error {
		task := filepath.Join(tmp, "task")
		if err := os.Mkdir(task, 0o755); err != nil {
			return err
		}
		if err := packages.write(tmp); err != nil {
			return err
		}
		return src.tree.write(task)
	})
}

// safeName makes a directory name of a function name, which AWS limits to
// letters, digits, '-' and '_' (a template may not).
func safeName(name string) string {
	clean := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, name)
	if clean != name || clean == "" {
		clean += "-" + hashStrings(name)[:8]
	}
	return clean
}
