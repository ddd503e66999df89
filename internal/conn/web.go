package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Time-outs of the http.Server. There is no WriteTimeout: responses that stream
// for as long as a client listens are legitimate.
const (
	webIdle = 2 * time.Minute
)

// web is everything that is not a WebSocket: one http.Server, fed with
// connections that were accepted, and begun to be read, by us.
type web struct {
	s     *Server
	http  *http.Server
	conns chan net.Conn
	done  chan struct{} // closed by shutdown
	start sync.Once
	end   sync.Once
}

func newWeb(s *Server) *web {
	w := &web{s: s, conns: make(chan net.Conn), done: make(chan struct{})}
	errorLog := log.New(io.Discard, "", 0)
	if s.cfg.ErrorLog != nil {
		errorLog = slog.NewLogLogger(s.cfg.ErrorLog.Handler(), slog.LevelWarn)
	}
	w.http = &http.Server{
		Handler:           w,
		ReadHeaderTimeout: s.head.Timeout,
		IdleTimeout:       webIdle,
		MaxHeaderBytes:    s.head.Total,
		ErrorLog:          errorLog,
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			if h, ok := nc.(*handed); ok {
				return context.WithValue(ctx, handedKey{}, h)
			}
			return ctx
		},
		ConnState: func(nc net.Conn, st http.ConnState) {
			if h, ok := nc.(*handed); ok {
				h.onState(st)
			}
		},
	}
	return w
}

type handedKey struct{}

// hand gives a connection to the http.Server for good; unread is what was read
// of it.
func (w *web) hand(nc net.Conn, unread []byte, secure bool) {
	h := &handed{Conn: nc, unread: append([]byte(nil), unread...), secure: secure}
	h.watch.limit = w.s.head.Total + chunkSize
	w.take(h)
}

// take gives nc to the http.Server as it is: a *tls.Conn that speaks h2 is
// recognised by its type.
func (w *web) take(nc net.Conn) {
	w.start.Do(func() {
		go func() {
			if err := w.http.Serve(w); err != nil && !errors.Is(err, http.ErrServerClosed) {
				w.s.logError("http server", err)
			}
		}()
	})
	select {
	case w.conns <- nc:
	case <-w.done:
		nc.Close()
	}
}

// Accept, Close and Addr are the net.Listener that http.Server sees.
func (w *web) Accept() (net.Conn, error) {
	select {
	case nc := <-w.conns:
		return nc, nil
	case <-w.done:
		return nil, net.ErrClosed
	}
}

func (w *web) Close() error {
	w.end.Do(func() { close(w.done) })
	return nil
}

func (w *web) Addr() net.Addr { return &net.TCPAddr{} }

// shutdown waits for requests under way until ctx ends, then cuts them off.
func (w *web) shutdown(ctx context.Context) error {
	_ = w.Close()
	err := w.http.Shutdown(ctx)
	if err != nil {
		_ = w.http.Close()
	}
	return err
}

// ServeHTTP tells late upgrades, those on a connection that carried other
// requests before, from requests for Config.HTTP.
func (w *web) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h, ok := r.Context().Value(handedKey{}).(*handed)
	if ok {
		if tc, isTLS := h.Conn.(*tls.Conn); isTLS && r.TLS == nil {
			st := tc.ConnectionState()
			r.TLS = &st
		}
		if wantsUpgrade(r) {
			w.upgrade(rw, r.RequestURI, h)
			return
		}
	}
	if ok && len(r.TransferEncoding) > 0 && h.sized.found.Load() {
		// With a Content-Length too, the connection must not go on (RFC 9112 §6.1).
		rw.Header().Set("Connection", "close")
	}
	if r.Body != nil && r.Body != http.NoBody {
		b := &timedBody{ReadCloser: r.Body, rc: http.NewResponseController(rw), due: time.Now().Add(w.s.head.Timeout)}
		defer b.leave()
		r.Body = b
	}
	w.s.cfg.HTTP.ServeHTTP(rw, r)
}

// bodySpeed is the least, in bytes per second, that a request's body must come
// at, after Head.Timeout.
const bodySpeed = 4 << 10

// timedBody is a request's body that has to come in time: a client that sends it
// byte by byte would keep a handler, and what the handler holds, for ever.
type timedBody struct {
	io.ReadCloser
	rc  *http.ResponseController
	due time.Time
	got bool // all of it
}

func (b *timedBody) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(b.due) // not every writer below has one
	n, err := b.ReadCloser.Read(p)
	b.due = b.due.Add(time.Duration(n) * time.Second / bodySpeed)
	if err == io.EOF && !b.got {
		b.got = true
		_ = b.rc.SetReadDeadline(time.Time{}) // a response may take longer
	}
	return n, err
}

// leave bounds how long net/http reads what the handler left unread. The next
// request has time limits of its own.
func (b *timedBody) leave() {
	if !b.got {
		_ = b.rc.SetReadDeadline(b.due)
	}
}

// wantsUpgrade is head.isUpgrade for a request that net/http parsed.
func wantsUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && anyListHas(r.Header["Upgrade"], "websocket") &&
		anyListHas(r.Header["Connection"], "upgrade")
}

func anyListHas(lists []string, token string) bool {
	for _, l := range lists {
		if listHas(l, token) {
			return true
		}
	}
	return false
}

// upgrade takes a connection back from the http.Server and serves it as if the
// upgrade had been its first request: from the bytes of its head, which the
// connection kept, through our own parser. What net/http made of those bytes is
// only compared, so the two parsers cannot disagree.
func (w *web) upgrade(rw http.ResponseWriter, target string, h *handed) {
	nc, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		http.Error(rw, "upgrade not possible on this connection", http.StatusInternalServerError)
		return
	}
	early, err := buffered.Peek(buffered.Reader.Buffered())
	if err != nil {
		nc.Close()
		return
	}
	early = append([]byte(nil), early...)
	raw, ok := h.watch.headAt(int64(len(early)))
	s := w.s
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.live.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.live.Done()
		nc := h.unwrap()
		_ = nc.SetDeadline(time.Now().Add(s.head.Timeout))
		parsed, err := reparse(raw, ok, target, s.head)
		if err != nil {
			s.turnAway(nc, err)
			return
		}
		s.open(nc, parsed, early, h.secure)
	}()
}

func reparse(raw []byte, ok bool, target string, lim HeadLimits) (*head, error) {
	if !ok {
		return nil, badRequest("Upgrade pipelined behind another request")
	}
	end, err := headEnd(raw, 0, lim)
	if err != nil {
		return nil, err
	}
	if end != len(raw) {
		return nil, badRequest("Malformed request head")
	}
	h, err := parseHead(raw, lim)
	if err == nil && (!h.isUpgrade() || h.target != target) {
		err = badRequest("Malformed upgrade")
	}
	return h, err
}
