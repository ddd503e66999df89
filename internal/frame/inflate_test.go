package frame

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// inflate feeds payload in pieces of the sizes that next gives.
func inflate(payload []byte, l InflateLimits, w *Window, next func() int) ([]byte, error) {
	z := BorrowInflater(l, w)
	defer z.Release()
	var msg []byte
	var err error
	for len(payload) > 0 {
		n := min(max(next(), 1), len(payload))
		for piece := payload[:n]; len(piece) > 0; {
			if msg, piece, err = z.Write(msg, piece); err != nil {
				return msg, err
			}
		}
		payload = payload[n:]
	}
	return z.End(msg)
}

func whole() int { return 1 << 30 }

// packed compresses with the standard library, which knows no window but 32 KiB.
func packed(t testing.TB, level int, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		w.Write([]byte(p))
		w.Flush()
	}
	return bytes.TrimSuffix(b.Bytes(), []byte(deflateTail))
}

func sample(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":%d,"user":"u%d","price":%d.%02d,"text":"grüße %x","ok":true},`, i*7919, i%17, i*31%1000, i%100, uint32(i)*2654435761)
	}
	return b.Bytes()[:n]
}

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// The worked examples of RFC 7692 §7.2.3, and what is near them.
func TestInflateExamples(t *testing.T) {
	for _, r := range []struct {
		name, payload, want string
	}{
		{"§7.2.3.1 one block", "\xf2\x48\xcd\xc9\xc9\x07\x00", "Hello"},
		{"§7.2.3.3 stored block", "\x00\x05\x00\xfa\xffHello\x00", "Hello"},
		{"§7.2.3.4 final block", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
		{"§7.2.3.5 two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
		{"§7.2.3.6 empty message", "\x00", ""},
		{"empty fixed block", "\x02\x00", ""},
		{"empty final block", "\x03\x00\x00", ""},
		{"final block and no more", "\xf3\x48\xcd\xc9\xc9\x07\x00", "Hello"},
		{"empty final block and no more", "\x03\x00", ""},
		{"final stored block", "\x01\x05\x00\xfa\xffHello", "Hello"},
		{"blocks after a final one", "\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00", "HelloHelloHello"},
		{"tail not cut off", "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff", "Hello"},
		{"no bytes at all", "", ""},
		{"empty stored blocks", strings.Repeat("\x00\x00\x00\xff\xff", 50) + "\x00", ""},
	} {
		for size := 1; size <= len(r.payload)+1; size++ {
			for _, step := range []int{0, 1, 3, 5} {
				got, err := inflate([]byte(r.payload), InflateLimits{Max: 100, Step: step}, nil, func() int { return size })
				if err != nil || string(got) != r.want {
					t.Errorf("%s, %d bytes at a time in steps of %d: %q, %v", r.name, size, step, got, err)
				}
			}
		}
	}
}

// §7.2.3.2: the second "Hello" is a match in the first, from a message before.
func TestInflateTakeover(t *testing.T) {
	w := NewWindow(9)
	for _, payload := range []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"} {
		if got, err := inflate([]byte(payload), InflateLimits{}, w, func() int { return 1 }); err != nil || string(got) != "Hello" {
			t.Errorf("% x: %q, %v", payload, got, err)
		}
	}
	if got, err := inflate([]byte("\xf2\x00\x11\x00\x00"), InflateLimits{}, nil, whole); !errors.Is(err, CorruptDeflate) {
		t.Errorf("with no window: %q, %v", got, err)
	}
}

func TestInflateGarbage(t *testing.T) {
	for name, payload := range map[string]string{
		"block type 3":                  "\x06",
		"final block type 3":            "\x07\x00",
		"stored length":                 "\x00\x05\x00\xfa\xfeHello",
		"stored block cut":              "\x00\x10\x00\xef\xffHello",
		"fixed block cut":               "\xf2\x48\xcd",
		"distance before the start":     "\x02\x13\x00\x00",
		"too many lengths":              "\xfc\xff\xff\xff",
		"code lengths over-subscribed":  "\x04\x00\xfe\xff\xff\xff\xff",
		"lengths that end no block":     "\x04\xc0\x81\x08\x00\x00\x00\x00\x20\x7f\xeb\x0b\x00\x00",
		"repeat of no length":           "\x04\x00\x24\xe9\xff\xff\xff",
		"words":                         "this is not compressed",
		"a header and nothing":          "\x04",
		"a final block, then a bad one": "\xf3\x48\xcd\xc9\xc9\x07\x00\x06",
	} {
		for _, size := range []int{1, 2, 3, 100} {
			got, err := inflate([]byte(payload), InflateLimits{}, nil, func() int { return size })
			if !errors.Is(err, CorruptDeflate) {
				t.Errorf("%s, %d bytes at a time: %q, %v", name, size, got, err)
			}
		}
		if _, ok := naive([]byte(payload), nil); ok {
			t.Errorf("%s: not garbage to the standard library", name)
		}
	}
	if CorruptDeflate.Code() != CodeInvalidData || InflatedTooBig.Code() != CodeTooBig || InflatedRatio.Code() != CodePolicy {
		t.Error("close codes")
	}
}

// Garbage fails when it arrives, not at the end of the message.
func TestInflateGarbageFailsAtOnce(t *testing.T) {
	z := BorrowInflater(InflateLimits{}, nil)
	defer z.Release()
	if _, _, err := z.Write(nil, []byte{0x06}); !errors.Is(err, CorruptDeflate) {
		t.Error(err)
	}
}

func TestInflateSizesAndLevels(t *testing.T) {
	text, rnd := string(sample(300_000)), string(noise(70_000))
	r := rand.New(rand.NewPCG(1, 2))
	for _, data := range []string{"x", text[:511], text[:5000], text, rnd, strings.Repeat("a", 100_000), text[:40_000] + rnd + text[:40_000], strings.Repeat("ab", 3) + rnd[:3]} {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			payload := packed(t, level, data[:len(data)/3], data[len(data)/3:])
			for _, next := range []func() int{whole, func() int { return 1 }, func() int { return 1 + r.IntN(20) }, func() int { return 1 + r.IntN(5000) }} {
				got, err := inflate(payload, InflateLimits{Max: len(data), Ratio: -1, Step: 1 + r.IntN(10_000)}, nil, next)
				if err != nil || string(got) != data {
					t.Fatalf("%d bytes, level %d: got %d, %v", len(data), level, len(got), err)
				}
			}
		}
	}
}

