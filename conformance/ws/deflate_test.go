package ws

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// deflate is the client's side of permessage-deflate (RFC 7692 §7) under agreed
// parameters.
type deflate struct {
	serverNoTakeover bool
	clientNoTakeover bool
	serverBits       int // LZ77 window of the server's compressor, 8…15
	clientBits       int // of ours

	w       *flate.Writer
	buf     bytes.Buffer
	history []byte // the server's last 32 KiB
}

// extension is one element of Sec-WebSocket-Extensions (RFC 6455 §9.1).
type extension struct {
	name   string
	params []parameter
}

type parameter struct {
	name, value string
	valued      bool
}

// parseExtensions reads the ABNF of RFC 6455 §9.1, without extra freedom.
func parseExtensions(list string) ([]extension, error) {
	var all []extension
	for element := range strings.SplitSeq(list, ",") {
		var e extension
		for i, part := range strings.Split(element, ";") {
			name, value, valued := strings.Cut(strings.Trim(part, " \t"), "=")
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			if !token(name) || valued && !token(value) {
				return nil, fmt.Errorf("%q is not an extension list", list)
			}
			if i == 0 {
				e.name = name
				continue
			}
			e.params = append(e.params, parameter{name, value, valued})
		}
		all = append(all, e)
	}
	return all, nil
}

func token(s string) bool {
	return s != "" && strings.Trim(s, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// terms are what a set of parameters says, as an offer or as an answer.
type terms struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             int // 0: not named
	clientBitsNamed                    bool
}

// readTerms applies RFC 7692 §7.1: known names, once each, with the values that
// the section of each allows. answer: client_max_window_bits needs a value.
func readTerms(e extension, answer bool) (t terms, err error) {
	var seen []string
	for _, p := range e.params {
		if slices.Contains(seen, p.name) {
			return t, fmt.Errorf("%s twice", p.name)
		}
		seen = append(seen, p.name)
		bits, bad := strconv.Atoi(p.value)
		window := bad == nil && bits >= 8 && bits <= 15 && strconv.Itoa(bits) == p.value
		switch {
		case p.name == "server_no_context_takeover" && !p.valued:
			t.serverNoTakeover = true
		case p.name == "client_no_context_takeover" && !p.valued:
			t.clientNoTakeover = true
		case p.name == "server_max_window_bits" && window:
			t.serverBits = bits
		case p.name == "client_max_window_bits" && (window || !p.valued && !answer):
			t.clientBits, t.clientBitsNamed = bits, true
		default:
			return t, fmt.Errorf("parameter %s=%q", p.name, p.value)
		}
	}
	return t, nil
}

// agree holds an answer against the offers: it must accept one of the valid ones
// as RFC 7692 §7.1 allows. No answer is a decline: nil.
func agree(offers, answer string) (*deflate, error) {
	if answer == "" {
		return nil, nil
	}
	got, err := parseExtensions(answer)
	if err != nil {
		return nil, err
	}
	if len(got) != 1 || got[0].name != "permessage-deflate" {
		return nil, fmt.Errorf("answer %q: one permessage-deflate expected", answer)
	}
	a, err := readTerms(got[0], true)
	if err != nil {
		return nil, fmt.Errorf("answer %q: %w", answer, err)
	}
	list, err := parseExtensions(offers)
	if err != nil {
		return nil, fmt.Errorf("answer %q to a malformed offer", answer)
	}
	err = errors.New("no valid offer")
	for _, e := range list {
		o, bad := readTerms(e, false)
		if e.name != "permessage-deflate" || bad != nil {
			continue
		}
		if err = a.fits(o); err == nil {
			return a.deflate(), nil
		}
	}
	return nil, fmt.Errorf("answer %q to %q: %w", answer, offers, err)
}

// fits: the answer a is one that offer o permits.
func (a terms) fits(o terms) error {
	switch {
	case o.serverNoTakeover && !a.serverNoTakeover: // §7.1.1.1: accepting means including it
		return errors.New("server_no_context_takeover was asked for and is missing")
	case o.serverBits > 0 && (a.serverBits == 0 || a.serverBits > o.serverBits): // §7.1.2.1
		return errors.New("server_max_window_bits was asked for, and is missing or larger")
	case a.clientBitsNamed && !o.clientBitsNamed: // §7.1.2.2
		return errors.New("client_max_window_bits without an offer of it")
	case a.clientBitsNamed && o.clientBits > 0 && a.clientBits > o.clientBits:
		return errors.New("client_max_window_bits is larger than offered")
	}
	return nil
}

func (a terms) deflate() *deflate {
	or15 := func(n int) int {
		if n == 0 {
			return 15
		}
		return n
	}
	return &deflate{serverNoTakeover: a.serverNoTakeover, clientNoTakeover: a.clientNoTakeover, serverBits: or15(a.serverBits), clientBits: or15(a.clientBits)}
}

// compress is the payload of a compressed message (§7.2.1).
func (d *deflate) compress(msg string) string {
	if d.w == nil {
		level := flate.DefaultCompression
		if d.clientBits < 15 {
			level = flate.HuffmanOnly // no back-references: fits any window
		}
		w, err := flate.NewWriter(&d.buf, level)
		if err != nil {
			panic(err) // the levels are constants
		}
		d.w = w
	}
	d.buf.Reset()
	if d.clientNoTakeover {
		d.w.Reset(&d.buf)
	}
	_, _ = d.w.Write([]byte(msg)) // into memory
	_ = d.w.Flush()
	return strings.TrimSuffix(d.buf.String(), "\x00\x00\xff\xff")
}

// decompress decodes a message of the server (§7.2.2) and checks that it keeps
// to the agreed window and to its own context.
func (d *deflate) decompress(b []byte) ([]byte, error) {
	history := d.history
	if d.serverNoTakeover {
		history = nil
	}
	r, err := inflate(append(slices.Clone(b), 0, 0, 0xff, 0xff), history)
	switch {
	case err != nil:
		return nil, malformed(err.Error())
	case r.distance > 1<<d.serverBits:
		return nil, malformed(fmt.Sprintf("a reference %d bytes back in a window of %d bits", r.distance, d.serverBits))
	}
	d.history = append(slices.Clone(history), r.out...)
	if n := len(d.history); n > 32<<10 {
		d.history = d.history[n-32<<10:]
	}
	return r.out, nil
}

// Steps.

// offer opens the WebSocket with an extension offer and holds the answer against
// it. Declining is legal.
func offer(offers string) step {
	return func(c *client) {
		c.t.Helper()
		upgrade("+Sec-WebSocket-Extensions: " + offers)(c)
		pmd, err := agree(offers, c.last.get("Sec-WebSocket-Extensions"))
		if err != nil {
			c.t.Fatal(err)
		}
		c.pmd = pmd
	}
}

// negotiated skips the rest of the row when the offer was declined.
func negotiated(c *client) {
	if c.pmd == nil {
		c.t.Skip("the server declines this offer, as it may")
	}
}

// squeezed sends messages compressed, in frames of size bytes (0: one frame).
func squeezed(op byte, size int, messages ...string) step {
	return func(c *client) {
		c.t.Helper()
		for _, m := range messages {
			z := c.pmd.compress(m)
			n := size
			if n == 0 {
				n = len(z)
			}
			send(fragments(op|bitRsv1, z, n)...)(c)
		}
	}
}
