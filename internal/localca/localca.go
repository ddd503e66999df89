// Package localca is a local certificate authority: it makes the certificates
// with which Livegate answers https for AWS host names and localhost, so that
// unmodified SDK code finds a certificate it can verify.
//
// A CA key that can sign for any name is a master key to its owner's traffic if
// it ever leaks. So no CA made here can: each carries a critical name
// constraint. The user's CA ([Open]) may sign for AWS's service domains and for
// loopback names only. Custom domains of a project get a CA of the project's own
// ([CA.WithDomains]), constrained to exactly these: constraints are fixed when a
// CA is made and a subordinate CA cannot widen them, so one CA for everything
// would have to be unconstrained, or re-made (and re-trusted) with every new
// domain. Only the user's CA is ever meant for a system trust store.
//
// Files: a directory (0700) with ca-key.pem (0600) and ca.pem (0644). Wider
// permissions are repaired, with a [CA.Warnings] entry; a key that belongs to
// somebody else is refused. Two processes may open the same directory at once:
// both end up with the same key. A damaged file is an error that names it and
// is never overwritten.
//
// Leaf certificates live in memory only, are made on demand per host name, live
// 30 days and are renewed before they expire. All methods are safe for
// concurrent use. Certificates pass OpenSSL's -x509_strict.
package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	certFile = "ca.pem"
	keyFile  = "ca-key.pem"

	caLife   = 10 * 365 * 24 * time.Hour
	caRenew  = 60 * 24 * time.Hour // a CA with less left is renewed, on the same key
	leafLife = 30 * 24 * time.Hour
	leafLeft = 7 * 24 * time.Hour // a leaf with less left is renewed
	backdate = 24 * time.Hour     // against clocks that run behind

	// maxLeaves bounds the cache: SNI is chosen by whoever connects.
	maxLeaves = 1024
)

// CA is one or more certificate authorities; the first whose constraints permit
// a name signs for it.
type CA struct {
	// static after Open
	issuers  []*issuer
	leafKey  *ecdsa.PrivateKey
	warnings []string
	now      func() time.Time

	mu     sync.Mutex
	leaves map[string]*tls.Certificate // by normalised name
}

// issuer is one authority.
type issuer struct {
	dir  string
	cert *x509.Certificate
	der  []byte
	key  *ecdsa.PrivateKey
}

// Open reads the user's CA from dir, or makes it on first use.
func Open(dir string) (*CA, error) { return open(dir, time.Now) }

func open(dir string, now func() time.Time) (*CA, error) {
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	ca := &CA{leafKey: leafKey, now: now, leaves: map[string]*tls.Certificate{}}
	if err := ca.add(dir, "Livegate local development CA", userNames()); err != nil {
		return nil, err
	}
	return ca, nil
}

// WithDomains returns a CA that also signs for a project's custom domains
// (wildcards as "*.example.org"), with an authority of its own in dir. If the
// domains are not those of the last time, that authority is re-made, so bundles
// must be written again. Domains that the user's CA may sign for need none; ca
// itself is returned when nothing is left.
func (ca *CA) WithDomains(dir string, domains []string) (*CA, error) {
	var names []string
	for _, d := range domains {
		name := strings.TrimPrefix(normalise(d), "*.")
		if !dnsName(name) {
			return nil, fmt.Errorf("local CA: %q is not a domain name a certificate can be made for", d)
		}
		if ca.issuerFor(name) == nil {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ca, nil
	}
	slices.Sort(names)
	wide := &CA{
		issuers: slices.Clone(ca.issuers), leafKey: ca.leafKey, now: ca.now,
		warnings: slices.Clone(ca.warnings), leaves: map[string]*tls.Certificate{},
	}
	if err := wide.add(dir, "Livegate local project CA", constraints{dns: slices.Compact(names)}); err != nil {
		return nil, err
	}
	return wide, nil
}

// add opens or makes the authority in dir.
func (ca *CA) add(dir, name string, c constraints) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("local CA: %w", err)
	}
	store := store{dir: dir, now: ca.now()}
	is, err := store.open(name, c)
	if err != nil {
		return err
	}
	ca.warnings = append(ca.warnings, store.warnings...)
	ca.issuers = append(ca.issuers, is)
	return nil
}

// Warnings are sentences for the user about what was repaired while opening.
func (ca *CA) Warnings() []string { return slices.Clone(ca.warnings) }

// File is the path of the user's CA certificate (PEM), the one that
// `livegate trust` adds to a trust store.
func (ca *CA) File() string { return filepath.Join(ca.issuers[0].dir, certFile) }

// Certificate is the user's CA certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.issuers[0].cert }

// Pool holds our authorities and nothing else: what a test or an in-process
// client needs to trust Livegate.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, is := range ca.issuers {
		pool.AddCert(is.cert)
	}
	return pool
}

// TLS is a server configuration that answers every SNI it may. http/1.1 and h2
// are offered.
func (ca *CA) TLS() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: ca.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}

// GetCertificate chooses by SNI. Clients that name nothing (they dialled an IP
// address) get the certificate of that address, if it is a loopback one, else
// localhost's.
func (ca *CA) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" {
		name = "localhost"
		if hello.Conn != nil {
			if host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String()); err == nil && net.ParseIP(host).IsLoopback() {
				name = host
			}
		}
	}
	return ca.Leaf(name)
}

// Leaf returns a certificate for a host name or loopback address, made now or
// earlier. A name outside every constraint is an error.
func (ca *CA) Leaf(host string) (*tls.Certificate, error) {
	name := normalise(host)
	now := ca.now()
	ca.mu.Lock()
	cert := ca.leaves[name]
	ca.mu.Unlock()
	if cert != nil && cert.Leaf.NotAfter.Sub(now) > leafLeft {
		return cert, nil
	}
	is := ca.issuerFor(name)
	if is == nil {
		return nil, fmt.Errorf("the local CA may not sign for %q: it is limited to AWS host names, localhost and the custom domains of the template", host)
	}
	cert, err := is.leaf(name, ca.leafKey, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", host, err)
	}
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if len(ca.leaves) >= maxLeaves {
		for old := range ca.leaves { // any one: this happens to scanners only
			delete(ca.leaves, old)
			break
		}
	}
	ca.leaves[name] = cert
	return cert, nil
}

// issuerFor is the first authority whose constraints permit name; nil if none.
func (ca *CA) issuerFor(name string) *issuer {
	for _, is := range ca.issuers {
		if permitted(is.cert, name) {
			return is
		}
	}
	return nil
}
