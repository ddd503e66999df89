package app

import (
	goruntime "runtime"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/gateway"
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

// limits are the profile's with what the user changed; nil when that is nothing.
func (a *App) limits() *gateway.Limits {
	if a.cfg.Heartbeat == 0 {
		return nil
	}
	l := gateway.AWSLimits()
	if a.cfg.Profile == "open" {
		l = gateway.OpenLimits()
	}
	l.Heartbeat = max(0, a.cfg.Heartbeat)
	l.HeartbeatWait = min(l.Heartbeat, heartbeatWait)
	return &l
}
