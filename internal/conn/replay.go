package conn

import (
	"bytes"
	"net"
	"net/http"
	"sync/atomic"
)

// replayed is a connection of which some bytes were read already: they come
// again first.
type replayed struct {
	net.Conn
	unread []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.unread) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.unread)
	if r.unread = r.unread[n:]; len(r.unread) == 0 {
		r.unread = nil
	}
	return n, nil
}

// CloseWrite passes a half-close on to what is underneath.
func (r *replayed) CloseWrite() error {
	if cw, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return net.ErrClosed
}

// handed is a connection in the hands of the http.Server. It keeps the raw head
// of the latest GET, for upgrades that come late.
type handed struct {
	// static
	net.Conn
	secure bool

	hijacked atomic.Bool

	// owned by whoever reads: the http.Server, then its hijacker
	unread []byte
	watch  headWatch
	sized  lineWatch
	ahead  bool // the first byte of the next request was read ahead of its turn
}

func (h *handed) Read(p []byte) (n int, err error) {
	if len(h.unread) > 0 {
		n = copy(p, h.unread)
		if h.unread = h.unread[n:]; len(h.unread) == 0 {
			h.unread = nil
		}
	} else {
		n, err = h.Conn.Read(p)
	}
	if !h.hijacked.Load() {
		// A read of one byte is net/http looking for the client's end while a
		// handler runs. The request's body is consumed by then.
		if n == 1 && len(p) == 1 {
			h.watch.betweenRequests()
			h.ahead = true
		}
		h.watch.see(p[:n])
		h.sized.see(p[:n])
	}
	return n, err
}

// CloseWrite passes a half-close on, for hijackers.
func (h *handed) CloseWrite() error {
	return (&replayed{Conn: h.Conn}).CloseWrite()
}

// unwrap is the connection without this layer.
func (h *handed) unwrap() net.Conn {
	if len(h.unread) == 0 {
		return h.Conn
	}
	return &replayed{Conn: h.Conn, unread: h.unread}
}

func (h *handed) onState(st http.ConnState) {
	switch st {
	case http.StateIdle:
		if !h.ahead {
			h.watch.betweenRequests()
		}
		h.ahead = false
	case http.StateHijacked:
		h.hijacked.Store(true)
	}
}

// lineWatch notes whether any line that passed by began like a Content-Length
// header. net/http drops that header of a request which has Transfer-Encoding too,
// and does not tell. A body may look like one: a connection then closes early.
type lineWatch struct {
	found atomic.Bool
	match int // bytes of the name that matched; -1: in a line of no interest
}

const lengthName = "content-length"

func (w *lineWatch) see(p []byte) {
	if w.found.Load() {
		return
	}
	for len(p) > 0 {
		if w.match < 0 {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return
			}
			w.match, p = 0, p[i+1:]
			continue
		}
		switch c := p[0]; {
		case c|0x20 == lengthName[w.match]:
			if w.match++; w.match == len(lengthName) {
				w.found.Store(true)
				return
			}
		case c == '\n':
			w.match = 0
		default:
			w.match = -1
		}
		p = p[1:]
	}
}

// headWatch keeps the bytes of the latest GET head that passed by. It knows no
// bodies: "GET " at the start of a line might be one's content. Whoever uses a
// head must therefore check that it ended where the parser's did (headAt), and
// that its request line is the parser's.
type headWatch struct {
	limit int   // longer heads are forgotten; the http.Server refuses them anyway
	seen  int64 // bytes passed by

	mode  watchMode
	match int    // atLine: bytes of "GET " that matched
	head  []byte // the head under way, or the last one
	mark  int    // where in head a request began after all; 0: at its start
	end   int64  // where head ended; 0 while under way
}

type watchMode uint8

const (
	atLine watchMode = iota // at the start of a line, or within "GET "
	inLine                  // in a line of no interest
	inHead                  // keeping
)

const getPrefix = "GET "

func (w *headWatch) see(p []byte) {
	for len(p) > 0 {
		n := 1
		switch w.mode {
		case inLine:
			if n = bytes.IndexByte(p, '\n') + 1; n == 0 {
				w.seen += int64(len(p))
				return
			}
			w.mode, w.match = atLine, 0
		case atLine:
			w.atLineByte(p[0])
		case inHead:
			w.inHeadByte(p[0])
		}
		w.seen += int64(n)
		p = p[n:]
	}
}

func (w *headWatch) atLineByte(c byte) {
	switch c {
	case getPrefix[w.match]:
		if w.match++; w.match == len(getPrefix) {
			w.mode, w.head, w.mark, w.end = inHead, append(w.head[:0], getPrefix...), 0, 0
		}
	case '\n':
		w.match = 0
	default:
		w.mode = inLine
	}
}

// inHeadByte ends the head where net/http does, at an empty line, bare LF
// allowed: our own parser then says what is wrong with it.
func (w *headWatch) inHeadByte(c byte) {
	w.head = append(w.head, c)
	n := len(w.head)
	switch {
	case c == '\n' && (w.head[n-2] == '\n' || w.head[n-2] == '\r' && w.head[n-3] == '\n'):
		w.mode, w.match, w.end = atLine, 0, w.seen+1
	case n > w.limit:
		w.mode, w.head = inLine, nil
	}
}

// betweenRequests: the next byte starts a request. A body without a newline at
// its end would otherwise hide the request line after it, and a body that looks
// like the start of a GET would be taken for one. A head under way may also have
// been sent ahead of its turn, so it is kept.
func (w *headWatch) betweenRequests() {
	if w.mode == inHead {
		w.mark = len(w.head)
	} else {
		w.mode, w.match = atLine, 0
	}
}

// headAt is the head that ended exactly after bytes before the end of what
// passed by.
func (w *headWatch) headAt(after int64) ([]byte, bool) {
	if w.end == 0 || w.end != w.seen-after {
		return nil, false
	}
	if bytes.HasPrefix(w.head[w.mark:], []byte(getPrefix)) {
		return w.head[w.mark:], true
	}
	return w.head, true
}
