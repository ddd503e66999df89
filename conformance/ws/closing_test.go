package ws

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// closePayloadRows: codes and reasons (RFC 6455 §5.5.1, §7.4).
func closePayloadRows() []row {
	b := &book{section: "RFC 6455 §7.4"}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		b.open(fmt.Sprintf("code %d", code), send(closing(code, "")), closed(code), ends(fmt.Sprint(code)))
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 32768, 65535} {
		b.open(fmt.Sprintf("code %d is refused", code), send(closing(code, "")), fails(1002))
	}
	b.open("code 999 with a reason is refused", send(closing(999, "reason")), fails(1002))

	b.section = "RFC 6455 §5.5.1"
	b.open("empty close", send(masked(bitFin|opClose, "")), emptyClose, ends("1005 Client-side close frame status not set"))
	b.open("close of one byte", send(masked(bitFin|opClose, "\x03")), fails(1002))
	b.open("code with a reason", send(closing(1000, "goodbye")), closed(1000), ends("1000 goodbye"))
	b.open("code with a reason beyond ASCII", send(closing(3000, "tschüß €")), closed(3000), ends("3000 tschüß €"))
	b.open("reason of 123 bytes", send(closing(1000, strings.Repeat("r", 123))), closed(1000), ends("1000 "+strings.Repeat("r", 123)))
	b.open("reason of 124 bytes", send(closing(1000, strings.Repeat("r", 124))), fails(1002))
	b.open("close, one byte per write", chop(1, closing(1000, "slowly")), closed(1000), ends("1000 slowly"))
	for name, reason := range map[string]string{
		"bytes that are no UTF-8": "\xff\xfe", "overlong form": "\xc0\xaf", "surrogate": "\xed\xa0\x80", "character cut short": "cut \xe2\x82", "beyond U+10FFFF": "\xf4\x90\x80\x80",
		"valid start, invalid end": "κόσμε\xed\xa0\x80edited",
	} {
		b.open("reason: "+name, send(closing(1000, reason)), fails(1007))
	}
	b.open("reason: NUL and noncharacter are text", send(closing(1000, "\x00\uffff")), closed(1000))
	return b.rows
}

// emptyClose: the answer to a close without a code has none, or 1000.
func emptyClose(c *client) {
	c.t.Helper()
	if got := c.next(); got != "close" && !strings.HasPrefix(got, "close 1000 ") {
		c.t.Fatalf("got %s, want a close", got)
	}
	gone()(c)
}

// closeOrderRows: the close handshake (§7.1).
func closeOrderRows() []row {
	b := &book{section: "RFC 6455 §7.1"}
	b.open("close right after opening", send(closing(1000, "")), closed(1000), ends("1000"))
	b.open("a message before the close is echoed", send(text("a"), closing(1000, "")), want(`text "a"`), closed(1000))
	b.open("64 KiB before the close are echoed", send(text(sample(65536)), closing(1000, "")), want(sayText(sample(65536))), closed(1000))
	b.open("100 messages before the close are echoed", func(c *client) {
		for range 100 {
			c.write(text("m"))
		}
		c.write(closing(1000, ""))
		for range 100 {
			want(`text "m"`)(c)
		}
	}, closed(1000))
	b.open("a ping before the close is answered", send(ping("p"), closing(1000, "")), want(`pong "p"`), closed(1000))
	b.open("text after the close is ignored", send(closing(1000, ""), text("late")), closed(1000), ends("1000"))
	b.open("a violation after the close is ignored", send(closing(1000, ""), unmasked(bitFin|opText, "late")), closed(1000), ends("1000"))
	b.open("a second close is ignored", send(closing(1000, "one"), closing(1001, "two")), closed(1000), ends("1000 one"))
	b.open("garbage after the close is ignored", send(closing(3000, ""), []byte("GET / HTTP/1.1\r\n\r\n")), closed(3000), ends("3000"))
	b.open("1 MiB after the close is ignored", send(closing(1000, "")), tail(bin(noise(1<<20))), closed(1000), ends("1000"))
	b.open("text after a violation is ignored", send(masked(bitFin|opPing, strings.Repeat("x", 126)), text("late")), fails(1002))
	b.open("close after a violation is ignored", send(masked(bitFin|3, ""), closing(1000, "")), fails(1002))
	b.open("text right behind the server's close is not echoed", send(masked(bitFin|3, "")), fails(1002), tail(text("late")))
	b.open("the close frame has the same code both ways", send(closing(4321, "private")), closed(4321), ends("4321 private"))
	b.open("close and FIN together", send(closing(1000, "")), fin(), closed(1000), ends("1000"))
	b.open("close, FIN and text before it", send(text("a"), closing(1000, "")), fin(), want(`text "a"`), closed(1000), ends("1000"))
	b.open("the handler hears the violated rule's code", send(masked(bitFin|3, "")), fails(1002), func(c *client) {
		if c.srv.inside == nil {
			return
		}
		if got := c.srv.inside.outcome(c.id); !strings.HasPrefix(got, "1002") {
			c.t.Errorf("OnClose got %q", got)
		}
	})
	return b.rows
}

