package runtime

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// goClient is a small client of the Runtime API, so that tests need no module
// from the network.
const goClient = `package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/"
	if os.Getenv("FAIL_INIT") != "" {
		http.Post(api+"init/error", "application/json", strings.NewReader("{\"errorType\":\"Mine\",\"errorMessage\":\"no init today\"}"))
		os.Exit(1)
	}
	post := func(path string, body io.Reader) {
		res, err := http.Post(api+path, "application/json", body)
		if err != nil {
			os.Exit(1)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	for {
		res, err := http.Get(api + "invocation/next")
		if err != nil {
			os.Exit(1)
		}
		event, _ := io.ReadAll(res.Body)
		res.Body.Close()
		id := "invocation/" + res.Header.Get("Lambda-Runtime-Aws-Request-Id")
		switch string(event) {
		case "\"error\"":
			post(id+"/error", strings.NewReader("{\"errorType\":\"E\",\"errorMessage\":\"m\"}"))
		case "\"large\"":
			post(id+"/response", bytes.NewReader(make([]byte, 6<<20+1)))
		case "\"stream\"":
			r, w := io.Pipe()
			go func() { fmt.Fprint(w, "[1,"); fmt.Fprint(w, "2]"); w.Close() }()
			post(id+"/response", r)
		case "\"exit\"":
			os.Exit(2)
		case "\"hang\"":
			select {}
		case "\"reply then exit\"":
			post(id+"/response", strings.NewReader("1"))
			os.Exit(0)
		case "\"headers\"":
			post(id+"/response", strings.NewReader("\""+res.Header.Get("Lambda-Runtime-Invoked-Function-Arn")+" "+res.Header.Get("Lambda-Runtime-Trace-Id")[:5]+"\""))
		case "\"print\"":
			fmt.Println("printed by go")
			post(id+"/response", strings.NewReader("null"))
		default:
			post(id+"/response", bytes.NewReader(event))
		}
	}
}
`

func goFunction(env map[string]string) *model.Function {
	return &model.Function{Runtime: "provided.al2023", Handler: "bootstrap", Env: env}
}

var goFiles = map[string]string{"go.mod": "module echo\n\ngo 1.21\n", "main.go": goClient}

func TestGoFunction(t *testing.T) {
	need(t, "go")
	fn := goFunction(nil)
	fn.Timeout = 2 * time.Second
	s := newStand(t, Config{}, goFiles, fn)
	s.want("fn", `{"a":1}`, `{"a":1}`)
	s.want("fn", `"stream"`, `[1,2]`)
	s.want("fn", `"headers"`, `"`+fn.ARN+` Root="`)
	s.wantError("fn", `"error"`, "E", "m")
	s.wantError("fn", `"large"`, "Function.ResponseSizeTooLarge", "exceeded")
	s.want("fn", `"print"`, "null")
	s.line("printed by go")
	if n := s.Functions()[0].Workers; n != 1 {
		t.Errorf("%d workers so far, want 1", n)
	}
	s.wantError("fn", `"exit"`, "Runtime.ExitError", "exit status 2")
	s.wantError("fn", `"hang"`, "Sandbox.Timedout", "Task timed out after 2.00 seconds")
	// A process that leaves right after its answer: the next invocation may meet
	// it dying, and must not notice.
	for range 20 {
		s.want("fn", `"reply then exit"`, "1")
	}
	s.want("fn", `2`, `2`)
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 2 {
		t.Errorf("the user's tree changed: %v %v", entries, err)
	}
}

func TestGoInitError(t *testing.T) {
	need(t, "go")
	s := newStand(t, Config{}, goFiles, goFunction(map[string]string{"FAIL_INIT": "1"}))
	s.wantError("fn", "{}", "Mine", "no init today")
}

