package frontdoor

import (
	"archive/zip"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func unpack(t *testing.T, archive string) string {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("needs node")
	}
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(archive)).Files {
		write(t, filepath.Join(dir, f.Name), string(f.Data))
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// touch makes a file newer than everything else.
func touch(t *testing.T, path string) {
	t.Helper()
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
}

// older moves everything a minute back, as if the last run had been a while ago.
func older(t *testing.T, dir string) {
	t.Helper()
	at := time.Now().Add(-time.Minute)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func zipped(t *testing.T, path string, files map[string]string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for name, text := range files {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// packagerScript stands in for a packager: it writes what one leaves behind, and
// the zip file that the test put there. FAKE makes it fail or hang.
const packagerScript = `
const fs = require('fs')
fs.appendFileSync('runs.log', process.argv.slice(2).join(' ') + '\n')
const config = process.argv.includes('--config') ? process.argv[process.argv.indexOf('--config') + 1] : 'serverless.yml'
fs.writeFileSync('seen.yml', fs.readFileSync(config))
fs.writeFileSync('seen.env', JSON.stringify(process.env))
if (process.env.FAKE === 'fail' && __dirname.includes('serverless')) { console.log('\x1b[31mError:\x1b[0m\nsomething is wrong'); process.exit(1) }
if (process.env.FAKE === 'hang') { require('child_process').spawn('sleep', ['600'], {stdio: 'inherit'}); setInterval(() => {}, 1000) }
else if (process.env.FAKE !== 'silent') {
  const at = process.argv.indexOf('--stage')
  fs.mkdirSync('.serverless', {recursive: true})
  fs.writeFileSync('.serverless/cloudformation-template-update-stack.json', '{"Resources": {}}')
  fs.writeFileSync('.serverless/serverless-state.json', JSON.stringify({service: {service: 's', provider: {stage: at > 0 ? process.argv[at + 1] : 'dev', region: 'us-east-1'}}}))
  fs.rmSync('.serverless/s.zip', {force: true})
  fs.copyFileSync('fixture/s.zip', '.serverless/s.zip')
}
`

const plainService = `
-- serverless.yml --
service: s
plugins:
  - serverless-offline
custom: ${file(more.yml)}
-- more.yml --
a: b
-- src/handler.js --
exports.handler = 1
-- node_modules/serverless/package.json --
{"version": "3.38.0", "bin": {"serverless": "./bin/serverless.js"}}
-- node_modules/serverless/bin/serverless.js --` + packagerScript

func service3(t *testing.T) (string, Config) {
	dir := unpack(t, plainService)
	if err := os.Mkdir(filepath.Join(dir, "fixture"), 0o755); err != nil {
		t.Fatal(err)
	}
	zipped(t, filepath.Join(dir, "fixture", "s.zip"), map[string]string{"src/handler.js": "exports.handler = 1\n"})
	older(t, dir)
	return dir, Config{Path: dir, Dir: dir, DataDir: filepath.Join(t.TempDir(), "data"), Environ: []string{"PATH=" + os.Getenv("PATH"), "AWS_PROFILE=mine", "KEEP=1"}}
}

func prepare(t *testing.T, c Config) *Result {
	t.Helper()
	r, err := Prepare(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestServerlessRunsOnlyWhenItMust(t *testing.T) {
	dir, c := service3(t)
	r := prepare(t, c)
	archive := filepath.Join(dir, ".serverless", "s.zip")
	if r.Kind != Serverless || !r.Ran || r.Path != filepath.Join(dir, ".serverless", "cloudformation-template-update-stack.json") {
		t.Fatalf("%+v", r)
	}
	if r.Sources[archive] != dir {
		t.Errorf("a plain copy must run from its original: %v", r.Sources)
	}
	if !slices.Contains(r.Watch, filepath.Join(dir, "more.yml")) || slices.Contains(r.Watch, filepath.Join(dir, "src", "handler.js")) {
		t.Errorf("watched: %v", r.Watch)
	}
	if seen := read(t, filepath.Join(dir, "seen.yml")); strings.Contains(seen, "serverless-offline") || !strings.Contains(seen, "service: s") {
		t.Errorf("packaged from %q", seen)
	}
	if env := read(t, filepath.Join(dir, "seen.env")); strings.Contains(env, "mine") || !strings.Contains(env, `"KEEP":"1"`) || !strings.Contains(env, `"AWS_ACCESS_KEY_ID":"livegate"`) {
		t.Errorf("the packager's environment: %s", env)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, adapted+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if r = prepare(t, c); r.Ran {
		t.Error("packaged again without a reason")
	}
	// The code is run from its directory: an edit there needs no packaging, even
	// though archive and directory differ from now on.
	write(t, filepath.Join(dir, "src", "handler.js"), "exports.handler = 2\n")
	touch(t, filepath.Join(dir, "src", "handler.js"))
	if r = prepare(t, c); r.Ran || r.Sources[archive] != dir {
		t.Errorf("after an edit of the code: ran %v, from %v", r.Ran, r.Sources)
	}
	touch(t, filepath.Join(dir, "more.yml"))
	if r = prepare(t, c); !r.Ran {
		t.Error("a file of the configuration changed")
	}
	c.Stage = "prod"
	if r = prepare(t, c); !r.Ran || !strings.HasSuffix(strings.TrimSpace(read(t, filepath.Join(dir, "runs.log"))), "--stage prod") {
		t.Error("another stage was asked for")
	}
}

func TestServerlessBuiltCodeIsPackagedAgain(t *testing.T) {
	dir, c := service3(t)
	zipped(t, filepath.Join(dir, "fixture", "s.zip"), map[string]string{"src/handler.js": "built\n"})
	r := prepare(t, c)
	if len(r.Sources) > 0 || !slices.Contains(r.Watch, filepath.Join(dir, "src", "handler.js")) {
		t.Errorf("from %v, watched %v", r.Sources, r.Watch)
	}
	if prepare(t, c).Ran {
		t.Error("packaged again without a reason")
	}
	touch(t, filepath.Join(dir, "src", "handler.js"))
	if !prepare(t, c).Ran {
		t.Error("the source of built code changed")
	}
}

// provide puts a packager where the pinned one would be installed.
func provide(t *testing.T, data string) {
	home := filepath.Join(data, "tools", oslsName+"-"+oslsVersion)
	write(t, filepath.Join(home, "complete"), "")
	write(t, filepath.Join(home, "node_modules", oslsName, "package.json"), `{"version": "`+oslsVersion+`", "bin": {"osls": "run.js"}}`)
	write(t, filepath.Join(home, "node_modules", oslsName, "run.js"), packagerScript)
}

func TestServerlessFallsBackToThePinnedPackager(t *testing.T) {
	dir, c := service3(t)
	provide(t, c.DataDir)
	c.Environ = append(c.Environ, "FAKE=fail")
	var said []string
	c.Say = func(s string) { said = append(said, s) }
	r := prepare(t, c)
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return f.Code == "packager-failed" && f.Severity == "warning" && strings.Contains(f.Message, "something is wrong")
	}) {
		t.Errorf("%+v", r.Findings)
	}
	if seen := read(t, filepath.Join(dir, "seen.yml")); !strings.Contains(seen, "configValidationMode: warn") {
		t.Errorf("the pinned packager got %q", seen)
	}
	if len(said) < 2 || !strings.Contains(said[0], "it has not been packaged") {
		t.Errorf("said: %q", said)
	}
}

func TestServerless4IsNotRun(t *testing.T) {
	dir, c := service3(t)
	provide(t, c.DataDir)
	write(t, filepath.Join(dir, "node_modules", "serverless", "package.json"), `{"version": "4.2.1", "bin": "bin/serverless.js"}`)
	r := prepare(t, c)
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == "serverless-v4" && strings.Contains(f.Message, "login") }) {
		t.Errorf("%+v", r.Findings)
	}
	if n := strings.Count(read(t, filepath.Join(dir, "runs.log")), "\n"); n != 1 {
		t.Errorf("%d packagers ran", n)
	}
}

func TestServerlessErrors(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, dir string, c *Config)
		kind   fault.Kind
		says   []string
	}{
		"fails, and nothing else may be installed": {func(_ *testing.T, _ string, c *Config) { c.DataDir = ""; c.Environ = append(c.Environ, "FAKE=fail") }, fault.Unavailable,
			[]string{"something is wrong", "npm install --save-dev osls"}},
		"writes nothing": {func(t *testing.T, _ string, c *Config) {
			provide(t, c.DataDir)
			c.Environ = append(c.Environ, "FAKE=silent")
		}, fault.Upstream, []string{"ended well but did not write"}},
		"read only": {func(_ *testing.T, _ string, c *Config) { c.ReadOnly = true }, fault.NotFound, []string{"is not packaged", "npx serverless package"}},
		"damaged packager": {func(t *testing.T, dir string, c *Config) {
			c.DataDir = ""
			write(t, filepath.Join(dir, "node_modules", "serverless", "package.json"), "{")
		}, fault.Unavailable, []string{"is damaged"}},
		"packager that points elsewhere": {func(t *testing.T, dir string, c *Config) {
			c.DataDir = ""
			write(t, filepath.Join(dir, "node_modules", "serverless", "package.json"), `{"version": "3.1.0", "bin": "../../src/handler.js"}`)
		}, fault.Unavailable, []string{"has no command"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, conf := service3(t)
			c.change(t, dir, &conf)
			_, err := Prepare(context.Background(), conf)
			if !fault.Is(err, c.kind) {
				t.Fatalf("%v", err)
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q is not in %v", s, err)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, adapted+"*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A packager that hangs is stopped together with what it started: the child here
// holds the output open, so Prepare would wait for it for ten minutes.
func TestHangingPackagerIsStoppedWithItsChildren(t *testing.T) {
	dir, c := service3(t)
	c.Environ = append(c.Environ, "FAKE=hang")
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan error, 1)
	go func() {
		_, err := Prepare(ctx, c)
		done <- err
	}()
	for !isFile(filepath.Join(dir, "seen.env")) { // written before it hangs
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	stop()
	select {
	case err := <-done:
		if !fault.Is(err, fault.Timeout) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting")
	}
}

func TestReadOnlyTakesWhatIsThere(t *testing.T) {
	dir, c := service3(t)
	prepare(t, c)
	touch(t, filepath.Join(dir, "serverless.yml"))
	c.ReadOnly = true
	r := prepare(t, c)
	if r.Ran || len(r.Findings) != 1 || r.Findings[0].Code != "stale-package" || !strings.Contains(r.Findings[0].Message, "serverless.yml is newer") {
		t.Errorf("%+v", r)
	}
}

func TestDetect(t *testing.T) {
	for files, want := range map[string]Kind{
		"template.yaml serverless.yml cdk.json": Template, "serverless.yml cdk.json": Serverless, "serverless.ts": Serverless,
		"cdk.json": CDK, "app.yaml main.tf": Template, "": Template,
	} {
		dir := t.TempDir()
		for name := range strings.FieldsSeq(files) {
			write(t, filepath.Join(dir, name), "")
		}
		if got, _ := detect(dir, true); got != want {
			t.Errorf("%q is %s, want %s", files, got, want)
		}
	}
	for name, want := range map[string]Kind{"a/serverless.yaml": Serverless, "cdk.json": CDK, "template.yaml": Template, "other.yml": Template} {
		if got, _ := detect(name, false); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if _, err := Prepare(context.Background(), Config{Path: "gone", Dir: t.TempDir()}); !fault.Is(err, fault.NotFound) {
		t.Error(err)
	}
	dir := t.TempDir()
	if r := prepare(t, Config{Dir: dir}); r.Kind != Template || r.Path != dir {
		t.Errorf("%+v", r)
	}
}
