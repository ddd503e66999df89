package ws

import (
	"fmt"
	"strings"
	"testing"
)

// negotiationRows: RFC 7692 §5 and §7.1. A server may decline any offer; an
// answer it gives must fit one of the valid offers.
func negotiationRows() []row {
	b := &book{section: "RFC 7692 §7.1"}
	legal := func(what, offers string) {
		b.bare(what, offer(offers), roundTrips, usable())
	}
	declined := func(what, offers string) {
		b.bare("must be declined: "+what, upgrade("+Sec-WebSocket-Extensions: "+offers), says("Sec-WebSocket-Extensions", ""), usable())
	}
	const pmd = "permessage-deflate"
	legal("plain offer", pmd)
	legal("offer of a browser: client_max_window_bits without a value", pmd+"; client_max_window_bits")
	legal("server_no_context_takeover", pmd+"; server_no_context_takeover")
	legal("client_no_context_takeover", pmd+"; client_no_context_takeover")
	legal("both no_context_takeover", pmd+"; server_no_context_takeover; client_no_context_takeover")
	for bits := 8; bits <= 15; bits++ {
		legal(fmt.Sprintf("server_max_window_bits=%d", bits), fmt.Sprintf("%s; server_max_window_bits=%d", pmd, bits))
		legal(fmt.Sprintf("client_max_window_bits=%d", bits), fmt.Sprintf("%s; client_max_window_bits=%d", pmd, bits))
		legal(fmt.Sprintf("both window bits %d, no takeover", bits), fmt.Sprintf("%s; server_max_window_bits=%d; client_max_window_bits=%d; server_no_context_takeover; client_no_context_takeover", pmd, bits, bits))
	}
	legal("quoted value", pmd+`; server_max_window_bits="10"`)
	legal("no spaces", pmd+";server_no_context_takeover;client_max_window_bits")
	legal("much white space", " \t"+pmd+"  ;\t server_no_context_takeover ;  client_max_window_bits \t")
	legal("a fallback list: the narrow offer first", pmd+"; server_max_window_bits=9, "+pmd+"; server_no_context_takeover, "+pmd)
	legal("the same offer twice", pmd+", "+pmd)
	legal("another extension first", "x-unknown; a=1, "+pmd)
	legal("another extension last", pmd+", x-unknown")
	legal("an invalid offer, then a valid one", pmd+"; unknown_parameter, "+pmd+"; client_no_context_takeover")
	legal("an impossible offer, then a valid one", pmd+"; server_max_window_bits=7, "+pmd)
	b.bare("offers over two lines", upgrade("+Sec-WebSocket-Extensions: "+pmd+"; server_max_window_bits=10", "+Sec-WebSocket-Extensions: "+pmd), func(c *client) {
		pm, err := agree(pmd+"; server_max_window_bits=10, "+pmd, c.last.get("Sec-WebSocket-Extensions"))
		if err != nil {
			c.t.Fatal(err)
		}
		c.pmd = pm
	}, roundTrips, usable())

	b.section = "RFC 7692 §7.1.1"
	declined("unknown parameter", pmd+"; unknown_parameter")
	declined("unknown parameter with a value", pmd+"; unknown_parameter=1")
	declined("unknown among known", pmd+"; server_no_context_takeover; mystery")
	declined("server_no_context_takeover twice", pmd+"; server_no_context_takeover; server_no_context_takeover")
	declined("client_no_context_takeover twice", pmd+"; client_no_context_takeover; client_no_context_takeover")
	declined("server_no_context_takeover with a value", pmd+"; server_no_context_takeover=1")
	declined("client_no_context_takeover with a value", pmd+"; client_no_context_takeover=true")
	b.section = "RFC 7692 §7.1.2"
	declined("server_max_window_bits without a value", pmd+"; server_max_window_bits")
	declined("server_max_window_bits twice", pmd+"; server_max_window_bits=10; server_max_window_bits=11")
	declined("client_max_window_bits twice", pmd+"; client_max_window_bits; client_max_window_bits=10")
	for _, v := range []string{"7", "16", "0", "-9", "+9", "09", "0x9", "9.0", "100000000000000000000", "nine"} {
		declined("server_max_window_bits="+v, pmd+"; server_max_window_bits="+v)
		declined("client_max_window_bits="+v, pmd+"; client_max_window_bits="+v)
	}
	declined("parameter name in upper case", pmd+"; SERVER_NO_CONTEXT_TAKEOVER=1")
	return b.rows
}

// roundTrips: whatever was agreed, messages compressed and not come back.
func roundTrips(c *client) {
	c.t.Helper()
	long := strings.Repeat("compress me, I repeat myself; ", 200)
	c.write(text("plain " + long))
	want(sayText("plain " + long))(c)
	if c.pmd == nil {
		return
	}
	for range 3 {
		squeezed(opText, 0, long, "short", "")(c)
		want(sayText(long), `text "short"`, `text ""`)(c)
	}
}

// The judge of answers, by the examples of RFC 7692 §7.1.3 and the two wrong
// answers that servers are known to give.
func TestAgree(t *testing.T) {
	const p = "permessage-deflate"
	for _, r := range []struct {
		offers, answer string
		ok             bool
	}{
		{p, "", true}, {p, p, true}, {p, p + "; server_no_context_takeover; client_no_context_takeover", true},
		{p + "; client_max_window_bits; server_max_window_bits=10", p + "; server_max_window_bits=10", true},
		{p + "; client_max_window_bits; server_max_window_bits=10, " + p + "; client_max_window_bits", p, true},
		{p + "; client_max_window_bits", p + "; client_max_window_bits=9", true},
		{p, p + "; server_max_window_bits=10", true},
		{p + "; server_max_window_bits=9", p, false},
		{p + "; server_max_window_bits=9", p + "; server_max_window_bits=12; client_max_window_bits=12", false},
		{p, p + "; client_max_window_bits=15", false},
		{p + "; client_max_window_bits", p + "; client_max_window_bits", false},
		{p + "; client_max_window_bits=9", p + "; client_max_window_bits=10", false},
		{p + "; server_no_context_takeover", p, false},
		{p, p + "; server_max_window_bits=7", false}, {p, p + "; mystery", false}, {p, p + ", " + p, false}, {p, "x-other", false},
		{p + "; mystery", p, false}, {p, p + "; server_no_context_takeover=1", false},
	} {
		if _, err := agree(r.offers, r.answer); (err == nil) != r.ok {
			t.Errorf("%q to %q: %v", r.answer, r.offers, err)
		}
	}
}
