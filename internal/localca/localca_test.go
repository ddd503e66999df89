package localca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func mustOpen(t testing.TB, dir string) *CA {
	t.Helper()
	ca, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestLeavesVerifyWithinConstraintsOnly(t *testing.T) {
	ca := mustOpen(t, t.TempDir())
	for _, name := range []string{
		"abc.execute-api.us-east-1.amazonaws.com", "dynamodb.cn-north-1.amazonaws.com.cn", "lambda.us-east-1.api.aws",
		"x.lambda-url.us-east-1.on.aws", "localhost", "abc.localhost", "127.0.0.1", "127.8.9.10", "::1", "LOCALHOST.", "[::1]",
		strings.Repeat("a", 63) + ".s3.us-east-1.amazonaws.com",
	} {
		cert, err := ca.Leaf(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: normalise(name)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"example.org", "evilamazonaws.com", "amazonaws.com.evil.org", "com", "", ".", "..amazonaws.com", "10.0.0.1", "169.254.169.254",
		"::ffff:10.0.0.1", "fe80::1", "*.amazonaws.com", "a b.amazonaws.com", "a\x00.amazonaws.com", "é.amazonaws.com", "localhost.evil",
		strings.Repeat("a", 64) + ".amazonaws.com", strings.Repeat("a.", 130) + "amazonaws.com",
	} {
		if _, err := ca.Leaf(name); err == nil {
			t.Errorf("a certificate for %q", name)
		}
	}
}

// The constraint must hold in the verifier, not only in our own refusal: that is
// what protects the user when the key leaks.
func TestStolenKeyCannotSignForOthers(t *testing.T) {
	ca := mustOpen(t, t.TempDir())
	project, err := ca.WithDomains(t.TempDir(), []string{"ws.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	for i, names := range [][]string{{"bank.example", "10.0.0.1"}, {"bank.example", "127.0.0.1", "10.0.0.1", "dynamodb.us-east-1.amazonaws.com", "2001:db8::1"}} {
		for _, name := range names {
			cert, err := project.issuers[i].leaf(name, ca.leafKey, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: rootOf(project.issuers[i])}); err == nil {
				t.Errorf("authority %d: a certificate for %s passes", i, name)
			}
		}
	}
}

func rootOf(is *issuer) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(is.cert)
	return pool
}

func TestCustomDomains(t *testing.T) {
	ca, dir := mustOpen(t, t.TempDir()), t.TempDir()
	wide, err := ca.WithDomains(dir, []string{"WS.example.org", "*.chat.example", "abc.execute-api.us-east-1.amazonaws.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ws.example.org", "a.chat.example", "localhost"} {
		cert, err := wide.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: wide.Pool(), DNSName: name}); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"example.org", "other.example.org", "chat.example.org"} {
		if _, err := wide.Leaf(name); err == nil {
			t.Errorf("a certificate for %s", name)
		}
	}
	if _, err := ca.Leaf("ws.example.org"); err == nil {
		t.Error("the user's CA signs for a custom domain")
	}
	again, err := ca.WithDomains(dir, []string{"*.chat.example", "ws.example.org"})
	if err != nil || !again.issuers[1].cert.Equal(wide.issuers[1].cert) {
		t.Errorf("the same domains made another CA: %v", err)
	}
	other, err := ca.WithDomains(dir, []string{"new.example"})
	if err != nil || other.issuers[1].cert.Equal(wide.issuers[1].cert) {
		t.Errorf("other domains kept the CA: %v", err)
	}
	if _, err := other.Leaf("ws.example.org"); err == nil {
		t.Error("a domain that is gone is still signed for")
	}
	if same, err := ca.WithDomains(t.TempDir(), []string{"x.localhost"}); err != nil || same != ca {
		t.Errorf("a domain we may sign for needs a CA of its own: %v", err)
	}
	if _, err := ca.WithDomains(t.TempDir(), []string{"not a domain"}); err == nil {
		t.Error("nonsense accepted")
	}
}

func TestSameCAAfterReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "ca")
	a, b := mustOpen(t, dir), mustOpen(t, dir)
	if !a.Certificate().Equal(b.Certificate()) || !a.issuers[0].key.Equal(b.issuers[0].key) {
		t.Fatal("two CAs")
	}
	for file, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, keyFile): 0o600, a.File(): 0o644} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %o", file, info.Mode(), err, want)
		}
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) != 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestManyStartAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	cas := make([]*CA, 16)
	var wg sync.WaitGroup
	for i := range cas {
		wg.Go(func() {
			ca, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			cas[i] = ca
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	final := mustOpen(t, dir)
	for i, ca := range cas {
		cert, err := ca.Leaf("localhost")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: final.Pool(), DNSName: "localhost"}); err != nil {
			t.Fatalf("process %d signs with a key that is not on disk: %v", i, err)
		}
	}
}

func TestWidePermissionsAreRepairedAndTold(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir)
	key := filepath.Join(dir, keyFile)
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ca := mustOpen(t, dir)
	if w := ca.Warnings(); len(w) != 2 || !strings.Contains(w[1], keyFile) || !strings.Contains(w[1], "0644") {
		t.Fatalf("warnings: %q", w)
	}
	if info, _ := os.Stat(key); info.Mode().Perm() != 0o600 {
		t.Fatalf("key is %v", info.Mode())
	}
	if w := mustOpen(t, dir).Warnings(); len(w) != 0 {
		t.Fatalf("still warning: %q", w)
	}
}

