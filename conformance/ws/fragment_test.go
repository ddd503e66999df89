package ws

import (
	"fmt"
	"strings"
)

// fragmentRows: messages in several frames (RFC 6455 §5.4).
func fragmentRows() []row {
	b := &book{section: "RFC 6455 §5.4"}
	b.open("two fragments", send(masked(opText, "a"), masked(bitFin, "b")), want(`text "ab"`), usable())
	b.open("three fragments", send(masked(opText, "a"), masked(0, "b"), masked(bitFin, "c")), want(`text "abc"`), usable())
	b.open("two fragments, a write each", sendEach([][]byte{masked(opText, "a"), masked(bitFin, "b")}), want(`text "ab"`), usable())
	b.open("two fragments, one byte per write", chop(1, masked(opText, "first"), masked(bitFin, "second")), want(`text "firstsecond"`), usable())
	b.open("binary fragments", send(masked(opBinary, "\xff"), masked(bitFin, "\x00")), want(`binary "\xff\x00"`), usable())
	b.open("empty first fragment", send(masked(opText, ""), masked(bitFin, "b")), want(`text "b"`), usable())
	b.open("empty middle fragment", send(masked(opText, "a"), masked(0, ""), masked(bitFin, "b")), want(`text "ab"`), usable())
	b.open("empty last fragment", send(masked(opText, "a"), masked(bitFin, "")), want(`text "a"`), usable())
	b.open("only empty text fragments", send(masked(opText, ""), masked(0, ""), masked(bitFin, "")), want(`text ""`), usable())
	b.open("only empty binary fragments", send(masked(opBinary, ""), masked(bitFin, "")), want(`binary ""`), usable())
	b.open("two fragmented messages", send(masked(opText, "a"), masked(bitFin, "b"), masked(opBinary, "c"), masked(bitFin, "d")), want(`text "ab"`, `binary "cd"`), usable())
	b.open("a whole message after a fragmented one", send(masked(opText, "a"), masked(bitFin, "b"), text("c")), want(`text "ab"`, `text "c"`), usable())
	for _, size := range []int{1, 7, 125, 126, 1000} {
		s := sample(1000)
		b.open(fmt.Sprintf("1000 bytes of text in fragments of %d", size), send(fragments(opText, s, size)...), want(sayText(s)), usable())
		b.open(fmt.Sprintf("1000 bytes of binary in fragments of %d", size), send(fragments(opBinary, noise(1000), size)...), want(sayBinary(noise(1000))), usable())
	}
	b.open("1024 fragments of one byte", send(fragments(opBinary, noise(1024), 1)...), want(sayBinary(noise(1024))), usable())
	b.open("64 KiB in frames of 1300, as a library would cut it", send(fragments(opText, sample(65536), 1300)...), want(sayText(sample(65536))), usable())
	b.open("16 384 fragments of 64 bytes", send(fragments(opBinary, noise(1<<20), 64)...), want(sayBinary(noise(1<<20))), usable())

	b.open("a ping between fragments is answered before the message", send(masked(opText, "a"), ping("p"), masked(bitFin, "b")), want(`pong "p"`, `text "ab"`), usable())
	b.open("a ping between fragments is answered at once", send(masked(opText, "a"), ping("p")), want(`pong "p"`), send(masked(bitFin, "b")), want(`text "ab"`), usable())
	b.open("pings between all of five fragments", send(masked(opText, "a"), ping("1"), masked(0, "b"), ping("2"), masked(0, "c"), ping("3"), masked(0, "d"), ping("4"), masked(bitFin, "e")),
		want(`pong "1"`, `pong "2"`, `pong "3"`, `pong "4"`, `text "abcde"`), usable())
	b.open("pings between fragments, one byte per write", chop(1, masked(opText, "a"), ping("1"), masked(0, "b"), ping("2"), masked(bitFin, "c")), want(`pong "1"`, `pong "2"`, `text "abc"`), usable())
	b.open("pongs between fragments are ignored", send(masked(opText, "a"), pong("p"), masked(0, "b"), pong(""), masked(bitFin, "c")), want(`text "abc"`), usable())
	b.open("a ping of 125 bytes between fragments of a character", send(masked(opText, "\xe2\x82"), ping(noise(125)), masked(bitFin, "\xac")), want(sayPong(noise(125)), `text "€"`), usable())
	return b.rows
}

