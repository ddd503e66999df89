// Package app is where the concrete types meet: it turns a template into running
// engines, keeps them in step with the user's files, and stops them in order. It
// is the only package that knows both planes and engines.
//
// Start order: template, port, data directory (so that what cannot work fails at
// once and leaves nothing behind), storage, tables, certificates, functions,
// gateway, then the journal's unfinished $disconnects. Stop order is the reverse, except that clients are
// closed first, while everything their $disconnect needs still runs.
//
// A template that does not load never replaces one that runs.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/awsapi/dynamodbproxy"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/control"
	"github.com/livegate/livegate/internal/devguard"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/intercept"
	"github.com/livegate/livegate/internal/localca"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/registry"
	"github.com/livegate/livegate/internal/runtime"
	"github.com/livegate/livegate/internal/sigv4"
	"github.com/livegate/livegate/internal/stack"
	"github.com/livegate/livegate/internal/storage"
	"github.com/livegate/livegate/internal/table"
)

// Config says what to run and how. The zero value runs the current directory on
// loopback port 3001.
type Config struct {
	Path        string // directory or template file
	Stack       string // of a cloud assembly that has several
	Stage       string // that the Serverless Framework packages for
	ReadOnly    bool   // run no packager
	StackName   string
	Region      string
	AccountID   string
	Parameters  map[string]string
	ConfigEnv   string            // samconfig.toml environment
	SSM         map[string]string // values for SSM-typed parameters, by name in Systems Manager
	Imports     map[string]string // values for Fn::ImportValue, by export name
	DataDir     string            // "" = .livegate beside the template
	CacheDir    string            // "" = the user's data directory
	Host        string            // "" = 127.0.0.1 and ::1
	Port        int               // 0 = any free port
	AllowHosts  []string
	EnvFile     string
	TimeScale   float64
	Offline     bool
	MapHosts    map[string]string // host → address:port
	Passthrough []string          // AWS services that may be reached for real
	Watch       bool
	Profile     string                // "aws" (default) or "open"
	SetOffline  bool                  // set IS_OFFLINE and AWS_SAM_LOCAL for functions
	Credentials map[string]Credential // by access key id; when set, others are refused
	Version     string
	Quiet       bool // log what went wrong, not what clients do
	// Management is where metrics, health and profiles are served apart from
	// clients: HOST:PORT or PORT, "" for nowhere. Beyond loopback it needs a token.
	Management      string
	ManagementToken string
	Profiling       bool          // serve profiles there too
	Grace           time.Duration // from the start of a stop to the hard one; 0 = 30 s
	Drain           time.Duration // over which clients are closed then; 0 = all at once
	// Heartbeat is the silence after which clients are pinged: 0 = the profile's
	// (aws: never; open: 25 s), negative = never.
	Heartbeat time.Duration
	Limits    LimitChanges
	// DynamoDBEndpoint answers for the tables in place of our own; "" = our own. It is
	// called with the credentials in the environment.
	DynamoDBEndpoint string
	Tables           string              // how our own are kept: "durable" (also "") or "fast", see storage.Config.Fast
	Rates            conn.Rates          // who may open how much on the port; functions' own calls count too
	AccessLog        string              // file for the stages' access logs; "" = the log
	Engine           string              // of connections: "auto" (also ""), "loop" or "portable"
	Getenv           func(string) string // the user's environment; nil means an empty one
	Logs             func(model.LogLine) // every user-visible event; called from many goroutines
	Progress         func(Progress)      // long steps
}

// Progress is one long step, announced when it starts and when it ends.
type Progress struct {
	Step   string // what, e.g. "build OnConnect"
	Detail string
	Done   bool
	Err    error
	Took   time.Duration
}

