package frame

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

// Dialect is a form in which a message can leave: [Plain], or compressed with no
// context takeover for a peer whose inflater has a window of 2^Dialect bytes,
// 8 … 15.
type Dialect uint8

// Plain is the form every peer understands.
const Plain Dialect = 0

// MinCompressed is the smallest payload, in bytes, that leaves compressed.
// Below it, the bytes saved are fewer than those of the packet around them, and
// cost a hundred times the time of copying.
const MinCompressed = 512

const maxServerHeader = MaxHeader - 4 // no mask

// AppendCompressed appends a whole, unmasked, final data frame in the dialect.
// It is compressed, RSV1 set, where that makes it smaller, and plain otherwise:
// each message may be either (RFC 7692 §6).
//
// It never takes more room than the plain frame, on the way either: HeaderSize and
// the payload.
//
// w is our window where ServerTakeover was agreed, else nil. The frame must then
// be the next compressed one on the wire; see [Window].
func AppendCompressed(dst []byte, op Opcode, payload []byte, d Dialect, w *Window) []byte {
	if d == Plain || len(payload) < MinCompressed {
		return Append(dst, op, payload)
	}
	// What is compressed is smaller, so its header fits where the other's would.
	at, room := len(dst), HeaderSize(len(payload))
	body := at + room
	dst = append(dst, make([]byte, maxServerHeader)[:room]...)
	dst, ok := Compress(dst, payload, d, w)
	if !ok {
		return Append(dst[:at], op, payload)
	}
	n := len(dst) - body
	size := len(AppendHeader(dst[:at], Header{Fin: true, Rsv: Rsv1, Opcode: op, Length: int64(n)})) - at
	if size < room {
		copy(dst[at+size:], dst[body:])
	}
	return dst[:at+size+n]
}

// Compress appends payload as a compressed message, the end that RFC 7692 §7.2.1
// cuts off being cut off. ok is false, and dst as it was (though perhaps in
// another array), if that would not save at least that end. No match reaches back farther
// than the dialect's window. w is as for [AppendCompressed].
func Compress(dst, payload []byte, d Dialect, w *Window) (out []byte, ok bool) {
	if d < MinWindowBits || d > MaxWindowBits || len(payload) == 0 {
		return dst, false
	}
	z := borrowDeflater(len(payload), d, w)
	z.out, z.limit = dst, len(dst)+len(payload)
	if w != nil {
		z.w.ResetDict(z, w.bytes())
	} else {
		z.w.Reset(z)
	}
	_, err := z.w.Write(payload)
	if err == nil {
		err = z.w.Flush()
	}
	out = z.out
	if w != nil {
		z.w.ResetDict(nil, nil) // the window is the connection's, the deflater is not
	}
	z.out = nil
	deflaters[z.kind].Put(z)
	end := len(out) - len(deflateTail)
	if err != nil || string(out[end:]) != deflateTail {
		return out[:len(dst)], false
	}
	w.Add(payload)
	return out[:end], true
}

// deflater is a compressor and where it writes to.
type deflater struct {
	w     *flate.Writer
	out   []byte
	limit int // of out: beyond, compressing is of no use
	kind  uint8
}

// Write collects output. It fails at the limit, so that data that does not
// compress costs neither the room nor, if it is long, the time.
func (z *deflater) Write(p []byte) (int, error) {
	if len(z.out)+len(p) > z.limit {
		return 0, errUseless
	}
	z.out = append(z.out, p...)
	return len(p), nil
}

type uselessError struct{}

func (uselessError) Error() string { return "compressed data is not smaller" }

var errUseless error = uselessError{}

// Deflaters by kind: the window's bits, or anyWindow, which keeps to no window
// but the message and 32 KiB, and is twice as fast. A deflater takes about 1 MB,
// and lives while messages are compressed. The pools hold memory and nothing
// else: what they hand out is reset.
const anyWindow = 0

var deflaters [MaxWindowBits + 1]sync.Pool

// borrowDeflater picks the deflater for a message. One that fits into the window
// cannot be referred to from outside it.
func borrowDeflater(n int, d Dialect, w *Window) *deflater {
	kind := uint8(d)
	if w == nil && (d == MaxWindowBits || n <= 1<<d) {
		kind = anyWindow
	}
	if z, ok := deflaters[kind].Get().(*deflater); ok {
		return z
	}
	z := &deflater{kind: kind}
	var err error
	if kind == anyWindow {
		z.w, err = flate.NewWriter(z, flate.BestSpeed)
	} else {
		// Unlike zlib, whose raw deflate starts at 9 bits, this honours 8.
		z.w, err = flate.NewWriterWindow(z, 1<<kind)
	}
	if err != nil {
		panic(err) // both arguments are constants in range
	}
	return z
}
