package stack

import (
	"bytes"
	"encoding/json"
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

// manifest is a cloud assembly as the CDK's cloud-assembly-schema describes it.
type manifest struct {
	Version   string
	Artifacts map[string]manifestArtifact
	// Missing are lookups in an account that the app asks for and nobody answered.
	Missing []struct{ Key, Provider string }
}

type manifestArtifact struct {
	Type         string
	Environment  string // aws://account/region
	DisplayName  string
	Dependencies []string
	Properties   struct {
		TemplateFile, StackName, DirectoryName, File string
		BootstrapStackVersionSSMParameter            string `json:"bootstrapStackVersionSsmParameter"`
	}
}

// assetFile is an asset manifest: what would be uploaded, and under which key.
type assetFile struct {
	Files map[string]struct {
		Source struct {
			Path       string
			Executable []string
		}
		Destinations map[string]struct{ ObjectKey string }
	}
	DockerImages map[string]json.RawMessage
}

// cdkStack is a stack of an assembly.
type cdkStack struct {
	id, name, display, environment string
	template                       string // absolute path
	deps                           []*cdkStack
}

// assemblyReader collects the stacks of an assembly and of those nested in it
// (one per CDK Stage).
type assemblyReader struct {
	b      *builder
	path   string // of the outermost manifest
	files  *artifacts
	ssm    map[string]string
	stacks []*cdkStack
}

const maxAssemblies = 6 // levels

// The bootstrap version that new stacks ask for is 6; later ones are upward
// compatible.
const bootstrapVersion = "30"

// assembly reads a cloud assembly: the chosen stacks and what they import, in
// the order in which they could be deployed.
func (b *builder) assembly(path string, data []byte) (*origin, error) {
	r := &assemblyReader{b: b, path: path, files: &artifacts{byKey: map[string]string{}}, ssm: map[string]string{}}
	if err := r.read(path, data, 0); err != nil {
		return nil, err
	}
	chosen, err := r.choose(b.opts.Stack)
	if err != nil {
		return nil, err
	}
	p := &origin{ssm: r.ssm}
	for _, s := range chosen {
		p.roots = append(p.roots, root{path: s.template, name: s.name, artifacts: r.files})
	}
	main := chosen[len(chosen)-1]
	p.stackName = main.name
	if account, region, ok := strings.Cut(strings.TrimPrefix(main.environment, "aws://"), "/"); ok {
		if !strings.HasPrefix(account, "unknown-") {
			p.account = account
		}
		if !strings.HasPrefix(region, "unknown-") {
			p.region = region
		}
	}
	return p, nil
}

func (r *assemblyReader) read(path string, data []byte, depth int) error {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return fault.New(fault.BadRequest, "%s is not a cloud assembly's manifest: %v; synthesise again", r.b.shown(path), err)
	}
	if depth > maxAssemblies {
		return fault.New(fault.BadRequest, "%s: assemblies are nested deeper than %d levels", r.b.shown(path), maxAssemblies)
	}
	dir := filepath.Dir(path)
	for _, miss := range m.Missing {
		r.b.add(Finding{Severity: Warning, Code: "cdk-lookup", Pos: model.Pos{File: r.b.shown(path), Line: lineOf(data, miss.Key)},
			Message: fmt.Sprintf("The app looks %s up in an AWS account (%s), which is not done here; it got a dummy value.", quote(miss.Key), miss.Provider),
			Hint:    "Run `npx cdk synth` once with credentials, which keeps the answer in cdk.context.json."})
	}
	byID := map[string]*cdkStack{}
	for _, id := range slices.Sorted(maps.Keys(m.Artifacts)) {
		a := m.Artifacts[id]
		file := func(name string) (string, bool) { return r.inside(path, data, dir, name) }
		switch a.Type {
		case "aws:cloudformation:stack":
			template, ok := file(a.Properties.TemplateFile)
			if !ok {
				continue
			}
			if name := a.Properties.BootstrapStackVersionSSMParameter; name != "" {
				r.ssm[name] = bootstrapVersion
			}
			s := &cdkStack{id: id, name: orElse(a.Properties.StackName, id), display: orElse(a.DisplayName, id), environment: a.Environment, template: template}
			byID[id] = s
			r.stacks = append(r.stacks, s)
		case "cdk:asset-manifest":
			if full, ok := file(a.Properties.File); ok {
				r.assets(full)
			}
		case "cdk:cloud-assembly":
			if nested, ok := file(a.Properties.DirectoryName); ok {
				full := filepath.Join(nested, assemblyFile)
				inner, err := r.b.read(full)
				if err != nil {
					return fault.New(fault.BadRequest, "%s names the assembly %s, which cannot be read: %v; synthesise again", r.b.shown(path), r.b.shown(nested), err)
				}
				if err := r.read(full, inner, depth+1); err != nil {
					return err
				}
			}
		}
	}
	for id, s := range byID {
		for _, d := range m.Artifacts[id].Dependencies {
			if other := byID[d]; other != nil && other != s {
				s.deps = append(s.deps, other)
			}
		}
	}
	return nil
}

