//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/load"
)

// Driven is what one run of the generator gave: a line of the raw results.
type Driven struct {
	Mode    string        `json:"mode"`
	Flags   string        `json:"flags"`
	M       load.Metrics  `json:"m"`
	Samples []load.Sample `json:"samples,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// driveFlags is the generator's command line.
type driveFlags struct {
	proto, header, steps, pids, front, key string
	t                                      load.Target
	n, size, window, depth, posters        int
	rate, times                            float64
	warm, time, settle, quiet, bound       time.Duration
	control                                load.Control
	json                                   bool
}

// loadModes are the modes of wsload drive, in the order of its help.
var loadModes = [...]string{"idle", "echo", "fanout", "post", "fairness", "slow", "halfopen", "churn", "overload", "fd"}

func (d *driveFlags) parse(mode string, args []string) error {
	f := flag.NewFlagSet("wsload drive "+mode, flag.ContinueOnError)
	f.StringVar(&d.t.Addr, "addr", "127.0.0.1:3001", "the server, on loopback")
	f.BoolVar(&d.t.TLS, "tls", false, "idle, echo: wss")
	f.StringVar(&d.proto, "proto", "livegate", "how to talk to it: "+load.ProtoNames())
	f.StringVar(&d.t.Proto.Path, "path", "", "instead of the protocol's path")
	f.StringVar(&d.header, "header", "", `extra header lines of every upgrade, \n between`)
	f.StringVar(&d.pids, "pid", "", "the server's processes, comma separated; their children count too")
	f.StringVar(&d.front, "front", "", "those of them that stand in front as a proxy")
	f.StringVar(&d.t.Scrape, "scrape", "", "URL of the server's Prometheus metrics, for its goroutines")
	f.StringVar(&d.steps, "steps", "1000,5000,10000,15000,19000", "idle: connections at which memory is read")
	f.IntVar(&d.n, "n", 200, "connections, subscribers, or clients at a time")
	f.IntVar(&d.size, "size", 128, "bytes of a message")
	f.IntVar(&d.window, "window", 1, "fanout: messages not yet delivered to all, without -rate")
	f.IntVar(&d.depth, "depth", 1, "echo: questions in flight per connection, without -rate")
	f.IntVar(&d.posters, "posters", 8, "post: HTTP clients")
	f.StringVar(&d.key, "key", "", "post: KEY:SECRET[:TOKEN] to sign with; \"looks\" writes a well-formed signature of nobody")
	f.Float64Var(&d.rate, "rate", 0, "messages or clients per second, an open loop; 0: as fast as answers come")
	f.Float64Var(&d.times, "times", 10, "overload: how many times what the server can take")
	f.DurationVar(&d.warm, "warm", time.Second, "load before the measured window")
	f.DurationVar(&d.time, "time", 3*time.Second, "the measured window, or how long the fault lasts")
	f.DurationVar(&d.settle, "settle", 500*time.Millisecond, "wait after connecting; idle: at each step")
	f.DurationVar(&d.quiet, "quiet", 5*time.Second, "how long the control group is measured without the fault")
	f.DurationVar(&d.bound, "bound", 10*time.Second, "halfopen: what the server promises; overload, fd: time to recover")
	f.IntVar(&d.control.N, "control", 200, "connections of the control group")
	f.Float64Var(&d.control.Rate, "control-rate", 1000, "questions per second of the control group")
	f.BoolVar(&d.json, "json", false, "print one line of JSON")
	if err := f.Parse(args); err != nil {
		return err
	}
	return d.complete()
}

func (d *driveFlags) complete() error {
	p, ok := load.Protos()[d.proto]
	if !ok {
		return fmt.Errorf("-proto %q: there are %s", d.proto, load.ProtoNames())
	}
	if path := d.t.Proto.Path; path != "" {
		p.Path = path
	}
	d.t.Proto = p
	if d.header != "" {
		d.t.Header = strings.ReplaceAll(d.header, `\n`, "\r\n") + "\r\n"
	}
	d.control.Size = d.size
	var err error
	if d.t.PIDs, err = numbers(d.pids); err != nil {
		return fmt.Errorf("-pid: %w", err)
	}
	if d.t.Front, err = numbers(d.front); err != nil {
		return fmt.Errorf("-front: %w", err)
	}
	return nil
}

func numbers(list string) (all []int, err error) {
	if list == "" {
		return nil, nil
	}
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", s)
		}
		all = append(all, n)
	}
	return all, nil
}

// raiseFiles lifts the open-file limit as far as this user may.
func raiseFiles() {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil {
		r.Cur = r.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &r) //nolint:errcheck // a smaller run fails less far
	}
}

func runDrive(args []string) error {
	if len(args) == 0 || !slices.Contains(loadModes[:], args[0]) {
		return errors.New("wsload drive MODE …; modes are " + strings.Join(loadModes[:], ", "))
	}
	var d driveFlags
	if err := d.parse(args[0], args[1:]); err != nil {
		return err
	}
	raiseFiles()
	debug.SetGCPercent(400)
	if !d.t.TLS {
		// An event loop that never sleeps must not keep the others from running on a
		// single processor: the kernel divides it, not Go's scheduler.
		runtime.GOMAXPROCS(max(4, runtime.NumCPU()))
	}
	r := Driven{Mode: args[0], Flags: strings.Join(args[1:], " "), M: load.Metrics{}}
	err := d.run(args[0], &r)
	if err != nil {
		r.Error = err.Error()
	}
	if d.json {
		if jerr := json.NewEncoder(os.Stdout).Encode(r); jerr != nil {
			return jerr
		}
		return err
	}
	r.print()
	return err
}

func (d *driveFlags) run(mode string, r *Driven) (err error) {
	t, m := &d.t, r.M
	switch mode {
	case "idle":
		var steps []int
		if steps, err = numbers(d.steps); err != nil {
			return fmt.Errorf("-steps: %w", err)
		}
		return load.Idle{Steps: steps, Settle: d.settle, Limit: 90 * time.Second}.Run(t, m)
	case "echo":
		return load.Echo{N: d.n, Depth: d.depth, Size: d.size, Rate: d.rate, Warm: d.warm, Time: d.time, Settle: d.settle}.Run(t, m)
	case "fanout":
		return load.Fanout{N: d.n, Window: d.window, Size: d.size, Rate: d.rate, Warm: d.warm, Time: d.time, Settle: d.settle}.Run(t, m)
	case "post":
		sign, err := d.signer()
		if err != nil {
			return err
		}
		return load.Post{N: d.n, Posters: d.posters, Size: d.size, Sign: sign, Warm: d.warm, Time: d.time, Settle: d.settle}.Run(t, m)
	case "fairness":
		return load.Fairness{Subscribers: d.n, Size: d.size, Control: d.control, Quiet: d.quiet, Time: d.time}.Run(t, m)
	case "slow":
		r.Samples, err = load.Slow{N: d.n, Size: d.size, Rate: d.rate, Control: d.control, Quiet: d.quiet, Time: d.time}.Run(t, m)
	case "halfopen":
		r.Samples, err = load.HalfOpen{N: d.n, Bound: d.bound, Limit: d.time, Control: d.control}.Run(t, m)
	case "churn":
		r.Samples, err = load.Churn{N: d.n, Size: d.size, Rate: d.rate, Control: d.control, Quiet: d.quiet, Time: d.time}.Run(t, m)
	case "overload":
		r.Samples, err = load.Overload{N: d.n, Size: d.size, Times: d.times, Control: d.control, Quiet: d.quiet, Time: d.time, RecoverWithin: d.bound}.Run(t, m)
	case "fd":
		r.Samples, err = load.Files{N: d.n, Control: d.control, Quiet: d.quiet, Time: d.time, RecoverWithin: d.bound}.Run(t, m)
	}
	return err
}

func (d *driveFlags) signer() (*load.Signer, error) {
	switch d.key {
	case "":
		return nil, nil
	case "looks":
		return &load.Signer{Key: "AKIAIOSFODNN7EXAMPLE", Region: "us-east-1", Looks: true}, nil
	}
	part := strings.SplitN(d.key, ":", 3)
	if len(part) < 2 {
		return nil, errors.New("-key: want KEY:SECRET or KEY:SECRET:TOKEN")
	}
	s := &load.Signer{Key: part[0], Secret: part[1], Region: "us-east-1"}
	if len(part) == 3 {
		s.Token = part[2]
	}
	return s, nil
}

// print shows the figures to a person.
func (r *Driven) print() {
	fmt.Printf("%s %s\n", r.Mode, r.Flags)
	names := make([]string, 0, len(r.M))
	for k := range r.M {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		fmt.Printf("  %-28s %s\n", k, figure(r.M[k]))
	}
}

// figure is a number with about four digits that matter.
func figure(v float64) string {
	switch a := max(v, -v); {
	case v == float64(int64(v)) && a < 1e15:
		return strconv.FormatInt(int64(v), 10)
	case a >= 1000:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 3, 64)
}
