//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// launch is how to start a server.
type launch struct {
	Dir  string
	Argv []string
	Env  []string // added to ours
	CPU  string   // taskset's list; "" runs it anywhere
	Out  io.Writer
	Err  io.Writer // nil: Out
	Open int       // most open files; 0: the system's
}

// server is a running one, in a process group of its own.
type server struct {
	cmd  *exec.Cmd
	dir  string // removed with it; "" for none
	done chan struct{}
	err  error // set before done is closed
}

func (l launch) start() (*server, error) {
	argv := l.Argv
	if l.Open > 0 {
		argv = append([]string{"prlimit", "--nofile=" + strconv.Itoa(l.Open), "--"}, argv...)
	}
	if l.CPU != "" {
		argv = append([]string{"taskset", "-c", l.CPU}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = l.Dir, append(os.Environ(), l.Env...)
	cmd.Stdout, cmd.Stderr = l.Out, l.Out
	if l.Err != nil {
		cmd.Stderr = l.Err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd: cmd, done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop asks the server to end, then ends its process group.
func (s *server) stop() {
	_ = syscall.Kill(s.pid(), syscall.SIGINT)
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(-s.pid(), syscall.SIGKILL) // what is left of the group
	<-s.done
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// awaitPort waits until addr takes connections.
func (s *server) awaitPort(ctx context.Context, addr string, most time.Duration) error {
	for deadline := time.Now().Add(most); ; {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp4", addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return fmt.Errorf("the server ended before it was ready: %w", s.err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not ready within %v: %w", addr, most, err)
		}
	}
}

// awaitSocket waits until url takes WebSocket clients.
func (s *server) awaitSocket(ctx context.Context, url string, most time.Duration) error {
	deadline := time.Now().Add(most)
	for {
		c, _, err := websocket.Dial(ctx, url, nil) //nolint:bodyclose // coder closes it
		if err == nil {
			return c.Close(websocket.StatusNormalClosure, "")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.done:
			return fmt.Errorf("the server ended before it was ready: %w", s.err)
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s was not ready within %v: %w", url, most, err)
		}
	}
}

// freePorts are n ports that nobody listens on at the moment.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range n {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ports = append(ports, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// Machine says where results come from.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
	Node   string `json:"node"`
}

// output is the first line that a command prints; "unknown" when it fails.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return string(bytes.TrimSpace(line))
}
