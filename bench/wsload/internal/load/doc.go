//go:build linux

// Package load is the load generator: it opens WebSocket connections to a server
// on this machine, drives them, and counts what came back.
//
// Plain connections live in groups. A group is one thread with one epoll set; a
// connection in it has no goroutine and no buffer of its own while nothing is
// incomplete. TLS connections are the exception: crypto/tls wants a goroutine
// each, which costs the generator, not the server, whose processor time is what
// is measured.
//
// Every message carries a record (stat.Record), so that a lost, repeated,
// reordered or misdelivered one is counted as such. Servers that answer a fixed
// text are held to it byte for byte, and to one answer for each question.
//
// Addresses outside 127.0.0.0/8 are refused.
package load

import (
	"fmt"
	"net"
	"syscall"
	"time"
)

// Metrics are one run's figures by name. Names end in their unit.
type Metrics map[string]float64

// Target is the server under load.
type Target struct {
	Addr   string // host:port, loopback only
	TLS    bool
	Proto  Proto
	Header string // extra lines of every upgrade, each with its \r\n
	PIDs   []int  // whose processor time and memory count, children included
	Front  []int  // the part of PIDs that stands before the rest: a proxy
	Scrape string // URL of Prometheus metrics, "" for none
}

// began is the origin of clock.
var began = time.Now()

// clock is nanoseconds on the process's own monotonic clock.
func clock() int64 { return int64(time.Since(began)) }

// Loopback parses a host:port and refuses every host but 127.0.0.0/8.
func Loopback(hostport string) (a syscall.SockaddrInet4, err error) {
	h, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return a, err
	}
	if h == "localhost" {
		h = "127.0.0.1"
	}
	ip := net.ParseIP(h).To4()
	if ip == nil || ip[0] != 127 {
		return a, fmt.Errorf("%s: only 127.0.0.0/8 may be loaded", hostport)
	}
	port, err := net.LookupPort("tcp", p)
	if err != nil {
		return a, err
	}
	copy(a.Addr[:], ip)
	a.Port = port
	return a, nil
}
