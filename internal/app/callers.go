package app

import (
	"cmp"
	"crypto/x509"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/authz"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// secret finds the secret key of whoever may call AWS endpoints: our workers and
// the credentials the user configured.
func (a *App) secret(accessKeyID string) (string, bool) {
	if s, ok := a.runtime.Secret(accessKeyID); ok {
		return s, true
	}
	c, ok := a.cfg.Credentials[accessKeyID]
	return c.Secret, ok
}

// caller is who signs with an access key: a function in its role's name, or the
// owner of configured credentials. Functions may do everything: the policies of
// their roles are not evaluated.
func (a *App) caller(accessKeyID string) (authz.Caller, bool) {
	if secret, ok := a.runtime.Secret(accessKeyID); ok {
		name, _ := a.runtime.FunctionOf(accessKeyID)
		return authz.Caller{Secret: secret, UserID: accessKeyID + ":" + name}, true
	}
	c, ok := a.cfg.Credentials[accessKeyID]
	if !ok {
		return authz.Caller{}, false
	}
	return authz.Caller{Secret: c.Secret, UserID: cmp.Or(c.User, accessKeyID), UserARN: c.ARN, Policies: c.Policies}, true
}

// allow is connapi's Allow: nil where every caller may do everything.
func (a *App) allow() func(accessKeyID, method string, addr model.Address, connectionID string) error {
	if !a.cfg.restricted() {
		return nil
	}
	return a.mayManage
}

// certified checks a call of @connections on a domain with a trust store. Functions
// have no client certificate, and build their endpoint from that domain's name: what
// they sign with is theirs alone, and checked already.
func (a *App) certified(accessKeyID string, d *model.Domain, secure bool, chain []*x509.Certificate) error {
	if _, ours := a.runtime.Secret(accessKeyID); ours {
		return nil
	}
	return a.gateway.Certified(d, secure, chain)
}

// mayManage decides on a call of @connections by the owner of configured credentials
// with policies (execute-api:ManageConnections).
func (a *App) mayManage(accessKeyID, method string, addr model.Address, connectionID string) error {
	c, ok := a.caller(accessKeyID)
	if !ok {
		return nil // check has let an unknown key in
	}
	return a.access.Manage(c, method, authz.ConnectionARN(a.current(), addr.API, addr.Stage, connectionID))
}

// check verifies a signed request to @connections. Keys nobody knows pass in dev
// (SDKs on a laptop sign with anything) unless credentials are configured.
func (a *App) check(sig *sigv4.Signature, r *sigv4.Request) error {
	secret, known := a.secret(sig.AccessKeyID)
	if !known {
		if len(a.cfg.Credentials) == 0 {
			return nil
		}
		return &sigv4.Error{Type: "UnrecognizedClientException", Msg: "The security token included in the request is invalid."}
	}
	return a.keys.Verify(sig, r, secret, time.Now())
}

// ownCredentials are the user's real ones, for services passed through to AWS.
func (a *App) ownCredentials() (sigv4.Key, error) {
	key := sigv4.Key{
		ID: a.cfg.Getenv("AWS_ACCESS_KEY_ID"), Secret: a.cfg.Getenv("AWS_SECRET_ACCESS_KEY"), Token: a.cfg.Getenv("AWS_SESSION_TOKEN"),
	}
	if key.ID == "" || key.Secret == "" {
		return key, fault.New(fault.Unauthorized, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set in livegate's environment")
	}
	return key, nil
}

// passthrough are the services that may be reached for real: none when offline.
func (a *App) passthrough() []string {
	if a.cfg.Offline && len(a.cfg.Passthrough) > 0 {
		a.note("warn", "livegate", "--offline wins over --aws-passthrough: calls to %s stay at home and are refused by name", strings.Join(a.cfg.Passthrough, ", "))
		return nil
	}
	return a.cfg.Passthrough
}
