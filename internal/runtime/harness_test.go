package runtime

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stand is a runtime with one function per test, and its log.
type stand struct {
	*Runtime
	t   *testing.T
	dir string // the user's tree
	app *model.App

	mu   sync.Mutex
	logs []model.LogLine
	seen chan struct{} // one token per line, capacity 1
}

// need skips when a tool is absent.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed: %v", tool, err)
	}
}

// newStand writes files ("app/index.js" → text) and deploys the functions, whose
// CodeDir is relative to them.
func newStand(t *testing.T, cfg Config, files map[string]string, functions ...*model.Function) *stand {
	t.Helper()
	s := prepareStand(t, cfg, files, functions...)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	return s
}

func prepareStand(t *testing.T, cfg Config, files map[string]string, functions ...*model.Function) *stand {
	t.Helper()
	s := &stand{t: t, dir: t.TempDir(), seen: make(chan struct{}, 1)}
	for name, text := range files {
		s.write(name, text)
	}
	for _, fn := range functions {
		complete(fn, s.dir)
	}
	s.app = &model.App{Region: "eu-west-1", AccountID: "123456789012", Functions: functions}
	if cfg.DataDir == "" {
		cfg.DataDir = filepath.Join(t.TempDir(), ".livegate")
	}
	if cfg.CacheDir == "" {
		cfg.CacheDir = t.TempDir()
	}
	cfg.Logs = func(l model.LogLine) {
		s.mu.Lock()
		s.logs = append(s.logs, l)
		s.mu.Unlock()
		select {
		case s.seen <- struct{}{}:
		default:
		}
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Runtime = r
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		r.Close(ctx)
	})
	return s
}

// complete fills in what tests do not care about.
func complete(fn *model.Function, dir string) {
	if fn.Name == "" {
		fn.Name = "fn"
	}
	fn.LogicalID = fn.Name
	fn.ARN = "arn:aws:lambda:eu-west-1:123456789012:function:" + fn.Name
	if fn.Runtime == "" {
		fn.Runtime = "nodejs20.x"
	}
	if fn.Handler == "" {
		fn.Handler = "index.handler"
	}
	if fn.Inline == "" && fn.CodeFile == "" {
		fn.CodeDir = filepath.Join(dir, fn.CodeDir)
	}
	if fn.Timeout == 0 {
		fn.Timeout = 20 * time.Second
	}
	if fn.Reserved == 0 {
		fn.Reserved = -1
	}
}

func (s *stand) write(name, text string) {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// call invokes a function that is expected to be known.
func (s *stand) call(function, payload string) model.InvokeResult {
	s.t.Helper()
	res, err := s.Invoke(s.t.Context(), model.Invocation{Function: function, Payload: []byte(payload)})
	if err != nil {
		s.t.Fatalf("Invoke(%s): %v", function, err)
	}
	return res
}

// want invokes and compares the answer.
func (s *stand) want(function, payload, answer string) {
	s.t.Helper()
	res := s.call(function, payload)
	if res.FunctionError != "" || string(res.Payload) != answer {
		s.t.Fatalf("%s(%s) = %s %s, want %s\nlog:\n%s", function, payload, res.FunctionError, res.Payload, answer, s.text())
	}
}

type errorBody struct {
	Type    string   `json:"errorType"`
	Message string   `json:"errorMessage"`
	Trace   []string `json:"trace"`
	Stack   []string `json:"stackTrace"`
}

// wantError invokes and expects an error of a type whose message contains text.
func (s *stand) wantError(function, payload, kind, text string) errorBody {
	s.t.Helper()
	return checkError(s, s.call(function, payload), kind, text)
}

func checkError(s *stand, res model.InvokeResult, kind, text string) errorBody {
	s.t.Helper()
	var body errorBody
	if err := json.Unmarshal(res.Payload, &body); err != nil {
		s.t.Fatalf("the error is not JSON: %s", res.Payload)
	}
	if res.FunctionError != "Unhandled" || body.Type != kind || res.ErrorType != kind || !strings.Contains(body.Message, text) {
		s.t.Fatalf("got %q %s, want %s %q\nlog:\n%s", res.FunctionError, res.Payload, kind, text, s.text())
	}
	return body
}

func (s *stand) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, l := range s.logs {
		b.WriteString(l.Level + " " + l.Source + " " + l.RequestID + " " + l.Text + "\n")
	}
	return b.String()
}

// line waits for a log line that contains text.
func (s *stand) line(text string) model.LogLine {
	s.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		s.mu.Lock()
		for _, l := range s.logs {
			if strings.Contains(l.Text, text) {
				s.mu.Unlock()
				return l
			}
		}
		s.mu.Unlock()
		select {
		case <-s.seen:
		case <-deadline:
			s.t.Fatalf("no log line with %q in:\n%s", text, s.text())
		}
	}
}

func js(code string) map[string]string { return map[string]string{"index.js": code} }

// until waits for a condition that nothing announces.
func (s *stand) until(condition func() bool) {
	s.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("the condition did not come true; log:\n%s", s.text())
		}
	}
}
