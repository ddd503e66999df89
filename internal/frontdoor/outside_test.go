package frontdoor

import (
	"context"
	"os"
	"testing"
)

// A project outside of this repository: FRONTDOOR_PATH names it; FRONTDOOR_DATA
// is where a packager may be installed.
func TestOutsideProject(t *testing.T) {
	path := os.Getenv("FRONTDOOR_PATH")
	if path == "" {
		t.Skip("FRONTDOOR_PATH names no project")
	}
	r, err := Prepare(context.Background(), Config{Path: path, DataDir: os.Getenv("FRONTDOOR_DATA"), Say: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s %s ran=%v\nrun from: %v\nwatched: %d files", r.Kind, r.Path, r.Ran, r.Sources, len(r.Watch))
	for _, f := range r.Findings {
		t.Logf("%s:%d: %s: %s [%s] %s", f.Pos.File, f.Pos.Line, f.Severity, f.Message, f.Code, f.Hint)
	}
}
