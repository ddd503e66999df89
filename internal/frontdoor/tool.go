package frontdoor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

const (
	toolTime = 10 * time.Minute // for one run of a tool, npm included
	tailSize = 4 << 10          // of a failed tool's output that is shown
)

// tool is one run of a project's tool.
type tool struct {
	dir  string
	args []string
	env  []string // beside the project's own
}

// run runs a tool to its end. Its output comes back without colours; on failure
// the end of it is the error's message.
func (c *Config) run(ctx context.Context, t tool) (output string, err error) {
	ctx, stop := context.WithTimeout(ctx, toolTime)
	defer stop()
	cmd := exec.CommandContext(ctx, t.args[0], t.args[1:]...)
	cmd.Dir = t.dir
	cmd.Env = append(c.environment(t.dir), t.env...)
	out := &ending{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = 3 * time.Second // a child that keeps the pipe open
	group(cmd)
	err = cmd.Run()
	disband(cmd)
	output = plain(string(out.kept))
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it ended well, and a child kept the pipe open
		return output, nil
	case errors.Is(err, exec.ErrNotFound):
		return output, &fault.Error{Kind: fault.Unavailable, Msg: t.args[0] + " is not installed, or not in PATH", Err: err}
	case errors.Is(ctx.Err(), context.Canceled):
		return output, &fault.Error{Kind: fault.Timeout, Msg: t.name() + " was stopped", Err: ctx.Err()}
	case ctx.Err() != nil:
		return output, &fault.Error{Kind: fault.Timeout, Msg: t.name() + " did not end in time and was stopped", Err: ctx.Err()}
	}
	return output, &fault.Error{Kind: fault.Upstream, Msg: t.name() + " failed:\n" + tail(output), Err: err}
}

// ending keeps the end of what is written to it.
type ending struct{ kept []byte }

const keptOutput = 64 << 10

func (e *ending) Write(p []byte) (int, error) {
	if e.kept = append(e.kept, p...); len(e.kept) > 2*keptOutput {
		e.kept = append(e.kept[:0], e.kept[len(e.kept)-keptOutput:]...)
	}
	return len(p), nil
}

const lockName = "frontdoor.lock"

// alone waits until no other process holds a lock, and takes it.
func (c *Config) alone(ctx context.Context, path string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, &fault.Error{Kind: fault.Unavailable, Msg: fmt.Sprintf("nothing can be kept in %s: %v; choose another data directory", c.shown(filepath.Dir(path)), err), Err: err}
	}
	for said := false; ; said = true {
		unlock, busy, err := tryLock(path)
		if !busy {
			return unlock, err
		}
		if !said {
			c.Say("Waiting for another livegate, which packages this project or installs a packager")
		}
		select {
		case <-ctx.Done():
			return nil, &fault.Error{Kind: fault.Timeout, Msg: "another livegate still packages this project, or installs a packager", Err: ctx.Err()}
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// name is the command as shown: without directories.
func (t tool) name() string {
	words := append([]string{filepath.Base(t.args[0])}, t.args[1:]...)
	if len(words) > 2 && (words[0] == "sh" || words[0] == "bash") {
		words = words[2:]
	} else if len(words) > 2 && words[0] == "node" { // a packager's script
		words = append([]string{strings.TrimSuffix(filepath.Base(words[1]), ".js")}, words[2:]...)
	}
	s := strings.Join(words, " ")
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return s
}

// environment is the project's, with its own tools first in PATH and without
// anything that leads to an AWS account: packaging must work offline and must
// not touch one.
func (c *Config) environment(dir string) []string {
	path := ""
	var env []string
	for _, kv := range c.Environ {
		name, value, _ := strings.Cut(kv, "=")
		switch {
		case name == "PATH":
			path = value
		case strings.HasPrefix(name, "AWS_"), name == "SERVERLESS_ACCESS_KEY", name == "SERVERLESS_LICENSE_KEY":
		default:
			env = append(env, kv)
		}
	}
	var bins []string
	for up := dir; ; up = filepath.Dir(up) {
		if bin := filepath.Join(up, "node_modules", ".bin"); isDir(bin) {
			bins = append(bins, bin)
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	path = strings.Join(append(bins, path), string(os.PathListSeparator))
	return append(env, "PATH="+path, "CI=1", "NO_COLOR=1", "FORCE_COLOR=0",
		"AWS_ACCESS_KEY_ID=livegate", "AWS_SECRET_ACCESS_KEY=livegate", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
		"SLS_TELEMETRY_DISABLED=1", "SLS_TRACKING_DISABLED=1", "SLS_NOTIFICATIONS_MODE=off", "SLS_INTERACTIVE_SETUP_ENABLE=0",
		"CDK_DISABLE_VERSION_CHECK=1", "npm_config_update_notifier=false")
}

// plain takes terminal sequences out of a tool's output.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 0x1b && i+1 < len(s) && s[i+1] == '[':
			for i += 2; i < len(s) && (s[i] < 0x40 || s[i] > 0x7e); i++ { // CSI: until its final byte
			}
		case c == '\r', c < ' ' && c != '\n' && c != '\t', c == 0x7f:
		default:
			b.WriteByte(c)
		}
	}
	return strings.ToValidUTF8(b.String(), "�")
}

// tail is the end of a tool's output, from a line's beginning.
func tail(s string) string {
	s = strings.TrimSpace(s)
	if len(s) <= tailSize {
		return s
	}
	s = s[len(s)-tailSize:]
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return "…\n" + strings.ToValidUTF8(s, "")
}

// installed finds a package of node_modules from dir upwards, as Node does.
func installed(dir, name string) (root string, ok bool) {
	for up := dir; ; up = filepath.Dir(up) {
		root = filepath.Join(up, "node_modules", filepath.FromSlash(name))
		if isFile(filepath.Join(root, "package.json")) {
			return root, true
		}
		if up == filepath.Dir(up) {
			return "", false
		}
	}
}
