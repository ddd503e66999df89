// Command tables measures Livegate's tables beside dynalite, with one client, and
// on their own as they grow. bench/tables.sh runs it; bench/README.md says how to
// read such figures.
//
//	tables compare [flags]   interleaved rounds, then ratios and a verdict on each goal
//	tables grow [flags]      latency, file, memory and start-up from few items to many
//	tables serve TIER        (started by compare) the tables alone on net/http, or an empty handler
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

type config struct {
	livegate, dynalite, template, scratch, out string
	serverCPU                                  string
	rounds                                     int
	time                                       time.Duration
	connections                                []int
	sizes                                      []int
	busiest                                    float64
	self                                       string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("which one: compare, grow or serve?")
	}
	if args[0] == "serve" {
		return serve(ctx, args[1:])
	}
	cfg := config{}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.StringVar(&cfg.livegate, "livegate", "bin/livegate", "the program")
	fs.StringVar(&cfg.dynalite, "dynalite", "", "directory where npm installed dynalite; empty leaves it out")
	fs.StringVar(&cfg.template, "template", "bench/tables/template.yaml", "the application with the table")
	fs.StringVar(&cfg.scratch, "scratch", os.TempDir(), "where data goes; on the disk to be measured")
	fs.StringVar(&cfg.out, "out", "", "file that raw results are added to, as JSON lines")
	fs.StringVar(&cfg.serverCPU, "server-cpu", "0", "processor of servers, as taskset -c takes it; empty: the system decides")
	fs.IntVar(&cfg.rounds, "rounds", 5, "rounds to keep")
	fs.DurationVar(&cfg.time, "time", 2*time.Second, "of each measurement")
	fs.Float64Var(&cfg.busiest, "busiest", 0.2, "cores that other programs may use; rounds above are discarded")
	connections := fs.String("connections", "8,64", "clients at the same time")
	sizes := fs.String("sizes", "10000,100000,1000000,5000000", "for grow: items")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	var err error
	if cfg.connections, err = numbers(*connections); err != nil {
		return err
	}
	if cfg.sizes, err = numbers(*sizes); err != nil {
		return err
	}
	if cfg.self, err = os.Executable(); err != nil {
		return err
	}
	switch args[0] {
	case "compare":
		return compare(ctx, cfg)
	case "grow":
		return grow(ctx, cfg)
	}
	return fmt.Errorf("%q is neither compare, grow nor serve", args[0])
}

func numbers(text string) (list []int, err error) {
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q: want numbers separated by commas", text)
		}
		list = append(list, n)
	}
	return list, nil
}
