//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/load"
)

// A wrong is a fault that the engine is put through.
type wrong struct {
	name   string
	what   string
	server string
	files  int           // descriptors that the server may have; 0: the system's
	time   time.Duration // by default
	flags  []string
	judge  func(m load.Metrics, time time.Duration) []finding
}

// finding is one thing that must hold.
type finding struct {
	what   string
	got    string
	bound  string
	ok     bool
	hollow bool // too short a run to prove it
}

const (
	flatTime = 30 * time.Minute // flat: RSS over the last 20 minutes of 30 grows by at most
	flatMost = 0.01
	harm     = 2    // unharmed: p99 at most so many times what it is without the fault
	spin     = 0.25 // cores that a server with nothing to do may take
)

func wrongs() []wrong {
	return []wrong{
		{name: "slow", what: "1 % of 1 000 subscribers read a byte per second", server: "livegate", time: flatTime,
			flags: []string{"-n", "1000", "-size", "1024", "-rate", "50", "-quiet", "20s"}, judge: judgeSlow},
		{name: "halfopen", what: "500 clients vanish without a trace (profile open)", server: "livegate-open", time: 2 * time.Minute,
			flags: []string{"-n", "500"}, judge: judgeHalfOpen},
		{name: "churn", what: "clients come, speak and leave in six ways, 1 000 a second", server: "livegate", time: flatTime,
			flags: []string{"-n", "2000", "-rate", "1000", "-quiet", "10s"}, judge: judgeChurn},
		{name: "overload", what: "10 × the messages it can take, and all the handshakes that fit", server: "livegate", time: 20 * time.Second,
			flags: []string{"-n", "2000", "-times", "10", "-quiet", "5s"}, judge: judgeOverload},
		{name: "fd", what: "twice the connections that its 2 000 descriptors allow", server: "livegate", files: 2000, time: 20 * time.Second,
			flags: []string{"-n", "4000", "-quiet", "5s"}, judge: judgeFiles},
	}
}

func unharmed(m load.Metrics) finding {
	quiet, fault := m["quiet_p99_us"]/1e3, m["fault_p99_us"]/1e3
	return finding{what: "others unharmed: p99 of the control group", got: fmt.Sprintf("%s ms, %s ms without the fault (%.2f ×)", figure(fault), figure(quiet), fault/max(quiet, 1e-9)),
		bound: fmt.Sprintf("at most %d ×", harm), ok: quiet > 0 && fault > 0 && fault <= harm*quiet}
}

func complete(m load.Metrics) finding {
	var lost float64
	for _, name := range load.FaultNames() {
		lost += m["control_"+name]
	}
	return finding{what: "control group: lost, repeated, misdelivered, disconnected", got: figure(lost), bound: "0", ok: lost == 0}
}

func flat(m load.Metrics, d time.Duration) finding {
	drift := m["rss_drift"]
	return finding{what: "memory flat: RSS over the last two thirds", got: fmt.Sprintf("%+.2f %% (peak %s MB)", drift*100, figure(m["rss_mb_peak"])),
		bound: "at most 1 % in a run of 30 min or more", ok: drift <= flatMost, hollow: d < flatTime}
}

func back(what string, m load.Metrics, before, after string, slack float64) finding {
	return finding{what: what, got: figure(m[after]) + ", " + figure(m[before]) + " before", bound: "as before", ok: m[after] <= m[before]+slack}
}

func judgeSlow(m load.Metrics, d time.Duration) []finding {
	var lost float64
	for _, name := range load.FaultNames() {
		lost += m[name]
	}
	return []finding{unharmed(m), complete(m), flat(m, d),
		{what: "the other subscribers: lost, repeated, disconnected", got: figure(lost), bound: "0", ok: lost == 0},
		{what: "publishes", got: fmt.Sprintf("%s sent, %s of them refused with an error frame to the publisher", figure(m["published"]), figure(m["refused"])), ok: true},
		{what: "slow readers", got: fmt.Sprintf("%s at a time, %s bytes read, ended by the server %s times", figure(m["slow_connections"]), figure(m["slow_bytes_read"]), figure(m["slow_ended"])), ok: true}}
}

