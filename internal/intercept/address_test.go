package intercept

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/fault"
)

// Every spelling of an address that must not be reached. Names are resolved to
// what follows "→".
var ssrf = []string{
	"169.254.169.254:80", "169.254.170.2:80", "169.254.169.254.:80", "[::ffff:169.254.169.254]:80", "[::ffff:a9fe:a9fe]:80",
	"[fd00:ec2::254]:80", "[fd00:0ec2:0:0::254]:80", "[fe80::1]:80", "[fe80::1%25eth0]:80", "[fd20:ce::254]:80",
	"127.0.0.1:80", "127.1.2.3:22", "[::1]:80", "[::]:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:80", "[::7f00:1]:80",
	"[64:ff9b::7f00:1]:80", "[64:ff9b::a9fe:a9fe]:80", "[64:ff9b:1::a9fe:a9fe]:80", "[2002:7f00:1::]:80", "[2002:a9fe:a9fe::1]:80",
	"[2001:0:a9fe:a9fe::]:80", "[2001:0:808:808:0:0:5601:5601]:80", "[::ffff:0:127.0.0.1]:80",
	"0x7f.1:80", "0x7f.0.0.1:80", "0X7F000001:80", "2130706433:80", "017700000001:80", "0177.0.0.1:80", "127.1:80", "127.0.1:80",
	"2852039166:80", "0xa9fea9fe:80", "169.254.43518:80", "0:80", "1.2.3.4.5:80", "256.1.1.1:80",
	"224.0.0.1:80", "255.255.255.255:80", "240.0.0.1:80", "0.1.2.3:80", "[ff02::1]:80",
	"100.100.100.200:80", "168.63.129.16:80", "192.0.0.192:80",
	"localhost:80", "LOCALHOST:80", "foo.localhost:80", "localhost.:80", "metadata.google.internal:80", "metadata:80", "instance-data:80",
	"rebind.example:80 → 127.0.0.1", "rebind.example:80 → 169.254.169.254", "rebind.example:80 → fd00:ec2::254",
	"rebind.example:80 → ::ffff:10.0.0.1 ::ffff:127.0.0.1", "rebind.example:80 → 93.184.216.34 127.0.0.1",
	"rebind.example:80 → 64:ff9b::a9fe:a9fe", "rebind.example:80 → 0.0.0.0", "localtest.me:443 → ::1", "169.254.169.254.nip.io:80 → 169.254.169.254",
}

func TestSSRF(t *testing.T) {
	for _, viaOuter := range []bool{false, true} {
		for _, c := range ssrf {
			hostport, answer, _ := strings.Cut(c, " → ")
			cfg := Config{
				Dial: func(_ context.Context, a string) (net.Conn, error) {
					t.Errorf("%s (outer proxy: %v): dialled %s", c, viaOuter, a)
					return nil, errNoRoute
				},
				Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
					if answer == "" {
						// What getaddrinfo makes of 0x7f.1.
						return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
					}
					var out []netip.Addr
					for _, s := range strings.Fields(answer) {
						out = append(out, netip.MustParseAddr(s))
					}
					return out, nil
				},
			}
			if viaOuter {
				cfg.Outer = Outer{HTTPS: "http://proxy.example:3128", HTTP: "http://proxy.example:3128"}
				// httpproxy itself goes direct for loopback; either way nothing may be dialled.
			}
			p := New(cfg)
			tgt, err := parseTarget(strings.ReplaceAll(hostport, "%25", "%"), "443")
			if err == nil {
				_, err = p.reach(t.Context(), tgt)
			}
			if k := fault.KindOf(err); err == nil || k != fault.Forbidden && k != fault.BadRequest {
				t.Errorf("%s (outer proxy: %v): %v", c, viaOuter, err)
			}
		}
	}
}

func TestOrdinaryAddressesPass(t *testing.T) {
	for _, a := range []string{"93.184.216.34", "10.0.0.5", "192.168.1.10", "172.16.0.1", "100.64.0.1", "1.1.1.1", "2606:4700::1111", "fd12:3456::1", "64:ff9b::808:808", "2002:808:808::1"} {
		if k := kindOf(netip.MustParseAddr(a)); k != "" {
			t.Errorf("%s is %s", a, k)
		}
	}
	for _, host := range []string{"api.example.org", "a-b_c.example", "xn--bcher-kva.example", "bücher.example", "0xabcg", "x.0xyz", "1password.com"} {
		if _, err := parseTarget(host+":443", ""); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// The name answers a public address first and ours later, as a rebinding server
// does: the dial must use the first answer.
func TestRebindingBetweenCheckAndDial(t *testing.T) {
	calls := 0
	var dialled string
	p := New(Config{
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			calls++
			if calls > 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("93.184.216.34")}, nil
		},
		Dial: func(_ context.Context, a string) (net.Conn, error) { dialled = a; return nil, io.EOF },
	})
	tgt, _ := parseTarget("rebind.example:443", "")
	if _, err := p.reach(t.Context(), tgt); err == nil || calls != 1 || dialled != "93.184.216.34:443" {
		t.Fatalf("err %v, resolved %d times, dialled %s", err, calls, dialled)
	}
}

func FuzzTarget(f *testing.F) {
	for _, c := range ssrf {
		hostport, _, _ := strings.Cut(c, " → ")
		f.Add(hostport)
	}
	f.Add("api.example.org:443")
	p := New(Config{
		Resolve: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("none") },
		Dial:    func(context.Context, string) (net.Conn, error) { return nil, io.EOF },
	})
	f.Fuzz(func(t *testing.T, hostport string) {
		tgt, err := parseTarget(hostport, "443")
		if err != nil {
			return
		}
		addrs, err := p.resolve(t.Context(), tgt)
		for _, a := range addrs {
			if err == nil && (a.Unmap().IsLoopback() || a.IsLinkLocalUnicast() || a.IsUnspecified()) {
				t.Fatalf("%q may be dialled at %s", hostport, a)
			}
		}
		// What was taken for a name must not be an address to a system resolver.
		if !tgt.addr.IsValid() && net.ParseIP(tgt.host) != nil {
			t.Fatalf("%q is an address and was taken for a name", hostport)
		}
	})
}
