package stack

import (
	"context"
	"os"
	"testing"
)

// A project outside of this repository: STACK_PATH names it, and what it becomes
// is logged. Errors among the findings fail.
func TestOutsideProject(t *testing.T) {
	path := os.Getenv("STACK_PATH")
	if path == "" {
		t.Skip("STACK_PATH names no project")
	}
	r, err := Load(context.Background(), Options{Path: path, Stack: os.Getenv("STACK_NAME")})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + summary(r))
	if r.Failed() {
		t.Error("there are errors")
	}
}
