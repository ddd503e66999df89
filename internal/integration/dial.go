package integration

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// Transport dials anything but link-local and metadata addresses. The address is
// checked when the socket is made, after name resolution, so that no name, however
// it is spelled and whatever it resolves to the second time, leads to a metadata
// service. A proxy of the environment is used as usual, except for hosts that are
// such an address by name: behind a proxy nobody here sees what a name resolves to.
func Transport() *http.Transport { return transport(nil) }

// maxHeader bounds a back end's header; net/http would read 10 MB for each call.
const maxHeader = 256 << 10

func transport(resolver *net.Resolver) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	d := &net.Dialer{Timeout: 10 * time.Second, Resolver: resolver, Control: refuse}
	t.DialContext = d.DialContext
	t.Proxy = proxy
	t.MaxResponseHeaderBytes = maxHeader
	return t
}

// refuse is the last word before a socket connects.
func refuse(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil // not an IP socket
	}
	return checkAddress(ap.Addr())
}

// metadata are the addresses of instance and container metadata that are not
// link-local: AWS on IPv6, Azure, Alibaba, Oracle.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("192.0.0.192/32"),
}

func checkAddress(addr netip.Addr) error {
	for _, a := range [...]netip.Addr{addr.Unmap().WithZone(""), embedded(addr)} {
		if a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() {
			return fault.New(fault.Forbidden, "%s is a link-local address: integrations may not call those", addr)
		}
		for _, p := range metadata {
			if p.Contains(a) {
				return fault.New(fault.Forbidden, "%s is a metadata service: integrations may not call those", addr)
			}
		}
	}
	return nil
}

// embedded is the IPv4 address inside an IPv6 one that a router may translate:
// NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible (RFC 4291 §2.5.5.1).
func embedded(addr netip.Addr) netip.Addr {
	if !addr.Is6() || addr.Is4In6() {
		return netip.Addr{}
	}
	b := addr.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(addr), netip.MustParsePrefix("::/96").Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}

// metadataNames resolve to metadata services inside a cloud.
var metadataNames = []string{"metadata.google.internal", "metadata", "instance-data", "metadata.azure.internal"}

// numeric are the spellings of an IPv4 address that inet_aton takes: 0xa9fea9fe, 127.1.
var numeric = regexp.MustCompile(`^(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}$`)

func proxy(r *http.Request) (*url.URL, error) {
	via, err := http.ProxyFromEnvironment(r)
	if via == nil || err != nil {
		return via, err
	}
	return via, behindProxy(r.URL.Hostname())
}

// behindProxy checks a host that a proxy will resolve.
func behindProxy(host string) error {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	addr, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return checkAddress(addr)
	case slices.Contains(metadataNames, host):
		return fault.New(fault.Forbidden, "%s is a metadata service: integrations may not call those", host)
	case numeric.MatchString(host): // no address to us, and maybe one to the proxy
		return fault.New(fault.Forbidden, "%s is an unusual spelling of an address: write it as four decimal numbers", host)
	}
	return nil
}
