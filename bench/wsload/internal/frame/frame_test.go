//go:build linux

package frame

import (
	"bytes"
	"testing"
)

func TestMaskedFrameUnmasksToPayload(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70001} {
		p := bytes.Repeat([]byte("abcdefghijk"), n/11+1)[:n]
		f := Append(nil, Text, 0xa1b2c3d4, p)
		if f[0] != 0x81 || f[1]&0x80 == 0 {
			t.Fatalf("n=%d: header %x", n, f[:2])
		}
		h := 2
		switch f[1] & 0x7f {
		case 126:
			h = 4
		case 127:
			h = 10
		}
		key := f[h : h+4]
		body := append([]byte(nil), f[h+4:]...)
		for i := range body {
			body[i] ^= key[i%4]
		}
		if !bytes.Equal(body, p) {
			t.Fatalf("n=%d: payload differs", n)
		}
		// strip the mask to get what a server would send, then take it back
		srv := append(append([]byte{f[0], f[1] & 0x7f}, f[2:h]...), p...)
		for cut := 0; cut < len(srv) && cut < 20; cut++ {
			if _, _, _, size, bad := Take(srv[:cut]); bad || (size != 0 && size <= cut) {
				t.Fatalf("n=%d cut=%d: size=%d bad=%v", n, cut, size, bad)
			}
		}
		fin, op, got, size, bad := Take(append(srv, 0x81))
		if bad || !fin || op != Text || size != len(srv) || !bytes.Equal(got, p) {
			t.Fatalf("n=%d: take fin=%v op=%d size=%d bad=%v", n, fin, op, size, bad)
		}
	}
	if _, _, _, _, bad := Take([]byte{0x81, 0x80}); !bad {
		t.Fatal("masked server frame accepted")
	}
}
