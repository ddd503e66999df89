package localca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Roots says where the roots besides ours come from. The zero value takes the
// system's.
type Roots struct {
	File  string   // the user's SSL_CERT_FILE: replaces the system's file, as in OpenSSL
	Dir   string   // the user's SSL_CERT_DIR: added
	Extra []string // further PEM files: NODE_EXTRA_CA_CERTS, AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE…; added
}

// systemFiles is where systems keep all their roots in one PEM file; the first
// that exists counts.
func systemFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Ubuntu, Gentoo, Arch
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // RHEL 7 and later, Fedora, Amazon Linux
		"/etc/pki/tls/certs/ca-bundle.crt",                  // RHEL 6
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/ssl/cert.pem",                                 // macOS, Alpine, OpenBSD
		"/usr/local/share/certs/ca-root-nss.crt",            // FreeBSD
		"/opt/homebrew/etc/ca-certificates/cert.pem",        // macOS with Homebrew
	}
}

// Bundle writes one PEM file (0644) with the system's roots, the user's own and
// ours. Most programs take a bundle *instead of* their roots, so a file with ours
// alone would cut them off from every other https server. Only certificates are
// copied, each once. The path may be given in SSL_CERT_FILE, AWS_CA_BUNDLE,
// REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and NODE_EXTRA_CA_CERTS alike.
//
// A file the user named that cannot be read is an error; a system without roots
// is not (found is false then).
func (ca *CA) Bundle(path string, roots Roots) (found bool, err error) {
	var certs [][]byte
	for _, is := range ca.issuers {
		certs = append(certs, is.der)
	}
	if roots.File != "" {
		if certs, err = appendPEM(certs, roots.File); err != nil {
			return false, fmt.Errorf("CA bundle: SSL_CERT_FILE: %w", err)
		}
	} else {
		for _, file := range systemFiles() {
			if more, err := appendPEM(certs, file); err == nil {
				certs = more
				break
			}
		}
	}
	if roots.Dir != "" {
		files, _ := filepath.Glob(filepath.Join(roots.Dir, "*"))
		for _, file := range files { // such directories hold other files as well
			if more, err := appendPEM(certs, file); err == nil {
				certs = more
			}
		}
	}
	for _, file := range roots.Extra {
		if certs, err = appendPEM(certs, file); err != nil {
			return false, fmt.Errorf("CA bundle: %w", err)
		}
	}
	var out bytes.Buffer
	seen := map[string]bool{}
	for _, der := range certs {
		if !seen[string(der)] {
			seen[string(der)] = true
			// Encoding to memory cannot fail: there are no headers.
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der})
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return false, fmt.Errorf("CA bundle: %w", err)
	}
	if err := replace(path, out.Bytes(), 0o644); err != nil {
		return false, fmt.Errorf("CA bundle: %w", err)
	}
	return len(seen) > len(ca.issuers), nil
}

// appendPEM adds the certificates of a PEM file. A file without any is an error.
func appendPEM(certs [][]byte, file string) ([][]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := slices.Clone(certs)
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			out = append(out, block.Bytes)
		}
	}
	if len(out) == len(certs) {
		return nil, fmt.Errorf("%s holds no PEM certificates", file)
	}
	return out, nil
}
