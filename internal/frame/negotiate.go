package frame

import (
	"fmt"
	"strconv"
)

// LZ77 window sizes as powers of two (RFC 7692 §7.1.2).
const (
	MinWindowBits = 8  // 256 bytes
	MaxWindowBits = 15 // 32768 bytes, what holds when nothing was said
)

// minAsked is the smallest window asked of a client. zlib, on which nearly all
// clients stand, has no raw deflate with 8 bits: it takes them for 9, or fails.
// A client that was told 8 would then break what it agreed to, or close.
const minAsked = 9

// DeflatePolicy is what a server wants of permessage-deflate. The zero value
// declines it.
type DeflatePolicy struct {
	Enabled bool

	// ContextTakeover lets both ends refer to earlier messages, unless the client
	// asks for the contrary. It compresses small, similar messages far better, and
	// costs a window of memory per connection and direction. Without it (the
	// default) nothing lives between two messages.
	ContextTakeover bool

	// ServerWindowBits is the largest window of ours, 8 … 15; 0 means 15. Below
	// 15 it is announced, so that a client can save memory.
	ServerWindowBits int

	// ClientWindowBits is the largest window asked of a client that offers to be
	// asked, 9 … 15; 0 means 15, which asks nothing. It bounds what a connection
	// with ContextTakeover holds.
	ClientWindowBits int
}

// Validate reports bits out of range.
func (p DeflatePolicy) Validate() error {
	if b := p.ServerWindowBits; b != 0 && (b < MinWindowBits || b > MaxWindowBits) {
		return fmt.Errorf("DeflatePolicy.ServerWindowBits is %d; it must be %d to %d, or 0", b, MinWindowBits, MaxWindowBits)
	}
	if b := p.ClientWindowBits; b != 0 && (b < minAsked || b > MaxWindowBits) {
		return fmt.Errorf("DeflatePolicy.ClientWindowBits is %d; it must be %d to %d, or 0", b, minAsked, MaxWindowBits)
	}
	return nil
}

// Deflate is what server and client agreed on. The zero value is no compression.
type Deflate struct {
	On             bool
	ServerTakeover bool  // our messages may refer to earlier ones of ours
	ClientTakeover bool  // the client's may refer to earlier ones of its own
	ServerBits     uint8 // our window, 8 … 15
	ClientBits     uint8 // the client's window, 8 … 15
}

// Dialect is the form in which a shared message may go to this peer. A peer
// with ServerTakeover takes the same form: a message that refers to nothing
// before it is always valid (see [Window.Add]).
func (d Deflate) Dialect() Dialect {
	if !d.On {
		return Plain
	}
	return Dialect(d.ServerBits)
}

// Negotiate picks the first offer of permessage-deflate that the policy can
// meet to the letter (RFC 7692 §5.1, §7.1). lines are the values of all
// Sec-WebSocket-Extensions header lines, in order. response is the value to
// answer with; it is empty when compression is declined, which the answer says
// by having no such header.
//
// An offer with an unknown parameter, a parameter given twice, or a value that
// is missing, superfluous or out of range is declined (§7.1), and the next one
// is looked at. The handshake goes on in any case, except for [ErrExtensions].
//
// What the answer says:
//
//   - server_no_context_takeover, if offered or no takeover is wanted. A server
//     may always say it (§7.1.1.1).
//   - client_no_context_takeover, likewise (§7.1.1.2).
//   - server_max_window_bits: the smaller of the offer and the policy, if offered
//     or below 15. 8 is answered with 8, and kept (§7.1.2.1).
//   - client_max_window_bits only if it was offered (§7.1.2.2, a MUST), and only
//     when there is something to ask.
func (p DeflatePolicy) Negotiate(lines ...string) (agreed Deflate, response string, err error) {
	for _, line := range lines {
		s := scanner{s: line}
		for {
			name, more, err := s.offer()
			if err != nil {
				return Deflate{}, "", err
			}
			if !more {
				break
			}
			o := offered{decline: name != deflateName}
			for {
				v, more, err := s.param()
				if err != nil {
					return Deflate{}, "", err
				}
				if !more {
					break
				}
				o.take(v)
			}
			if !agreed.On && p.Enabled && !o.decline {
				agreed, response = p.answer(o)
			}
		}
	}
	return agreed, response, nil
}

