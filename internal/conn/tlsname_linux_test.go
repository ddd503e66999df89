package conn

import (
	"crypto/tls"
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