func judgeHalfOpen(m load.Metrics, _ time.Duration) []finding {
	all, ok := m["all_s"]
	got := fmt.Sprintf("%s of %s", figure(m["noticed"]), figure(m["vanished"]))
	if ok {
		got = fmt.Sprintf("first after %s s, half %s s, all %s s", figure(m["first_s"]), figure(m["half_s"]), figure(all))
	}
	return []finding{
		{what: "half-open clients found", got: got, bound: "all within " + figure(m["bound_s"]) + " s", ok: ok && all <= m["bound_s"]},
		unharmed(m), complete(m)}
}

func judgeChurn(m load.Metrics, d time.Duration) []finding {
	all := []finding{
		{what: "clients", got: figure(m["came"]) + " came and left, " + figure(m["refused"]) + " refused", ok: m["came"] > 0},
		flat(m, d), back("descriptors given back", m, "files_before", "files_after", 0)}
	if _, told := m["goroutines_after"]; told {
		all = append(all, back("goroutines ended", m, "goroutines_before", "goroutines_after", 5))
	}
	return append(all, unharmed(m), complete(m),
		finding{what: "answers to the wrong client, or wrong", got: figure(m["misdelivered"]), bound: "0", ok: m["misdelivered"] == 0})
}

func judgeOverload(m load.Metrics, _ time.Duration) []finding {
	return []finding{
		{what: "offered", got: fmt.Sprintf("%s messages/s (%.1f × what it can take), held back by full sockets %s/s, answered %s/s", figure(m["offered_per_s"]), m["offered_times"], figure(m["held_back_per_s"]), figure(m["answered_per_s"])), bound: "10 ×", ok: m["offered_times"] >= 9.9},
		{what: "handshakes meanwhile", got: figure(m["handshakes_per_s"]) + "/s, refused " + figure(m["handshakes_refused_per_s"]) + "/s", ok: true},
		{what: "memory", got: "peak " + figure(m["rss_mb_peak"]) + " MB, " + figure(m["rss_mb_after"]) + " MB after", ok: true},
		{what: "alive afterwards", got: figure(m["alive"]), bound: "1", ok: m["alive"] == 1},
		{what: "p99 of the control group back to 2 ×", got: "after " + figure(m["recovered_s"]) + " s", bound: "within 10 s", ok: m["recovered_s"] < 10},
		{what: "new clients afterwards", got: figure(m["opened_after"]), bound: "100", ok: m["opened_after"] == 100},
		complete(m)}
}

func judgeFiles(m load.Metrics, _ time.Duration) []finding {
	return []finding{
		{what: "connections", got: fmt.Sprintf("%s wanted, %s opened, %s refused, %s left waiting", figure(m["wanted"]), figure(m["opened"]), figure(m["refused"]), figure(m["left_waiting"])),
			bound: "some of each", ok: m["opened"] > 0 && m["opened"] < m["wanted"]},
		{what: "no spin: cores while full", got: figure(m["srv_cores"]) + ", " + figure(m["quiet_srv_cores"]) + " before", bound: "at most 0.25 more", ok: m["srv_cores"] <= m["quiet_srv_cores"]+spin},
		unharmed(m), complete(m),
		{what: "alive afterwards", got: figure(m["alive"]), bound: "1", ok: m["alive"] == 1},
		{what: "new clients once others left", got: figure(m["opened_after"]) + " after " + figure(m["recovered_s"]) + " s", bound: "50 within 10 s", ok: m["opened_after"] >= 50}}
}

