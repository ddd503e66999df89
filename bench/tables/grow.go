package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// grow fills one durable instance step by step. At each size it measures
// operations, the file and memory, then starts the program again.
func grow(ctx context.Context, cfg config) error {
	dir, err := os.MkdirTemp(cfg.scratch, "tables-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // what stays is in the scratch directory
	fmt.Printf("%10s %9s %9s %10s %10s | %9s %8s %8s | %9s %8s %8s | %9s %8s %8s\n", "items", "file MiB", "RSS MiB", "loaded/s", "start ms",
		"put/s", "p50 ms", "p99 ms", "get/s", "p50 ms", "p99 ms", "query/s", "p50 ms", "p99 ms")
	s, err := cfg.start(ctx, "livegate", dir)
	if err != nil {
		return err
	}
	defer func() { s.stop() }()
	from := 0
	for _, size := range cfg.sizes {
		begun := time.Now()
		if err := preload(ctx, s.addr, from, size, 8); err != nil {
			return err
		}
		loaded := float64(size-from) / time.Since(begun).Seconds()
		from = size
		s.stop()
		if s, err = cfg.start(ctx, "livegate", dir); err != nil {
			return err
		}
		start := s.ready
		var all []measurement
		for _, kind := range []string{"put", "get", "query"} {
			m, err := s.observed(ctx, kind, cfg.connections[0], size, cfg.time)
			if err != nil {
				return err
			}
			all = append(all, m)
		}
		info, err := os.Stat(s.file)
		if err != nil {
			return err
		}
		fmt.Printf("%10d %9.1f %9.1f %10.0f %10d", size, float64(info.Size())/(1<<20), float64(memory(s.cmd.Process.Pid))/(1<<20), loaded, start.Milliseconds())
		for _, m := range all {
			fmt.Printf(" | %9.0f %8.2f %8.2f", m.PerSecond, m.P50, m.P99)
		}
		fmt.Println()
		if err := write(cfg.out, all); err != nil {
			return err
		}
	}
	return nil
}
