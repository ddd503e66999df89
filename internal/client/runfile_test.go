package client

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunFileComesAndGoes(t *testing.T) {
	data, cache := filepath.Join(t.TempDir(), ".livegate"), t.TempDir()
	if _, err := Find(data, cache); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("before: %v", err)
	}
	if err := WriteRunFile(data, cache, RunFile{URL: "http://127.0.0.1:3001", Token: "t", Stack: "chat"}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(data, "run.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("run.json: %v, %v; only its owner may read the token", info.Mode(), err)
	}
	got, err := ReadRunFile(data)
	if err != nil || got.PID != os.Getpid() || got.Stack != "chat" || got.StartedAt.IsZero() || got.DataDir != data {
		t.Errorf("%+v, %v", got, err)
	}
	elsewhere := filepath.Join(t.TempDir(), ".livegate")
	if got, err = Find(elsewhere, cache); err != nil || got.DataDir != data {
		t.Errorf("from elsewhere: %+v, %v", got, err)
	}
	if _, err := Find(elsewhere, ""); !errors.Is(err, ErrNotRunning) {
		t.Errorf("from elsewhere without the index: %v", err)
	}
	if err := RemoveRunFile(data, cache); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(data, cache); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after: %v", err)
	}
	if err := RemoveRunFile(data, cache); err != nil {
		t.Errorf("twice: %v", err)
	}
}

// The story: `livegate dev` is killed with -9. Its run.json stays. Days later the
// pid belongs to another process, and reset refuses to run, for ever.
func TestStaleRunFiles(t *testing.T) {
	cache := t.TempDir()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(t.TempDir(), "dead")
	if err := WriteRunFile(dead, cache, RunFile{PID: gone.Process.Pid, Stack: "dead", Birth: "1"}); err != nil {
		t.Fatal(err)
	}
	reused := filepath.Join(t.TempDir(), "reused")
	if err := WriteRunFile(reused, "", RunFile{PID: os.Getpid(), Stack: "reused", Birth: "1"}); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dead, reused} {
		if r, err := ReadRunFile(dir); !errors.Is(err, ErrNotRunning) {
			t.Errorf("%s: %+v, %v", dir, r, err)
		}
	}
	if all, err := List(cache); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, "run", "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("stale index entries were not swept: %v, %v", left, err)
	}
	if err := RemoveRunFile(dead, cache); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dead, "run.json")); err != nil {
		t.Error("the run file of another process was removed")
	}
}

func TestSeveralInstancesMustBeNamed(t *testing.T) {
	cache := t.TempDir()
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	for _, r := range []RunFile{{Stack: "one"}, {Stack: "two", PID: other.Process.Pid}} {
		if err := WriteRunFile(filepath.Join(t.TempDir(), r.Stack), cache, r); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Find(t.TempDir(), cache)
	if !errors.Is(err, ErrAmbiguous) || !strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two") {
		t.Errorf("%v", err)
	}
}

func TestDamagedRunFileIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRunFile(dir); err == nil || errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "run.json") {
		t.Errorf("%v", err)
	}
}

func TestWaitGone(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	born, _ := birth(child.Process.Pid)
	r := RunFile{PID: child.Process.Pid, Birth: born}
	if !r.Alive() {
		t.Fatal("a running child counts as gone")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.WaitGone(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while it runs: %v", err)
	}
	_ = child.Process.Kill()
	// Nobody has waited for it yet, as in a container without an init: its pid is
	// still there, and it is gone all the same.
	if err := r.WaitGone(t.Context()); err != nil {
		t.Errorf("after its end: %v", err)
	}
	_ = child.Wait()
}

func TestDefaultDirs(t *testing.T) {
	dir := t.TempDir()
	template := filepath.Join(dir, "app.yaml")
	if err := os.WriteFile(template, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, template} {
		if got, err := DefaultDataDir(path); err != nil || got != filepath.Join(dir, ".livegate") {
			t.Errorf("%s: %s, %v", path, got, err)
		}
	}
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/livegate"},
		{map[string]string{"HOME": "/h"}, "/h/.local/share/livegate"},
		{map[string]string{"XDG_DATA_HOME": "relative", "HOME": "/h"}, "/h/.local/share/livegate"},
		{map[string]string{}, ""},
	} {
		if got, err := DefaultCacheDir(env(c.env)); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%v: %q, %v", c.env, got, err)
		}
	}
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>hi</h1>", 404) }))
	url := srv.URL
	c := &Client{Run: RunFile{URL: url, Token: "very-secret"}}
	if _, err := c.Status(t.Context()); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "404") {
		t.Errorf("another server: %v", err)
	}
	srv.Close()
	_, err := c.Invoke(t.Context(), model.Invocation{Function: "f"})
	if !fault.Is(err, fault.Unavailable) || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("the caller's reason")
	cancel(want)
	if _, err := c.Status(ctx); !errors.Is(err, want) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFindingsErrorCounts(t *testing.T) {
	e := &FindingsError{Findings: []Finding{
		{Severity: SeverityWarning, Message: "w"},
		{Severity: SeverityError, Message: "first", Pos: model.Pos{File: "t.yaml", Line: 3}},
		{Severity: SeverityError, Message: "second"}, {Severity: SeverityError, Message: "third"},
	}}
	for n, want := range map[int]string{1: "the template was rejected", 2: "t.yaml:3: first", 3: "t.yaml:3: first (and 1 more error)", 4: "t.yaml:3: first (and 2 more errors)"} {
		if got := (&FindingsError{Findings: e.Findings[:n]}).Error(); got != want {
			t.Errorf("%d findings: %q, want %q", n, got, want)
		}
	}
}
