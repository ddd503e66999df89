package ws

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// headRows: heads that two parsers may read differently (RFC 9112 §2.2, §3, §5,
// §11.2). None may be upgraded.
func headRows() []row {
	b := &book{section: "RFC 9112 §2.2"}
	plain := hello(get)
	b.refuses("bare LF everywhere", strings.ReplaceAll(plain, "\r\n", "\n"), 400)
	b.refuses("bare LF in one line end", hello(get, "+X-A: b\nX-B: c"), 400)
	b.refuses("bare LF ends the head", strings.TrimSuffix(plain, "\r\n")+"\n", 400)
	b.refuses("bare LF after the request line", strings.Replace(plain, "\r\n", "\n", 1), 400)
	b.refuses("bare CR in a value", hello(get, "+X-A: b\rc"), 400)
	b.refuses("bare CR between two lines", hello(get, "+X-A: b\rX-B: c"), 400)
	b.refuses("CR CR LF", hello(get, "+X-A: b\r\r\nX-B: c"), 400)
	b.refuses("NUL in a value", hello(get, "+X-A: b\x00c"), 400)
	b.refuses("NUL in a name", hello(get, "+X\x00A: b"), 400)
	b.refuses("NUL in the target", hello("GET /a\x00b HTTP/1.1"), 400)
	b.bare("empty line before the request: skipped, or refused", ask("\r\n"+plain), status(101, 400))

	b.section = "RFC 9112 §3"
	for name, line := range map[string]string{
		"two spaces after the method": "GET  {path} HTTP/1.1", "two spaces before the version": "GET {path}  HTTP/1.1",
		"tab after the method": "GET\t{path} HTTP/1.1", "space before the method": " GET {path} HTTP/1.1",
		"trailing space": "GET {path} HTTP/1.1 ", "trailing tab": "GET {path} HTTP/1.1\t", "space in the target": "GET {path} x HTTP/1.1",
		"no target": "GET HTTP/1.1", "version in lower case": "GET {path} http/1.1", "HTTP/1.2": "GET {path} HTTP/1.2", "HTTP/11": "GET {path} HTTP/11",
		"HTTP/1.10": "GET {path} HTTP/1.10", "HTTP/1": "GET {path} HTTP/1", "HTTP/+1.1": "GET {path} HTTP/+1.1", "method with a colon": "GE:T {path} HTTP/1.1",
	} {
		b.refuses("request line: "+name, hello(line), 400, 501, 505)
	}
	b.refuses("request line without version", hello("GET {path}"), 400, 505)

	b.section = "RFC 9112 §5.1"
	b.refuses("space before the colon", hello(get, "+X-A : b"), 400)
	b.refuses("tab before the colon", hello(get, "+X-A\t: b"), 400)
	b.refuses("Content-Length with a space before the colon", hello(get, "+Content-Length : 5"), 400)
	b.refuses("Transfer-Encoding with a space before the colon", hello(get, "+Transfer-Encoding : chunked"), 400)
	b.refuses("line without a colon", hello(get, "+nocolon"), 400)
	b.refuses("empty name", hello(get, "+: value"), 400)
	b.refuses("name with a space", hello(get, "+X A: b"), 400)
	b.refuses("name with a quote", hello(get, `+X"A: b`), 400)
	b.refuses("name beyond ASCII", hello(get, "+X-\xe4: b"), 400)
	b.refuses("name with a bracket", hello(get, "+X(A): b"), 400)

	b.section = "RFC 9112 §5.2"
	b.refuses("folded with a space", hello(get, "+X-A: b\r\n folded"), 400)
	b.refuses("folded with a tab", hello(get, "+X-A: b\r\n\tfolded"), 400)
	b.refuses("folded key", hello(get, "Sec-WebSocket-Key: dGhlIHNhbXBs\r\n ZSBub25jZQ=="), 400)
	b.refuses("folded Content-Length", hello(get, "+X-A:\r\n Content-Length: 5"), 400)
	b.refuses("first line indented", strings.Replace(plain, "\r\n", "\r\n X-A: b\r\n", 1), 400)
	b.refuses("line of one space", hello(get, "+ "), 400)

	b.section = "RFC 9110 §5.5"
	for _, ch := range []byte{0x01, 0x08, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f} {
		b.refuses(fmt.Sprintf("control character %#02x in a value", ch), hello(get, "+X-A: b"+string(rune(ch))+"c"), 400)
	}
	b.upgrades("tab inside a value", hello(get, "+X-A: b\tc"))
	b.upgrades("bytes beyond ASCII in a value", hello(get, "+X-A: \xc3\xa9\xff"))
	b.upgrades("empty value", hello(get, "+X-A:"))
	b.upgrades("white space around values", hello(get, "Upgrade: \t websocket \t", "Connection:Upgrade"))
	return b.rows
}

