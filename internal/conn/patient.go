package conn

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// patient is a socket of the portable engine, underneath TLS, that gives a write
// up when the peer took nothing at all for Limits.WriteWait. A deadline alone would
// end a slow reader who does read, and a write of crypto/tls cannot be resumed.
type patient struct {
	net.Conn
	wait    atomic.Int64 // time.Duration; 0: writes are left alone
	reading atomic.Bool  // somebody waits for the peer

	// owned by whoever writes
	began  time.Time // of the latest write: what was before it has been taken
	until  time.Time // the deadline on the socket
	unsent int       // bytes the peer had not acknowledged
	took   int       // bytes that the socket took since
	lost   bool      // given up: TLS would have its closing alert wait as long again
}

// patienceOf finds the patient under nc, or puts one over it.
func patienceOf(nc net.Conn) (top net.Conn, p *patient) {
	for at := nc; ; {
		switch v := at.(type) {
		case *patient:
			return nc, v
		case *tls.Conn:
			at = v.NetConn()
		case *tlsWire:
			at = v.nc
		case *replayed:
			at = v.Conn
		default:
			p = &patient{Conn: nc}
			return p, p
		}
	}
}

func (p *patient) Read(b []byte) (int, error) {
	p.reading.Store(true)
	n, err := p.Conn.Read(b)
	p.reading.Store(false)
	return n, err
}

func (p *patient) Write(b []byte) (n int, err error) {
	if p.lost {
		return 0, os.ErrDeadlineExceeded
	}
	p.begin()
	for {
		k, err := p.Conn.Write(b[n:])
		n += k
		if err == nil || !p.goesOn(k, err) {
			p.took += k
			return n, err
		}
	}
}

// writeAll writes several buffers, in one call where the system can.
func (p *patient) writeAll(bufs net.Buffers) error {
	p.begin()
	for {
		k, err := bufs.WriteTo(p.Conn)
		if err == nil || !p.goesOn(int(k), err) {
			p.took += int(k)
			return err
		}
	}
}

// begin leaves the write at least half of its time. The deadline is not set anew
// for every write: that would cost a timer each.
func (p *patient) begin() {
	wait := time.Duration(p.wait.Load())
	if wait == 0 {
		return
	}
	p.began = time.Now()
	if p.until.Sub(p.began) < wait/2 {
		p.extend(p.began, wait)
	}
}

func (p *patient) extend(from time.Time, wait time.Duration) {
	p.until = from.Add(wait)
	p.unsent, p.took = outstanding(p.Conn), 0
	_ = p.Conn.SetWriteDeadline(p.until)
}

// goesOn says that a write which ended with err, after k bytes, has time left or
// has moved.
func (p *patient) goesOn(k int, err error) bool {
	wait := time.Duration(p.wait.Load())
	if wait == 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	now := time.Now()
	p.took += k
	if left := outstanding(p.Conn); k > 0 || left >= 0 && left < p.unsent+p.took {
		p.began = now
	}
	if now.Sub(p.began) >= wait {
		p.lost = true
		return false
	}
	p.extend(p.began, wait)
	return true
}

// CloseWrite passes a half-close on.
func (p *patient) CloseWrite() error {
	return (&replayed{Conn: p.Conn}).CloseWrite()
}
