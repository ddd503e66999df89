package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// payloads that find matches near, far and nowhere.
func payloads() [][]byte {
	far := append(append(noise(20_000), sample(300)...), noise(20_000)...)
	return [][]byte{
		sample(512), sample(600), sample(2048), sample(20_000), sample(140_000),
		far, bytes.Repeat([]byte("a"), 70_000), bytes.Repeat(noise(300), 50), bytes.Repeat(noise(40_000)[:33_000], 3),
	}
}

// No match reaches back farther than the dialect's window, 8 bits included; and
// what a peer with just that window inflates is what was sent.
func TestCompressKeepsToItsWindow(t *testing.T) {
	for d := Dialect(MinWindowBits); d <= MaxWindowBits; d++ {
		worked, farest := 0, 0
		for i, p := range payloads() {
			out, ok := Compress(nil, p, d, nil)
			if !ok {
				continue
			}
			worked++
			if got, fine := naive(out, nil); !fine || !bytes.Equal(got, p) {
				t.Fatalf("dialect %d, payload %d: %d bytes came back as %d, %v", d, i, len(p), len(got), fine)
			}
			distance, err := farthest(append(out, deflateTail...))
			if err != nil || distance > 1<<d {
				t.Errorf("dialect %d, payload %d: distance %d, %v", d, i, distance, err)
			}
			farest = max(farest, distance)
		}
		if worked < 6 || farest < 1<<d/2 {
			t.Errorf("dialect %d: %d payloads compressed, distance up to %d", d, worked, farest)
		}
	}
}

func TestCompressTakeoverKeepsToItsWindow(t *testing.T) {
	for _, d := range []Dialect{8, 9, 12, 15} {
		ours, theirs := NewWindow(uint8(d)), NewWindow(uint8(d))
		var stream []byte
		r := rand.New(rand.NewPCG(uint64(d), 1))
		text := sample(200_000)
		saved := 0
		for i := range 60 {
			at := r.IntN(len(text) - 5000)
			p := text[at : at+512+r.IntN(4000)]
			if i%7 == 3 {
				p = noise(1000) // leaves plain, and no trace
			}
			out, ok := Compress(nil, p, d, ours)
			if !ok {
				continue
			}
			if alone, _ := Compress(nil, p, d, nil); len(out) < len(alone) {
				saved++
			}
			stream = append(append(stream, out...), deflateTail...)
			if got, err := inflate(out, InflateLimits{Max: len(p)}, theirs, whole); err != nil || !bytes.Equal(got, p) {
				t.Fatalf("dialect %d, message %d: %v", d, i, err)
			}
			if !bytes.Equal(ours.bytes(), theirs.bytes()) {
				t.Fatalf("dialect %d, message %d: windows differ", d, i)
			}
		}
		distance, err := farthest(stream)
		if err != nil || distance > 1<<d {
			t.Errorf("dialect %d: distance %d, %v", d, distance, err)
		}
		if d >= 12 && saved < 30 {
			t.Errorf("dialect %d: the window helped %d times", d, saved)
		}
	}
}

// A prepared message in between belongs to the peer's window, hence to ours.
func TestPreparedBetweenTakeoverMessages(t *testing.T) {
	ours, theirs := NewWindow(12), NewWindow(12)
	p := Prepare(Text, sample(3000), "")
	for i := range 6 {
		body := sample(1000 + 700*i)
		var out []byte
		ok := true
		if i%2 == 0 {
			out, ok = Compress(nil, body, 12, ours)
		} else {
			body = p.Payload()
			h, n, err := Parse(p.Encoded(12), FromServer, Rsv1)
			if err != nil || h.Rsv != Rsv1 {
				t.Fatal(h, err)
			}
			out = p.Encoded(12)[n:]
			ours.Add(body)
		}
		got, err := inflate(out, InflateLimits{}, theirs, whole)
		if !ok || err != nil || !bytes.Equal(got, body) {
			t.Fatalf("message %d: %v %v", i, ok, err)
		}
	}
}

