package cfn

import (
	"crypto/sha1" // the transform's own hash of names, not a secret
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
)

var basePath = regexp.MustCompile(`^[0-9A-Za-z/_-]*$`)

// webSocketDomain makes the custom domain, its mappings and its DNS records.
func (s *samResource) webSocketDomain(stage *Resource) {
	d := s.props.Entry("Domain")
	if d == nil {
		return
	}
	if m := d.Value.Entry("MutualTlsAuthentication"); m != nil && m.Value.Kind != Null {
		s.websocketErrorf(m.Pos, "Remove it, or terminate mutual TLS in front of the API.", "Mutual TLS domain name association is not supported for Websocket APIs.")
	}
	name, certificate := d.Value.Get("DomainName"), d.Value.Get("CertificateArn")
	if name == nil || certificate == nil {
		s.websocketErrorf(d.Pos, "Write `DomainName: ws.example.com` and a CertificateArn under it.", "Custom Domains only works if both DomainName and CertificateArn are provided.")
		return
	}
	endpoint := d.Value.Get("EndpointConfiguration")
	if endpoint == nil {
		endpoint = Text("REGIONAL", d.Pos)
	} else if endpoint.Text != "REGIONAL" {
		s.websocketErrorf(endpoint.Pos, "Write REGIONAL, or leave it out.", "EndpointConfiguration for Custom Domains must be REGIONAL.")
	}
	config := MapOf(d.Pos, Entry{Key: "CertificateArn", Value: certificate}, Entry{Key: "EndpointType", Value: endpoint},
		Entry{Key: "OwnershipVerificationCertificateArn", Value: d.Value.Get("OwnershipVerificationCertificateArn")},
		Entry{Key: "SecurityPolicy", Value: d.Value.Get("SecurityPolicy")})
	domain := s.make("", "AWS::ApiGatewayV2::DomainName", MapOf(d.Pos, Entry{Key: "DomainName", Value: name},
		Entry{Key: "DomainNameConfigurations", Value: ListOf(d.Pos, config)}, Entry{Key: "Tags", Value: s.tags(false)}))
	domain.ID, domain.Pos = "ApiGatewayDomainNameV2"+s.suffix(name), d.Pos
	s.refer("DomainName", domain)
	s.mappings(d, domain, stage)
	s.records(d.Value, domain)
}

func (s *samResource) mappings(d *Entry, domain, stage *Resource) {
	add := func(part string, at Pos, key *Node) {
		m := s.make(part+"ApiMapping", "AWS::ApiGatewayV2::ApiMapping", MapOf(at, Entry{Key: "ApiId", Value: s.api()},
			Entry{Key: "DomainName", Value: call("Ref", Text(domain.ID, at))}, Entry{Key: "Stage", Value: call("Ref", Text(stage.ID, at))},
			Entry{Key: "ApiMappingKey", Value: key}))
		m.Pos = at
	}
	var paths []*Node
	switch base := d.Value.Get("BasePath"); {
	case base == nil:
	case base.Kind == List:
		paths = base.List
	case base.Kind == String && base.Text != "":
		paths = []*Node{base}
	}
	if len(paths) == 0 {
		add("", d.Pos, nil)
	}
	for _, p := range paths {
		switch {
		case p.Kind == Bad:
		case p.Kind != String:
			s.websocketErrorf(p.Pos, "Write the path literally, in quotes if it is a number.", "Basepath must be a string, not %s.", p.Kind)
		case !basePath.MatchString(p.Text):
			s.websocketErrorf(p.Pos, "Use letters, digits, /, - and _.", "Invalid Basepath name provided: %s.", quote(p.Text))
		default:
			add(strings.NewReplacer("-", "", "_", "", "/", "").Replace(p.Text), p.Pos, Text(strings.Trim(p.Text, "/"), p.Pos))
		}
	}
}

// records makes the alias records of a domain. The groups of two APIs in one
// hosted zone have one logical id; as in the transform, the last one stands.
func (s *samResource) records(d *Node, domain *Resource) {
	zone := d.Entry("Route53")
	if zone == nil || zone.Value.Kind == Null || zone.Value.Kind == Bad {
		return
	}
	key, hosted := "HostedZoneId", zone.Value.Get("HostedZoneId")
	if hosted == nil {
		key, hosted = "HostedZoneName", zone.Value.Get("HostedZoneName")
	}
	if hosted == nil {
		s.websocketErrorf(zone.Pos, "Write `HostedZoneId: Z…` under it.", "HostedZoneId or HostedZoneName is required to enable Route53 support on Custom Domains.")
		return
	}
	of := func(attr string) *Node {
		return call("Fn::GetAtt", ListOf(zone.Pos, Text(domain.ID, zone.Pos), Text(attr, zone.Pos)))
	}
	alias := MapOf(zone.Pos, Entry{Key: "EvaluateTargetHealth", Value: zone.Value.Get("EvaluateTargetHealth")},
		Entry{Key: "HostedZoneId", Value: of("RegionalHostedZoneId")}, Entry{Key: "DNSName", Value: of("RegionalDomainName")})
	record := func(typ string) *Node {
		return MapOf(zone.Pos, Entry{Key: "Name", Value: d.Get("DomainName")}, Entry{Key: "Type", Value: Text(typ, zone.Pos)}, Entry{Key: "AliasTarget", Value: alias},
			Entry{Key: "Region", Value: zone.Value.Get("Region")}, Entry{Key: "SetIdentifier", Value: zone.Value.Get("SetIdentifier")})
	}
	sets := []*Node{record("A")}
	if v6 := zone.Value.Get("IpV6"); v6 != nil && v6.Text == "true" {
		sets = append(sets, record("AAAA"))
	}
	id := "RecordSetGroup" + s.suffix(hosted)
	if shared := s.byID[id]; shared != nil && shared.From != "" {
		shared.Properties = shared.Properties.with("RecordSets", ListOf(zone.Pos, sets...))
		return
	}
	group := s.make("", "AWS::Route53::RecordSetGroup", MapOf(zone.Pos, Entry{Key: key, Value: hosted}, Entry{Key: "RecordSets", Value: ListOf(zone.Pos, sets...)}))
	group.ID, group.Pos = id, zone.Pos
}

// suffix is the transform's hash in a generated logical id: ten digits of the
// SHA-1 of a string, or of compact JSON with sorted keys. It sees parameters by
// their values and other functions as written.
func (s *samResource) suffix(n *Node) string {
	if name, arg, ok := n.Call(); ok && name == "Ref" && arg.Kind == String && s.findParameter(arg.Text) != nil {
		if v := s.Eval(n); v.Kind == String {
			n = v
		}
	}
	text := n.Text
	if n.Kind != String {
		text = n.JSON()
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			if sorted, err := json.Marshal(v); err == nil {
				text = string(sorted)
			}
		}
	}
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])[:10]
}