// App is one application run. Use it once.
type App struct {
	cfg   Config
	clock clock.Clock
	token string // bearer token of the control API

	// Built by start, in this order; static afterwards.
	dirs      dirs
	listeners []net.Listener
	db        *storage.DB
	tables    *table.Engine          // nil with an external endpoint
	external  *dynamodbproxy.Handler // nil without one
	userCA    *localca.CA
	bundle    string // PEM file that workers trust
	guard     *devguard.Guard
	proxy     *intercept.Proxy
	edits     *fsnotify.Watcher // nil when nothing is watched
	runtime   *runtime.Runtime
	registry  *registry.Registry
	gateway   *gateway.Gateway
	callbacks *connapi.Handler
	keys      sigv4.Keys // of callers
	channels  channels
	server    *conn.Server
	access    *authz.Guard
	accesses  *accessLog // nil: access logs go to the log
	services  services
	fixtures  map[string]http.Handler // of --map-host, by host name
	timeline  *control.Timeline
	started   time.Time
	announce  func() // tells the user and the console what runs now

	metrics    *metrics
	health     *health
	management *management // nil without one

	built     atomic.Bool  // everything above is there
	accepting atomic.Int64 // listeners that are accepted from
	ready     atomic.Bool  // clients are let in
	draining  atomic.Bool  // clients are being closed
	hardStop  atomic.Pointer[time.Time]

	deployed atomic.Pointer[deployed]   // what serves now
	ca       atomic.Pointer[localca.CA] // covers deployed's custom domains

	reload sync.Mutex // one reload at a time
}

// deployed is one loaded template, swapped whole.
type deployed struct {
	app      *model.App
	findings []stack.Finding
	files    []string
}

// New prepares an application; nothing happens before Run.
func New(cfg Config) *App {
	if cfg.Logs == nil {
		cfg.Logs = func(model.LogLine) {}
	}
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	if cfg.Getenv == nil {
		cfg.Getenv = func(string) string { return "" }
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 30 * time.Second
	}
	a := &App{
		cfg: cfg, clock: clock.Scaled(cfg.TimeScale), token: id.NewUUID(),
		started: time.Now(), timeline: control.NewTimeline(0),
	}
	a.metrics, a.health = a.newMetrics(), &health{app: a}
	return a
}

// Run starts the application, calls ready once clients can connect and again after
// each reload of the template, and blocks until ctx ends; then it closes every connection, runs its $disconnect and
// stops. A template with errors is returned as *client.FindingsError.
func (a *App) Run(ctx context.Context, ready func(client.Status)) (err error) {
	// Engines outlive ctx: what a $disconnect needs must still run while we stop.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup // what uses the engines until work ends
	defer func() {
		stop()
		background.Wait()
		err = errors.Join(err, a.close())
	}()

	if err := a.start(ctx); err != nil {
		return err
	}
	a.health.probeEngines(work)
	failed := make(chan error, len(a.listeners)+1)
	a.accepting.Store(int64(len(a.listeners)))
	for _, ln := range a.listeners {
		go func() {
			err := a.server.Serve(ln)
			a.accepting.Add(-1)
			failed <- err
		}()
	}
	a.built.Store(true)
	if a.tables != nil {
		background.Go(func() {
			if err := a.tables.Run(work); err != nil && work.Err() == nil {
				failed <- fmt.Errorf("expiry of table items: %w", err)
			}
		})
	}
	// From here on there may be clients: however this ends, they are drained.
	if err = a.welcome(ctx, ready); err == nil {
		edits, end := context.WithCancel(ctx)
		if a.edits != nil {
			background.Go(func() { a.watch(edits) })
		}
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
		a.stopWelcoming()
		end() // no new template while the old one's clients leave
	}
	a.stopWelcoming()
	return errors.Join(err, a.drain())
}

