package intercept

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/http/httpproxy"

	"github.com/livegate/livegate/internal/fault"
)

// Outer is the proxy that the user's own environment names, for what leaves this
// machine. The zero value means none.
type Outer struct {
	HTTPS string // https_proxy or HTTPS_PROXY
	HTTP  string // http_proxy or HTTP_PROXY
	No    string // no_proxy or NO_PROXY
}

// OuterFrom reads the usual variables; lower case wins, as with curl and Python.
func OuterFrom(getenv func(string) string) Outer {
	first := func(a, b string) string {
		if v := getenv(a); v != "" {
			return v
		}
		return getenv(b)
	}
	return Outer{
		HTTPS: first("https_proxy", "HTTPS_PROXY"),
		HTTP:  first("http_proxy", "HTTP_PROXY"),
		No:    first("no_proxy", "NO_PROXY"),
	}
}

// outer chooses the proxy for a destination.
type outer struct {
	choose func(*url.URL) (*url.URL, error)
}

func newOuter(o Outer) outer {
	cfg := httpproxy.Config{HTTPSProxy: o.HTTPS, HTTPProxy: o.HTTP, NoProxy: o.No}
	return outer{choose: cfg.ProxyFunc()}
}

// proxyFor is the proxy for a tunnel to t; nil for none. A tunnel to port 80 is
// plain http, everything else is taken for https.
func (o outer) proxyFor(t target) *url.URL {
	scheme := "https"
	if t.port == "80" {
		scheme = "http"
	}
	via, err := o.choose(&url.URL{Scheme: scheme, Host: t.String()})
	if err != nil {
		return nil // not a URL: httpproxy reports it and uses none
	}
	return via
}

// reachVia asks the outer proxy for a tunnel. It resolves the name itself; ours
// are asked first as far as they know it, so that a name of this machine or its
// metadata service is refused all the same.
func (p *Proxy) reachVia(ctx context.Context, via *url.URL, t target) (net.Conn, error) {
	if _, err := p.resolve(ctx, t); fault.Is(err, fault.Forbidden) {
		return nil, err
	}
	c, err := p.dialOuter(ctx, via)
	if err != nil {
		return nil, fault.New(fault.Upstream, "the proxy %s, which HTTPS_PROXY names, does not answer: %v", via.Redacted(), err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	tunnelled, err := askOuter(c, via, t)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fault.New(fault.Upstream, "the proxy %s does not connect to %s: %v", via.Redacted(), t, err)
	}
	return tunnelled, nil
}

func (p *Proxy) dialOuter(ctx context.Context, via *url.URL) (net.Conn, error) {
	port := via.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[via.Scheme]
	}
	switch via.Scheme {
	case "http":
		return p.cfg.Dial(ctx, net.JoinHostPort(via.Hostname(), port))
	case "https":
		c, err := p.cfg.Dial(ctx, net.JoinHostPort(via.Hostname(), port))
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, &tls.Config{ServerName: via.Hostname(), MinVersion: tls.VersionTLS12})
		if err := tc.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, err
		}
		return tc, nil
	}
	return nil, fmt.Errorf("its scheme %q is not supported, only http and https are", via.Scheme)
}

// askOuter sends the CONNECT and reads the answer.
func askOuter(c net.Conn, via *url.URL, t target) (net.Conn, error) {
	req := "CONNECT " + t.String() + " HTTP/1.1\r\nHost: " + t.String() + "\r\n"
	if via.User != nil {
		pass, _ := via.User.Password()
		req += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(via.User.Username()+":"+pass)) + "\r\n"
	}
	if _, err := c.Write([]byte(req + "\r\n")); err != nil {
		return nil, err
	}
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return withEarly(c, br), nil
}
