package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestHeaderRoundTrip(t *testing.T) {
	for _, n := range []int64{0, 1, 125, 126, 127, 65535, 65536, 1 << 31, 1<<63 - 1} {
		for _, masked := range []bool{false, true} {
			h := Header{Length: n, Opcode: Binary, Fin: n%2 == 0, Masked: masked}
			if masked {
				h.Key = 0xa1b2c3d4
			}
			b := AppendHeader(nil, h)
			if !masked && len(b) != HeaderSize(int(n)) {
				t.Errorf("HeaderSize(%d) = %d, header is %d", n, HeaderSize(int(n)), len(b))
			}
			got, size, err := Parse(b, Side(masked), 0)
			if err != nil || size != len(b) || got != h {
				t.Errorf("%+v came back as %+v, %d of %d, %v", h, got, size, len(b), err)
			}
			for cut := range b {
				if _, size, err := Parse(b[:cut], Side(masked), 0); size != 0 || err != nil {
					t.Errorf("%d of %d bytes: size %d, %v", cut, len(b), size, err)
				}
			}
		}
	}
}

// Every rule that two bytes decide fails on two bytes.
func TestParseFailsEarly(t *testing.T) {
	for _, r := range []struct {
		b    []byte
		from Side
		want error
	}{
		{[]byte{0xC1, 0x80}, FromClient, ReservedBits},
		{[]byte{0xA1, 0x80}, FromClient, ReservedBits},
		{[]byte{0x91, 0x80}, FromClient, ReservedBits},
		{[]byte{0x83, 0x80}, FromClient, ReservedOpcode},
		{[]byte{0x87, 0x80}, FromClient, ReservedOpcode},
		{[]byte{0x8B, 0x80}, FromClient, ReservedOpcode},
		{[]byte{0x8F, 0x80}, FromClient, ReservedOpcode},
		{[]byte{0x09, 0x80}, FromClient, FragmentedControl},
		{[]byte{0x89, 0xFE}, FromClient, LongControl},
		{[]byte{0x88, 0xFF}, FromClient, LongControl},
		{[]byte{0x81, 0x01}, FromClient, Unmasked},
		{[]byte{0x81, 0x81}, FromServer, MaskedByServer},
		{[]byte{0x81, 0xFE, 0, 125}, FromClient, LengthForm},
		{[]byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, FromClient, LengthForm},
		{[]byte{0x81, 0xFF, 0x80}, FromClient, LengthOverflow},
	} {
		_, n, err := Parse(r.b, r.from, 0)
		if !errors.Is(err, r.want) || n != 0 {
			t.Errorf("% x: %v, want %v", r.b, err, r.want)
		}
	}
	if h, _, err := Parse([]byte{0xC1, 0x80, 0, 0, 0, 0}, FromClient, Rsv1); err != nil || h.Rsv != Rsv1 {
		t.Errorf("an allowed bit: %+v %v", h, err)
	}
}

func TestViolationsHaveCodeAndShortReason(t *testing.T) {
	for v := ReservedBits; v <= InflatedRatio; v++ {
		if !ValidCode(v.Code()) || v.Error() == "" || len(v.Error()) > maxCloseReason {
			t.Errorf("violation %d: %d %q", v, v.Code(), v.Error())
		}
	}
}

func TestMaskMatchesDefinition(t *testing.T) {
	key := uint32(0x01020304)
	var k [4]byte
	binary.LittleEndian.PutUint32(k[:], key)
	for n := range 70 {
		for cut := 0; cut <= n; cut++ {
			b := []byte(strings.Repeat("abcdefg", 10)[:n])
			want := append([]byte(nil), b...)
			for i := range want {
				want[i] ^= k[i%4] // RFC 6455 §5.3
			}
			Mask(b[cut:], Mask(b[:cut], key))
			if !bytes.Equal(b, want) {
				t.Fatalf("%d bytes cut at %d: % x, want % x", n, cut, b, want)
			}
		}
	}
}

// The worked examples of RFC 6455 §5.7.
func TestExamples(t *testing.T) {
	if got := Append(nil, Text, []byte("Hello")); !bytes.Equal(got, []byte("\x81\x05Hello")) {
		t.Errorf("% x", got)
	}
	masked := []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}
	if got := AppendMasked(nil, Text, 0x3d21fa37, []byte("Hello")); !bytes.Equal(got, masked) {
		t.Errorf("% x", got)
	}
}

