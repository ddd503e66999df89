package stack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

// checkHandler reports a handler whose file does not exist, naming what was
// looked for. Zips and layers are not opened.
func (in *instance) checkHandler(p props, f *model.Function) {
	if f.CodeDir == "" || strings.HasPrefix(f.Handler, "/opt/") {
		if f.Inline != "" && f.Handler != "" && !strings.HasPrefix(f.Handler, "index.") {
			in.report(Error, "missing-handler", p.r, p.pos("Handler"), "Write `Handler: index.handler`.", "Inline code is the module \"index\", not %s.", quote(module(f.Handler)))
		}
		return
	}
	if f.Build.Method == "makefile" {
		in.wantFile(p, f, "the build method makefile", "Makefile")
		return
	}
	switch {
	case strings.HasPrefix(f.Runtime, "nodejs"):
		in.nodeHandler(p, f)
	case strings.HasPrefix(f.Runtime, "python"):
		in.pythonHandler(p, f)
	default:
		in.binaryHandler(p, f)
	}
}

// module is the handler without the exported name.
func module(handler string) string {
	if i := strings.LastIndexByte(handler, '.'); i >= 0 {
		return handler[:i]
	}
	return handler
}

var nodeExtensions = []string{".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".tsx", ".jsx"}

func (in *instance) nodeHandler(p props, f *model.Function) {
	if f.Handler == "" {
		return
	}
	if !strings.Contains(f.Handler, ".") {
		in.report(Error, "bad-handler", p.r, p.pos("Handler"), "Write `Handler: file.exportedName`.", "The handler %s names no exported function.", quote(f.Handler))
		return
	}
	// Lambda takes the module up to the first dot of the last path segment, and
	// what follows as a path of exports: "a/index.api.get" is get of api.
	dir, base := filepath.Split(filepath.FromSlash(f.Handler))
	short := base[:strings.IndexByte(base, '.')]
	modules := []string{dir + short}
	if long := module(f.Handler); long != dir+short {
		modules = append(modules, long)
	}
	if entries := f.Build.Lists["EntryPoints"]; f.Build.Method == "esbuild" && len(entries) > 0 {
		in.entryPoints(p, f, entries, short)
		return
	}
	var tried []string
	for _, m := range modules {
		for _, ext := range nodeExtensions {
			if exists(filepath.Join(f.CodeDir, m+ext)) {
				return
			}
		}
		tried = append(tried, m+".js (.mjs, .cjs, .ts, …)")
	}
	in.noHandler(p, f, tried)
}

// entryPoints checks esbuild's entry points: each must exist, and one must
// produce the handler's module.
func (in *instance) entryPoints(p props, f *model.Function, entries []string, short string) {
	found := false
	for _, e := range entries {
		path := filepath.Join(f.CodeDir, filepath.FromSlash(e))
		stem := strings.TrimSuffix(filepath.Base(e), filepath.Ext(e))
		found = found || stem == short
		if exists(path) || slices.ContainsFunc(nodeExtensions, func(ext string) bool { return exists(path + ext) }) {
			continue
		}
		in.report(Error, "missing-handler", p.r, entryPos(p.r, e), "Entry points are relative to CodeUri.", "The entry point %s of %s does not exist in %s.", quote(e), p.r.ID, in.b.shown(f.CodeDir))
	}
	if !found {
		in.report(Error, "missing-handler", p.r, p.pos("Handler"), "Name the entry point's file in Handler.", "No entry point of %s produces the handler's module %s: %s.", p.r.ID, quote(short), strings.Join(entries, ", "))
	}
}

func entryPos(r *cfn.Resource, entry string) cfn.Pos {
	if list := r.Metadata.Get("BuildProperties").Get("EntryPoints"); list != nil {
		for _, e := range list.List {
			if e.Text == entry {
				return e.Pos
			}
		}
		return list.Pos
	}
	return r.Pos
}

func (in *instance) pythonHandler(p props, f *model.Function) {
	if f.Handler == "" {
		return
	}
	if !strings.Contains(f.Handler, ".") {
		in.report(Error, "bad-handler", p.r, p.pos("Handler"), "Write `Handler: module.function`.", "The handler %s names no function.", quote(f.Handler))
		return
	}
	name := strings.ReplaceAll(module(f.Handler), "/", ".")
	path := filepath.FromSlash(strings.ReplaceAll(name, ".", "/"))
	if exists(filepath.Join(f.CodeDir, path+".py")) || exists(filepath.Join(f.CodeDir, path, "__init__.py")) {
		return
	}
	in.noHandler(p, f, []string{path + ".py", filepath.Join(path, "__init__.py")})
}

// binaryHandler is for runtimes that run an executable: a built one, or Go
// source to build it from. The go.mod may stand above the function's directory.
func (in *instance) binaryHandler(p props, f *model.Function) {
	names := []string{"bootstrap", "bootstrap.sh"}
	if f.Runtime == "go1.x" && f.Handler != "" {
		names = append(names, f.Handler)
	}
	for _, name := range names {
		if exists(filepath.Join(f.CodeDir, name)) {
			return
		}
	}
	for dir := f.CodeDir; ; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, "go.mod")) {
			return
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	if f.Build.Method != "" && f.Build.Method != "go1.x" {
		return // its build makes the executable
	}
	in.noHandler(p, f, append(names[:1:1], "go.mod"))
}

func (in *instance) noHandler(p props, f *model.Function, tried []string) {
	hint := "Check Handler and CodeUri."
	if near := in.similar(f, tried); near != "" {
		hint = "There is " + near + ". " + hint
	}
	at := p.pos("Handler")
	if !p.wrote("Handler") {
		at = p.r.Pos
	}
	in.report(Error, "missing-handler", p.r, at, hint, "The handler %s of %s has no file; looked in %s for %s.", quote(f.Handler), p.r.ID, in.b.shown(f.CodeDir), strings.Join(tried, ", "))
}

// similar finds a file beside a missing one whose name is close to it.
func (in *instance) similar(f *model.Function, tried []string) string {
	want, _, _ := strings.Cut(tried[0], " ")
	entries, err := os.ReadDir(filepath.Join(f.CodeDir, filepath.Dir(want)))
	if err != nil {
		return ""
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return cfn.Closest(filepath.Base(want), names)
}

func (in *instance) wantFile(p props, f *model.Function, what, name string) {
	if !exists(filepath.Join(f.CodeDir, name)) {
		in.report(Error, "missing-handler", p.r, p.r.Pos, "", "%s of %s needs a %s in %s.", what, p.r.ID, name, in.b.shown(f.CodeDir))
	}
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}
