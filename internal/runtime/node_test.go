package runtime

import (
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/model"
)

// One function, many behaviours: workers are started once per test otherwise.
func TestNodeHandlerStyles(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		const styles = {
			async: async (e) => ({ got: e.v }),
			promise: (e) => new Promise((resolve) => setTimeout(() => resolve(e.v), 5)),
			callback: (e, c, cb) => { setTimeout(() => cb(null, e.v), 5); },
			// The return value of a non-async handler is ignored, and work goes on.
			returns: (e) => { setTimeout(() => { global.worked = e.v; }, 30); return {}; },
			worked: async () => global.worked,
			nothing: () => {},
			undefined: async () => undefined,
			func: async () => () => 1,
			done: (e, c) => { setInterval(() => {}, 1000).unref(); c.done(null, 'done'); },
			succeed: (e, c) => { const t = setInterval(() => {}, 1000); setTimeout(() => clearInterval(t), 50); c.succeed('now'); },
			waits: (e, c, cb) => { setTimeout(() => { global.late = true; }, 40); cb(null, 'after'); },
			late: async () => global.late,
			hurry: (e, c, cb) => { c.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1e6).unref(); setTimeout(() => {}, 60000); cb(null, 'at once'); },
			mixed: async (e, c, cb) => { cb(null, 'from callback'); },
			never: async () => { await new Promise(() => {}); },
			unicode: async (e) => e.v,
		};
		exports.handler = (event, context, callback) => styles[event.style](event, context, callback);
	`), &model.Function{})
	for _, c := range []struct{ style, v, want string }{
		{"async", "1", `{"got":1}`},
		{"promise", "2", "2"},
		{"callback", "3", "3"},
		{"returns", "4", "null"},
		{"worked", "0", "4"},
		{"nothing", "0", "null"},
		{"undefined", "0", "null"},
		{"func", "0", "null"},
		{"done", "0", `"done"`},
		{"succeed", "0", `"now"`},
		{"waits", "0", `"after"`},
		{"late", "0", "true"},
		{"mixed", "0", `"from callback"`},
		{"never", "0", "null"},
		{"unicode", `"héllo 🌍 \"q\""`, `"héllo 🌍 \"q\""`},
		{"hurry", "0", `"at once"`},
	} {
		begin := time.Now()
		s.want("fn", `{"style":"`+c.style+`","v":`+c.v+`}`, c.want)
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("%s took %s", c.style, took)
		}
	}
	if n := s.Functions()[0].Workers; n != 1 {
		t.Errorf("%d workers for sequential calls, want 1", n)
	}
}

func TestNodeErrors(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		class Custom extends Error { constructor(m) { super(m); this.name = 'Custom'; } }
		const ways = {
			throws: () => { throw new TypeError('no such thing'); },
			rejects: async () => { throw new Custom('mine'); },
			callback: (e, c, cb) => cb(new Error('via callback')),
			string: (e, c, cb) => cb('just text'),
			fail: (e, c) => c.fail('Unauthorized'),
			circular: async () => { const a = {}; a.a = a; return a; },
			bigint: async () => 1n,
			large: async () => 'x'.repeat(6 * 1024 * 1024),
			largeUnicode: async () => 'é'.repeat(3 * 1024 * 1024),
			fits: async () => 'x'.repeat(6 * 1024 * 1024 - 2),
		};
		exports.handler = (event, context, callback) => ways[event](event, context, callback);
	`), &model.Function{})
	body := s.wantError("fn", `"throws"`, "TypeError", "no such thing")
	if len(body.Trace) < 2 || !strings.Contains(body.Trace[1], "index.js") {
		t.Errorf("trace = %q, want the user's file in it", body.Trace)
	}
	s.wantError("fn", `"rejects"`, "Custom", "mine")
	s.wantError("fn", `"callback"`, "Error", "via callback")
	s.wantError("fn", `"string"`, "string", "just text")
	s.wantError("fn", `"fail"`, "string", "Unauthorized")
	s.wantError("fn", `"circular"`, "Runtime.MarshalError", "Unable to stringify response body")
	s.wantError("fn", `"bigint"`, "Runtime.MarshalError", "Unable to stringify response body")
	s.wantError("fn", `"large"`, "Function.ResponseSizeTooLarge", "6291458 bytes")
	s.wantError("fn", `"largeUnicode"`, "Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size")
	if res := s.call("fn", `"fits"`); len(res.Payload) != 6<<20 {
		t.Errorf("6 MB answer has %d bytes", len(res.Payload))
	}
	if l := s.line("TypeError: no such thing"); l.Level != "error" || !strings.Contains(l.Text, "index.js") || l.RequestID == "" {
		t.Errorf("log line = %+v, want the stack under its request id", l)
	}
	if st := s.Functions()[0]; st.Workers != 1 || st.Errors != 9 || st.Invocations != 10 {
		t.Errorf("status = %+v", st)
	}
}

