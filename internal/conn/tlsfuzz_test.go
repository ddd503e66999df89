package conn

import (
	"bytes"
	"crypto/tls"
	"strings"
	"testing"
)

// FuzzTLSOpen gives a parked connection what its client sealed, in pieces and
// with bytes changed: a prefix of the plaintext comes out, all of it when nothing
// was changed, and an error stays.
func FuzzTLSOpen(f *testing.F) {
	f.Add([]byte{1}, uint16(0), byte(0), false)
	f.Add([]byte{3, 0, 200}, uint16(2), byte(1), false)
	f.Add([]byte{255}, uint16(700), byte(0x80), true)
	f.Add([]byte{5, 9}, uint16(44), byte(0xff), true)
	server, client := tlsConfigs(f)
	client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(1), "localhost"
	client.CurvePreferences = []tls.CurveID{tls.X25519}
	said := "short, " + strings.Repeat("long, ", 400) + "end"
	f.Fuzz(func(t *testing.T, cuts []byte, at uint16, flip byte, old bool) {
		client := client.Clone()
		if old {
			client.MaxVersion = tls.VersionTLS12
		}
		p := greetTLS(t, server, client, nil)
		var wire []byte
		for _, s := range []string{said[:7], said[7:2000], said[2000:]} {
			wire, _ = p.client.seal(wire, nil, []byte(s))
		}
		wire = p.client.closeNotify(wire)
		wire[int(at)%len(wire)] ^= flip
		var plain []byte
		var err error
		for i := 0; len(wire) > 0; i++ {
			n := len(wire)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			before := len(plain)
			was := err
			plain, _, err = p.server.open(plain, wire[:n])
			if was != nil && (err != was || len(plain) > before) {
				t.Fatalf("after %v: %v, %d bytes", was, err, len(plain)-before)
			}
			wire = wire[n:]
		}
		if !strings.HasPrefix(said, string(plain)) {
			t.Errorf("plaintext nobody sealed: %q", plain)
		}
		if flip == 0 && (string(plain) != said || err == nil || err.Error() != "EOF") {
			t.Errorf("%d of %d bytes, %v", len(plain), len(said), err)
		}
	})
}

// FuzzTLSWire cuts any stream into reads of any size: what comes out is what went
// in, but for the headers that parts of a handshake message in the clear get.
func FuzzTLSWire(f *testing.F) {
	f.Add([]byte("\x17\x03\x03\x00\x05hello\x15\x03\x03\x00\x02\x01\x00"), []byte{0, 3}, false)
	f.Add(append([]byte("\x16\x03\x01\x03\x00"), make([]byte, 0x300)...), []byte{200}, true)
	f.Add([]byte("\x16\x03\x01\x00\x00\x14\x03\x03\x00\x01\x01\x16\x03\x03\x02\xff"), []byte{1}, true)
	f.Fuzz(func(t *testing.T, stream, cuts []byte, greeting bool) {
		w := &tlsWire{}
		if greeting {
			w.greet(nil)
		}
		var out []byte
		b := make([]byte, bytes.MinRead)
		rest := stream
		for i := 0; len(rest) > 0; i++ {
			piece := rest
			if len(cuts) > 0 {
				piece = rest[:min(len(rest), int(cuts[i%len(cuts)])+1)]
			}
			n, used := w.take(b, piece)
			if n == 0 && used == 0 {
				t.Fatalf("stuck with %d bytes to go", len(rest))
			}
			if w.owed > 0 {
				t.Fatal("a header was cut")
			}
			out, rest = append(out, b[:n]...), rest[used:]
		}
		if w.got < tlsHeaderSize {
			out = append(out, w.header[:w.got]...)
		}
		if want := joined(stream, greeting); !bytes.Equal(joined(out, greeting), want) {
			t.Errorf("%x came out as %x", stream, out)
		}
	})
}

// joined is a stream of records without what distinguishes a handshake message
// in the clear from its parts: the headers of such records.
func joined(stream []byte, greeting bool) (out []byte) {
	for clear := greeting; len(stream) >= tlsHeaderSize; {
		n := int(stream[3])<<8 | int(stream[4])
		body := stream[tlsHeaderSize:min(len(stream), tlsHeaderSize+n)]
		clear = clear && stream[0] != tlsChangeCipherSpec
		if !clear || stream[0] != tlsHandshake || n > tlsMaxPlain || n == 0 {
			out = append(out, stream[:tlsHeaderSize]...)
		}
		out, stream = append(out, body...), stream[tlsHeaderSize+len(body):]
	}
	return append(out, stream...)
}
