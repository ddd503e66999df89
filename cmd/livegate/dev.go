package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/terminal"
)

func (c *cli) devCommand() *cobra.Command {
	var template templateFlags
	var serve serveFlags
	cmd := &cobra.Command{
		Use:   "dev [dir|template]",
		Short: "Run an application: gateway, functions, tables, live reload",
		Long: `Run an application on this machine: a SAM or CloudFormation template, or a
Serverless Framework, CDK or Terraform project.

One port serves WebSocket clients (ws and wss), @connections callbacks, AWS API
endpoints for the functions and a start page. Code and template are reloaded when
they change; open connections stay. Ctrl-C closes connections, runs $disconnect
and stops; Ctrl-C again stops at once.`,
		Example: "  livegate dev\n  livegate dev examples/chat --port 4000\n  livegate dev --parameter-overrides \"Stage=dev TableName=chat\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := template.config(args)
			if err != nil {
				return err
			}
			if err := serve.apply(&cfg, c.getenv); err != nil {
				return err
			}
			return c.dev(cmd.Context(), cfg)
		},
		ValidArgsFunction: templateFiles,
	}
	template.register(cmd.Flags())
	serve.register(cmd.Flags())
	return cmd
}

func templateFiles(_ *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml", "json", "tf"}, cobra.ShellCompDirectiveFilterFileExt
}

// dev runs the application until ctx ends.
func (c *cli) dev(ctx context.Context, cfg app.Config) (err error) {
	if cfg.DataDir, cfg.CacheDir, err = c.dirs(cfg.Path); err != nil {
		return err
	}
	cfg.Version, cfg.Getenv = version().Version, c.getenv
	look := c.look(c.out)
	screen := terminal.NewScreen(c.out, look)
	defer screen.Close()
	var names atomic.Pointer[map[string]string] // function name → logical id
	cfg.Logs = func(line model.LogLine) {
		if m := names.Load(); m != nil && (*m)[line.Source] != "" {
			line.Source = (*m)[line.Source]
		}
		screen.Log(terminal.Entry(line))
	}
	cfg.Progress = func(p app.Progress) {
		if p.Done {
			screen.Done(p.Step, p.Detail, p.Took, p.Err)
		} else {
			screen.Step(p.Step, p.Detail)
		}
	}
	began := time.Now()
	running := make(chan struct{})
	defer close(running)
	go func() {
		select {
		case <-ctx.Done():
			screen.Print("\n" + look.Paint(terminal.Dim, "Stopping: closing connections and running $disconnect. Ctrl-C again stops at once.") + "\n")
		case <-running:
		}
	}()
	err = c.serve(ctx, cfg, func(s client.Status) {
		known, ids := map[string]string{}, []string{}
		for _, f := range s.Functions {
			known[f.Name] = f.LogicalID
			ids = append(ids, f.LogicalID)
		}
		screen.Reserve(ids...)
		if names.Swap(&known) != nil {
			return // a reload: the log says so; only names may be new
		}
		screen.Print(startup(look, s, c.sources(cfg.Path), time.Since(began)))
	})
	screen.Close()
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // interrupted before it was ready, and nothing else went wrong
	}
	return withPortHolder(err, cfg.Port)
}

// withPortHolder adds who holds the port to the error that says it is taken.
func withPortHolder(err error, port int) error {
	if err == nil || !fault.Is(err, fault.Conflict) {
		return err
	}
	holder := portHolder(port)
	if holder == "" {
		return err
	}
	return fault.New(fault.Conflict, "port %d is in use by %s; stop it or choose another port with --port %d", port, holder, port+1)
}

// startup is what a person sees once an application is ready.
func startup(look terminal.Look, s client.Status, read sources, took time.Duration) string {
	p := page{look: look}
	p.text("\n" + look.Paint(terminal.Bold, "livegate "+s.Version) + "  " + s.Stack + look.Paint(terminal.Dim, "  "+s.Region+"  account "+s.AccountID) + "\n")
	p.stack(s)
	p.findings(s.Findings, read)
	p.text("\n" + look.Paint(terminal.Green, "Ready") + " in " + terminal.Took(took) + ".")
	if u := firstURL(s); u != "" {
		p.text(" Try: " + look.Paint(terminal.Bold, "livegate connect "+u))
	}
	p.text("\n" + look.Paint(terminal.Dim, "Ctrl-C stops. Functions reload when you save. Log:") + "\n\n")
	return p.b.String()
}

func consoleURL(s client.Status) string {
	u, err := url.Parse(s.EndpointURL)
	if err != nil {
		return s.EndpointURL
	}
	if u.Hostname() == "127.0.0.1" {
		u.Host = "localhost:" + u.Port()
	}
	u.Path = "/"
	return u.String()
}

func firstURL(s client.Status) string {
	for _, api := range s.APIs {
		for _, st := range api.Stages {
			return st.WebSocketURL
		}
	}
	return ""
}

func tableKey(t client.Table) string {
	if t.RangeKey == "" {
		return t.HashKey
	}
	return t.HashKey + ", " + t.RangeKey
}

// count is "1 error" or "2 errors".
func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(strconv.Itoa(n), " ", what)
}
