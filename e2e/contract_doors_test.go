package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// doorsApp is a project of another tool, under testdata/doors.
func doorsApp(t testing.TB, name string) string {
	t.Helper()
	need(t, "node")
	to := filepath.Join(t.TempDir(), name)
	copyTree(t, filepath.Join("testdata", "doors", name), to)
	return to
}

// drive connects and echoes, then edits the code and the project while the client
// stays connected. change edits what the packager reads.
func (g *gate) drive(code, name, greeting string, change func(), after string) {
	g.t.Helper()
	s := dial(g.t, g.stage("qa").WebSocketURL, dialing{})
	s.call("echo", "one")
	s.expect(name + greeting + ": one")
	edit(g.t, code, "`"+name, "`edited "+name)
	s.until("echo", "two", "edited "+name+greeting+": two")
	if change != nil {
		change()
		s.until("echo", "three", "edited "+name+after+": three")
	}
	s.close(websocket.StatusNormalClosure, "")
}

// needOsls makes sure that the packager Livegate would install is there or can be had.
func needOsls(t testing.TB) {
	t.Helper()
	const version = "4.3.1"
	if _, err := os.Stat(filepath.Join(dataHome(), "livegate", "tools", "osls-"+version, "complete")); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, need(t, "npm"), "view", "osls@"+version, "version", "--fetch-retries=0").Output(); err != nil || !strings.Contains(string(out), version) {
		t.Skipf("osls %s is not installed, and the npm registry cannot be reached: %v", version, err)
	}
}

// The service has no packager of its own, so it is packaged by the one that Livegate
// keeps, and again when serverless.yml is edited.
func TestServerlessProject(t *testing.T) {
	needOsls(t)
	dir := doorsApp(t, "serverless")
	g := launch{Dir: dir}.start(t)
	if g.status.Region != "eu-west-1" || g.status.Stack != "doors-serverless-qa" {
		t.Errorf("runs as %s in %s", g.status.Stack, g.status.Region)
	}
	g.drive(filepath.Join(dir, "src", "talk.js"), "serverless", " hello", func() {
		edit(t, filepath.Join(dir, "serverless.yml"), "GREETING: hello", "GREETING: bye")
	}, " bye")
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 3 {
		t.Errorf("the project's directory holds %v (%v), want what was there and .serverless", left, err)
	}
}

// A committed cloud assembly is loaded as it is; the app runs when it is edited.
func TestCDKProject(t *testing.T) {
	dir := doorsApp(t, "cdk")
	g := launch{Dir: dir}.start(t)
	if strings.Contains(g.out.String(), "Synthesising") {
		t.Errorf("an assembly that is not stale was synthesised:\n%s", g.out)
	}
	if g.status.Region != "eu-central-1" || g.status.Stack != "Doors" {
		t.Errorf("runs as %s in %s", g.status.Stack, g.status.Region)
	}
	g.drive(filepath.Join(dir, "fn", "index.js"), "cdk", " hello", func() {
		edit(t, filepath.Join(dir, "app.mjs"), `greeting = "hello"`, `greeting = "bye"`)
	}, " bye")
}

func TestTerraformProject(t *testing.T) {
	dir := doorsApp(t, "terraform")
	g := launch{Dir: dir, Args: []string{"--parameter-overrides", "stage=qa"}}.start(t)
	if g.status.Region != "eu-west-3" || !strings.HasPrefix(g.status.Outputs["url"], "wss://"+g.api("doors").ID+".execute-api.eu-west-3.amazonaws.com/qa") {
		t.Errorf("runs in %s with outputs %v", g.status.Region, g.status.Outputs)
	}
	g.drive(filepath.Join(dir, "fn", "index.js"), "terraform", " hello from qa", func() {
		edit(t, filepath.Join(dir, "greeting.tftpl"), "hello", "bye")
	}, " bye from qa")
	t.Run("what cannot be read keeps the old one", func(t *testing.T) {
		g := g.in(t)
		edit(t, filepath.Join(dir, "main.tf"), `default = "qa"`, `default = nonsense("qa")`)
		g.says(`main\.tf:\d+`)
		s := dial(t, g.stage("qa").WebSocketURL, dialing{})
		s.call("echo", "still")
		s.expect("edited terraform bye from qa: still")
	})
}
