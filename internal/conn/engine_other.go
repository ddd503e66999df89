//go:build !linux

package conn

import "net"

// engine is nothing here: without epoll everything runs on the portable engine.
type engine struct{}

// outstanding is what the peer has not acknowledged: nobody knows.
func outstanding(net.Conn) int { return -1 }

func newEngine(*Server, int) *engine             { return nil }
func (*engine) serve(net.Listener) (bool, error) { return false, nil }
func (*engine) each(func(*home))                 {}
func (*engine) shards() int                      { return 1 }
func (*engine) post(int, Task) bool              { return false }
func (*engine) all() []*Conn                     { return nil }
func (*engine) leave()                           {}
func (*engine) deafen()                          {}
func (*engine) cut()                             {}
func (*engine) wait()                            {}
