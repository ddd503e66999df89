package stack

import (
	"strings"

	"github.com/livegate/livegate/internal/cfn"
	"github.com/livegate/livegate/internal/model"
)

func (b *builder) domain(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("DomainName", "DomainNameConfigurations", "MutualTlsAuthentication", "RoutingMode", "Tags")
	if p.missing("DomainName", "Add `DomainName: ws.example.com`.") {
		return
	}
	name := p.str("DomainName")
	if name == "" {
		return
	}
	if strings.ContainsAny(name, "/: ") || !strings.Contains(name, ".") {
		in.report(Error, "bad-domain", r, p.pos("DomainName"), "Write a host name without scheme and path.", "%s is not a domain name.", quote(name))
		return
	}
	if p.wrote("MutualTlsAuthentication") {
		in.report(Warning, "no-mutual-tls", r, p.pos("MutualTlsAuthentication"), "For here, name a file of CA certificates: `Metadata: {Livegate: {TrustStore: clients-ca.pem}}`.", "AWS has no mutual TLS for WebSocket APIs: %s has no effect on %s.", "MutualTlsAuthentication", name)
	}
	if b.domains[name] == nil {
		b.addDomain(name, r)
	}
	b.domains[name].TrustStore = b.trustStore(in, r)
}

// trustStore reads Metadata: Livegate: TrustStore: of a domain, the CA certificates
// that its clients must have theirs from. A file that is not there is an error: the
// domain would be open.
func (b *builder) trustStore(in *instance, r *cfn.Resource) string {
	p, ok := in.settings(r, []string{"TrustStore"}, "a domain")
	if !ok || !p.wrote("TrustStore") {
		return ""
	}
	name := p.str("TrustStore")
	if name == "" {
		in.report(Error, "bad-trust-store", r, p.pos("TrustStore"), "Name a file of CA certificates in PEM form.", "The TrustStore of %s is empty.", r.ID)
		return ""
	}
	path := in.abs(name)
	data, err := b.read(path)
	switch {
	case err != nil:
		in.report(Error, "bad-trust-store", r, p.pos("TrustStore"), "Paths are relative to the template.", "The trust store %s of %s cannot be read.", quote(b.shown(path)), r.ID)
	case !strings.Contains(string(data), "-----BEGIN CERTIFICATE-----"):
		in.report(Error, "bad-trust-store", r, p.pos("TrustStore"), "It starts with -----BEGIN CERTIFICATE-----.", "The trust store %s of %s holds no certificate in PEM form.", quote(b.shown(path)), r.ID)
	}
	return path
}

func (b *builder) addDomain(name string, r *cfn.Resource) *model.Domain {
	d := &model.Domain{LogicalID: r.ID, Name: name, Pos: position(r.Pos)}
	b.domains[name] = d
	b.app.Domains = append(b.app.Domains, d)
	return d
}

func (b *builder) apiMapping(in *instance, r *cfn.Resource) {
	p := in.props(r)
	p.known("ApiId", "ApiMappingKey", "DomainName", "Stage")
	a := b.owner(p)
	if a == nil || p.missing("DomainName", "Add `DomainName: !Ref MyDomain`.") || p.missing("Stage", "Add `Stage: !Ref MyStage`.") {
		return
	}
	name, stage, key := p.str("DomainName"), p.str("Stage"), p.str("ApiMappingKey")
	if name == "" || stage == "" {
		return
	}
	switch {
	case strings.HasPrefix(key, "/") || strings.Contains(key, "//"):
		in.report(Error, "bad-mapping-key", r, p.pos("ApiMappingKey"), "", "API mapping key should not start with a '/' or have consecutive '/'s.")
	case len(key) > 300:
		in.quota(r, p.pos("ApiMappingKey"), "the mapping key of "+r.ID, len(key), 300, "characters")
	case strings.HasSuffix(key, "/"):
		in.report(Error, "bad-mapping-key", r, p.pos("ApiMappingKey"), "", "API mapping key should not end with a '/'.")
	}
	known := false
	var names []string
	for _, s := range a.api.Stages {
		known = known || s.Name == stage
		names = append(names, s.Name)
	}
	for _, d := range a.deployed {
		known = known || d.name == stage
	}
	if !known {
		in.report(Error, "unknown-stage", r, p.pos("Stage"), cfn.DidYouMean(stage, names), "%s maps the stage %s, which the API %s does not have.", r.ID, quote(stage), a.api.LogicalID)
		return
	}
	d := b.domains[name]
	if d == nil {
		// A domain made elsewhere in the account; here the mapping is enough.
		d = b.addDomain(name, r)
	}
	for _, m := range d.Mappings {
		if m.Key == key {
			in.report(Error, "bad-mapping-key", r, p.pos("ApiMappingKey"), "Give one of them another ApiMappingKey.", "%s already has a mapping for the key %s (line %d).", name, quote(key), m.Pos.Line)
			return
		}
	}
	d.Mappings = append(d.Mappings, model.Mapping{Key: key, APIID: a.api.ID, Stage: stage, Pos: position(r.Pos)})
}
