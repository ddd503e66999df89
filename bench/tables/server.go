package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/awsapi/dynamodb"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

// serve is the tables without the rest of Livegate, or a handler that only reads
// what it is sent. It prints its address.
func serve(ctx context.Context, args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: tables serve fast|durable|empty FILE")
	}
	var db *storage.DB
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the client sees what is wrong
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "{}") // the client may have gone
	})
	if args[0] != "empty" {
		var err error
		if db, err = storage.Open(args[1], storage.Config{Fast: args[0] == "fast"}); err != nil {
			return err
		}
		engine, err := table.New(table.Config{Store: table.Over(db)})
		if err != nil {
			return err
		}
		h = dynamodb.New(engine)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		<-ctx.Done()
		_ = srv.Close() // the process ends
	}()
	fmt.Println(ln.Addr())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	if db == nil {
		return nil
	}
	return db.Close()
}

// server is one process under test.
type server struct {
	name, addr, file string
	ready            time.Duration
	cmd              *exec.Cmd
}

// command pins a server to its processor.
func (cfg *config) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if cfg.serverCPU != "" {
		args = append([]string{"-c", cfg.serverCPU, name}, args...)
		name = "taskset"
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// start runs a server on data of its own; what is in dir stays.
func (cfg *config) start(ctx context.Context, name, dir string) (*server, error) {
	s := &server{name: name}
	begun := time.Now()
	var err error
	switch name {
	case "livegate":
		err = s.livegate(ctx, cfg, dir)
	case "dynalite":
		err = s.dynalite(ctx, cfg)
	default: // fast, durable, empty: this program
		s.file = filepath.Join(dir, "state.db")
		s.cmd = cfg.command(ctx, cfg.self, "serve", name, s.file)
		var out io.ReadCloser
		if out, err = s.cmd.StdoutPipe(); err == nil {
			s.cmd.Stderr = os.Stderr
			if err = s.cmd.Start(); err == nil {
				s.addr, err = bufio.NewReader(out).ReadString('\n')
				s.addr = strings.TrimSpace(s.addr)
			}
		}
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.ready = time.Since(begun)
	if name == "livegate" || name == "empty" {
		return s, nil
	}
	return s, s.createTable(ctx)
}

func (s *server) livegate(ctx context.Context, cfg *config, dir string) error {
	s.file = filepath.Join(dir, "state.db")
	s.cmd = cfg.command(ctx, cfg.livegate, "dev", cfg.template, "--port", "0", "--data-dir", dir, "--no-watch")
	s.cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+filepath.Join(dir, "home"))
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		run, err := client.ReadRunFile(dir)
		if err != nil || run.PID != s.cmd.Process.Pid { // taskset becomes the program, so the pid stays
			continue
		}
		c := client.Client{Run: run}
		if h, err := c.Health(ctx); err == nil && h.Ready {
			s.addr = strings.TrimPrefix(run.URL, "http://")
			return nil
		}
	}
	return fmt.Errorf("not ready")
}

func (s *server) dynalite(ctx context.Context, cfg *config) error {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.addr = ln.Addr().String()
	ln.Close()
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	s.cmd = cfg.command(ctx, "node", filepath.Join(cfg.dynalite, "node_modules/dynalite/cli.js"), "--port", port, "--host", "127.0.0.1", "--createTableMs", "1")
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if c, err := dial(ctx, s.addr); err == nil {
			return c.conn.Close()
		}
	}
	return fmt.Errorf("not ready")
}

func (s *server) createTable(ctx context.Context) error {
	c, err := dial(ctx, s.addr)
	if err != nil {
		return err
	}
	defer c.conn.Close()
	if s.file != "" {
		if info, err := c.call("DescribeTable", []byte(`{"TableName":"Bench"}`)); err == nil && len(info) > 0 {
			return nil // from the run before
		}
	}
	_, err = c.call("CreateTable", []byte(`{"TableName":"Bench","BillingMode":"PAY_PER_REQUEST",
		"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"S"}],
		"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}]}`))
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var d struct{ Table struct{ TableStatus string } }
		if b, err := c.call("DescribeTable", []byte(`{"TableName":"Bench"}`)); err == nil && json.Unmarshal(b, &d) == nil && d.Table.TableStatus == "ACTIVE" {
			return nil
		}
	}
	return fmt.Errorf("the table never became active")
}

func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	_ = s.cmd.Process.Signal(os.Interrupt) // may have ended
	ended := make(chan struct{})
	go func() {
		_ = s.cmd.Wait() // says "interrupted"
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill() // as above
		<-ended
	}
}

// cpu is the processor time of a process in seconds; proc(5), fields 14 and 15.
func cpu(pid int) float64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

// busy is the processor time of the whole machine in seconds, idle and waiting
// left out.
func busy() (sum float64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(first)[1:] {
		if n, err := strconv.ParseFloat(f, 64); err == nil && i != 3 && i != 4 && i < 8 {
			sum += n / 100
		}
	}
	return sum
}

func ownCPU() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// memory is a process's resident memory in bytes.
func memory(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
