package conn

import (
	"math/bits"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/frame"
)

// permessage-deflate on a connection (RFC 7692). Without context takeover, the
// default, nothing is kept between two messages but one byte, the agreement.

const extensionsHeader = "Sec-WebSocket-Extensions"

// agreement is what is left of a frame.Deflate after the handshake: the dialect
// for what we send, and whether that refers to earlier messages. 0: no
// compression.
type agreement uint8

// late: messages are compressed in the order in which they leave, as they leave.
const late agreement = 0x80

func (a agreement) dialect() frame.Dialect { return frame.Dialect(a &^ late) }

// reserved is the reserved bits that a client may set.
func (a agreement) reserved() byte {
	if a == 0 {
		return 0
	}
	return frame.Rsv1
}

// coding is what lies between the frames of a connection and its socket: context
// that outlives a message, and on a loop TLS. Most connections have none.
type coding struct {
	seen *frame.Window // the client's, owned by whoever reads
	sent *frame.Window // ours, owned by whoever writes

	parked // TLS on a loop

	// guarded by Conn.mu
	spill []byte // coded, on its way to the socket
	// owned by the loop
	owed int // bytes of the queue that spill stands for
}

// codes: what leaves is not what is queued.
func (t *coding) codes() bool { return t != nil && (t.phase != tlsNone || t.sent != nil) }

// values are those of all lines of a header.
func values(headers []Header, name string) (lines []string) {
	for i := range headers {
		if strings.EqualFold(headers[i].Name, name) {
			lines = append(lines, headers[i].Value)
		}
	}
	return lines
}

// wellFormed checks the header's form, whatever is on offer: RFC 6455 §9.1 wants
// the handshake failed otherwise.
func wellFormed(h *head) error {
	if _, _, err := (frame.DeflatePolicy{}).Negotiate(values(h.headers, extensionsHeader)...); err != nil {
		return badRequest("Malformed " + extensionsHeader)
	}
	return nil
}

// negotiate answers the client's offers; response "" declines them.
func (u *Upgrade) negotiate(p frame.DeflatePolicy) (agreed frame.Deflate, response string) {
	if !p.Enabled {
		return frame.Deflate{}, ""
	}
	agreed, response, err := p.Negotiate(values(u.Headers, extensionsHeader)...)
	if err != nil { // the owner changed u.Headers: wellFormed had passed them
		return frame.Deflate{}, ""
	}
	return agreed, response
}

// agree keeps what was negotiated. Needs mu.
func (c *Conn) agree(d frame.Deflate) {
	if !d.On {
		return
	}
	c.agreed = agreement(d.Dialect())
	if !d.ServerTakeover && !d.ClientTakeover {
		return
	}
	if c.coding == nil {
		c.coding = &coding{}
	}
	if d.ServerTakeover {
		c.agreed |= late
		c.coding.sent = frame.NewWindow(d.ServerBits)
	}
	if d.ClientTakeover {
		c.coding.seen = frame.NewWindow(d.ClientBits)
	}
}

// encoded is a shared frame as it is queued for this client.
func (c *Conn) encoded(p *frame.Prepared) []byte {
	if c.agreed == 0 || c.agreed&late != 0 {
		return p.Plain()
	}
	return p.Encoded(c.agreed.dialect())
}

// sendCompressed is Send of a message that is worth it, for a client that keeps
// no context. It counts in the queue with the bytes that leave.
func (c *Conn) sendCompressed(text []byte) error {
	if c.shut.Load() {
		return ErrClosed
	}
	s := c.srv()
	room := s.takeScratch()
	defer s.giveScratch(room)
	b := frame.AppendCompressed((*room)[:0], frame.Text, text, c.agreed.dialect(), nil)
	*room = b
	c.mu.Lock()
	defer c.mu.Unlock()
	o, err := c.admit(len(b), "")
	if err != nil {
		return err
	}
	g := o.space(s, len(b))
	g.b = append(g.b, b...)
	c.queued(o, g, len(b), prompt)
	return nil
}

// maxScratch is the largest buffer that the pool keeps.
const maxScratch = 1 << 20

func (s *Server) takeScratch() *[]byte {
	if b, ok := s.scratch.Get().(*[]byte); ok {
		return b
	}
	return new([]byte)
}

func (s *Server) giveScratch(b *[]byte) {
	if cap(*b) <= maxScratch {
		s.scratch.Put(b)
	}
}

