package conn

import (
	"sync/atomic"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/frame"
)

// counters of one engine or loop. Each loop has its own, and other cores write
// to them only where they queue.
type counters struct {
	_ [64]byte // no cache line shared with a neighbour

	accepted     atomic.Uint64
	acceptPauses atomic.Uint64
	handshakes   atomic.Uint64
	refusals     [nReasons]atomic.Uint64
	web          atomic.Uint64
	hot          atomic.Uint64
	tlsDone      atomic.Uint64
	tlsFailed    atomic.Uint64
	tlsWaited    atomic.Uint64
	tlsStalled   atomic.Uint64
	opened       atomic.Int64

	messagesIn  atomic.Uint64
	bytesIn     atomic.Uint64
	controlsIn  atomic.Uint64
	messagesOut atomic.Uint64
	bytesOut    atomic.Uint64
	writes      atomic.Uint64
	stuck       atomic.Uint64

	overflows  [4]atomic.Uint64
	closes     [nClasses]atomic.Uint64
	heartbeats atomic.Uint64
	panics     atomic.Uint64

	turns    atomic.Uint64
	wakeups  atomic.Uint64
	overruns atomic.Uint64

	_ [64]byte
}

// reasons of refusals.
type reason uint8

const (
	badHead  reason = iota // broke a rule of HTTP or of the handshake
	rejected               // by Config.Upgrade
	limited                // by Config.Rates
	leaving                // Shutdown or Drain
	nReasons
)

// class of a close code.
type class uint8

const (
	classNormal class = iota
	classGoingAway
	classProtocol
	classPolicy
	classTooBig
	classAbnormal
	classNoStatus
	classServer
	classPrivate
	nClasses
)

func classOf(code int) class {
	switch code {
	case frame.CodeNormal:
		return classNormal
	case frame.CodeGoingAway, frame.CodeRestart:
		return classGoingAway
	case frame.CodeProtocol, frame.CodeUnsupported, frame.CodeInvalidData:
		return classProtocol
	case frame.CodePolicy, frame.CodeTryAgain:
		return classPolicy
	case frame.CodeTooBig:
		return classTooBig
	case frame.CodeAbnormal:
		return classAbnormal
	case frame.CodeNoStatus:
		return classNoStatus
	case frame.CodeInternal:
		return classServer
	}
	return classPrivate
}

// Stats is a snapshot of a Server. Everything but Open counts since New.
type Stats struct {
	Accepted     uint64 // sockets
	AcceptPauses uint64 // times that accepting waited for descriptors or memory
	Handshakes   uint64 // WebSockets opened
	Open         int    // WebSockets open now
	Refused      Refused
	Web          uint64 // connections handed to the http.Server
	Hot          uint64 // requests served by Config.Hot
	TLS          TLSStats

	MessagesIn  uint64
	BytesIn     uint64 // payload of those
	ControlsIn  uint64 // control frames
	MessagesOut uint64 // queued
	BytesOut    uint64 // frames of those
	Writes      uint64 // system calls, or writes on a TLS connection
	Stuck       uint64 // writes that the socket did not take whole

	Overflows      Overflows
	Closes         Closes
	HeartbeatsLost uint64 // connections closed 1006 because a ping found nobody
	Panics         uint64 // of a Handler, Config.Upgrade, Config.Hot or a Task

	Turns    uint64 // of the event loops
	Wakeups  uint64 // of these, after a sleep
	Overruns uint64 // slices of a Task that took more than twice their time
}

// TLSStats are TLS handshakes, those of the http.Server's connections included.
type TLSStats struct {
	Done   uint64
	Failed uint64 // refused, given up by the client, or too slow
	Waited uint64 // for their turn: see HeadLimits.Handshakes
	// Of Failed: dropped because their client was silent while others waited.
	Stalled uint64
}

// Refused are upgrades that got no 101, by reason.
type Refused struct {
	Head    uint64 // a rule of HTTP or of the handshake
	Upgrade uint64 // Config.Upgrade said no
	Rates   uint64 // Config.Rates: 429 or 503
	Leaving uint64 // Shutdown or Drain
}

// Overflows are messages that found their queue full, by policy. A policy that
// finds no room counts under Refuse.
type Overflows struct {
	Refuse     uint64 // messages refused
	Close      uint64 // connections closed
	DropOldest uint64 // messages dropped
	Coalesce   uint64 // messages replaced
}

// Closes are connections that ended, by what OnClose said.
type Closes struct {
	Normal    uint64 // 1000
	GoingAway uint64 // 1001, 1012
	Protocol  uint64 // 1002, 1003, 1007
	Policy    uint64 // 1008, 1013
	TooBig    uint64 // 1009
	Abnormal  uint64 // 1006
	NoStatus  uint64 // 1005
	Server    uint64 // 1011
	Other     uint64 // any other, 3000–4999 among them
}

// Stats counts what happened so far.
func (s *Server) Stats() Stats {
	var st Stats
	s.here.stats.addTo(&st)
	s.loops.each(func(h *home) { h.stats.addTo(&st) })
	return st
}

func (c *counters) addTo(st *Stats) {
	st.Accepted += c.accepted.Load()
	st.AcceptPauses += c.acceptPauses.Load()
	st.Handshakes += c.handshakes.Load()
	st.Open += int(c.opened.Load())
	st.Refused.Head += c.refusals[badHead].Load()
	st.Refused.Upgrade += c.refusals[rejected].Load()
	st.Refused.Rates += c.refusals[limited].Load()
	st.Refused.Leaving += c.refusals[leaving].Load()
	st.Web += c.web.Load()
	st.Hot += c.hot.Load()
	st.TLS.Done += c.tlsDone.Load()
	st.TLS.Failed += c.tlsFailed.Load()
	st.TLS.Waited += c.tlsWaited.Load()
	st.TLS.Stalled += c.tlsStalled.Load()
	st.MessagesIn += c.messagesIn.Load()
	st.BytesIn += c.bytesIn.Load()
	st.ControlsIn += c.controlsIn.Load()
	st.MessagesOut += c.messagesOut.Load()
	st.BytesOut += c.bytesOut.Load()
	st.Writes += c.writes.Load()
	st.Stuck += c.stuck.Load()
	st.Overflows.Refuse += c.overflows[bound.Refuse].Load()
	st.Overflows.Close += c.overflows[bound.Close].Load()
	st.Overflows.DropOldest += c.overflows[bound.DropOldest].Load()
	st.Overflows.Coalesce += c.overflows[bound.Coalesce].Load()
	for class, to := range [nClasses]*uint64{
		&st.Closes.Normal, &st.Closes.GoingAway, &st.Closes.Protocol, &st.Closes.Policy, &st.Closes.TooBig,
		&st.Closes.Abnormal, &st.Closes.NoStatus, &st.Closes.Server, &st.Closes.Other,
	} {
		*to += c.closes[class].Load()
	}
	st.HeartbeatsLost += c.heartbeats.Load()
	st.Panics += c.panics.Load()
	st.Turns += c.turns.Load()
	st.Wakeups += c.wakeups.Load()
	st.Overruns += c.overruns.Load()
}

// tell tells the handler, once. Called by whoever reads the socket.
func (c *Conn) tell() {
	if c.told || c.handler == nil {
		return
	}
	c.told = true
	c.mu.Lock()
	end := *c.end
	c.mu.Unlock()
	st := c.stats()
	st.closes[classOf(end.code)].Add(1)
	st.opened.Add(-1)
	defer st.contained(c.srv(), "OnClose", nil)
	c.handler.OnClose(c, end.code, end.reason)
}
