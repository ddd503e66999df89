package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// fails starts livegate dev, which must end by itself with a code and a message.
func (l launch) fails(t *testing.T, code int, patterns ...string) {
	t.Helper()
	g := l.spawn(t)
	if got := g.ends(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(g.out.String()) {
			t.Errorf("the output does not match %q:\n%s", pattern, g.out.tail())
		}
	}
	if strings.Contains(g.out.String(), "goroutine ") {
		t.Errorf("a stack trace is no message:\n%s", g.out.tail())
	}
}

func renameOver(t *testing.T, from, to string) {
	t.Helper()
	beside := to + ".new"
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, beside, string(text))
	if err := os.Rename(beside, to); err != nil {
		t.Fatal(err)
	}
}

func TestStartsThatCannotSucceed(t *testing.T) {
	probe := copyApp(t, "probe")
	t.Run("port in use", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		port := ln.Addr().(*net.TCPAddr).Port
		launch{Dir: probe, Port: port}.fails(t, 1, "port "+strconv.Itoa(port)+" is in use", "--port")
	})
	t.Run("data directory under a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		write(t, file, "")
		launch{Dir: probe, DataDir: filepath.Join(file, "data")}.fails(t, 1, regexp.QuoteMeta(file))
	})
	t.Run("data directory that is not writable", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root writes everywhere; the case above stands in")
		}
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o555); err != nil {
			t.Fatal(err)
		}
		launch{Dir: probe, DataDir: dir}.fails(t, 1, regexp.QuoteMeta(dir), "(?i)writ|permission")
	})
	t.Run("no template", func(t *testing.T) {
		launch{Dir: t.TempDir()}.fails(t, 1, "(?i)template")
	})
	t.Run("no such directory", func(t *testing.T) {
		launch{Dir: filepath.Join(t.TempDir(), "nope")}.fails(t, 2, "no such")
	})
	t.Run("broken YAML", func(t *testing.T) {
		dir := copyApp(t, "probe")
		edit(t, filepath.Join(dir, "template.yaml"), "\nOutputs:\n", "\n  Broken: [\nOutputs:\n")
		launch{Dir: dir}.fails(t, 1, `template\.yaml:\d+`)
	})
	t.Run("missing handler file", func(t *testing.T) {
		dir := copyApp(t, "probe")
		edit(t, filepath.Join(dir, "template.yaml"), "Handler: index.message", "Handler: nowhere.message")
		launch{Dir: dir}.fails(t, 1, `template\.yaml:\d+`, "nowhere")
	})
}

func TestSecondStartOfTheSameState(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	l := p.launch
	l.Port, l.FuncEnv = 0, nil
	l.fails(t, 1, "(?i)already|in use|another")
	s := dial(t, p.url(""), dialing{})
	s.call("echo", "the first one did not notice")
	s.expect("the first one did not notice")
}

