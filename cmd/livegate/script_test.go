package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/control"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/localca"
	"github.com/livegate/livegate/internal/model"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"livegate": main, "hang": hang})
}

// hang is a program whose clean-up never ends.
func hang() {
	ctx, _ := interruptible()
	fmt.Println("up")
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	select {}
}

func TestASecondInterruptEndsWhatHangs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = []string{"hang"} // testscript.Main goes by the name
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for _, want := range []string{"up", "interrupted"} {
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("%q, want %q", lines.Text(), want)
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d", code, exitInterrupted)
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_DATA_HOME", filepath.Join(e.WorkDir, "xdg"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "instance": instance, "listen": listenOn, "lock": lock, "interrupt": interrupt,
		},
	})
}

// exits CODE COMMAND… runs a command and checks its exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// listen takes a free port and sets $BUSY to it.
func listenOn(ts *testscript.TestScript, _ bool, _ []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv("BUSY", port(ln.Addr()))
}

func port(a net.Addr) string { return strconv.Itoa(a.(*net.TCPAddr).Port) }

// lock FILE holds a file as a database does.
func lock(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	ts.Defer(func() { f.Close() })
	ts.Check(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
}

// interrupt DATADIR sends SIGINT to the process of a run file.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	r, err := client.ReadRunFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(syscall.Kill(r.PID, syscall.SIGINT))
}

// instance DATADIR lets this test process stand in for a running application: the
// real control API and run file, functions of a few lines, WebSockets in plain
// and TLS. It sets $PORT and $TLSPORT.
func instance(ts *testscript.TestScript, _ bool, args []string) {
	data := ts.MkAbs(args[0])
	ca, err := localca.Open(filepath.Join(ts.Getenv("XDG_DATA_HOME"), "livegate", "ca"))
	ts.Check(err)
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	sec := httptest.NewUnstartedServer(mux)
	sec.TLS = &tls.Config{GetCertificate: ca.GetCertificate}
	sec.Config.ErrorLog = log.New(io.Discard, "", 0) // one script distrusts it on purpose
	sec.StartTLS()
	plain, secure := port(srv.Listener.Addr()), port(sec.Listener.Addr())
	status := client.Status{
		Stack: "chat", Region: "eu-west-1", AccountID: "123456789012", EndpointURL: "http://127.0.0.1:" + plain, CAFile: ca.File(),
		Ready: true, PID: os.Getpid(), Version: "test",
		APIs: []client.API{{ID: "abcdefghij", Name: "Chat", Stages: []client.Stage{{Name: "Prod",
			WebSocketURL: "ws://localhost:" + plain + "/Prod", SecureWebSocketURL: "wss://localhost:" + secure + "/Prod", ManagementURL: "http://localhost:" + plain + "/Prod"}}}},
		Functions: []client.Function{{Name: "chat-Echo-1A2B", LogicalID: "Echo", Runtime: "nodejs20.x", RunsOn: "Node 20"}},
	}
	mux.Handle(client.Base+"/", control.New(control.Config{Status: func() client.Status { return status }, Token: "t0ken", Invoke: invokeTest}))
	mux.HandleFunc("/Prod", serveTest)
	mux.HandleFunc("/closed", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"message":"Forbidden"}`, http.StatusForbidden)
	})
	ts.Check(client.WriteRunFile(data, filepath.Join(ts.Getenv("XDG_DATA_HOME"), "livegate"),
		client.RunFile{URL: srv.URL, Token: "t0ken", Stack: "chat", Version: "test", CAFile: ca.File()}))
	ts.Check(os.WriteFile(filepath.Join(data, ".gitignore"), []byte("*\n"), 0o600))
	ts.Setenv("PORT", plain)
	ts.Setenv("TLSPORT", secure)
	var once sync.Once
	ts.Defer(func() {
		once.Do(func() { srv.CloseClientConnections(); srv.Close(); sec.CloseClientConnections(); sec.Close() })
	})
}

func invokeTest(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
	switch {
	case in.Function != "chat-Echo-1A2B":
		return model.InvokeResult{}, fault.New(fault.NotFound, "Function not found: %s", in.Function)
	case strings.Contains(string(in.Payload), "boom"):
		return model.InvokeResult{Payload: []byte(`{"errorMessage":"boom"}`), FunctionError: "Unhandled", ErrorType: "Error", LogTail: []byte("about to throw\n")}, nil
	}
	return model.InvokeResult{Payload: in.Payload, RequestID: "11111111-2222", LogTail: []byte("a log line\n")}, nil
}

// serveTest echoes; "headers" shows the handshake's, "close CODE" closes.
func serveTest(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"chat.v1"}})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, data, err := c.Read(r.Context())
		if err != nil {
			return
		}
		switch text := string(data); {
		case text == "headers":
			data = fmt.Appendf(nil, "X-Test=%s protocol=%s", r.Header.Get("X-Test"), c.Subprotocol())
		case text == "binary":
			kind, data = websocket.MessageBinary, []byte{1, 2, 3}
		case strings.HasPrefix(text, "close "):
			code, err := strconv.Atoi(strings.TrimPrefix(text, "close "))
			if err != nil {
				return
			}
			c.Close(websocket.StatusCode(code), "as asked")
			return
		}
		if err := c.Write(r.Context(), kind, data); err != nil {
			return
		}
	}
}
