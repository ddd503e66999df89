package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// The acceptance runner has tests of its own; with $LIVEGATE_COMPAT_APPS it runs the
// public applications too (see compat/README.md).
func TestCompatRunner(t *testing.T) {
	dir := npmInstall(t, "../compat")
	t.Run("its own tests", func(t *testing.T) {
		tests := exec.Command("node", "--test", "test/")
		tests.Dir = dir
		if out, err := tests.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("public applications", func(t *testing.T) { runPublicApps(t, dir) })
}

func runPublicApps(t *testing.T, dir string) {
	apps := os.Getenv("LIVEGATE_COMPAT_APPS")
	if apps == "" {
		t.Skip("LIVEGATE_COMPAT_APPS names no directory of checkouts")
	}
	args := []string{"run.mjs", "--livegate", binary, "--apps", apps}
	if article := os.Getenv("LIVEGATE_COMPAT_ARTICLE"); article != "" {
		args = append(args, "--article", article)
	}
	run := exec.Command("node", args...)
	run.Dir = dir
	run.Env = append(os.Environ(), "XDG_DATA_HOME="+dataHome())
	out, err := run.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
