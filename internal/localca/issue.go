package localca

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"
)

// selfSign makes a CA certificate for key. It may sign TLS server certificates
// and nothing else: no further CA (path length 0), no client or e-mail
// certificates (extended key usage).
func selfSign(key *ecdsa.PrivateKey, name string, c constraints, now time.Time) ([]byte, error) {
	skid, err := keyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{Organization: []string{"Livegate"}, CommonName: name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		SubjectKeyId:          skid,
		AuthorityKeyId:        skid,
	}
	c.apply(t)
	return x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
}

// leaf makes a server certificate for one normalised name.
func (is *issuer) leaf(name string, key *ecdsa.PrivateKey, now time.Time) (*tls.Certificate, error) {
	skid, err := keyID(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	end := now.Add(leafLife)
	if end.After(is.cert.NotAfter) {
		end = is.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		// No common name: verifiers that know name constraints apply them to it
		// too, it holds at most 64 characters, and nobody else reads it.
		Subject:               pkix.Name{Organization: []string{"Livegate local development"}},
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		SubjectKeyId:          skid,
	}
	if ip := net.ParseIP(name); ip != nil {
		t.IPAddresses = []net.IP{ip}
	} else {
		t.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, is.cert, &key.PublicKey, is.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, nil
}

// keyID is RFC 7093 §2 method 1: 160 bits of SHA-256 of the public key.
func keyID(pub *ecdsa.PublicKey) ([]byte, error) {
	point, err := pub.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(point)
	return sum[:20], nil
}

// serial draws a positive 127-bit serial number (CA/Browser Forum asks for 64
// random bits; RFC 5280 for a positive one).
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}
