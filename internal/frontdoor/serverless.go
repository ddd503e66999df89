package frontdoor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// The packager for services that bring none, and for version 4, which wants a
// login: the maintained continuation of version 3.
const (
	oslsName    = "osls"
	oslsVersion = "4.3.1"
)

const (
	outputDir      = ".serverless"
	updateTemplate = "cloudformation-template-update-stack.json"
)

// service is a Serverless Framework project.
type service struct {
	*Config
	dir, config string
	text        string // of the configuration
	res         *Result
}

func (c *Config) serverless(ctx context.Context, config string) (*Result, error) {
	data, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(config)
	s := &service{Config: c, dir: dir, config: config, text: string(data), res: &Result{Kind: Serverless, Path: filepath.Join(dir, outputDir, updateTemplate)}}
	release, err := c.locked(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	m := c.remember()
	why := s.stale(m)
	switch {
	case why != "" && c.ReadOnly && !isFile(s.res.Path):
		return nil, fault.New(fault.NotFound, "%s is not packaged: run `npx serverless package`, or `livegate dev`, which does it", c.shown(config))
	case why != "" && c.ReadOnly:
		s.find("note", "stale-package", "Package it again: `npx serverless package`.", 1, "What was packaged is read, although %s.", why)
	case why != "":
		if err := s.pack(ctx, why); err != nil {
			return nil, err
		}
		s.res.Ran = true
	}
	s.artifacts(m)
	if s.res.Ran {
		m.made(s.res.Path, s.res.Watch)
	}
	if err := m.save(); err != nil {
		return nil, err
	}
	return s.res, nil
}

func (s *service) find(severity, code, hint string, line int, format string, args ...any) {
	s.res.Findings = append(s.res.Findings, Finding{Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint,
		Pos: model.Pos{File: s.shown(s.config), Line: line}})
}

var fileReference = regexp.MustCompile(`\$\{file\(\s*((?:[^(){}$]|\$\{[^{}]*\})+?)\s*\)`)

// inputs are the files that decide what is packaged, beside the code.
func (s *service) inputs() []string {
	out := []string{s.config, filepath.Join(s.dir, "package.json"), filepath.Join(s.dir, ".env")}
	out = slices.DeleteFunc(out, func(f string) bool { return !isFile(f) })
	for i := 0; i < len(out) && len(out) < maxInputs; i++ { // out grows: files name files
		text := s.text
		if ext := filepath.Ext(out[i]); out[i] != s.config {
			if ext != ".yml" && ext != ".yaml" && ext != ".json" {
				continue
			}
			data, err := os.ReadFile(out[i])
			if err != nil {
				continue
			}
			text = string(data)
		}
		for _, m := range fileReference.FindAllStringSubmatch(text, -1) {
			name := filepath.FromSlash(strings.Trim(m[1], ` '"`))
			if !filepath.IsAbs(name) {
				name = filepath.Join(s.dir, name)
			}
			found := []string{name}
			if strings.Contains(name, "${") { // config/${self:provider.stage}.yml
				found, _ = filepath.Glob(variable.ReplaceAllString(name, "*")) // a pattern that is none finds nothing
			}
			for _, f := range found {
				if isFile(f) && !slices.Contains(out, f) {
					out = append(out, f)
				}
			}
		}
	}
	return out
}

const maxInputs = 500

var variable = regexp.MustCompile(`\$\{[^{}]*\}`)

// stale says why the service must be packaged; "" when it need not be.
func (s *service) stale(m *memory) string {
	info, err := os.Stat(s.res.Path)
	if err != nil {
		return "it has not been packaged"
	}
	if at, file := newest(s.inputs()); at.After(info.ModTime()) {
		return s.shown(file) + " is newer"
	}
	var state struct {
		Service struct {
			Provider struct{ Stage, Region string }
		}
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(s.res.Path), "serverless-state.json"))
	if err != nil || json.Unmarshal(data, &state) != nil {
		return "the packager's state is missing"
	}
	if p := state.Service.Provider; s.Stage != "" && p.Stage != s.Stage || s.Region != "" && p.Region != s.Region {
		return fmt.Sprintf("it was packaged for stage %s in %s", p.Stage, p.Region)
	}
	code := s.code()
	for _, zip := range s.zips() {
		if m.source(zip, func() string { return s.original(zip) }) != "" {
			continue // its directory is run, not the archive
		}
		info, err := os.Stat(zip)
		if err != nil {
			return s.shown(zip) + " is missing"
		}
		if at, file := newest(code); at.After(info.ModTime()) {
			return s.shown(file) + " is newer"
		}
	}
	if m.changed(s.res.Path, s.watched(m)) {
		return "a file was removed, added or replaced"
	}
	return ""
}

