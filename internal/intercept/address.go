package intercept

import (
	"net/netip"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// check refuses addresses that functions must not reach through us: with our
// rights and from our place they would mean something else than where the
// function runs in production.
func check(t target, a netip.Addr) error {
	switch kindOf(a) {
	case "":
		return nil
	case loopback:
		return fault.New(fault.Forbidden, "%s leads to this machine (%s), which functions reach directly (NO_PROXY) or by name: "+
			"--map-host %s=127.0.0.1:PORT", t, a, t.host)
	case metadata:
		return fault.New(fault.Forbidden, "%s leads to a cloud metadata or link-local address (%s): functions may not read this machine's own credentials", t, a)
	}
	return fault.New(fault.Forbidden, "%s leads to %s, which is not the address of a server", t, a)
}

// checkName refuses names that only ever mean this machine or its metadata
// service, before a resolver or an outer proxy is asked.
func checkName(t target) error {
	switch {
	case t.host == "localhost" || strings.HasSuffix(t.host, ".localhost"):
		return check(t, netip.IPv6Loopback())
	case t.host == "metadata" || t.host == "metadata.google.internal" || t.host == "metadata.goog" ||
		t.host == "instance-data" || t.host == "instance-data.ec2.internal":
		return check(t, netip.AddrFrom4([4]byte{169, 254, 169, 254}))
	}
	return nil
}

// Kinds of addresses that are refused.
const (
	loopback = "loopback"
	metadata = "metadata"
	unusable = "unusable"
)

// metadataPrefixes hold instance metadata and platform services.
func metadataPrefixes() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("169.254.0.0/16"),     // link-local; EC2, ECS, GCP, Azure metadata
		netip.MustParsePrefix("fe80::/10"),          // link-local
		netip.MustParsePrefix("fd00:ec2::/32"),      // EC2: metadata ::254, DNS ::253, time ::123
		netip.MustParsePrefix("fd20:ce::/32"),       // GCP metadata over IPv6
		netip.MustParsePrefix("100.100.100.200/32"), // Alibaba metadata
		netip.MustParsePrefix("168.63.129.16/32"),   // Azure platform services
		netip.MustParsePrefix("192.0.0.192/32"),     // Oracle metadata, older
	}
}

// kindOf classifies an address, "" for one that may be dialled. IPv6 addresses
// that carry an IPv4 address (RFC 4291 §2.5.5, RFC 6052, RFC 3056, RFC 4380) are
// judged by both.
func kindOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	for _, p := range metadataPrefixes() {
		if p.Contains(a) {
			return metadata
		}
	}
	switch {
	case a.IsLoopback():
		return loopback
	case a.IsUnspecified():
		return loopback // Linux connects 0.0.0.0 and :: to itself
	case !a.IsValid() || a.IsMulticast() || a.IsInterfaceLocalMulticast():
		return unusable
	}
	if a.Is4() {
		if b := a.As4(); b[0] == 0 || b[0] >= 240 {
			return unusable
		}
		return ""
	}
	for _, v4 := range embedded(a.As16()) {
		if k := kindOf(v4); k != "" {
			return k
		}
	}
	return ""
}

// embedded are the IPv4 addresses that an IPv6 address of a transition
// mechanism leads to.
func embedded(b [16]byte) []netip.Addr {
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	zeros := func(from, to int) bool {
		for _, x := range b[from:to] {
			if x != 0 {
				return false
			}
		}
		return true
	}
	switch {
	case zeros(0, 12): // ::a.b.c.d, IPv4-compatible
		return []netip.Addr{v4(12)}
	case zeros(0, 8) && b[8] == 0xff && b[9] == 0xff: // ::ffff:0:a.b.c.d, SIIT
		return []netip.Addr{v4(12)}
	case b[0] == 0 && b[1] == 0x64 && b[2] == 0xff && b[3] == 0x9b: // 64:ff9b::/32, NAT64
		return []netip.Addr{v4(12)}
	case b[0] == 0x20 && b[1] == 0x02: // 2002::/16, 6to4
		return []netip.Addr{v4(2)}
	case b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0: // 2001::/32, Teredo
		for i := 12; i < 16; i++ {
			b[i] ^= 0xff
		}
		return []netip.Addr{v4(4), v4(12)}
	}
	return nil
}
