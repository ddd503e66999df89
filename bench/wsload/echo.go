//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// otherCoresMost is the share of the machine that other programs may take before
// a round says more about them than about the servers.
const otherCoresMost = 0.2

// echoConfig is the flags of wsload echo.
type echoConfig struct {
	livegate, app, peer, out, logs string
	rounds                         int
	alone                          bool
	serverCPU                      string
	load                           Load
}

// Round is one server's part of one round, as it stands in the raw results.
type Round struct {
	At          time.Time `json:"at"`
	Round       int       `json:"round"`
	Server      string    `json:"server"`
	Connections int       `json:"connections"`
	Bytes       int       `json:"bytes"`
	ServerCPU   string    `json:"serverCPU"` // taskset's list; "" is everywhere
	Result
	Discarded bool `json:"discarded"` // the round, for what others used
}

// contender is a server under test.
type contender struct {
	name  string
	start func(port []string) (launch, string /* url */)
}

func runEcho(ctx context.Context, args []string) error {
	var c echoConfig
	f := flag.NewFlagSet("wsload echo", flag.ContinueOnError)
	f.StringVar(&c.livegate, "livegate", "bin/livegate", "the livegate program")
	f.StringVar(&c.app, "app", "", "directory with handler.js and template.yaml; livegate's state goes there")
	f.StringVar(&c.peer, "peer", "", "directory with handler.js, serverless.yml and node_modules")
	f.StringVar(&c.out, "out", "", "file for the raw results")
	f.StringVar(&c.logs, "logs", os.TempDir(), "directory for what the servers print")
	f.IntVar(&c.rounds, "rounds", 5, "rounds to keep; up to as many again may be discarded")
	f.BoolVar(&c.alone, "alone", false, "leave the peer out")
	f.StringVar(&c.serverCPU, "server-cpu", "", "processors of the servers, as taskset -c takes them")
	f.IntVar(&c.load.Connections, "n", 32, "connections")
	f.IntVar(&c.load.Bytes, "bytes", 128, "bytes of a message")
	f.DurationVar(&c.load.Warm, "warm", 5*time.Second, "load before the measured window")
	f.DurationVar(&c.load.Time, "time", 5*time.Second, "the measured window")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, p := range []*string{&c.livegate, &c.app, &c.peer, &c.logs} {
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	return c.run(ctx)
}

func (c echoConfig) contenders() []contender {
	all := []contender{
		{"livegate", func(port []string) (launch, string) {
			return launch{Dir: c.app, Argv: []string{c.livegate, "dev", ".", "--port", port[0]}, Env: unthrottled()},
				"ws://127.0.0.1:" + port[0] + "/dev"
		}},
		{"serverless-offline", func(port []string) (launch, string) {
			return launch{
				Dir: c.peer,
				Argv: []string{"node", filepath.Join("node_modules", ".bin", "serverless"), "offline", "start", "--host", "127.0.0.1",
					"--websocketPort", port[0], "--httpPort", port[1], "--lambdaPort", port[2]},
				Env: []string{"SLS_TELEMETRY_DISABLED=1", "SLS_NOTIFICATIONS_MODE=off", "SLS_INTERACTIVE_SETUP_ENABLE=0"},
			}, "ws://127.0.0.1:" + port[0]
		}},
	}
	if c.alone {
		return all[:1]
	}
	return all
}

// run does the rounds. A round is kept or discarded whole, so that both servers
// are compared under the same conditions.
func (c echoConfig) run(ctx context.Context) (err error) {
	raw := json.NewEncoder(io.Discard)
	if c.out != "" {
		file, err := os.Create(c.out)
		if err != nil {
			return err
		}
		defer file.Close()
		raw = json.NewEncoder(file)
	}
	m := machine(ctx)
	if err := raw.Encode(map[string]any{"benchmark": "echo", "machine": m, "livegate": output(ctx, c.livegate, "version")}); err != nil {
		return err
	}
	fmt.Printf("echo: %d connections, %d bytes, %v after %v of warm-up, servers on %s; %s, %d cores, Node %s\n", c.load.Connections,
		c.load.Bytes, c.load.Time, c.load.Warm, cpus(c.serverCPU), m.CPU, m.Cores, m.Node)
	kept, discarded := map[string][]Result{}, 0
	var faults Faults // of all rounds: a busy machine excuses no loss
	for n := 1; n <= 2*c.rounds && len(kept["livegate"]) < c.rounds; n++ {
		rounds, err := c.round(ctx, n)
		if err != nil {
			return err
		}
		for _, r := range rounds {
			if err := raw.Encode(r); err != nil {
				return err
			}
			fmt.Println(r.line())
			faults.add(r.Faults)
			if !r.Discarded {
				kept[r.Server] = append(kept[r.Server], r.Result)
			}
		}
		if rounds[0].Discarded {
			discarded++
		}
	}
	return c.summary(kept, discarded, faults)
}

func (c echoConfig) round(ctx context.Context, n int) (rounds []Round, err error) {
	servers := c.contenders()
	if n%2 == 0 {
		slices.Reverse(servers)
	}
	noisy := false
	for _, s := range servers {
		res, err := c.measure(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("round %d, %s: %w", n, s.name, err)
		}
		noisy = noisy || res.OtherCores > otherCoresMost
		rounds = append(rounds, Round{
			At: time.Now().UTC().Truncate(time.Second), Round: n, Server: s.name,
			Connections: c.load.Connections, Bytes: c.load.Bytes, ServerCPU: c.serverCPU, Result: res,
		})
	}
	for i := range rounds {
		rounds[i].Discarded = noisy
	}
	return rounds, nil
}

// measure starts a fresh server, loads it, and ends it.
func (c echoConfig) measure(ctx context.Context, s contender) (res Result, err error) {
	ports, err := freePorts(ctx, 3)
	if err != nil {
		return res, err
	}
	log, err := os.Create(filepath.Join(c.logs, s.name+".log"))
	if err != nil {
		return res, err
	}
	defer log.Close()
	l, url := s.start(ports)
	l.CPU, l.Out = c.serverCPU, log
	srv, err := l.start()
	if err != nil {
		return res, err
	}
	defer srv.stop()
	if err := srv.awaitSocket(ctx, url, time.Minute); err != nil {
		return res, fmt.Errorf("%w; it said: %s", err, log.Name())
	}
	load := c.load
	load.URL, load.PID = url, srv.pid()
	return load.Run(ctx)
}

func (r Round) line() string {
	note := ""
	if r.Discarded {
		note = "  DISCARDED"
	}
	if r.any() {
		note += fmt.Sprintf("  FAULTS %+v", r.Faults)
	}
	return fmt.Sprintf("  round %-2d %-18s %8.0f replies/s  %6.1f µs CPU (%.1f + %.1f)  p50 %6.2f ms  p99 %6.2f ms  generator %.2f, others %.2f cores%s",
		r.Round, r.Server, r.PerSecond, r.CPU, r.GatewayCPU, r.WorkerCPU, r.P50/1000, r.P99/1000, r.GeneratorCore, r.OtherCores, note)
}

// summary prints medians and ratios. Errors: faults, or a machine too busy for a
// verdict.
func (c echoConfig) summary(kept map[string][]Result, discarded int, faults Faults) error {
	fmt.Printf("\nmedians of %d rounds (%d discarded: others used more than %.1f cores)\n", len(kept["livegate"]), discarded, otherCoresMost)
	col := func(server string, f func(Result) float64) float64 {
		var v []float64
		for _, r := range kept[server] {
			v = append(v, f(r))
		}
		return stat.Median(v)
	}
	rows := []struct {
		name string
		f    func(Result) float64
	}{
		{"replies/s", func(r Result) float64 { return r.PerSecond }},
		{"CPU µs per message", func(r Result) float64 { return r.CPU }},
		{"  first process (gateway)", func(r Result) float64 { return r.GatewayCPU }},
		{"  processes below (workers)", func(r Result) float64 { return r.WorkerCPU }},
		{"p50 µs", func(r Result) float64 { return r.P50 }},
		{"p99 µs", func(r Result) float64 { return r.P99 }},
	}
	fmt.Printf("%-28s %12s %20s %8s\n", "", "livegate", "serverless-offline", "ratio")
	for _, row := range rows {
		a, b := col("livegate", row.f), col("serverless-offline", row.f)
		ratio := "–"
		if a > 0 && b > 0 {
			ratio = fmt.Sprintf("%.2f", max(a, b)/min(a, b))
		}
		fmt.Printf("%-28s %12.1f %20.1f %8s\n", row.name, a, b, ratio)
	}
	fmt.Printf("faults: %d lost, %d duplicated, %d misdelivered, %d wrong\n", faults.Lost, faults.Duplicated, faults.Misdelivered, faults.Wrong)
	own, peer := col("livegate", rows[0].f), col("serverless-offline", rows[0].f)
	if cost := col("livegate", rows[1].f); cost > 0 {
		fmt.Printf("goal: at most 100 µs of CPU per message: %.1f µs %s\n", cost, verdict(cost <= 100))
	}
	if own > 0 && peer > 0 {
		fmt.Printf("goal: at least 5 × the peer's throughput: %.1f × %s\n", own/peer, verdict(own >= 5*peer))
	}
	switch {
	case faults.any():
		return errors.New("messages were lost, duplicated, misdelivered or wrong")
	case len(kept["livegate"]) < c.rounds:
		return fmt.Errorf("only %d of %d rounds were quiet enough to keep: the medians prove nothing; try again when the machine is idle", len(kept["livegate"]), c.rounds)
	}
	return nil
}

func verdict(met bool) string {
	if met {
		return "(met)"
	}
	return "(NOT met)"
}

func cpus(list string) string {
	if list == "" {
		return "any processor"
	}
	return "processor " + list
}

func machine(ctx context.Context) Machine {
	// Not runtime.NumCPU: taskset may have left this program one.
	cores, err := strconv.Atoi(output(ctx, "getconf", "_NPROCESSORS_ONLN"))
	if err != nil {
		cores = runtime.NumCPU()
	}
	return Machine{
		CPU:   output(ctx, "sh", "-c", "sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1"),
		Cores: cores, Kernel: output(ctx, "uname", "-r"), Go: runtime.Version(), Node: output(ctx, "node", "--version"),
	}
}
