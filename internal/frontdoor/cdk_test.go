package frontdoor

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

const cdkApp = `
-- cdk.json --
{"app": "node bin/app.js", "context": {"own": 1}, "watch": {"include": ["**", "../{{other}}/**/*.ts"]}}
-- cdk.context.json --
{"looked": "up", "own": 2}
-- lambda/index.js --
exports.handler = 1
-- lambda/lib/a.js --
a
-- bin/app.js --
const fs = require('fs')
fs.appendFileSync('runs.log', 'run\n')
const out = process.env.CDK_OUTDIR
const file = process.env.CONTEXT_OVERFLOW_LOCATION_ENV
fs.writeFileSync('seen.json', file ? fs.readFileSync(file) : process.env.CDK_CONTEXT_JSON)
fs.mkdirSync(out, {recursive: true})
fs.cpSync('lambda', out + '/asset.1', {recursive: true})
fs.mkdirSync(out + '/asset.2', {recursive: true})
fs.writeFileSync(out + '/asset.2/index.js', 'bundled')
if (!process.env.NOTHING) fs.writeFileSync(out + '/manifest.json', JSON.stringify({version: '1', artifacts: {}, env: process.env.CDK_DEFAULT_ACCOUNT}))
`

func cdkProject(t *testing.T) (string, Config) {
	dir := unpack(t, cdkApp)
	older(t, dir)
	return dir, Config{Path: dir, Dir: dir, DataDir: filepath.Join(t.TempDir(), "data"), Environ: []string{"PATH=" + os.Getenv("PATH")}}
}

func TestCDKSynthesisesOnlyWhenItMust(t *testing.T) {
	dir, c := cdkProject(t)
	r := prepare(t, c)
	out := filepath.Join(dir, "cdk.out")
	if r.Kind != CDK || !r.Ran || r.Path != filepath.Join(out, "manifest.json") {
		t.Fatalf("%+v", r)
	}
	if len(r.Sources) != 1 || r.Sources[filepath.Join(out, "asset.1")] != filepath.Join(dir, "lambda") {
		t.Errorf("a plain copy must run from its original, a bundle not: %v", r.Sources)
	}
	if !slices.Contains(r.Watch, filepath.Join(dir, "bin", "app.js")) || slices.Contains(r.Watch, filepath.Join(dir, "lambda", "index.js")) {
		t.Errorf("watched: %v", r.Watch)
	}
	var seen map[string]any
	if err := json.Unmarshal([]byte(read(t, filepath.Join(dir, "seen.json"))), &seen); err != nil {
		t.Fatal(err)
	}
	if seen["own"] != 1.0 || seen["looked"] != "up" || seen["aws:cdk:enable-asset-metadata"] != true {
		t.Errorf("context: %v", seen)
	}
	if prepare(t, c).Ran {
		t.Error("synthesised again without a reason")
	}
	write(t, filepath.Join(dir, "lambda", "index.js"), "exports.handler = 2\n")
	touch(t, filepath.Join(dir, "lambda", "index.js"))
	if r = prepare(t, c); r.Ran || len(r.Sources) != 1 {
		t.Errorf("after an edit of code that is run as it is: %+v", r)
	}
	touch(t, filepath.Join(dir, "bin", "app.js"))
	if !prepare(t, c).Ran {
		t.Error("the app changed")
	}
}

func TestCDKAssemblyInPlaceOfAnApp(t *testing.T) {
	dir, c := cdkProject(t)
	write(t, filepath.Join(dir, "built", "manifest.json"), "{}")
	write(t, filepath.Join(dir, "cdk.json"), `{"app": "built"}`)
	if r := prepare(t, c); r.Ran || r.Path != filepath.Join(dir, "built", "manifest.json") {
		t.Errorf("%+v", r)
	}
	write(t, filepath.Join(dir, "cdk.json"), `{"app": "node bin/app.js", "output": "out", "build": "touch built.txt"}`)
	if r := prepare(t, c); !r.Ran || r.Path != filepath.Join(dir, "out", "manifest.json") || !isFile(filepath.Join(dir, "built.txt")) {
		t.Errorf("%+v", r)
	}
}

// The context of a large app does not fit into a variable.
func TestCDKLargeContext(t *testing.T) {
	dir, c := cdkProject(t)
	write(t, filepath.Join(dir, "cdk.context.json"), `{"big": "`+strings.Repeat("x", 200<<10)+`"}`)
	prepare(t, c)
	if !strings.Contains(read(t, filepath.Join(dir, "seen.json")), strings.Repeat("x", 200<<10)) {
		t.Error("the context did not arrive")
	}
}

func TestCDKErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		env   string
		only  bool
		kind  fault.Kind
		says  string
	}{
		"not json":           {files: map[string]string{"cdk.json": "{\n\"app\": x\n}"}, kind: fault.BadRequest, says: "cdk.json:2: this is not JSON"},
		"wrong type":         {files: map[string]string{"cdk.json": `{"app": ["x"]}`}, kind: fault.BadRequest, says: "cdk.json:1"},
		"no app":             {files: map[string]string{"cdk.json": "{}"}, kind: fault.BadRequest, says: `no "app"`},
		"not installed":      {files: map[string]string{"package.json": "{}", "package-lock.json": "{}"}, kind: fault.Unavailable, says: "run `npm ci`"},
		"bad context":        {files: map[string]string{"cdk.context.json": "[]"}, kind: fault.BadRequest, says: "cdk.context.json: this is not a JSON object"},
		"app fails":          {files: map[string]string{"bin/app.js": "throw new Error('no such thing')"}, kind: fault.Upstream, says: "no such thing"},
		"app writes nothing": {env: "NOTHING=1", kind: fault.Upstream, says: "app.synth()"},
		"no such command":    {files: map[string]string{"cdk.json": `{"app": "no-such-command-here"}`}, kind: fault.Upstream, says: "not found"},
		"read only":          {only: true, kind: fault.NotFound, says: "npx cdk synth"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, conf := cdkProject(t)
			for f, text := range c.files {
				write(t, filepath.Join(dir, f), text)
			}
			conf.ReadOnly = c.only
			conf.Environ = append(conf.Environ, c.env)
			_, err := Prepare(context.Background(), conf)
			if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Sources that stand beside the app count when cdk.json says to watch them.
func TestCDKSourcesBesideTheApp(t *testing.T) {
	top := t.TempDir()
	write(t, filepath.Join(top, "backend", "src", "a.ts"), "a")
	write(t, filepath.Join(top, "cdk", "x.ts"), "x")
	a := &app{Config: &Config{}, dir: filepath.Join(top, "cdk"), spec: cdkSpec{}}
	a.spec.Watch.Include = json.RawMessage(`["**", "../backend/**/*.ts", "../gone/*", "../*"]`)
	if got := a.roots(); !slices.Equal(got, []string{a.dir, filepath.Join(top, "backend")}) {
		t.Error(got)
	}
	a.spec.Watch.Include = json.RawMessage(`"../backend/src"`)
	if got := a.roots(); !slices.Equal(got, []string{a.dir, filepath.Join(top, "backend", "src")}) {
		t.Error(got)
	}
	a.spec.Watch.Include = json.RawMessage(`{"bad": 1}`)
	if got := a.roots(); len(got) != 1 {
		t.Error(got)
	}
}
