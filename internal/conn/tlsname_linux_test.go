package conn

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"testing"
)

// Without SNI, a certificate is chosen by the address that the client came to.
func TestTLSHandshakeKnowsItsAddresses(t *testing.T) {
	onEngines(t, func(t *testing.T) {
		cert := tlsECDSA(t)
		seen := make(chan [2]string, 1)
		_, addr := serveTCP(t, Config{TLS: &tls.Config{
			GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				seen <- [2]string{hello.Conn.LocalAddr().String(), hello.Conn.RemoteAddr().String()}
				return &cert, nil
			},
		}})
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake(); err != nil {
			t.Fatal(err)
		}
		if got, want := <-seen, [2]string{addr, nc.LocalAddr().String()}; got != want {
			t.Errorf("the handshake is between %v, not %v", got, want)
		}
		nc.Close()
	})
}

func TestClientCertificatesAreSeen(t *testing.T) {
	onEngines(t, func(t *testing.T) {
		ours, theirs := tlsECDSA(t), tlsECDSA(t)
		seen := make(chan [][]byte, 1)
		_, addr := serveTCP(t, Config{
			TLS: &tls.Config{Certificates: []tls.Certificate{ours}, ClientAuth: tls.RequestClientCert},
			Upgrade: func(u *Upgrade) {
				var raw [][]byte
				for _, c := range u.PeerCertificates() {
					raw = append(raw, c.Raw)
				}
				seen <- raw
				u.Refuse(403, nil, nil)
			},
		})
		for _, shown := range [][]tls.Certificate{{theirs}, nil} {
			nc, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: shown})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(nc, "GET /dev HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
				"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			got := <-seen
			if len(got) != len(shown) || len(got) > 0 && !bytes.Equal(got[0], theirs.Certificate[0]) {
				t.Errorf("%d certificates of %d shown", len(got), len(shown))
			}
			nc.Close()
		}
	})
}
