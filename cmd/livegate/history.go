package main

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// maxHistory is how many lines are remembered.
const maxHistory = 500

// history remembers lines typed to connect, newest last, in a file that only the
// user can read: people type tokens into test clients.
type history struct {
	lines []string
	path  string // "" remembers for this run only
}

// openHistory reads the history. The result is usable also with an error.
func openHistory(c *cli) (*history, error) {
	_, cache, err := c.dirs("")
	if err != nil {
		return &history{}, err
	}
	h := &history{path: filepath.Join(cache, "connect-history")}
	text, err := os.ReadFile(h.path)
	if os.IsNotExist(err) {
		return h, nil
	}
	if err != nil {
		return &history{}, err
	}
	for line := range strings.Lines(string(text)) {
		h.Add(strings.TrimRight(line, "\n"))
	}
	return h, nil
}

func (h *history) close() {
	if h.path == "" || len(h.lines) == 0 {
		return
	}
	// A history that cannot be saved is not worth a message on the way out.
	if os.MkdirAll(filepath.Dir(h.path), 0o700) == nil {
		_ = os.WriteFile(h.path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
	}
}

// Add keeps a line unless it is empty or repeats the last one.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > maxHistory {
		h.lines = append([]string(nil), h.lines[len(h.lines)-maxHistory:]...)
	}
}

// Len is how many lines At can return.
func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

var _ term.History = (*history)(nil)
