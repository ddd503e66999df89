package frontdoor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// Our state beside the project is no part of it: packaged, it was 38 MB of every
// archive, with the tables, and each archive held the ones before.
func TestStateIsNotPackaged(t *testing.T) {
	dir, c := service3(t)
	c.DataDir = filepath.Join(dir, ".livegate")
	write(t, filepath.Join(c.DataDir, "state.db"), "rows")
	prepare(t, c)
	seen := read(t, filepath.Join(dir, "seen.yml"))
	if !strings.Contains(seen, "package:\n  patterns:\n    - '!.livegate/**'\n    - '!serverless.yml'\n") {
		t.Errorf("packaged from\n%s", seen)
	}
}

func TestStateIsLeftOutOfEveryKindOfPackageSection(t *testing.T) {
	for _, v := range []struct {
		name, text, want string
		old              bool
	}{
		{name: "none", text: "service: s\n", want: "service: s\npackage:\n  patterns:\n    - '!x/**'\n"},
		{name: "no newline at the end", text: "service: s", want: "service: s\npackage:\n  patterns:\n    - '!x/**'\n"},
		{name: "version 2", text: "service: s\n", want: "service: s\npackage:\n  exclude:\n    - 'x/**'\n", old: true},
		{name: "without patterns", text: "package:\n    individually: true\nservice: s\n", want: "package:\n    patterns:\n      - '!x/**'\n    individually: true\nservice: s\n"},
		{name: "list", text: "package:\n  patterns:\n    - '!**'\n    - src/**\n\n  individually: true\n", want: "package:\n  patterns:\n    - '!**'\n    - src/**\n    - '!x/**'\n\n  individually: true\n"},
		{name: "list that is not indented", text: "package:\n  patterns:\n  - src/** # all\n  - b\nservice: s\n", want: "package:\n  patterns:\n  - src/** # all\n  - b\n  - '!x/**'\nservice: s\n"},
		{name: "flow list", text: "package:\n  patterns: ['a', b] # c\n", want: "package:\n  patterns: ['a', b, '!x/**'] # c\n"},
		{name: "empty flow list", text: "package:\n  patterns: []\n", want: "package:\n  patterns: ['!x/**']\n"},
		{name: "CRLF", text: "package:\r\n  patterns:\r\n    - a\r\nservice: s\r\n", want: "package:\r\n  patterns:\r\n    - a\r\n    - '!x/**'\nservice: s\r\n"},
		{name: "elsewhere", text: "package: ${file(p.yml)}\n", want: "package: ${file(p.yml)}\n"},
		{name: "list elsewhere", text: "package:\n  patterns: ${file(p.yml)}\n", want: "package:\n  patterns: ${file(p.yml)}\n"},
		{name: "flow style", text: "{service: s}\n", want: "{service: s}\n"},
		{name: "exclude of version 2", text: "package:\n  exclude:\n    - a\n", want: "package:\n  exclude:\n    - a\n    - 'x/**'\n", old: true},
	} {
		got, changes := adaptation{plugin: missing, leaveOut: []string{"x/**"}, old: v.old}.adapt(v.text)
		if got != v.want || len(changes) > 0 {
			t.Errorf("%s: got\n%s\nwant\n%s\n%v", v.name, got, v.want, changes)
		}
	}
}

