//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// startupConfig is the flags of wsload startup.
type startupConfig struct {
	livegate, app, out, edit, from string
	runs                           int
}

// Start is one start, in milliseconds.
type Start struct {
	Kind   string  `json:"kind"`         // "new" data directory, or "again" on an old one
	Ready  float64 `json:"readyMillis"`  // from exec to "Ready" on its output
	Answer float64 `json:"answerMillis"` // … to the first answer to a new client: its functions have started too
	Edit   float64 `json:"editMillis"`   // from the write of a handler's file to its effect on a message
	Others float64 `json:"otherCores"`   // while it was measured
}

func runStartup(ctx context.Context, args []string) (err error) {
	var c startupConfig
	f := flag.NewFlagSet("wsload startup", flag.ContinueOnError)
	f.StringVar(&c.livegate, "livegate", "bin/livegate", "the livegate program")
	f.StringVar(&c.app, "app", "examples/chat", "application; a copy of it is run and edited")
	f.StringVar(&c.edit, "file", "src/room.js", "file of the application to edit")
	f.StringVar(&c.from, "text", "Send ", "text in it that a client is answered, to be replaced")
	f.StringVar(&c.out, "out", "", "file for the raw results")
	f.IntVar(&c.runs, "runs", 10, "starts of each kind")
	if err := f.Parse(args); err != nil {
		return err
	}
	if c.livegate, err = filepath.Abs(c.livegate); err != nil {
		return err
	}
	raw := json.NewEncoder(io.Discard)
	if c.out != "" {
		file, err := os.Create(c.out)
		if err != nil {
			return err
		}
		defer file.Close()
		raw = json.NewEncoder(file)
	}
	m := machine(ctx)
	if err := raw.Encode(map[string]any{"benchmark": "startup", "machine": m, "livegate": output(ctx, c.livegate, "version")}); err != nil {
		return err
	}
	fmt.Printf("startup: %s, %d runs of each kind; %s, %d cores, Node %s\n", c.app, c.runs, m.CPU, m.Cores, m.Node)
	return c.run(ctx, raw)
}

