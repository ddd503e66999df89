package gateway

import "sync/atomic"

// Stats is a snapshot of a gateway's counters; all but Open and InFlight only grow.
type Stats struct {
	Open        int64 // connections between their 101 and their close
	InFlight    int64 // messages handed over or waiting, $disconnect included
	Connects    int64 // handshakes that got their 101
	Refused     int64 // handshakes that did not
	Vanished    int64 // clients that were gone when $connect had succeeded
	Messages    int64 // messages from clients
	Replies     int64 // two-way replies queued
	Forbidden   int64 // messages no route took
	Invalid     int64 // messages that their model did not fit
	Throttled   int64 // handshakes and messages over a limit
	Errors      int64 // integrations that failed, $connect and $disconnect included
	Dropped     int64 // frames of any kind lost to a full or closed connection
	Disconnects int64 // connections closed
	Instant     int64 // messages answered in place
	Queued      int64 // messages handed to a goroutine, because something takes time
	Joins       int64 // channel subscriptions made
	Leaves      int64 // and undone by a route
	Publishes   int64 // messages published to a channel
	Deliveries  int64 // channel messages queued for a client
}

// stripes spreads the counters by event loop: one word that every loop writes
// would travel between their caches with every message. A power of two.
const stripes = 8

// counters are one event loop's, in cache lines of their own.
type counters struct {
	open, inFlight, connects, refused, vanished, messages atomic.Int64
	replies, forbidden, errors, dropped, disconnects      atomic.Int64
	instant, queued, joins, leaves, publishes, delivered  atomic.Int64
	invalid, throttled                                    atomic.Int64
	_                                                     [40]byte
}

// Stats returns the counters now.
func (g *Gateway) Stats() Stats {
	var s Stats
	for i := range g.stats {
		c := &g.stats[i]
		s.Open += c.open.Load()
		s.InFlight += c.inFlight.Load()
		s.Connects += c.connects.Load()
		s.Refused += c.refused.Load()
		s.Vanished += c.vanished.Load()
		s.Messages += c.messages.Load()
		s.Replies += c.replies.Load()
		s.Forbidden += c.forbidden.Load()
		s.Invalid += c.invalid.Load()
		s.Throttled += c.throttled.Load()
		s.Errors += c.errors.Load()
		s.Dropped += c.dropped.Load()
		s.Disconnects += c.disconnects.Load()
		s.Instant += c.instant.Load()
		s.Queued += c.queued.Load()
		s.Joins += c.joins.Load()
		s.Leaves += c.leaves.Load()
		s.Publishes += c.publishes.Load()
		s.Deliveries += c.delivered.Load()
	}
	return s
}