// welcome runs what an earlier process owed, then tells the world that we are
// here. It ends with ctx: a $disconnect that hangs must not hold up Ctrl-C, and
// the journal keeps those that did not run.
func (a *App) welcome(ctx context.Context, ready func(client.Status)) error {
	if err := a.gateway.Recover(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run the $disconnect of connections a crash left behind: %w", err)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := client.WriteRunFile(a.dirs.data, a.dirs.cache, a.runFile()); err != nil {
		return err
	}
	a.ready.Store(true)
	a.announce = func() {
		a.timeline.Changed()
		if ready != nil {
			ready(a.Status())
		}
	}
	a.announce()
	return nil
}

// start builds everything up to, not including, accepting connections.
func (a *App) start(ctx context.Context) (err error) {
	if err := a.cfg.Validate(); err != nil {
		return err
	}
	env, err := readEnvFile(a.cfg.EnvFile)
	if err != nil {
		return err
	}
	next, err := a.load(ctx)
	if err != nil {
		return err
	}
	if a.listeners, err = listen(a.cfg.Host, a.cfg.Port); err != nil {
		return err
	}
	if err := a.listenManagement(); err != nil {
		return err
	}
	if a.dirs, err = prepareDirs(a.cfg); err != nil {
		return err
	}
	if err := a.openTables(ctx, next.app); err != nil {
		return err
	}
	if a.management != nil {
		a.management.serve(a)
	}
	if a.cfg.Watch {
		a.listenForEdits(next)
	}
	if err := a.certificates(); err != nil {
		return err
	}
	if a.runtime, err = runtime.New(runtime.Config{
		DataDir: a.dirs.data, CacheDir: a.dirs.cache,
		Env: a.workerEnv(env, next.app.Region), Hook: a.hook(),
		Logs: a.log, Progress: a.progress, Clock: a.clock, Offline: a.cfg.Offline,
	}); err != nil {
		return err
	}
	a.registry = registry.New(registry.Config{Node: id.NewNodeKey()})
	a.access = authz.New(authz.Config{
		Functions: timedFunctions{a.runtime, &a.metrics.function}, Callers: a.caller,
		AnyCaller: len(a.cfg.Credentials) == 0, AllowPrivate: true, Clock: a.clock,
	})
	if a.cfg.AccessLog != "" {
		if a.accesses, err = openAccessLog(a.cfg.AccessLog); err != nil {
			return err
		}
	}
	a.services = a.newServices(next.app)
	a.gateway, err = gateway.New(a.gatewayConfig())
	if err != nil {
		return err
	}
	a.guard = devguard.New(devguard.Config{Bind: []string{a.cfg.Host}, Hosts: a.cfg.AllowHosts, Intercepted: a.intercepted})
	plain := a.front(next.app)
	a.server = conn.New(conn.Config{
		TLS: a.tlsConfig(), HTTP: plain, Hot: hot{a, a.callbacks}, Upgrade: a.upgrade, Clock: a.clock,
		Rates: a.cfg.Rates, Portable: a.cfg.Engine == enginePortable,
	})
	a.bindServer()
	a.bindStorage()
	a.bindFunctions()
	a.bindGateway()
	a.bindMetrics()
	a.bindChannels()
	return a.apply(ctx, next)
}

// inUse names the instance that holds the data directory, if that is what err is about.
func (a *App) inUse(err error) error {
	r, none := client.ReadRunFile(a.dirs.data)
	if none != nil || !fault.Is(err, fault.Conflict) {
		return err
	}
	return fault.New(fault.Conflict, "this application is running already: stack %s, pid %d, %s; stop it, or start another one beside it with --data-dir and --port", r.Stack, r.PID, r.URL)
}

