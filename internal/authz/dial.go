package authz

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// guardedClient fetches from public addresses only (CWE-918). The address is checked
// when it is connected to, after every way of writing it and every name server has had
// its say: "0x7f.1", a name that resolves to 169.254.169.254, one that resolves to
// something else the second time. There is no proxy, which would resolve names itself,
// and no redirect to another host.
func guardedClient(private bool) *http.Client {
	dialer := &net.Dialer{Timeout: fetchTime, Control: func(_, address string, _ syscall.RawConn) error {
		return checkAddress(address, private)
	}}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchTime, ResponseHeaderTimeout: fetchTime,
			MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: true,
			DisableKeepAlives: true, // it is asked every ten minutes
		},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			first := via[0].URL
			if len(via) > 3 || req.URL.Host != first.Host || req.URL.Scheme != first.Scheme {
				return errors.New("it redirects to another host, or too often")
			}
			return nil
		},
	}
}

// checkAddress refuses "ip:port" inside the network.
func checkAddress(address string, private bool) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && reachable(at.Addr(), private) {
		return nil
	}
	return fault.New(fault.Forbidden, "the address %s is inside the network: nothing is fetched from there", address)
}

// reachable reports whether an address may be fetched from.
func reachable(ip netip.Addr, private bool) bool {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		// Addresses that stand for an IPv4 one are as good as that one.
		if inner, ok := embedded(ip); ok {
			return reachable(inner, false)
		}
	}
	switch {
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLinkLocalUnicast():
		return false
	case metadata(ip):
		return false
	case ip.IsLoopback(), ip.IsPrivate():
		return private
	}
	for _, p := range reserved() {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// metadata reports whether a cloud keeps credentials there outside of link-local.
func metadata(ip netip.Addr) bool {
	return ip == netip.MustParseAddr("fd00:ec2::254") || ip == netip.MustParseAddr("100.100.100.200")
}

// embedded is the IPv4 address in one of NAT64 (RFC 6052), 6to4 (RFC 3056) or the old
// compatible form (RFC 4291 §2.5.5.1).
func embedded(ip netip.Addr) (netip.Addr, bool) {
	b := ip.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(ip):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case netip.MustParsePrefix("2002::/16").Contains(ip):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case netip.MustParsePrefix("::/96").Contains(ip) && !ip.IsLoopback() && !ip.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return ip, false
}

// reserved are the special ranges that are no public hosts (RFC 6890).
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b:1::/48"),
		netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("fec0::/10"),
	}
}
