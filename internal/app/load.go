package app

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/frontdoor"
	"github.com/livegate/livegate/internal/stack"
)

// load reads the template, after the project's own packager has made one where the
// project is another tool's. Errors in it come back as *client.FindingsError.
func (a *App) load(ctx context.Context) (*deployed, error) {
	packed, err := a.prepare(ctx)
	if err != nil {
		return nil, err
	}
	res, err := stack.Load(ctx, stack.Options{
		Path:       packed.Path,
		Sources:    packed.Sources,
		Stack:      a.cfg.Stack,
		StackName:  a.cfg.StackName,
		Region:     a.cfg.Region,
		AccountID:  a.cfg.AccountID,
		Parameters: a.cfg.Parameters,
		ConfigEnv:  a.cfg.ConfigEnv,
		SSM:        a.cfg.SSM,
		Imports:    a.cfg.Imports,
	})
	if err != nil {
		return nil, err
	}
	found := make([]stack.Finding, 0, len(packed.Findings)+len(res.Findings))
	for _, f := range packed.Findings {
		found = append(found, stack.Finding{Severity: stack.Severity(f.Severity), Code: f.Code, Message: f.Message, Hint: f.Hint, Pos: f.Pos})
	}
	res.Findings = append(found, res.Findings...)
	for _, f := range res.Findings {
		if f.Severity == stack.Error {
			return nil, &client.FindingsError{Findings: findings(res.Findings)}
		}
	}
	return &deployed{app: res.App, findings: res.Findings, files: append(res.Files, packed.Watch...)}, nil
}

// prepare runs a packager where what it left behind is missing or stale. What it says
// is a long step for the user to see.
func (a *App) prepare(ctx context.Context) (*frontdoor.Result, error) {
	data, cache, err := a.cfg.places()
	if err != nil {
		return nil, err
	}
	step, began := "", time.Now()
	end := func(err error) {
		if step != "" {
			a.cfg.Progress(Progress{Step: step, Done: true, Err: err, Took: time.Since(began)})
		}
	}
	res, err := frontdoor.Prepare(ctx, frontdoor.Config{
		Path: a.cfg.Path, DataDir: data, ToolDir: filepath.Join(cache, "tools"),
		Stage: a.cfg.Stage, Region: a.cfg.Region, AccountID: a.cfg.AccountID, ReadOnly: a.cfg.ReadOnly,
		Say: func(text string) {
			end(nil)
			step, began = text, time.Now()
			a.cfg.Progress(Progress{Step: step})
		},
	})
	end(err)
	return res, err
}

// apply makes a loaded template the one that serves. After an error some engines
// have it and some have not: a caller that goes on applies the one from before.
func (a *App) apply(ctx context.Context, next *deployed) error {
	if err := a.declareTables(ctx, next.app.Tables); err != nil {
		return err
	}
	if err := a.trustDomains(next.app); err != nil {
		return err
	}
	if err := a.runtime.Deploy(ctx, next.app); err != nil {
		return err
	}
	if err := a.gateway.Deploy(next.app); err != nil {
		return err
	}
	a.deployed.Store(next)
	return nil
}

// findings translates the loader's findings to the wire's.
func findings(in []stack.Finding) []client.Finding {
	out := make([]client.Finding, 0, len(in))
	for _, f := range in {
		out = append(out, client.Finding{
			Severity: string(f.Severity), Code: f.Code, Message: f.Message,
			Hint: f.Hint, Resource: f.Resource, Pos: f.Pos,
		})
	}
	return out
}

// Validate loads a template and reports everything worth saying about it,
// without starting anything. The error is about reading files only.
func Validate(ctx context.Context, cfg Config) ([]client.Finding, error) {
	cfg.ReadOnly = true
	d, err := New(cfg).load(ctx)
	if bad, ok := errors.AsType[*client.FindingsError](err); ok {
		return bad.Findings, nil
	}
	if err != nil {
		return nil, err
	}
	return findings(d.findings), nil
}