func TestDataOfANewerVersion(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	p.stop()
	// The format number is whatever the store wrote; a newer one is greater. It is
	// found by its name, because this test must not know more.
	db, err := bolt.Open(filepath.Join(p.launch.DataDir, "state.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	raised := 0
	err = db.Update(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			for _, key := range []string{"format", "version"} {
				if value := b.Get([]byte(key)); value != nil {
					raised++
					return b.Put([]byte(key), newer(value))
				}
			}
			return nil
		})
	})
	if err != nil || raised != 1 {
		t.Fatalf("raised %d format numbers, %v", raised, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l := p.launch
	l.Port, l.FuncEnv = 0, nil
	l.fails(t, 1, "(?i)newer")
}

// newer is the format number with its most significant digit or byte raised.
func newer(value []byte) []byte {
	if n, err := strconv.Atoi(string(value)); err == nil {
		return []byte(strconv.Itoa(n + 1000))
	}
	raised := append([]byte{}, value...)
	raised[0] = 0x7f
	return raised
}

func TestStatusAndReset(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	t.Run("status", func(t *testing.T) {
		p := p.in(t)
		out, code := command(t, "status", "--json", "--data-dir", p.launch.DataDir)
		var s map[string]any
		if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil {
			t.Fatalf("exit code %d, %v in %s", code, err, out)
		}
		for _, name := range []string{"stack", "region", "accountId", "endpointUrl", "caFile", "apis", "functions", "tables", "outputs", "ready"} {
			if s[name] == nil {
				t.Errorf("no %s in %s", name, out)
			}
		}
		if p.status.Outputs["TableName"] != "probe-items" || len(p.status.Functions) != 4 {
			t.Errorf("status %+v", p.status)
		}
		if out, code := command(t, "status", "--data-dir", p.launch.DataDir); code != 0 || !strings.Contains(out, p.stage("test").WebSocketURL) {
			t.Errorf("status for people: exit code %d\n%s", code, out)
		}
	})
	t.Run("invoke", func(t *testing.T) {
		p := p.in(t)
		payload := `{"kind":"post","tag":"invoked","endpoint":"https://x.execute-api.us-east-1.amazonaws.com/test","connectionId":"x","data":"x"}`
		if out, code := command(t, "invoke", "probe-poster", "--payload", payload, "--data-dir", p.launch.DataDir); code != 0 {
			t.Logf("exit code %d\n%s", code, out)
		}
		p.recorded("post", "invoked")
	})
	t.Run("reset refuses while it runs", func(t *testing.T) {
		p := p.in(t)
		if out, code := command(t, "reset", "--yes", "--data-dir", p.launch.DataDir); code == 0 {
			t.Errorf("reset succeeded under a running instance:\n%s", out)
		}
	})
	t.Run("reset clears", func(t *testing.T) {
		p := p.in(t)
		p.stop()
		if out, code := command(t, "status", "--json", "--data-dir", p.launch.DataDir); code != 3 {
			t.Errorf("status of what does not run: exit code %d\n%s", code, out)
		}
		if out, code := command(t, "reset", "--yes", "--data-dir", p.launch.DataDir); code != 0 {
			t.Fatalf("exit code %d\n%s", code, out)
		}
		if _, err := os.Stat(filepath.Join(p.launch.DataDir, "state.db")); !os.IsNotExist(err) {
			t.Errorf("state.db is still there (%v)", err)
		}
	})
}

// connect as a script uses it: lines in, frames out, an exit code.
func TestConnectCommand(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), frameWithin)
	defer cancel()
	cmd := livegate(ctx, "connect", p.url("mode=protocol&protocol=v2&tag=cli"), "--subprotocol", "v2", "-H", "X-Token: secret")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stdin, `{"action":"echo","data":"hello from a pipe"}`+"\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, frameWithin, func() error {
		if !strings.Contains(out.String(), "hello from a pipe") {
			return fmt.Errorf("no answer in %q", out)
		}
		return nil
	})
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if !strings.Contains(string(p.recorded("connect", "cli").Event), `"X-Token":"secret"`) {
		t.Error("the header did not arrive")
	}
	if out, code := command(t, "connect", p.url("mode=status&status=403")); code != 1 || !strings.Contains(out, "403") {
		t.Errorf("a refused handshake: exit code %d\n%s", code, out)
	}
}

func TestValidate(t *testing.T) {
	dir := copyApp(t, "probe")
	if out, code := command(t, "validate", dir); code != 0 {
		t.Errorf("a good template: exit code %d\n%s", code, out)
	}
	edit(t, filepath.Join(dir, "template.yaml"), "TABLE_NAME: !Ref Items", "TABLE_NAME: !Ref Itmes")
	out, code := command(t, "validate", dir)
	if code != 1 || !regexp.MustCompile(`template\.yaml:\d+`).MatchString(out) || !strings.Contains(out, "Itmes") {
		t.Errorf("a bad reference: exit code %d\n%s", code, out)
	}
}