func (s *service) code() []string { return sources(s.dir, filepath.Join(s.dir, outputDir), s.DataDir) }

func (s *service) zips() []string {
	found, _ := filepath.Glob(filepath.Join(s.dir, outputDir, "*.zip")) // the pattern is a constant
	return found
}

// original is the service's directory when an archive is a plain copy of it.
func (s *service) original(zip string) string {
	if zipOf(zip, s.dir) {
		return s.dir
	}
	return ""
}

// artifacts decides from where the code is run, and what to watch.
func (s *service) artifacts(m *memory) {
	s.res.Sources = map[string]string{}
	for _, zip := range s.zips() {
		if dir := m.source(zip, func() string { return s.original(zip) }); dir != "" {
			s.res.Sources[zip] = dir
		}
	}
	s.res.Watch = s.watched(m)
}

// watched are the inputs, and the code where it is not run from its directory.
func (s *service) watched(m *memory) []string {
	out := s.inputs()
	if !slices.ContainsFunc(s.zips(), func(zip string) bool { return m.source(zip, func() string { return s.original(zip) }) == "" }) {
		return out
	}
	for _, f := range s.code() {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// packager is a way to package a service.
type packager struct {
	name string // as shown
	args []string
	// foreign: not the framework that the service was written for.
	foreign bool
	old     bool // before version 3
}

// pack runs the project's own packager, or the one of the data directory where it
// has none, or when its own fails.
func (s *service) pack(ctx context.Context, why string) error {
	s.Say(fmt.Sprintf("Packaging %s: %s", s.shown(s.config), why))
	own, reason := s.own()
	var first error
	if own != nil {
		if first = s.try(ctx, *own); first == nil || ctx.Err() != nil || !fault.Is(first, fault.Upstream) {
			return first // nothing that another packager would do better
		}
		reason = own.name + " could not package it"
		s.Say(fault.Message(first))
	}
	other, err := s.provided(ctx, reason)
	if err == nil {
		err = s.try(ctx, *other)
	}
	if err != nil && first != nil {
		return fmt.Errorf("%w\n\n%s, tried first: %s", err, own.name, fault.Message(first))
	}
	if err == nil && first != nil {
		s.find("warning", "packager-failed", "", 1, "The service's own packager failed; %s %s packaged it. It said: %s", oslsName, oslsVersion, lastLine(fault.Message(first)))
	}
	return err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, l := range slices.Backward(lines) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "Learn more") && !strings.HasPrefix(l, "at ") {
			return l
		}
	}
	return text
}

// own is the packager of the project's node_modules, or why it is not used.
func (s *service) own() (*packager, string) {
	for _, name := range []string{oslsName, "serverless"} {
		root, ok := installed(s.dir, name)
		if !ok {
			continue
		}
		var manifest struct {
			Version string
			Bin     json.RawMessage
		}
		data, err := os.ReadFile(filepath.Join(root, "package.json"))
		if err != nil || json.Unmarshal(data, &manifest) != nil {
			return nil, s.shown(root) + " is damaged"
		}
		major, _, _ := strings.Cut(manifest.Version, ".")
		if n, err := strconv.Atoi(major); name == "serverless" && (err != nil || n >= 4) {
			s.find("note", "serverless-v4", "", lineOf(s.text, "frameworkVersion"), "serverless %s wants a login to package; %s %s, which wants none, is used instead.", manifest.Version, oslsName, oslsVersion)
			return nil, "serverless " + manifest.Version + " wants a login"
		}
		if bin := binary(root, name, manifest.Bin); bin != "" {
			return &packager{name: name + " " + manifest.Version, args: []string{"node", bin}, old: name == "serverless" && (major == "1" || major == "2")}, ""
		}
		return nil, s.shown(root) + " has no command"
	}
	return nil, "the project has no packager in node_modules"
}