// freeCodeCamp's handler never awaits its posts: a stale connection rejects
// after the invocation has returned. On AWS the process dies, the next message
// meets a new one.
func TestNodeWorkerIsReplaced(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		const ways = {
			pid: async () => process.pid,
			exit: async () => process.exit(1),
			exit0: async () => process.exit(0),
			hang: async () => { for (;;); },
			rejection: () => { setTimeout(() => Promise.reject(new Error('not awaited')), 1); setTimeout(() => {}, 60000); },
			throwLater: () => { setTimeout(() => { throw new RangeError('from a timer'); }, 1); setTimeout(() => {}, 60000); },
			after: async () => { setTimeout(() => Promise.reject(new Error('afterwards')), 20); return 1; },
			kill: async () => process.kill(process.pid, 'SIGKILL'),
			garbage: async () => { require('fs').writeSync(4, 'hello, this is not a frame'); await new Promise(r => setTimeout(r, 60000)); },
			children: async () => require('child_process').spawn('sleep', ['60']).pid,
		};
		exports.handler = (event, context, callback) => ways[event](event, context, callback);
	`), &model.Function{Timeout: time.Second})
	pid := func() string { return string(s.call("fn", `"pid"`).Payload) }
	replaced := func(what string, do func()) {
		t.Helper()
		old := pid()
		do()
		if now := pid(); now == old {
			t.Errorf("after %s the same process serves the next invocation", what)
		}
	}
	replaced("exit", func() {
		body := s.wantError("fn", `"exit"`, "Runtime.ExitError", "Error: Runtime exited with error: exit status 1")
		if !strings.HasPrefix(body.Message, "RequestId: ") {
			t.Errorf("message %q does not begin with the request id", body.Message)
		}
	})
	replaced("exit 0", func() {
		s.wantError("fn", `"exit0"`, "Runtime.ExitError", "Runtime exited without providing a reason")
	})
	replaced("a signal", func() { s.wantError("fn", `"kill"`, "Runtime.ExitError", "signal: killed") })
	replaced("a time-out", func() {
		body := s.wantError("fn", `"hang"`, "Sandbox.Timedout", "Task timed out after 1.00 seconds")
		if _, err := time.Parse(time.RFC3339, strings.Fields(body.Message)[0]); err != nil {
			t.Errorf("message %q does not begin with a time stamp", body.Message)
		}
	})
	replaced("an unhandled rejection", func() {
		s.wantError("fn", `"rejection"`, "Runtime.UnhandledPromiseRejection", "Error: not awaited")
	})
	replaced("an uncaught exception", func() { s.wantError("fn", `"throwLater"`, "RangeError", "from a timer") })
	replaced("garbage", func() { s.wantError("fn", `"garbage"`, "Runtime.ExitError", "descriptor 4") })
	replaced("a late rejection", func() {
		s.want("fn", `"after"`, "1")
		s.line("Error: afterwards")
	})
}

func TestNodeInitFailures(t *testing.T) {
	need(t, "node")
	files := map[string]string{
		"throws/index.js": `throw new Error('init broke');`,
		"syntax/index.js": `exports.handler = async () => {{ ;`,
		"import/index.js": `require('no-such-package');`,
		"export/index.js": `exports.other = 1;`,
		"exit/index.js":   `process.exit(3);`,
		"reject/index.js": `Promise.reject(new Error('init rejected')); exports.handler = async () => 1;`,
	}
	var functions []*model.Function
	for _, name := range []string{"throws", "syntax", "import", "export", "exit", "reject"} {
		functions = append(functions, &model.Function{Name: name, CodeDir: name})
	}
	s := newStand(t, Config{}, files, functions...)
	s.wantError("throws", "{}", "Error", "init broke")
	s.wantError("syntax", "{}", "Runtime.UserCodeSyntaxError", "SyntaxError")
	s.wantError("import", "{}", "Runtime.ImportModuleError", "Cannot find module 'no-such-package'")
	s.wantError("export", "{}", "Runtime.HandlerNotFound", "index.handler is undefined or not exported")
	s.wantError("exit", "{}", "Runtime.ExitError", "exit status 3")
	// Whether the rejection comes before or after "ready" is a race inside Node;
	// either way the caller hears of it or gets a fresh worker's answer.
	if res := s.call("reject", "{}"); res.FunctionError == "" && string(res.Payload) != "1" {
		t.Errorf("reject = %s", res.Payload)
	}
	s.line("init broke")
}

func TestNodeModuleForms(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, map[string]string{
		"mjs/index.mjs":                     `import { own } from './lib.mjs'; export const handler = async () => own;`,
		"mjs/lib.mjs":                       `export const own = 'mjs';`,
		"type/package.json":                 `{"type":"module"}`,
		"type/app.js":                       `import fs from 'node:fs'; export const main = async () => typeof fs.readFileSync;`,
		"nested/src/a/b.js":                 `exports.x = { fn: async () => __filename.split('/').slice(-3).join('/') };`,
		"nested/package.json":               `{}`,
		"default/index.mjs":                 `export default { handler: async () => 'default' };`,
		"own/index.js":                      `exports.handler = async () => require('pkg');`,
		"own/node_modules/pkg/x.js":         `module.exports = 'own package';`,
		"own/node_modules/pkg/package.json": `{"main":"x.js"}`,
		"top/index.mjs":                     `const v = await Promise.resolve(7); export const handler = () => Promise.resolve(v);`,
		"cjs/index.cjs":                     `exports.handler = async () => 'cjs';`,
		"cjs/package.json":                  `{"type":"module"}`,
		"ts/src/app.ts":                     `import { twice } from './lib'; export const handler = async (e: { n: number }): Promise<number> => twice(e.n);`,
		"ts/src/lib.ts":                     `export const twice = (n: number): number => n * 2;`,
	},
		&model.Function{Name: "mjs", CodeDir: "mjs"},
		&model.Function{Name: "type", CodeDir: "type", Handler: "app.main"},
		&model.Function{Name: "nested", CodeDir: "nested", Handler: "src/a/b.x.fn"},
		&model.Function{Name: "default", CodeDir: "default"},
		&model.Function{Name: "own", CodeDir: "own"},
		&model.Function{Name: "top", CodeDir: "top"},
		&model.Function{Name: "cjs", CodeDir: "cjs"},
		&model.Function{Name: "ts", CodeDir: "ts", Handler: "src/app.handler"},
		&model.Function{Name: "inline", Inline: "exports.handler = async () => 'inline';"},
		&model.Function{Name: "inline-esm", Inline: "import os from 'os';\nexport const handler = async () => os.EOL;"},
	)
	s.want("mjs", "{}", `"mjs"`)
	s.want("type", "{}", `"function"`)
	s.want("nested", "{}", `"src/a/b.js"`)
	s.want("default", "{}", `"default"`)
	s.want("own", "{}", `"own package"`)
	s.want("top", "{}", "7")
	s.want("cjs", "{}", `"cjs"`)
	s.want("ts", `{"n":21}`, "42")
	s.want("inline", "", `"inline"`)
	s.want("inline-esm", "", `"\n"`)
}

func TestNodeStreamingIsCollected(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		exports.handler = awslambda.streamifyResponse(async (event, out, context) => {
			out.setContentType('application/json');
			out.write('{"a":');
			await new Promise((r) => setTimeout(r, 5));
			out.end('1}');
		});
	`), &model.Function{})
	s.want("fn", "{}", `{"a":1}`)
}

