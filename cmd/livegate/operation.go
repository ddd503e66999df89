package main

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fault"
)

// maxRate is the highest rate that can be told from no bound.
const maxRate = 1_000_000

// operation are the flags for whoever keeps an application running: what can be
// seen of it, and how it stops. docs/operations.md is about them.
type operation struct {
	management, tokenFile string
	profiling, quiet      bool
	grace, drain          time.Duration
	heartbeat, engine     string
	tables, endpoint      string
	credentials           string
	accessLog             string
	rates                 conn.Rates
	limits                limitFlags
}

func (o *operation) register(fs *pflag.FlagSet) {
	fs.StringVar(&o.management, "management", "", "serve /metrics, /healthz and /readyz at this HOST:PORT or PORT too (no host: loopback)")
	fs.StringVar(&o.tokenFile, "management-token-file", "", "file that holds the bearer token for --management (or set $"+tokenVariable+"); needed beyond loopback")
	fs.BoolVar(&o.profiling, "pprof", false, "serve Go profiles under /debug/pprof/ of --management")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "log what went wrong, not what clients do")
	fs.DurationVar(&o.grace, "grace", 30*time.Second, "a stop that takes longer is cut off")
	fs.DurationVar(&o.drain, "drain", 0, "close clients over this long when stopping, with 1012 (default: all at once, with 1001)")
	fs.StringVar(&o.heartbeat, "heartbeat", "", "ping clients that were silent this long, and close those that stay silent; 0 is never (default: never with --profile aws, 25s with open)")
	fs.IntVar(&o.rates.Conns, "max-connections", 0, "open connections on the port, all kinds; beyond, handshakes get 503 (0 = no bound)")
	fs.IntVar(&o.rates.ConnsPerIP, "max-connections-per-ip", 0, "open connections of one client address; beyond, handshakes get 429 (0 = no bound)")
	fs.Float64Var(&o.rates.Handshakes, "handshake-rate", 0, "WebSocket handshakes per second; beyond, they get 503 (0 = no bound)")
	fs.Float64Var(&o.rates.HandshakesPerIP, "handshake-rate-per-ip", 0, "WebSocket handshakes per second of one client address; beyond, they get 429 (0 = no bound)")
	fs.StringVar(&o.engine, "engine", "auto", "for diagnosis: how connections are served, auto, loop (event loops) or portable (goroutines)")
	fs.StringVar(&o.tables, "tables", "durable", "how tables are kept: durable (an answer means: on disk) or fast (a power failure loses the last second)")
	fs.StringVar(&o.endpoint, "dynamodb-endpoint", "", "tables are at this DynamoDB endpoint, e.g. http://localhost:8000, called with the AWS_ credentials of the environment; missing tables of the template are created there")
	fs.StringVar(&o.credentials, "credentials", "", "JSON file of access keys that may call AWS endpoints and connect with IAM, and their policies; others are then refused")
	fs.StringVar(&o.accessLog, "access-log", "", "append the stages' access logs to this file (default: they are part of the log)")
	o.limits.register(fs)
	variable(fs, "credentials", "access-log", "tables", "dynamodb-endpoint", "management", "management-token-file", "pprof", "quiet", "grace", "drain", "heartbeat", "engine",
		"max-connections", "max-connections-per-ip", "handshake-rate", "handshake-rate-per-ip")
}

// apply checks the flags and puts them into cfg.
func (o *operation) apply(cfg *app.Config, getenv func(string) string) error {
	if o.grace <= 0 {
		return usagef("--grace %v: want more than nothing, e.g. 30s", o.grace)
	}
	if o.drain < 0 || o.drain >= o.grace {
		return usagef("--drain %v: want less than --grace (%v), so that the last $disconnect has time to run", o.drain, o.grace)
	}
	cfg.Management, cfg.Profiling, cfg.Grace, cfg.Drain = o.management, o.profiling, o.grace, o.drain
	cfg.Quiet, cfg.AccessLog = o.quiet, o.accessLog
	cfg.Tables, cfg.DynamoDBEndpoint = o.tables, o.endpoint
	r := o.rates
	if !(r.Conns >= 0 && r.ConnsPerIP >= 0 && r.Handshakes >= 0 && r.Handshakes <= maxRate && r.HandshakesPerIP >= 0 && r.HandshakesPerIP <= maxRate) { // NaN too
		return usagef("--max-connections, --handshake-rate and their -per-ip forms: want 0 for no bound, or more (a rate: up to %d)", maxRate)
	}
	cfg.Engine, cfg.Rates = o.engine, r
	if o.heartbeat != "" {
		d, err := time.ParseDuration(o.heartbeat)
		if err != nil || d != 0 && d < time.Second {
			return usagef("--heartbeat %s: want 1s or more, or 0 for never", o.heartbeat)
		}
		if cfg.Heartbeat = d; d == 0 {
			cfg.Heartbeat = -1
		}
	}
	if err := o.limits.apply(&cfg.Limits); err != nil {
		return err
	}
	if o.credentials != "" {
		var err error
		if cfg.Credentials, err = app.ReadCredentials(o.credentials); err != nil {
			return usagef("--credentials: %s", fault.Message(err))
		}
	}
	cfg.ManagementToken = getenv(tokenVariable)
	if o.tokenFile != "" {
		if cfg.ManagementToken != "" {
			return usagef("--management-token-file and %s are both set: which one?", tokenVariable)
		}
		text, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return usagef("--management-token-file: %v", err)
		}
		if cfg.ManagementToken = strings.TrimSpace(string(text)); cfg.ManagementToken == "" {
			return usagef("--management-token-file %s is empty", o.tokenFile)
		}
	}
	if err := cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	return nil
}
