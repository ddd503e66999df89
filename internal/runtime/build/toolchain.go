package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
)

// tool is a program on PATH, resolved to what it really is: "python3" is often a
// shell script (pyenv) that costs more than the interpreter it starts.
type tool struct {
	path    string
	version string
	err     error
}

// toolchain looks tools up once.
type toolchain struct {
	mu    sync.Mutex
	found map[string]*tool // guarded by mu
}

func newToolchain() *toolchain { return &toolchain{found: map[string]*tool{}} }

// resolve finds name. probe are arguments that make it print its real path and,
// on the next line, its version; nil for tools that need neither.
func (c *toolchain) resolve(name string, probe ...string) *tool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.found[name]; t != nil {
		return t
	}
	t := &tool{}
	t.path, t.err = exec.LookPath(name)
	if t.err == nil && len(probe) > 0 {
		var out []byte
		probed := exec.Command(t.path, probe...) //nolint:noctx // the result is kept for all callers, whoever gives up
		if out, t.err = probed.Output(); t.err == nil {
			path, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
			t.path, t.version = strings.TrimSpace(path), strings.TrimSpace(version)
		}
	}
	c.found[name] = t
	return t
}

func (c *toolchain) node() *tool {
	return c.resolve("node", "-p", "process.execPath + '\\n' + process.versions.node")
}

func (c *toolchain) python(name string) *tool {
	return c.resolve(name, "-S", "-c", "import sys; print(sys.executable); print('%d.%d.%d' % sys.version_info[:3])")
}

// need is the error for a missing tool; what says who wants it.
func (t *tool) need(name, what, advice string) error {
	if t.err == nil {
		return nil
	}
	return fmt.Errorf("%s needs %s, which cannot be run (%w): %s", what, name, t.err, advice)
}

// run executes a package manager or compiler and returns what it said when it
// failed, shortened: the last lines hold the reason.
func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args[:min(len(args), 2)], " "), err, tail(out.String(), 40))
	}
	return nil
}

// tail keeps the last n lines.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
