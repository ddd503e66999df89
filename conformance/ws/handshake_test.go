package ws

import (
	"fmt"
	"strings"
)

// upgrades is a row whose handshake must work, followed by an echo.
func (b *book) upgrades(what, head string) *row {
	return b.bare(what, ask(head), status(101), usable())
}

// refuses is a row whose handshake must be answered with one of codes, and the
// connection ended: whatever follows cannot be trusted to start at a boundary.
func (b *book) refuses(what, head string, codes ...int) *row {
	return b.bare(what, ask(head), refused(codes...))
}

// ignores is a row that asks for no WebSocket: the answer is HTTP's business.
func (b *book) ignores(what, head string) *row {
	return b.bare(what, ask(head), notUpgraded())
}

// requestRows: what RFC 6455 §4.1 and §4.2.1 demand of the client's handshake.
func requestRows() []row {
	b := &book{section: "RFC 6455 §4.2.1"}
	b.upgrades("plain handshake", hello(get))
	b.upgrades("Upgrade token in mixed case", hello(get, "Upgrade: WebSocket"))
	b.upgrades("Upgrade token in upper case", hello(get, "Upgrade: WEBSOCKET"))
	b.upgrades("Connection token in lower case", hello(get, "Connection: upgrade"))
	b.upgrades("Connection token in upper case", hello(get, "Connection: UPGRADE"))
	b.upgrades("Connection: keep-alive, Upgrade", hello(get, "Connection: keep-alive, Upgrade"))
	b.upgrades("Connection: Upgrade, keep-alive", hello(get, "Connection: Upgrade, keep-alive"))
	b.upgrades("Connection list without spaces", hello(get, "Connection: a,Upgrade,b"))
	b.upgrades("Connection list with empty elements", hello(get, "Connection: ,, Upgrade ,"))
	b.upgrades("Connection over two lines", hello(get, "Connection: keep-alive", "+Connection: Upgrade"))
	b.upgrades("Upgrade among other protocols", hello(get, "Upgrade: h2c, websocket"))
	b.upgrades("names of fields in upper case", strings.NewReplacer("Sec-WebSocket-", "SEC-WEBSOCKET-", "Upgrade:", "UPGRADE:", "Connection:", "CONNECTION:", "Host:", "HOST:").Replace(hello(get)))
	b.upgrades("names of fields in lower case", strings.NewReplacer("Sec-WebSocket-", "sec-websocket-", "Upgrade:", "upgrade:", "Connection:", "connection:", "Host:", "host:").Replace(hello(get)))
	b.upgrades("fields in another order", get+"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "+sampleKey+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nHost: {host}\r\n\r\n")
	b.upgrades("Origin given", hello(get, "+Origin: http://{host}"))
	b.upgrades("unknown fields are ignored", hello(get, "+X-Unknown: a", "+Sec-WebSocket-Future: b", "+DNT: 1"))
	b.upgrades("cookies", hello(get, "+Cookie: a=b; c=d", "+Cookie: e=f"))
	b.upgrades("user agent of 120 bytes", hello(get, "+User-Agent: "+strings.Repeat("u", 120)))
	b.bare("head one byte at a time", func(c *client) { chop(1, []byte(c.fill(hello(get))))(c) }, status(101), usable())
	b.bare("head in two writes, cut inside the last line end", func(c *client) {
		head := []byte(c.fill(hello(get)))
		sendEach([][]byte{head[:len(head)-1], head[len(head)-1:]})(c)
	}, status(101), usable())

	b.ignores("without Upgrade", hello(get, "-Upgrade"))
	b.ignores("empty Upgrade", hello(get, "Upgrade:"))
	b.ignores("Upgrade: websocket2", hello(get, "Upgrade: websocket2"))
	b.ignores("Upgrade: web socket", hello(get, "Upgrade: web socket"))
	b.ignores("Upgrade: h2c", hello(get, "Upgrade: h2c"))
	b.ignores("without Connection", hello(get, "-Connection"))
	b.ignores("Connection: keep-alive", hello(get, "Connection: keep-alive"))
	b.ignores("Connection: upgraded", hello(get, "Connection: upgraded"))
	b.ignores("Connection: close", hello(get, "Connection: close"))
	for _, method := range []string{"POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "get", "FOO"} {
		b.ignores("method "+method, hello(method+" {path} HTTP/1.1"))
	}
	b.ignores("HTTP/1.0", hello("GET {path} HTTP/1.0"))
	b.refuses("HTTP/2.0 in the request line", hello("GET {path} HTTP/2.0"), 400, 505)
	b.refuses("HTTP/0.9", hello("GET {path} HTTP/0.9"), 400, 505)

	b.refuses("without key", hello(get, "-Sec-WebSocket-Key"), 400)
	b.refuses("empty key", hello(get, "Sec-WebSocket-Key:"), 400)
	b.refuses("two different keys", hello(get, "+Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400)
	b.refuses("the same key twice", hello(get, "+Sec-WebSocket-Key: "+sampleKey), 400)
	b.refuses("two keys in one line", hello(get, "Sec-WebSocket-Key: "+sampleKey+", "+sampleKey), 400)
	for name, key := range map[string]string{
		"key of 15 bytes": "AAAAAAAAAAAAAAAAAAAA", "key of 17 bytes": "AAAAAAAAAAAAAAAAAAAAAAA=",
		"key of 32 bytes": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "key without padding": "dGhlIHNhbXBsZSBub25jZQ",
		"key with one padding character": "dGhlIHNhbXBsZSBub25jZQ=", "key in base64url": "__________________8-Aw==",
		"key that is no base64": "!!!!!!!!!!!!!!!!!!!!!!==", "key with a space inside": "dGhlIHNhbXBs ZSBub25jZQ==", "key in quotes": `"` + sampleKey + `"`,
	} {
		b.refuses(name, hello(get, "Sec-WebSocket-Key: "+key), 400)
	}

	b.section = "RFC 6455 §4.4"
	for _, v := range []string{"0", "7", "8", "12", "14", "130", "013", "0x0d", "13.0", "-13", "13, 8", "8, 13", "thirteen"} {
		b.bare("version "+v, ask(hello(get, "Sec-WebSocket-Version: "+v)), refused(426, 400), sayVersion)
	}
	b.bare("without version", ask(hello(get, "-Sec-WebSocket-Version")), refused(426, 400), sayVersion)
	b.bare("empty version", ask(hello(get, "Sec-WebSocket-Version:")), refused(426, 400), sayVersion)
	b.bare("version 8 is told 13", ask(hello(get, "Sec-WebSocket-Version: 8")), refused(426), says("Sec-WebSocket-Version", "13"))
	b.refuses("two versions in two lines", hello(get, "+Sec-WebSocket-Version: 8"), 400, 426)
	return b.rows
}

// sayVersion: a 426 names the version that is spoken (§4.2.2 item 4, §4.4).
func sayVersion(c *client) {
	if c.last.status == 426 {
		says("Sec-WebSocket-Version", "13")(c)
	}
}

// answerRows: what §4.2.2 and §9.1 demand of the server's answer.
func answerRows() []row {
	b := &book{section: "RFC 6455 §4.2.2"}
	b.bare("accept value of the RFC's example", upgrade(), says("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), usable())
	b.open("no subprotocol unless offered", says("Sec-WebSocket-Protocol", ""), usable())
	b.open("no extension unless offered", says("Sec-WebSocket-Extensions", ""), usable())
	b.open("the 101 carries no body", send(text("a")), want(`text "a"`), usable())
	b.open("Date of the 101 is an HTTP date", func(c *client) {
		if d := c.last.get("Date"); d != "" && !strings.HasSuffix(d, " GMT") {
			c.t.Errorf("Date %q", d)
		}
	}, usable())
	for _, offer := range []string{"chat", "chat, superchat", "chat,superchat", " chat , superchat ", "a!#$%&'*+-.^_`|~b", strings.Repeat("p", 255)} {
		b.bare(fmt.Sprintf("subprotocols %.24q: one of them, or none", offer), upgrade("+Sec-WebSocket-Protocol: "+offer), oneOf(offer), usable())
	}
	b.bare("subprotocols over two lines", upgrade("+Sec-WebSocket-Protocol: chat", "+Sec-WebSocket-Protocol: superchat"), oneOf("chat, superchat"), usable())
	b.bare("subprotocols keep their case", upgrade("+Sec-WebSocket-Protocol: ChAt"), oneOf("ChAt"), usable())

	b.section = "RFC 6455 §9.1"
	for _, offer := range []string{"x-unknown", "x-unknown; a=1", `x-unknown; a="quoted"`, "x-a, x-b; c", "permessage-bzip2", "permessage-deflat", "permessage-deflate2"} {
		b.bare(fmt.Sprintf("unknown extension %q is declined", offer), upgrade("+Sec-WebSocket-Extensions: "+offer), says("Sec-WebSocket-Extensions", ""), usable())
	}
	for name, value := range map[string]string{
		"empty parameter name": "permessage-deflate; =5", "parameter without value after =": "permessage-deflate; server_max_window_bits=",
		"quote without end": `permessage-deflate; server_max_window_bits="10`, "name that is no token": "perm(essage)-deflate",
		"semicolon only": "permessage-deflate;", "quoted value that is no token": `permessage-deflate; server_max_window_bits="1 0"`,
	} {
		b.refuses("malformed extension list fails the handshake: "+name, hello(get, "+Sec-WebSocket-Extensions: "+value), 400)
	}

	b.section = "RFC 6455 §4.1"
	b.bare("frames right behind the head", func(c *client) {
		c.write(append([]byte(c.fill(hello(get))), join(text("early"), ping("bird"))...))
	}, status(101), want(`text "early"`, `pong "bird"`), usable())
	b.bare("half a frame right behind the head", func(c *client) {
		f := text("in two halves")
		sendEach([][]byte{append([]byte(c.fill(hello(get))), f[:7]...), f[7:]})(c)
	}, status(101), want(`text "in two halves"`), usable())
	b.bare("close right behind the head", func(c *client) {
		c.write(append([]byte(c.fill(hello(get))), closing(1000, "at once")...))
	}, status(101), closed(1000), ends("1000 at once"))
	b.bare("violation right behind the head", func(c *client) {
		c.write(append([]byte(c.fill(hello(get))), unmasked(bitFin|opText, "x")...))
	}, status(101), fails(1002))
	b.bare("TCP ends within the head", ask("GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgr"), fin(), notUpgraded())
	b.bare("TCP ends right behind the head: the 101 may be lost", ask(hello(get)), fin(), func(c *client) {
		if _, err := c.response(); err != nil && ending(err) != "eof" {
			c.t.Errorf("got %v", err)
		}
	})
	b.bare("TCP ends without a byte", fin(), notUpgraded())
	return b.rows
}

// oneOf: the server's subprotocol is none, or exactly one of the client's.
func oneOf(offer string) step {
	return func(c *client) {
		got, present := c.last.headers["sec-websocket-protocol"]
		if !present {
			return
		}
		for item := range strings.SplitSeq(offer, ",") {
			if len(got) == 1 && got[0] == strings.TrimSpace(item) {
				return
			}
		}
		c.t.Errorf("Sec-WebSocket-Protocol: %q, offered %q", got, offer)
	}
}
