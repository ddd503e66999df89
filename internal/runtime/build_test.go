package runtime

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

// Builds seen through the functions that run from them; package build tests its
// parts.

func TestLayers(t *testing.T) {
	need(t, "node")
	need(t, "python3")
	layers := []*model.Layer{
		{LogicalID: "Low", ARN: "arn:aws:lambda:eu-west-1:123456789012:layer:low:1", Dir: "low"},
		{LogicalID: "High", ARN: "arn:aws:lambda:eu-west-1:123456789012:layer:high:1", Dir: "high"},
		{LogicalID: "Built", ARN: "arn:aws:lambda:eu-west-1:123456789012:layer:built:1", Dir: "built", Build: model.Build{Method: "nodejs20.x"}},
	}
	var arns []string
	for _, l := range layers {
		arns = append(arns, l.ARN)
	}
	s := prepareStand(t, Config{}, map[string]string{
		"low/nodejs/node_modules/a/index.js":        `module.exports = 'a of low';`,
		"low/nodejs/node_modules/b/index.js":        `module.exports = 'b of low';`,
		"low/nodejs/node_modules/@s/c/index.mjs":    `export default 'scoped';`,
		"low/nodejs/node_modules/@s/c/package.json": `{"exports":"./index.mjs"}`,
		"low/python/greet.py":                       "def hi(): return 'from a layer'\n",
		"low/bin/tool":                              "#!/bin/sh\necho tool of a layer\n",
		"high/nodejs/node_modules/b/index.js":       `module.exports = 'b of high';`,
		"built/package.json":                        `{"dependencies":{"local":"file:../local"}}`,
		"local/package.json":                        `{"name":"local","version":"1.0.0","main":"x.js"}`,
		"local/x.js":                                `module.exports = 'installed';`,
		"cjs/index.js":                              `exports.handler = async () => [require('a'), require('b'), require('local'), require('child_process').execFileSync('tool').toString()];`,
		"esm/index.mjs":                             `import a from 'a'; import c from '@s/c'; export const handler = async () => [a, c];`,
		"py/index.py":                               "import greet\ndef handler(e, c): return greet.hi()\n",
	},
		&model.Function{Name: "cjs", CodeDir: "cjs", Layers: arns},
		&model.Function{Name: "esm", CodeDir: "esm", Layers: arns},
		&model.Function{Name: "py", CodeDir: "py", Layers: arns[:1], Runtime: "python3.11"},
	)
	if err := os.Chmod(filepath.Join(s.dir, "low/bin/tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		l.Dir = filepath.Join(s.dir, l.Dir)
	}
	s.app.Layers = layers
	before := sums(t, s.dir)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	s.want("cjs", "", `["a of low","b of high","installed","tool of a layer\n"]`)
	s.want("esm", "", `["a of low","scoped"]`)
	s.want("py", "", `"from a layer"`)
	if after := sums(t, s.dir); after != before {
		t.Errorf("the user's tree changed:\n%s", after)
	}
	// An edit in a layer reaches the functions that use it, and only those.
	s.write("high/nodejs/node_modules/b/index.js", `module.exports = 'b edited';`)
	names, err := s.Reload(t.Context(), []string{filepath.Join(s.dir, "high/nodejs/node_modules/b/index.js")})
	if err != nil || len(names) != 2 {
		t.Fatalf("Reload = %v, %v", names, err)
	}
	s.want("cjs", "", `["a of low","b edited","installed","tool of a layer\n"]`)
}

func TestZipDeploymentPackage(t *testing.T) {
	need(t, "node")
	file := filepath.Join(t.TempDir(), "code.zip")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create("src/index.js")
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(`exports.handler = async () => 'zipped';`))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s := newStand(t, Config{}, nil, &model.Function{CodeFile: file, Handler: "src/index.handler"})
	s.want("fn", "", `"zipped"`)
}

// Offline and without the SDK: the function is deployed, and the log says what
// is missing and what to do, before and after it is called.
func TestMissingSDKOffline(t *testing.T) {
	need(t, "node")
	need(t, "npm")
	t.Setenv("npm_config_cache", t.TempDir())
	t.Setenv("npm_config_registry", "http://127.0.0.1:1/") // nobody answers: no network
	s := newStand(t, Config{Offline: true}, js(`const AWS = require('aws-sdk'); exports.handler = async () => 1;`), &model.Function{})
	if l := s.line("it imports aws-sdk"); !strings.Contains(l.Text, "start once where there is a network") || l.Level != "warn" {
		t.Errorf("line = %+v", l)
	}
	s.wantError("fn", "", "Runtime.ImportModuleError", "Cannot find module 'aws-sdk'")
}