// source is what a segment of a batch holds: frames of its own, a shared one, or
// bytes that are no frames.
type source struct {
	p   *frame.Prepared
	raw bool
}

// sources are those of the batch that take returned. Needs mu.
func (o *outbound) sources(dst []source) []source {
	for _, g := range o.segs[o.head : o.head+o.busy] {
		dst = append(dst, source{g.p, g.kind == lead})
	}
	return dst
}

// appendLate appends a batch as it leaves to a client that keeps our context: w.
// Shared frames refer to nothing before them, so they go out as they are for
// everybody, and are part of the context afterwards.
func appendLate(dst []byte, batch [][]byte, from []source, d frame.Dialect, w *frame.Window) []byte {
	for i, b := range batch {
		switch p := from[i].p; {
		case from[i].raw:
			dst = append(dst, b...)
		case p != nil:
			f := p.Encoded(d)
			dst = append(dst, f...)
			if f[0]&frame.Rsv1 != 0 {
				w.Add(p.Payload())
			}
		default:
			dst = appendFramesLate(dst, b, d, w)
		}
	}
	return dst
}

func appendFramesLate(dst, b []byte, d frame.Dialect, w *frame.Window) []byte {
	for len(b) > 0 {
		h, n, err := frame.Parse(b, frame.FromServer, 0)
		if err != nil || n == 0 {
			return append(dst, b...) // cannot be: these are our own frames
		}
		end := n + int(h.Length)
		if h.Opcode.Control() {
			dst = append(dst, b[:end]...)
		} else {
			dst = frame.AppendCompressed(dst, h.Opcode, b[n:end], d, w)
		}
		b = b[end:]
	}
	return dst
}

// inflatePiece is how many compressed bytes are handled between two looks at the
// clock. What they inflate to is bounded apart from that, by the inflater's step.
const inflatePiece = 4 << 10

// inflateSlice is a loop's time for inflating in one turn, of all its connections
// together.
const inflateSlice = time.Millisecond

// beginInflating starts a compressed message.
func (c *Conn) beginInflating(in *inbound) {
	limits := frame.InflateLimits{Max: c.limits.Message}
	if limits.Max == 0 {
		limits.Ratio = -1 // no limits are wanted
	}
	var w *frame.Window
	if c.coding != nil {
		w = c.coding.seen
	}
	in.inflater = frame.BorrowInflater(limits, w)
}

// stopInflating drops a compressed message.
func (in *inbound) stopInflating() {
	if in.inflater != nil {
		in.inflater.Release()
		in.inflater = nil
	}
}

// inflate takes used bytes of a frame's payload. On a loop it stops, and sets
// behind, when this turn's time for inflating is over, whoever spent it: what is
// left is read again, so it must be as it came.
func (c *Conn) inflate(in *inbound, body []byte) (used int, bad failure) {
	h := c.via.home()
	for used < len(body) {
		if h.turn != 0 && h.inflated >= inflateSlice {
			in.behind = true
			break
		}
		began := h.srv.since()
		n, bad := in.inflateSome(body[used:min(len(body), used+inflatePiece)])
		if h.turn != 0 {
			h.inflated += h.srv.since() - began
		}
		if bad.some() {
			return used, bad
		}
		used += n
	}
	in.left -= int64(used)
	if in.left > 0 {
		return used, failure{}
	}
	in.inFrame = false
	return used, c.endOfDataFrame(in)
}

// inflateSome unmasks and inflates some of p. It masks the rest again.
func (in *inbound) inflateSome(p []byte) (used int, bad failure) {
	frame.Mask(p, in.h.Key)
	at := len(in.message)
	message, rest, err := in.inflater.Write(in.message, p)
	in.message = message
	used = len(p) - len(rest)
	in.h.Key = bits.RotateLeft32(in.h.Key, -8*(used%4))
	frame.Mask(rest, in.h.Key)
	if err != nil {
		return used, violated(err)
	}
	if !in.binary && !in.text.Write(message[at:]) {
		return used, violated(frame.InvalidText)
	}
	return used, failure{}
}

// endInflating completes a compressed message.
func (in *inbound) endInflating() failure {
	if in.inflater == nil {
		return failure{}
	}
	at := len(in.message)
	message, err := in.inflater.End(in.message)
	in.message = message
	in.stopInflating()
	if err != nil {
		return violated(err)
	}
	if !in.binary && !in.text.Write(message[at:]) {
		return violated(frame.InvalidText)
	}
	return failure{}
}
