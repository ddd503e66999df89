package conn

import (
	"time"
	"unicode/utf8"

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
	inflater  *frame.Inflater // of a compressed message under way

	// On a loop: a request in pieces, or frames that wait, of which handled bytes
	// were handled before. They wait for the end of a pause or, behind, for a turn
	// with time for them. Of a request, seen bytes were searched for the end of the
	// head, need bytes make it whole (0: not known), and stalled ones wait for an
	// earlier response to leave.
	held    []byte
	handled int
	behind  bool
	seen    int
	need    int
	stalled bool
}

// whole: nothing is partial.
func (in *inbound) whole() bool {
	return in.headLen == 0 && !in.inFrame && !in.inMessage && len(in.held) == 0
}

// keepCap is the largest buffer that is kept for the next message.
const keepCap = 4 << 10

// reset forgets everything but small buffers.
func (in *inbound) reset() {
	in.stopInflating()
	*in = inbound{control: in.control[:0], message: in.message[:0], held: in.held[:0]}
	in.shrink()
	if cap(in.held) > keepCap {
		in.held = nil
	}
}

// shrink keeps held: it may be what is being handled.
func (in *inbound) shrink() {
	if cap(in.message) > keepCap {
		in.message = nil
	}
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

// feed handles bytes that have arrived, in place. rest is what a pause keeps from
// being handled or, on a loop, the end of this connection's share of the turn: in
// is behind then. ok is false when the peer is done, by its close frame or by
// breaking a rule, and when its handler panicked.
func (c *Conn) feed(in *inbound, p []byte) (rest []byte, ok bool) {
	defer c.contain(&ok)
	until := time.Duration(0)
	for frames := 0; len(p) > 0; frames++ {
		if c.halted() {
			return p, true
		}
		if frames&(fewFrames-1) == fewFrames-1 && c.via.home().enough(&until) {
			in.behind = true
			return p, true
		}
		n, bad := c.step(in, p)
		if bad.some() {
			c.fail(bad.code, bad.reason)
			return nil, false
		}
		p = p[n:]
		if c.peerDone { // set by this goroutine, if at all
			return nil, false
		}
		if in.behind {
			return p, true
		}
	}
	return nil, true
}

// step consumes at most one frame from p and says how many bytes it took.
func (c *Conn) step(in *inbound, p []byte) (n int, bad failure) {
	if !in.inFrame {
		var err error
		if n, err = in.header(p, c.agreed.reserved()); err != nil {
			return n, violated(err)
		}
		if !in.inFrame {
			return n, failure{}
		}
		if bad = c.begin(in); bad.some() {
			return n, bad
		}
	}
	body := p[n:]
	if int64(len(body)) > in.left {
		body = body[:in.left]
	}
	n += len(body)
	control := in.h.Opcode.Control()
	if in.inflater != nil && !control {
		used, bad := c.inflate(in, body)
		return n - len(body) + used, bad
	}
	if int64(len(body)) == in.h.Length && (control || in.h.Fin && in.fragments == 1 && !in.skip) {
		return n, c.wholeFrame(in, body, control)
	}
	in.left -= int64(len(body))
	switch {
	case control:
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
	if control {
		return n, c.handleControl(in.h.Opcode, in.control)
	}
	return n, c.endOfDataFrame(in)
}

// wholeFrame handles a control frame or an unfragmented message of which every
// byte is there, without copying it.
func (c *Conn) wholeFrame(in *inbound, payload []byte, control bool) failure {
	frame.Mask(payload, in.h.Key)
	in.inFrame = false
	if control {
		return c.handleControl(in.h.Opcode, payload)
	}
	in.inMessage = false
	if !in.binary && !utf8.Valid(payload) {
		return violated(frame.InvalidText)
	}
	c.deliver(payload, in.binary)
	return failure{}
}

// header gathers a frame header, across reads if need be, and sets inFrame when
// it is whole.
func (in *inbound) header(p []byte, reserved byte) (n int, err error) {
	if in.headLen == 0 {
		if in.h, n, err = frame.Parse(p, frame.FromClient, reserved); err != nil || n > 0 {
			in.inFrame, in.left = n > 0, in.h.Length
			return n, err
		}
		in.headLen = uint8(copy(in.head[:], p))
		return len(p), nil
	}
	had := int(in.headLen)
	have := had + copy(in.head[had:], p)
	in.h, n, err = frame.Parse(in.head[:have], frame.FromClient, reserved)
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
func (c *Conn) begin(in *inbound) failure {
	if in.h.Opcode.Control() {
		in.control = in.control[:0]
		return failure{}
	}
	in.skip = c.shut.Load()
	if in.skip {
		in.message, in.inMessage = nil, false
		in.stopInflating()
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
		if in.h.Rsv != 0 {
			c.beginInflating(in)
		}
	}
	in.fragments++
	size := int64(len(in.message))
	switch {
	case c.limits.Frame > 0 && in.h.Length > int64(c.limits.Frame):
		return failure{frame.CodeTooBig, "Frame too large"}
	case in.inflater != nil: // the message is larger than its frames, and bounded as it grows
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
	want := have + n + int(min(in.left, 1<<30))
	if !in.h.Fin || in.fragments > 1 {
		want = 2 * have // the end is not known; less room would copy the message anew for every fragment
	}
	want = max(have+n, min(want, 2*have))
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
	if !in.inFrame || in.skip || in.inflater != nil || in.left <= int64(small) || in.h.Opcode.Control() {
		return nil
	}
	have := len(in.message)
	in.grow(int(min(in.left, int64(max(small, have)))))
	free := in.message[have:cap(in.message)]
	return free[:min(int64(len(free)), in.left)]
}

// windowFilled takes n bytes that were read into the window. ok as in feed.
func (c *Conn) windowFilled(in *inbound, n int) (ok bool) {
	defer c.contain(&ok)
	at := len(in.message)
	in.message = in.message[:at+n]
	in.left -= int64(n)
	bad := in.arrived(at)
	if !bad.some() && in.left == 0 {
		in.inFrame = false
		bad = c.endOfDataFrame(in)
	}
	if bad.some() {
		c.fail(bad.code, bad.reason)
		return false
	}
	return true
}

// endOfDataFrame counts the activity and delivers a message that is whole.
func (c *Conn) endOfDataFrame(in *inbound) failure {
	if in.skip {
		return failure{}
	}
	if !in.h.Fin {
		c.active.Store(int64(c.via.home().now()))
		return failure{}
	}
	if bad := in.endInflating(); bad.some() {
		return bad
	}
	if !in.binary && !in.text.Done() {
		return violated(frame.InvalidText)
	}
	data := in.message
	in.message, in.inMessage = data[:0], false
	c.deliver(data, in.binary)
	in.shrink()
	return failure{}
}

// deliver lends a whole message to the handler.
func (c *Conn) deliver(data []byte, binary bool) {
	h := c.via.home()
	c.active.Store(int64(h.now()))
	if c.shut.Load() {
		return
	}
	h.stats.messagesIn.Add(1)
	h.stats.bytesIn.Add(uint64(len(data)))
	c.handler.OnMessage(c, data, binary)
}

// handleControl acts on a whole control frame (RFC 6455 §5.5).
func (c *Conn) handleControl(op frame.Opcode, payload []byte) failure {
	h := c.via.home()
	now := h.now()
	h.stats.controlsIn.Add(1)
	if op != frame.Close && !c.allowControl(now) {
		return failure{frame.CodePolicy, "Too many control frames"}
	}
	switch op {
	case frame.Ping:
		c.active.Store(int64(now))
		c.sendPong(payload)
	case frame.Close:
		code, reason, err := frame.ParseClose(payload)
		if err != nil {
			return violated(err)
		}
		c.peerClosed(code, reason)
	}
	return failure{}
}

// allowControl is a bucket of controlBurst tokens, refilled at controlPerSec. It
// keeps only the time at which the bucket will be full again.
func (c *Conn) allowControl(now time.Duration) bool {
	const each = time.Second / controlPerSec
	full := max(c.controls, now) + each
	if full-now > controlBurst*each {
		return false
	}
	c.controls = full
	return true
}
