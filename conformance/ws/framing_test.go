package ws

import (
	"fmt"
	"strings"
)

// sample is n bytes of text that shows a byte lost, doubled or moved.
func sample(n int) string {
	const line = "The quick brown fox jumps over the lazy dog; 0123456789 \xe2\x82\xac\xc3\xa9\xf0\x9f\x90\xa6. "
	s := strings.Repeat(line, n/len(line)+1)[:n]
	return strings.ToValidUTF8(s, "") + strings.Repeat("~", n-len(strings.ToValidUTF8(s, "")))
}

// noise is n bytes of every value, by a fixed generator.
func noise(n int) string {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 11)
	}
	return string(b)
}

// sizeRows: payload lengths around every border of RFC 6455 §5.2.
func sizeRows() []row {
	b := &book{section: "RFC 6455 §5.2"}
	for _, n := range []int{0, 1, 2, 124, 125, 126, 127, 128, 129, 1023, 1024, 4085, 4096, 4097, 8192, 16384, 32767, 32768, 65534, 65535, 65536, 65537, 131072} {
		b.open(fmt.Sprintf("text of %d bytes", n), send(text(sample(n))), want(sayText(sample(n))), usable())
		b.open(fmt.Sprintf("binary of %d bytes", n), send(bin(noise(n))), want(sayBinary(noise(n))), usable())
	}
	b.open("two messages in one write", send(text("one"), bin("two")), want(`text "one"`, `binary "two"`), usable())
	b.open("100 messages in one write", func(c *client) {
		var frames, echoes []string
		for i := range 100 {
			frames = append(frames, string(text(fmt.Sprint(i))))
			echoes = append(echoes, sayText(fmt.Sprint(i)))
		}
		c.write([]byte(strings.Join(frames, "")))
		want(echoes...)(c)
	}, usable())
	b.open("text and binary in turns keep their types", send(text("t"), bin("b"), text(""), bin("")), want(`text "t"`, `binary "b"`, `text ""`, `binary ""`), usable())
	b.open("binary that is no UTF-8", send(bin("\xff\xfe\x00\xc0")), want(`binary "\xff\xfe\x00\xc0"`), usable())
	return b.rows
}

// choppedRows: frames cut anywhere by TCP.
func choppedRows() []row {
	b := &book{section: "RFC 6455 §5.2"}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 1000} {
		b.open(fmt.Sprintf("text of %d bytes, one byte per write", n), chop(1, text(sample(n))), want(sayText(sample(n))), usable())
		b.open(fmt.Sprintf("binary of %d bytes, one byte per write", n), chop(1, bin(noise(n))), want(sayBinary(noise(n))), usable())
	}
	for _, n := range []int{65535, 65536} {
		for _, by := range []int{997, 4096} {
			b.open(fmt.Sprintf("text of %d bytes, %d per write", n, by), chop(by, text(sample(n))), want(sayText(sample(n))), usable())
			b.open(fmt.Sprintf("binary of %d bytes, %d per write", n, by), chop(by, bin(noise(n))), want(sayBinary(noise(n))), usable())
		}
	}
	for cut := 1; cut < 14; cut++ {
		f := bin(noise(70_000))
		b.open(fmt.Sprintf("header of 14 bytes, cut after %d", cut), sendEach([][]byte{f[:cut], f[cut:]}), want(sayBinary(noise(70_000))), usable())
	}
	return b.rows
}

// reservedRows: RSV bits and opcodes nobody defined (§5.2).
func reservedRows() []row {
	b := &book{section: "RFC 6455 §5.2"}
	for rsv := byte(1); rsv <= 7; rsv++ {
		for _, op := range []byte{opContinuation, opText, opBinary, opClose, opPing, opPong} {
			b.open(fmt.Sprintf("RSV %03b on opcode %#x", rsv, op), send(masked(bitFin|rsv<<4|op, "")), fails(1002))
		}
		b.open(fmt.Sprintf("RSV %03b after valid traffic", rsv), send(text("a"), ping("p"), masked(bitFin|rsv<<4|opText, "b"), text("c")), want(`text "a"`, `pong "p"`), fails(1002))
		b.open(fmt.Sprintf("RSV %03b one byte per write", rsv), send(text("a")), want(`text "a"`), chop(1, masked(bitFin|rsv<<4|opText, "b")[:2]), fails(1002))
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		b.open(fmt.Sprintf("opcode %#x, empty", op), send(masked(bitFin|op, "")), fails(1002))
		b.open(fmt.Sprintf("opcode %#x with a payload", op), send(masked(bitFin|op, "reserved")), fails(1002))
		b.open(fmt.Sprintf("opcode %#x after a message", op), send(text("a"), masked(bitFin|op, "b"), text("c")), want(`text "a"`), fails(1002))
		b.open(fmt.Sprintf("opcode %#x as a fragment", op), send(masked(op, "a")), fails(1002))
		b.open(fmt.Sprintf("opcode %#x inside a fragmented message, chopped", op), chop(1, masked(opText, "a"), masked(bitFin|op, "")[:2]), fails(1002))
	}
	return b.rows
}

