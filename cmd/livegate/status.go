package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/fault"
)

func (c *cli) statusCommand() *cobra.Command {
	var asJSON bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say what a running instance serves",
		Long: `Ask the running instance of this directory (or of --data-dir, or the only one
running) what it serves. The JSON is stable: see docs/cli.md.`,
		Example: "  livegate status --json | jq -r '.apis[0].stages[0].webSocketUrl'\n  livegate status --json --wait 30s",
		Args:    atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := c.status(cmd.Context(), wait)
			if err != nil {
				return err
			}
			if asJSON {
				out := json.NewEncoder(c.out)
				out.SetIndent("", "  ")
				out.SetEscapeHTML(false)
				return out.Encode(s)
			}
			_, err = fmt.Fprint(c.out, c.describe(s))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON for scripts")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait up to this long for an instance to be ready")
	return cmd
}

// status asks the instance; with wait, again until it is ready or time is up.
func (c *cli) status(ctx context.Context, wait time.Duration) (s client.Status, err error) {
	deadline := time.Now().Add(wait)
	for {
		var in *client.Client
		if in, err = c.instance(); err == nil {
			s, err = in.Status(ctx)
		}
		starting := errors.Is(err, client.ErrNotRunning) || fault.Is(err, fault.Unavailable)
		switch {
		case err != nil && !starting, err == nil && s.Ready:
			return s, err
		case err == nil && wait == 0:
			return s, nil
		case !time.Now().Before(deadline):
			if err == nil {
				err = fault.New(fault.Timeout, "the instance was not ready within %v", wait)
			}
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// describe is the status for people: the start-up page without its advice.
func (c *cli) describe(s client.Status) string {
	p := page{look: c.look(c.out)}
	state := "ready"
	if !s.Ready {
		state = "starting"
	}
	p.text(fmt.Sprintf("%s: %s, pid %d, up %s, livegate %s\n", s.Stack, state, s.PID, time.Since(s.StartedAt).Round(time.Second), s.Version))
	p.stack(s)
	return p.b.String()
}
