package conn

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"syscall"
	"time"
)

// Back-off of a failing accept: doubled from the first to the second.
const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// Serve accepts connections from ln until Shutdown (nil) or until ln fails for
// good. It may be called for several listeners at once. A shortage (of file
// descriptors, of memory) makes it wait and try again: open connections go on,
// and accepting resumes by itself when there is room.
func (s *Server) Serve(ln net.Listener) error {
	if !s.track(ln) {
		ln.Close()
		return nil
	}
	defer s.untrack(ln)
	if took, err := s.loops.serve(ln); took {
		return err
	}
	pause := time.Duration(0)
	for {
		nc, err := ln.Accept()
		if err == nil {
			pause = 0
			s.here.stats.accepted.Add(1)
			if counted := s.gate.count(nc); counted != nil {
				s.ServeConn(counted, false)
			} else {
				s.here.stats.refusals[limited].Add(1)
				nc.Close()
			}
			continue
		}
		if s.isClosing() {
			return nil
		}
		if !shortage(err) {
			return err
		}
		if pause == 0 {
			s.logError("accept: out of resources, waiting", err)
		}
		s.here.stats.acceptPauses.Add(1)
		pause = min(max(2*pause, acceptPauseMin), acceptPauseMax)
		select {
		case <-time.After(pause):
		case <-s.deaf:
			return nil
		}
	}
}

// shortage reports whether accept may work again later: limits on descriptors
// and memory, and connections that failed before they were accepted.
func shortage(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	if stillborn(err) {
		return true
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// stillborn: the error is that of a connection which failed before it was
// accepted, or which a firewall forbids; Linux reports these from accept, and the
// listener is as good as before (accept(2), "Error handling").
func stillborn(err error) bool {
	for _, errno := range [...]syscall.Errno{
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EPROTO, syscall.EPERM, syscall.ENETDOWN, syscall.ENOPROTOOPT,
		syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.EOPNOTSUPP, syscall.ENETUNREACH, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// ServeConn serves one connection that was accepted elsewhere, such as the
// inside of a CONNECT tunnel, like any other: first byte, head, and on. It
// returns at once; the connection belongs to the server. tlsDone says that nc
// carries decrypted bytes of a TLS connection.
func (s *Server) ServeConn(nc net.Conn, tlsDone bool) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		nc.Close()
		return
	}
	if h, ok := nc.(*handed); ok {
		nc = h.unwrap()
	}
	s.young[nc] = struct{}{}
	s.live.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.live.Done()
		s.serve(nc, tlsDone)
	}()
}

// serve reads the first byte and the head, and hands the connection to whoever
// speaks its protocol. It holds no connection longer than Head.Timeout.
func (s *Server) serve(nc net.Conn, secure bool) {
	accepted := nc
	limit := s.head.Timeout
	_ = nc.SetDeadline(time.Now().Add(limit))
	first := s.takeChunk()
	defer func() { s.giveChunk(first) }()

	n := 0
	var err error
	var wire *patient
	if !secure {
		if n, err = readSome(nc, first[:]); err != nil {
			s.drop(accepted)
			return
		}
		if s.cfg.TLS != nil && first[0] == recordHandshake {
			wire = &patient{Conn: nc}
			nc, secure = tls.Server(&replayed{Conn: wire, unread: append([]byte(nil), first[:n]...)}, s.tls), true
			n = 0
		}
	}
	if tc, ok := nc.(*tls.Conn); ok {
		if err := s.greet(tc, wire, limit); err != nil {
			s.drop(accepted)
			return
		}
		if tc.ConnectionState().NegotiatedProtocol == "h2" {
			s.grownUp(accepted)
			_ = nc.SetDeadline(time.Time{})
			s.web.take(tc)
			return
		}
	}
	h, buf, end, err := s.readHead(nc, first[:], n)
	if !s.grownUp(accepted) {
		nc.Close() // Shutdown has closed it already
		return
	}
	switch {
	case err != nil:
		s.turnAway(nc, err)
	case h == nil || !h.isUpgrade():
		_ = nc.SetDeadline(time.Time{})
		s.web.hand(nc, buf, secure)
	default:
		s.open(nc, h, buf[end:], secure)
	}
}

// recordHandshake starts every TLS connection (RFC 8446 §5.1).
const recordHandshake = 0x16

// readSome reads at least one byte.
func readSome(nc net.Conn, b []byte) (int, error) {
	for {
		n, err := nc.Read(b)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// readHead reads until the head in buf, whose first n bytes are there, is
// complete. It returns everything read, and where the head ends. h is nil as
// soon as the request cannot be an upgrade: net/http is then the one to read
// its head. The error is a *refusal, or the socket's.
func (s *Server) readHead(nc net.Conn, buf []byte, n int) (h *head, all []byte, end int, err error) {
	const get = "GET "
	searched := 0
	for {
		if m := min(n, len(get)); string(buf[:m]) != get[:m] {
			return nil, buf[:n], 0, nil
		}
		if end, err = headEnd(buf[:n], searched, s.head); err != nil {
			return nil, nil, 0, err
		}
		if end > 0 {
			h, err = parseHead(buf[:end], s.head)
			return h, buf[:n], end, err
		}
		searched = n
		if n == len(buf) {
			buf = append(make([]byte, 0, 2*n), buf...)
			buf = buf[:cap(buf)]
		}
		m, err := readSome(nc, buf[n:])
		if err != nil {
			return nil, nil, 0, err
		}
		n += m
	}
}

// turnAway answers a request whose head was refused, and closes: as soon as the
// client has seen the answer, or after CloseWait, since Shutdown waits for it.
func (s *Server) turnAway(nc net.Conn, err error) {
	defer nc.Close()
	var r *refusal
	if !errors.As(err, &r) {
		return // the client is gone, or too slow
	}
	if _, err := nc.Write(r.response()); err != nil {
		return
	}
	halfClose(nc)
	_ = nc.SetReadDeadline(time.Now().Add(Limits{}.withDefaults().CloseWait))
	buf := s.takeChunk()
	defer s.giveChunk(buf)
	for left := lingerBytes; left > 0; {
		n, err := nc.Read(buf[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// halfClose sends FIN (or a TLS close_notify) after what was written, so that
// the peer sees the end while we can still read what it sends.
func halfClose(nc net.Conn) bool {
	cw, ok := nc.(interface{ CloseWrite() error })
	return ok && cw.CloseWrite() == nil
}

func (s *Server) logError(msg string, err error) {
	if s.cfg.ErrorLog != nil {
		s.cfg.ErrorLog.Error(msg, slog.Any("error", err))
	}
}

// track and untrack keep the listeners that Shutdown has to close.
func (s *Server) track(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || s.draining {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) untrack(ln net.Listener) {
	s.mu.Lock()
	delete(s.listeners, ln)
	s.mu.Unlock()
	ln.Close()
}

// isClosing: Shutdown or Drain has begun.
func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing || s.draining
}

// grownUp takes nc out of the connections without a head. false: Shutdown did.
func (s *Server) grownUp(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.young[nc]
	delete(s.young, nc)
	return ok
}

func (s *Server) drop(nc net.Conn) {
	s.grownUp(nc)
	nc.Close()
}
