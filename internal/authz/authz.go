// Package authz decides who may open a connection, and how often it may ask: Lambda
// REQUEST authorizers, AWS_IAM, API keys with usage plans, and, beyond AWS, JSON Web
// Tokens, scopes of routes and an allow-list of web origins.
//
// Promises:
//   - It fails closed. Without a yes for exactly this method's ARN there is no
//     [Grant]: an authorizer that cannot be reached, takes too long or answers
//     anything else, a plan that could not be compiled, keys of an issuer that cannot
//     be had, all refuse. No option turns a check off.
//   - [Guard.Authorize] returns a Grant or a [*Refusal] with the status, the type and
//     the body API Gateway answers with. Refusal.Cause is for the log and holds
//     nothing the client sent, nor what a function said about it: no token, no key,
//     no signature.
//   - An authorizer's answer is never cached, as on AWS.
//   - [Guard.Admit] is for every message: it does not block and does not allocate.
//   - Nothing a client sends decides what is fetched. Keys of an issuer are fetched
//     from addresses in the configuration only, remembered by issuer, address and key
//     id, at most once in ten seconds, and never from an address inside the network
//     (see [Config.AllowPrivate]).
//
// Counters of usage plans live in memory: throttles and quotas start anew with the
// process. As on AWS they are per key and plan: keys of one plan do not share them.
//
// The order of checks is that of the reference's §1.5: origin (403), API key in the
// header (403), token (401, 403), signature (403), authorizer (401, 403, 500), API key
// from the authorizer (403), usage plan (429).
//
// The package knows no sockets and no gateway. Tests give it functions and clocks.
package authz

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"time"

	"github.com/livegate/livegate/internal/clock"
	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// Functions runs authorizers; the runtime does.
type Functions interface {
	Invoke(ctx context.Context, in model.Invocation) (model.InvokeResult, error)
}

// Caller is somebody with AWS credentials.
type Caller struct {
	Secret    string
	Token     string // session token that signatures must come with; "": not checked
	AccountID string // "": the application's
	UserID    string // "AIDA…"; "": the access key id
	UserARN   string // "": "arn:aws:iam::{account}:user/{UserID}"
	AccessKey string // "": as in the signature
	// Policies of the caller; nil: it may do everything. Empty: nothing.
	Policies []*iam.Policy
}

// Config of a Guard. The zero value works and knows nobody.
type Config struct {
	// Functions runs authorizers; nil: APIs with one refuse every handshake.
	Functions Functions
	// Callers finds who signs with an access key id; nil: nobody.
	Callers func(accessKeyID string) (Caller, bool)
	// AnyCaller lets well-formed signatures of unknown keys pass unverified, for
	// development: SDKs on a laptop sign with anything. Never set it on a server.
	AnyCaller bool
	// AllowPrivate lets keys of issuers be fetched over http, and from loopback and
	// private addresses. Link-local ones, where clouds keep credentials, stay closed.
	AllowPrivate bool
	// HTTP fetches them instead, and is then what guards against addresses inside the
	// network. nil: one that does.
	HTTP *http.Client
	// Now is the wall clock; nil: time.Now.
	Now func() time.Time
	// Clock scales how long fetched keys are remembered. Authorizers are users' code,
	// which runs at true speed, so their time-out is not on it.
	Clock clock.Clock
}

// Guard guards all APIs of a process. It is safe for concurrent use.
type Guard struct {
	// static after New
	cfg    Config
	http   *http.Client
	salt   [32]byte // of API key digests
	keys   sigv4.Keys
	issued issuers

	// refusals of Admit: made once, never changed
	forbidden, unscoped, expired, noKey, throttled, exceeded *Refusal

	mu     sync.Mutex
	meters map[meterKey]*meter // guarded by mu
}

// New returns a Guard.
func New(cfg Config) *Guard {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Guard{cfg: cfg, http: cfg.HTTP, meters: map[meterKey]*meter{}}
	g.issued.clock = cfg.Clock
	if g.http == nil {
		g.http = guardedClient(cfg.AllowPrivate)
	}
	rand.Read(g.salt[:]) // never fails
	g.forbidden = forbidden("the caller's policies do not allow execute-api:Invoke on this route")
	g.unscoped = forbidden("the token does not have the scopes of this route")
	g.expired = forbidden("the token has expired")
	g.noKey = forbidden("the route needs an API key of a usage plan for this stage")
	g.throttled = tooMany("the throttle of the usage plan")
	g.exceeded = limitExceeded("the quota of the usage plan")
	return g
}

// Request is a handshake to decide on.
type Request struct {
	Conn      *event.Connection
	Call      event.Call // Outcome, when set, gets the phases authorizer, authorize and authenticate
	Handshake *event.Handshake
	// StageVariables are the stage's; nil: those the plan was compiled with.
	StageVariables map[string]string
	Host           string // as sent, with its port
	Target         string // raw request target, "/dev?token=x"
	Secure         bool   // it came over TLS
	Tag            string // model.Invocation.Tag
}

