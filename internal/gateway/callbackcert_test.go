package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/conn"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/model"
)

// A callback by way of a domain with a trust store, over real TLS: on a fresh connection,
// which an event loop has first, and on the same one again.
func TestCallbacksWithClientCertificates(t *testing.T) {
	const name = "mtls.example.test"
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	pair := func(a *authority, usage x509.ExtKeyUsage) tls.Certificate {
		c, key := issue(t, a, &x509.Certificate{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{usage}})
		return tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}
	}
	g, s := openOn(t, &sink{}, nil, nil, mockRoute)
	app := &model.App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*model.API{{
		ID: "k3v9x1m2qz", RouteSelectionExpression: "$request.body.action", Stages: []*model.Stage{{Name: "prod", Deployed: true}},
	}}, Domains: []*model.Domain{{Name: name, TrustStore: ours.file, Mappings: []model.Mapping{{APIID: "k3v9x1m2qz", Stage: "prod"}}}}}
	if err := g.Deploy(app); err != nil {
		t.Fatal(err)
	}
	callbacks := connapi.New(connapi.Config{App: func() *model.App { return app }, Registry: g.cfg.Registry, Take: g.Take,
		Certified: func(_ string, d *model.Domain, secure bool, chain []*x509.Certificate) error {
			return g.Certified(d, secure, chain)
		}})
	server := conn.New(conn.Config{HTTP: callbacks, Hot: callbacks, Upgrade: g.ServeUpgrade, TLS: &tls.Config{
		Certificates: []tls.Certificate{pair(ours, x509.ExtKeyUsageServerAuth)}, ClientAuth: tls.RequestClientCert,
	}})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	for who, v := range map[string]struct {
		certs  []tls.Certificate
		status int
	}{
		"ours": {[]tls.Certificate{pair(ours, x509.ExtKeyUsageClientAuth)}, 200}, "theirs": {[]tls.Certificate{pair(theirs, x509.ExtKeyUsageClientAuth)}, 403}, "none": {nil, 403},
	} {
		shown := v.certs
		transport := &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", ln.Addr().String())
			},
			TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(shown) == 0 {
					return &tls.Certificate{}, nil
				}
				return &shown[0], nil
			}},
		}
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+name+"/@connections/"+s.entry.ID().String(), strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			cancel()
			if resp.StatusCode != v.status {
				t.Errorf("%s: %s, want %d", who, resp.Status, v.status)
			}
		}
		transport.CloseIdleConnections()
	}
	if n := callbacks.Stats(); n.Declined == 0 {
		t.Errorf("no event loop was asked: %+v", n)
	}
	finish(t, g, s)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	<-served
}