func TestAppendCompressed(t *testing.T) {
	for _, r := range []struct {
		name    string
		payload []byte
		d       Dialect
		want    bool
	}{
		{"plain dialect", sample(2000), Plain, false},
		{"511 bytes", sample(511), 15, false},
		{"512 bytes", sample(512), 15, true},
		{"window of 256 bytes", sample(2000), 8, true},
		{"noise", noise(4000), 15, false},
		{"long noise", noise(200_000), 12, false},
		{"header shrinks to 2", bytes.Repeat([]byte("a"), 3000), 15, true},
		{"header shrinks from 10 to 4", sample(70_000), 15, true},
		{"header shrinks from 10 to 2", bytes.Repeat([]byte("a"), 70_000), 15, true},
		{"empty", nil, 15, false},
	} {
		before := []byte("before")
		b := AppendCompressed(before, Binary, r.payload, r.d, nil)
		if !bytes.HasPrefix(b, before) {
			t.Errorf("%s: what was there is gone", r.name)
		}
		b = b[len(before):]
		h, n, err := Parse(b, FromServer, Rsv1)
		if err != nil || !h.Fin || h.Opcode != Binary || int(h.Length) != len(b)-n {
			t.Errorf("%s: %+v %v, %d bytes", r.name, h, err, len(b))
			continue
		}
		if (h.Rsv == Rsv1) != r.want {
			t.Errorf("%s: %+v", r.name, h)
		}
		got := b[n:]
		if h.Rsv == Rsv1 {
			if got, err = inflate(got, InflateLimits{Ratio: -1}, nil, whole); err != nil || len(b) >= HeaderSize(len(r.payload))+len(r.payload) {
				t.Errorf("%s: %d bytes, %v", r.name, len(b), err)
			}
		}
		if !bytes.Equal(got, r.payload) {
			t.Errorf("%s: %d bytes came back as %d", r.name, len(r.payload), len(got))
		}
	}
}

// The room of a plain frame is enough, whatever comes of it.
func TestAppendCompressedStaysInItsRoom(t *testing.T) {
	for _, p := range append(payloads(), noise(512), noise(5000), append(noise(1000), sample(40)...)) {
		for _, d := range []Dialect{8, 12, 15} {
			room := make([]byte, 3, 3+HeaderSize(len(p))+len(p))
			if b := AppendCompressed(room, Text, p, d, nil); &b[0] != &room[0] {
				t.Errorf("%d bytes in dialect %d went to another array", len(p), d)
			}
		}
	}
}

// Messages of any size and kind, cut anywhere, come back, in every dialect, with
// windows and without.
func TestRoundTrip(t *testing.T) {
	text, rnd := sample(60_000), noise(60_000)
	rapid.Check(t, func(t *rapid.T) {
		d := Dialect(rapid.IntRange(MinWindowBits, MaxWindowBits).Draw(t, "dialect"))
		var ours, theirs *Window
		if rapid.Bool().Draw(t, "takeover") {
			ours, theirs = NewWindow(uint8(d)), NewWindow(uint8(d))
		}
		for range rapid.IntRange(1, 5).Draw(t, "messages") {
			from := text
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				from = rnd
			}
			at := rapid.IntRange(0, len(from)-1).Draw(t, "at")
			p := from[at:min(len(from), at+rapid.IntRange(0, 30_000).Draw(t, "size"))]
			b := AppendCompressed(nil, Text, p, d, ours)
			h, n, err := Parse(b, FromServer, Rsv1)
			if err != nil {
				t.Fatal(err)
			}
			got := b[n:]
			if h.Rsv == Rsv1 {
				l := InflateLimits{Max: max(len(p), 1), Step: rapid.IntRange(1, 40_000).Draw(t, "step")}
				got, err = inflate(got, l, theirs, func() int { return rapid.IntRange(1, 3000).Draw(t, "piece") })
			}
			if err != nil || !bytes.Equal(got, p) {
				t.Fatalf("%d bytes came back as %d, %v", len(p), len(got), err)
			}
		}
	})
}