// maskRows: every client frame is masked (§5.1), with any key (§5.3).
func maskRows() []row {
	b := &book{section: "RFC 6455 §5.1"}
	for name, op := range map[string]byte{"continuation": opContinuation, "text": opText, "binary": opBinary, "close": opClose, "ping": opPing, "pong": opPong} {
		b.open("unmasked "+name+", empty", send(unmasked(bitFin|op, "")), fails(1002))
		b.open("unmasked "+name+" with a payload", send(unmasked(bitFin|op, "\x03\xe8")), fails(1002))
	}
	b.open("unmasked after masked", send(text("a"), unmasked(bitFin|opText, "b"), text("c")), want(`text "a"`), fails(1002))
	b.open("unmasked continuation of a masked start", send(masked(opText, "a"), unmasked(bitFin|opContinuation, "b")), fails(1002))
	b.open("unmasked frame is refused at its second byte", send([]byte{bitFin | opText, 5}), fails(1002))
	b.open("unmasked long frame is refused before its length", send([]byte{bitFin | opBinary, 127}), fails(1002))

	b.section = "RFC 6455 §5.3"
	for name, key := range map[string][4]byte{"zeros": {}, "ones": {255, 255, 255, 255}, "one byte": {0, 0, 0, 1}, "all different": {1, 2, 3, 4}} {
		for _, n := range []int{1, 3, 4, 7, 63, 200} {
			b.open(fmt.Sprintf("mask of %s, %d bytes", name, n), send(maskedWith(key, bitFin|opBinary, noise(n))), want(sayBinary(noise(n))), usable())
		}
	}
	b.open("another mask for each frame", send(maskedWith([4]byte{9, 8, 7, 6}, bitFin|opText, "one"), maskedWith([4]byte{5, 5, 0, 5}, bitFin|opText, "two")), want(`text "one"`, `text "two"`), usable())
	b.open("another mask for each fragment", send(maskedWith([4]byte{9, 8, 7, 6}, opText, "one"), maskedWith([4]byte{0, 1, 0, 255}, bitFin, "two")), want(`text "onetwo"`), usable())
	return b.rows
}

// lengthRows: lengths in a longer form than needed, and beyond 63 bits (§5.2).
func lengthRows() []row {
	b := &book{section: "RFC 6455 §5.2"}
	for _, n := range []uint64{0, 1, 124, 125} {
		b.open(fmt.Sprintf("length %d in 16 bits", n), send(announced(bitFin|opBinary, 16, n)), fails(1002))
	}
	for _, n := range []uint64{0, 1, 125, 126, 65535} {
		b.open(fmt.Sprintf("length %d in 64 bits", n), send(announced(bitFin|opBinary, 64, n)), fails(1002))
	}
	for _, n := range []uint64{1 << 63, 1<<63 | 1, 1<<63 | 125, 1<<63 | 65536, 1<<64 - 1} {
		b.open(fmt.Sprintf("length %#x", n), send(announced(bitFin|opBinary, 64, n)), fails(1002, 1009))
	}
	b.open("length in 16 bits too long, chopped", chop(1, announced(bitFin|opText, 16, 5)[:4]), fails(1002))
	b.open("length with the top bit set is refused at its first byte", send([]byte{bitFin | opBinary, 0xff, 0x80}), fails(1002, 1009))
	for name, n := range map[string]uint64{"2^31-1": 1<<31 - 1, "2^31": 1 << 31, "2^32": 1 << 32, "2^53": 1 << 53, "2^63-1": 1<<63 - 1} {
		b.open("length "+name+" announced, a byte of it sent, then the end", send(announced(bitFin|opBinary, 64, n), []byte{0}), fin(), endOrTooBig)
		b.open("length "+name+" in a second fragment, then the end", send(masked(opBinary, "start"), announced(bitFin|opContinuation, 64, n)), fin(), endOrTooBig)
	}
	return b.rows
}

// endOrTooBig: a server without limits waits for the payload until the stream
// ends; one with limits says so (§7.4.1, 1009).
func endOrTooBig(c *client) {
	c.t.Helper()
	switch got := c.next(); {
	case got == "eof":
		ends("1006")(c)
	case strings.HasPrefix(got, "close 1009 "):
		gone()(c)
	default:
		c.t.Errorf("got %s", got)
	}
}
