package conn

import (
	"github.com/livegate/livegate/internal/frame"
)

// inbound is the read side between two reads: a header in pieces, a frame in
// pieces, a message in pieces. It is fed whatever bytes have arrived and never
// waits, so the same code serves a goroutine and an event loop.
type inbound struct {
	head    [frame.MaxHeader]byte // a header cut by the end of a read
	headLen uint8

	inFrame bool
	skip    bool // payload of a frame nobody wants: our close has begun
	h       frame.Header
	left    int64  // payload bytes still due
	control []byte // payload of a control frame so far

	inMessage bool
	binary    bool
	fragments int
	text      frame.TextCheck
	message   []byte

	controls   rate
	peerClosed bool // its close frame was read
}

// failure closes the connection; the zero failure is none.
type failure struct {
	code   int
	reason string
}

func (f failure) some() bool { return f.code != 0 }

func violated(err error) failure {
	v, ok := err.(frame.Violation) //nolint:errorlint // frame.Parse returns it bare, and this is the hot path
	if !ok {
		return failure{frame.CodeInternal, "Internal error"}
	}
	return failure{v.Code(), v.Error()}
}

// run is the read goroutine: it waits for the handshake's answer, then reads
// until the connection ends, calls OnClose, and sees the socket off.
func (c *Conn) run() {
	defer c.srv.forget(c)
	buf := c.srv.takeChunk()
	defer c.srv.giveChunk(buf)
	if first, ok := c.await(buf[:]); ok {
		if c.feed(first) {
			c.readUntilEnd(buf[:])
		}
		c.mu.Lock()
		code, reason := c.code, c.reason
		c.mu.Unlock()
		c.in.message = nil
		c.handler.OnClose(c, code, reason)
	}
	c.linger(buf[:])
	c.stopTimer()
}

// await watches the socket while Config.Upgrade decides. Bytes are kept for the
// connection to come, up to Head.Early. ok is false when there will be none.
func (c *Conn) await(buf []byte) (first []byte, ok bool) {
	for {
		n, err := c.nc.Read(buf)
		c.mu.Lock()
		switch {
		case c.state == upgrading && err != nil:
			c.state = closed
			c.gone(ErrGone)
			c.mu.Unlock()
			c.nc.Close()
			return nil, false
		case c.state == upgrading:
			if len(c.early)+n > c.srv.head.Early {
				c.early = nil // it is this goroutine that reads: no nudge
				c.answerLocked(errEarly.response())
				c.gone(ErrGone)
				c.mu.Unlock()
				return nil, false
			}
			c.early = append(c.early, buf[:n]...)
			c.mu.Unlock()
			continue
		}
		// Decided. An error, if it was not just the nudge, comes again at the
		// next Read; what arrived before it counts.
		if c.nudged {
			c.nudged = false
			_ = c.nc.SetReadDeadline(noDeadline)
		}
		accepted := c.state != refused && c.handler != nil
		first, c.early = append(c.early, buf[:n]...), nil
		c.mu.Unlock()
		return first, accepted
	}
}

// readUntilEnd reads and handles frames. On return the outcome is set.
func (c *Conn) readUntilEnd(buf []byte) {
	for {
		dst := buf
		window := c.in.window(len(buf))
		if window != nil {
			dst = window
		}
		n, err := c.nc.Read(dst)
		switch {
		case n == 0:
		case window != nil:
			if !c.feedWindow(n) {
				return
			}
		case !c.feed(dst[:n]):
			return
		}
		if err != nil {
			c.lost()
			return
		}
	}
}

// feed handles bytes that have arrived. false: the peer is done, by its close
// frame or by breaking a rule.
func (c *Conn) feed(p []byte) bool {
	for len(p) > 0 {
		if c.paused.Load() {
			c.waitResumed()
		}
		n, bad := c.step(p)
		if bad.some() {
			c.fail(bad.code, bad.reason)
			return false
		}
		p = p[n:]
		if c.in.peerClosed {
			return false
		}
	}
	return true
}

// step consumes at most one frame from p and says how many bytes it took.
func (c *Conn) step(p []byte) (n int, bad failure) {
	in := &c.in
	if !in.inFrame {
		var err error
		if n, err = in.header(p); err != nil {
			return n, violated(err)
		}
		if !in.inFrame {
			return n, failure{}
		}
		if bad = c.begin(); bad.some() {
			return n, bad
		}
	}
	body := p[n:]
	if int64(len(body)) > in.left {
		body = body[:in.left]
	}
	n += len(body)
	in.left -= int64(len(body))
	switch {
	case in.h.Opcode.Control():
		at := len(in.control)
		in.control = append(in.control, body...)
		in.h.Key = frame.Mask(in.control[at:], in.h.Key)
	case !in.skip:
		at := len(in.message)
		in.grow(len(body))
		in.message = append(in.message, body...)
		if bad = in.arrived(at); bad.some() {
			return n, bad
		}
	}
	if in.left > 0 {
		return n, failure{}
	}
	in.inFrame = false
	if in.h.Opcode.Control() {
		return n, c.handleControl()
	}
	return n, c.endOfDataFrame()
}

