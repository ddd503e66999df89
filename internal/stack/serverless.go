package stack

import (
	"encoding/json"
	"path/filepath"

	"github.com/livegate/livegate/internal/model"
)

// serverlessState is the part of .serverless/serverless-state.json that says
// which service was packaged and where its artifacts are. The framework writes it
// beside the template at every `package`.
type serverlessState struct {
	Service struct {
		Service  string
		Provider struct{ Stage, Region, StackName string }
		// Functions and layers may bring an artifact of their own.
		Functions, Layers map[string]struct{ Package struct{ Artifact string } }
	}
	Package struct{ Artifact string }
}

// serverless reads the output of the Serverless Framework's packager: the
// template that `deploy` would apply, and the zip files beside it.
func (b *builder) serverless(path string) (*origin, error) {
	dir := filepath.Dir(path)
	p := &origin{}
	files := &artifacts{byKey: map[string]string{}, dir: dir}
	state := filepath.Join(dir, "serverless-state.json")
	var s serverlessState
	data, err := b.read(state)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		b.add(Finding{Severity: Warning, Code: "serverless-state", Pos: model.Pos{File: b.shown(state), Line: 1},
			Message: "The packager's state cannot be read: " + err.Error() + ".", Hint: "Remove .serverless and package again."})
	}
	service := filepath.Dir(dir)
	keep := func(artifact string) {
		if artifact == "" {
			return
		}
		for _, at := range []string{artifact, filepath.Join(service, artifact), filepath.Join(dir, artifact)} {
			if filepath.IsAbs(at) && exists(at) {
				files.byKey[filepath.Base(at)] = at
				return
			}
		}
	}
	keep(s.Package.Artifact)
	for _, f := range s.Service.Functions {
		keep(f.Package.Artifact)
	}
	for _, l := range s.Service.Layers {
		keep(l.Package.Artifact)
	}
	p.region = s.Service.Provider.Region
	p.stackName = s.Service.Provider.StackName
	if p.stackName == "" && s.Service.Service != "" {
		p.stackName = s.Service.Service + "-" + orElse(s.Service.Provider.Stage, "dev")
	}
	p.roots = []root{{path: path, artifacts: files}}
	return p, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
