package conn

import (
	"bufio"
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// forger seals records as the client of a TLS 1.3 connection, any records: those
// that crypto/tls would never send are what a server has to stand.
type forger struct {
	secret []byte
	seq    uint64
}

// keyLog catches the secrets of one connection (the NSS key log format).
type keyLog struct{ bytes.Buffer }

func (k *keyLog) secret(t testing.TB, label string) []byte {
	t.Helper()
	for line := range strings.Lines(k.String()) {
		if f := strings.Fields(line); f[0] == label {
			b, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
	}
	t.Fatalf("no %s in the key log", label)
	return nil
}

// expandLabel is HKDF-Expand-Label with an empty context (RFC 8446 §7.1).
func expandLabel(secret []byte, label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		panic(err)
	}
	return out
}

// record seals one record of the given inner type (RFC 8446 §5.2), padded.
func (f *forger) record(typ byte, content []byte, padding int) []byte {
	block, err := aes.NewCipher(expandLabel(f.secret, "key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := expandLabel(f.secret, "iv", 12)
	for i := range 8 {
		nonce[11-i] ^= byte(f.seq >> (8 * i))
	}
	f.seq++
	inner := append(append(bytes.Clone(content), typ), make([]byte, padding)...)
	head := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(head[3:], uint16(len(inner)+16))
	return aead.Seal(head, nonce, inner, head)
}

// update is what follows a KeyUpdate (RFC 8446 §7.2).
func (f *forger) update() {
	f.secret, f.seq = expandLabel(f.secret, "traffic upd", 32), 0
}

// forgeTLS is a parked server and a forger in the place of its client.
func forgeTLS(t testing.TB) (*tlsPair, *forger) {
	t.Helper()
	server, client := tlsConfigs(t)
	log := &keyLog{}
	client.KeyLogWriter = log
	p := greetTLS(t, server, client, nil)
	if id := p.client.tc.ConnectionState().CipherSuite; id != tls.TLS_AES_128_GCM_SHA256 {
		t.Skipf("cipher suite %x: this machine has no AES instructions", id)
	}
	return p, &forger{secret: log.secret(t, "CLIENT_TRAFFIC_SECRET_0")}
}

const (
	innerAlert     = 21
	innerHandshake = 22
	innerData      = 23
)

// What a client may send, and what it may not: the plaintext of it, the alert
// that answers it, and how open ends.
func TestTLSRecordsOfAClient(t *testing.T) {
	repeat := func(n int, f func(f *forger) []byte) func(f *forger) []byte {
		return func(x *forger) (all []byte) {
			for range n {
				all = append(all, f(x)...)
			}
			return all
		}
	}
	data := func(s string) func(f *forger) []byte {
		return func(f *forger) []byte { return f.record(innerData, []byte(s), 0) }
	}
	for _, r := range []struct {
		name  string
		send  func(f *forger) []byte
		plain string
		err   string // part of the error; "": none
		alert string // what the client is told; "": nothing
	}{
		{"data", data("hello"), "hello", "", ""},
		{"several records", repeat(3, data("ab")), "ababab", "", ""},
		{"padded", func(f *forger) []byte { return f.record(innerData, []byte("x"), 200) }, "x", "", ""},
		{"16 KiB", data(strings.Repeat("z", tlsMaxPlain)), strings.Repeat("z", tlsMaxPlain), "", ""},
		{"empty records", repeat(16, data("")), "", "", ""},
		{"too many empty records", repeat(17, data("")), "", "too many ignored records", "unexpected message"},
		{"close_notify", func(f *forger) []byte {
			return append(f.record(innerData, []byte("bye"), 0), f.record(innerAlert, []byte{1, 0}, 0)...)
		}, "bye", "EOF", ""},
		{"data behind close_notify", func(f *forger) []byte {
			return append(f.record(innerAlert, []byte{1, 0}, 0), f.record(innerData, []byte("late"), 0)...)
		}, "", "EOF", ""},
		{"fatal alert", func(f *forger) []byte { return f.record(innerAlert, []byte{2, 40}, 0) }, "", "handshake failure", ""},
		{"user_canceled", func(f *forger) []byte {
			return append(f.record(innerAlert, []byte{1, 90}, 0), f.record(innerData, []byte("on"), 0)...)
		}, "on", "", ""},
		{"17 KiB", data(strings.Repeat("z", tlsMaxPlain+1)), "", "record overflow", "record overflow"},
		{"a header that claims 64 KiB", func(*forger) []byte { return []byte{23, 3, 3, 0xff, 0xff} }, "", "oversized record", "record overflow"},
		{"HTTP instead of a record", func(*forger) []byte { return []byte("GET / HTTP/1.1\r\n\r\n") }, "", "version", "protocol version"},
		{"garbage", func(f *forger) []byte {
			b := f.record(innerData, []byte("hello"), 0)
			b[7] ^= 1
			return b
		}, "", "bad record MAC", "bad record MAC"},
		{"good, then garbage", func(f *forger) []byte {
			b := f.record(innerData, []byte("hello"), 0)
			f.seq = 9
			return append(b, f.record(innerData, []byte("x"), 0)...)
		}, "hello", "bad record MAC", "bad record MAC"},
		{"no content type", func(f *forger) []byte { return f.record(0, nil, 10) }, "", "unexpected message", "unexpected message"},
		{"handshake in the clear", func(*forger) []byte { return []byte{22, 3, 3, 0, 4, 1, 0, 0, 0} }, "", "bad record MAC", "bad record MAC"},
		{"a second Finished", func(f *forger) []byte { return f.record(innerHandshake, []byte{20, 0, 0, 0}, 0) }, "", "unexpected handshake message", "unexpected message"},
		{"a broken KeyUpdate", func(f *forger) []byte { return f.record(innerHandshake, []byte{24, 0, 0, 1, 7}, 0) }, "", "error decoding message", "error decoding message"},
		{"data in the middle of a KeyUpdate", func(f *forger) []byte {
			return append(f.record(innerHandshake, []byte{24, 0}, 0), f.record(innerData, []byte("x"), 0)...)
		}, "", "unexpected message", "unexpected message"},
		{"a message of 64 KiB and more", func(f *forger) []byte { return f.record(innerHandshake, []byte{24, 1, 0, 1}, 0) }, "", "exceeds maximum", "internal error"},
		{"a flood of KeyUpdates", func(f *forger) (all []byte) {
			for range 17 {
				all = append(all, f.record(innerHandshake, []byte{24, 0, 0, 1, 0}, 0)...)
				f.update()
			}
			return all
		}, "", "too many non-advancing records", "unexpected message"},
	} {
		t.Run(r.name, func(t *testing.T) {
			p, f := forgeTLS(t)
			plain, reply, err := p.server.open(nil, r.send(f))
			if string(plain) != r.plain {
				t.Errorf("plaintext %.40q, want %.40q", plain, r.plain)
			}
			broken := r.err != "" || r.alert != ""
			if (err != nil) != broken || (err != nil && !strings.Contains(err.Error(), r.err)) {
				t.Errorf("error %v, want %q", err, r.err)
			}
			if _, _, again := p.server.open(nil, nil); broken && !errors.Is(again, err) {
				t.Errorf("then %v", again)
			}
			p.expectAlert(reply, r.alert)
			if broken && r.err != "EOF" {
				if b, err := p.server.seal([]byte("kept"), nil, []byte("x")); err == nil || string(b) != "kept" {
					t.Errorf("sealed on a broken connection: %q, %v", b, err)
				}
				if b := p.server.closeNotify(nil); len(b) > 0 {
					t.Error("close_notify behind a fatal alert")
				}
			}
		})
	}
}

// expectAlert gives reply to the client and checks what it makes of it.
func (p *tlsPair) expectAlert(reply []byte, want string) {
	p.t.Helper()
	if want == "" {
		if len(reply) > 0 {
			p.t.Errorf("%d bytes of reply, want none", len(reply))
		}
		return
	}
	_, _, err := p.client.open(nil, reply)
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" || !strings.Contains(err.Error(), want) {
		p.t.Errorf("the client sees %v, want alert %q", err, want)
	}
}

// KeyUpdate (RFC 8446 §4.6.3): both directions get new keys, the answer comes
// before anything sealed under them, in whatever pieces it all arrives.
func TestTLSKeyUpdate(t *testing.T) {
	for _, chunk := range []int{1, 7, 1 << 20} {
		p, f := forgeTLS(t)
		for round := range 3 {
			wire := f.record(innerHandshake, []byte{24, 0}, 0) // one message in two records
			wire = append(wire, f.record(innerHandshake, []byte{0, 1, 1}, 3)...)
			f.update()
			wire = append(wire, f.record(innerData, []byte("under the new key"), 0)...)

			var plain, back []byte
			for len(wire) > 0 {
				n := min(chunk, len(wire))
				got, reply, err := p.server.open(nil, wire[:n])
				if err != nil {
					t.Fatalf("chunk %d, round %d: %v", chunk, round, err)
				}
				plain, back, wire = append(plain, got...), append(back, reply...), wire[n:]
			}
			if string(plain) != "under the new key" {
				t.Fatalf("chunk %d, round %d: %q", chunk, round, plain)
			}
			back, err := p.server.seal(back, nil, []byte("and back"))
			if err != nil {
				t.Fatal(err)
			}
			// The client's crypto/tls follows the server to its new key; what it
			// would send is out of step, but the forger speaks in its place.
			if got, _, err := p.client.open(nil, back); err != nil || string(got) != "and back" {
				t.Fatalf("chunk %d, round %d: the client reads %q, %v", chunk, round, got, err)
			}
		}
	}
}

// Nothing follows our close_notify, not even the answer to a KeyUpdate.
func TestTLSNothingBehindCloseNotify(t *testing.T) {
	p, f := forgeTLS(t)
	bye := p.server.closeNotify(nil)
	plain, reply, err := p.server.open(nil, append(f.record(innerHandshake, []byte{24, 0, 0, 1, 1}, 0), func() []byte {
		f.update()
		return f.record(innerData, []byte("still read"), 0)
	}()...))
	if err != nil || len(reply) > 0 || string(plain) != "still read" {
		t.Errorf("%q, reply %x, %v", plain, reply, err)
	}
	if again := p.server.closeNotify(nil); len(again) > 0 {
		t.Errorf("a second close_notify: %x", again)
	}
	if _, err := p.server.seal(nil, nil, []byte("x")); err == nil {
		t.Error("sealed behind close_notify")
	}
	if _, _, err := p.client.open(nil, bye); !errors.Is(err, io.EOF) {
		t.Errorf("the client sees %v", err)
	}
}

// Another implementation: OpenSSL updates its keys, both ways.
func TestTLSKeyUpdateByOpenSSL(t *testing.T) {
	bin, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl in PATH")
	}
	server, _ := tlsConfigs(t)
	addr := serveParked(t, server)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, "s_client", "-quiet", "-no_ign_eof", "-tls1_3", "-connect", addr)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	diag, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(diag)
	for _, say := range []string{"before", "k", "one way", "K", "both ways"} {
		if _, err := io.WriteString(in, say+"\n"); err != nil {
			t.Fatal(err)
		}
		if len(say) == 1 { // a command of s_client; it says when it is done
			for said.Scan() && !strings.Contains(said.Text(), "KEYUPDATE") {
			}
			continue
		}
		buf := make([]byte, len(say)+1)
		if _, err := io.ReadFull(out, buf); err != nil || string(buf) != say+"\n" {
			t.Fatalf("echo of %q: %q, %v", say, buf, err)
		}
	}
	in.Close()
	_, _ = io.Copy(io.Discard, diag)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
