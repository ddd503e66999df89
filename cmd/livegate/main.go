// Command livegate runs serverless WebSocket applications from their SAM or
// CloudFormation template, unmodified, on one machine.
//
//	livegate dev [dir|template]   run it
//	livegate validate             what is wrong or unsupported, with file:line
//	livegate connect URL          talk to it
//
// docs/cli.md documents every command, flag and LIVEGATE_* variable, the status
// JSON and the exit codes:
//
//	0    done (also: dev ended with one Ctrl-C, after every $disconnect ran)
//	1    it failed: errors in the template, a function error, a refused handshake
//	2    the command line is wrong
//	3    no running instance was found
//	130  interrupted
//
// This package owns flags, environment variables, signals and exit; nothing else
// in the module touches them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/terminal"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := interruptible()
	defer stop()
	c := &cli{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		getenv:   os.Getenv,
		look:     func(f any) terminal.Look { return look(f) },
		validate: app.Validate,
		serve: func(ctx context.Context, cfg app.Config, ready func(client.Status)) error {
			return app.New(cfg).Run(ctx, ready)
		},
	}
	return c.execute(ctx, os.Args[1:])
}

func look(f any) terminal.Look {
	if f, ok := f.(*os.File); ok {
		return terminal.Detect(f, os.Getenv)
	}
	return terminal.Look{}
}

// interruptible is cancelled, with cause errInterrupted, by the first SIGINT,
// SIGTERM or SIGHUP; the second ends the process at once, because the first one's
// clean-up may be what hangs.
func interruptible() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if _, ok := <-signals; !ok {
			return
		}
		cancel(errInterrupted)
		if _, ok := <-signals; ok {
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(signals)
		cancel(nil)
	}
}
