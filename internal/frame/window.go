package frame

// Window is what one end of a connection remembers between compressed messages
// when context takeover was agreed (RFC 7692 §7.1.1): their last bytes, as many
// as the LZ77 window has. There is one per direction; with no context takeover
// there is none, and a nil *Window stands for that.
//
// It must see exactly the compressed messages, in the order of the wire. So a
// connection that has one compresses a message when it leaves, not when it is
// queued: a queue that drops what was compressed would leave the peer unable to
// read anything that follows. Messages that go uncompressed do not count.
//
// A Window belongs to one goroutine at a time.
type Window struct {
	b    []byte
	bits uint8
}

// NewWindow makes an empty window of 2^bits bytes, 8 ≤ bits ≤ 15. Memory is
// taken as messages fill it.
func NewWindow(bits uint8) *Window {
	return &Window{bits: min(max(bits, MinWindowBits), MaxWindowBits)}
}

// Memory is how many bytes the window holds on to.
func (w *Window) Memory() int {
	if w == nil {
		return 0
	}
	return cap(w.b)
}

// Add records the payload of a message that was sent compressed but not by
// [AppendCompressed] with this window, such as a [Prepared] one: the peer's
// window has it, so ours must. It does nothing on nil.
func (w *Window) Add(payload []byte) {
	if w == nil {
		return
	}
	size := 1 << w.bits
	if len(payload) >= size {
		w.b = append(w.grow(size)[:0], payload[len(payload)-size:]...)
		return
	}
	keep := min(len(w.b), size-len(payload))
	b := w.grow(keep + len(payload))[:keep]
	copy(b, w.b[len(w.b)-keep:])
	w.b = append(b, payload...)
}

// grow returns room for n bytes, the present ones if they have it. Sizes double,
// and never exceed the window's.
func (w *Window) grow(n int) []byte {
	if cap(w.b) >= n {
		return w.b[:0:cap(w.b)]
	}
	return make([]byte, 0, min(max(n, 2*cap(w.b), 1<<MinWindowBits), 1<<w.bits))
}

// bytes is what a distance may reach back into.
func (w *Window) bytes() []byte {
	if w == nil {
		return nil
	}
	return w.b
}