// RSV1 marks a message, so only its first frame has it, and control frames never
// (RFC 7692 §6.1). Parse sees to that; that a frame with it begins a message
// while another is open is NestedMessage, whoever keeps track of messages.
func TestRsv1OnlyWhereAMessageBegins(t *testing.T) {
	for op, want := range map[Opcode]error{
		Text: nil, Binary: nil, Continuation: ReservedBits, Close: ReservedBits, Ping: ReservedBits, Pong: ReservedBits,
	} {
		for _, finBit := range []byte{0, fin} {
			if finBit == 0 && op.Control() {
				continue
			}
			b := []byte{finBit | Rsv1 | byte(op), 0x80, 1, 2, 3, 4}
			if _, _, err := Parse(b, FromClient, Rsv1); !errors.Is(err, want) {
				t.Errorf("% x: %v, want %v", b, err, want)
			}
			if _, _, err := Parse(b[:2], FromClient, 0); !errors.Is(err, ReservedBits) {
				t.Errorf("% x with nothing agreed: %v", b, err)
			}
			b[0] ^= Rsv1
			if _, _, err := Parse(b, FromClient, Rsv1); err != nil {
				t.Errorf("% x: %v", b, err)
			}
		}
	}
	for _, rsv := range []byte{0x20, 0x10, 0x60, 0x50} {
		if _, _, err := Parse([]byte{fin | rsv | byte(Text), 0x80}, FromClient, Rsv1); !errors.Is(err, ReservedBits) {
			t.Errorf("reserved bits %x pass", rsv)
		}
	}
}

func TestCompressionAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	payload := sample(2048)
	for _, d := range []Dialect{8, 12, 15} {
		for _, takeover := range []bool{false, true} {
			var ours, theirs *Window
			if takeover {
				ours, theirs = NewWindow(uint8(d)), NewWindow(uint8(d))
			}
			out := make([]byte, 0, 4096)
			msg := make([]byte, 0, 4096)
			turn := func() {
				b := AppendCompressed(out, Text, payload, d, ours)
				h, n, err := Parse(b, FromServer, Rsv1)
				if err != nil || h.Rsv != Rsv1 {
					t.Fatal(h, err)
				}
				z := BorrowInflater(InflateLimits{Max: len(payload)}, theirs)
				got, _, err := z.Write(msg, b[n:])
				if err == nil {
					got, err = z.End(got)
				}
				z.Release()
				if err != nil || len(got) != len(payload) {
					t.Fatal(len(got), err)
				}
			}
			for range 40 { // fill the windows
				turn()
			}
			if n := testing.AllocsPerRun(200, turn); n != 0 {
				t.Errorf("dialect %d, takeover %v: %v allocations", d, takeover, n)
			}
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	for _, n := range []int{512, 2048, 131072} {
		for _, r := range []struct {
			d    Dialect
			keep bool
		}{{15, false}, {12, false}, {8, false}, {12, true}, {15, true}} {
			name := fmt.Sprintf("%d/bits%d", n, r.d)
			var w *Window
			if r.keep {
				w = NewWindow(uint8(r.d))
				name += "/takeover"
			}
			b.Run(name, func(b *testing.B) {
				payload := sample(n)
				out := make([]byte, 0, n+64)
				b.SetBytes(int64(n))
				b.ReportAllocs()
				var got []byte
				for b.Loop() {
					got = AppendCompressed(out, Text, payload, r.d, w)
				}
				b.ReportMetric(float64(len(got)), "out-B")
			})
		}
	}
}

func BenchmarkTextCheckASCII(b *testing.B) {
	p := []byte(strings.Repeat("only plain text, ", 240))
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		var c TextCheck
		if !c.Write(p) {
			b.Fatal("text")
		}
	}
}
