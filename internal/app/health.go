package app

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/storage"
)

// health answers two questions that orchestrators ask.
//
// Alive (/healthz): the process does its work: event loops turn, the disk takes
// writes, the port is being accepted from. It stays true under overload and
// during a drain; restarting would help neither.
//
// Ready (/readyz): alive, an application is loaded, and new clients are let in.
// It turns false at the first moment of a drain.
type health struct {
	app    *App
	probes []*probe // made when the engines are; nil before
}

// report is the body of both answers.
type report struct {
	Status string  `json:"status"` // "ok" or "failing"
	Checks []check `json:"checks"`
}

type check struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"` // left out for those who may not know
}

func (r *report) add(name string, err error) {
	c := check{Name: name, OK: err == nil}
	if err != nil {
		c.Error = fault.Message(err)
		r.Status = "failing"
	}
	r.Checks = append(r.Checks, c)
}

// alive and ready run their checks; they take as long as the slowest probe's
// patience at most.
func (h *health) alive() report {
	r := report{Status: "ok", Checks: []check{}}
	r.add("process", nil) // it has just answered
	if !h.app.built.Load() {
		return r // nothing that could fail exists yet
	}
	r.add("listener", h.app.accepts())
	errs := make([]error, len(h.probes))
	var wait sync.WaitGroup
	for i, p := range h.probes {
		wait.Go(func() { errs[i] = p.check() })
	}
	wait.Wait()
	for i, p := range h.probes {
		r.add(p.name, errs[i])
	}
	return r
}

func (h *health) ready() report {
	r := h.alive()
	a := h.app
	switch {
	case a.draining.Load():
		r.add("accepting", fault.New(fault.Unavailable, "draining: clients are being closed, new ones are refused"))
	case a.ready.Load():
		r.add("accepting", nil)
	case a.built.Load():
		r.add("accepting", fault.New(fault.Unavailable, "starting: $disconnects that a crash left behind run first"))
	default:
		r.add("accepting", fault.New(fault.Unavailable, "starting: the application is being loaded and built"))
	}
	return r
}

// handle serves one of the two. trusted says that the client may read why.
func (h *health) handle(ask func() report, trusted func(*http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer := ask()
		if !trusted(r) {
			for i := range answer.Checks {
				answer.Checks[i].Error = ""
			}
		}
		status := http.StatusOK
		if answer.Status != "ok" {
			status = http.StatusServiceUnavailable
		}
		sendJSON(w, status, answer)
	}
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// probeEngines makes the probes. ctx ends those that hang.
func (h *health) probeEngines(ctx context.Context) {
	a := h.app
	h.probes = []*probe{
		{name: "loops", ctx: ctx, ask: a.loopsTurn},
		{name: "storage", ctx: ctx, ask: func(ctx context.Context) error {
			// A transaction without changes is one all the same: it is written and synced.
			return a.db.Update(ctx, func(*storage.Tx) error { return nil })
		}},
	}
}

// loopsTurn waits until every event loop has come round once.
func (a *App) loopsTurn(ctx context.Context) error {
	n := a.server.Shards()
	turned := make(chan struct{}, n)
	for shard := range n {
		a.server.Post(shard, func(func() bool) bool {
			turned <- struct{}{}
			return true
		})
	}
	for range n {
		select {
		case <-turned:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// accepts reports whether every listener is being accepted from. Dialling would
// say less: the kernel completes connections that nobody accepts, and it would
// fail when descriptors run short, which a restart makes worse.
func (a *App) accepts() error {
	if a.draining.Load() {
		return nil // stopped on purpose
	}
	if down := int64(len(a.listeners)) - a.accepting.Load(); down > 0 {
		return fault.New(fault.Unavailable, "%d of %d listening addresses are not accepted from", down, len(a.listeners))
	}
	return nil
}

// What a probe may take, and for how long its answer is good: asking again
// within that time costs the engines nothing, whoever asks.
const (
	probePatience = 2 * time.Second
	probeFresh    = time.Second
)

// probe asks one question, one at a time: when the answer does not come, the next
// who ask wait for the same one instead of adding to what is stuck.
type probe struct {
	// static
	name string
	ctx  context.Context // ends an ask that hangs
	ask  func(context.Context) error

	mu sync.Mutex
	// guarded by mu
	running chan struct{} // closed when ask returned; nil while none runs
	began   time.Time     // of the one that runs
	err     error         // of the last that ended
	ended   time.Time
}

func (p *probe) check() error {
	p.mu.Lock()
	if p.running == nil && !p.ended.IsZero() && time.Since(p.ended) < probeFresh {
		defer p.mu.Unlock()
		return p.err
	}
	if p.running == nil {
		p.running, p.began = make(chan struct{}), time.Now()
		go p.run(p.running)
	}
	running, began := p.running, p.began
	p.mu.Unlock()
	timer := time.NewTimer(max(0, probePatience-time.Since(began)))
	defer timer.Stop()
	select {
	case <-running:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.err
	case <-timer.C:
		return fault.New(fault.Timeout, "no answer for %v", time.Since(began).Round(time.Second/10))
	}
}

func (p *probe) run(done chan struct{}) {
	err := p.ask(p.ctx)
	p.mu.Lock()
	p.err, p.ended, p.running = err, time.Now(), nil
	p.mu.Unlock()
	close(done)
}
