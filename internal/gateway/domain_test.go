package gateway

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/model"
)

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{file: filepath.Join(t.TempDir(), name+".pem")}
	a.cert, a.key = issue(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, by *authority, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (a *authority) client(t *testing.T, usage x509.ExtKeyUsage, until time.Time) *x509.Certificate {
	t.Helper()
	c, _ := issue(t, a, &x509.Certificate{Subject: pkix.Name{CommonName: "device-1"}, ExtKeyUsage: []x509.ExtKeyUsage{usage}, NotBefore: until.Add(-2 * time.Hour), NotAfter: until})
	return c
}

// A domain with a trust store lets in who has a client certificate from it, over TLS,
// and nobody else; the name that counts is the one in the Host header.
func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Minute)
	good := ours.client(t, x509.ExtKeyUsageClientAuth, soon)
	var log []string
	g := newGateway(t, nil, func(l model.LogLine) { log = append(log, l.Text) }, mockRoute)
	app := &model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{
		ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Stages: []*model.Stage{{Name: "prod", Deployed: true}}, DisableExecuteAPIEndpoint: true,
	}}, Domains: []*model.Domain{
		{Name: "mtls.example.test", TrustStore: ours.file, Mappings: []model.Mapping{{Key: "a/b", APIID: "k3v9x1m2qz", Stage: "prod"}}},
		{Name: "open.example.test", Mappings: []model.Mapping{{APIID: "k3v9x1m2qz", Stage: "prod"}}},
	}}
	if err := g.Deploy(app); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name, host, path string
		secure           bool
		certs            []*x509.Certificate
		refused          bool
		why              string
	}{
		{"good", "mtls.example.test", "/a/b", true, []*x509.Certificate{good}, false, ""},
		{"port and case", "MTLS.example.test:8443", "/a/b/", true, []*x509.Certificate{good}, false, ""},
		{"none", "mtls.example.test", "/a/b", true, nil, true, "none was shown"},
		{"plain", "mtls.example.test", "/a/b", false, []*x509.Certificate{good}, true, "no TLS connection"},
		{"another CA", "mtls.example.test", "/a/b", true, []*x509.Certificate{theirs.client(t, x509.ExtKeyUsageClientAuth, soon)}, true, "does not do"},
		{"the CA comes along", "mtls.example.test", "/a/b", true, []*x509.Certificate{theirs.client(t, x509.ExtKeyUsageClientAuth, soon), theirs.cert}, true, "does not do"},
		{"a server's", "mtls.example.test", "/a/b", true, []*x509.Certificate{ours.client(t, x509.ExtKeyUsageServerAuth, soon)}, true, "does not do"},
		{"expired", "mtls.example.test", "/a/b", true, []*x509.Certificate{ours.client(t, x509.ExtKeyUsageClientAuth, past)}, true, "does not do"},
		{"no mapping", "mtls.example.test", "/a", true, []*x509.Certificate{good}, true, "no API and stage"},
		{"another domain", "open.example.test", "/", false, nil, false, ""},
		{"the default endpoint", "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com", "/prod", true, []*x509.Certificate{good}, true, "DisableExecuteApiEndpoint"},
	} {
		t.Run(v.name, func(t *testing.T) {
			u := &fakeUpgrade{link: &sink{}}
			g.serve(&handshake{host: v.host, path: v.path, secure: v.secure, certificates: v.certs, at: time.Now(), headers: head{}}, u)
			if (u.refused != nil) != v.refused {
				t.Fatalf("refused %v", u.refused)
			}
			if v.refused && (u.refused.status != 403 || string(u.refused.body) != `{"message":"Forbidden"}` || !strings.Contains(log[len(log)-1], v.why)) {
				t.Errorf("%d %s; log %q", u.refused.status, u.refused.body, log[len(log)-1])
			}
			if u.session != nil {
				u.session.onClose(1000, "")
			}
		})
	}
	if g.ClientCAs("MTLS.example.test:443") == nil || g.ClientCAs("open.example.test") != nil || g.ClientCAs("") != nil {
		t.Error("ClientCAs")
	}
	// A reload that would lose the lock is refused, and the old one stays.
	if err := os.WriteFile(ours.file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := g.Deploy(app); err == nil || !strings.Contains(err.Error(), "has no CERTIFICATE") {
		t.Fatal(err)
	}
	app.Domains[0].TrustStore = ours.file + ".gone"
	if err := g.Deploy(app); err == nil || g.ClientCAs("mtls.example.test") == nil {
		t.Fatal(err)
	}
}

// timed lets everybody in for a while.
type timed struct {
	*authz.Guard
	until time.Time
}

func (g timed) Authorize(context.Context, *authz.Plan, *authz.Request) (*authz.Grant, error) {
	return &authz.Grant{Expires: g.until, Protocol: "bearer"}, nil
}

type closing struct {
	sink
	closed chan int
}

func (c *closing) Close(code int, _ string) { c.closed <- code }

// A connection does not outlive the token that opened it. One that ended before leaves
// no timer behind that would end somebody else.
func TestExpiredGrantsEndConnections(t *testing.T) {
	for name, early := range map[string]bool{"still open": false, "closed before": true} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t, nil, nil, mockRoute)
			g.cfg.Guard = timed{authz.New(authz.Config{}), time.Now().Add(50 * time.Millisecond)}
			connect := &model.Route{Key: "$connect", Access: &model.Access{Origins: []string{"https://app.example.com"}}}
			deploy(t, g, mockRoute, connect)
			l := &closing{closed: make(chan int, 1)}
			s := enter(t, g, l)
			if early {
				s.onClose(1000, "")
			}
			select {
			case code := <-l.closed:
				if early || code != 4401 {
					t.Fatalf("closed with %d", code)
				}
			case <-time.After(200 * time.Millisecond):
				if !early {
					t.Fatal("not closed")
				}
			}
			if !early {
				finish(t, g, s)
			}
		})
	}
}
