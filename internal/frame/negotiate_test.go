package frame

import (
	"errors"
	"strings"
	"testing"
)

// Both policies of the golden table; a row that names none uses the default.
var (
	usualPolicy = DeflatePolicy{Enabled: true}
	keepPolicy  = DeflatePolicy{Enabled: true, ContextTakeover: true}
	smallPolicy = DeflatePolicy{Enabled: true, ServerWindowBits: 12, ClientWindowBits: 10}
	tinyPolicy  = DeflatePolicy{Enabled: true, ContextTakeover: true, ServerWindowBits: 8, ClientWindowBits: 9}
)

const (
	both  = "; server_no_context_takeover; client_no_context_takeover"
	usual = "permessage-deflate" + both
)

// Lines of one client are joined by "\n". An answer of "" declines, "!" is
// ErrExtensions.
var negotiations = []struct {
	name, lines, want string
	policy            *DeflatePolicy
}{
	// What clients send.
	{"nothing offered", "", "", nil},
	{"bare offer", "permessage-deflate", usual, nil},
	{"Chrome, Firefox, Node", "permessage-deflate; client_max_window_bits", usual, nil},
	{"Safari's older name", "x-webkit-deflate-frame", "", nil},
	{"websocket-client", "permessage-deflate; server_no_context_takeover; client_no_context_takeover", usual, nil},
	{"IXWebSocket", "permessage-deflate; server_max_window_bits=15; client_max_window_bits=15", usual + "; server_max_window_bits=15", nil},
	{"Python websockets", "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", usual + "; server_max_window_bits=12", nil},

	// server_max_window_bits: answered with the same or less, and kept (RFC 7692 §7.1.2.1).
	{"server 8", "permessage-deflate; server_max_window_bits=8", usual + "; server_max_window_bits=8", nil},
	{"server 9", "permessage-deflate; server_max_window_bits=9", usual + "; server_max_window_bits=9", nil},
	{"server 10", "permessage-deflate; server_max_window_bits=10", usual + "; server_max_window_bits=10", nil},
	{"server 11", "permessage-deflate; server_max_window_bits=11", usual + "; server_max_window_bits=11", nil},
	{"server 12", "permessage-deflate; server_max_window_bits=12", usual + "; server_max_window_bits=12", nil},
	{"server 13", "permessage-deflate; server_max_window_bits=13", usual + "; server_max_window_bits=13", nil},
	{"server 14", "permessage-deflate; server_max_window_bits=14", usual + "; server_max_window_bits=14", nil},
	{"server 15", "permessage-deflate; server_max_window_bits=15", usual + "; server_max_window_bits=15", nil},
	{"server 9, policy 12", "permessage-deflate; server_max_window_bits=9", usual + "; server_max_window_bits=9", &smallPolicy},
	{"server 14, policy 12", "permessage-deflate; server_max_window_bits=14", usual + "; server_max_window_bits=12", &smallPolicy},
	{"server not offered, policy 12", "permessage-deflate", usual + "; server_max_window_bits=12", &smallPolicy},
	{"server 15, policy 8", "permessage-deflate; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=8", &tinyPolicy},
	{"server quoted", `permessage-deflate; server_max_window_bits="10"`, usual + "; server_max_window_bits=10", nil},
	{"server quoted and escaped", `permessage-deflate; server_max_window_bits="\1\0"`, usual + "; server_max_window_bits=10", nil},

	// Values that are none: declined (§7.1).
	{"server without value", "permessage-deflate; server_max_window_bits", "", nil},
	{"server 7", "permessage-deflate; server_max_window_bits=7", "", nil},
	{"server 16", "permessage-deflate; server_max_window_bits=16", "", nil},
	{"server 0", "permessage-deflate; server_max_window_bits=0", "", nil},
	{"server leading zero", "permessage-deflate; server_max_window_bits=08", "", nil},
	{"server long leading zero", "permessage-deflate; server_max_window_bits=010", "", nil},
	{"server signed", "permessage-deflate; server_max_window_bits=+9", "", nil},
	{"server negative", "permessage-deflate; server_max_window_bits=-9", "", nil},
	{"server 264, which is 8 in a byte", "permessage-deflate; server_max_window_bits=264", "", nil},
	{"server hex", "permessage-deflate; server_max_window_bits=0xa", "", nil},
	{"server decimal point", "permessage-deflate; server_max_window_bits=9.0", "", nil},
	{"client 7", "permessage-deflate; client_max_window_bits=7", "", nil},
	{"client 16", "permessage-deflate; client_max_window_bits=16", "", nil},
	{"client leading zero", "permessage-deflate; client_max_window_bits=09", "", nil},
	{"client word", "permessage-deflate; client_max_window_bits=max", "", nil},
	{"server takeover with value", "permessage-deflate; server_no_context_takeover=1", "", nil},
	{"server takeover with true", "permessage-deflate; server_no_context_takeover=true", "", nil},
	{"client takeover with value", "permessage-deflate; client_no_context_takeover=0", "", nil},
	{"client takeover quoted value", `permessage-deflate; client_no_context_takeover="x"`, "", nil},

	// client_max_window_bits: only if offered (§7.1.2.2), never more than offered.
	{"client without value, policy 10", "permessage-deflate; client_max_window_bits", usual + "; server_max_window_bits=12; client_max_window_bits=10", &smallPolicy},
	{"client 15, policy 10", "permessage-deflate; client_max_window_bits=15", usual + "; server_max_window_bits=12; client_max_window_bits=10", &smallPolicy},
	{"client 9, policy 10", "permessage-deflate; client_max_window_bits=9", usual + "; server_max_window_bits=12; client_max_window_bits=9", &smallPolicy},
	{"client 8, policy 10: not asked for what zlib cannot do", "permessage-deflate; client_max_window_bits=8", usual + "; server_max_window_bits=12", &smallPolicy},
	{"client not offered, policy 10", "permessage-deflate; server_max_window_bits=12", usual + "; server_max_window_bits=12", &smallPolicy},
	{"client 10, no policy", "permessage-deflate; client_max_window_bits=10", usual, nil},

	// Takeover.
	{"kept", "permessage-deflate", "permessage-deflate", &keepPolicy},
	{"kept, browser", "permessage-deflate; client_max_window_bits", "permessage-deflate", &keepPolicy},
	{"server's declined by the client", "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", &keepPolicy},
	{"client's given up by the client", "permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover", &keepPolicy},
	{"both", "permessage-deflate" + both, usual, &keepPolicy},
	{"order does not matter", "permessage-deflate; client_no_context_takeover; server_no_context_takeover", usual, nil},
	{"small and kept", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9", &tinyPolicy},

	// Unknown and repeated parameters: declined (§7.1).
	{"unknown parameter", "permessage-deflate; mode=fast", "", nil},
	{"unknown parameter without value", "permessage-deflate; foo", "", nil},
	{"server takeover twice", "permessage-deflate; server_no_context_takeover; server_no_context_takeover", "", nil},
	{"client takeover twice", "permessage-deflate; client_no_context_takeover; client_no_context_takeover", "", nil},
	{"server bits twice", "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", "", nil},
	{"client bits twice", "permessage-deflate; client_max_window_bits; client_max_window_bits=10", "", nil},
	{"client bits twice without value", "permessage-deflate; client_max_window_bits; client_max_window_bits", "", nil},
	{"parameter in capitals", "permessage-deflate; Server_No_Context_Takeover", "", nil},
	{"extension in capitals", "Permessage-Deflate", "", nil},

	// The next offer is looked at.
	{"bad, then good", "permessage-deflate; server_max_window_bits=7, permessage-deflate", usual, nil},
	{"unknown, then good", "permessage-deflate; x=1, permessage-deflate; server_max_window_bits=10", usual + "; server_max_window_bits=10", nil},
	{"the first of two", "permessage-deflate; server_max_window_bits=9, permessage-deflate", usual + "; server_max_window_bits=9", nil},
	{"three offers", "permessage-deflate; server_no_context_takeover; client_max_window_bits=99, permessage-deflate; server_no_context_takeover, permessage-deflate", usual, nil},
	{"another extension first", "permessage-bzip2; level=9, permessage-deflate", usual, nil},
	{"another extension, quoted comma", `x; y="a\-b", permessage-deflate`, usual, nil},
	{"all bad", "permessage-deflate; a, permessage-deflate; b", "", nil},
	{"offers do not mix", "permessage-deflate; x, other; server_max_window_bits=9, permessage-deflate", usual, nil},
	{"two lines", "permessage-bzip2\npermessage-deflate", usual, nil},
	{"two lines, first bad", "permessage-deflate; x\npermessage-deflate; server_max_window_bits=11", usual + "; server_max_window_bits=11", nil},
	{"two lines, first wins", "permessage-deflate; server_max_window_bits=11\npermessage-deflate", usual + "; server_max_window_bits=11", nil},

	// Blanks and empty elements.
	{"no blanks", "permessage-deflate;server_max_window_bits=10;client_max_window_bits", usual + "; server_max_window_bits=10", nil},
	{"many blanks", " \tpermessage-deflate \t; server_max_window_bits = 10 \t", usual + "; server_max_window_bits=10", nil},
	{"empty elements", ", ,permessage-deflate,,", usual, nil},
	{"only commas", ",,", "", nil},

	// Not a list of extensions at all (RFC 6455 §9.1).
	{"no parameter after semicolon", "permessage-deflate;", "!", nil},
	{"two semicolons", "permessage-deflate;; client_max_window_bits", "!", nil},
	{"no value after equals", "permessage-deflate; server_max_window_bits=", "!", nil},
	{"no name", "; server_max_window_bits=9", "!", nil},
	{"parameter without name", "permessage-deflate; =9", "!", nil},
	{"two words", "permessage-deflate permessage-deflate", "!", nil},
	{"quote not closed", `permessage-deflate; server_max_window_bits="10`, "!", nil},
	{"quote ends in escape", `permessage-deflate; server_max_window_bits="10\`, "!", nil},
	{"empty quote", `permessage-deflate; server_max_window_bits=""`, "!", nil},
	{"quoted blank", `permessage-deflate; server_max_window_bits="1 0"`, "!", nil},
	{"something after the quote", `permessage-deflate; server_max_window_bits="10"1`, "!", nil},
	{"quoted name", `"permessage-deflate"`, "!", nil},
	{"control character", "permessage-deflate; a\x01", "!", nil},
	{"not ASCII", "permessage-deflate; é", "!", nil},
	{"malformed after a good offer", "permessage-deflate, ;", "!", nil},
	{"malformed on another line", "permessage-deflate\n=", "!", nil},

	{"compression off", "permessage-deflate", "", &DeflatePolicy{}},
	{"compression off, malformed", "permessage-deflate;", "!", &DeflatePolicy{}},
}

func TestNegotiate(t *testing.T) {
	for _, r := range negotiations {
		p := usualPolicy
		if r.policy != nil {
			p = *r.policy
		}
		d, got, err := p.Negotiate(strings.Split(r.lines, "\n")...)
		if err != nil {
			if !errors.Is(err, ErrExtensions) || d.On || got != "" {
				t.Errorf("%s: %v with %+v %q", r.name, err, d, got)
			}
			got = "!"
		}
		if got != r.want {
			t.Errorf("%s: %q is answered %q, want %q", r.name, r.lines, got, r.want)
		}
		if d.On != (got != "" && got != "!") {
			t.Errorf("%s: answer %q, agreed %+v", r.name, got, d)
		}
		if d.On {
			checkAgreement(t, r.lines, p, d, got)
		}
	}
	if len(negotiations) < 60 {
		t.Errorf("%d rows", len(negotiations))
	}
}

// checkAgreement holds what was agreed against what was said, with a reading of
// its own.
func checkAgreement(t *testing.T, lines string, p DeflatePolicy, d Deflate, answer string) {
	t.Helper()
	said := map[string]string{}
	for i, part := range strings.Split(answer, "; ") {
		name, value, _ := strings.Cut(part, "=")
		if _, twice := said[name]; twice || (i == 0) != (name == deflateName) {
			t.Fatalf("%q is answered %q", lines, answer)
		}
		said[name] = value
	}
	_, noServer := said[serverNoTakeover]
	_, noClient := said[clientNoTakeover]
	if noServer == d.ServerTakeover || noClient == d.ClientTakeover || !p.ContextTakeover && !(noServer && noClient) {
		t.Errorf("%q is answered %q, agreed %+v", lines, answer, d)
	}
	if v, ok := said[serverMaxBits]; ok && windowBits(v) != d.ServerBits || !ok && d.ServerBits != MaxWindowBits {
		t.Errorf("%q is answered %q, server bits %d", lines, answer, d.ServerBits)
	}
	if v, ok := said[clientMaxBits]; ok && (windowBits(v) != d.ClientBits || !strings.Contains(lines, clientMaxBits)) {
		t.Errorf("%q is answered %q, client bits %d", lines, answer, d.ClientBits)
	}
	if d.ServerBits < MinWindowBits || d.ServerBits > MaxWindowBits || d.ClientBits < MinWindowBits || d.ClientBits > MaxWindowBits {
		t.Errorf("%q: %+v", lines, d)
	}
	if d.Dialect() != Dialect(d.ServerBits) {
		t.Errorf("dialect %d of %+v", d.Dialect(), d)
	}
}

// A client that offers a window itself keeps to it, answered or not (§7.1.2.2).
func TestClientKeepsToItsOffer(t *testing.T) {
	for lines, want := range map[string]uint8{
		"permessage-deflate":                            15,
		"permessage-deflate; client_max_window_bits":    15,
		"permessage-deflate; client_max_window_bits=8":  8,
		"permessage-deflate; client_max_window_bits=11": 11,
	} {
		if d, _, _ := keepPolicy.Negotiate(lines); d.ClientBits != want {
			t.Errorf("%q: %d bits, want %d", lines, d.ClientBits, want)
		}
	}
}

func TestPolicyValidate(t *testing.T) {
	for _, p := range []DeflatePolicy{{}, usualPolicy, keepPolicy, smallPolicy, tinyPolicy, {ServerWindowBits: 15, ClientWindowBits: 15}} {
		if err := p.Validate(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []DeflatePolicy{{ServerWindowBits: 7}, {ServerWindowBits: 16}, {ClientWindowBits: 8}, {ClientWindowBits: 16}, {ServerWindowBits: -1}} {
		if p.Validate() == nil {
			t.Errorf("%+v passes", p)
		}
	}
}

func TestUsualNegotiationAllocatesNothing(t *testing.T) {
	lines := []string{"permessage-deflate; client_max_window_bits"}
	if n := testing.AllocsPerRun(100, func() {
		if _, answer, _ := usualPolicy.Negotiate(lines...); answer != usual {
			t.Fatal(answer)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzNegotiate: an answer never says what no client may be told, whatever was
// offered, and what one line offers is the same as two.
func FuzzNegotiate(f *testing.F) {
	for i, r := range negotiations {
		f.Add(r.lines, i%2 == 0, uint8(i), uint8(i/8))
	}
	f.Fuzz(func(t *testing.T, lines string, keep bool, server, client uint8) {
		p := DeflatePolicy{Enabled: true, ContextTakeover: keep, ServerWindowBits: int(server % 17), ClientWindowBits: int(client % 17)}
		if p.Validate() != nil {
			return
		}
		d, answer, err := p.Negotiate(strings.Split(lines, "\n")...)
		if err != nil {
			if d.On || answer != "" {
				t.Fatalf("%v with %+v %q", err, d, answer)
			}
			return
		}
		if d.On != (answer != "") {
			t.Fatalf("%+v with %q", d, answer)
		}
		if !d.On {
			return
		}
		checkAgreement(t, lines, p, d, answer)
		// The answer is itself a well-formed offer, which is met as it stands.
		again, second, err := p.Negotiate(answer)
		if err != nil || !again.On || again.ServerBits != d.ServerBits || again.ServerTakeover != d.ServerTakeover {
			t.Fatalf("%q is answered %q: %+v %v", answer, second, again, err)
		}
		if one, _, err := p.Negotiate(strings.ReplaceAll(lines, "\n", ",")); err != nil || one != d {
			t.Fatalf("%q in one line: %+v %v, in several %+v", lines, one, err, d)
		}
	})
}
