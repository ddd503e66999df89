package ws

import (
	"fmt"
)

// largeRows: messages from 64 KiB to 16 MiB, whole, in fragments, in pieces (RFC
// 6455 §5.2, §5.4).
func largeRows() []row {
	b := &book{section: "RFC 6455 §5.2"}
	for _, k := range []int{64, 256, 1 << 10, 4 << 10, 8 << 10, 16 << 10} {
		b.open(fmt.Sprintf("text message of %d KiB", k), func(c *client) { c.echoes(opText, k<<10, 0) }, usable())
		b.open(fmt.Sprintf("binary message of %d KiB", k), func(c *client) { c.echoes(opBinary, k<<10, 0) }, usable())
	}
	for _, n := range []int{64, 128, 256, 512, 1024, 2048} {
		b.open(fmt.Sprintf("text message of 1 MiB, %d bytes per write", n), func(c *client) { chop(n, text(sample(1<<20)))(c); want(sayText(sample(1 << 20)))(c) }, usable())
		b.open(fmt.Sprintf("binary message of 1 MiB, %d bytes per write", n), func(c *client) { chop(n, bin(noise(1<<20)))(c); want(sayBinary(noise(1 << 20)))(c) }, usable())
	}
	b.section = "RFC 6455 §5.4"
	for _, n := range []int{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} {
		b.open(fmt.Sprintf("text message of 4 MiB in fragments of %d bytes", n), func(c *client) { c.echoes(opText, 4<<20, n) }, usable())
		b.open(fmt.Sprintf("binary message of 4 MiB in fragments of %d bytes", n), func(c *client) { c.echoes(opBinary, 4<<20, n) }, usable())
	}
	return b.rows
}

// echoes sends n bytes, whole or in fragments, and expects them back.
func (c *client) echoes(op byte, n, fragment int) {
	c.t.Helper()
	payload, expected := sample, sayText
	if op == opBinary {
		payload, expected = noise, sayBinary
	}
	s := payload(n)
	if fragment == 0 {
		fragment = n
	}
	send(fragments(op, s, fragment)...)(c)
	want(expected(s))(c)
}

// manyRows: 1000 messages, each sent when the one before came back.
func manyRows() []row {
	b := &book{section: "RFC 6455 §5.6"}
	for _, n := range []int{0, 16, 64, 256, 1024, 4096, 16384, 65536} {
		times := 1000
		if n > 4096 {
			times = 200
		}
		s, z := sample(n), noise(n)
		b.open(fmt.Sprintf("%d round trips of text of %d bytes", times, n), again(times, send(text(s)), want(sayText(s))), usable())
		b.open(fmt.Sprintf("%d round trips of binary of %d bytes", times, n), again(times, send(bin(z)), want(sayBinary(z))), usable())
	}
	return b.rows
}

func again(times int, steps ...step) step {
	return func(c *client) {
		c.t.Helper()
		for range times {
			for _, do := range steps {
				do(c)
			}
		}
	}
}
