package frame

import (
	"bytes"
	"compress/flate"
	"errors"
	"testing"
)

// FuzzInflate: anything, cut anywhere, with any window, inflates to what the
// standard library makes of it, or fails where that fails.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
		f.Add(packed(f, level, "Hello, hello, hello", "hello again"), []byte("hello"), uint16(3), uint16(7))
		f.Add(packed(f, level, string(sample(700))), []byte(nil), uint16(40), uint16(100))
	}
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []byte("x"), uint16(1), uint16(0))
	f.Add([]byte("\x00\x05\x00\xfa\xffHello\x00"), []byte(nil), uint16(2), uint16(1))
	f.Add([]byte("\xf2\x00\x11\x00\x00"), []byte("Hello"), uint16(1), uint16(9))
	f.Add([]byte("\x06"), []byte(nil), uint16(0), uint16(0))
	f.Fuzz(func(t *testing.T, payload, past []byte, piece, step uint16) {
		const limit = 1 << 20
		if len(payload) > 1<<16 {
			return
		}
		want, good := naive(payload, past)
		w := NewWindow(MaxWindowBits)
		w.Add(past)
		got, err := inflate(payload, InflateLimits{Max: limit, Ratio: -1, Step: int(step)}, w, func() int { return int(piece) })
		if cap(got) > limit+1024 {
			t.Fatalf("room for %d bytes", cap(got))
		}
		switch {
		case good && len(want) > limit:
			if !errors.Is(err, InflatedTooBig) {
				t.Fatalf("%d bytes: %v", len(want), err)
			}
		case good && (err != nil || !bytes.Equal(got, want)):
			t.Fatalf("% x\ngives %q, %v\nwant %q", payload, got, err, want)
		case !good && err == nil:
			t.Fatalf("% x\ngives %q, and should fail", payload, got)
		}
		if err != nil {
			return
		}
		if remembered := append(bytes.Clone(past), got...); !bytes.Equal(w.bytes(), remembered[max(0, len(remembered)-1<<15):]) {
			t.Fatal("the window is not the last 32 KiB")
		}
	})
}

// FuzzCompress: two messages in a row come back, in every dialect, with a window
// and without, and reach back no farther than they may.
func FuzzCompress(f *testing.F) {
	f.Add(sample(600), []byte("and another"), uint8(0), true)
	f.Add(sample(5000), sample(900), uint8(4), true)
	f.Add(noise(700), bytes.Repeat([]byte("ab"), 400), uint8(1), false)
	f.Add(bytes.Repeat(noise(300), 3), noise(300), uint8(7), true)
	f.Fuzz(func(t *testing.T, first, second []byte, bits uint8, takeover bool) {
		d := Dialect(MinWindowBits + bits%8)
		var ours, theirs *Window
		if takeover {
			ours, theirs = NewWindow(uint8(d)), NewWindow(uint8(d))
		}
		var stream []byte
		for _, p := range [][]byte{first, second} {
			out, ok := Compress([]byte("before"), p, d, ours)
			if !bytes.HasPrefix(out, []byte("before")) {
				t.Fatal("what was there is gone")
			}
			if out = out[len("before"):]; !ok {
				continue
			}
			if len(out) >= len(p) {
				t.Fatalf("%d bytes from %d", len(out), len(p))
			}
			got, err := inflate(out, InflateLimits{Max: len(p), Ratio: -1}, theirs, func() int { return 100 })
			if err != nil || !bytes.Equal(got, p) {
				t.Fatalf("%q comes back as %q, %v", p, got, err)
			}
			stream = append(append(stream, out...), deflateTail...)
		}
		if !bytes.Equal(ours.bytes(), theirs.bytes()) {
			t.Fatal("windows differ")
		}
		if distance, err := farthest(stream); err != nil || distance > 1<<d {
			t.Fatalf("dialect %d: distance %d, %v", d, distance, err)
		}
	})
}
