package ws

import (
	"strings"
)

// bodyRows: requests whose end two parsers could see in different places (RFC
// 9112 §6, §11.2). smuggled hides a second request in each; it must never run.
func bodyRows() []row {
	b := &book{section: "RFC 9112 §6.1"}
	b.refuses("upgrade with Content-Length: 0", hello(get, "+Content-Length: 0"), 400)
	b.refuses("upgrade with a body", hello(get, "+Content-Length: 5")+"hello", 400)
	b.refuses("upgrade with Transfer-Encoding", hello(get, "+Transfer-Encoding: chunked")+"0\r\n\r\n", 400)
	b.refuses("upgrade with both", hello(get, "+Content-Length: 5", "+Transfer-Encoding: chunked")+"0\r\n\r\n", 400)
	b.refuses("upgrade with Content-Length: 0, 0", hello(get, "+Content-Length: 0, 0"), 400)
	b.refuses("upgrade with two Content-Lengths", hello(get, "+Content-Length: 0", "+Content-Length: 7"), 400)
	b.refuses("upgrade with Content-Length: -1", hello(get, "+Content-Length: -1"), 400)
	b.refuses("upgrade with Content-Length: +0", hello(get, "+Content-Length: +0"), 400)
	b.refuses("upgrade with Transfer-Encoding: identity", hello(get, "+Transfer-Encoding: identity"), 400, 501)
	b.refuses("upgrade with Transfer-Encoding: xchunked", hello(get, "+Transfer-Encoding: xchunked"), 400, 501)
	for _, s := range smuggling() {
		r := b.bare(s.name, ask(s.bytes), s.check)
		r.section, r.inside = s.section, true
	}
	return b.rows
}

// attempt to smuggle.
type smuggle struct {
	section string
	name    string
	bytes   string
	check   step
}

// hidden is the request that must not be answered.
const hidden = "GET /smuggled-{id} HTTP/1.1\r\nHost: {host}\r\n\r\n"

// rejects: the request is refused and the connection ended.
func rejects(c *client) {
	refused(400, 501)(c)
	c.checkHidden()
}

// endsAfter: the request is refused, or answered as its Transfer-Encoding
// frames it; either way the connection ends (RFC 9112 §6.1: the server MUST close
// after such a request).
func endsAfter(c *client) {
	status(200, 400, 501)(c)
	c.patience = slack
	gone()(c)
	c.checkHidden()
}

// checkHidden: the smuggled request reached neither the HTTP handler nor the
// upgrades.
func (c *client) checkHidden() {
	for _, method := range []string{"GET", "UPGRADE", "GGET", "XGET"} {
		if _, ok := c.srv.inside.requests.Load(method + " /smuggled-" + c.id); ok {
			c.t.Errorf("the hidden %s ran", method)
		}
	}
}

