package terminal

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestStepsOnAPlainOutput(t *testing.T) {
	var out strings.Builder
	s := NewScreen(&out, Look{})
	s.Step("install SDKs", "aws-sdk 2.1692.0")
	s.Step("install SDKs", "@aws-sdk/client-dynamodb") // another detail is no new line
	s.Done("install SDKs", "", 12*time.Second, nil)
	s.Step("build OnConnect", "")
	s.Done("build OnConnect", "", time.Second, errors.New("npm failed\nexit status 1"))
	s.Close()
	want := "  · install SDKs  aws-sdk 2.1692.0 …\n  ✓ install SDKs  12 s\n  · build OnConnect …\n  ✗ build OnConnect: npm failed\nexit status 1\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

// screenful replays what a terminal shows after cursor-up and erase-below, the only
// movements that Screen makes.
func screenful(t *testing.T, out string) []string {
	t.Helper()
	lines := []string{""}
	for len(out) > 0 {
		switch {
		case strings.HasPrefix(out, "\x1b["):
			n, sgr := sequence(out)
			seq := out[:n]
			out = out[n:]
			var up int
			switch {
			case sgr:
			case seq == "\x1b[J":
				lines = lines[:len(lines)-1]
				lines = append(lines, "")
			default:
				if _, err := fmt.Sscanf(seq, "\x1b[%dA", &up); err != nil || up >= len(lines) {
					t.Fatalf("unexpected movement %q with %d lines", seq, len(lines))
				}
				lines = append(lines[:len(lines)-1-up], "")
			}
		case out[0] == '\n':
			lines = append(lines, "")
			out = out[1:]
		case out[0] == '\r':
			out = out[1:]
		default:
			lines[len(lines)-1] += out[:1]
			out = out[1:]
		}
	}
	return lines
}

func TestSpinnerStandsBelowTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuilder
		s := NewScreen(&out, Look{Interactive: true, Columns: 60})
		s.Step("build OnConnect", strings.Repeat("long detail ", 20))
		s.Step("install SDKs", "")
		time.Sleep(3500 * time.Millisecond) // frames pass; the waiting time appears
		s.Log(Entry{At: at(0), Level: "info", Source: "gateway", Text: "first"})
		s.Print("second\n")
		synctest.Wait()
		lines := screenful(t, out.String())
		if len(lines) != 5 || !strings.Contains(lines[0], "first") || lines[1] != "second" ||
			!strings.Contains(lines[2], "build OnConnect") || !strings.Contains(lines[3], "install SDKs  3.5 s") {
			t.Errorf("the screen shows\n%s", strings.Join(lines, "\n"))
		}
		if columns(lines[2]) > 60 {
			t.Errorf("a step is %d columns wide", columns(lines[2]))
		}
		s.Done("build OnConnect", "", 4*time.Second, nil)
		s.Close()
		s.Print("after\n")
		lines = screenful(t, out.String())
		if len(lines) != 5 || lines[2] != "  ✓ build OnConnect  4.0 s" || lines[3] != "after" {
			t.Errorf("after Close the screen shows\n%s", strings.Join(lines, "\n"))
		}
	})
}

func TestScreenIsSafeForManyWriters(t *testing.T) {
	var out safeBuilder
	s := NewScreen(&out, Look{Interactive: true, Columns: 80})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprint("step ", i)
			for range 50 {
				s.Step(name, "x")
				s.Log(Entry{At: at(0), Source: name, Text: "line"})
				s.Done(name, "", time.Millisecond, nil)
			}
		})
	}
	all.Wait()
	s.Close()
	lines := screenful(t, out.String())
	if n := len(lines) - 1; n != 8*50*2 {
		t.Errorf("%d lines are left on the screen, want 800", n)
	}
}

type safeBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