// Grant is leave to connect, with what later events and messages need of it. It is
// immutable.
type Grant struct {
	// Authorizer is requestContext.authorizer of later events, a JSON object; nil: none.
	Authorizer []byte
	// Identity is the signer, or the API key; nil: nobody.
	Identity *event.Identity
	// Expires is when the token ends; zero: never. The connection then needs
	// [Guard.Renew], or an end.
	Expires time.Time
	// Protocol is the subprotocol that carried the token ("bearer"). It is to be
	// answered when $connect chooses none: browsers drop a connection whose offer was
	// left without an answer (WHATWG WebSockets). "": the token came otherwise.
	Protocol string

	bearer   *bearer       // nil: no token
	policies []*iam.Policy // nil: everything
	values   func(key string) []string
	keyID    string // API key; "": none
}

// Subject is whose token it is; "" without one.
func (gr *Grant) Subject() string {
	if gr == nil || gr.bearer == nil {
		return ""
	}
	return gr.bearer.subject
}

// Authorize decides on a handshake. The error is always a *Refusal. It may block where
// p.Waits says so, until ctx ends at the latest.
func (g *Guard) Authorize(ctx context.Context, p *Plan, r *Request) (*Grant, error) {
	gr, no := g.authorize(ctx, p, r)
	if o := r.Call.Outcome; o != nil && p != nil && p.Guarded() {
		o.Authorize.Status = http.StatusOK
		if no != nil {
			o.Authorize.Status, o.Authorize.Error = no.Status, no.text()
		}
	}
	if no != nil {
		return nil, no
	}
	return gr, nil
}

func (g *Guard) authorize(ctx context.Context, p *Plan, r *Request) (*Grant, *Refusal) {
	switch {
	case p == nil:
		return nil, internal("there is no plan for this stage")
	case p.err != nil:
		return nil, internal(p.err.Error())
	}
	if p.origins != nil && !p.origins.admit(r) {
		return nil, forbidden("the Origin is not one of those allowed")
	}
	gr := &Grant{}
	if !p.keyFromAuthorizer {
		if no := g.headerKey(p, r, gr); no != nil {
			return nil, no
		}
	}
	if p.jwt != nil {
		if no := g.token(ctx, p, r, gr); no != nil {
			return nil, no
		}
	}
	if p.signed {
		no := g.signature(p, r, gr)
		if o := r.Call.Outcome; o != nil {
			o.Authenticate = authenticated(no)
		}
		if no != nil {
			return nil, no
		}
	}
	if p.authorizer != nil {
		usageKey, no := g.ask(ctx, p, r, gr)
		if no != nil {
			return nil, no
		}
		if p.keyFromAuthorizer && usageKey != "" {
			g.takeKey(p, gr, usageKey)
		}
	}
	if p.keyRequired && gr.keyID == "" {
		return nil, forbidden("no usable API key: missing, unknown, disabled, or in no usage plan of this stage")
	}
	if gr.keyID != "" {
		if no := g.spend(p, gr.keyID, model.RouteConnect); no != nil {
			return nil, no
		}
	}
	return gr, nil
}

// Admit decides on one message of an open connection: the token's end and scopes, the
// signer's policies, the API key's throttle and quota. p is the plan of the stage as it
// is now, gr what Authorize gave; nil when nothing guarded the handshake. The error is
// a *Refusal: "Forbidden", "Too Many Requests" or "Limit Exceeded".
func (g *Guard) Admit(p *Plan, gr *Grant, routeKey string) error {
	if p.free {
		return nil
	}
	if no := g.admit(p, gr, routeKey); no != nil {
		return no
	}
	return nil
}

func (g *Guard) admit(p *Plan, gr *Grant, routeKey string) *Refusal {
	rule := p.routes[routeKey]
	if gr == nil {
		gr = &p.nobody
	}
	if !gr.Expires.IsZero() && !g.cfg.Now().Before(gr.Expires) {
		return g.expired
	}
	if p.signed && gr.policies != nil {
		req := iam.Request{Action: invokeAction, Resource: rule.arn, Values: gr.values}
		if rule.arn == "" || !g.decide(gr.policies, &req) {
			return g.forbidden
		}
	}
	if len(rule.scopes) > 0 && !gr.bearer.has(rule.scopes) {
		return g.unscoped
	}
	if gr.keyID != "" {
		return g.spend(p, gr.keyID, routeKey)
	}
	if rule.keyed {
		return g.noKey
	}
	return nil
}

const (
	invokeAction = "execute-api:Invoke"
	manageAction = "execute-api:ManageConnections"
)

func (g *Guard) decide(policies []*iam.Policy, req *iam.Request) bool {
	req.Now = g.cfg.Now()
	return iam.Decide(policies, req).Allowed()
}
