package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// store is one authority's directory while it is being opened.
type store struct {
	dir      string
	now      time.Time
	warnings []string
}

// open reads key and certificate, making what is missing. The key comes first
// and is created exclusively, so of two processes that start at once one wins
// and both use its key; any certificate of that key will then do for both.
func (s *store) open(name string, c constraints) (*issuer, error) {
	if err := s.prepare(); err != nil {
		return nil, err
	}
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	der, cert, err := s.cert(key, name, c)
	if err != nil {
		return nil, err
	}
	return &issuer{dir: s.dir, cert: cert, der: der, key: key}, nil
}

// prepare makes the directory and repairs its permissions.
func (s *store) prepare() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("local CA: cannot make its directory: %w", err)
	}
	info, err := os.Stat(s.dir)
	if err != nil {
		return fmt.Errorf("local CA: %w", err)
	}
	return s.tighten(s.dir, info, 0o700)
}

// tighten takes group's and others' permissions away, telling the user, and
// refuses files of other users.
func (s *store) tighten(path string, info fs.FileInfo, mode fs.FileMode) error {
	if other, known := foreign(info); known && other {
		return fmt.Errorf("local CA: %s belongs to another user, who could read or replace the CA key; remove it or choose another directory", path)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("local CA: %s is accessible to other users (mode %04o) and cannot be repaired: %w", path, info.Mode().Perm(), err)
	}
	s.warnings = append(s.warnings, fmt.Sprintf(
		"%s was accessible to other users (mode %04o); it is %04o now. If this machine is shared, delete %s to have a new CA made.",
		path, info.Mode().Perm(), mode, s.dir))
	return nil
}

// damaged is the error for a file that is there but cannot be used.
func (s *store) damaged(file, what string) error {
	return fmt.Errorf("local CA: %s %s; delete the directory %s to have a new CA made (and run `livegate trust` again if you had)",
		filepath.Join(s.dir, file), what, s.dir)
}

// key reads the private key, or makes it.
func (s *store) key() (*ecdsa.PrivateKey, error) {
	path := filepath.Join(s.dir, keyFile)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeKey(path); err != nil {
			return nil, fmt.Errorf("local CA: cannot write its key: %w", err)
		}
		info, err = os.Lstat(path)
	}
	if err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, s.damaged(keyFile, "is not a regular file")
	}
	if err := s.tighten(path, info, 0o600); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("local CA: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, s.damaged(keyFile, "does not hold a PEM private key")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, s.damaged(keyFile, "does not hold an ECDSA P-256 key")
	}
	return key, nil
}

func (s *store) makeKey(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	err = create(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was first: its key is ours
	}
	return err
}

// cert reads the certificate, or makes it: when there is none, when it is about
// to expire, or when the constraints are not those wanted.
func (s *store) cert(key *ecdsa.PrivateKey, name string, c constraints) ([]byte, *x509.Certificate, error) {
	path := filepath.Join(s.dir, certFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("local CA: %w", err)
	}
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, nil, s.damaged(certFile, "does not hold a PEM certificate")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, s.damaged(certFile, "cannot be read ("+err.Error()+")")
		}
		if !key.PublicKey.Equal(cert.PublicKey) || cert.CheckSignatureFrom(cert) != nil {
			return nil, nil, s.damaged(certFile, "does not belong to the key beside it")
		}
		if c.of(cert) && cert.NotAfter.Sub(s.now) > caRenew && s.now.After(cert.NotBefore) {
			return block.Bytes, cert, nil
		}
	}
	der, err := selfSign(key, name, c, s.now)
	if err != nil {
		return nil, nil, fmt.Errorf("local CA: %w", err)
	}
	if err := replace(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, nil, fmt.Errorf("local CA: cannot write its certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	return der, cert, err
}

// replace writes a file so that readers see the old or the new content, never a
// part.
func replace(path string, data []byte, mode fs.FileMode) error {
	tmp, err := temp(path, data, mode)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Rename(tmp, path)
}

// create is replace for a file (0600) that must not exist yet: fs.ErrExist if it
// does. A hard link is the one operation that is both atomic and exclusive; file
// systems without links get an exclusive create.
func create(path string, data []byte) error {
	tmp, err := temp(path, data, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err = os.Link(tmp, path); err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// temp writes data to a new file beside path.
func temp(path string, data []byte, mode fs.FileMode) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