func TestDamagedFilesAreNamedAndKept(t *testing.T) {
	other := t.TempDir()
	mustOpen(t, other)
	foreignCert, _ := os.ReadFile(filepath.Join(other, certFile))
	foreignKey, _ := os.ReadFile(filepath.Join(other, keyFile))
	rsa := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 0}})
	for name, c := range map[string]struct {
		file    string
		content []byte
	}{
		"empty key":        {keyFile, nil},
		"half a key":       {keyFile, foreignKey[:60]},
		"not a key":        {keyFile, rsa},
		"another key":      {keyFile, foreignKey},
		"empty cert":       {certFile, nil},
		"half a cert":      {certFile, foreignCert[:200]},
		"garbage cert":     {certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})},
		"another's cert":   {certFile, foreignCert},
		"key in its place": {certFile, foreignKey},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mustOpen(t, dir)
			path := filepath.Join(dir, c.file)
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "delete the directory") {
				t.Fatalf("error: %v", err)
			}
			if got, _ := os.ReadFile(path); !bytes.Equal(got, c.content) {
				t.Fatal("the damaged file was overwritten")
			}
		})
	}
	t.Run("key is a link", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(filepath.Join(other, keyFile), filepath.Join(dir, keyFile)); err != nil {
			t.Skip(err)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "regular file") {
			t.Fatalf("error: %v", err)
		}
	})
	t.Run("directory is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		os.WriteFile(file, nil, 0o600)
		if _, err := Open(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Fatalf("error: %v", err)
		}
	})
	t.Run("key without certificate", func(t *testing.T) {
		dir := t.TempDir()
		was := mustOpen(t, dir)
		os.Remove(filepath.Join(dir, certFile))
		if is := mustOpen(t, dir); !is.issuers[0].key.Equal(was.issuers[0].key) {
			t.Fatal("the key was replaced")
		}
	})
}

func TestRenewal(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	clock := func() time.Time { return now }
	ca, err := open(dir, clock)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := ca.Leaf("localhost")
	if same, _ := ca.Leaf("localhost"); same != first {
		t.Error("not cached")
	}
	now = now.Add(leafLife - leafLeft - time.Hour)
	if same, _ := ca.Leaf("localhost"); same != first {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Hour)
	renewed, err := ca.Leaf("localhost")
	if err != nil || renewed == first || renewed.Leaf.NotAfter.Sub(now) < leafLife-time.Minute {
		t.Errorf("not renewed: %v", err)
	}
	now = ca.Certificate().NotAfter.Add(-caRenew + time.Hour)
	next, err := open(dir, clock)
	if err != nil || next.Certificate().Equal(ca.Certificate()) || !next.issuers[0].key.Equal(ca.issuers[0].key) {
		t.Errorf("CA not renewed on its key: %v", err)
	}
}

func TestCacheIsBoundedAndConcurrent(t *testing.T) {
	ca := mustOpen(t, t.TempDir())
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range maxLeaves/4 + 50 {
				if _, err := ca.Leaf(fmt.Sprintf("h%d-%d.localhost", g, i)); err != nil {
					t.Error(err)
					return
				}
				if _, err := ca.Leaf("shared.localhost"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(ca.leaves); n > maxLeaves {
		t.Fatalf("%d certificates kept", n)
	}
}

func TestBundle(t *testing.T) {
	ca, dir := mustOpen(t, t.TempDir()), t.TempDir()
	user := mustOpen(t, t.TempDir())
	mine := filepath.Join(dir, "mine.pem")
	text, _ := os.ReadFile(user.File())
	os.WriteFile(mine, append([]byte("# a comment\n"), text...), 0o600)
	secret, _ := os.ReadFile(filepath.Join(filepath.Dir(user.File()), keyFile))
	os.WriteFile(mine, append(append([]byte("# note\n"), text...), secret...), 0o600)

	path := filepath.Join(dir, "sub", "bundle.pem")
	found, err := ca.Bundle(path, Roots{File: mine, Extra: []string{mine, ca.File()}})
	if err != nil || !found {
		t.Fatalf("%v %v", found, err)
	}
	out, _ := os.ReadFile(path)
	if n := bytes.Count(out, []byte("BEGIN CERTIFICATE")); n != 2 {
		t.Errorf("%d certificates, want ours and the user's", n)
	}
	if bytes.Contains(out, []byte("PRIVATE")) {
		t.Error("a private key was copied")
	}
	for _, c := range []*CA{ca, user} {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(out)
		cert, _ := c.Leaf("localhost")
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: pool}); err != nil {
			t.Error(err)
		}
	}
	if _, err := ca.Bundle(path, Roots{File: filepath.Join(dir, "absent")}); err == nil {
		t.Error("an SSL_CERT_FILE that is not there is ignored")
	}
	if _, err := ca.Bundle(path, Roots{Extra: []string{filepath.Join(filepath.Dir(user.File()), keyFile)}}); err == nil || !strings.Contains(err.Error(), "no PEM certificates") {
		t.Errorf("a file without certificates: %v", err)
	}
	if _, err := ca.Bundle(path, Roots{}); err != nil {
		t.Error(err)
	}
	system, _ := os.ReadFile(path)
	if _, err := os.Stat("/etc/ssl/certs/ca-certificates.crt"); err == nil && bytes.Count(system, []byte("BEGIN")) < 50 {
		t.Errorf("the system's roots are missing: %d bytes", len(system))
	}
}

func TestHandshakeWithoutSNI(t *testing.T) {
	ca := mustOpen(t, t.TempDir())
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := tls.Listen("tcp", address, ca.TLS())
		if err != nil {
			t.Logf("skipped: %v", err)
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if c, err := ln.Accept(); err == nil {
				c.(*tls.Conn).Handshake()
				c.Close()
			}
		}()
		host, _, _ := net.SplitHostPort(ln.Addr().String())
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: host})
		if err != nil {
			t.Error(err)
		} else {
			c.Close()
		}
		ln.Close()
		<-done
	}
}
