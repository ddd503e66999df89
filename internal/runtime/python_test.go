package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

func TestPython(t *testing.T) {
	need(t, "python3")
	s := newStand(t, Config{}, map[string]string{"app/main.py": `
import json, logging, os, sys, time, decimal, subprocess
log = logging.getLogger()
log.setLevel(logging.INFO)
calls = 0

def handler(event, context):
    global calls
    calls += 1
    way = event["way"]
    if way == "echo":
        return event["v"]
    if way == "calls":
        return calls
    if way == "raise":
        raise KeyError("no such key")
    if way == "exit":
        sys.exit(4)
    if way == "hard":
        os._exit(5)
    if way == "hang":
        time.sleep(60)
    if way == "set":
        return {1, 2}
    if way == "decimal":
        return decimal.Decimal("1.5")
    if way == "large":
        return "x" * (6 * 1024 * 1024)
    if way == "garbage":
        os.write(4, b"not a frame at all")
        time.sleep(60)
    if way == "logs":
        print("printed")
        print("to stderr", file=sys.stderr)
        log.info("logged")
        log.error("bad %s", "thing")
        subprocess.run(["echo", "from a child"])
        return None
    if way == "flood":
        for _ in range(20000):
            print("x" * 1000)
        return "done"
    if way == "context":
        return [context.function_name, context.memory_limit_in_mb, context.invoked_function_arn,
                context.get_remaining_time_in_millis() > 500, context.aws_request_id == event["id"], os.environ["_X_AMZN_TRACE_ID"][:5]]
`}, &model.Function{Runtime: "python3.11", Handler: "app/main.handler", Timeout: time.Second})
	s.want("fn", `{"way":"echo","v":"héllo 🌍"}`, `"héllo 🌍"`)
	s.want("fn", `{"way":"calls"}`, `2`)
	body := s.wantError("fn", `{"way":"raise"}`, "KeyError", "no such key")
	if len(body.Stack) == 0 || !strings.Contains(body.Stack[0], "main.py") {
		t.Errorf("stackTrace = %q", body.Stack)
	}
	s.line("KeyError: 'no such key'")
	s.wantError("fn", `{"way":"set"}`, "Runtime.MarshalError", "Object of type set is not JSON serializable")
	s.want("fn", `{"way":"decimal"}`, "1.5")
	s.wantError("fn", `{"way":"large"}`, "Function.ResponseSizeTooLarge", "6291458 bytes")
	s.want("fn", `{"way":"logs"}`, "null")
	s.line("printed")
	s.line("[INFO]\tlogged")
	s.line("from a child")
	if l := s.line("[ERROR]\tbad thing"); l.Level != "error" {
		t.Errorf("line = %+v", l)
	}
	if l := s.line("to stderr"); l.Stream != "stderr" || l.RequestID == "" {
		t.Errorf("line = %+v", l)
	}
	s.want("fn", `{"way":"calls"}`, "8")
	res, err := s.Invoke(t.Context(), model.Invocation{Function: "fn", RequestID: "r-1", Payload: []byte(`{"way":"context","id":"r-1"}`)})
	if want := `["fn", "128", "` + s.app.Functions[0].ARN + `", true, true, "Root="]`; err != nil || string(res.Payload) != want {
		t.Errorf("context = %s, want %s", res.Payload, want)
	}
	s.wantError("fn", `{"way":"exit"}`, "Runtime.ExitError", "exit status 4")
	s.wantError("fn", `{"way":"hard"}`, "Runtime.ExitError", "exit status 5")
	s.wantError("fn", `{"way":"hang"}`, "Sandbox.Timedout", "Task timed out after 1.00 seconds")
	s.wantError("fn", `{"way":"garbage"}`, "Runtime.ExitError", "descriptor 4")
	s.want("fn", `{"way":"flood"}`, `"done"`)
}

func TestPythonInitFailures(t *testing.T) {
	need(t, "python3")
	s := newStand(t, Config{}, map[string]string{
		"imports/index.py": "import no_such_module\ndef handler(e, c): return 1\n",
		"syntax/index.py":  "def handler(e, c) return 1\n",
		"export/index.py":  "x = 1\n",
		"raises/index.py":  "raise ValueError('at import')\n",
		"exits/index.py":   "import sys; sys.exit('go away')\n",
	},
		&model.Function{Name: "imports", CodeDir: "imports", Runtime: "python3.9"},
		&model.Function{Name: "syntax", CodeDir: "syntax", Runtime: "python3.9"},
		&model.Function{Name: "export", CodeDir: "export", Runtime: "python3.9"},
		&model.Function{Name: "raises", CodeDir: "raises", Runtime: "python2.7"},
		&model.Function{Name: "exits", CodeDir: "exits", Runtime: "python2.7"},
		&model.Function{Name: "inline", Inline: "def handler(e, c):\n  return 'inline'\n", Runtime: "python2.7"},
	)
	s.wantError("imports", "{}", "Runtime.ImportModuleError", "Unable to import module 'index': No module named 'no_such_module'")
	s.wantError("syntax", "{}", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index'")
	s.wantError("export", "{}", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'")
	s.wantError("raises", "{}", "ValueError", "at import")
	s.wantError("exits", "{}", "Runtime.ExitError", "exit status 1")
	s.want("inline", "", `"inline"`)
	s.line("python2.7 runs on Python 3.")
}

// A child made by multiprocessing inherits the bootstrap's pipe. Its prints and
// its parent's tore each other's frames apart, and the worker was stopped for
// "garbage" in the middle of a sound invocation.
func TestPythonForkedChildPrints(t *testing.T) {
	need(t, "python3")
	s := newStand(t, Config{}, map[string]string{"index.py": `
import multiprocessing, os
def child():
    for _ in range(100): print("c" * 20000)
    print("from the child")
def handler(event, context):
    if event == "returns":
        pid = os.fork()
        if pid: os.waitpid(pid, 0)
        return "once"
    p = multiprocessing.get_context("fork").Process(target=child)
    p.start()
    for _ in range(100): print("p" * 20000)
    p.join()
    return "joined"
`}, &model.Function{Runtime: "python3.11"})
	s.want("fn", "{}", `"joined"`)
	s.line("from the child")
	s.want("fn", `"returns"`, `"once"`)
	s.want("fn", `"returns"`, `"once"`)
}
