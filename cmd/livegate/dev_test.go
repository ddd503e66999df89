package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/terminal"
)

var update = flag.Bool("update", false, "rewrite testdata/startup.txtar from what the code does now")

func chat() client.Status {
	return client.Status{
		Stack: "simple-websockets-chat", Region: "eu-west-1", AccountID: "123456789012", EndpointURL: "http://127.0.0.1:3001",
		CAFile: "/home/ada/.local/share/livegate/ca/ca.pem", Ready: true, PID: 4711, Version: "v0.1.0",
		APIs: []client.API{{ID: "k3v9x1m2qz", Name: "SimpleChatWebSocket", Stages: []client.Stage{
			{Name: "Prod", WebSocketURL: "ws://localhost:3001/Prod", SecureWebSocketURL: "wss://localhost:3001/Prod", ManagementURL: "http://localhost:3001/Prod"}}}},
		Functions: []client.Function{
			{Name: "simple-websockets-chat-OnConnectFunction-1A2B", LogicalID: "OnConnectFunction", Runtime: "nodejs16.x", RunsOn: "Node 20.20.2, the nearest installed one"},
			{Name: "simple-websockets-chat-SendMessageFunction-3C4D", LogicalID: "SendMessageFunction", Runtime: "provided.al2023", RunsOn: "its own bootstrap"},
		},
		Tables:  []client.Table{{Name: "simplechat_connections", HashKey: "connectionId", RangeKey: "room", Indexes: []string{"byRoom", "byUser"}}, {Name: "plain", HashKey: "id"}},
		Outputs: map[string]string{"WebSocketURI": "wss://k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com/Prod", "A": "1"},
		Findings: []client.Finding{
			{Severity: "note", Message: "No effect locally: IAM::Role (2).", Pos: model.Pos{File: "testdata/chat.yaml", Line: 3}},
			{Severity: "warning", Message: "Authorizers are not executed yet.", Hint: "Every client is let in.", Resource: "Auth", Pos: model.Pos{File: "testdata/chat.yaml", Line: 2, Col: 3}},
		},
	}
}