// inside is a file of the assembly; one that points out of it is refused.
func (r *assemblyReader) inside(manifest string, data []byte, dir, name string) (string, bool) {
	if name != "" && filepath.IsLocal(filepath.FromSlash(name)) {
		return filepath.Join(dir, filepath.FromSlash(name)), true
	}
	r.b.add(Finding{Severity: Error, Code: "bad-assembly", Pos: model.Pos{File: r.b.shown(manifest), Line: lineOf(data, name)},
		Message: "The manifest names the file " + quote(name) + ", which is not inside the assembly.", Hint: "Synthesise again."})
	return "", false
}

// assets remembers where the file assets are. A source may be outside of the
// assembly (when the app was synthesised without staging).
func (r *assemblyReader) assets(path string) {
	data, err := r.b.read(path)
	var m assetFile
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err != nil {
		r.b.add(Finding{Severity: Error, Code: "bad-assembly", Pos: model.Pos{File: r.b.shown(path), Line: 1},
			Message: "The asset manifest cannot be read: " + err.Error() + ".", Hint: "Synthesise again."})
		return
	}
	for _, id := range slices.Sorted(maps.Keys(m.Files)) {
		f := m.Files[id]
		if f.Source.Path == "" {
			continue
		}
		full := filepath.FromSlash(f.Source.Path)
		if !filepath.IsAbs(full) {
			full = filepath.Join(filepath.Dir(path), full)
		}
		r.files.byKey[id] = full
		for _, d := range f.Destinations {
			r.files.byKey[d.ObjectKey] = full
			r.files.byKey[d.ObjectKey[strings.LastIndexByte(d.ObjectKey, '/')+1:]] = full
		}
	}
}

// choose picks the stacks to run: the named one, or those that hold a part of a
// WebSocket API, or all; each after those that it depends on.
func (r *assemblyReader) choose(name string) ([]*cdkStack, error) {
	if len(r.stacks) == 0 {
		for _, f := range r.b.list {
			if f.Severity == Error {
				return nil, fault.New(fault.BadRequest, "the cloud assembly holds no stack: %s", f)
			}
		}
		return nil, fault.New(fault.BadRequest, "the cloud assembly holds no stack; add one to the app")
	}
	var names []string
	var picked, websocket []*cdkStack
	for _, s := range r.stacks {
		names = append(names, s.display)
		if slices.Contains([]string{s.name, s.id, s.display}, name) {
			picked = append(picked, s)
		}
		if r.holdsWebSocket(s) {
			websocket = append(websocket, s)
		}
	}
	switch {
	case name != "" && len(picked) == 0:
		return nil, fault.New(fault.NotFound, "the app has no stack %s; %s", quote(name), cfn.DidYouMean(name, names))
	case name != "":
	case len(websocket) > 0:
		picked = websocket
	default:
		picked = r.stacks
	}
	var order []*cdkStack
	seen := map[*cdkStack]bool{}
	var visit func(s *cdkStack)
	visit = func(s *cdkStack) {
		if seen[s] {
			return
		}
		seen[s] = true
		slices.SortFunc(s.deps, func(a, b *cdkStack) int { return strings.Compare(a.id, b.id) })
		for _, d := range s.deps {
			visit(d)
		}
		order = append(order, s)
	}
	for _, s := range picked {
		visit(s)
	}
	if left := len(r.stacks) - len(order); left > 0 {
		var out []string
		for _, s := range r.stacks {
			if !seen[s] {
				out = append(out, s.display)
			}
		}
		r.b.add(Finding{Severity: Note, Code: "stacks-left-out", Pos: model.Pos{File: r.b.shown(r.path), Line: 1},
			Message: "Not loaded, because no WebSocket API needs them: " + strings.Join(out, ", ") + ".", Hint: "--stack NAME chooses another stack."})
	}
	return order, nil
}

// holdsWebSocket reports whether a stack, or a stack nested in it, may be part of a
// WebSocket API: it has one, or adds a route to another stack's.
func (r *assemblyReader) holdsWebSocket(s *cdkStack) bool {
	files := []string{s.template}
	// The CDK names a nested template after its path, which begins with the stack's.
	nested, _ := filepath.Glob(filepath.Join(filepath.Dir(s.template), "*.nested.template.json")) // the pattern is a constant
	for _, f := range nested {
		if strings.HasPrefix(filepath.Base(f), s.id) {
			files = append(files, f)
		}
	}
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file) // read again, and watched, when the stack is chosen
		return err == nil && (bytes.Contains(data, []byte(`"WEBSOCKET"`)) || bytes.Contains(data, []byte(`"AWS::ApiGatewayV2::Route"`)))
	})
}

// lineOf is the first line that holds a word, 1 when none does.
func lineOf(data []byte, word string) int {
	i := bytes.Index(data, []byte(word))
	if i < 0 || word == "" {
		return 1
	}
	return 1 + bytes.Count(data[:i], []byte("\n"))
}
