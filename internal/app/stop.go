package app

import (
	"context"
	"errors"
	"time"

	"github.com/livegate/livegate/internal/conn"
)

// A stop has an order, and one clock that runs from its first moment:
//
//  1. not ready: load balancers look elsewhere, new handshakes get 503;
//  2. every client is closed, over Config.Drain if there is time, and its
//     $disconnect run, while everything that needs still runs;
//  3. the port and the engines end.
//
// What has not ended when Config.Grace is over is cut off.

const serviceRestart = 1012

// stopWelcoming is the first moment.
func (a *App) stopWelcoming() {
	if a.draining.Swap(true) {
		return
	}
	a.ready.Store(false)
	a.hardStop.Store(new(time.Now().Add(a.cfg.Grace)))
}

// untilHardStop is at most d from now, and no longer than a stop may still take.
func (a *App) untilHardStop(d time.Duration) (context.Context, context.CancelFunc) {
	end := time.Now().Add(d)
	if hard := a.hardStop.Load(); hard != nil && hard.Before(end) {
		end = *hard
	}
	return context.WithDeadline(context.Background(), end)
}

// drain closes every client, runs their $disconnect and stops accepting, in that
// order: a $disconnect that writes to a table reaches us through our own port.
func (a *App) drain() error {
	ctx, cancel := a.untilHardStop(a.cfg.Grace)
	defer cancel()
	if a.cfg.Drain > 0 {
		// 1012 tells clients that somebody else is there for them, and the pace keeps
		// all of them from being there at once (RFC 6455 §7.4.1, IANA registry).
		a.server.Part(ctx, conn.DrainPlan{Code: serviceRestart, Reason: "Service restart", Over: a.cfg.Drain})
	}
	return errors.Join(a.gateway.Drain(ctx), a.stopServing(ctx))
}

// stopServing ends the event streams and tunnels that would keep the server
// from draining, then the server.
func (a *App) stopServing(ctx context.Context) error {
	a.timeline.Close()
	a.proxy.Close()
	return a.server.Shutdown(ctx)
}
