// Package runtime runs Lambda functions as local processes and invokes them.
//
// It promises, per function:
//
//   - One invocation per worker at a time; the worker that became idle last is
//     used first, so sequential calls meet the same module memory.
//   - At most min(reserved concurrency, max(10, 2 × cores)) workers. Beyond that a
//     FIFO of 10 000 items, 64 MB and 10 s; what does not fit is fault.Throttled
//     and counted. model.Invocation.MustRun is exempt from those bounds.
//   - Initialisation is not part of the function time-out. Time-out, crash, exit,
//     unhandled rejection and rubbish on our pipes give the caller the error
//     object that AWS gives, and the next invocation a new worker.
//   - Deploy and Reload swap code atomically: what runs finishes on the old code.
//   - The user's source tree is read, never written: see package build.
//
// Node.js and Python run under the bootstraps of package bootstrap; everything
// else (provided.*, go1.x) is an executable that speaks the Lambda Runtime API,
// served per worker on a loopback port.
//
// Known difference from AWS: layers are not mounted at /opt. Their contents are
// reached through NODE_PATH, PYTHONPATH, PATH and LD_LIBRARY_PATH as on AWS, but
// code that opens a file below /opt by name does not find it.
//
// The package does not know gateways, events or services; it does not verify
// signatures, it only tells which worker an access key belongs to. Tests use
// real node, python3 and go processes; nothing needs a fake.
package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime/bootstrap"
	"github.com/livegate/livegate/internal/runtime/build"
)

// Config configures a Runtime. The zero value works: state goes below
// ./.livegate and the user's cache directory, nothing is intercepted.
type Config struct {
	// DataDir is the project's state directory; builds live in DataDir/build.
	DataDir string
	// CacheDir is the user's data directory; SDKs live in CacheDir/sdk.
	CacheDir string
	// Env is what every worker gets on top of Lambda's own variables, as
	// "KEY=value": proxy, endpoint, CA bundles. May be nil.
	Env func(Worker) []string
	// Hook configures the hook that every Node.js worker loads.
	Hook HookConfig
	// Logs receives log lines, one at a time, in order. A slow receiver never
	// holds up a function: lines beyond a bounded queue are dropped and counted.
	Logs func(model.LogLine)
	// Progress receives the steps of builds. May be called concurrently.
	Progress func(Progress)
	Clock    clock.Clock
	// Offline says that there may be no network: builds use caches first, and a
	// package that cannot be had is a warning. Builds are not kept off the network:
	// what may not leave is what functions send (HookConfig.Offline).
	Offline bool
	// Cores is the number of cores to size pools for; 0 means all.
	Cores int
	// QueueWait bounds how long a call waits for a worker that others hold; 0 means 10 s.
	QueueWait time.Duration
	// InitTimeout bounds initialisation; 0 means 30 s (AWS: 10 s, on faster disks).
	InitTimeout time.Duration
	// IdleTimeout ends workers that have had nothing to do; 0 means 15 min.
	IdleTimeout time.Duration
}

// HookConfig says what the Node.js hook diverts. The zero value diverts nothing.
type HookConfig struct {
	// Divert is the "host:port" that serves TLS and plain HTTP for intercepted
	// and mapped hosts; "" turns interception off.
	Divert string
	// Suffixes are intercepted host suffixes with their dot: ".amazonaws.com".
	Suffixes []string
	// Hosts are intercepted host names, exact or "*.example.test"; the custom
	// domains of the deployed application are added.
	Hosts []string
	// MapHost maps a host to the "host:port" of a plain-HTTP fixture. TLS
	// connections to it go to Divert, which is expected to proxy.
	MapHost map[string]string
	// Offline refuses every other host that is not loopback, by name.
	Offline bool
}

// Progress is one step of a build: reported when it starts and when it is done.
type Progress = build.Progress

// Worker is what the environment of one worker may depend on.
type Worker struct {
	AccessKeyID  string // 20 characters, "ASIA…"
	SecretKey    string
	SessionToken string
	ProxySecret  string // password of the CONNECT proxy; the user is AccessKeyID
	Function     *model.Function
}

// Status is a function as `livegate status` shows it.
type Status struct {
	Name, LogicalID, ARN string
	Runtime              string // as declared
	RunsOn               string // "Node 20.20.2"; "" before a successful build
	Workers, Busy        int
	Queued               int
	Invocations          uint64 // finished, failures included
	Errors               uint64 // finished with a FunctionError
	Throttled            uint64
	ColdStarts           uint64 // workers that were started and became ready
	Err                  error  // why the newest code does not run
}

// Runtime runs the functions of one application.
type Runtime struct {
	// Static after New.
	cfg     Config
	bound   int
	builder *build.Builder
	files   bootstrap.Files // the paths never change
	logs    *logQueue
	spawn   *spawner
	ctx     context.Context // ends asynchronous work at Close
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // asynchronous invocations, worker starts, sweeper
	async   atomic.Int64   // events waiting or running
	held    atomic.Int64   // and the bytes of their payloads

	deploying sync.Mutex // one Deploy or Reload at a time
	hook      string     // the hook's configuration; guarded by deploying

	// Guarded by mu.
	mu        sync.RWMutex
	app       *model.App
	functions map[string]*function // by physical name
	workers   map[string]*worker   // by access key id
	closed    bool
}

