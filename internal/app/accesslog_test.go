package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestAccessLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	if err := os.WriteFile(path, []byte("from before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openAccessLog(path)
	if err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 500
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				l.add(fmt.Sprintf("w%d line %d", w, i))
			}
		})
	}
	wg.Wait()
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l.add("too late")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if lines[0] != "from before" || len(lines)-1+int(l.lost.Load())-1 != writers*each || strings.Contains(string(text), "too late") {
		t.Fatalf("%d lines and %d lost of %d; first %q", len(lines)-1, l.lost.Load(), writers*each, lines[0])
	}
	next := map[string]int{}
	for _, line := range lines[1:] {
		var w, i int
		if _, err := fmt.Sscanf(line, "w%d line %d", &w, &i); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if key := fmt.Sprint(w); i < next[key] {
			t.Fatalf("line %d of writer %d after line %d", i, w, next[key])
		} else {
			next[key] = i + 1
		}
	}
}

// A disk that is full, or a reader of a pipe that does not read, costs lines and
// nothing else.
func TestAccessLogThatCannotBeWritten(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	l, err := openAccessLog("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * accessLines {
		l.add("a line")
	}
	_ = l.close()
	if l.lost.Load() == 0 {
		t.Error("nothing was counted as lost")
	}
	if _, err := openAccessLog(filepath.Join(t.TempDir(), "none", "access.log")); err == nil || !strings.Contains(err.Error(), "--access-log") {
		t.Errorf("a directory that is not there: %v", err)
	}
}
