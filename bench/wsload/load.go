//go:build linux

package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Load is a closed loop: every connection sends a message, waits for its reply,
// and sends the next.
type Load struct {
	URL         string
	Connections int
	Bytes       int // of a message
	Warm, Time  time.Duration
	PID         int // of the server
}

// Result is what one measured window gave. Rates and costs are of the window;
// faults are of the whole run, warm-up and last words included.
type Result struct {
	Seconds       float64 `json:"seconds"`
	Replies       int     `json:"replies"`
	PerSecond     float64 `json:"repliesPerSecond"`
	CPU           float64 `json:"cpuMicrosPerMessage"` // gateway and workers
	GatewayCPU    float64 `json:"gatewayCPUMicros"`    // the server's first process
	WorkerCPU     float64 `json:"workerCPUMicros"`     // the processes below it
	P50           float64 `json:"p50Micros"`
	P99           float64 `json:"p99Micros"`
	OtherCores    float64 `json:"otherCores"`     // processors that neither server nor generator used
	GeneratorCore float64 `json:"generatorCores"` // near 1.0, the generator was the limit
	Faults
}

const (
	replyWithin = 10 * time.Second
	lastWords   = 300 * time.Millisecond // a duplicate would come in this time
)

const (
	warming = int32(iota)
	measuring
	ending
)

// Run applies the load. Errors: connections that cannot be opened, a server whose
// processes cannot be read. A connection that breaks later is a fault.
func (l Load) Run(ctx context.Context) (res Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var phase atomic.Int32
	conns := make([]*loop, l.Connections)
	for i := range conns {
		c, _, err := websocket.Dial(ctx, l.URL, nil) //nolint:bodyclose // coder closes it
		if err != nil {
			return res, fmt.Errorf("connection %d: %w", i, err)
		}
		defer c.CloseNow()
		conns[i] = &loop{c: c, phase: &phase, books: newLedger(i, l.Bytes)}
	}
	var loops sync.WaitGroup
	for _, c := range conns {
		loops.Go(func() { c.run(ctx) })
	}
	before, after, err := l.measure(ctx, &phase)
	loops.Wait()
	if err != nil {
		return res, err
	}
	var all []uint32
	for _, c := range conns {
		all = append(all, c.micros...)
		res.add(c.books.faults)
		if c.books.sample != "" && err == nil {
			err = fmt.Errorf("a reply was wrong: %.200s", c.books.sample)
		}
	}
	res.settle(before, after, all)
	return res, err
}

// measure sets the phases and reads the clocks around the middle one.
func (l Load) measure(ctx context.Context, phase *atomic.Int32) (before, after reading, err error) {
	defer phase.Store(ending)
	if err = pause(ctx, l.Warm); err != nil {
		return
	}
	phase.Store(measuring)
	if before, err = read(l.PID); err != nil {
		return
	}
	if err = pause(ctx, l.Time); err != nil {
		return
	}
	phase.Store(ending)
	after, err = read(l.PID)
	return
}

func (r *Result) settle(before, after reading, micros []uint32) {
	took := after.at.Sub(before.at)
	cpu := after.server.minus(before.server)
	r.Seconds, r.Replies = took.Seconds(), len(micros)
	r.PerSecond = float64(len(micros)) / took.Seconds()
	per := func(ticks int) float64 {
		return float64(ticks) * float64(tick.Microseconds()) / float64(max(1, len(micros)))
	}
	r.GatewayCPU, r.WorkerCPU, r.CPU = per(cpu.root), per(cpu.rest), per(cpu.root+cpu.rest)
	r.P50, r.P99 = percentiles(micros)
	cores := func(ticks int) float64 { return float64(ticks) * tick.Seconds() / took.Seconds() }
	r.GeneratorCore = cores(after.self - before.self)
	r.OtherCores = max(0, cores(after.busy-before.busy-(after.self-before.self)-cpu.root-cpu.rest))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// loop is one connection.
type loop struct {
	c      *websocket.Conn
	phase  *atomic.Int32
	books  *ledger
	micros []uint32 // of replies within the window
}

func (l *loop) run(ctx context.Context) {
	defer l.books.lost()
	for l.phase.Load() != ending {
		sent := time.Now()
		if l.c.Write(ctx, websocket.MessageText, l.books.next()) != nil || !l.await(ctx) {
			return
		}
		if l.phase.Load() == measuring {
			l.micros = append(l.micros, uint32(min(time.Since(sent).Microseconds(), 1<<31)))
		}
	}
	quiet, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for {
		_, reply, err := l.c.Read(quiet)
		if err != nil {
			return
		}
		l.books.got(reply)
	}
}

// await reads until the message under way is settled. A timer instead of a
// context per read: those would be a tenth of the generator's work.
func (l *loop) await(ctx context.Context) bool {
	late := time.AfterFunc(replyWithin, func() { l.c.CloseNow() }) // the read fails
	defer late.Stop()
	for {
		_, reply, err := l.c.Read(ctx)
		if err != nil {
			return false
		}
		if l.books.got(reply) {
			return true
		}
	}
}
