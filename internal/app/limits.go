package app

import (
	"math"
	goruntime "runtime"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/frame"
	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/model"
)

// Engines of connections.
const (
	engineAuto     = "auto"
	engineLoop     = "loop"
	enginePortable = "portable"
)

// heartbeatWait is the longest that a pinged client may take to be heard of.
const heartbeatWait = 20 * time.Second

// Validate says what in a configuration cannot be, before anything is started.
func (c *Config) Validate() error {
	switch c.Engine {
	case "", engineAuto, enginePortable:
	case engineLoop:
		if goruntime.GOOS != "linux" {
			return fault.New(fault.BadRequest, "--engine loop needs Linux; leave the flag out to use what there is on %s", goruntime.GOOS)
		}
	default:
		return fault.New(fault.BadRequest, "--engine %q: want auto, loop or portable", c.Engine)
	}
	if err := c.checkTables(); err != nil {
		return err
	}
	return c.checkManagement()
}

// defaultSend is the outbound queue of a profile that does not name one, in bytes
// (gateway.Limits.SendBytes).
const defaultSend = 1 << 20

// NoLimit takes a limit away.
const NoLimit = -1

// LimitChanges are what the user changed of the profile's limits: 0 is the
// profile's, NoLimit none.
type LimitChanges struct {
	Message, Frame     int // bytes
	Idle, Lifetime     time.Duration
	Requests, Connects float64 // per second
}

// limits are the profile's with what the user changed; nil when that is nothing.
func (a *App) limits() *gateway.Limits {
	c := a.cfg.Limits
	if a.cfg.Heartbeat == 0 && c == (LimitChanges{}) {
		return nil
	}
	l := gateway.AWSLimits()
	if a.cfg.Profile == "open" {
		l = gateway.OpenLimits()
	}
	if a.cfg.Heartbeat != 0 {
		l.Heartbeat = max(0, a.cfg.Heartbeat)
		l.HeartbeatWait = min(l.Heartbeat, heartbeatWait)
	}
	change(&l.Message, c.Message)
	change(&l.Frame, c.Frame)
	change(&l.Idle, c.Idle)
	change(&l.Lifetime, c.Lifetime)
	if room := c.Message + frame.MaxHeader; room > max(l.SendBytes, defaultSend) {
		l.SendBytes = room // or the largest could come in and never go out
	}
	throttle(&l.Requests, c.Requests)
	throttle(&l.Connects, c.Connects)
	return &l
}

func change[T int | time.Duration](limit *T, to T) {
	if to != 0 {
		*limit = max(0, to)
	}
}

func throttle(limit *model.Throttle, rate float64) {
	if rate != 0 {
		*limit = model.Throttle{Rate: max(0, rate), Burst: int(max(0, math.Ceil(rate)))}
	}
}
