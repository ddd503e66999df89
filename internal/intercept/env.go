package intercept

import (
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/sigv4"
)

// Environment is what a worker must know to keep its AWS calls at home.
type Environment struct {
	Address string // of the dev port, "127.0.0.1:3001"
	User    string // the worker's proxy user: its access key id
	Secret  string // and secret
	Region  string
	Bundle  string // PEM file with system roots and ours; "" leaves the CA variables out
	NoProxy string // the user's own no_proxy
}

// Env lists the variables, "NAME=value", in a fixed order.
//
// Both spellings of the proxy variables are set, since clients differ in which
// one wins (Python's lower case does, and it may be set in the user's shell). The
// CA variables replace a program's roots, hence the merged bundle.
func Env(e Environment) []string {
	proxy := (&url.URL{Scheme: "http", User: url.UserPassword(e.User, e.Secret), Host: e.Address}).String()
	no, _ := NoProxy(e.NoProxy)
	env := []string{
		"HTTPS_PROXY=" + proxy,
		"https_proxy=" + proxy,
		"NO_PROXY=" + no,
		"no_proxy=" + no,
		"AWS_ENDPOINT_URL=http://" + e.Address,
		"AWS_EC2_METADATA_DISABLED=true",
		// Account-based endpoints ({account}.ddb.…) would need the account's real id.
		"AWS_ACCOUNT_ID_ENDPOINT_MODE=disabled",
	}
	if e.Region != "" {
		env = append(env, "AWS_REGION="+e.Region, "AWS_DEFAULT_REGION="+e.Region)
	}
	if e.Bundle != "" {
		for _, name := range []string{"AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
			env = append(env, name+"="+e.Bundle)
		}
	}
	return env
}

// NoProxy is the no_proxy value of workers: this machine, then the user's own
// entries, except those that would let AWS calls past us ("*", "amazonaws.com");
// these are returned as dropped, to be told to the user once.
func NoProxy(user string) (value string, dropped []string) {
	list := []string{"localhost", "127.0.0.1", "::1"}
	for entry := range strings.SplitSeq(user, ",") {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "" || entry == "localhost" || entry == "127.0.0.1" || entry == "::1":
		case bypasses(entry):
			dropped = append(dropped, entry)
		default:
			list = append(list, entry)
		}
	}
	return strings.Join(list, ","), dropped
}

// bypasses reports whether a no_proxy entry exempts AWS hosts.
func bypasses(entry string) bool {
	name := strings.ToLower(strings.TrimLeft(entry, "*."))
	name, _, _ = strings.Cut(name, ":")
	switch name {
	case "", "com", "cn", "com.cn", "aws":
		return true
	}
	// "amazonaws.com" itself counts, like everything under it.
	return sigv4.AWSHost("x." + name)
}
