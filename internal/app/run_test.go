package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/storage"
)

// project writes a template into a new directory and returns its Config.
func project(t *testing.T, template string) (cfg Config, file string) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "template.yaml")
	if err := os.WriteFile(file, []byte(template), 0o644); err != nil {
		t.Fatal(err)
	}
	return Config{Path: dir, CacheDir: filepath.Join(dir, "cache")}, file
}

// run starts an application in the background; the context ends it.
func run(t *testing.T, ctx context.Context, a *App) (ready chan client.Status, done chan error) {
	t.Helper()
	ready, done = make(chan client.Status, 1), make(chan error, 1)
	go func() { done <- a.Run(ctx, func(s client.Status) { ready <- s }) }()
	return ready, done
}

// result waits for Run to return.
func result(t *testing.T, done chan error) error {
	t.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("Run does not return")
		return nil
	}
}

// After a crash with many open connections, the next start ran their $disconnect
// first, and Ctrl-C did nothing until the last of them had timed out.
func TestCtrlCEndsTheRecovery(t *testing.T) {
	called := make(chan struct{}, 1)
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		<-r.Context().Done()
	}))
	defer hung.Close()
	cfg, _ := project(t, strings.Replace(mockApp, "%s", "pong", 1)+`
  Ended:
    Type: AWS::ApiGatewayV2::Integration
    Properties: {ApiId: !Ref Api, IntegrationType: HTTP_PROXY, IntegrationMethod: POST, IntegrationUri: '`+hung.URL+`'}
  Disconnect:
    Type: AWS::ApiGatewayV2::Route
    Properties: {ApiId: !Ref Api, RouteKey: $disconnect, Target: !Sub 'integrations/${Ended}'}
`)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := run(t, ctx, New(cfg))
	status := <-ready
	cancel()
	if err := result(t, done); err != nil {
		t.Fatal(err)
	}

	left := id.NewConn(id.NewNodeKey()).String()
	record, err := json.Marshal(map[string]any{"v": 1, "id": left, "api": status.APIs[0].ID, "stage": "dev", "req": id.NewRequest()})
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(cfg.Path, ".livegate", "state.db")
	withJournal(t, state, func(j journal) error { return j.Begin(record, left) })

	ctx, cancel = context.WithCancel(t.Context())
	_, done = run(t, ctx, New(cfg))
	<-called
	cancel()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
	withJournal(t, state, func(j journal) error {
		owed, err := j.Pending()
		if len(owed) != 1 {
			t.Errorf("%d records left for the next start, want 1", len(owed))
		}
		return err
	})
}

func withJournal(t *testing.T, path string, fn func(journal) error) {
	t.Helper()
	db, err := storage.Open(path, storage.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := fn(journal{db}); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

// A start that failed late, because the run file could not be written, returned
// without a word to clients that had come in already: the server went on serving
// them from engines that were closed under it.
func TestAFailedStartLeavesNothingRunning(t *testing.T) {
	cfg, _ := project(t, strings.Replace(mockApp, "%s", "pong", 1))
	if err := os.MkdirAll(cfg.CacheDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.CacheDir, "run"), nil, 0o644); err != nil { // where a directory should be
		t.Fatal(err)
	}
	a := New(cfg)
	if err := a.Run(t.Context(), func(client.Status) { t.Error("ready") }); err == nil || !strings.Contains(err.Error(), "run") {
		t.Errorf("%v", err)
	}
	ours, theirs := net.Pipe()
	a.server.ServeConn(theirs, false)
	if _, err := ours.Read(make([]byte, 1)); err == nil {
		t.Error("the server still serves")
	}
}

// A template whose last step failed had been given to the functions already: they
// were those of the new template, while routes still called those of the old one.
func TestATemplateIsAppliedWholeOrNotAtAll(t *testing.T) {
	const function = `
  %[1]s:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: %[1]s, Runtime: provided.al2023, Handler: bootstrap, Role: x, Code: .}
`
	base := strings.Replace(mockApp, "%s", "pong", 1)
	cfg, file := project(t, base+fmt.Sprintf(function, "Before"))
	if err := os.WriteFile(filepath.Join(cfg.Path, "bootstrap"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := run(t, ctx, a)
	<-ready
	broken := strings.Replace(base, "$request.body.action", `"${request.body"`, 1) + fmt.Sprintf(function, "After")
	if err := os.WriteFile(file, []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	a.changed(ctx, []string{file})
	if f := a.runtime.Functions(); len(f) != 1 || f[0].Name != "Before" {
		t.Errorf("functions after a template that was not applied: %v", f)
	}
	cancel()
	if err := result(t, done); err != nil {
		t.Error(err)
	}
}

// With --host 127.0.0.2 (or a LAN address) nothing listened on 127.0.0.1, which is
// what functions, the status and the run file are told: every AWS call of every
// function was refused.
func TestAnotherAddressIsBoundBesidesLoopback(t *testing.T) {
	r := start(t, Config{Host: "127.0.0.2"})
	if code, body := r.get(r.request("GET", "/_livegate/api/health"), ""); code != http.StatusOK {
		t.Errorf("%s: %d %s", r.status.EndpointURL, code, body)
	}
	c, _, err := websocket.Dial(t.Context(), r.status.APIs[0].Stages[0].WebSocketURL, nil)
	if err != nil || !strings.Contains(r.status.APIs[0].Stages[0].WebSocketURL, "127.0.0.2") {
		t.Fatalf("%s: %v", r.status.APIs[0].Stages[0].WebSocketURL, err)
	}
	c.CloseNow()
}
