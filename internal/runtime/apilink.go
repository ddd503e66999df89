package runtime

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const apiVersion = "/2018-06-01/runtime/"

// apiLink serves the Lambda Runtime API (version 2018-06-01) to one process, on a
// loopback port of its own: the port says which worker is calling. It reads
// requests in a loop per connection instead of through http.Server, whose
// background reads and header maps would double the cost of an invocation.
type apiLink struct {
	w    *worker
	ln   net.Listener
	next chan *call    // capacity 1: one invocation at a time
	quit chan struct{} // closed by stop
	left chan struct{} // closed when the process has exited
	once sync.Once
	open sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
}

func newAPILink(w *worker) (*apiLink, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback, closed by stop
	if err != nil {
		return nil, err
	}
	a := &apiLink{w: w, ln: ln, next: make(chan *call, 1), quit: make(chan struct{}), left: make(chan struct{}), conns: map[net.Conn]bool{}}
	a.open.Go(a.accept)
	return a, nil
}

func (a *apiLink) address() string { return a.ln.Addr().String() }

func (a *apiLink) deliver(c *call) error {
	select {
	case a.next <- c:
		return nil
	case <-a.quit:
		return net.ErrClosed
	}
}

func (a *apiLink) stop() {
	a.once.Do(func() {
		close(a.quit)
		a.ln.Close()
		a.mu.Lock()
		for c := range a.conns {
			c.Close()
		}
		a.mu.Unlock()
	})
}

// drain lets requests that were sent before the process ended be answered, then
// closes.
func (a *apiLink) drain() {
	a.mu.Lock()
	for c := range a.conns {
		// The process's end of these is closed; what it wrote is readable.
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) //nolint:errcheck // closed below anyway
	}
	a.mu.Unlock()
	a.ln.Close()
	close(a.left)
	a.open.Wait()
	a.stop()
}

func (a *apiLink) accept() {
	for {
		c, err := a.ln.Accept()
		if err != nil {
			return
		}
		a.mu.Lock()
		a.conns[c] = true
		a.mu.Unlock()
		a.open.Go(func() {
			a.serve(c)
			a.mu.Lock()
			delete(a.conns, c)
			a.mu.Unlock()
			c.Close()
		})
	}
}

// serve answers the requests of one connection in order.
func (a *apiLink) serve(c net.Conn) {
	r := bufio.NewReaderSize(c, 8<<10)
	out := make([]byte, 0, 8<<10)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if req.Header.Get("Expect") != "" {
			if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		body, err := readBody(req)
		if err != nil {
			return
		}
		if out, err = a.answer(out[:0], req, body); err != nil {
			return
		}
		if _, err := c.Write(out); err != nil || req.Close {
			return
		}
		if cap(out) > 64<<10 {
			out = make([]byte, 0, 8<<10)
		}
	}
}

// readBody reads at most one byte more than a response may have; the rest of a
// larger body is skipped, so that the connection stays usable.
func readBody(req *http.Request) ([]byte, error) {
	if req.ContentLength == 0 {
		return nil, nil
	}
	var body []byte
	if n := req.ContentLength; n > 0 && n <= maxPayload {
		body = make([]byte, n)
		_, err := io.ReadFull(req.Body, body)
		return body, err
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxPayload+1))
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, req.Body)
	return body, err
}

var errGone = errors.New("the worker is stopping")

func (a *apiLink) answer(out []byte, req *http.Request, body []byte) ([]byte, error) {
	path, ok := strings.CutPrefix(req.URL.Path, apiVersion)
	if !ok {
		return reply(out, "404 Not Found", `{"errorType":"NotFound","errorMessage":"unknown path"}`), nil
	}
	switch {
	case path == "invocation/next" && req.Method == http.MethodGet:
		return a.sendNext(out)
	case path == "init/error" && req.Method == http.MethodPost:
		a.w.onInitError(errorObject(req, body))
		return reply(out, "202 Accepted", `{"status":"OK"}`), nil
	}
	rest, ok := strings.CutPrefix(path, "invocation/")
	id, verb, _ := strings.Cut(rest, "/")
	if !ok || req.Method != http.MethodPost || (verb != "response" && verb != "error") {
		return reply(out, "404 Not Found", `{"errorType":"NotFound","errorMessage":"unknown path"}`), nil
	}
	c := a.w.running()
	if c == nil || c.id != id || !c.received() {
		return reply(out, "400 Bad Request", `{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}`), nil
	}
	// A stream that broke says so in a trailer.
	if verb == "error" || req.Trailer.Get("Lambda-Runtime-Function-Error-Type") != "" {
		a.finish(c, func() { a.w.onError(c, errorObject(req, body)) })
		return reply(out, "202 Accepted", `{"status":"OK"}`), nil
	}
	if len(body) > maxPayload {
		a.finish(c, func() {
			a.w.onError(c, failed("Function.ResponseSizeTooLarge", fmt.Sprintf(
				"Response payload size exceeded maximum allowed payload size (%d bytes).", maxPayload)).Payload)
		})
		return reply(out, "413 Request Entity Too Large", `{"errorType":"RequestEntityTooLarge","errorMessage":"Exceeded maximum allowed payload size"}`), nil
	}
	a.finish(c, func() { a.w.onResult(c, body) })
	return reply(out, "202 Accepted", `{"status":"OK"}`), nil
}

// finish settles an invocation. What the process printed travels through another
// pipe; when somebody asked for the log tail, it gets a moment to arrive.
func (a *apiLink) finish(c *call, settle func()) {
	if c.inv.LogTail {
		time.Sleep(20 * time.Millisecond)
	}
	settle()
}

// sendNext waits for the next invocation; the first request for one is what tells
// that initialisation has finished.
func (a *apiLink) sendNext(out []byte) ([]byte, error) {
	a.w.onReady()
	var c *call
	select {
	case c = <-a.next:
	case <-a.left:
		return nil, errGone
	case <-a.quit:
		return nil, errGone
	}
	c.delivered.Store(true)
	out = append(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: "...)
	out = append(out, c.id...)
	out = append(out, "\r\nLambda-Runtime-Deadline-Ms: "...)
	out = strconv.AppendInt(out, c.deadline.UnixMilli(), 10)
	out = append(out, "\r\nLambda-Runtime-Invoked-Function-Arn: "...)
	out = append(out, c.arn...)
	out = append(out, "\r\nLambda-Runtime-Trace-Id: "...)
	out = append(out, c.trace...)
	if c.inv.ClientContext != "" {
		out = append(out, "\r\nLambda-Runtime-Client-Context: "...)
		out = append(out, strings.NewReplacer("\r", " ", "\n", " ").Replace(c.inv.ClientContext)...)
	}
	out = append(out, "\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(c.inv.Payload)), 10)
	out = append(out, "\r\n\r\n"...)
	return append(out, c.inv.Payload...), nil
}

// errorObject is the body if it is an error object, else one made from the
// header that names the error type.
func errorObject(req *http.Request, body []byte) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) == nil && len(body) <= maxPayload {
		return body
	}
	kind := req.Header.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		kind = "Runtime.Unknown"
	}
	return failed(kind, string(body[:min(len(body), 64<<10)])).Payload
}

func reply(out []byte, status, body string) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = append(out, status...)
	out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(body)), 10)
	out = append(out, "\r\n\r\n"...)
	return append(out, body...)
}

var _ link = (*apiLink)(nil)
