package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// app is a CDK project.
type app struct {
	*Config
	dir, config string
	text        []byte // of cdk.json
	spec        cdkSpec
	out         string // absolute path of the assembly
	res         *Result
}

// cdkSpec is the part of cdk.json that synthesis needs.
type cdkSpec struct {
	App     string
	Build   string
	Output  string
	Context map[string]any
	Watch   struct{ Include json.RawMessage }
}

const manifestName = "manifest.json"

func (c *Config) cdk(ctx context.Context, config string) (*Result, error) {
	a := &app{Config: c, dir: filepath.Dir(config), config: config, res: &Result{Kind: CDK}}
	var err error
	if a.text, err = os.ReadFile(config); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(a.text, &a.spec); err != nil {
		line := 1
		if at, ok := errors.AsType[*json.SyntaxError](err); ok {
			line = 1 + strings.Count(string(a.text[:min(int(at.Offset), len(a.text))]), "\n")
		}
		return nil, fault.New(fault.BadRequest, "%s:%d: this is not JSON: %v; correct it", c.shown(config), line, err)
	}
	a.out = a.abs(a.spec.Output)
	if a.spec.Output == "" {
		a.out = filepath.Join(a.dir, "cdk.out")
	}
	fixed := a.spec.App != "" && isFile(filepath.Join(a.abs(a.spec.App), manifestName)) // "app": a directory that is an assembly already
	if fixed {
		a.out = a.abs(a.spec.App)
	}
	a.res.Path = filepath.Join(a.out, manifestName)
	release, err := c.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	m := c.remember()
	why := a.stale(m)
	switch {
	case fixed || why == "":
	case c.ReadOnly && !isFile(a.res.Path):
		return nil, fault.New(fault.NotFound, "%s is not synthesised: run `npx cdk synth`, or `livegate dev`, which does it", c.shown(config))
	case c.ReadOnly:
		a.find("note", "stale-assembly", "Synthesise again: `npx cdk synth`.", "What was synthesised is read, although %s.", why)
	default:
		if err := a.synth(ctx, why); err != nil {
			return nil, err
		}
		a.res.Ran = true
	}
	a.res.Sources = a.originals(m)
	a.res.Watch = append([]string{config}, a.code(a.res.Sources)...)
	if a.res.Ran {
		m.made(a.res.Path, a.res.Watch)
	}
	if err := m.save(); err != nil {
		return nil, err
	}
	return a.res, nil
}

func (a *app) abs(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(a.dir, filepath.FromSlash(path))
}

func (a *app) find(severity, code, hint, format string, args ...any) {
	a.res.Findings = append(a.res.Findings, Finding{Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint,
		Pos: model.Pos{File: a.shown(a.config), Line: 1}})
}

// roots are the directories that hold the app's sources: its own, and those above
// it that cdk.json says to watch ("../backend/**/*.ts").
func (a *app) roots() []string {
	out := []string{a.dir}
	var many []string
	var one string
	if json.Unmarshal(a.spec.Watch.Include, &many) != nil && json.Unmarshal(a.spec.Watch.Include, &one) == nil {
		many = []string{one}
	}
	for _, pattern := range many {
		if !strings.HasPrefix(pattern, "../") {
			continue
		}
		base := pattern
		if i := strings.IndexAny(base, "*?[{"); i >= 0 {
			base = base[:strings.LastIndexByte(base[:i], '/')+1]
		}
		if dir := a.abs(base); isDir(dir) && !below(a.dir, dir) && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// code are the files whose change calls for another synthesis: not those of
// directories that are run as they are.
func (a *app) code(originals map[string]string) []string {
	var out []string
	for _, dir := range a.roots() {
		for _, f := range sources(dir, a.out, a.DataDir) {
			plain := false
			for _, from := range originals {
				plain = plain || from != a.dir && below(f, from)
			}
			if !plain && f != a.config {
				out = append(out, f)
			}
		}
	}
	return out
}

// stale says why the app must be synthesised; "" when it need not be.
func (a *app) stale(m *memory) string {
	info, err := os.Stat(a.res.Path)
	if err != nil {
		return "it has not been synthesised"
	}
	files := append([]string{a.config}, a.code(a.originals(m))...)
	if at, file := newest(files); at.After(info.ModTime()) {
		return a.shown(file) + " is newer"
	}
	if m.changed(a.res.Path, files) {
		return "a file was removed, added or replaced"
	}
	return ""
}

// originals finds the directories of the project that file assets are plain
// copies of.
func (a *app) originals(m *memory) map[string]string {
	assets, _ := filepath.Glob(filepath.Join(a.out, "asset.*")) // the pattern is a constant
	out := map[string]string{}
	for _, asset := range assets {
		if !isDir(asset) {
			continue
		}
		if dir := m.source(asset, func() string { return a.original(asset) }); dir != "" {
			out[asset] = dir
		}
	}
	return out
}

const maxDirs = 2000 // looked at for an asset's original

func (a *app) original(asset string) string {
	entries, err := os.ReadDir(asset)
	if err != nil || len(entries) == 0 {
		return ""
	}
	found := ""
	for _, root := range a.roots() {
		left := maxDirs
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || !e.IsDir():
				return nil
			case path == a.out || path != root && generated(e.Name()):
				return filepath.SkipDir
			case left <= 0:
				return filepath.SkipAll
			}
			left--
			if _, err := os.Stat(filepath.Join(path, entries[0].Name())); err != nil {
				return nil
			}
			if copyOf(asset, path) {
				found = path
				return filepath.SkipAll
			}
			return nil
		})
		if found != "" {
			break
		}
	}
	return found
}

