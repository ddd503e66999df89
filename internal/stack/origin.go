package stack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/fault"
)

// origin is what a path turned out to hold: one template, or several that a
// packager made.
type origin struct {
	roots []root
	// defaults that the packager knows, below options and samconfig.toml.
	stackName, region, account string
	// ssm holds values that the deployment tool itself guarantees.
	ssm map[string]string
}

// root is one template at the top.
type root struct {
	path string // absolute
	name string // stack name; "" for the application's
	tree *cfn.Node
	*artifacts
}

// artifacts are the files that a packager made beside a template and would have
// uploaded.
type artifacts struct {
	byKey map[string]string // S3 key, or its last part → absolute path
	dir   string            // where files are looked for by the last part of a key; "" for nowhere
}

// artifact finds what would have been uploaded under an S3 key or URL. The
// application may ask for the directory that it was made of instead, so that an
// edit there is seen.
func (in *instance) artifact(key string) (path string, ok bool) {
	base := key[strings.LastIndexByte(key, '/')+1:]
	if in.artifacts == nil || base == "" || base == "." || base == ".." {
		return "", false
	}
	for _, k := range []string{key, base} {
		if path, ok = in.byKey[k]; ok {
			break
		}
	}
	if !ok && in.artifacts.dir != "" {
		path = filepath.Join(in.artifacts.dir, base)
		ok = exists(path)
	}
	if from := in.b.opts.Sources[path]; ok && from != "" {
		path = from
	}
	return path, ok
}

// The files in which packagers leave what they made.
const (
	assemblyFile   = "manifest.json" // of a cloud assembly
	assemblyDir    = "cdk.out"
	serverlessDir  = ".serverless"
	serverlessFile = "cloudformation-template-update-stack.json"
)

// find returns the absolute path of the template, of a cloud assembly's manifest,
// of the Serverless Framework's output, or of a directory of Terraform files.
func find(o Options) (string, error) {
	path := o.Path
	if path == "" {
		path = o.Dir
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &fault.Error{Kind: fault.NotFound, Msg: "there is no file or directory " + path, Err: err}
	} else if err != nil {
		return "", err
	}
	if !info.IsDir() {
		if filepath.Ext(path) == ".tf" {
			path = filepath.Dir(path)
		}
		return path, nil
	}
	templates := cfn.TemplateFiles()
	outputs := append(templates[:len(templates):len(templates)], filepath.Join(serverlessDir, serverlessFile), filepath.Join(assemblyDir, assemblyFile), serverlessFile, assemblyFile)
	for _, name := range outputs {
		if full := filepath.Join(path, name); exists(full) {
			return full, nil
		}
	}
	if found, _ := filepath.Glob(filepath.Join(path, "*.tf")); len(found) > 0 {
		return path, nil
	}
	msg := fmt.Sprintf("no template in %s: looked for %s; name the file if it is called otherwise", path, strings.Join(templates, ", "))
	switch {
	case exists(filepath.Join(path, "serverless-compose.yml")):
		msg += "; this is a Serverless Compose project: name the directory of one of its services"
	case exists(filepath.Join(path, "cdk.json")):
		msg += "; this is a CDK app that has not been synthesised: run `npx cdk synth`"
	case exists(filepath.Join(path, "serverless.yml")) || exists(filepath.Join(path, "serverless.yaml")) || exists(filepath.Join(path, "serverless.ts")):
		msg += "; this is a Serverless Framework service that has not been packaged: run `npx serverless package`"
	}
	return "", fault.New(fault.NotFound, "%s", msg)
}

// project reads what stands at a path that find returned.
func (b *builder) project(path string) (*origin, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return b.terraform(path, nil)
	}
	data, err := b.read(path)
	if err != nil {
		return nil, err
	}
	switch base := filepath.Base(path); {
	case base == serverlessFile:
		return b.serverless(path)
	case strings.HasSuffix(base, ".json") && isAssembly(data):
		return b.assembly(path, data)
	case strings.HasSuffix(base, ".json") && isPlan(data):
		return b.plan(path, data)
	}
	return &origin{roots: []root{{path: path}}}, nil
}

// isAssembly reports whether a JSON file is the manifest of a cloud assembly.
func isAssembly(data []byte) bool {
	var m struct {
		Version   string
		Artifacts map[string]json.RawMessage
		Resources json.RawMessage
	}
	return bytes.Contains(data, []byte(`"artifacts"`)) && json.Unmarshal(data, &m) == nil && m.Version != "" && m.Artifacts != nil && m.Resources == nil
}