func (c startupConfig) run(ctx context.Context, raw *json.Encoder) error {
	work, err := os.MkdirTemp("", "livegate-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a temporary directory
	if _, err := c.start(ctx, work, "first", 0); err != nil {
		return err // fetches the SDKs when this machine does not have them yet
	}
	all := map[string][]Start{}
	for n := 1; n <= c.runs; n++ {
		for _, kind := range []string{"new", "again"} {
			s, err := c.start(ctx, work, kind, n)
			if err != nil {
				return fmt.Errorf("run %d, %s: %w", n, kind, err)
			}
			if err := raw.Encode(s); err != nil {
				return err
			}
			fmt.Printf("  run %-2d %-5s  ready %6.0f ms   first answer %6.0f ms   edit live %6.0f ms   others %.2f cores\n", n, s.Kind, s.Ready, s.Answer, s.Edit, s.Others)
			all[kind] = append(all[kind], s)
		}
	}
	fmt.Printf("\nmedians of %d runs\n%-28s %10s %14s %12s\n", c.runs, "", "ready ms", "first answer", "edit live")
	var ready, edit float64
	for _, kind := range []string{"new", "again"} {
		col := func(f func(Start) float64) float64 {
			var v []float64
			for _, s := range all[kind] {
				v = append(v, f(s))
			}
			return stat.Median(v)
		}
		r, a, e := col(func(s Start) float64 { return s.Ready }), col(func(s Start) float64 { return s.Answer }), col(func(s Start) float64 { return s.Edit })
		fmt.Printf("%-28s %10.0f %14.0f %12.0f\n", map[string]string{"new": "new data directory", "again": "started before"}[kind], r, a, e)
		ready, edit = max(ready, r), max(edit, e)
	}
	fmt.Printf("goals: ready in under 2 s: %.2f s %s; an edit live in under 1 s: %.2f s %s\n",
		ready/1000, verdict(ready < 2000), edit/1000, verdict(edit < 1000))
	return nil
}

// start runs a copy of the application once. "again" starts in the directory that
// the "new" before it left.
func (c startupConfig) start(ctx context.Context, work, kind string, n int) (s Start, err error) {
	dir := filepath.Join(work, "app")
	if kind != "again" {
		if err := os.RemoveAll(dir); err != nil {
			return s, err
		}
		if err := copyApp(dir, c.app); err != nil {
			return s, err
		}
	}
	ports, err := freePorts(ctx, 1)
	if err != nil {
		return s, err
	}
	out, in := io.Pipe()
	defer in.Close() //nolint:errcheck // a pipe in memory
	began := time.Now()
	srv, err := launch{Dir: dir, Argv: []string{c.livegate, "dev", ".", "--port", ports[0]}, Out: in}.start()
	if err != nil {
		return s, err
	}
	defer srv.stop()
	before, err := read(srv.pid())
	if err != nil {
		return s, err
	}
	ready := make(chan error, 1)
	go watch(out, ready)
	select {
	case err = <-ready:
	case <-srv.done:
		err = fmt.Errorf("livegate ended before it was ready: %w", srv.err)
	case <-time.After(5 * time.Minute):
		err = fmt.Errorf("livegate was not ready within 5 minutes")
	}
	if err != nil {
		return s, err
	}
	s = Start{Kind: kind, Ready: milliseconds(time.Since(began))}
	client, _, err := websocket.Dial(ctx, "ws://127.0.0.1:"+ports[0]+"/Prod", nil) //nolint:bodyclose // coder closes it
	if err != nil {
		return s, err
	}
	defer client.CloseNow()
	if _, err := ask(ctx, client); err != nil {
		return s, err
	}
	s.Answer = milliseconds(time.Since(began))
	edited, err := c.editUntilLive(ctx, client, filepath.Join(dir, c.edit), fmt.Sprintf("Edit %s %d: send ", kind, n))
	if err != nil {
		return s, err
	}
	s.Edit = milliseconds(edited)
	after, err := read(srv.pid())
	if err != nil {
		return s, err
	}
	r := Result{}
	r.settle(before, after, nil)
	s.Others = r.OtherCores
	return s, nil
}

// watch reads a server's output to its end and reports the line that says it is
// ready.
func watch(out io.Reader, ready chan<- error) {
	lines := bufio.NewScanner(out)
	said := false
	for lines.Scan() {
		if !said && strings.HasPrefix(lines.Text(), "Ready in ") {
			said = true
			ready <- nil
		}
	}
}

// editUntilLive changes a file and asks until the answer shows it.
func (c startupConfig) editUntilLive(ctx context.Context, client *websocket.Conn, file, to string) (time.Duration, error) {
	code, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	if !strings.Contains(string(code), c.from) {
		return 0, fmt.Errorf("%s does not contain %q", file, c.from)
	}
	edited := strings.ReplaceAll(string(code), c.from, to)
	defer os.WriteFile(file, code, 0o644) //nolint:errcheck // the next start copies or fails
	saved := time.Now()
	if err := os.WriteFile(file, []byte(edited), 0o644); err != nil {
		return 0, err
	}
	for time.Since(saved) < 30*time.Second {
		answer, err := ask(ctx, client)
		if err != nil {
			return 0, err
		}
		if strings.Contains(answer, to) {
			return time.Since(saved), nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("an edit of %s had no effect within 30 s", file)
}

// ask sends a message that no route takes but $default, and returns its answer.
func ask(ctx context.Context, client *websocket.Conn) (string, error) {
	if err := client.Write(ctx, websocket.MessageText, []byte(`{"action":"help"}`)); err != nil {
		return "", err
	}
	_, answer, err := client.Read(ctx)
	return string(answer), err
}

// copyApp copies an application without what its own runs left.
func copyApp(to, from string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".livegate" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), text, 0o644)
	})
}
