package terminal

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// stalled is a terminal on which somebody holds Ctrl-S until release is closed.
type stalled struct {
	release chan struct{}
	mu      sync.Mutex
	text    strings.Builder
}

func (s *stalled) Write(p []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

// The log was once written to the terminal inside the path of a message: a
// terminal that stood still stopped every connection.
func TestAStalledTerminalHoldsUpNobody(t *testing.T) {
	w := &stalled{release: make(chan struct{})}
	s := NewScreen(w, Look{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2*maxEntries + 1 {
			s.Log(Entry{At: time.Unix(0, 0), Source: "fn", Text: fmt.Sprint("line ", i)})
		}
	}()
	<-done // would hang
	close(w.release)
	s.Print("the end\n")
	s.Close()
	text := w.text.String()
	if !strings.Contains(text, "line 0\n") || !strings.Contains(text, "log lines are not shown") {
		t.Fatalf("%.300s … %s", text, text[max(0, len(text)-300):])
	}
	if strings.Index(text, "line 0\n") > strings.Index(text, "line 1\n") || !strings.HasSuffix(text, "the end\n") {
		t.Fatal("out of order")
	}
}

func TestWhatIsLoggedBeforeAndAfterCloseIsShown(t *testing.T) {
	w := &stalled{release: make(chan struct{})}
	close(w.release)
	s := NewScreen(w, Look{})
	s.Log(Entry{Source: "fn", Text: "before"})
	s.Close()
	s.Log(Entry{Source: "fn", Text: "after"})
	if text := w.text.String(); !strings.Contains(text, "before") || !strings.HasSuffix(text, "after\n") {
		t.Fatal(text)
	}
}