// binary is the script behind a package's command.
func binary(root, name string, bin json.RawMessage) string {
	var one string
	var many map[string]string
	if json.Unmarshal(bin, &one) != nil && json.Unmarshal(bin, &many) == nil {
		if one = many[name]; one == "" {
			one = many["serverless"]
		}
	}
	full := filepath.Join(root, filepath.FromSlash(one))
	if one == "" || !below(full, root) || !isFile(full) {
		return ""
	}
	return full
}

// provided is the pinned packager, installed on first use.
func (s *service) provided(ctx context.Context, why string) (*packager, error) {
	if s.ToolDir == "" {
		return nil, fault.New(fault.Unavailable, "%s: %s, and there is no data directory to install one into; run `npm install --save-dev %s`", s.shown(s.config), why, oslsName)
	}
	home := filepath.Join(s.ToolDir, oslsName+"-"+oslsVersion)
	root := filepath.Join(home, "node_modules", oslsName)
	find := func() *packager {
		var manifest struct{ Bin json.RawMessage }
		data, err := os.ReadFile(filepath.Join(root, "package.json"))
		if err != nil || json.Unmarshal(data, &manifest) != nil || !isFile(filepath.Join(home, "complete")) {
			return nil
		}
		if bin := binary(root, oslsName, manifest.Bin); bin != "" {
			return &packager{name: oslsName + " " + oslsVersion, args: []string{"node", bin}, foreign: true}
		}
		return nil
	}
	if p := find(); p != nil {
		return p, nil
	}
	release, err := s.alone(ctx, home+".lock") // projects share it
	if err != nil {
		return nil, err
	}
	defer release()
	if p := find(); p != nil {
		return p, nil
	}
	s.Say(fmt.Sprintf("Installing %s %s into %s (once), because %s", oslsName, oslsVersion, s.shown(home), why))
	if err := os.MkdirAll(home, 0o755); err != nil {
		return nil, err
	}
	// Its own package.json keeps npm from walking up into the user's project.
	if err := os.WriteFile(filepath.Join(home, "package.json"), []byte(`{"private": true}`+"\n"), 0o644); err != nil {
		return nil, err
	}
	_, err = s.run(ctx, tool{dir: home, args: []string{"npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", oslsName + "@" + oslsVersion}})
	if err != nil {
		return nil, fmt.Errorf("%w\nInstall a packager yourself: `npm install --save-dev %s` in %s", err, oslsName, s.shown(s.dir))
	}
	if err := os.WriteFile(filepath.Join(home, "complete"), nil, 0o644); err != nil {
		return nil, err
	}
	if p := find(); p != nil {
		return p, nil
	}
	return nil, fault.New(fault.Unavailable, "%s %s was installed into %s, and its command is not there; remove that directory and try again", oslsName, oslsVersion, s.shown(home))
}