func runFaults(ctx context.Context, args []string) error {
	var c engineConfig
	var d, bound time.Duration
	f := flag.NewFlagSet("wsload faults", flag.ContinueOnError)
	c.register(f)
	f.DurationVar(&d, "time", 0, "how long the fault lasts; 0: 30m for slow and churn, less for the others")
	f.DurationVar(&bound, "bound", 60*time.Second, "halfopen: what the server promises")
	scrape := f.String("metrics", "", "path of the server's Prometheus metrics, for its goroutines; tried: /metrics, /_livegate/metrics")
	if err := f.Parse(args); err != nil {
		return err
	}
	names := f.Args()
	if len(names) == 0 {
		return errors.New("wsload faults NAME…: slow, halfopen, churn, overload, fd")
	}
	c.watched, c.metricsPath = true, *scrape
	if err := c.complete(ctx); err != nil {
		return err
	}
	var failed []string
	for _, name := range names {
		ok, err := c.fault(ctx, name, d, bound)
		if err != nil {
			return err
		}
		if !ok {
			failed = append(failed, name)
		}
	}
	if len(failed) > 0 {
		return errors.New("failed: " + strings.Join(failed, ", "))
	}
	return nil
}

// fault runs one and prints what it found.
func (c *engineConfig) fault(ctx context.Context, name string, d, bound time.Duration) (ok bool, err error) {
	for _, w := range wrongs() {
		if w.name != name {
			continue
		}
		if d == 0 {
			d = w.time
		}
		return c.put(ctx, &w, d, bound)
	}
	return false, fmt.Errorf("no fault is called %q; there are slow, halfopen, churn, overload and fd", name)
}

func (c *engineConfig) put(ctx context.Context, w *wrong, d, bound time.Duration) (ok bool, err error) {
	at := time.Now().UTC().Truncate(time.Second)
	fmt.Printf("\n%s: %s, for %v\n", w.name, w.what, d)
	args := append([]string{w.name}, w.flags...)
	args = append(args, "-time", d.String())
	if w.name == "halfopen" {
		args = append(args, "-bound", bound.String())
	}
	for _, k := range c.contestants() {
		if k.name != w.server {
			continue
		}
		r := EngineRun{At: at, Scenario: "fault-" + w.name, Server: k.name}
		if r.Driven, err = c.measure(ctx, &k, w.files, args); err != nil {
			return false, fmt.Errorf("%s: %w", w.name, err)
		}
		ok = show(w.judge(r.M, d))
		if others := r.M["other_cores"]; others > otherCoresMost {
			fmt.Printf("  note: other programs used %.2f cores meanwhile; latencies of such a run prove little\n", others)
		}
		if late := r.M["fault_generator_late_p99_us"]; late > latest {
			fmt.Printf("  note: the generator itself was %.1f ms late; latencies of such a run prove nothing\n", late/1e3)
		}
		r.Kept = true
		return ok, c.keepFault(ctx, &r)
	}
	return false, fmt.Errorf("no server is called %s", w.server)
}

// show prints findings and says whether none failed. A run too short to prove
// flatness neither passes nor fails by it.
func show(all []finding) (ok bool) {
	ok = true
	for _, f := range all {
		verdict := passes
		switch {
		case f.hollow && f.ok:
			verdict = "so far"
		case f.hollow:
			verdict = "open"
		case !f.ok:
			verdict, ok = fails, false
		case f.bound == "":
			verdict = "·"
		}
		text := f.what + ": " + f.got
		if f.bound != "" {
			text += "; must be " + f.bound
		}
		fmt.Printf("  %-6s  %s\n", verdict, text)
	}
	return ok
}

// keepFault writes the raw result beside those of the matrix.
func (c *engineConfig) keepFault(ctx context.Context, r *EngineRun) error {
	name := filepath.Join(c.results, r.At.Format("2006-01-02T1504")+"-"+r.Scenario+".jsonl")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("the raw result: %w", err)
	}
	defer file.Close()
	raw := json.NewEncoder(file)
	fmt.Println("  raw result:", name)
	return errors.Join(
		raw.Encode(EngineHead{Benchmark: r.Scenario, At: r.At, Machine: machine(ctx), Livegate: output(ctx, c.livegate, "version"), ServerCPU: c.serverCPU, GeneratorCPU: c.generatorCPU, QuietFlag: c.quiet}),
		raw.Encode(r))
}
