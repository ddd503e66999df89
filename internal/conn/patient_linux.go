package conn

import (
	"net"
	"syscall"
)

// outstanding is what the peer has not acknowledged of what was written to a
// socket; -1 where nobody knows. A peer that reads slowly frees the socket's buffer
// in large steps only.
func outstanding(nc net.Conn) (n int) {
	if e, ok := nc.(*entered); ok {
		nc = e.Conn
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1
	}
	n = -1
	_ = raw.Control(func(fd uintptr) { n = unsent(int32(fd)) })
	return n
}