// fragmentOrderRows: frames that fit no message (§5.4).
func fragmentOrderRows() []row {
	b := &book{section: "RFC 6455 §5.4"}
	b.open("final continuation without a start", send(masked(bitFin, "a")), fails(1002))
	b.open("continuation without a start", send(masked(0, "a")), fails(1002))
	b.open("empty continuation without a start", send(masked(bitFin, "")), fails(1002))
	b.open("continuation without a start, chopped", chop(1, masked(bitFin, "")), fails(1002))
	b.open("continuation without a start, then a message", send(masked(0, "a"), masked(bitFin, "b"), text("c")), fails(1002))
	b.open("continuation after a whole message", send(text("a"), masked(bitFin, "b")), want(`text "a"`), fails(1002))
	b.open("continuation after a fragmented message", send(masked(opText, "a"), masked(bitFin, "b"), masked(bitFin, "c")), want(`text "ab"`), fails(1002))
	b.open("continuation after a ping", send(ping("p"), masked(bitFin, "b")), want(`pong "p"`), fails(1002))
	b.open("text inside a fragmented text", send(masked(opText, "a"), text("b")), fails(1002))
	b.open("text fragment inside a fragmented text", send(masked(opText, "a"), masked(opText, "b"), masked(bitFin, "c")), fails(1002))
	b.open("binary inside a fragmented text", send(masked(opText, "a"), bin("b")), fails(1002))
	b.open("text inside a fragmented binary", send(masked(opBinary, "a"), text("b")), fails(1002))
	b.open("binary inside a fragmented binary", send(masked(opBinary, "a"), bin("b")), fails(1002))
	b.open("text inside an empty fragmented text", send(masked(opText, ""), text("b")), fails(1002))
	b.open("text inside a fragmented text, one byte per write", chop(1, masked(opText, "a"), text("")), fails(1002))
	b.open("text after a ping inside a fragmented text", send(masked(opText, "a"), ping("p"), text("b")), want(`pong "p"`), fails(1002))
	b.open("close inside a fragmented message", send(masked(opText, "a"), closing(1000, "")), closed(1000), ends("1000"))
	b.open("TCP ends inside a fragmented message", send(masked(opText, "a")), fin(), want("eof"), ends("1006"))
	b.open("TCP ends inside a frame", send(text("cut here")[:9]), fin(), want("eof"), ends("1006"))
	b.open("TCP ends inside a header", send(text("cut here")[:3]), fin(), want("eof"), ends("1006"))
	return b.rows
}

// controlRows: RFC 6455 §5.5.
func controlRows() []row {
	b := &book{section: "RFC 6455 §5.5.2"}
	for _, n := range []int{0, 1, 5, 124, 125} {
		b.open(fmt.Sprintf("ping of %d bytes", n), send(ping(noise(n))), want(sayPong(noise(n))), usable())
		b.open(fmt.Sprintf("ping of %d bytes, one byte per write", n), chop(1, ping(noise(n))), want(sayPong(noise(n))), usable())
	}
	b.open("ping of bytes that are no text", send(ping("\x00\xff\xfe\xfd")), want(`pong "\x00\xff\xfe\xfd"`), usable())
	b.open("ten pings in one write", func(c *client) {
		var frames [][]byte
		var pongs []string
		for i := range 10 {
			frames = append(frames, ping(fmt.Sprint("ping ", i)))
			pongs = append(pongs, sayPong(fmt.Sprint("ping ", i)))
		}
		send(frames...)(c)
		want(pongs...)(c)
	}, usable())
	b.open("ten pings, one byte per write", func(c *client) {
		for i := range 10 {
			chop(1, ping(fmt.Sprint(i)))(c)
		}
		c.awaitPong("9")
	}, usable())
	b.open("a ping before a message is answered before it", send(ping("p"), text("m")), want(`pong "p"`, `text "m"`), usable())
	b.open("a ping after a message is answered after it", send(text("m"), ping("p")), want(`text "m"`, `pong "p"`), usable())
	b.open("a ping while a close is under way is not needed", send(closing(1000, ""), ping("late")), closed(1000))
	b.open("50 pings: the last is answered", func(c *client) {
		for i := range 50 {
			c.write(ping(fmt.Sprint(i)))
		}
		c.awaitPong("49")
	}, usable())

	b.section = "RFC 6455 §5.5.3"
	b.open("unsolicited pong", send(pong("x")), usable())
	b.open("unsolicited empty pong", send(pong("")), usable())
	b.open("unsolicited pong of 125 bytes", send(pong(noise(125))), usable())
	b.open("unsolicited pong, then a ping", send(pong("x"), ping("y")), want(`pong "y"`), usable())
	b.open("ten unsolicited pongs, then a ping", send(fragmentsOf(10, pong("x"))...), send(ping("y")), want(`pong "y"`), usable())

	b.section = "RFC 6455 §5.5"
	for name, op := range map[string]byte{"close": opClose, "ping": opPing, "pong": opPong} {
		b.open(name+" of 126 bytes", send(masked(bitFin|op, "\x03\xe8"+strings.Repeat("x", 124))), fails(1002))
		b.open(name+" of 65536 bytes", send(announced(bitFin|op, 64, 65536)), fails(1002))
		b.open(name+" of 126 bytes, chopped", chop(1, masked(bitFin|op, strings.Repeat("x", 126))[:2]), fails(1002))
		b.open(name+" with its length in 16 bits", send(announced(bitFin|op, 16, 5)), fails(1002))
		b.open(name+" in fragments", send(masked(op, "\x03\xe8"), masked(bitFin, "b")), fails(1002))
		b.open(name+" as an empty fragment", send(masked(op, "")), fails(1002))
		b.open(name+" in fragments inside a fragmented message", send(masked(opText, "a"), masked(op, "b"), masked(bitFin, "c")), fails(1002))
		b.open(name+" in fragments, chopped", chop(1, masked(op, "")[:2]), fails(1002))
	}
	return b.rows
}

func fragmentsOf(n int, f []byte) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = f
	}
	return all
}

// awaitPong reads pongs until the one for payload: earlier pings need no answer
// of their own (§5.5.3).
func (c *client) awaitPong(payload string) {
	c.t.Helper()
	for {
		switch got := c.next(); {
		case got == sayPong(payload):
			return
		case !strings.HasPrefix(got, "pong "):
			c.t.Fatalf("got %s, want pongs up to %q", got, payload)
		}
	}
}