func smuggling() []smuggle {
	post := func(lines ...string) string {
		return "POST /outer HTTP/1.1\r\nHost: {host}\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	chunk := "0\r\n\r\n" + hidden
	all := []smuggle{
		{"RFC 9112 §6.1", "CL.TE: Content-Length, then chunked", post("Content-Length: 6", "Transfer-Encoding: chunked") + "0\r\n\r\nG", endsAfter},
		{"RFC 9112 §6.1", "TE.CL: chunked, then Content-Length", post("Transfer-Encoding: chunked", "Content-Length: 4") + "1\r\nZ\r\n" + chunk, endsAfter},
		{"RFC 9112 §6.1", "HTTP/1.0 with Transfer-Encoding", strings.Replace(post("Transfer-Encoding: chunked"), "HTTP/1.1", "HTTP/1.0", 1) + chunk, endsAfter},
		{"RFC 9112 §6.1", "chunked is not the last coding", post("Transfer-Encoding: chunked, gzip") + chunk, rejects},
		{"RFC 9112 §6.1", "chunked twice", post("Transfer-Encoding: chunked, chunked") + chunk, rejects},
		{"RFC 9112 §6.1", "two Transfer-Encoding lines", post("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + chunk, rejects},
		{"RFC 9112 §6.1", "disguised: xchunked", post("Transfer-Encoding: xchunked") + chunk, rejects},
		{"RFC 9112 §6.1", "disguised: chunked in quotes", post(`Transfer-Encoding: "chunked"`) + chunk, rejects},
		{"RFC 9112 §6.1", "disguised: vertical tab before chunked", post("Transfer-Encoding: \x0bchunked") + chunk, rejects},
		{"RFC 9112 §6.1", "disguised: empty coding", post("Transfer-Encoding:", "Content-Length: 5") + chunk, rejects},
		{"RFC 9112 §5.1", "disguised: space before the colon of Transfer-Encoding", post("Transfer-Encoding : chunked", "Content-Length: 5") + chunk, rejects},
		{"RFC 9112 §5.2", "disguised: folded Transfer-Encoding", post("Transfer-Encoding:\r\n chunked", "Content-Length: 5") + chunk, rejectsOrFolds},
		{"RFC 9112 §6.3", "two different Content-Lengths", post("Content-Length: 0", "Content-Length: 44") + hidden, rejects},
		{"RFC 9112 §6.3", "Content-Length list of two values", post("Content-Length: 0, 44") + hidden, rejects},
		{"RFC 9112 §6.3", "Content-Length with a sign", post("Content-Length: +5") + hidden, rejects},
		{"RFC 9112 §6.3", "negative Content-Length", post("Content-Length: -1") + hidden, rejects},
		{"RFC 9112 §6.3", "Content-Length in hexadecimal", post("Content-Length: 0x05") + hidden, rejects},
		{"RFC 9112 §6.3", "Content-Length with a space inside", post("Content-Length: 1 0") + hidden, rejects},
		{"RFC 9112 §6.3", "Content-Length over 64 bits", post("Content-Length: 18446744073709551617") + hidden, rejects},
		{"RFC 9112 §6.3", "empty Content-Length", post("Content-Length:") + hidden, rejects},
		{"RFC 9112 §5.1", "POST with a space before the colon of Content-Length", post("Content-Length : 44") + hidden, rejects},
		{"RFC 9112 §2.2", "NUL in Content-Length", post("Content-Length: 4\x004") + hidden, rejects},
		{"RFC 9112 §7.1", "chunk size that is no number", post("Transfer-Encoding: chunked") + "zz\r\n" + chunk, endsAfter},
		{"RFC 9112 §7.1", "chunk size with 0x", post("Transfer-Encoding: chunked") + "0x1\r\nZ\r\n" + chunk, endsAfter},
		{"RFC 9112 §7.1", "chunk size over 64 bits", post("Transfer-Encoding: chunked") + "10000000000000001\r\nZ\r\n" + chunk, endsAfter},
		{"RFC 9112 §7.1", "chunk longer than its size", post("Transfer-Encoding: chunked") + "1\r\nZZ\r\n" + chunk, endsAfter},
		{"RFC 9112 §7.1", "bare LF after a chunk size", post("Transfer-Encoding: chunked") + "1\nZ\r\n" + chunk, endsAfterOrOnce},
		{"RFC 9112 §3.2", "POST with two Hosts", "POST /outer HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n" + hidden, rejects},
		{"RFC 9112 §3.2", "POST without Host", "POST /outer HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + hidden, rejects},
		{"RFC 6455 §4.1", "a request pipelined behind an upgrade is frames, not HTTP", hello(get) + hidden, asFrames},
		{"RFC 6455 §4.1", "a request pipelined behind a refused upgrade is dropped", hello(get, "-Sec-WebSocket-Key") + hidden, rejects},
		{"RFC 6455 §4.1", "a request pipelined behind an upgrade of another version is dropped", hello(get, "Sec-WebSocket-Version: 8") + hidden, func(c *client) {
			refused(426)(c)
			c.checkHidden()
		}},
		{"RFC 6455 §4.1", "an upgrade hidden in the body of an upgrade", hello(get, "+Content-Length: 200") + hello("GET /smuggled-{id} HTTP/1.1"), rejects},
	}
	return all
}

// asFrames: 'G' 'E' is a frame with FIN clear, RSV1 set and opcode 7.
func asFrames(c *client) {
	status(101)(c)
	fails(1002)(c)
	c.checkHidden()
}

// rejectsOrFolds: a server may replace obs-fold with spaces (§5.2), and then the
// request has both framings.
func rejectsOrFolds(c *client) { endsAfter(c) }

// endsAfterOrOnce: a recipient may take a lone LF for a line end (§2.2). Then
// the body is one chunk, the connection goes on, and what follows is a request
// in its own right.
func endsAfterOrOnce(c *client) {
	status(200, 400)(c)
	if c.last.status == 200 {
		status(200)(c)
		return
	}
	gone()(c)
	c.checkHidden()
}
