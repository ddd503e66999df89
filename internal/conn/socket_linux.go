package conn

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of every message go past the scheduler (RawSyscall): none of
// them blocks, and telling the scheduler costs as much as the shorter ones take.

// epollNow is epoll_pwait that does not wait.
func epollNow(ep int, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func readNow(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

func writeNow(fd int32, b []byte) (int, unix.Errno) {
	for {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// acceptNow accepts a connection. Its options are those of the listener.
func acceptNow(fd int) (nfd int32, remote netip.AddrPort, errno unix.Errno) {
	var sa unix.RawSockaddrInet6
	size := uint32(unix.SizeofSockaddrInet6)
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)),
			unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		return int32(n), addrPort(&sa), errno
	}
}

// addrPort reads a socket address as the kernel wrote it: family, port in network
// order, then the address of either family.
func addrPort(sa *unix.RawSockaddrInet6) netip.AddrPort {
	p := (*[2]byte)(unsafe.Pointer(&sa.Port))
	port := uint16(p[0])<<8 | uint16(p[1])
	switch sa.Family {
	case unix.AF_INET:
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port)
	case unix.AF_INET6:
		a := netip.AddrFrom16(sa.Addr).Unmap()
		if a.Is6() && a.IsLinkLocalUnicast() && sa.Scope_id != 0 {
			if ifi, err := net.InterfaceByIndex(int(sa.Scope_id)); err == nil {
				a = a.WithZone(ifi.Name)
			}
		}
		return netip.AddrPortFrom(a, port)
	}
	return netip.AddrPort{}
}

// closeFD closes a descriptor. Linux frees it whatever close returns.
func closeFD(fd int) { _ = unix.Close(fd) }

func signalEvent(fd int) {
	one := uint64(1)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&one)), 8)
}

func clearEvent(fd int) {
	var n uint64
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&n)), 8)
}

// socket is a descriptor that left its loop, as a net.Conn. net.FileConn would
// duplicate it, ask it four questions, and close the first.
type socket struct {
	*os.File
	remote net.Addr
}

func newSocket(fd int32, remote netip.AddrPort) *socket {
	return &socket{File: os.NewFile(uintptr(fd), "socket"), remote: net.TCPAddrFromAddrPort(remote)}
}

func (s *socket) RemoteAddr() net.Addr { return s.remote }

func (s *socket) LocalAddr() net.Addr {
	var local net.Addr = &net.TCPAddr{}
	_ = s.control(func(fd int) error {
		local = localAddr(fd)
		return nil
	})
	return local
}

// localAddr is the address that the peer of a TCP socket connected to.
func localAddr(fd int) *net.TCPAddr {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return &net.TCPAddr{}
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	}
	return &net.TCPAddr{}
}

// CloseWrite sends FIN.
func (s *socket) CloseWrite() error {
	return s.control(func(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) })
}

func (s *socket) control(f func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// Read and Write report what package net would: a closed socket is
// net.ErrClosed.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.File.Read(p)
	return n, asNet("read", err)
}

func (s *socket) Write(p []byte) (int, error) {
	n, err := s.File.Write(p)
	return n, asNet("write", err)
}

func asNet(op string, err error) error {
	if err == nil || err == io.EOF { //nolint:errorlint // os.File returns it bare
		return err
	}
	// crypto/tls gives a connection up for good unless the error itself says that
	// it is temporary, as that of a deadline does.
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Err: err}
}

// WriteTo and ReadFrom of os.File are for files.
func (s *socket) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{s})
}

func (s *socket) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{s}, r)
}

func (s *socket) SetDeadline(t time.Time) error { return s.File.SetDeadline(t) }

var _ net.Conn = (*socket)(nil)
