package ws

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/conn"
)

// limited is a server for strangers: messages of 1 MiB.
func limited(s *setup) { s.Limits = conn.Limits{Message: 1 << 20} }

// bomb is a compressed message of n MiB of zeros, about 1 KiB each.
func bomb(t testing.TB, n int) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	// A flush ends on a byte, and zeros go on after zeros: the pieces can be strung
	// together.
	return strings.TrimSuffix(strings.Repeat(b.String(), n), "\x00\x00\xff\xff")
}

// S1: a small frame must not become a large message.
func TestS1DeflateBombs(t *testing.T) {
	giant, small := bomb(t, 1024), bomb(t, 64)
	detonate := func(n int, frames ...[]byte) func(a *assault) {
		return func(a *assault) {
			all := a.crowd(1, true, "+Sec-WebSocket-Extensions: "+plainOffer)
			if all[0].last.get("Sec-WebSocket-Extensions") == "" {
				a.Skip("the server declines permessage-deflate: there is nothing to inflate")
			}
			all = append(all, a.crowd(n-1, true, "+Sec-WebSocket-Extensions: "+plainOffer)...)
			each(all, func(c *client) {
				go c.attempt(join(frames...))
				if last, _ := c.words(); !strings.HasPrefix(last, "close 1009 ") && !strings.HasPrefix(last, "close 1008 ") {
					c.t.Errorf("a bomb ended with %q", last)
				}
			})
			a.unharmed(10)
			a.peaked(uint64(n)*3*mib + 64*mib) // the limit, doubled while growing, and codecs
			each(all, func(c *client) { c.nc.Close() })
			a.holds(8 * mib)
		}
	}
	z := byte(bitFin | bitRsv1 | opBinary)
	attack(t, "S1", "1 MiB that inflates to 1 GiB, 20 at once", limited, detonate(20, masked(z, giant)))
	attack(t, "S1", "64 KiB that inflate to 64 MiB, 100 at once", limited, detonate(100, masked(z, small)))
	attack(t, "S1", "a bomb in fragments of 512 bytes, 50 at once", limited, detonate(50, fragments(bitRsv1|opBinary, small, 512)...))
	attack(t, "S1", "a bomb of text in fragments of 4 KiB, 20 at once", limited, detonate(20, fragments(bitRsv1|opText, small, 4096)...))
}

// S2: a length is a claim, not a size.
func TestS2Lengths(t *testing.T) {
	attack(t, "S2", "200 frames that announce 2^63-1 bytes", nil, func(a *assault) {
		all := a.crowd(200, true)
		each(all, func(c *client) {
			c.write(join(announced(bitFin|opBinary, 64, 1<<63-1), []byte(noise(1000))))
			c.write([]byte(noise(1000)))
		})
		a.unharmed(20)
		a.holds(200 * 64 << 10)
	})
	attack(t, "S2", "200 fragmented messages whose sum overflows 64 bits", nil, func(a *assault) {
		all := a.crowd(200, true)
		each(all, func(c *client) {
			c.write(join(masked(opBinary, noise(1000)), announced(bitFin|opContinuation, 64, 1<<63-1), []byte(noise(1000))))
		})
		a.unharmed(20)
		a.holds(200 * 64 << 10)
	})
	attack(t, "S2", "the same against a limit: 1009 at the header", limited, func(a *assault) {
		each(a.crowd(100, true), func(c *client) {
			c.write(join(masked(opBinary, noise(1000)), announced(bitFin|opContinuation, 64, 1<<63-1)))
			fails(1009)(c)
		})
		a.holds(8 * mib)
	})
	attack(t, "S2", "one byte over the limit: 1009 at the header", limited, func(a *assault) {
		each(a.crowd(100, true), func(c *client) {
			c.write(announced(bitFin|opText, 64, 1<<20+1))
			fails(1009)(c)
		})
	})
	attack(t, "S2", "negative and padded lengths", nil, func(a *assault) {
		for i, h := range [][]byte{
			announced(bitFin|opBinary, 64, 1<<63), announced(bitFin|opBinary, 64, 1<<64-1), announced(bitFin|opBinary, 64, 1<<63|5),
			announced(bitFin|opBinary, 64, 5), announced(bitFin|opBinary, 64, 0xffff), announced(bitFin|opBinary, 16, 125), announced(opContinuation, 64, 1<<63),
		} {
			each(a.crowd(30, true), func(c *client) {
				c.write(h)
				if last, _ := c.words(); !strings.HasPrefix(last, "close 1002 ") {
					c.t.Errorf("header %d ended with %q", i, last)
				}
			})
		}
		a.unharmed(20)
		a.holds(8 * mib)
	})
}

