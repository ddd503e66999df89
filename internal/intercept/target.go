package intercept

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/fault"
)

// target is a destination: a lower-case host name or an IP address, and a port.
type target struct {
	host string     // no brackets, no trailing dot
	addr netip.Addr // valid when host is an address
	port string
}

func (t target) String() string { return net.JoinHostPort(t.host, t.port) }

// parseTarget reads "host:port"; without a port the default counts.
//
// A host whose last label is a number must be a proper address. "0x7f.1",
// "2130706433" and "0177.0.0.1" are 127.0.0.1 to getaddrinfo and names to
// everybody else; what two parsers read differently is refused.
func parseTarget(hostport, defaultPort string) (target, error) {
	host, port := hostport, defaultPort
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		host, port = h, p
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return target{}, fault.New(fault.BadRequest, "%q has no usable port", hostport)
	}
	t := target{host: host, port: port}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return target{}, fault.New(fault.Forbidden, "%s is a link-local address: functions may not reach those", host)
		}
		t.addr = a
		return t, nil
	}
	if !hostName(host) {
		return target{}, fault.New(fault.BadRequest, "%q is not a host name", hostport)
	}
	if last := host[strings.LastIndexByte(host, '.')+1:]; numeric(last) {
		return target{}, fault.New(fault.Forbidden, "%q is an IP address in an ambiguous form: write it with four decimal numbers", host)
	}
	return t, nil
}

// hostName reports whether s consists of non-empty labels of letters, digits,
// hyphens, underscores and non-ASCII letters, 253 bytes at most.
func hostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c < 0x80 {
				return false
			}
		}
	}
	return true
}

// numeric reports whether a label is a decimal, octal or hexadecimal number, as
// inet_aton reads them.
func numeric(label string) bool {
	if _, err := strconv.ParseUint(label, 10, 64); err == nil {
		return true
	}
	hex, ok := strings.CutPrefix(label, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// resolve finds the addresses of a destination that may be dialled. One
// forbidden address among several refuses the name: nobody needs a public name
// that also means this machine, except for rebinding.
func (p *Proxy) resolve(ctx context.Context, t target) ([]netip.Addr, error) {
	if t.addr.IsValid() {
		return []netip.Addr{t.addr}, check(t, t.addr)
	}
	if err := checkName(t); err != nil {
		return nil, err
	}
	addrs, err := p.cfg.Resolve(ctx, t.host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: t.host, IsNotFound: true}
	}
	if err != nil {
		return nil, dialError(ctx, t, err)
	}
	for i, a := range addrs {
		if err := check(t, a); err != nil {
			return nil, err
		}
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}