func TestOwnPackagesWinOverTheSDK(t *testing.T) {
	need(t, "node")
	files := js(`exports.handler = async () => require('aws-sdk');`)
	files["node_modules/aws-sdk/index.js"] = `module.exports = 'the function\'s own';`
	// Nothing is installed: npm does not even have to be there.
	s := newStand(t, Config{Offline: true}, files, &model.Function{})
	s.want("fn", "", `"the function's own"`)
	if strings.Contains(s.text(), "SDK") {
		t.Errorf("log:\n%s", s.text())
	}
}

// The package.json of the user's project must not decide how a function that has
// none is read: on AWS there is nothing above /var/task.
func TestProjectTypeDoesNotLeak(t *testing.T) {
	need(t, "node")
	project := t.TempDir()
	if err := os.WriteFile(filepath.Join(project, "package.json"), []byte(`{"type":"module"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newStand(t, Config{DataDir: filepath.Join(project, ".livegate")}, js(`module.exports.handler = async () => 'commonjs';`), &model.Function{})
	s.want("fn", "", `"commonjs"`)
}

func TestEsbuildError(t *testing.T) {
	need(t, "node")
	s := prepareStand(t, Config{}, map[string]string{"app.ts": "import { x } from './nowhere';\nexport const handler = x;\n"}, &model.Function{Handler: "app.handler"})
	err := s.Deploy(t.Context(), s.app)
	if err == nil || !strings.Contains(err.Error(), `Could not resolve "./nowhere"`) || !strings.Contains(err.Error(), "app.ts:1") {
		t.Fatalf("err = %v", err)
	}
}

// The lock file asks for a version that does not exist any more (here: never
// did). Without network the test has nothing to say.
func TestNpmInstallFallsBackWithoutLock(t *testing.T) {
	need(t, "node")
	need(t, "npm")
	if testing.Short() {
		t.Skip("-short: needs the npm registry")
	}
	s := prepareStand(t, Config{}, map[string]string{
		"index.js":     `exports.handler = async () => require('ms')('1m');`,
		"package.json": `{"name":"x","version":"1.0.0","dependencies":{"ms":"^2.1.3"},"devDependencies":{"no-such-package-livegate":"1.0.0"}}`,
		"package-lock.json": `{"name":"x","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{
			"":{"name":"x","version":"1.0.0","dependencies":{"ms":"^2.1.3"}},
			"node_modules/ms":{"version":"2.1.999"}}}`,
	}, &model.Function{})
	if err := s.Deploy(t.Context(), s.app); err != nil {
		if strings.Contains(err.Error(), "ENOTFOUND") || strings.Contains(err.Error(), "EAI_AGAIN") || strings.Contains(err.Error(), "ECONNREFUSED") {
			t.Skipf("no registry: %v", err)
		}
		t.Fatal(err)
	}
	s.want("fn", "", "60000")
	if _, err := os.Stat(filepath.Join(s.dir, "node_modules")); err == nil {
		t.Error("npm wrote into the user's tree")
	}
}

// npm runs "install" and "prepare" of a "file:" package in the package's own
// folder, which is the user's.
func TestLocalPackagesAreNotWrittenTo(t *testing.T) {
	need(t, "node")
	need(t, "npm")
	s := prepareStand(t, Config{Offline: true}, map[string]string{
		"fn/index.js":      `exports.handler = async () => require('@own/lib');`,
		"fn/package.json":  `{"name":"fn","version":"1.0.0","dependencies":{"@own/lib":"file:../lib"}}`,
		"lib/index.js":     `module.exports = 'local';`,
		"lib/package.json": `{"name":"@own/lib","version":"1.0.0","scripts":{"install":"touch installed","prepare":"touch prepared"}}`,
	}, &model.Function{CodeDir: "fn"})
	before := sums(t, s.dir)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	s.want("fn", "{}", `"local"`)
	if after := sums(t, s.dir); after != before {
		t.Errorf("the user's tree changed:\n%s\nwas:\n%s", after, before)
	}
}

// A directory that is itself a link ("current") was read as the link, and said
// to hold no handler.
func TestCodeDirectoryMayBeALink(t *testing.T) {
	need(t, "node")
	s := prepareStand(t, Config{}, map[string]string{"v1/index.js": `exports.handler = async () => 'linked';`}, &model.Function{CodeDir: "current"})
	if err := os.Symlink("v1", filepath.Join(s.dir, "current")); err != nil {
		t.Fatal(err)
	}
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	s.want("fn", "{}", `"linked"`)
}

func TestRequirementsThatCannotBeInstalled(t *testing.T) {
	need(t, "python3")
	s := newStand(t, Config{Offline: true}, map[string]string{
		"index.py":         "def handler(e, c): return 'runs'\n",
		"requirements.txt": "# comment\npip>=1.0\nno-such-distribution-livegate==1.0\n",
	}, &model.Function{Runtime: "python3.11"})
	l := s.line("no-such-distribution-livegate")
	if says, _, _ := strings.Cut(l.Text, "\n"); strings.Contains(says, "pip>=") { // pip is there
		t.Errorf("line = %+v", l)
	}
	s.want("fn", "", `"runs"`)
}