// S3: what a message costs follows its bytes, not its frames.
func TestS3TinyFragments(t *testing.T) {
	const million = 1_000_000
	for name, payload := range map[string]string{"one byte": "x", "no byte": ""} {
		for kind, op := range map[string]byte{"text": opText, "binary": opBinary} {
			attack(t, "S3", fmt.Sprintf("a million %s fragments of %s, 4 at once", kind, name), nil, func(a *assault) {
				all := a.crowd(4, true)
				batch := bytes.Repeat(masked(opContinuation, payload), 1000)
				each(all, func(c *client) {
					stopped := make(chan struct{})
					go func() {
						defer close(stopped)
						c.attempt(masked(op, payload))
						for range million / 1000 {
							if _, err := c.nc.Write(batch); err != nil {
								return
							}
						}
						c.attempt(masked(bitFin|opContinuation, payload))
					}()
					last, _ := c.words()
					if !strings.HasPrefix(last, "close 1008 ") && !strings.HasPrefix(last, "close 1009 ") {
						c.t.Errorf("ended with %q", last)
					}
					c.nc.Close()
					<-stopped
				})
				a.unharmed(20)
				a.peaked(48 * mib)
				a.holds(8 * mib)
			})
		}
	}
	attack(t, "S3", "500 bytes in one-byte writes on 100 connections", nil, func(a *assault) {
		all := a.crowd(100, true)
		f := bin(noise(500))
		for i := range f {
			for _, c := range all {
				c.write(f[i : i+1])
			}
		}
		each(all, func(c *client) {
			if got := c.next(); got != sayBinary(noise(500)) {
				c.t.Errorf("got %s", got)
			}
		})
		a.holds(100 * 64 << 10)
	})
	attack(t, "S3", "fragments of 40 bytes cost no more than their bytes, 4 MiB on 4 connections", nil, func(a *assault) {
		s := noise(4 << 20)
		frames := join(fragments(opBinary, s, 40)...)
		each(a.crowd(4, true), func(c *client) {
			c.attempt(frames)
			if got := c.next(); got != sayBinary(s) {
				c.t.Errorf("got %s", got)
			}
		})
	})
}

// S4: control frames cost the sender more than the server.
func TestS4ControlFloods(t *testing.T) {
	flood := func(what string, frame []byte, reads bool) {
		attack(t, "S4", what, nil, func(a *assault) {
			all := a.crowd(4, true)
			batch := bytes.Repeat(frame, 1000)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				each(all, func(c *client) {
					if reads {
						go c.words()
					}
					c.extend()
					for range 100 { // 1e5 frames
						if _, err := c.nc.Write(batch); err != nil {
							return // refused: as good as bounded
						}
					}
				})
			}()
			a.unharmed(50)
			<-sent
			a.unharmed(20)
			a.peaked(48 * mib)
			a.holds(8 * mib)
		})
	}
	flood("100 000 empty pings, answers read, 4 at once", ping(""), true)
	flood("100 000 pings of 125 bytes, answers read, 4 at once", ping(noise(125)), true)
	flood("100 000 pings of 125 bytes, no answer read, 4 at once", ping(noise(125)), false)
	flood("100 000 pongs, 4 at once", pong("x"), true)

	attack(t, "S4", "900 pings behind 8 MiB of unread echoes, 10 at once", nil, func(a *assault) {
		all := a.crowd(10, true)
		each(all, func(c *client) {
			c.write(bytes.Repeat(bin(noise(1<<20)), 8))
			c.write(append(bytes.Repeat(ping(noise(125)), 899), ping("the last")...))
		})
		a.unharmed(20)
		a.holds(10*8*mib + 32*mib)  // the echoes, and one message under way on each
		each(all, func(c *client) { // who reads at last gets the echoes and the latest pong
			echoes, last := 0, false
			for echoes < 8 || !last {
				switch got := c.next(); {
				case got == sayBinary(noise(1<<20)):
					echoes++
				case strings.HasPrefix(got, "pong "):
					last = got == `pong "the last"`
				default:
					c.t.Errorf("after %d echoes: %s", echoes, got)
					return
				}
			}
		})
	})
}

// S7: every broken rule ends the connection, also when it comes byte by byte, and
// leaves nothing behind.
func TestS7Violations(t *testing.T) {
	for _, v := range []struct {
		what  string
		code  int
		bytes []byte
	}{
		{"unmasked", 1002, unmasked(bitFin|opText, "x")[:2]},
		{"RSV1", 1002, masked(bitFin|0x40|opText, "x")[:2]},
		{"RSV2", 1002, masked(bitFin|0x20|opText, "x")[:2]},
		{"RSV3", 1002, masked(bitFin|0x10|opText, "x")[:2]},
		{"reserved opcode", 1002, masked(bitFin|7, "x")[:2]},
		{"invalid UTF-8", 1007, announcedText("κόσμε\xf4\x90")},
		{"surrogate", 1007, announcedText("\xed\xa0")},
		{"overlong", 1007, announcedText("\xc0")},
		{"nested message", 1002, join(masked(opText, "a"), masked(opText, "")[:6])},
	} {
		attack(t, "S7", v.what+", one byte per write, 50 at once", nil, func(a *assault) {
			all := a.crowd(50, true)
			for i := range v.bytes {
				for _, c := range all {
					c.write(v.bytes[i : i+1])
				}
			}
			each(all, func(c *client) {
				last, end := c.words()
				if !strings.HasPrefix(last, fmt.Sprintf("close %d ", v.code)) || end != "eof" {
					c.t.Errorf("ended with %q, %s", last, end)
				}
				c.nc.Close()
				if got := a.srv.inside.outcome(c.id); !strings.HasPrefix(got, fmt.Sprint(v.code)) {
					c.t.Errorf("OnClose got %q", got)
				}
			})
			a.holds(4 * mib)
		})
	}
}

// announcedText is the start of a text frame of 4000 bytes.
func announcedText(s string) []byte {
	return join(announced(bitFin|opText, 16, 4000), masked(bitFin|opText, s)[6:])
}