func TestClosePayload(t *testing.T) {
	for _, r := range []struct {
		payload string
		code    int
		reason  string
		err     error
	}{
		{"", 1005, "", nil},
		{"\x03", 0, "", CloseLength},
		{"\x03\xe8", 1000, "", nil},
		{"\x03\xe8bye", 1000, "bye", nil},
		{"\x03\xed", 0, "", CloseCode},
		{"\x03\xee", 0, "", CloseCode},
		{"\x03\xf7", 0, "", CloseCode},
		{"\x03\xe7", 0, "", CloseCode},
		{"\x13\x87", 4999, "", nil},
		{"\x13\x88", 0, "", CloseCode},
		{"\x03\xe8\xff", 0, "", CloseReason},
	} {
		code, reason, err := ParseClose([]byte(r.payload))
		if code != r.code || reason != r.reason || !errors.Is(err, r.err) {
			t.Errorf("%q: %d %q %v", r.payload, code, reason, err)
		}
		if err == nil {
			if got := string(AppendClose(nil, code, reason)); got != r.payload {
				t.Errorf("%q came back as %q", r.payload, got)
			}
		}
	}
	for _, code := range []int{1005, 1006, 1015, 0, 70000} {
		if got := AppendClose(nil, code, "x"); len(got) != 0 {
			t.Errorf("code %d was sent: % x", code, got)
		}
	}
}

// A reason that is too long is cut between characters: half a character would
// make the peer fail the close with 1007.
func TestLongReasonIsCutBetweenCharacters(t *testing.T) {
	for pad := range 4 {
		p := AppendClose(nil, 1000, strings.Repeat("x", pad)+strings.Repeat("€", 60))
		if len(p) > MaxControl || len(p) < MaxControl-3 || !utf8.Valid(p[2:]) {
			t.Errorf("pad %d: %d bytes, valid %v", pad, len(p), utf8.Valid(p[2:]))
		}
	}
}

func TestTextCheckAgreesWithWholeText(t *testing.T) {
	for _, s := range []string{
		"", "ascii", "κόσμε", "\U0010ffff", "\ud7ff\ue000", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf", "\xf0\x90\x80", "\xe2\x82",
		"aaaaaaaaaaaaaaaaaaaa\xe2\x82\xacbbbbbbbbbbbbbbb", "\x80", "\xff", "é\xc3",
	} {
		checkCuts(t, []byte(s))
	}
}

func checkCuts(t *testing.T, b []byte) {
	t.Helper()
	want := utf8.Valid(b)
	for cut := 0; cut <= len(b); cut++ {
		var c TextCheck
		got := c.Write(b[:cut]) && c.Write(b[cut:]) && c.Done()
		if got != want {
			t.Fatalf("%q cut at %d: %v, want %v", b, cut, got, want)
		}
	}
}

// Text fails at the first byte that cannot be repaired, not later and not sooner.
func TestTextCheckFailsAtOnce(t *testing.T) {
	for s, at := range map[string]int{
		"ab\xff": 2, "\xf4\x90": 1, "\xe0\x80": 1, "\xed\xa0": 1, "\xc2A": 1, "\xf0\x8f": 1, "\xf5": 0, "\xc1": 0, "\x80": 0, "\xe2\x82\x28": 2,
	} {
		var c TextCheck
		for i := range len(s) {
			if ok := c.Write([]byte{s[i]}); ok != (i < at) {
				t.Errorf("%q: byte %d gives %v, must fail at %d", s, i, ok, at)
			}
			if i == at {
				break
			}
		}
	}
}

func TestNothingAllocates(t *testing.T) {
	b := make([]byte, 0, 4096)
	payload := bytes.Repeat([]byte("é"), 100)
	if n := testing.AllocsPerRun(100, func() {
		f := AppendMasked(b[:0], Text, 7, payload)
		h, size, err := Parse(f, FromClient, 0)
		if err != nil {
			t.Fatal(err)
		}
		Mask(f[size:], h.Key)
		var c TextCheck
		if !c.Write(f[size:]) || !c.Done() {
			t.Fatal("text")
		}
		if _, _, err := Parse([]byte{0xff, 0xff}, FromClient, 0); err == nil {
			t.Fatal("no error")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x81, 0x85, 1, 2, 3, 4, 5}, true)
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4}, true)
	f.Add([]byte{0x81, 0x7e, 0x01, 0x00}, false)
	f.Fuzz(func(t *testing.T, b []byte, client bool) {
		h, n, err := Parse(b, Side(client), Rsv1)
		if err != nil {
			var v Violation
			if !errors.As(err, &v) || n != 0 {
				t.Fatal(err, n)
			}
			return
		}
		if n == 0 {
			if len(b) >= MaxHeader {
				t.Fatalf("no header in %d bytes: % x", len(b), b)
			}
			return
		}
		if h.Length < 0 || h.Opcode.Control() && (h.Length > MaxControl || !h.Fin) {
			t.Fatalf("%+v", h)
		}
		if got := AppendHeader(nil, h); !bytes.Equal(got, b[:n]) { // one spelling only
			t.Fatalf("% x is written as % x", b[:n], got)
		}
	})
}

func FuzzTextCheck(f *testing.F) {
	f.Add([]byte("κόσμε\xed\xa0\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 200 {
			checkCuts(t, b)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	p := make([]byte, 1024)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		Mask(p, 0x12345678)
	}
}

func BenchmarkTextCheck(b *testing.B) {
	p := bytes.Repeat([]byte("plain text and é "), 64)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		var c TextCheck
		c.Write(p)
	}
}
