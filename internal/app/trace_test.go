package app

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/livegate/livegate/internal/model"
)

func TestStackTracesNameTheUsersFiles(t *testing.T) {
	code := t.TempDir()
	if err := os.WriteFile(filepath.Join(code, "app.js"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a := New(Config{})
	a.dirs.data = "/p/.livegate"
	a.deployed.Store(&deployed{app: &model.App{Functions: []*model.Function{{Name: "chat-Fn-x1", CodeDir: code}}}})
	const copied = "/p/.livegate/build/fn/chat-Fn-x1/654c0c78/task/"
	for in, want := range map[string]string{
		"    at f (" + copied + "app.js:2:9)":                 "    at f (" + code + "/app.js:2:9)",
		`  File "` + copied + `app.js", line 3`:               `  File "` + code + `/app.js", line 3`,
		"at " + copied + "bundle.js:1:1":                      "at " + copied + "bundle.js:1:1",
		"at " + copied + "app.js:1, " + copied + "app.js:2":   "at " + code + "/app.js:1, " + code + "/app.js:2",
		"build/fn is a path of mine":                          "build/fn is a path of mine",
		"/p/.livegate/build/fn/other-Fn/654c0c78/task/app.js": "/p/.livegate/build/fn/other-Fn/654c0c78/task/app.js",
	} {
		if got := a.atHome(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