// The first screen of dev, in 80 columns and in a narrow terminal.
func TestStartup(t *testing.T) {
	path := filepath.Join("testdata", "startup.txtar")
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range archive.Files {
		look := terminal.Look{Columns: map[string]int{"80 columns": 80, "50 columns": 50}[f.Name]}
		got := startup(look, chat(), (&cli{}).sources(""), 1300*time.Millisecond)
		if f.Name == "80 columns" {
			for line := range strings.Lines(got) {
				if len([]rune(strings.TrimRight(line, "\n"))) > 80 && !strings.Contains(line, "://") {
					t.Errorf("wider than 80 columns: %q", line)
				}
			}
		}
		if *update {
			archive.Files[i].Data = []byte(got)
		} else if got != string(f.Data) {
			t.Errorf("%s: got\n%s\nwant\n%s", f.Name, got, f.Data)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// stub is a cli whose application is a function.
func stub(t *testing.T, serve func(context.Context, app.Config, func(client.Status)) error) (c *cli, out, errs *bytes.Buffer) {
	t.Helper()
	home := t.TempDir()
	out, errs = &bytes.Buffer{}, &bytes.Buffer{}
	return &cli{in: strings.NewReader(""), out: out, err: errs, serve: serve,
		getenv: func(k string) string {
			if k == "HOME" {
				return home
			}
			return ""
		},
		look: func(any) terminal.Look { return terminal.Look{} }}, out, errs
}

func TestDevShowsStepsThenTheTableThenTheLog(t *testing.T) {
	dir := t.TempDir()
	var got app.Config
	c, out, errs := stub(t, func(_ context.Context, cfg app.Config, ready func(client.Status)) error {
		got = cfg
		cfg.Progress(app.Progress{Step: "build OnConnect"})
		cfg.Progress(app.Progress{Step: "build OnConnect", Done: true, Took: 2 * time.Second})
		ready(chat())
		cfg.Logs(model.LogLine{At: time.Now(), Level: "info", Source: "simple-websockets-chat-OnConnectFunction-1A2B", RequestID: "1f2e3d4c-5b6a", Text: "hello\n"})
		return nil
	})
	code := c.execute(t.Context(), []string{"dev", dir, "--port", "4000", "--time-scale", "60", "--map-host", "API.example.org=127.0.0.1:9000",
		"--aws-passthrough", "s3,ses", "--allow-host", "x.example", "--no-watch", "--offline",
		"--management", "9090", "--pprof", "--grace", "7s", "--heartbeat", "0", "--engine", "portable",
		"--max-connections", "100", "--max-connections-per-ip", "10", "--handshake-rate", "5.5", "--handshake-rate-per-ip", "0.5", "--parameter-overrides", "A=1", "B=2"})
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	text := out.String()
	order := []string{"build OnConnect …", "✓ build OnConnect  2.0 s", "ws://localhost:3001/Prod", "Ready in", "OnConnectFunction    1f2e3d4c  hello"}
	at := 0
	for _, want := range order {
		i := strings.Index(text[at:], want)
		if i < 0 {
			t.Fatalf("%q does not follow:\n%s", want, text)
		}
		at += i
	}
	if strings.ContainsRune(text, 0x1b) {
		t.Error("escape sequences on a plain output")
	}
	if got.Path != dir || got.Port != 4000 || got.TimeScale != 60 || got.MapHosts["api.example.org"] != "127.0.0.1:9000" || len(got.Passthrough) != 2 ||
		got.AllowHosts[0] != "x.example" || got.Watch || !got.Offline || got.Parameters["A"] != "1" || got.Parameters["B"] != "2" ||
		got.Profile != "aws" || got.DataDir != filepath.Join(dir, ".livegate") || got.CacheDir == "" || got.Getenv == nil {
		t.Errorf("the application got %+v", got)
	}
	if got.Management != "9090" || !got.Profiling || got.ManagementToken != "" || got.Grace != 7*time.Second || got.Heartbeat >= 0 || got.Engine != "portable" ||
		got.Rates != (conn.Rates{Conns: 100, ConnsPerIP: 10, Handshakes: 5.5, HandshakesPerIP: 0.5}) {
		t.Errorf("the application got %+v", got)
	}
}

func TestDevEndsWithTheRightCode(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   error
		stop  bool
		code  int
		shows string
	}{
		{"a clean stop", nil, true, 0, ""},
		{"interrupted while starting", context.Canceled, true, 0, ""},
		{"a failed stop", errors.New("cannot close the table"), true, 1, "cannot close the table"},
		{"errors in the template", &client.FindingsError{Findings: []client.Finding{{Severity: "error", Message: "no such thing", Pos: model.Pos{File: "testdata/chat.yaml", Line: 2, Col: 3}}}}, false, 1, "2 |   Auth: here"},
		{"our own fault", fault.New(fault.NotFound, "no template in x"), false, 1, "error: no template in x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cli, out, errs := stub(t, func(ctx context.Context, _ app.Config, ready func(client.Status)) error {
				if c.stop {
					cancel(errInterrupted)
					<-ctx.Done()
				}
				return c.err
			})
			if code := cli.execute(ctx, []string{"dev"}); code != c.code {
				t.Errorf("exit code %d, want %d\n%s%s", code, c.code, out, errs)
			}
			if !strings.Contains(errs.String(), c.shows) {
				t.Errorf("shows %q, want %q", errs, c.shows)
			}
		})
	}
}

func TestAPortInUseNamesItsHolder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	if got := portHolder(port); !strings.Contains(got, "(pid ") {
		t.Errorf("the holder of port %d is %q", port, got)
	}
	err = withPortHolder(fault.New(fault.Conflict, "port in use"), port)
	if !strings.Contains(err.Error(), "(pid ") || !strings.Contains(err.Error(), "--port") {
		t.Error(err)
	}
	ln.Close()
	if got := portHolder(port); got != "" {
		t.Errorf("a free port is held by %q", got)
	}
	if other := errors.New("x"); withPortHolder(other, port) != other {
		t.Error("another error was changed")
	}
}
