package localca

import (
	"crypto/x509"
	"net"
	"slices"
	"strings"
)

// constraints are what an authority may sign for. A DNS constraint covers the
// name and everything below it (RFC 5280 §4.2.1.10).
type constraints struct {
	dns []string
	ips []*net.IPNet
}

// userNames are the constraints of every user's CA: AWS's service domains and
// this machine.
func userNames() constraints {
	return constraints{
		dns: []string{"amazonaws.com", "amazonaws.com.cn", "api.aws", "on.aws", "localhost"},
		ips: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
}

// nowhere is a range that holds no usable host. An authority without IP ranges
// must still say so: with DNS constraints alone it could sign for every address,
// since a constraint binds only names of its own kind.
func nowhere() []*net.IPNet {
	return []*net.IPNet{
		{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)},
		{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	}
}

// apply writes the constraints into a CA template.
func (c constraints) apply(t *x509.Certificate) {
	t.PermittedDNSDomainsCritical = true
	t.PermittedDNSDomains = c.dns
	t.PermittedIPRanges = c.ips
	if len(c.ips) == 0 {
		t.ExcludedIPRanges = nowhere()
	}
}

// of reports whether cert carries exactly these constraints.
func (c constraints) of(cert *x509.Certificate) bool {
	want := &x509.Certificate{}
	c.apply(want)
	return cert.PermittedDNSDomainsCritical &&
		slices.Equal(cert.PermittedDNSDomains, want.PermittedDNSDomains) &&
		slices.EqualFunc(cert.PermittedIPRanges, want.PermittedIPRanges, sameNet) &&
		slices.EqualFunc(cert.ExcludedIPRanges, want.ExcludedIPRanges, sameNet)
}

func sameNet(a, b *net.IPNet) bool { return a.String() == b.String() }

// permitted applies a CA's constraints to one normalised name, as a verifier
// will: signing something that no client accepts helps nobody.
func permitted(ca *x509.Certificate, name string) bool {
	if ip := net.ParseIP(name); ip != nil {
		return slices.ContainsFunc(ca.PermittedIPRanges, func(n *net.IPNet) bool { return n.Contains(ip) })
	}
	if !dnsName(name) {
		return false
	}
	return slices.ContainsFunc(ca.PermittedDNSDomains, func(d string) bool {
		return name == d || strings.HasSuffix(name, "."+d)
	})
}

// normalise brings a host name or address to one spelling.
func normalise(host string) string {
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil {
		return ip.String()
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// dnsName reports whether s can be a DNS name in a certificate: letters,
// digits, hyphens and underscores in labels of 1–63, 253 in all. Anything else
// in an SNI is hostile or broken.
func dnsName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
