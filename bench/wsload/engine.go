//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// engineConfig is the flags of wsload engine and wsload faults.
type engineConfig struct {
	site
	results      string
	rounds       int
	quick        bool
	only, peers  string
	serverCPU    string
	generatorCPU string
	busiest      float64
	watched      bool   // the generator's progress is shown
	metricsPath  string // of livegate's metrics; "" to look for them
}

func (c *engineConfig) register(f *flag.FlagSet) {
	f.StringVar(&c.livegate, "livegate", "bin/livegate", "the livegate program")
	f.StringVar(&c.apps, "apps", "bench/engine", "directory of the measured applications")
	f.StringVar(&c.site.peers, "peer-files", "bench/peers", "directory with ws.js")
	f.StringVar(&c.cache, "cache", "bench/.cache", "directory for programs, logs and servers' files")
	f.StringVar(&c.results, "results", "bench/results", "directory for the raw results")
	f.StringVar(&c.serverCPU, "server-cpu", "0", "processors of the servers, as taskset -c takes them; \"\" is everywhere")
	f.StringVar(&c.generatorCPU, "generator-cpu", "1", "processors of the generator")
}

func (c *engineConfig) complete(ctx context.Context) error {
	for _, p := range []*string{&c.livegate, &c.apps, &c.site.peers, &c.cache, &c.results} {
		var err error
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if !exists(c.livegate) {
		return fmt.Errorf("%s does not exist: make build, or -livegate", c.livegate)
	}
	if runtime.NumCPU() < 2 {
		c.serverCPU, c.generatorCPU = "", ""
	}
	raiseFiles() // servers inherit it
	c.quiet = quietFlag(ctx, c.livegate)
	return errors.Join(os.MkdirAll(filepath.Join(c.cache, "logs"), 0o755), os.MkdirAll(c.results, 0o755))
}

// EngineRun is one run of one server, a line of the raw results.
type EngineRun struct {
	At       time.Time `json:"at"`
	Round    int       `json:"round"`
	Scenario string    `json:"scenario"`
	Server   string    `json:"server"`
	Kept     bool      `json:"kept"`
	Why      string    `json:"why,omitempty"` // it was not
	Driven
}

// EngineHead is the first line.
type EngineHead struct {
	Benchmark    string            `json:"benchmark"`
	At           time.Time         `json:"at"`
	Machine      Machine           `json:"machine"`
	Livegate     string            `json:"livegate"`
	Quick        bool              `json:"quick"`
	Rounds       int               `json:"rounds"`
	ServerCPU    string            `json:"serverCPU"`
	GeneratorCPU string            `json:"generatorCPU"`
	Busiest      float64           `json:"busiest"` // cores of other programs up to which runs were kept
	QuietFlag    string            `json:"quietFlag"`
	Skipped      map[string]string `json:"skipped"` // servers, and why
}

func runEngine(ctx context.Context, args []string) error {
	var c engineConfig
	f := flag.NewFlagSet("wsload engine", flag.ContinueOnError)
	c.register(f)
	f.IntVar(&c.rounds, "rounds", 5, "rounds to keep of each scenario; as many again may be discarded")
	f.BoolVar(&c.quick, "quick", false, "two short rounds with fewer connections: a look, not a verdict")
	f.StringVar(&c.only, "only", "", "scenarios, comma separated; all without")
	f.StringVar(&c.peers, "peers", "all", "peers, comma separated; none leaves only the floor")
	f.Float64Var(&c.busiest, "busiest", otherCoresMost, "cores that other programs may take before a run is discarded")
	if err := f.Parse(args); err != nil {
		return err
	}
	if c.quick {
		c.rounds = min(c.rounds, 2)
	}
	if err := c.complete(ctx); err != nil {
		return err
	}
	chosen, err := c.choose()
	if err != nil {
		return err
	}
	m := &matrix{c: &c, servers: map[string]contestant{}, head: EngineHead{
		Benchmark: "engine", At: time.Now().UTC().Truncate(time.Second), Machine: machine(ctx), Livegate: output(ctx, c.livegate, "version"),
		Quick: c.quick, Rounds: c.rounds, ServerCPU: c.serverCPU, GeneratorCPU: c.generatorCPU, Busiest: c.busiest, QuietFlag: c.quiet, Skipped: map[string]string{},
	}}
	m.scenarios = m.present(chosen)
	return m.run(ctx)
}

func (c *engineConfig) choose() ([]scenario, error) {
	all := scenarios()
	if c.only == "" {
		return all, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(c.only, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			var names []string
			for _, s := range all {
				names = append(names, s.name)
			}
			return nil, fmt.Errorf("no scenario is called %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// latest is how late, in µs at p99, the generator's control group may ask before
// its latencies are its own.
const latest = 1000

// leastCPU is how many seconds a server must have worked for its cost per message
// to mean something: /proc counts in hundredths.
const leastCPU = 0.2

// matrix runs every scenario on every server, round after round, a fresh server
// each time, so that drifts of the machine fall on all alike.
type matrix struct {
	c         *engineConfig
	head      EngineHead
	scenarios []scenario
	servers   map[string]contestant
	runs      []EngineRun
	raw       *json.Encoder
	done      int
	planned   int
}

// present drops the servers that cannot run here or were not asked for, and notes
// why.
func (m *matrix) present(chosen []scenario) []scenario {
	wanted := func(name string) bool {
		return m.c.peers == "all" || name == "floor" || strings.HasPrefix(name, "livegate") || slices.Contains(strings.Split(m.c.peers, ","), name)
	}
	for _, k := range m.c.contestants() {
		switch {
		case !wanted(k.name):
			m.head.Skipped[k.name] = "not asked for"
		case k.missing != nil && k.missing(&m.c.site) != "":
			m.head.Skipped[k.name] = k.missing(&m.c.site)
		default:
			m.servers[k.name] = k
		}
	}
	for i := range chosen {
		var here []string
		for _, name := range chosen[i].servers {
			if _, ok := m.servers[name]; ok {
				here = append(here, name)
			}
		}
		chosen[i].servers = here
		m.planned += len(here) * m.c.rounds
	}
	return slices.DeleteFunc(chosen, func(s scenario) bool { return len(s.servers) == 0 })
}

func (m *matrix) run(ctx context.Context) error {
	// Minutes are in the name, and an existing file is never written over.
	name := filepath.Join(m.c.results, m.head.At.Format("2006-01-02T1504")+"-engine.jsonl")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("the raw results: %w", err)
	}
	defer file.Close()
	m.raw = json.NewEncoder(file)
	if err := m.raw.Encode(m.head); err != nil {
		return err
	}
	m.announce(name)
	for round := 1; round <= 2*m.c.rounds; round++ {
		for i := range m.scenarios {
			s := &m.scenarios[i]
			if m.kept(s) >= m.c.rounds || round > m.c.rounds && !m.disturbed(s) {
				continue
			}
			if err := m.round(ctx, round, s); err != nil {
				return err
			}
		}
	}
	fmt.Print("\n", table(m.head, m.runs), "\nraw results: ", name, "\n")
	return verdictError(m.head, m.runs)
}

func (m *matrix) announce(file string) {
	h := m.head
	fmt.Printf("engine: %s\n%s, %d cores, Linux %s, %s; servers on %s, generator on %s\n",
		h.Livegate, h.Machine.CPU, h.Machine.Cores, h.Machine.Kernel, h.Machine.Go, cpus(h.ServerCPU), cpus(h.GeneratorCPU))
	fmt.Printf("%d rounds of %d scenarios, %d runs; raw results in %s\n", h.Rounds, len(m.scenarios), m.planned, file)
	if h.QuietFlag == "" {
		fmt.Println("note: this livegate has no flag against logging messages; what it logs goes to /dev/null and is on its bill")
	}
	for _, name := range sortedKeys(h.Skipped) {
		fmt.Printf("left out: %s: %s\n", name, h.Skipped[name])
	}
	fmt.Println()
}

// kept is how many rounds of a scenario have a verdict: all the servers that its
// goals need were measured undisturbed.
func (m *matrix) kept(s *scenario) int { return len(keptRounds(m.runs, s)) }

// disturbed reports whether other programs are what keeps a scenario from having
// its rounds: a server that failed would fail again.
func (m *matrix) disturbed(s *scenario) bool {
	needed := s.needed()
	return slices.ContainsFunc(m.runs, func(r EngineRun) bool {
		return r.Scenario == s.name && r.state() == discarded && slices.Contains(needed, r.Server)
	})
}

// round measures every server once. Who goes first changes from round to round.
func (m *matrix) round(ctx context.Context, n int, s *scenario) error {
	order := slices.Clone(s.servers)
	for range n - 1 {
		order = append(order[1:], order[0])
	}
	for _, name := range order {
		k := m.servers[name]
		m.done++
		r := EngineRun{At: time.Now().UTC().Truncate(time.Second), Round: n, Scenario: s.name, Server: name}
		place := fmt.Sprintf("%d/%d", m.done, m.planned)
		if m.done > m.planned {
			place = "again" // for rounds that were discarded
		}
		fmt.Printf("%8s  round %-2d %-13s %-15s ", place, n, s.name, name)
		var err error
		r.Driven, err = m.c.measure(ctx, &k, 0, s.arguments(name, m.c.quick))
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			r.Why = err.Error()
		case r.M["other_cores"] > m.c.busiest:
			r.Why = fmt.Sprintf("others used %.2f cores", r.M["other_cores"])
		case r.M["srv_cpu_s"] < leastCPU && r.Mode != "idle":
			r.Why = fmt.Sprintf("the server worked for %.2f s only, which /proc cannot tell well", r.M["srv_cpu_s"])
		case r.M["generator_late_p99_us"] > latest:
			r.Why = fmt.Sprintf("the generator itself was %.1f ms late", r.M["generator_late_p99_us"]/1e3)
		default:
			r.Kept = true
		}
		if faulty := r.faults(); faulty != "" {
			r.Why = strings.TrimPrefix(r.Why+"; "+faulty, "; ") // kept or not: no busy machine excuses it
		}
		fmt.Println(r.line())
		m.runs = append(m.runs, r)
		if err := m.raw.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func (s *scenario) arguments(server string, quick bool) []string {
	args := append([]string{s.mode}, s.flags...)
	if quick {
		args = append(args, s.quick...)
	}
	return append(args, s.extra[server]...)
}

// measure starts a server, runs the generator on it and ends it.
func (c *engineConfig) measure(ctx context.Context, k *contestant, files int, args []string) (d Driven, err error) {
	up, err := k.start(ctx, &c.site, c.serverCPU, files)
	if err != nil {
		return d, err
	}
	defer up.stop()
	self, err := os.Executable()
	if err != nil {
		return d, err
	}
	argv := append(append([]string{self, "drive", args[0], "-json"}, up.flags...), args[1:]...)
	if c.watched {
		if url := c.metricsURL(ctx, up.addr); url != "" {
			argv = append(argv, "-scrape", url)
		}
	}
	if c.generatorCPU != "" {
		argv = append([]string{"taskset", "-c", c.generatorCPU}, argv...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if c.watched {
		cmd.Stderr = os.Stderr
	}
	failed := cmd.Run()
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		return d, fmt.Errorf("the generator: %w: %.300s", errors.Join(failed, err), complaints.String())
	}
	d.Flags = redact(d.Flags)
	if d.Error != "" {
		return d, errors.New(d.Error)
	}
	return d, failed
}

// redact keeps credentials, even short-lived ones, out of the results.
func redact(flags string) string {
	before, after, found := strings.Cut(flags, "-key ")
	if !found {
		return flags
	}
	_, rest, _ := strings.Cut(after, " ")
	return before + "-key … " + rest
}

// metricsURL is where a server tells its metrics; "" when it does not.
func (c *engineConfig) metricsURL(ctx context.Context, addr string) string {
	for _, path := range []string{c.metricsPath, "/metrics", "/_livegate/metrics"} {
		if path == "" {
			continue
		}
		url := "http://" + addr + path
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			continue
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK && bytes.Contains(text, []byte("go_goroutines ")) {
			return url
		}
	}
	return ""
}
