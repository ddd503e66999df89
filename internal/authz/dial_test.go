package authz

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// Addresses nothing is fetched from, in all the ways of writing them.
func TestAddresses(t *testing.T) {
	for address, want := range map[string][2]bool{ // without and with AllowPrivate
		"8.8.8.8": {true, true}, "2606:4700::1111": {true, true}, "64:ff9b::8.8.8.8": {true, true},
		"127.0.0.1": {false, true}, "127.9.9.9": {false, true}, "::1": {false, true}, "10.0.0.1": {false, true}, "172.16.0.1": {false, true}, "172.31.255.255": {false, true},
		"192.168.1.1": {false, true}, "fd12::1": {false, true}, "::ffff:127.0.0.1": {false, true}, "::ffff:10.0.0.1": {false, true},
		"169.254.169.254": {}, "::ffff:169.254.169.254": {}, "fe80::1": {}, "fe80::1%eth0": {}, "fd00:ec2::254": {}, "100.100.100.200": {},
		"0.0.0.0": {}, "0.1.2.3": {}, "::": {}, "100.64.0.1": {}, "192.0.0.192": {}, "198.18.0.1": {}, "224.0.0.1": {}, "ff02::1": {}, "240.0.0.1": {}, "255.255.255.255": {},
		"64:ff9b::169.254.169.254": {}, "64:ff9b::10.0.0.1": {}, "2002:7f00:1::": {}, "2002:a9fe:a9fe::": {}, "::7f00:1": {}, "2001:0:4136:e378::1": {}, "fec0::1": {}, "2001:db8::1": {},
	} {
		ip := netip.MustParseAddr(address)
		for i, private := range []bool{false, true} {
			if got := reachable(ip, private); got != want[i] {
				t.Errorf("%s, private %v: %v", address, private, got)
			}
		}
	}
	for _, address := range []string{"", "localhost:80", "127.0.0.1", "127.0.0.1:80"} {
		if checkAddress(address, false) == nil {
			t.Errorf("%q passes", address)
		}
	}
}

// The check is made where the connection is, after names have been resolved: localhost
// is one, and "0x7f.1", where a resolver takes it, is another.
func TestGuardedClient(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.Write([]byte("{}")) }))
	defer s.Close()
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	for _, private := range []bool{false, true} {
		g := New(Config{AllowPrivate: private})
		for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"} {
			_, err := g.get(context.Background(), "http://"+host+port+"/keys")
			if private != (err == nil) {
				t.Errorf("%s, private %v: %v", host, private, err)
			}
		}
	}
	if asked < 3 {
		t.Error("nothing got through: the test shows nothing")
	}
}

// A redirect is followed on its own host only.
func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") }))
	defer other.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/here":
			http.Redirect(w, r, "/there", 302)
		case "/there":
			w.Write([]byte("{}"))
		default:
			http.Redirect(w, r, other.URL, 302)
		}
	}))
	defer s.Close()
	g := New(Config{AllowPrivate: true})
	if _, err := g.get(context.Background(), s.URL+"/here"); err != nil {
		t.Error(err)
	}
	if _, err := g.get(context.Background(), s.URL+"/elsewhere"); err == nil {
		t.Error("followed")
	}
}
