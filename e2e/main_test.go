package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binary is the livegate under test, built once; set by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if binary = os.Getenv("LIVEGATE_E2E_BIN"); binary != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "livegate-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "livegate")
	build := exec.Command("go", "build", "-o", binary, "github.com/livegate/livegate/cmd/livegate")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build cmd/livegate:", err)
		return 1
	}
	return m.Run()
}

// cacheDir is where npm packages and SDKs survive from run to run.
func cacheDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("LIVEGATE_E2E_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			base = os.TempDir()
		}
		dir = filepath.Join(base, "livegate-e2e")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// need returns the path of the first tool that is installed, or skips the test.
func need(t testing.TB, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing := strings.Join(names, " or ") + " is not installed"
	if os.Getenv("CI") == "true" && (names[0] == "node" || names[0] == "npm") {
		t.Fatal(missing + "; CI must have it")
	}
	t.Skip(missing)
	return ""
}

// needBoto3 returns a python3 that can import boto3, or skips the test.
func needBoto3(t testing.TB) string {
	t.Helper()
	python := need(t, "python3")
	if out, err := exec.Command(python, "-c", "import boto3").CombinedOutput(); err != nil {
		t.Skipf("python3 has no boto3: %s", lastLine(string(out)))
	}
	return python
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

var installing sync.Mutex

// npmInstall installs the package.json of dir, with its lock file, and returns a
// directory whose node_modules is complete. It lies in the cache, under a name made of
// the lock's content, and gets a copy of dir's own files on every call.
func npmInstall(t testing.TB, dir string) string {
	t.Helper()
	need(t, "node")
	npm := need(t, "npm")
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	target := filepath.Join(cacheDir(t), filepath.Base(dir)+"-"+hex.EncodeToString(sum[:6]))

	installing.Lock()
	defer installing.Unlock()
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	copyTree(t, dir, target)
	done := filepath.Join(target, ".installed")
	if _, err := os.Stat(done); err == nil {
		return target
	}
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = target
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci of %s: %v\n%s", dir, err, out)
	}
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return target
}

// copyTree copies the files below from into to, node_modules and .livegate left out.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if entry.IsDir() {
			if name := entry.Name(); name == "node_modules" || name == ".livegate" {
				return filepath.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		return errors.Join(err, os.WriteFile(target, text, info.Mode().Perm()))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyApp gives a test its own copy of an application, to edit. Paths: "examples/chat"
// relative to the project, "probe" relative to testdata.
func copyApp(t testing.TB, name string) string {
	t.Helper()
	from := filepath.Join("testdata", name)
	if strings.Contains(name, "/") {
		from = filepath.Join("..", name)
	}
	to := filepath.Join(t.TempDir(), filepath.Base(name))
	copyTree(t, from, to)
	return to
}

// edit replaces old, which must be there exactly once, in a file.
func edit(t testing.TB, path, old, new string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s holds %q %d times", path, old, n)
	}
	write(t, path, strings.Replace(string(text), old, new, 1))
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
