package intercept

import (
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/sigv4"
)

// Hosts is the predicate of intercepted hosts: AWS's domains, and the custom
// domains that domains returns at that moment (a wildcard "*.example.org" covers
// one label). Host is a name without a port.
func Hosts(domains func() []string) func(host string) bool {
	return func(host string) bool {
		if sigv4.AWSHost(host) {
			return true
		}
		host = strings.TrimSuffix(strings.ToLower(host), ".")
		return domains != nil && slices.ContainsFunc(domains(), func(d string) bool {
			d = strings.ToLower(d)
			if suffix, ok := strings.CutPrefix(d, "*"); ok {
				label, found := strings.CutSuffix(host, suffix)
				return found && label != "" && !strings.Contains(label, ".")
			}
			return host == d
		})
	}
}

// Suffixes are the host suffixes of AWS's domains, for hooks that match in other
// languages.
func Suffixes() []string {
	return []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws"}
}

// PassthroughHosts is the predicate for --aws-passthrough: hosts of the named
// services (signing names, or the first label of their endpoint: "ses" and
// "email" mean the same).
func PassthroughHosts(services []string) func(host string) bool {
	return func(host string) bool {
		scope, ok := sigv4.HostScope(host)
		return ok && slices.ContainsFunc(services, func(name string) bool {
			name = strings.ToLower(strings.TrimSpace(name))
			if alias, ok := sigv4.HostScope(name + ".amazonaws.com"); ok && alias.Service == scope.Service {
				return scope.Service != ""
			}
			return false
		})
	}
}