// Damaged streams inflate to what the standard library makes of them, or fail
// where it fails.
func TestInflateDamaged(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	good := 0
	for range damagedStreams {
		data := sample(1 + r.IntN(400))
		b := packed(t, []int{flate.HuffmanOnly, 0, 1, 6, 9}[r.IntN(5)], string(data), string(data[len(data)/2:]))
		for range r.IntN(4) {
			switch at := r.IntN(len(b)); r.IntN(4) {
			case 0:
				b[at] ^= 1 << r.IntN(8)
			case 1:
				b[at] = byte(r.Uint32())
			case 2:
				b = b[:max(at, 1)]
			case 3:
				b = append(b[:at:at], b[r.IntN(len(b)):]...)
			}
			if len(b) == 0 {
				b = []byte{0}
			}
		}
		want, ok := naive(b, data)
		w := NewWindow(MaxWindowBits)
		w.Add(data)
		size, step := 1+r.IntN(1+r.IntN(300)), 1+r.IntN(2000)
		got, err := inflate(b, InflateLimits{Ratio: -1, Step: step}, w, func() int { return size })
		if ok != (err == nil) || ok && !bytes.Equal(got, want) {
			t.Fatalf("% x, %d bytes at a time in steps of %d\ngives %q, %v\nwant %q, %v", b, size, step, got, err, want, ok)
		}
		if ok {
			good++
		}
	}
	if good < damagedStreams/10 || good > damagedStreams*9/10 {
		t.Errorf("%d of %d are good", good, damagedStreams)
	}
}

const damagedStreams = 1000

// The limit is a limit on the inflated size: exactly that is good, a byte more is
// not, and it fails before the message is over.
func TestInflateLimit(t *testing.T) {
	for _, n := range []int{1, 300, 65536, 131072} {
		payload := packed(t, 9, strings.Repeat("a", n))
		for _, size := range []int{1, 7, 1 << 20} {
			next := func() int { return size }
			if got, err := inflate(payload, InflateLimits{Max: n, Ratio: -1}, nil, next); err != nil || len(got) != n {
				t.Errorf("%d of %d: %v", len(got), n, err)
			}
			if n == 1 {
				continue
			}
			got, err := inflate(payload, InflateLimits{Max: n - 1, Ratio: -1}, nil, next)
			if !errors.Is(err, InflatedTooBig) || len(got) > n+maxMatch || cap(got) > n+1024 {
				t.Errorf("%d with limit %d: %v, %d bytes in %d", n, n-1, err, len(got), cap(got))
			}
		}
	}
}