// closeRaceRows: ends that cross, or do not come (§7.1.1, §7.1.5, §7.1.7).
func closeRaceRows() []row {
	b := &book{section: "RFC 6455 §7.1.5"}
	b.open("FIN without a close frame", fin(), want("eof"), ends("1006"))
	b.open("FIN after a message: its echo may be lost", send(text("a")), fin(), func(c *client) {
		got := c.next()
		if got == `text "a"` {
			got = c.next()
		}
		if got != "eof" {
			c.t.Errorf("got %s", got)
		}
	}, ends("1006"))
	b.open("reset without a close frame", func(c *client) {
		if lc, ok := c.nc.(interface{ SetLinger(int) error }); ok {
			_ = lc.SetLinger(0)
		}
		c.nc.Close()
	}, ends("1006"))
	b.open("reset while 4 MiB of echoes are on their way", func(c *client) {
		for range 64 {
			c.write(bin(noise(1 << 16)))
		}
		if lc, ok := c.nc.(interface{ SetLinger(int) error }); ok {
			_ = lc.SetLinger(0)
		}
		c.nc.Close()
	}, ends("1006"))

	b.section = "RFC 6455 §7.1.1"
	b.open("close while echoes are on their way: they come first", func(c *client) {
		big := bin(noise(1 << 18))
		for range 8 {
			c.write(big)
		}
		c.write(closing(1000, ""))
		for range 8 {
			want(sayBinary(noise(1 << 18)))(c)
		}
	}, closed(1000), ends("1000"))
	b.open("a client that never ends its side is cut off after a clean close", send(closing(1000, "")), closed(1000), cutOff)
	b.open("a client that never ends its side is cut off after a violation", send(masked(bitFin|3, "")), fails(1002), cutOff)
	b.open("a client that goes on sending after a violation is cut off", send(masked(bitFin|3, "")), fails(1002), func(c *client) {
		flood := bin(noise(1 << 16))
		start := time.Now()
		for time.Since(start) < patience {
			_ = c.nc.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.nc.Write(flood); err != nil {
				return
			}
		}
		c.t.Error("the server went on reading")
	})
	return b.rows
}

// cutOff: the server gives the socket up although we never close ours. Only a
// write can tell: it is answered by a reset.
func cutOff(c *client) {
	c.t.Helper()
	end := time.Now().Add(patience)
	beat := time.NewTicker(50 * time.Millisecond)
	defer beat.Stop()
	for range beat.C {
		_ = c.nc.SetDeadline(end)
		if _, err := io.WriteString(c.nc, "\x00"); err != nil {
			return
		}
		if time.Now().After(end) {
			c.t.Fatalf("the socket is open %v after the end", patience)
		}
	}
}
