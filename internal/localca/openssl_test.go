package localca

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program finds a program or skips, saying so.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: its view of our certificates is not tested here", name)
	}
	return path
}

func writePEM(t *testing.T, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenSSLStrict(t *testing.T) {
	openssl := program(t, "openssl")
	ca := mustOpen(t, t.TempDir())
	ca, err := ca.WithDomains(t.TempDir(), []string{"ws.example.org"})
	if err != nil {
		t.Fatal(err)
	}
	verify := func(root []byte, leaf []byte, name string) (string, error) {
		kind := "-verify_hostname"
		if name == "127.0.0.1" {
			kind = "-verify_ip"
		}
		out, err := exec.Command(openssl, "verify", "-x509_strict", "-purpose", "sslserver", kind, name,
			"-CAfile", writePEM(t, root), writePEM(t, leaf)).CombinedOutput()
		return string(out), err
	}
	for name, issuer := range map[string]int{"dynamodb.us-east-1.amazonaws.com": 0, "127.0.0.1": 0, "x.localhost": 0, "ws.example.org": 1} {
		cert, err := ca.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := verify(ca.issuers[issuer].der, cert.Certificate[0], name); err != nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	bad, err := ca.issuers[0].leaf("bank.example", ca.leafKey, ca.now())
	if err != nil {
		t.Fatal(err)
	}
	if out, err := verify(ca.issuers[0].der, bad.Certificate[0], "bank.example"); err == nil || !strings.Contains(out, "permitted subtree violation") {
		t.Errorf("OpenSSL lets our CA sign for bank.example: %s", out)
	}
}

// server answers https for every name we may sign for.
func server(t *testing.T, ca *CA) string {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("hello " + r.Host))
	}))
	srv.TLS = ca.TLS()
	srv.TLS.NextProtos = []string{"http/1.1"}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	_, port, _ := strings.Cut(srv.Listener.Addr().String(), ":")
	return port
}

func TestNodeTrustsBundle(t *testing.T) {
	node := program(t, "node")
	ca := mustOpen(t, t.TempDir())
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if _, err := ca.Bundle(bundle, Roots{}); err != nil {
		t.Fatal(err)
	}
	const script = `
const https = require('https');
https.get({host: '127.0.0.1', port: process.argv[1], servername: 'dynamodb.us-east-1.amazonaws.com',
  headers: {host: 'dynamodb.us-east-1.amazonaws.com'}}, r => r.pipe(process.stdout))
  .on('error', e => { console.log(e.code); process.exit(1) })`
	run := func(env ...string) (string, error) {
		cmd := exec.Command(node, "-e", script, server(t, ca))
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("NODE_EXTRA_CA_CERTS=" + bundle); err != nil || out != "hello dynamodb.us-east-1.amazonaws.com" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run(); err == nil {
		t.Errorf("Node trusts us without the bundle: %s", out)
	}
}

func TestPythonTrustsBundle(t *testing.T) {
	python := program(t, "python3")
	ca := mustOpen(t, t.TempDir())
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if _, err := ca.Bundle(bundle, Roots{}); err != nil {
		t.Fatal(err)
	}
	const script = `
import socket, ssl, sys
ctx = ssl.create_default_context()
ctx.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as s:
    with ctx.wrap_socket(s, server_hostname="x.execute-api.us-east-1.amazonaws.com") as t:
        print(t.version())`
	cmd := exec.Command(python, "-c", script, server(t, ca))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SSL_CERT_FILE=" + bundle}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "TLSv1.") {
		t.Errorf("%v: %s", err, out)
	}
}