// header gathers a frame header, across reads if need be, and sets inFrame when
// it is whole.
func (in *inbound) header(p []byte) (n int, err error) {
	if in.headLen == 0 {
		if in.h, n, err = frame.Parse(p, frame.FromClient, 0); err != nil || n > 0 {
			in.inFrame, in.left = n > 0, in.h.Length
			return n, err
		}
		in.headLen = uint8(copy(in.head[:], p))
		return len(p), nil
	}
	had := int(in.headLen)
	have := had + copy(in.head[had:], p)
	in.h, n, err = frame.Parse(in.head[:have], frame.FromClient, 0)
	if err != nil {
		return 0, err
	}
	if n == 0 {
		in.headLen = uint8(have)
		return have - had, nil
	}
	in.headLen = 0
	in.inFrame, in.left = true, in.h.Length
	return n - had, nil
}

// begin applies the rules that a data frame's header decides, before anything
// is allocated for it (RFC 6455 §5.4; limits: AWS closes with 1009 and 1003).
func (c *Conn) begin() failure {
	in := &c.in
	if in.h.Opcode.Control() {
		in.control = in.control[:0]
		return failure{}
	}
	in.skip = c.shut.Load()
	if in.skip {
		in.message = nil
		return failure{}
	}
	switch in.h.Opcode {
	case frame.Continuation:
		if !in.inMessage {
			return violated(frame.OrphanContinuation)
		}
	default:
		if in.inMessage {
			return violated(frame.NestedMessage)
		}
		in.inMessage = true
		in.binary = in.h.Opcode == frame.Binary
		in.fragments = 0
		in.text = frame.TextCheck{}
		if in.binary && c.limits.Text {
			return failure{frame.CodeUnsupported, "Binary frames are not supported"}
		}
	}
	in.fragments++
	size := int64(len(in.message))
	switch {
	case c.limits.Frame > 0 && in.h.Length > int64(c.limits.Frame):
		return failure{frame.CodeTooBig, "Frame too large"}
	case c.limits.Message > 0 && in.h.Length > int64(c.limits.Message)-size:
		return failure{frame.CodeTooBig, "Message too large"}
	case in.fragments > freeFragments && size < int64(in.fragments)*minFragment:
		return failure{frame.CodePolicy, "Too many small fragments"}
	}
	return failure{}
}

// grow makes room for n more bytes of the frame under way. What a header merely
// announces is never allocated: room at most doubles what has arrived.
func (in *inbound) grow(n int) {
	have := len(in.message)
	if cap(in.message)-have >= n {
		return
	}
	want := max(have+n, min(2*have, have+n+int(min(in.left, 1<<30))))
	bigger := make([]byte, have, want)
	copy(bigger, in.message)
	in.message = bigger
}

// arrived unmasks and checks the bytes of message from at on.
func (in *inbound) arrived(at int) failure {
	fresh := in.message[at:]
	in.h.Key = frame.Mask(fresh, in.h.Key)
	if !in.binary && !in.text.Write(fresh) {
		return violated(frame.InvalidText)
	}
	return failure{}
}

// window is room to read straight into the message, once much of a frame is
// still due; nil otherwise.
func (in *inbound) window(small int) []byte {
	if !in.inFrame || in.skip || in.left <= int64(small) || in.h.Opcode.Control() {
		return nil
	}
	have := len(in.message)
	in.grow(int(min(in.left, int64(max(small, have)))))
	free := in.message[have:cap(in.message)]
	return free[:min(int64(len(free)), in.left)]
}

// feedWindow takes n bytes that were read into the window; more are due.
func (c *Conn) feedWindow(n int) bool {
	in := &c.in
	at := len(in.message)
	in.message = in.message[:at+n]
	in.left -= int64(n)
	bad := in.arrived(at)
	if !bad.some() && in.left == 0 {
		in.inFrame = false
		if c.paused.Load() {
			c.waitResumed()
		}
		bad = c.endOfDataFrame()
	}
	if bad.some() {
		c.fail(bad.code, bad.reason)
		return false
	}
	return true
}

// endOfDataFrame counts the activity and delivers a message that is whole.
func (c *Conn) endOfDataFrame() failure {
	in := &c.in
	if in.skip {
		return failure{}
	}
	c.active.Store(int64(c.srv.since()))
	if !in.h.Fin {
		return failure{}
	}
	if !in.binary && !in.text.Done() {
		return violated(frame.InvalidText)
	}
	data := in.message
	in.message, in.inMessage = nil, false
	if !c.shut.Load() {
		c.handler.OnMessage(c, data, in.binary)
	}
	return failure{}
}

// handleControl acts on a whole control frame (RFC 6455 §5.5).
func (c *Conn) handleControl() failure {
	in := &c.in
	now := c.srv.since()
	if in.h.Opcode != frame.Close && !in.controls.allow(now, controlPerSec, controlBurst) {
		return failure{frame.CodePolicy, "Too many control frames"}
	}
	switch in.h.Opcode {
	case frame.Ping:
		c.active.Store(int64(now))
		c.sendPong(in.control)
	case frame.Close:
		code, reason, err := frame.ParseClose(in.control)
		if err != nil {
			return violated(err)
		}
		in.peerClosed = true
		c.peerClosed(code, reason)
	}
	in.control = nil
	return failure{}
}
