package frame

import (
	"bytes"
	"sync"
	"testing"
)

func TestPreparedDialects(t *testing.T) {
	for _, payload := range [][]byte{nil, sample(100), sample(511), sample(512), sample(600), sample(5000), sample(100_000), noise(3000)} {
		p := Prepare(Text, payload, "k")
		if p.Size() != len(payload) || !bytes.Equal(p.Payload(), payload) || p.Key != "k" || !bytes.Equal(p.Plain(), Append(nil, Text, payload)) {
			t.Fatalf("%d bytes: size %d", len(payload), p.Size())
		}
		if len(payload) > 0 {
			if again := Prepare(Text, payload, ""); &again.Payload()[0] == &payload[0] {
				t.Error("the payload is shared")
			}
		}
		for d := Plain; d <= MaxWindowBits; d++ {
			if d > 0 && d < MinWindowBits {
				continue
			}
			f := p.Encoded(d)
			h, n, err := Parse(f, FromServer, Rsv1)
			if err != nil || int(h.Length) != len(f)-n || !h.Fin || h.Opcode != Text || len(f) > len(p.Plain()) {
				t.Fatalf("%d bytes in %d: %+v %v", len(payload), d, h, err)
			}
			if d == Plain && h.Rsv != 0 {
				t.Error("the plain dialect is compressed")
			}
			got := f[n:]
			if h.Rsv == Rsv1 {
				if distance, err := farthest(append(bytes.Clone(got), deflateTail...)); err != nil || distance > 1<<d {
					t.Errorf("%d bytes in %d: distance %d, %v", len(payload), d, distance, err)
				}
				got, err = inflate(got, InflateLimits{Max: len(payload)}, nil, whole)
			} else if len(payload) > 512 && payload[0] == '{' && d != Plain {
				t.Errorf("%d bytes in %d are not compressed", len(payload), d)
			}
			if err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%d bytes in %d: %d came back, %v", len(payload), d, len(got), err)
			}
			if &p.Encoded(d)[0] != &f[0] {
				t.Errorf("%d bytes in %d are encoded twice", len(payload), d)
			}
		}
	}
}

// Windows that hold all of a message share one frame.
func TestPreparedSharesLargeWindows(t *testing.T) {
	p := Prepare(Text, sample(1000), "")
	if &p.Encoded(10)[0] != &p.Encoded(15)[0] || &p.Encoded(10)[0] == &p.Encoded(9)[0] {
		t.Error("dialects 10 and 15 of 1000 bytes are not one, or 9 is the same")
	}
	if p := Prepare(Close, sample(600), ""); &p.Encoded(15)[0] != &p.Plain()[0] {
		t.Error("a control frame was compressed")
	}
}

func TestPreparedIsSharedSafely(t *testing.T) {
	p := Prepare(Text, sample(20_000), "")
	got := make([][]byte, 64)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = p.Encoded(Dialect(MinWindowBits + i%8)) })
	}
	wg.Wait()
	for i, f := range got {
		if &f[0] != &got[i%8][0] {
			t.Fatalf("dialect %d was encoded twice", MinWindowBits+i%8)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		for d := Dialect(MinWindowBits); d <= MaxWindowBits; d++ {
			_ = p.Encoded(d)
		}
		_ = p.Encoded(Plain)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPreparedEncoded(b *testing.B) {
	p := Prepare(Text, sample(2048), "")
	b.ReportAllocs()
	for b.Loop() {
		if len(p.Encoded(15)) == 0 {
			b.Fatal("empty")
		}
	}
}