// Compressed bytes that inflate to nothing are bounded as well.
func TestInflateNothingForever(t *testing.T) {
	payload := bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 1000)
	if _, err := inflate(payload, InflateLimits{Max: 1000}, nil, func() int { return 5 }); !errors.Is(err, InflatedTooBig) {
		t.Error(err)
	}
}

func TestInflateRatio(t *testing.T) {
	bomb := packed(t, 9, strings.Repeat("\x00", 1<<20))
	for _, size := range []int{1, 50, 1 << 20} {
		next := func() int { return size }
		got, err := inflate(bomb, InflateLimits{Max: 1 << 20}, nil, next)
		if !errors.Is(err, InflatedRatio) || len(got) > max(ratioFrom, defaultRatio*len(bomb))+maxMatch+1 {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if got, err := inflate(bomb, InflateLimits{Max: 1 << 20, Ratio: 2000}, nil, next); err != nil || len(got) != 1<<20 {
			t.Errorf("ratio 2000: %d bytes, %v", len(got), err)
		}
	}
	small := packed(t, 9, strings.Repeat("\x00", ratioFrom))
	if got, err := inflate(small, InflateLimits{}, nil, whole); err != nil || len(got) != ratioFrom {
		t.Errorf("64 KiB of zeros: %d bytes, %v", len(got), err)
	}
}

// A bomb costs its limit, not its size: a kilobyte that makes a megabyte, and a
// thousand of them in one message, which makes a gigabyte.
func TestBombs(t *testing.T) {
	const limit = 128 << 10
	kilobyte := append(packed(t, 9, strings.Repeat("\x00", 1<<20)), deflateTail...)
	if len(kilobyte) > 1100 {
		t.Fatalf("the bomb has %d bytes", len(kilobyte))
	}
	explode := func(z *Inflater) (msg []byte, err error) {
		for range 1024 {
			for rest := kilobyte; len(rest) > 0; {
				if msg, rest, err = z.Write(msg, rest); err != nil {
					return msg, err
				}
			}
		}
		return msg, nil
	}
	var before, after runtime.MemStats
	for l, want := range map[InflateLimits]error{
		{Max: limit}:                InflatedRatio,
		{Max: limit, Ratio: -1}:     InflatedTooBig,
		{Max: 64 << 20}:             InflatedRatio,
		{Max: 1 << 20, Ratio: 2000}: InflatedTooBig,
	} {
		var msg []byte
		runtime.GC()
		runtime.ReadMemStats(&before)
		held := make([]*Inflater, 0, 50)
		for range cap(held) {
			z := BorrowInflater(l, nil)
			held = append(held, z)
			var err error
			if msg, err = explode(z); !errors.Is(err, want) || cap(msg) > l.Max+1024 {
				t.Fatalf("%+v: %d bytes in %d, %v", l, len(msg), cap(msg), err)
			}
		}
		runtime.ReadMemStats(&after)
		// All that was allocated on the way, doubling included.
		if each := (after.TotalAlloc - before.TotalAlloc) / uint64(len(held)); each > uint64(2*l.Max+16<<10) {
			t.Errorf("%+v: %d bytes allocated per bomb", l, each)
		}
		for _, z := range held {
			z.Release()
		}
	}
}

// An event loop that inflates in steps is never kept for more than one.
func TestInflateSteps(t *testing.T) {
	data := strings.Repeat("0123456789", 1<<17)
	payload := packed(t, 9, data)
	z := BorrowInflater(InflateLimits{Ratio: -1, Step: 4096}, nil)
	defer z.Release()
	var msg []byte
	steps := 0
	for rest := payload; len(rest) > 0; steps++ {
		had := len(msg)
		var err error
		if msg, rest, err = z.Write(msg, rest); err != nil {
			t.Fatal(err)
		}
		if len(msg)-had > 4096+maxMatch {
			t.Fatalf("a step of %d bytes", len(msg)-had)
		}
	}
	if msg, err := z.End(msg); err != nil || string(msg) != data {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	if steps < len(data)/8192 {
		t.Errorf("%d steps", steps)
	}
}

// A step may stop between the last character and the end of its block, both in
// the message's last byte. End once took that byte for a block cut off.
func TestInflateStepBeforeTheEnd(t *testing.T) {
	payload := []byte("\xd4\xce\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x1d\x0e\x4c\x56")
	past := sample(400)
	want, ok := naive(payload, past)
	if !ok {
		t.Fatal("not a message")
	}
	for step := 1; step <= len(want); step++ {
		w := NewWindow(MaxWindowBits)
		w.Add(past)
		if got, err := inflate(payload, InflateLimits{Step: step}, w, whole); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in steps of %d: %q, %v", step, got, err)
		}
	}
}

// A million pieces of one byte cost what the message costs.
func TestMillionPieces(t *testing.T) {
	data := noise(1_000_000)
	payload := packed(t, flate.HuffmanOnly, string(data))
	z := BorrowInflater(InflateLimits{Max: len(data)}, nil)
	defer z.Release()
	msg := make([]byte, 0, len(data)+2*maxMatch)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var err error
	for i := range payload {
		if msg, _, err = z.Write(msg, payload[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	msg, err = z.End(msg)
	runtime.ReadMemStats(&after)
	if err != nil || !bytes.Equal(msg, data) {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
		t.Errorf("%d bytes allocated", got)
	}
}

// Text is checked as it is inflated: the bad byte fails the message although the
// rest of it never comes.
func TestInflateTextFailsAtOnce(t *testing.T) {
	payload := packed(t, 0, "plain text, then \xff", "and more")
	z := BorrowInflater(InflateLimits{}, nil)
	defer z.Release()
	var text TextCheck
	var msg []byte
	for i := range payload {
		had := len(msg)
		var err error
		if msg, _, err = z.Write(msg, payload[i:i+1]); err != nil {
			t.Fatal(err)
		}
		if !text.Write(msg[had:]) {
			if string(msg) != "plain text, then \xff" {
				t.Errorf("failed at %q", msg)
			}
			return
		}
	}
	t.Error("text passed")
}

// What a window remembers is what its bits say, across messages of all sizes.
func TestWindowBounds(t *testing.T) {
	for b := uint8(MinWindowBits); b <= MaxWindowBits; b++ {
		w := NewWindow(b)
		var all []byte
		r := rand.New(rand.NewPCG(uint64(b), 0))
		for i := range 200 {
			p := noise(r.IntN(1 << (i % 17)))
			w.Add(p)
			all = append(all, p...)
			want := all[max(0, len(all)-1<<b):]
			if !bytes.Equal(w.bytes(), want) || w.Memory() > 1<<b {
				t.Fatalf("bits %d, message %d: %d bytes in %d, want %d", b, i, len(w.bytes()), w.Memory(), len(want))
			}
		}
		if w.Memory() != 1<<b {
			t.Errorf("bits %d: %d bytes", b, w.Memory())
		}
	}
	var none *Window
	if none.Add([]byte("x")); none.Memory() != 0 {
		t.Error("nil window")
	}
}

// The takeover window is as large as was agreed; a peer that reaches farther
// back fails.
func TestInflateBeyondWindow(t *testing.T) {
	first, second := string(noise(1000)), "middle"
	var b bytes.Buffer
	fw, _ := flate.NewWriter(&b, 9)
	fw.Write([]byte(first + second))
	fw.Flush()
	n := b.Len() - len(deflateTail)
	fw.Write([]byte(first[:50]))
	fw.Flush()
	one, two := b.Bytes()[:n], b.Bytes()[n+len(deflateTail):b.Len()-len(deflateTail)]
	for bits, want := range map[uint8]error{9: CorruptDeflate, 10: nil} {
		w := NewWindow(bits)
		if _, err := inflate(one, InflateLimits{}, w, whole); err != nil {
			t.Fatal(err)
		}
		if got, err := inflate(two, InflateLimits{}, w, whole); !errors.Is(err, want) || err == nil && string(got) != first[:50] {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, n := range []int{2048, 131072} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			payload := packed(b, 6, string(sample(n)))
			msg := make([]byte, 0, n+2*maxMatch)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				z := BorrowInflater(InflateLimits{Max: n}, nil)
				out, rest, err := z.Write(msg, payload)
				for err == nil && len(rest) > 0 {
					out, rest, err = z.Write(out, rest)
				}
				if out, err = z.End(out); err != nil || len(out) != n {
					b.Fatal(len(out), err)
				}
				z.Release()
			}
		})
	}
}