func TestNodeLogs(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		exports.handler = async (event, context) => {
			console.log('plain', { a: 1 });
			console.error('an error');
			console.log('two\nlines');
			process.stdout.write('no line ');
			process.stdout.write('break');
			require('fs').writeSync(1, 'raw descriptor\n');
			return context.awsRequestId;
		};
	`), &model.Function{})
	res, err := s.Invoke(t.Context(), model.Invocation{Function: "fn", LogTail: true})
	if err != nil {
		t.Fatal(err)
	}
	if string(res.Payload) != `"`+res.RequestID+`"` {
		t.Errorf("awsRequestId = %s, want %s", res.Payload, res.RequestID)
	}
	if l := s.line("plain { a: 1 }"); l.RequestID != res.RequestID || l.Source != "fn" || l.Level != "info" || l.Stream != "stdout" {
		t.Errorf("line = %+v", l)
	}
	if l := s.line("an error"); l.Level != "error" || l.Stream != "stderr" {
		t.Errorf("line = %+v", l)
	}
	if l := s.line("two"); l.Text != "two\nlines" {
		t.Errorf("one event became %q", l.Text)
	}
	if l := s.line("no line"); l.Text != "no line break" {
		t.Errorf("partial writes = %q", l.Text)
	}
	s.line("raw descriptor")
	for _, part := range []string{"START RequestId: " + res.RequestID, "plain", "END RequestId", "REPORT RequestId"} {
		if !strings.Contains(string(res.LogTail), part) {
			t.Errorf("log tail lacks %q:\n%s", part, res.LogTail)
		}
	}
}

// A handler that floods stdout must neither block nor fill memory: lines beyond
// the queue are dropped and counted.
func TestNodeFlood(t *testing.T) {
	need(t, "node")
	s := newStand(t, Config{}, js(`
		exports.handler = async (event) => {
			for (let i = 0; i < event.lines; i++) console.log('x'.repeat(event.size));
			return 'done';
		};
	`), &model.Function{})
	s.want("fn", `{"lines":20000,"size":2000}`, `"done"`)
	s.want("fn", `{"lines":1,"size":50000000}`, `"done"`)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.logs {
		if len(l.Text) > maxLine+8 {
			t.Fatalf("a line of %d bytes was kept", len(l.Text))
		}
	}
}

func TestNodeEnvironment(t *testing.T) {
	need(t, "node")
	t.Setenv("LIVEGATE_TEST_SECRET", "of the host")
	extra := func(w Worker) []string { return []string{"FROM_APP=" + w.AccessKeyID, "BOTH=app"} }
	s := newStand(t, Config{Env: extra}, js(`
		exports.handler = async (name, context) => name === 'context'
			? [context.functionName, context.functionVersion, context.memoryLimitInMB, context.invokedFunctionArn,
				context.logGroupName, context.getRemainingTimeInMillis() > 15000, context.callbackWaitsForEmptyEventLoop,
				context.clientContext && context.clientContext.custom.a]
			: process.env[name] === undefined ? null : process.env[name];
	`), &model.Function{MemoryMB: 512, Env: map[string]string{"MINE": "1", "BOTH": "function", "AWS_REGION": "mars", "TZ": "Europe/Paris"},
		Aliases: map[string]string{"live": "3"}})
	for name, want := range map[string]string{
		"AWS_LAMBDA_FUNCTION_NAME": `"fn"`, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": `"512"`, "AWS_REGION": `"eu-west-1"`,
		"AWS_DEFAULT_REGION": `"eu-west-1"`, "AWS_EXECUTION_ENV": `"AWS_Lambda_nodejs20.x"`, "_HANDLER": `"index.handler"`,
		"MINE": `"1"`, "BOTH": `"function"`, "TZ": `"Europe/Paris"`, "LIVEGATE_TEST_SECRET": "null", "IS_OFFLINE": "null",
		"AWS_SAM_LOCAL": "null", "AWS_LAMBDA_LOG_GROUP_NAME": `"/aws/lambda/fn"`, "NODE_OPTIONS": "null",
	} {
		s.want("fn", `"`+name+`"`, want)
	}
	key := strings.Trim(string(s.call("fn", `"AWS_ACCESS_KEY_ID"`).Payload), `"`)
	if len(key) != 20 || !strings.HasPrefix(key, "ASIA") {
		t.Errorf("access key id %q", key)
	}
	s.want("fn", `"FROM_APP"`, `"`+key+`"`)
	secret, ok := s.Secret(key)
	s.want("fn", `"AWS_SECRET_ACCESS_KEY"`, `"`+secret+`"`)
	if !ok || len(secret) != 40 {
		t.Errorf("Secret = %q, %v", secret, ok)
	}
	if s.ProxyWorker(key, secret) || s.ProxyWorker("", "") {
		t.Error("ProxyWorker accepts what is not the proxy secret")
	}
	if trace := string(s.call("fn", `"_X_AMZN_TRACE_ID"`).Payload); !strings.HasPrefix(trace, `"Root=1-`) {
		t.Errorf("trace = %s", trace)
	}
	res, err := s.Invoke(t.Context(), model.Invocation{Function: s.app.Functions[0].ARN + ":live", Payload: []byte(`"context"`), ClientContext: `{"custom":{"a":"b"}}`})
	want := `["fn","$LATEST","512","` + s.app.Functions[0].ARN + `:live","/aws/lambda/fn",true,true,"b"]`
	if err != nil || string(res.Payload) != want {
		t.Errorf("context = %s, %v, want %s", res.Payload, err, want)
	}
}
