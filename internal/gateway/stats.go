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
	Errors      int64 // integrations that failed, $connect and $disconnect included
	Dropped     int64 // replies and error frames lost to a full or closed connection
	Disconnects int64 // connections closed
}

type counters struct {
	open, inFlight, connects, refused, vanished, messages atomic.Int64
	replies, forbidden, errors, dropped, disconnects      atomic.Int64
}

// Stats returns the counters now.
func (g *Gateway) Stats() Stats {
	c := &g.stats
	return Stats{
		Open: c.open.Load(), InFlight: c.inFlight.Load(),
		Connects: c.connects.Load(), Refused: c.refused.Load(), Vanished: c.vanished.Load(),
		Messages: c.messages.Load(), Replies: c.replies.Load(), Forbidden: c.forbidden.Load(),
		Errors: c.errors.Load(), Dropped: c.dropped.Load(), Disconnects: c.disconnects.Load(),
	}
}
