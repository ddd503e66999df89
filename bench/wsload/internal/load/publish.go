//go:build linux

package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livegate/livegate/bench/wsload/internal/frame"
	"github.com/livegate/livegate/bench/wsload/internal/stat"
)

// complaints is where a run says what went wrong; its figures go elsewhere.
const complaints = stderr(0)

type stderr int

func (stderr) Write(b []byte) (int, error) { return os.Stderr.Write(b) }

// publisher sends one channel's messages.
type publisher interface {
	publish(r stat.Record) error
	// refused is how many messages the server has said it will not take.
	refused() uint64
	close()
}

// publisher is a WebSocket connection where the protocol publishes that way, else
// an HTTP client.
func (t *Target) publisher(ch string, size int) (publisher, error) {
	switch {
	case t.Proto.Pub != "":
		return t.wsPublisher(ch, size)
	case t.Proto.HTTPBody != "":
		p, err := t.poster()
		if err != nil {
			return nil, err
		}
		return &httpPublisher{p, ch, stat.Record{}.Payload(size)}, nil
	}
	return nil, errors.New("this protocol has no way to publish")
}

// poster is one keep-alive HTTP connection.
type poster struct {
	t    *Target
	c    net.Conn
	r    *bufio.Reader
	sign *Signer
	b    []byte
}

func (t *Target) poster() (*poster, error) {
	if _, err := Loopback(t.Addr); err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp4", t.Addr)
	if err != nil {
		return nil, err
	}
	return &poster{t: t, c: c, r: bufio.NewReader(c)}, nil
}

func (p *poster) again() error {
	p.c.Close()
	n, err := p.t.poster()
	if err != nil {
		return err
	}
	p.c, p.r = n.c, n.r
	return nil
}

// post sends one request and reads its answer. A kept-alive connection that the
// server closed between requests is replaced once.
func (p *poster) post(ch, id string, msg []byte) error {
	p.b = p.t.Proto.appendPost(p.b[:0], p.t.Addr, ch, id, msg, p.sign)
	for try := 0; ; try++ {
		_, err := p.c.Write(p.b)
		var code int
		var hangup bool
		if err == nil {
			code, hangup, err = readResponse(p.r)
		}
		switch {
		case err == nil && hangup:
			if err := p.again(); err != nil {
				return err
			}
			fallthrough
		case err == nil:
			if code < 200 || code > 299 {
				return fmt.Errorf("HTTP status %d", code)
			}
			return nil
		case try > 0 || !errors.Is(err, io.EOF):
			return err
		}
		if err := p.again(); err != nil {
			return err
		}
	}
}

// readResponse takes one HTTP/1.1 response off r and drops its body.
func readResponse(r *bufio.Reader) (code int, hangup bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, false, fmt.Errorf("not an HTTP response: %q", line)
	}
	code, _ = strconv.Atoi(string(line[9:12]))
	size, chunked := 0, false
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return code, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		k, v, _ := bytes.Cut(line, []byte(":"))
		v = bytes.TrimSpace(v)
		switch {
		case bytes.EqualFold(k, []byte("content-length")):
			size, _ = strconv.Atoi(string(v))
		case bytes.EqualFold(k, []byte("transfer-encoding")):
			chunked = bytes.EqualFold(v, []byte("chunked"))
		case bytes.EqualFold(k, []byte("connection")):
			hangup = bytes.EqualFold(v, []byte("close"))
		}
	}
	if chunked {
		return code, hangup, dropChunks(r)
	}
	if code != 204 && code != 304 {
		_, err = r.Discard(size)
	}
	return code, hangup, err
}

func dropChunks(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return err
		}
		if _, err := r.Discard(int(n) + 2); err != nil || n == 0 {
			return err
		}
	}
}

type httpPublisher struct {
	p   *poster
	ch  string
	msg []byte
}

func (h *httpPublisher) publish(r stat.Record) error {
	r.Put(h.msg)
	return h.p.post(h.ch, "", h.msg)
}

// refused is 0: a post that is refused ends the run.
func (h *httpPublisher) refused() uint64 { return 0 }

func (h *httpPublisher) close() { h.p.c.Close() }

// wsPublisher publishes over a WebSocket connection of its own.
type wsPublisher struct {
	c   net.Conn
	op  byte
	no  atomic.Uint64
	mu  sync.Mutex // frames of publish and of the reader's pongs
	b   []byte
	msg stamped
}

func (t *Target) wsPublisher(ch string, size int) (*wsPublisher, error) {
	if _, err := Loopback(t.Addr); err != nil {
		return nil, err
	}
	c, err := net.Dial("tcp4", t.Addr)
	if err != nil {
		return nil, err
	}
	w := &wsPublisher{c: c, op: frame.Text, msg: t.Proto.stamp(t.Proto.Pub, ch, size)}
	if t.Proto.Binary {
		w.op = frame.Bin
	}
	r := bufio.NewReader(c)
	if _, err := c.Write(t.upgrade(or(t.Proto.PubPath, t.Proto.Path), "nobody")); err != nil {
		return nil, err
	}
	code, _, err := readResponse(r)
	if err == nil && code != 101 {
		err = fmt.Errorf("status %d", code)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("the publisher's upgrade: %w", err)
	}
	// Where subscribing is what makes a session, the publisher takes a channel
	// that nobody else has.
	hello, ready := t.Proto.Pre, t.Proto.PreReady
	if t.Proto.SubPath == "" && t.Proto.Pings != nil {
		hello, ready = t.Proto.Sub, t.Proto.SubReady
	}
	greeted := make(chan struct{})
	go w.drain(r, &t.Proto, ready, greeted)
	for _, h := range hello {
		if err := w.send([]byte(fill(h, "nobody", ""))); err != nil {
			return nil, err
		}
	}
	select {
	case <-greeted:
		return w, nil
	case <-time.After(5 * time.Second):
		c.Close()
		return nil, errors.New("the publisher was not greeted within 5 s")
	}
}

func (w *wsPublisher) send(payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = frame.Append(w.b[:0], w.op, rand.Uint32(), payload)
	_, err := w.c.Write(w.b)
	return err
}

func (w *wsPublisher) publish(r stat.Record) error { return w.send(w.msg.put(r)) }

func (w *wsPublisher) refused() uint64 { return w.no.Load() }

func (w *wsPublisher) close() { w.c.Close() }

// drain answers pings and drops the rest, so that the server never waits for it.
func (w *wsPublisher) drain(r io.Reader, p *Proto, ready string, greeted chan struct{}) {
	waiting := true
	if ready == "" {
		waiting = false
		close(greeted)
	}
	var have []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		have = append(have, buf[:n]...)
		for {
			_, op, payload, size, bad := frame.Take(have)
			if bad {
				return
			}
			if size == 0 || size > len(have) {
				break
			}
			if op == frame.Ping {
				w.mu.Lock()
				w.c.Write(frame.Append(nil, frame.Pong, 1, payload)) //nolint:errcheck // the next publish fails then
				w.mu.Unlock()
			} else if answer, ok := p.pong(payload); ok {
				w.send(answer) //nolint:errcheck // likewise
			} else if waiting && bytes.Contains(payload, []byte(ready)) {
				waiting = false
				close(greeted)
			} else if bytes.Contains(payload, []byte(`"message": "`)) {
				if n := w.no.Add(1); n <= 3 {
					fmt.Fprintf(complaints, "the server answered a publish with %.200s\n", payload)
				}
			}
			have = have[:copy(have, have[size:])]
		}
	}
}
