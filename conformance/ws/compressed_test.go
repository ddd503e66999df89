package ws

import (
	"fmt"
	"strings"
)

const plainOffer = "permessage-deflate"

// squeeze adds a row on a connection that negotiated permessage-deflate.
func (b *book) squeeze(what, offers string, steps ...step) {
	r := b.bare(what, append([]step{offer(offers), negotiated}, steps...)...)
	r.deflate = true
	if sub, rest, ok := strings.Cut(what, " "); ok && strings.HasPrefix(sub, "§") {
		r.section, r.what = "RFC 7692 "+sub, rest
	}
}

// corpora are contents that compress from very well to not at all.
func corpora() []named {
	return []named{
		{"json", `{"connectionId":"Lk3_Yc2xIAMCJ9w=","stage":"dev","items":[{"id":%d,"name":"a thing","price":12.5,"tags":["x","y"]}]},`},
		{"html", `<tr class="row"><td><a href="/item/%d">A thing, number %[1]d</a></td><td>12.50</td></tr>` + "\n"},
		{"prose", "It was the best of times, it was the worst of times, it was the age number %d of wisdom.\n"},
		{"bitmap", "\x00\x00\x00\xff\xff\xff\x00\x00\x00\xff\xff\xff%d\x80\x80\x80"},
	}
}

// content is n bytes of a corpus.
func (k named) content(n int) string {
	if k.name == "noise" {
		return noise(n)
	}
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, k.bytes, i*7919)
	}
	return b.String()[:n]
}

func (k named) op() byte {
	if k.name == "bitmap" || k.name == "noise" {
		return opBinary
	}
	return opText
}

func (k named) echoed(s string) string {
	if k.op() == opBinary {
		return sayBinary(s)
	}
	return sayText(s)
}

// deflateDataRows: contents × sizes × fragments with the plain offer (RFC 7692
// §7.2).
func deflateDataRows() []row {
	b := &book{section: "RFC 7692 §7.2"}
	for _, k := range append(corpora(), named{name: "noise"}) {
		for _, n := range []int{0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
			s := k.content(n)
			b.squeeze(fmt.Sprintf("%s of %d bytes, three times", k.name, n), plainOffer,
				again(3, squeezed(k.op(), 0, s), want(k.echoed(s))), usable())
		}
		for _, size := range []int{1, 256, 1024, 4096, 32768} {
			n := 131072
			if size == 1 {
				n = 1000
			}
			s := k.content(n)
			b.squeeze(fmt.Sprintf("%s of %d bytes in fragments of %d", k.name, n, size), plainOffer, squeezed(k.op(), size, s), want(k.echoed(s)), usable())
		}
	}
	return b.rows
}

// deflateOfferRows: the same under other parameters. The client never writes with
// a window larger than agreed, and checks that the server does not either.
func deflateOfferRows() []row {
	b := &book{section: "RFC 7692 §7.1.2"}
	offers := []named{
		{"server no takeover", plainOffer + "; server_no_context_takeover"},
		{"client no takeover", plainOffer + "; client_no_context_takeover"},
		{"no takeover at all", plainOffer + "; server_no_context_takeover; client_no_context_takeover"},
		{"server bits 8", plainOffer + "; server_max_window_bits=8"},
		{"server bits 9", plainOffer + "; server_max_window_bits=9"},
		{"server bits 9, no takeover", plainOffer + "; server_max_window_bits=9; server_no_context_takeover"},
		{"server bits 12", plainOffer + "; server_max_window_bits=12"},
		{"server bits 15", plainOffer + "; server_max_window_bits=15"},
		{"client bits 9", plainOffer + "; client_max_window_bits=9"},
		{"all bits 9, no takeover", plainOffer + "; server_max_window_bits=9; client_max_window_bits=9; server_no_context_takeover; client_no_context_takeover"},
		{"fallback list", plainOffer + "; server_max_window_bits=9; client_max_window_bits=9, " + plainOffer + "; server_no_context_takeover, " + plainOffer},
	}
	for _, o := range offers {
		for _, k := range corpora() {
			for _, n := range []int{64, 4096, 65536} {
				s := k.content(n)
				b.squeeze(fmt.Sprintf("%s: %s of %d bytes, three times", o.name, k.name, n), o.bytes, again(3, squeezed(k.op(), 0, s), want(k.echoed(s))), usable())
			}
		}
		far := noise(300) + strings.Repeat("-", 9000) + noise(300)
		b.squeeze(o.name+": the same 300 bytes 9 300 bytes apart", o.bytes, squeezed(opBinary, 1000, far), want(sayBinary(far)), usable())
	}
	return b.rows
}

