package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyWithin = 4 * time.Minute // the first start may install SDKs
	frameWithin = 15 * time.Second
	stopWithin  = 30 * time.Second
	silence     = 700 * time.Millisecond
)

// status is what the tests use of `livegate status --json`: the documented contract,
// written down a second time on purpose.
type status struct {
	Stack       string            `json:"stack"`
	Region      string            `json:"region"`
	AccountID   string            `json:"accountId"`
	EndpointURL string            `json:"endpointUrl"`
	CAFile      string            `json:"caFile"`
	DomainCA    string            `json:"domainCaFile"`
	APIs        []api             `json:"apis"`
	Functions   []named           `json:"functions"`
	Tables      []named           `json:"tables"`
	Outputs     map[string]string `json:"outputs"`
	Ready       bool              `json:"ready"`
}

type api struct {
	ID     string  `json:"id"`
	Name   string  `json:"name"`
	Stages []stage `json:"stages"`
}

type stage struct {
	Name               string `json:"name"`
	WebSocketURL       string `json:"webSocketUrl"`
	SecureWebSocketURL string `json:"secureWebSocketUrl"`
	ManagementURL      string `json:"managementUrl"`
}

type named struct {
	Name string `json:"name"`
}

// launch says how to start `livegate dev`. The zero value of every field but Dir works.
type launch struct {
	Dir     string
	DataDir string // "" = a fresh one
	Port    int    // 0 = a free one
	Args    []string
	Env     []string          // for livegate itself
	FuncEnv map[string]string // for the functions, by --env-file
}

// gate is a running `livegate dev`.
type gate struct {
	t      testing.TB
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process has ended
	out    *output
	status status
	launch launch // with everything filled in: start it again for the same state
}

// start runs the application and waits until it is ready.
func (l launch) start(t testing.TB) *gate {
	t.Helper()
	g := l.spawn(t)
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	go func() {
		select {
		case <-g.done:
			cancel() // no use to go on asking
		case <-ctx.Done():
		}
	}()
	ask := livegate(ctx, "status", "--json", "--wait", readyWithin.String(), "--data-dir", g.launch.DataDir)
	answer, err := ask.Output()
	if err != nil {
		t.Fatalf("livegate dev %s did not get ready (status: %v)\n%s", l.Dir, err, g.out.tail())
	}
	if err := json.Unmarshal(answer, &g.status); err != nil {
		t.Fatalf("livegate status --json: %v in %s", err, answer)
	}
	if !g.status.Ready {
		t.Fatalf("status --wait came back before it was ready: %s", answer)
	}
	return g
}

// spawn starts the process and does not wait. It is killed when the test ends.
func (l launch) spawn(t testing.TB) *gate {
	t.Helper()
	if l.DataDir == "" {
		l.DataDir = filepath.Join(t.TempDir(), "data")
	}
	if l.Port == 0 {
		l.Port = freePort(t)
	}
	args := []string{"dev", l.Dir, "--port", strconv.Itoa(l.Port), "--data-dir", l.DataDir}
	if l.FuncEnv != nil {
		args = append(args, "--env-file", envFile(t, l.FuncEnv))
	}
	g := &gate{t: t, launch: l, out: &output{}, done: make(chan struct{})}
	g.cmd = livegate(context.Background(), append(args, l.Args...)...)
	g.cmd.Env = append(g.cmd.Env, l.Env...)
	g.cmd.Stdout, g.cmd.Stderr = g.out, g.out
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		g.cmd.Wait()
		close(g.done)
	}()
	t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.done
		if t.Failed() {
			t.Logf("livegate's last lines:\n%s", g.out.tail())
		}
	})
	return g
}

// livegate prepares a run of the binary with its own user directory, so that tests
// neither see nor change what the user has.
func livegate(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		upper := strings.ToUpper(name)
		return strings.HasPrefix(upper, "LIVEGATE_") || strings.HasPrefix(upper, "AWS_") || upper == "XDG_DATA_HOME" ||
			upper == "HTTPS_PROXY" || upper == "HTTP_PROXY" || upper == "NO_PROXY" || upper == "ALL_PROXY"
	})
	// npm and go reach their registries through whatever proxy the machine has.
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"} {
		if value := os.Getenv(name); value != "" {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.Env = append(cmd.Env, "XDG_DATA_HOME="+dataHome())
	cmd.WaitDelay = 5 * time.Second // workers may hold the output open a moment longer
	return cmd
}

func dataHome() string {
	base := os.Getenv("LIVEGATE_E2E_CACHE")
	if base == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			dir = os.TempDir()
		}
		base = filepath.Join(dir, "livegate-e2e")
	}
	return filepath.Join(base, "data-home")
}

// command runs a livegate command to its end and returns what it printed and its
// exit code.
func command(t testing.TB, args ...string) (out string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	text, err := livegate(ctx, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("livegate %s: %v", strings.Join(args, " "), err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(text), code
}

// in is the same instance, reporting to a subtest.
func (g *gate) in(t testing.TB) *gate {
	other := *g
	other.t = t
	return &other
}

// ends waits for the process to end by itself and returns its exit code.
func (g *gate) ends() int {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(stopWithin):
		g.t.Fatalf("livegate still runs after %v\n%s", stopWithin, g.out.tail())
	}
	return g.cmd.ProcessState.ExitCode()
}

// stop is Ctrl-C: the process must end by itself, with code 0.
func (g *gate) stop() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(os.Interrupt); err != nil {
		g.t.Fatal(err)
	}
	if code := g.ends(); code != 0 {
		g.t.Fatalf("Ctrl-C ended it with exit code %d\n%s", code, g.out.tail())
	}
}

// kill is kill -9.
func (g *gate) kill() {
	g.t.Helper()
	if err := g.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		g.t.Fatal(err)
	}
	<-g.done
}

// again starts the same application with the same state, on a new port.
func (g *gate) again() *gate {
	g.t.Helper()
	l := g.launch
	l.Port = 0
	return l.start(g.t)
}

// stage is the only stage with that name.
func (g *gate) stage(name string) stage {
	g.t.Helper()
	var found []stage
	for _, a := range g.status.APIs {
		for _, s := range a.Stages {
			if s.Name == name {
				found = append(found, s)
			}
		}
	}
	if len(found) != 1 {
		g.t.Fatalf("status lists %d stages called %q: %+v", len(found), name, g.status.APIs)
	}
	return found[0]
}

// origin is scheme and host of the dev port, e.g. "http://localhost:4012".
func (g *gate) origin() string {
	return "http://localhost:" + strconv.Itoa(g.launch.Port)
}

func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func envFile(t testing.TB, env map[string]string) string {
	t.Helper()
	var text strings.Builder
	for name, value := range env {
		text.WriteString(name + "=" + value + "\n")
	}
	path := filepath.Join(t.TempDir(), "functions.env")
	write(t, path, text.String())
	return path
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*output)(nil)

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// tail is the last 40 lines, for error messages.
func (o *output) tail() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// says waits until the output matches a regular expression.
func (g *gate) says(pattern string) {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	eventually(g.t, frameWithin, func() error {
		if re.MatchString(g.out.String()) {
			return nil
		}
		return errors.New("livegate did not print " + pattern + "\n" + g.out.tail())
	})
}

// eventually calls check until it returns nil; after the time its last error fails the
// test.
func eventually(t testing.TB, within time.Duration, check func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", within, err)
		}
		<-tick.C
	}
}