// Two of us in one project must not write one output at the same time.
func TestOnePackagerAtATime(t *testing.T) {
	dir, c := service3(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := Prepare(context.Background(), c); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs := strings.Count(read(t, filepath.Join(dir, "runs.log")), "\n"); runs != 1 {
		t.Errorf("packaged %d times", runs)
	}
}

func TestWaitingForAnotherPackagerEnds(t *testing.T) {
	_, c := service3(t)
	release, err := c.alone(t.Context(), filepath.Join(c.DataDir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := Prepare(ctx, c); !fault.Is(err, fault.Timeout) {
		t.Errorf("error %v", err)
	}
}

// A copy that a killed process left must not become part of the package.
func TestLeftoverCopiesAreSwept(t *testing.T) {
	dir, c := service3(t)
	left := filepath.Join(dir, adapted+"-1.yml")
	write(t, left, "service: old\n")
	prepare(t, c)
	if isFile(left) {
		t.Error("it is still there")
	}
}

// A file that is gone, or replaced by an older one, is an edit too.
func TestRemovedAndReplacedFilesAreEdits(t *testing.T) {
	dir, c := service3(t)
	zipped(t, filepath.Join(dir, "fixture", "s.zip"), map[string]string{"src/handler.js": "built\n"})
	write(t, filepath.Join(dir, "src", "more.js"), "1")
	write(t, filepath.Join(dir, "old.js"), "exports.handler = 'old'\n")
	older(t, dir)
	prepare(t, c)
	if prepare(t, c).Ran {
		t.Fatal("packaged again without a reason")
	}
	if err := os.Remove(filepath.Join(dir, "src", "more.js")); err != nil {
		t.Fatal(err)
	}
	if !prepare(t, c).Ran {
		t.Error("a removed file was not seen")
	}
	if err := os.Rename(filepath.Join(dir, "old.js"), filepath.Join(dir, "src", "handler.js")); err != nil {
		t.Fatal(err)
	}
	if !prepare(t, c).Ran {
		t.Error("a file replaced by an older one was not seen")
	}
	if prepare(t, c).Ran {
		t.Error("packaged again without a reason")
	}
}

// Files of a configuration name further ones, and parts of names may be variables.
func TestReferencedFilesAreFollowed(t *testing.T) {
	dir, c := service3(t)
	write(t, filepath.Join(dir, "more.yml"), "a: ${file(./config/${self:provider.stage}.yml):x}\nb: ${file(deep.yml)}\n")
	write(t, filepath.Join(dir, "config", "dev.yml"), "x: 1\n")
	write(t, filepath.Join(dir, "deep.yml"), "y: ${file(more.yml)}\n")
	older(t, dir)
	prepare(t, c)
	for _, name := range []string{"config/dev.yml", "deep.yml"} {
		touch(t, filepath.Join(dir, name))
		if !prepare(t, c).Ran {
			t.Errorf("%s changed", name)
		}
	}
}

// A tool that prints without end must not fill the memory.
func TestEndlessOutputIsCut(t *testing.T) {
	c := Config{Environ: os.Environ()}
	out, err := c.run(t.Context(), tool{dir: t.TempDir(), args: []string{"sh", "-c", "yes abcdefgh | head -c 50000000; echo the end; exit 1"}})
	if len(out) > 1<<20 || err == nil || len(err.Error()) > 2*tailSize || !strings.HasSuffix(fault.Message(err), "the end") {
		t.Errorf("%d bytes, %v", len(out), err != nil)
	}
}

// What a tool leaves running in the background neither fails it nor outlives it.
func TestBackgroundChildrenEndWithTheTool(t *testing.T) {
	dir := t.TempDir()
	c := Config{Environ: os.Environ()}
	if _, err := c.run(t.Context(), tool{dir: dir, args: []string{"sh", "-c", "sleep 600 & echo $! > pid"}}); err != nil {
		t.Error(err)
	}
	pid := 0
	for _, r := range strings.TrimSpace(read(t, filepath.Join(dir, "pid"))) {
		pid = pid*10 + int(r-'0')
	}
	for range 500 {
		if data, err := os.ReadFile("/proc/" + strings.TrimSpace(read(t, filepath.Join(dir, "pid"))) + "/stat"); err != nil || strings.Contains(string(data), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Error("it is still running")
}

// State in a directory of another name changes all the time, and is no source.
func TestStateElsewhereInTheProjectIsNoSource(t *testing.T) {
	dir, c := service3(t)
	c.DataDir = filepath.Join(dir, "state")
	zipped(t, filepath.Join(dir, "fixture", "s.zip"), map[string]string{"src/handler.js": "built\n"})
	prepare(t, c)
	write(t, filepath.Join(c.DataDir, "state.db"), "rows")
	touch(t, filepath.Join(c.DataDir, "state.db"))
	if prepare(t, c).Ran {
		t.Error("packaged because of a table")
	}
}

// A directory that cannot be written is no reason to install another packager.
func TestReadOnlyDirectories(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root writes everywhere")
	}
	dir, c := service3(t)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755) // for t.TempDir
	var said []string
	c.Say = func(s string) { said = append(said, s) }
	if _, err := Prepare(t.Context(), c); !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.Message(err), "serverless.yml cannot be packaged") || len(said) != 1 {
		t.Errorf("%v, said %q", err, said)
	}
	c.DataDir = filepath.Join(dir, ".livegate")
	if _, err := Prepare(t.Context(), c); !strings.Contains(fault.Message(err), "choose another data directory") {
		t.Error(err)
	}
}

// Without node no packager runs, ours no better than the project's.
func TestMissingNode(t *testing.T) {
	_, c := service3(t)
	c.Environ = []string{"PATH=" + t.TempDir()}
	t.Setenv("PATH", t.TempDir())
	var said []string
	c.Say = func(s string) { said = append(said, s) }
	if _, err := Prepare(t.Context(), c); !fault.Is(err, fault.Unavailable) || fault.Message(err) != "node is not installed, or not in PATH" || len(said) != 1 {
		t.Errorf("%v, said %q", err, said)
	}
}

// A file that stands in the project as a link is edited where it leads to.
func TestLinkedFilesAreSources(t *testing.T) {
	dir, c := service3(t)
	zipped(t, filepath.Join(dir, "fixture", "s.zip"), map[string]string{"src/handler.js": "built\n"})
	shared := filepath.Join(t.TempDir(), "shared.js")
	write(t, shared, "1")
	older(t, filepath.Dir(shared))
	if err := os.Symlink(shared, filepath.Join(dir, "src", "shared.js")); err != nil {
		t.Fatal(err)
	}
	prepare(t, c)
	touch(t, shared)
	if !prepare(t, c).Ran {
		t.Error("the linked file changed")
	}
}