// Names of the IANA registry (RFC 7692 §9).
const (
	deflateName      = "permessage-deflate"
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverMaxBits    = "server_max_window_bits"
	clientMaxBits    = "client_max_window_bits"
)

// usualAnswer is what Negotiate says to a browser by default.
const usualAnswer = deflateName + "; " + serverNoTakeover + "; " + clientNoTakeover

// offered is one offer of permessage-deflate.
type offered struct {
	decline          bool
	serverNoTakeover bool
	clientNoTakeover bool
	mayAskClient     bool  // client_max_window_bits was there
	serverBits       uint8 // 0: not there
	clientBits       uint8 // 0: not there, or without a value
}

func (o *offered) take(p param) {
	if o.decline {
		return
	}
	ok := false
	switch p.name {
	case serverNoTakeover:
		ok = !p.has && !o.serverNoTakeover
		o.serverNoTakeover = true
	case clientNoTakeover:
		ok = !p.has && !o.clientNoTakeover
		o.clientNoTakeover = true
	case serverMaxBits:
		fresh := o.serverBits == 0
		o.serverBits = windowBits(p.value)
		ok = fresh && p.has && o.serverBits != 0
	case clientMaxBits:
		fresh := !o.mayAskClient
		o.mayAskClient = true
		o.clientBits = windowBits(p.value)
		ok = fresh && (!p.has || o.clientBits != 0)
	}
	o.decline = !ok
}

// windowBits reads 8 … 15 without leading zeros (§7.1.2); 0 if it is not that.
func windowBits(s string) uint8 {
	switch {
	case len(s) == 1 && s[0] >= '8' && s[0] <= '9':
		return s[0] - '0'
	case len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5':
		return 10 + s[1] - '0'
	}
	return 0
}

// answer accepts o.
func (p DeflatePolicy) answer(o offered) (d Deflate, response string) {
	d = Deflate{
		On:             true,
		ServerTakeover: p.ContextTakeover && !o.serverNoTakeover,
		ClientTakeover: p.ContextTakeover && !o.clientNoTakeover,
		ServerBits:     atMost(o.serverBits, p.ServerWindowBits),
		ClientBits:     atMost(o.clientBits, 0), // a client keeps to its own offer (§7.1.2.2)
	}
	asked := atMost(o.clientBits, p.ClientWindowBits)
	ask := o.mayAskClient && p.ClientWindowBits != 0 && p.ClientWindowBits < MaxWindowBits && asked >= minAsked
	if ask {
		d.ClientBits = asked
	}
	tell := o.serverBits != 0 || d.ServerBits < MaxWindowBits
	if !ask && !tell && !d.ServerTakeover && !d.ClientTakeover {
		return d, usualAnswer
	}
	b := make([]byte, 0, len(usualAnswer)+len(serverMaxBits)+len(clientMaxBits)+10)
	b = append(b, deflateName...)
	if !d.ServerTakeover {
		b = append(b, "; "+serverNoTakeover...)
	}
	if !d.ClientTakeover {
		b = append(b, "; "+clientNoTakeover...)
	}
	if tell {
		b = strconv.AppendUint(append(b, "; "+serverMaxBits+"="...), uint64(d.ServerBits), 10)
	}
	if ask {
		b = strconv.AppendUint(append(b, "; "+clientMaxBits+"="...), uint64(d.ClientBits), 10)
	}
	return d, string(b)
}

// atMost is the smaller of two limits; 0 is none.
func atMost(offer uint8, policy int) uint8 {
	bits := uint8(MaxWindowBits)
	if offer != 0 {
		bits = offer
	}
	if policy != 0 {
		bits = min(bits, uint8(min(max(policy, MinWindowBits), MaxWindowBits)))
	}
	return bits
}