// New prepares a runtime; nothing runs before Deploy. Errors: directories that
// cannot be written.
func New(cfg Config) (*Runtime, error) {
	if cfg.DataDir == "" {
		cfg.DataDir = ".livegate"
	}
	var err error
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, err
	}
	if cfg.CacheDir == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("runtime: no directory for the SDKs: %w", err)
		}
		cfg.CacheDir = filepath.Join(dir, "livegate")
	}
	if cfg.QueueWait == 0 {
		cfg.QueueWait = maxWait
	}
	if cfg.InitTimeout == 0 {
		cfg.InitTimeout = 30 * time.Second
	}
	if cfg.IdleTimeout == 0 {
		cfg.IdleTimeout = 15 * time.Minute
	}
	if cfg.Cores == 0 {
		cfg.Cores = goruntime.NumCPU()
	}
	r := &Runtime{
		cfg:       cfg,
		bound:     max(10, 2*cfg.Cores),
		functions: map[string]*function{},
		workers:   map[string]*worker{},
	}
	if r.files, err = r.writeBootstrap(nil); err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	r.builder, err = build.New(build.Config{
		Dir: filepath.Join(cfg.DataDir, "build"), SDKDir: filepath.Join(cfg.CacheDir, "sdk"),
		Offline: cfg.Offline, Progress: cfg.Progress,
	})
	if err != nil {
		return nil, fmt.Errorf("runtime: %w", err)
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.logs = newLogQueue(cfg.Logs)
	r.spawn = newSpawner()
	r.tasks.Go(r.sweepIdle)
	return r, nil
}

// writeBootstrap writes the programs that workers run. The hook intercepts the
// custom domains of app on top of Config.Hook.Hosts: a template may gain one
// while livegate runs.
func (r *Runtime) writeBootstrap(app *model.App) (bootstrap.Files, error) {
	hosts := slices.Clone(r.cfg.Hook.Hosts)
	if app != nil {
		for _, d := range app.Domains {
			hosts = append(hosts, d.Name)
		}
	}
	slices.Sort(hosts)
	hook, err := json.Marshal(map[string]any{
		"divert": r.cfg.Hook.Divert, "suffixes": r.cfg.Hook.Suffixes, "hosts": slices.Compact(hosts),
		"mapped": r.cfg.Hook.MapHost, "offline": r.cfg.Hook.Offline,
	})
	if err != nil {
		return bootstrap.Files{}, err
	}
	r.hook = string(hook)
	return bootstrap.Write(filepath.Join(r.cfg.DataDir, "build", "bootstrap"), hook)
}

// Functions lists the functions in template order.
func (r *Runtime) Functions() []Status {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.app == nil {
		return nil
	}
	var list []Status
	for _, m := range r.app.Functions {
		if f := r.functions[m.Name]; f != nil {
			list = append(list, f.status())
		}
	}
	return list
}

// Stats is what all functions share; Functions says the rest.
type Stats struct {
	AsyncEvents int64 // asynchronous invocations that wait, for a retry too, or run
	AsyncBytes  int64 // and the bytes of their payloads
}

// Stats returns the numbers now.
func (r *Runtime) Stats() Stats {
	return Stats{AsyncEvents: r.async.Load(), AsyncBytes: r.held.Load()}
}

// sweepIdle ends workers that have been idle for too long, as AWS does; the next
// call starts a new one.
func (r *Runtime) sweepIdle() {
	for {
		timer := r.cfg.Clock.NewTimer(r.cfg.IdleTimeout / 15)
		select {
		case <-r.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		for _, f := range r.snapshot() {
			f.stopIdle(r.cfg.Clock.Now().Add(-r.cfg.Clock.Real(r.cfg.IdleTimeout)))
		}
	}
}

func (r *Runtime) snapshot() []*function {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*function, 0, len(r.functions))
	for _, f := range r.functions {
		list = append(list, f)
	}
	return list
}

// Close lets running invocations finish until ctx ends, then kills every worker
// and waits for all of them. Asynchronous retries that are still due are
// dropped, and named in the log.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	r.mu.Unlock()
	if n := r.async.Load(); n > 0 {
		r.event("warn", "", "", fmt.Sprintf("%d asynchronous invocations not finished at shutdown", n))
	}
	r.cancel()
	for _, f := range r.snapshot() {
		f.close()
	}
	var timeout error
	for _, w := range r.liveWorkers() {
		select {
		case <-w.gone:
		case <-ctx.Done():
			timeout = fault.New(fault.Timeout, "functions were still running at shutdown and were killed")
		}
		w.kill()
	}
	for _, w := range r.liveWorkers() {
		<-w.gone
	}
	r.tasks.Wait()
	r.spawn.close()
	r.logs.close()
	return errors.Join(timeout, r.builder.Close())
}

func (r *Runtime) liveWorkers() []*worker {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*worker, 0, len(r.workers))
	for _, w := range r.workers {
		list = append(list, w)
	}
	return list
}

// event logs one line of our own.
func (r *Runtime) event(level, source, requestID, text string) {
	if source == "" {
		source = "functions"
	}
	r.logs.put(model.LogLine{At: r.cfg.Clock.Now(), Level: level, Source: source, RequestID: requestID, Text: text})
}
