package gateway

import (
	"crypto/x509"
	"os"
	"slices"
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
	for _, domain := range d.app.Domains { // the first one that covers the host, as in Locate
		if domain.Matches(host) {
			return d.trusts[domain]
		}
	}
	return nil
}

// Certified says why a client's certificate chain, its own first, does not do for a
// custom domain: an error of kind fault.Forbidden, whose text is not for the client. nil
// when it does, or the domain wants none.
func (g *Gateway) Certified(domain *model.Domain, secure bool, chain []*x509.Certificate) error {
	d := g.current.Load()
	if d == nil {
		return fault.New(fault.Unavailable, "nothing is deployed yet")
	}
	if why := d.certified(domain, secure, chain); why != "" {
		return fault.New(fault.Forbidden, "%s", why)
	}
	return nil
}

// certified says why a client's certificate does not do for a domain; "" when it does,
// or none is wanted.
func (d *deployment) certified(domain *model.Domain, secure bool, chain []*x509.Certificate) string {
	if domain == nil || domain.TrustStore == "" {
		return ""
	}
	switch {
	case d.trusts[domain] == nil:
		return "the trust store of domain " + domain.Name + " was not read"
	case !secure:
		return "domain " + domain.Name + " wants a client certificate, and this is no TLS connection"
	case len(chain) == 0:
		return "domain " + domain.Name + " wants a client certificate, and none was shown"
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
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
	case addr.API.DisableExecuteAPIEndpoint && addr.Custom == nil && (executeAPIHost(h.host) || d.certifies(addr.API)):
		return addr, nil, "API " + addr.API.LogicalID + " has DisableExecuteApiEndpoint: use its custom domain"
	}
	if why := d.certified(addr.Custom, h.secure, h.certificates); why != "" {
		return addr, nil, why
	}
	return addr, d.slots[slotKey{addr.API.ID, addr.Stage.Name}], ""
}

// certifies reports whether a domain of an API wants client certificates. The other names
// that find it, localhost and whatever else a Host header says, are then no way around.
func (d *deployment) certifies(a *model.API) bool {
	for domain := range d.trusts {
		if slices.ContainsFunc(domain.Mappings, func(m model.Mapping) bool { return m.APIID == a.ID }) {
			return true
		}
	}
	return false
}

// executeAPIHost reports whether a host is the default endpoint's.
func executeAPIHost(host string) bool {
	_, suffix, _ := strings.Cut(model.HostName(host), ".")
	return strings.HasPrefix(suffix, "execute-api.")
}
