package app

import (
	"maps"
	"slices"
	"sync"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/gateway"
)

// channels are the hubs behind channel routes: one for each stage, so that equal
// names on two stages are two channels. A stage that comes back finds its own.
type channels struct {
	mu   sync.Mutex
	hubs map[stageName]*fanout.Hub // guarded by mu
}

type stageName struct{ api, stage string }

func (c *channels) of(name stageName, server *conn.Server) gateway.Channels {
	c.mu.Lock()
	defer c.mu.Unlock()
	hub := c.hubs[name]
	if hub == nil {
		hub = fanout.New(fanout.Config{Loops: server})
		if c.hubs == nil {
			c.hubs = make(map[stageName]*fanout.Hub)
		}
		c.hubs[name] = hub
	}
	return hub
}

// stats is the sum over all stages.
func (c *channels) stats() (sum fanout.Stats) {
	c.mu.Lock()
	hubs := slices.Collect(maps.Values(c.hubs))
	c.mu.Unlock()
	for _, h := range hubs {
		s := h.Stats()
		sum.Filters += s.Filters
		sum.Subscriptions += s.Subscriptions
		sum.Sinks += s.Sinks
		sum.Published += s.Published
		sum.Refused += s.Refused
		sum.Delivered += s.Delivered
		sum.Pending += s.Pending
	}
	return sum
}
