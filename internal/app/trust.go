package app

import (
	"crypto/tls"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/livegate/livegate/internal/intercept"
	"github.com/livegate/livegate/internal/localca"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/runtime"
)

// certificates opens the user's CA and says what it had to repair.
func (a *App) certificates() error {
	ca, err := localca.Open(filepath.Join(a.dirs.cache, "ca"))
	if err != nil {
		return err
	}
	for _, w := range ca.Warnings() {
		a.note("warn", "livegate", "%s", w)
	}
	a.userCA = ca
	a.bundle = filepath.Join(a.dirs.data, "ca-bundle.pem")
	return nil
}

// trustDomains makes the CA cover an application's custom domains and the mapped
// hosts, and writes the bundle that workers are given.
func (a *App) trustDomains(app *model.App) error {
	names := slices.Collect(maps.Keys(a.cfg.MapHosts))
	for i, n := range names {
		names[i] = hostOnly(n)
	}
	for _, d := range app.Domains {
		names = append(names, d.Name)
	}
	slices.Sort(names)
	ca, err := a.userCA.WithDomains(filepath.Join(a.dirs.data, "ca"), slices.Compact(names))
	if err != nil {
		return err
	}
	found, err := ca.Bundle(a.bundle, a.roots())
	if err != nil {
		return err
	}
	if !found {
		a.note("warn", "livegate", "no system certificates found: functions trust Livegate's own CA only")
	}
	a.ca.Store(ca)
	return nil
}

// roots are the trust the user's own environment names.
func (a *App) roots() localca.Roots {
	r := localca.Roots{File: a.cfg.Getenv("SSL_CERT_FILE"), Dir: a.cfg.Getenv("SSL_CERT_DIR")}
	for _, name := range []string{"NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"} {
		if v := a.cfg.Getenv(name); v != "" {
			r.Extra = append(r.Extra, v)
		}
	}
	return r
}

// tlsConfig answers with whatever CA covers the present application.
func (a *App) tlsConfig() *tls.Config {
	cfg := a.userCA.TLS()
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return a.ca.Load().GetCertificate(hello)
	}
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		authorities := a.gateway.ClientCAs(hello.ServerName)
		if authorities == nil {
			return nil, nil
		}
		asking := cfg.Clone()
		// The gateway verifies what comes, by the name in the Host header.
		asking.ClientCAs, asking.ClientAuth = authorities, tls.RequestClientCert
		asking.GetConfigForClient = nil
		return asking, nil
	}
	return cfg
}

// workerEnv is what keeps a worker's AWS calls at home.
func (a *App) workerEnv(user map[string]string, region string) func(runtime.Worker) []string {
	noProxy, dropped := intercept.NoProxy(firstOf(a.cfg.Getenv("no_proxy"), a.cfg.Getenv("NO_PROXY")))
	if len(dropped) > 0 {
		a.note("warn", "livegate", "NO_PROXY entries %s are not passed to functions: AWS calls would go past Livegate", strings.Join(dropped, ", "))
	}
	return func(w runtime.Worker) []string {
		env := intercept.Env(intercept.Environment{
			Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port())),
			User:    w.AccessKeyID, Secret: w.ProxySecret,
			Region: region, Bundle: a.bundle, NoProxy: noProxy,
		})
		if a.cfg.SetOffline {
			env = append(env, "IS_OFFLINE=true", "AWS_SAM_LOCAL=true")
		}
		for _, name := range slices.Sorted(maps.Keys(user)) {
			env = append(env, name+"="+user[name])
		}
		return env
	}
}

// hook tells Node workers which hosts are ours; the runtime adds custom domains.
func (a *App) hook() runtime.HookConfig {
	h := runtime.HookConfig{
		Divert:  net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port())),
		MapHost: a.cfg.MapHosts,
		Offline: a.cfg.Offline,
	}
	for _, s := range intercept.Suffixes() {
		h.Suffixes = append(h.Suffixes, "."+strings.TrimPrefix(s, "."))
	}
	return h
}

// hostOnly is a host name as it is compared: lower case, without a port or a
// trailing dot.
func hostOnly(hostport string) string {
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = h
	}
	return strings.TrimSuffix(strings.ToLower(hostport), ".")
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
