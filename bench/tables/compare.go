package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// measurement is one line of raw results.
type measurement struct {
	Round       int     `json:"round"`
	Server      string  `json:"server"`
	Kind        string  `json:"kind"`
	Connections int     `json:"connections"`
	Items       int     `json:"items"`
	CPU         float64 `json:"server_cpu_us"` // for each operation
	Generator   float64 `json:"generator_cores"`
	Others      float64 `json:"others_cores"`
	Discarded   bool    `json:"discarded,omitempty"`
	figures
}

// goal is a ratio of medians.
type goal struct {
	server, kind string
	connections  int
	than         string
	want         float64
}

func goals() []goal {
	var list []goal
	for _, n := range []int{8, 64} {
		put := map[int]float64{8: 1, 64: 2.5}[n]
		list = append(list, goal{"livegate", "get", n, "dynalite", 2}, goal{"livegate", "query", n, "dynalite", 5},
			goal{"livegate", "put", n, "dynalite", put}, goal{"fast", "put", n, "dynalite", 3})
	}
	return list
}

func compare(ctx context.Context, cfg config) error {
	servers := []string{"livegate", "fast", "empty"}
	if cfg.dynalite != "" {
		servers = append(servers, "dynalite")
	}
	var kept []measurement
	discarded := 0
	for round, good := 1, 0; good < cfg.rounds && round <= 2*cfg.rounds && ctx.Err() == nil; round++ {
		var all []measurement
		for i := range servers {
			one, err := measure(ctx, cfg, servers[(i+round)%len(servers)], round)
			if err != nil {
				return err
			}
			all = append(all, one...)
		}
		worst := 0.0
		for _, m := range all {
			worst = max(worst, m.Others)
		}
		loud := worst > cfg.busiest
		for i := range all {
			all[i].Discarded = loud
		}
		if err := write(cfg.out, all); err != nil {
			return err
		}
		if loud {
			discarded++
			fmt.Printf("round %d discarded: others used up to %.2f cores\n", round, worst)
			continue
		}
		good++
		kept = append(kept, all...)
	}
	if len(kept) == 0 {
		return fmt.Errorf("no round was quiet enough: nothing is proved (-busiest %g)", cfg.busiest)
	}
	return report(cfg, servers, kept, discarded)
}

// measure starts a server on new data and asks everything of it.
func measure(ctx context.Context, cfg config, name string, round int) (all []measurement, err error) {
	dir, err := os.MkdirTemp(cfg.scratch, "tables-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is in the scratch directory
	s, err := cfg.start(ctx, name, dir)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if name != "empty" {
		if err := preload(ctx, s.addr, 0, singles, 8); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, n := range cfg.connections {
		for _, kind := range []string{"put", "get", "query"} {
			if _, err := drive(ctx, s.addr, kind, n, singles, cfg.time/4, name != "empty"); err != nil { // warm
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			m, err := s.observed(ctx, kind, n, singles, cfg.time)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			m.Round = round
			all = append(all, m)
		}
	}
	return all, nil
}

// observed is drive with what it took of the machine.
func (s *server) observed(ctx context.Context, kind string, connections, items int, d time.Duration) (measurement, error) {
	pid, begun := s.cmd.Process.Pid, time.Now()
	server, machine, own := cpu(pid), busy(), ownCPU()
	f, err := drive(ctx, s.addr, kind, connections, items, d, s.name != "empty")
	took := time.Since(begun).Seconds()
	server, own = cpu(pid)-server, ownCPU()-own
	return measurement{
		Server: s.name, Kind: kind, Connections: connections, Items: items, figures: f,
		CPU: server / (f.PerSecond * took) * 1e6, Generator: own / took, Others: max(0, (busy()-machine-server-own)/took),
	}, err
}

func write(path string, all []measurement) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	e := json.NewEncoder(f)
	for _, m := range all {
		if err := e.Encode(m); err != nil {
			return err
		}
	}
	return nil
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2
	}
	return list[len(list)/2]
}

// report prints the medians, then the goals. A goal that is missed is an error.
func report(cfg config, servers []string, kept []measurement, discarded int) error {
	of := func(server, kind string, n int, what func(measurement) float64) float64 {
		var list []float64
		for _, m := range kept {
			if m.Server == server && m.Kind == kind && m.Connections == n {
				list = append(list, what(m))
			}
		}
		return median(list)
	}
	rate := func(m measurement) float64 { return m.PerSecond }
	rounds := len(kept) / (len(servers) * len(cfg.connections) * 3)
	fmt.Printf("\nmedians of %d rounds (%d discarded)\n%-10s %-6s %4s %10s %8s %8s %12s %12s %12s\n", rounds, discarded,
		"server", "", "conn", "ops/s", "p50 ms", "p99 ms", "CPU us/op", "x dynalite", "x empty")
	for _, kind := range []string{"put", "get", "query"} {
		for _, n := range cfg.connections {
			for _, s := range servers {
				r := of(s, kind, n, rate)
				fmt.Printf("%-10s %-6s %4d %10.0f %8.2f %8.2f %12.1f %12.2f %12.2f\n", s, kind, n, r,
					of(s, kind, n, func(m measurement) float64 { return m.P50 }), of(s, kind, n, func(m measurement) float64 { return m.P99 }),
					of(s, kind, n, func(m measurement) float64 { return m.CPU }), ratio(r, of("dynalite", kind, n, rate)), ratio(r, of("empty", kind, n, rate)))
			}
		}
	}
	fmt.Println()
	missed := 0
	for _, g := range goals() {
		if !slices.Contains(servers, g.than) || !slices.Contains(cfg.connections, g.connections) {
			continue
		}
		got := ratio(of(g.server, g.kind, g.connections, rate), of(g.than, g.kind, g.connections, rate))
		verdict := "pass"
		if got < g.want {
			verdict = "FAIL"
			missed++
		}
		fmt.Printf("%-8s %-5s %2d connections: %5.2f x %s, goal %.1f x: %s\n", g.server, g.kind, g.connections, got, g.than, g.want, verdict)
	}
	if missed > 0 {
		return fmt.Errorf("%d goals missed", missed)
	}
	if rounds < cfg.rounds {
		return fmt.Errorf("only %d of %d rounds were quiet enough: no verdict", rounds, cfg.rounds)
	}
	return nil
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