// targetRows: Host and request target (RFC 9112 §3.2).
func targetRows() []row {
	b := &book{section: "RFC 9112 §3.2"}
	b.refuses("without Host", hello(get, "-Host"), 400)
	b.refuses("two Hosts", hello(get, "+Host: other.example"), 400)
	b.refuses("the same Host twice", hello(get, "+Host: {host}"), 400)
	b.refuses("Host with userinfo", hello(get, "Host: user@{host}"), 400)
	b.refuses("Host with a path", hello(get, "Host: {host}/x"), 400)
	b.refuses("Host with a space", hello(get, "Host: a b"), 400)
	b.refuses("Host with two values", hello(get, "Host: a, b"), 400)
	b.refuses("Host with a port that is no number", hello(get, "Host: a:http"), 400)
	b.refuses("Host with a broken IPv6 address", hello(get, "Host: [::1"), 400)
	b.upgrades("Host is an IPv6 address", hello(get, "Host: [::1]:8080")).inside = true
	b.upgrades("Host is a name with a port", hello(get, "Host: gateway.example:8080")).inside = true
	b.refuses("fragment in the target", hello("GET /a#b HTTP/1.1"), 400)
	b.refuses("target beyond ASCII", hello("GET /caf\xc3\xa9 HTTP/1.1"), 400)
	b.refuses("malformed escape", hello("GET /a%zz HTTP/1.1"), 400).inside = true
	b.refuses("escape cut short", hello("GET /a%4 HTTP/1.1"), 400).inside = true
	b.refuses("escaped CR LF", hello("GET /a%0d%0aX:%20y HTTP/1.1"), 400).inside = true
	b.refuses("escaped NUL", hello("GET /a%00 HTTP/1.1"), 400).inside = true
	b.refuses("control character in the target", hello("GET /a\x01 HTTP/1.1"), 400)
	b.refuses("relative target", hello("GET echo HTTP/1.1"), 400)
	b.refuses("asterisk-form with GET", hello("GET * HTTP/1.1"), 400)
	b.refuses("authority-form with GET", hello("GET {host} HTTP/1.1"), 400)
	b.bare("query", ask(hello("GET /a?b=c&d=%20e HTTP/1.1")), status(101), says("X-Query", "b=c&d=%20e"), usable()).inside = true
	b.bare("empty query", ask(hello("GET /a? HTTP/1.1")), status(101), says("X-Path", "/a"), usable()).inside = true
	b.bare("escapes in the path", ask(hello("GET /%65cho/%2F HTTP/1.1")), status(101), usable()).inside = true

	b.section = "RFC 9112 §3.2.2"
	b.upgrades("absolute-form with the same host", hello("GET http://{host}{path} HTTP/1.1"))
	b.bare("absolute-form with another host: the target's counts", ask(hello("GET http://other.example/x HTTP/1.1")), status(101), says("X-Host", "other.example"), usable()).inside = true
	b.bare("absolute-form ws", ask(hello("GET ws://other.example:81/x HTTP/1.1")), status(101), says("X-Host", "other.example:81"), usable()).inside = true
	b.bare("absolute-form without a path", ask(hello("GET http://other.example HTTP/1.1")), status(101), says("X-Path", "/"), usable()).inside = true
	b.bare("absolute-form with a query only", ask(hello("GET http://other.example?a=b HTTP/1.1")), status(101), says("X-Query", "a=b"), usable()).inside = true
	b.refuses("absolute-form without a host", hello("GET http:///x HTTP/1.1"), 400)
	b.refuses("absolute-form with userinfo", hello("GET http://u:p@{host}/ HTTP/1.1"), 400)
	b.refuses("absolute-form with two Hosts", hello("GET http://{host}{path} HTTP/1.1", "+Host: other.example"), 400)
	b.refuses("absolute-form without Host line", hello("GET http://{host}{path} HTTP/1.1", "-Host"), 400)
	b.refuses("another scheme", hello("GET ftp://{host}{path} HTTP/1.1"), 400)
	return b.rows
}

// boundRows: a head is bounded; the RFCs leave the bounds to the server (RFC
// 9112 §3, RFC 6585 §5).
func boundRows() []row {
	b := &book{section: "RFC 9112 §3"}
	b.upgrades("header line of 8 KB", hello(get, "+X-A: "+strings.Repeat("h", 8000)))
	b.upgrades("target of 4 000 characters", hello("GET {path}?"+strings.Repeat("q", 3990)+" HTTP/1.1"))
	b.bare("target of 64 KB", ask("GET /"+strings.Repeat("p", 64<<10)), refused(414, 400, 431))
	b.section = "RFC 6585 §5"
	b.upgrades("40 header lines", hello(get, manyLines(40)...))
	b.bare("header line of 64 KB", ask(get+"\r\nX-A: "+strings.Repeat("h", 64<<10)), refused(431, 400))
	b.bare("head of 1 MiB that never ends", ask(get+"\r\n"), tail([]byte(strings.Repeat("X-Flood: 0123456789abcdef\r\n", 40_000))), refused(431, 400))
	b.bare("10 000 header lines", ask(get+"\r\n"), tail([]byte(strings.Join(manyLines(10_000), "\r\n")+"\r\n\r\n")), refused(431, 400))
	b.refuses("1 000 short header lines", hello(get, shortLines(1000)...), 431, 400)
	return b.rows
}

func manyLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("+X-Line-%d: value", i)
	}
	return lines
}

func shortLines(n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = "+a:"
	}
	return lines
}

// lateRows: an upgrade that is not the first request of its connection.
func lateRows() []row {
	b := &book{section: "RFC 9112 §9.3"}
	first := "GET /first HTTP/1.1\r\nHost: {host}\r\n\r\n"
	post := "POST /first HTTP/1.1\r\nHost: {host}\r\nContent-Length: 7\r\n\r\nGET x\n "
	chunked := "POST /first HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n"
	for name, before := range map[string]string{"a GET": first, "a POST with a body": post, "a chunked POST": chunked} {
		late := func(what, head string, steps ...step) {
			b.bare(what+" after "+name, append([]step{ask(before), status(200), ask(head)}, steps...)...).inside = true
		}
		late("upgrade", hello(get), status(101), usable())
		late("upgrade without key", hello(get, "-Sec-WebSocket-Key"), refused(400))
		late("upgrade of version 8", hello(get, "Sec-WebSocket-Version: 8"), refused(426))
		late("upgrade with Content-Length", hello(get, "+Content-Length: 3")+"abc", refused(400))
		late("upgrade with a folded line", hello(get, "+X-A: b\r\n folded"), refused(400))
		late("upgrade with bare LF", strings.ReplaceAll(hello(get), "\r\n", "\n"), refused(400))
		late("upgrade with a space before a colon", hello(get, "+X-A : b"), refused(400))
	}
	b.bare("another request after a response", ask(first), status(200), ask(first), status(200)).inside = true
	b.bare("a frame right behind a late upgrade", ask(first), status(200), func(c *client) {
		c.write(append([]byte(c.fill(hello(get))), text("early")...))
	}, status(101), want(`text "early"`), usable()).inside = true
	return b.rows
}

// secureRows: the same port over TLS, and what it says of RFC 8441.
func secureRows() []row {
	b := &book{section: "RFC 6455 §4.1"}
	b.bare("wss: handshake, echo and close over TLS", secure("http/1.1"), upgrade(), send(text("over TLS"), ping("p")), want(`text "over TLS"`, `pong "p"`), usable()).inside = true
	b.bare("wss: without ALPN", secure(), upgrade(), usable()).inside = true
	b.bare("wss: 1 MiB message", secure("http/1.1"), upgrade(), send(text(strings.Repeat("s", 1<<20))), want(sayText(strings.Repeat("s", 1<<20))), usable()).inside = true
	b.bare("wss: violation", secure("http/1.1"), upgrade(), send(unmasked(bitFin|opText, "x")), fails(1002)).inside = true
	b.bare("TLS 1.1 is refused", func(c *client) {
		err := tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}).Handshake()
		if err == nil {
			c.t.Error("TLS 1.1 was spoken")
		}
	}).inside = true
	b.section = "RFC 8441 §3"
	b.bare("SETTINGS_ENABLE_CONNECT_PROTOCOL is not sent while WebSockets over HTTP/2 are not served", secure("h2"), func(c *client) {
		c.write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"))
		c.extend()
		var h [9]byte
		if _, err := io.ReadFull(c.r, h[:]); err != nil || h[3] != 4 {
			c.t.Fatalf("no SETTINGS frame: %x %v", h, err)
		}
		body := make([]byte, int(h[0])<<16|int(h[1])<<8|int(h[2]))
		if _, err := io.ReadFull(c.r, body); err != nil {
			c.t.Fatal(err)
		}
		for ; len(body) >= 6; body = body[6:] {
			if binary.BigEndian.Uint16(body) == 8 && binary.BigEndian.Uint32(body[2:]) != 0 {
				c.t.Error("extended CONNECT is announced")
			}
		}
	}).inside = true
	b.bare("HTTP/2 with prior knowledge on the plain port is no WebSocket", ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), notUpgraded())
	return b.rows
}

// secure starts TLS on the connection.
func secure(protos ...string) step {
	return func(c *client) {
		c.t.Helper()
		tc := tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true, NextProtos: protos})
		if err := tc.Handshake(); err != nil {
			c.t.Fatalf("TLS: %v", err)
		}
		c.nc = tc
		c.r.Reset(tc)
	}
}