// close releases whatever start built, also after a failed start.
func (a *App) close() error {
	ctx, cancel := a.untilHardStop(10 * time.Second)
	defer cancel()
	var errs []error
	if a.management != nil {
		errs = append(errs, a.management.close()) // what it looks at is about to go
	}
	for _, ln := range a.listeners {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if a.edits != nil {
		errs = append(errs, a.edits.Close())
	}
	if a.runtime != nil {
		errs = append(errs, a.runtime.Close(ctx))
	}
	if a.external != nil {
		a.external.Close()
	}
	if a.accesses != nil {
		errs = append(errs, a.accesses.close())
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	if a.dirs.data != "" {
		errs = append(errs, client.RemoveRunFile(a.dirs.data, a.dirs.cache))
	}
	return errors.Join(errs...)
}

// gatewayConfig wires the gateway to its engines.
func (a *App) gatewayConfig() gateway.Config {
	functions := timedFunctions{a.runtime, &a.metrics.function}
	return gateway.Config{
		Registry: a.registry,
		Integrations: integration.New(integration.Config{
			Functions: functions, Events: a.runtime, Services: a.services,
			HTTP:  &http.Client{Transport: timedBackends{a.backends(), &a.metrics.http}},
			Bytes: a.cfg.Profile == "open",
		}),
		Guard:     a.access,
		AccessLog: a.accessLine, PeerCertificates: (*conn.Upgrade).PeerCertificates,
		Journal: journal{a.db},
		Profile: a.cfg.Profile,
		Limits:  a.limits(),
		Quiet:   a.cfg.Quiet,
		// The server is there before anything is deployed.
		Channels: func(api, stage string) gateway.Channels { return a.channels.of(stageName{api, stage}, a.server) },
		Logs:     a.log,
	}
}

// upgrade is the door of every WebSocket handshake: a page whose name was rebound
// to loopback is told apart here, before any function runs.
func (a *App) upgrade(u *conn.Upgrade) {
	if a.draining.Load() {
		u.Refuse(http.StatusServiceUnavailable, []conn.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "x-amzn-errortype", Value: "ServiceUnavailableException"}}, []byte(`{"message":"Service Unavailable"}`))
		return
	}
	if !a.guard.AllowHost(u.Host) {
		body := fmt.Sprintf("{\"message\":\"Forbidden\",\"detail\":%q}", "host "+u.Host+" is not served here; add it with --allow-host")
		u.Refuse(http.StatusForbidden, []conn.Header{{Name: "Content-Type", Value: "application/json"}, {Name: "x-amzn-errortype", Value: "ForbiddenException"}}, []byte(body))
		return
	}
	if a.isMapped(u.Host) {
		// Not ours: /dev on a host that stands for somebody else's service would
		// find our own stage of that name.
		u.Refuse(http.StatusNotImplemented, nil, []byte(`{"message":"--map-host forwards HTTP requests, not WebSocket connections"}`))
		return
	}
	a.gateway.ServeUpgrade(u)
}

// log passes one event to the user and to the timeline.
func (a *App) log(line model.LogLine) {
	if line.At.IsZero() {
		line.At = time.Now()
	}
	line.Text = a.atHome(line.Text)
	a.timeline.Add(line)
	a.cfg.Logs(line)
}

func (a *App) note(level, source, format string, args ...any) {
	a.log(model.LogLine{Level: level, Source: source, Text: fmt.Sprintf(format, args...)})
}

// progress passes a build step to the user.
func (a *App) progress(p runtime.Progress) {
	a.cfg.Progress(Progress{Step: p.Step, Done: p.Done, Err: p.Err, Took: p.Took})
}

// current is the application that serves now; nil before the first load.
func (a *App) current() *model.App {
	if d := a.deployed.Load(); d != nil {
		return d.app
	}
	return nil
}

// invoke is the control API's door to the runtime.
func (a *App) invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error) {
	return a.runtime.Invoke(ctx, in)
}

// port is the TCP port in use, the same on every listener.
func (a *App) port() int {
	return a.listeners[0].Addr().(*net.TCPAddr).Port
}

// unwritable turns a file system error on our own directories into advice.
func unwritable(dir string, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fault.New(fault.Forbidden, "cannot write to %s: permission denied; make it writable or choose another place with --data-dir", dir)
	}
	return err
}
