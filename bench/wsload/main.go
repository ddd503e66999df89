//go:build linux

// Command wsload measures Livegate beside a peer. It starts each server itself,
// loads it over loopback, checks every reply byte for byte, and reads what the
// server's processes cost from /proc. Linux only.
//
//	wsload echo    -livegate BIN -peer DIR …   one Node function, echoed through a two-way route
//	wsload startup -livegate BIN -app DIR …    time to ready, and until an edit is live
//	wsload engine  -livegate BIN …             the connection engine beside the floor and its peers: the goals table
//	wsload faults  -livegate BIN NAME …        the engine while something goes wrong
//	wsload table   FILE                        the goals table of an earlier run
//	wsload drive   MODE …                      the load generator alone, on a server that runs
//
// Raw results go to -out as JSON lines, a summary to stdout. ../README.md says
// how to read both; ../run.sh runs everything.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "\nwsload:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "echo":
			return runEcho(ctx, args[1:])
		case "startup":
			return runStartup(ctx, args[1:])
		case "engine":
			return runEngine(ctx, args[1:])
		case "faults":
			return runFaults(ctx, args[1:])
		case "table":
			return runTable(args[1:])
		case "drive":
			return runDrive(args[1:])
		}
	}
	return errors.New("which benchmark? wsload echo, startup, engine, faults, table or drive; -h after it lists its flags")
}