// synth runs the app as `cdk synth` does: its command in a shell, told by
// variables where to write. No CLI is needed, so nothing is asked of an account.
func (a *app) synth(ctx context.Context, why string) error {
	if a.spec.App == "" {
		return fault.New(fault.BadRequest, `%s:1: there is no "app", the command that synthesises; add it, for example "app": "npx ts-node bin/app.ts"`, a.shown(a.config))
	}
	if needs, ok := a.uninstalled(); ok {
		return fault.New(fault.Unavailable, "%s: the app's packages are not installed; run `%s` in %s", a.shown(a.config), needs, a.shown(a.dir))
	}
	context, err := a.context()
	if err != nil {
		return err
	}
	env := []string{"CDK_OUTDIR=" + a.out, "CDK_DEFAULT_ACCOUNT=" + a.AccountID, "CDK_DEFAULT_REGION=" + a.region()}
	if len(context) < 100<<10 {
		env = append(env, "CDK_CONTEXT_JSON="+context)
	} else { // one variable holds at most 128 KiB on Linux
		file, err := os.CreateTemp("", "livegate-context-*.json")
		if err != nil {
			return err
		}
		_, err = file.WriteString(context)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		defer os.Remove(file.Name())
		env = append(env, "CONTEXT_OVERFLOW_LOCATION_ENV="+file.Name())
	}
	a.Say(fmt.Sprintf("Synthesising %s: %s", a.shown(a.dir), why))
	for _, command := range []string{a.spec.Build, a.spec.App} {
		if command == "" {
			continue
		}
		if _, err := a.run(ctx, tool{dir: a.dir, args: []string{"sh", "-c", command}, env: env}); err != nil {
			return err
		}
	}
	if !isFile(a.res.Path) {
		return fault.New(fault.Upstream, "the app ended well but did not write %s; it must call app.synth()", a.shown(a.res.Path))
	}
	return nil
}

func (a *app) region() string {
	if a.Region != "" {
		return a.Region
	}
	return "us-east-1"
}

// uninstalled reports whether a Node app lacks its packages, and how to get them.
func (a *app) uninstalled() (command string, missing bool) {
	if !isFile(filepath.Join(a.dir, "package.json")) {
		return "", false
	}
	if _, ok := installed(a.dir, "aws-cdk-lib"); ok {
		return "", false
	}
	if _, ok := installed(a.dir, "@aws-cdk/core"); ok {
		return "", false
	}
	for file, command := range map[string]string{"package-lock.json": "npm ci", "yarn.lock": "yarn install", "pnpm-lock.yaml": "pnpm install"} {
		if isFile(filepath.Join(a.dir, file)) {
			return command, true
		}
	}
	return "npm install", true
}

// context is what the CLI would pass: its own settings, then cdk.context.json
// (answers of earlier lookups), then cdk.json.
func (a *app) context() (string, error) {
	all := map[string]any{"aws:cdk:enable-path-metadata": true, "aws:cdk:enable-asset-metadata": true, "aws:cdk:version-reporting": false, "aws:cdk:bundling-stacks": []string{"**"}}
	kept := filepath.Join(a.dir, "cdk.context.json")
	data, err := os.ReadFile(kept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	default:
		var looked map[string]any
		if err := json.Unmarshal(data, &looked); err != nil {
			return "", fault.New(fault.BadRequest, "%s: this is not a JSON object: %v; correct it", a.shown(kept), err)
		}
		for k, v := range looked {
			all[k] = v
		}
	}
	for k, v := range a.spec.Context {
		all[k] = v
	}
	out, err := json.Marshal(all)
	return string(out), err
}
