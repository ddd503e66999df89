package gateway

import (
	"crypto/x509"
	"os"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// Client certificates on custom domains (Metadata: Livegate: TrustStore: on the
// domain; AWS has no mutual TLS for WebSocket APIs).
//
// The TLS layer asks for a certificate by the name in the client's hello, and the
// gateway checks it by the name in the Host header. Checking only the first would let
// a client in that greets with a name that asks for nothing.

// trusts are the CA certificates of domains that want client certificates.
type trusts map[*model.Domain]*x509.CertPool

func readTrusts(app *model.App) (trusts, error) {
	var t trusts
	for _, d := range app.Domains {
		if d.TrustStore == "" {
			continue
		}
		pem, err := os.ReadFile(d.TrustStore)
		if err != nil {
			return nil, fault.New(fault.BadRequest, "the trust store of domain %s: %v", d.Name, err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fault.New(fault.BadRequest, "the trust store of domain %s, %s, has no CERTIFICATE in PEM form", d.Name, d.TrustStore)
		}
		if t == nil {
			t = trusts{}
		}
		t[d] = pool
	}
	return t, nil
}

// ClientCAs are the CA certificates that a client must have its own from, if it
// greets with this host name; nil: none is asked for. A server's tls.Config asks with
// it in GetConfigForClient (ClientAuth: tls.RequestClientCert is enough, because the
// gateway verifies what comes).
func (g *Gateway) ClientCAs(host string) *x509.CertPool {
	d := g.current.Load()
	if d == nil || d.trusts == nil {
		return nil
	}
	host = model.HostName(host)
	for domain, pool := range d.trusts {
		if domain.Matches(host) {
			return pool
		}
	}
	return nil
}

// certified says why a client's certificate does not do for a domain; "" when it does,
// or none is wanted.
func (d *deployment) certified(domain *model.Domain, h *handshake) string {
	if domain == nil || domain.TrustStore == "" {
		return ""
	}
	switch {
	case d.trusts[domain] == nil:
		return "the trust store of domain " + domain.Name + " was not read"
	case !h.secure:
		return "domain " + domain.Name + " wants a client certificate, and this is no TLS connection"
	case len(h.certificates) == 0:
		return "domain " + domain.Name + " wants a client certificate, and none was shown"
	}
	between := x509.NewCertPool()
	for _, c := range h.certificates[1:] {
		between.AddCert(c)
	}
	_, err := h.certificates[0].Verify(x509.VerifyOptions{
		Roots: d.trusts[domain], Intermediates: between, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "the client certificate for domain " + domain.Name + " does not do: " + err.Error()
	}
	return ""
}

// locate finds the stage a client wants. Everything it may not have looks the
// same to it: 403 Forbidden.
func (d *deployment) locate(h *handshake) (model.Address, *slot, string) {
	addr, ok := d.app.Locate(h.host, h.path)
	switch {
	case !ok && addr.API != nil:
		return addr, nil, "API " + addr.API.LogicalID + " has no stage for path " + h.path
	case !ok:
		return addr, nil, "no API and stage at " + h.host + h.path
	case addr.Rest != "":
		return addr, nil, "nothing may follow the stage in a WebSocket URL: " + h.path
	case !addr.Stage.Deployed:
		return addr, nil, "stage " + addr.Stage.Name + " has no deployment: set AutoDeploy, DeploymentId or the deployment's StageName"
	case addr.API.DisableExecuteAPIEndpoint && addr.Custom == nil && executeAPIHost(h.host):
		return addr, nil, "API " + addr.API.LogicalID + " has DisableExecuteApiEndpoint: use its custom domain"
	}
	if why := d.certified(addr.Custom, h); why != "" {
		return addr, nil, why
	}
	return addr, d.slots[slotKey{addr.API.ID, addr.Stage.Name}], ""
}

// executeAPIHost reports whether a host is the default endpoint's.
func executeAPIHost(host string) bool {
	_, suffix, _ := strings.Cut(model.HostName(host), ".")
	return strings.HasPrefix(suffix, "execute-api.")
}
