package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime/build"
)

// Deploy makes app the application that runs: builds what has changed, swaps the
// functions whose code or configuration differ, removes those that are gone. A
// running invocation finishes on the code it began with.
//
// A function that does not build keeps its old code, or answers
// fault.Unavailable when it has none; the others are deployed all the same. The
// error joins one *build.Error per such function.
func (r *Runtime) Deploy(ctx context.Context, app *model.App) error {
	r.deploying.Lock()
	defer r.deploying.Unlock()
	if r.isClosed() {
		return fault.New(fault.Unavailable, "livegate is stopping")
	}
	if _, err := r.writeBootstrap(app); err != nil {
		return err
	}
	r.builder.Begin(app)
	functions := map[string]*function{}
	r.mu.RLock()
	old := maps.Clone(r.functions)
	r.mu.RUnlock()
	for _, m := range app.Functions {
		f := old[m.Name]
		if f == nil {
			f = &function{rt: r, name: m.Name}
		}
		functions[m.Name] = f
	}
	_, err := r.refresh(ctx, app, app.Functions, functions, false)

	r.mu.Lock()
	r.app, r.functions = app, functions
	r.mu.Unlock()
	for name, f := range old {
		if functions[name] == nil {
			f.close()
		}
	}
	r.sweepBuilds()
	return err
}

// Reload rebuilds the functions that paths (absolute files or directories that
// have changed) belong to and returns the names of those that now run other
// code. Errors are those of Deploy.
func (r *Runtime) Reload(ctx context.Context, paths []string) ([]string, error) {
	r.deploying.Lock()
	defer r.deploying.Unlock()
	r.mu.RLock()
	app, functions := r.app, r.functions
	r.mu.RUnlock()
	if app == nil || r.isClosed() {
		return nil, nil
	}
	r.builder.Begin(app)
	var touched []*model.Function
	force := false
	for _, m := range app.Functions {
		hit, modules := r.builder.Affected(m, paths)
		if hit {
			touched = append(touched, m)
		}
		force = force || modules
	}
	names, err := r.refresh(ctx, app, touched, functions, force)
	r.sweepBuilds()
	return names, err
}

func (r *Runtime) isClosed() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.closed
}

// refresh builds list, two at a time, and swaps what differs. force swaps even
// what looks equal: installed packages are linked, not hashed.
func (r *Runtime) refresh(ctx context.Context, app *model.App, list []*model.Function, functions map[string]*function, force bool) (changed []string, err error) {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, 2)
		mu    sync.Mutex
		errs  []error
	)
	for _, m := range list {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f := functions[m.Name]
			rev, err := r.revise(ctx, app, m)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.failed(err)
				errs = append(errs, err)
				return
			}
			if old := f.current(); old != nil && old.key == rev.key && !force {
				f.failed(nil)
				return
			}
			f.swap(rev)
			changed = append(changed, m.Name)
		})
	}
	wg.Wait()
	return changed, errors.Join(errs...)
}

// revise builds one function.
func (r *Runtime) revise(ctx context.Context, app *model.App, m *model.Function) (*revision, error) {
	out, err := r.builder.Build(ctx, m)
	if err != nil {
		return nil, err
	}
	for _, note := range out.Notes {
		r.event("warn", m.Name, "", note)
	}
	config := *m
	config.Pos, config.HandlerPos = model.Pos{}, model.Pos{}
	if config.Timeout <= 0 {
		return nil, &build.Error{Function: m.Name, Err: fmt.Errorf("its time-out is %s: it must be positive", m.Timeout)}
	}
	key, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	key = append(key, out.Hash+app.Region...)
	if out.Family == build.Node {
		key = append(key, r.hook...)
	}
	sum := sha256.Sum256(key)
	return &revision{fn: m, output: out, key: hex.EncodeToString(sum[:]), region: app.Region}, nil
}

// sweepBuilds removes staged code that no current revision and no worker uses.
func (r *Runtime) sweepBuilds() {
	keep := map[string]bool{}
	for _, f := range r.snapshot() {
		if rev := f.current(); rev != nil {
			keep[rev.output.Root] = true
		}
	}
	for _, w := range r.liveWorkers() {
		keep[w.rev.output.Root] = true
	}
	if err := r.builder.Sweep(keep); err != nil {
		r.event("warn", "", "", "old builds could not be removed: "+err.Error())
	}
}