func TestGoDoesNotCompile(t *testing.T) {
	need(t, "go")
	s := prepareStand(t, Config{}, map[string]string{"go.mod": "module x\n\ngo 1.21\n", "main.go": "package main\nfunc main() { undefinedThing() }\n"}, goFunction(nil))
	err := s.Deploy(t.Context(), s.app)
	if err == nil || !strings.Contains(err.Error(), "undefinedThing") || !strings.Contains(err.Error(), "main.go:2") {
		t.Fatalf("err = %v, want the compiler's message", err)
	}
	_, err = s.Invoke(t.Context(), model.Invocation{Function: "fn"})
	if err == nil || !strings.Contains(err.Error(), "undefinedThing") {
		t.Fatalf("Invoke = %v, want why it cannot run", err)
	}
}

// A shell script is a runtime too, as is any executable named bootstrap.
func TestScriptBootstrap(t *testing.T) {
	need(t, "curl")
	s := newStand(t, Config{}, map[string]string{"bootstrap": `#!/bin/sh
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
	headers=$(mktemp)
	event=$(curl -sS -D "$headers" "$api/next") || exit 1
	id=$(grep -i lambda-runtime-aws-request-id "$headers" | tr -d '\r' | cut -d' ' -f2)
	rm "$headers"
	curl -sS -X POST "$api/$id/response" -d "$event" >/dev/null || exit 1
done
`}, goFunction(nil))
	s.want("fn", `{"sh":true}`, `{"sh":true}`)
	s.want("fn", `2`, `2`)
}

func TestMakefileBuildsOnACopy(t *testing.T) {
	need(t, "make")
	need(t, "node")
	s := newStand(t, Config{}, map[string]string{
		"Makefile": "build-fn:\n\techo 'exports.handler = async () => \"made\";' > made.js\n\tcp made.js $(ARTIFACTS_DIR)/index.js\n",
	}, &model.Function{Build: model.Build{Method: "makefile"}})
	s.want("fn", "{}", `"made"`)
	if _, err := os.Stat(filepath.Join(s.dir, "made.js")); err == nil {
		t.Error("make wrote into the user's tree")
	}
}

// "npm ci" in a Makefile empties node_modules. The copy that make ran on had a
// link there, and the user's packages were gone.
func TestMakefileGetsPackagesOfItsOwn(t *testing.T) {
	need(t, "make")
	need(t, "node")
	s := prepareStand(t, Config{}, map[string]string{
		"Makefile":                               "build-fn:\n\ttest -f node_modules/a/node_modules/b/index.js\n\tcp index.js $(ARTIFACTS_DIR)\n\trm -rf node_modules/*\n",
		"index.js":                               `exports.handler = async () => "made";`,
		"node_modules/a/node_modules/b/index.js": "1",
	}, &model.Function{Build: model.Build{Method: "makefile"}})
	if err := os.Symlink("../../..", filepath.Join(s.dir, "node_modules/a/node_modules/b/node_modules")); err != nil {
		t.Fatal(err)
	}
	before := sums(t, s.dir)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	s.want("fn", "{}", `"made"`)
	if after := sums(t, s.dir); after != before {
		t.Errorf("the user's tree changed:\n%s\nwas:\n%s", after, before)
	}
}

// A go.mod without go.sum must not make the go command write one into the tree.
func TestGoFallsBackToACopy(t *testing.T) {
	need(t, "go")
	s := prepareStand(t, Config{}, map[string]string{
		"go.mod":     "module example.test/app\n\ngo 1.21\n\nrequire example.test/dep v0.0.0\n\nreplace example.test/dep => ./dep\n",
		"dep/go.mod": "module example.test/dep\n\ngo 1.21\n",
		"dep/dep.go": "package dep\n\nconst Answer = 1\n",
		"main.go":    strings.Replace(goClient, "import (", "import (\n\t_ \"example.test/dep\"", 1),
	}, goFunction(nil))
	before := sums(t, s.dir)
	if err := s.Deploy(t.Context(), s.app); err != nil {
		t.Fatal(err)
	}
	s.want("fn", "1", "1")
	if after := sums(t, s.dir); after != before {
		t.Errorf("the user's tree changed:\n%s\nwas:\n%s", after, before)
	}
}

func sums(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-type", "f", "-exec", "cksum", "{}", "+").Output()
	if err != nil {
		t.Skipf("find: %v", err)
	}
	return string(out)
}