// deflateFrameRows: single frames, by their bytes (RFC 7692 §6, §7.2.3).
func deflateFrameRows() []row {
	b := &book{section: "RFC 7692 §7.2.3"}
	z := func(payload string) []byte { return masked(bitFin|bitRsv1|opText, payload) }
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	b.squeeze("§7.2.3.1 one block: Hello", plainOffer, send(z(hello)), want(`text "Hello"`), usable())
	b.squeeze("§7.2.3.1 in two fragments", plainOffer, send(masked(bitRsv1|opText, hello[:3]), masked(bitFin, hello[3:])), want(`text "Hello"`), usable())
	b.squeeze("§7.2.3.3 a block without compression", plainOffer, send(z("\x00\x05\x00\xfa\xffHello\x00")), want(`text "Hello"`), usable())
	b.squeeze("§7.2.3.4 a block with BFINAL set", plainOffer, send(z("\xf3\x48\xcd\xc9\xc9\x07\x00\x00")), want(`text "Hello"`), usable())
	b.squeeze("§7.2.3.4 BFINAL, and messages after it", plainOffer, send(z("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), z(hello)), want(`text "Hello"`, `text "Hello"`), usable())
	b.squeeze("§7.2.3.5 two blocks", plainOffer, send(z("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")), want(`text "Hello"`), usable())
	b.squeeze("§7.2.3.6 an empty message is one byte 00", plainOffer, send(z("\x00")), want(`text ""`), usable())
	b.squeeze("an empty stored block without its tail, twice", plainOffer, send(z("\x00"), z("\x00")), want(`text ""`, `text ""`), usable())
	b.squeeze("§7.2.3.2 the window is shared, if agreed so", plainOffer, func(c *client) {
		c.write(z(hello))
		want(`text "Hello"`)(c)
		if c.pmd.clientNoTakeover {
			return // the client has promised not to
		}
		c.write(z("\xf2\x00\x11\x00\x00"))
		want(`text "Hello"`)(c)
	}, usable())
	b.squeeze("uncompressed messages among compressed ones", plainOffer, send(text("plain"), z(hello), bin("\xff"), z(hello)), want(`text "plain"`, `text "Hello"`, `binary "\xff"`, `text "Hello"`), usable())
	b.squeeze("uncompressed fragments", plainOffer, send(masked(opText, "pl"), masked(bitFin, "ain")), want(`text "plain"`), usable())
	b.squeeze("a ping between compressed fragments", plainOffer, send(masked(bitRsv1|opText, hello[:4]), ping("p"), masked(bitFin, hello[4:])), want(`pong "p"`, `text "Hello"`), usable())
	b.squeeze("empty fragments of a compressed message", plainOffer, send(masked(bitRsv1|opText, ""), masked(0, hello), masked(bitFin, "")), want(`text "Hello"`), usable())
	b.squeeze("one byte per write", plainOffer, chop(1, z(hello)), want(`text "Hello"`), usable())
	b.squeeze("close among compressed messages", plainOffer, send(z(hello), closing(1000, "")), want(`text "Hello"`), closed(1000))

	b.section = "RFC 7692 §6"
	b.squeeze("RSV1 on a continuation", plainOffer, send(masked(bitRsv1|opText, hello[:3]), masked(bitFin|bitRsv1, hello[3:])), fails(1002))
	b.squeeze("RSV1 on a continuation of a plain message", plainOffer, send(masked(opText, "a"), masked(bitFin|bitRsv1, "b")), fails(1002))
	b.squeeze("RSV1 on a ping", plainOffer, send(masked(bitFin|bitRsv1|opPing, "p")), fails(1002))
	b.squeeze("RSV1 on a pong", plainOffer, send(masked(bitFin|bitRsv1|opPong, "p")), fails(1002))
	b.squeeze("RSV1 on a close", plainOffer, send(masked(bitFin|bitRsv1|opClose, "\x03\xe8")), fails(1002))
	for _, rsv := range []byte{0x20, 0x10, 0x30, 0x60, 0x50, 0x70} {
		b.squeeze(fmt.Sprintf("RSV bits %03b on a message", rsv>>4), plainOffer, send(masked(bitFin|rsv|opText, hello)), fails(1002))
	}
	b.squeeze("reserved opcode with RSV1", plainOffer, send(masked(bitFin|bitRsv1|3, "")), fails(1002))
	b.squeeze("unmasked compressed frame", plainOffer, send(unmasked(bitFin|bitRsv1|opText, hello)), fails(1002))
	b.bare("RSV1 after a handshake without the extension", upgrade(), send(z(hello)), fails(1002))

	b.section = "RFC 7692 §7.2.2"
	for name, bad := range map[string]string{
		"block type 3": "\x06", "stored length that does not match": "\x00\x05\x00\x00\x00Hello", "reference before the start": "\x02\x11\x00\x00",
		"code lengths that overflow": "\x04\xff\xff\xff\xff\xff\xff\xff", "bytes of noise": "\xff\xfe\xfd\xfc\xfb\xfa",
	} {
		b.squeeze("no DEFLATE: "+name, plainOffer, send(z(bad)), fails(1007, 1002, 1003))
	}
	b.squeeze("no DEFLATE in the first of two fragments", plainOffer, send(masked(bitRsv1|opText, "\x06\xff\xff"), masked(bitFin, "\xff")), fails(1007, 1002, 1003))
	b.squeeze("inflates to invalid UTF-8", plainOffer, squeezed(opText, 0, "caf\xe9"), fails(1007))
	b.squeeze("inflates to UTF-8 cut short", plainOffer, squeezed(opText, 0, "\xe2\x82"), fails(1007))
	b.squeeze("inflates to invalid UTF-8 in fragments", plainOffer, squeezed(opText, 1, "κόσμε\xed\xa0\x80edited"), fails(1007))
	b.squeeze("binary inflates to any bytes", plainOffer, squeezed(opBinary, 0, "\xe2\x82\xff"), want(sayBinary("\xe2\x82\xff")), usable())
	b.squeeze("valid after invalid is ignored", plainOffer, send(z("\x06"), z(hello)), fails(1007, 1002, 1003))
	b.squeeze("50 messages in one write", plainOffer, func(c *client) {
		var frames []byte
		for range 50 {
			frames = append(frames, z(c.pmd.compress(sample(700)))...)
		}
		c.write(frames)
		for range 50 {
			want(sayText(sample(700)))(c)
		}
	}, usable())
	return b.rows
}
