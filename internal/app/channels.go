package app

import (
	"sync"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/fanout"
	"github.com/livegate/livegate/internal/gateway"
)

// channels are the hubs behind channel routes: one for each stage, so that equal
// names on two stages are two channels.
type channels struct {
	mu   sync.Mutex
	hubs []*fanout.Hub // guarded by mu
}

func (c *channels) open(server *conn.Server) gateway.Channels {
	hub := fanout.New(fanout.Config{Loops: server})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hubs = append(c.hubs, hub)
	return hub
}

// stats is the sum over all stages.
func (c *channels) stats() (sum fanout.Stats) {
	c.mu.Lock()
	hubs := c.hubs[:len(c.hubs):len(c.hubs)]
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
