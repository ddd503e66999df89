package app

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/livegate/livegate/internal/stack"
)

// debounce lets an editor finish: a save is often a write, a rename and a chmod.
const debounce = 60 * time.Millisecond

// listenForEdits starts collecting file events as soon as a template is read, so
// that an edit made while functions are being built is not missed: events wait in
// the kernel until watch takes them.
func (a *App) listenForEdits(d *deployed) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		a.note("warn", "livegate", "cannot watch files (%v): restart to see changes", err)
		return
	}
	a.edits = w
	a.follow(w, d)
}

// watch reloads what the user edits until ctx ends: code without restarting, the
// template without dropping a connection.
func (a *App) watch(ctx context.Context) {
	w := a.edits
	var (
		changed []string
		quiet   = time.NewTimer(time.Hour)
	)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-w.Errors:
			a.note("warn", "livegate", "watching files: %v", err)
		case ev := <-w.Events:
			if ev.Op == fsnotify.Chmod || skipped(filepath.Base(ev.Name)) {
				continue
			}
			if st, err := os.Stat(ev.Name); err == nil && st.IsDir() {
				a.followDir(w, ev.Name) // fsnotify is not recursive on Linux
			}
			if !slices.Contains(changed, ev.Name) {
				changed = append(changed, ev.Name)
			}
			quiet.Reset(debounce)
		case <-quiet.C:
			a.changed(ctx, changed)
			changed = nil
			a.follow(w, a.deployed.Load())
		}
	}
}

// changed reloads after a burst of edits.
func (a *App) changed(ctx context.Context, paths []string) {
	a.reload.Lock()
	defer a.reload.Unlock()
	files := a.deployed.Load().files
	if slices.ContainsFunc(paths, func(p string) bool { return slices.Contains(files, p) || joins(p, files) }) {
		a.reloadTemplate(ctx)
		return
	}
	began := time.Now()
	names, err := a.runtime.Reload(ctx, paths)
	if err != nil || len(names) > 0 {
		a.metrics.reloaded("code", err)
	}
	if err != nil {
		a.note("error", "livegate", "reload: %v\nthe code from before keeps running", err)
		return
	}
	if len(names) > 0 {
		a.note("info", "livegate", "reloaded %s in %v", strings.Join(names, ", "), time.Since(began).Round(time.Millisecond))
	}
}

// joins reports whether a new file is a part of the project: Terraform reads all the
// files of a directory.
func joins(path string, files []string) bool {
	ext := filepath.Ext(path)
	return (ext == ".tf" || ext == ".tfvars") && slices.ContainsFunc(files, func(f string) bool {
		return filepath.Ext(f) == ".tf" && filepath.Dir(f) == filepath.Dir(path)
	})
}

// reloadTemplate loads the template again and applies it, or says why not and
// keeps the one that serves.
func (a *App) reloadTemplate(ctx context.Context) {
	began := time.Now()
	next, err := a.load(ctx)
	if err == nil {
		if err = a.apply(ctx, next); err != nil {
			// Half of it may be in place. What fails now is in err already: code that
			// does not build, which is the same under either template.
			_ = a.apply(ctx, a.deployed.Load())
		}
	}
	a.metrics.reloaded("template", err)
	if err != nil {
		a.note("error", "livegate", "the template was not applied; the one from before keeps serving\n%v", err)
		return
	}
	a.announce()
	a.note("info", "livegate", "template reloaded in %v", time.Since(began).Round(time.Millisecond))
	for _, f := range next.findings {
		if f.Severity == stack.Warning {
			a.note("warn", "livegate", "%s: %s", f.Pos, f.Message)
		}
	}
}

// follow adds every directory that an application is made of.
func (a *App) follow(w *fsnotify.Watcher, d *deployed) {
	for _, f := range d.files {
		// The directory, not the file: editors replace files.
		_ = w.Add(filepath.Dir(f)) // a vanished directory is noticed by load
	}
	for _, fn := range d.app.Functions {
		if fn.CodeDir != "" {
			a.followDir(w, fn.CodeDir)
		}
	}
	for _, l := range d.app.Layers {
		if l.Dir != "" {
			a.followDir(w, l.Dir)
		}
	}
}

func (a *App) followDir(w *fsnotify.Watcher, dir string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil // removed while walking
		case !e.IsDir():
			return nil
		case path != dir && skipped(e.Name()), path == a.dirs.data:
			return filepath.SkipDir
		}
		if err := w.Add(path); err != nil {
			a.note("warn", "livegate", "cannot watch %s (%v): restart to see changes there", path, err)
			return filepath.SkipAll
		}
		return nil
	})
}

// skipped names what no edit of the user goes through.
func skipped(base string) bool {
	switch base {
	case ".git", ".livegate", ".aws-sam", "node_modules", "__pycache__", ".venv", ".idea", ".vscode", ".serverless", "cdk.out":
		return true
	}
	return strings.HasPrefix(base, ".livegate-serverless") || strings.HasSuffix(base, "~") || strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".pyc") || strings.HasPrefix(base, ".#")
}