// try packages once. The configuration is used as it is where nothing in it has
// to change.
func (s *service) try(ctx context.Context, p packager) (err error) {
	args := append(slices.Clone(p.args), "package")
	var changes []change
	if ext := filepath.Ext(s.config); ext == ".yml" || ext == ".yaml" {
		var text string
		if err := s.sweep(); err != nil {
			return err
		}
		text, changes = adaptation{plugin: s.plugin, foreign: p.foreign, account: s.AccountID, leaveOut: s.leaveOut(), old: p.old}.adapt(s.text)
		if text != s.text {
			copied := filepath.Join(s.dir, fmt.Sprintf("%s-%d%s", adapted, os.Getpid(), ext))
			if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
				return &fault.Error{Kind: fault.Unavailable, Msg: fmt.Sprintf("%s cannot be packaged: its packager writes beside it, and that fails: %v", s.shown(s.config), err), Err: err}
			}
			defer func() { err = errors.Join(err, os.Remove(copied)) }()
			args = append(args, "--config", filepath.Base(copied))
		}
	}
	if filepath.Base(s.config) != "serverless"+filepath.Ext(s.config) {
		args = append(args, "--config", filepath.Base(s.config))
	}
	if s.Stage != "" {
		args = append(args, "--stage", s.Stage)
	}
	if s.Region != "" {
		args = append(args, "--region", s.Region)
	}
	began := time.Now()
	if _, err := s.run(ctx, tool{dir: s.dir, args: args}); err != nil {
		return s.explain(err)
	}
	if info, err := os.Stat(s.res.Path); err != nil || info.ModTime().Before(began.Add(-2*time.Second)) {
		return fault.New(fault.Upstream, "%s ended well but did not write %s", p.name, s.shown(s.res.Path))
	}
	for _, c := range changes {
		s.find(c.severity, "serverless-config", c.hint, c.line, "%s", c.message)
	}
	return nil
}

// sweep removes copies that a killed process left.
func (s *service) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.dir, adapted+"-*"))
	for _, f := range left {
		err = errors.Join(err, os.Remove(f))
	}
	return err
}

// leaveOut are what a packager would take for code: our own state beside it, and
// with a copy of the configuration the original.
func (s *service) leaveOut() []string {
	if s.DataDir == "" || !isDir(s.DataDir) || s.DataDir == s.dir || !below(s.DataDir, s.dir) {
		return nil
	}
	rel, err := filepath.Rel(s.dir, s.DataDir)
	if err != nil {
		return nil
	}
	return []string{filepath.ToSlash(rel) + "/**", filepath.Base(s.config)}
}

// plugin says why a plugin cannot be loaded; "" when it can.
func (s *service) plugin(name string) string {
	switch {
	case offline(name):
		return "it runs the service locally, which Livegate does"
	case strings.Contains(name, "${"):
		return ""
	case strings.HasPrefix(name, "."):
		full := filepath.Join(s.dir, filepath.FromSlash(name))
		switch {
		case !below(full, s.dir):
			return "it is outside of the service"
		case !isFile(full) && !isFile(full+".js") && !isFile(full+".cjs") && !isFile(full+".ts") && !isDir(full):
			return "there is no such file"
		}
		return ""
	}
	if _, ok := installed(s.dir, name); ok {
		return ""
	}
	local := filepath.Join(s.dir, ".serverless_plugins", filepath.FromSlash(name))
	if isDir(local) || isFile(local+".js") {
		return ""
	}
	return "it is not installed"
}

// explain adds what to do to what a packager said.
func (s *service) explain(err error) error {
	text := fault.Message(err)
	hint := ""
	switch {
	case strings.Contains(text, "${ssm:") || strings.Contains(text, "${cf:") || strings.Contains(text, "${s3:") || strings.Contains(text, `source "ssm"`) || strings.Contains(text, `source "cf"`):
		hint = "Values of an AWS account are not read: give the variable a default, for example ${ssm:/name, 'local'}."
	case strings.Contains(text, "Cannot find module") || strings.Contains(text, "not found") && strings.Contains(text, "lugin"):
		hint = "Run `npm install` in " + s.shown(s.dir) + "."
	case strings.Contains(text, "resolve variable"):
		hint = "Set the variable, or give it a default in " + s.shown(s.config) + "."
	}
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w\n%s", err, hint)
}

// lineOf is the first line that holds a word, 1 when none does.
func lineOf(text, word string) int {
	i := strings.Index(text, word)
	return 1 + strings.Count(text[:max(i, 0)], "\n")
}
