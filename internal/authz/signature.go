package authz

import (
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/iam"
	"github.com/livegate/livegate/internal/model"
	"github.com/livegate/livegate/internal/sigv4"
)

// service is the signing name of API Gateway's data plane.
const service = "execute-api"

// signature checks an AWS_IAM handshake (§7.4 of the reference): a Signature Version 4
// of the GET, in the headers or the query, by somebody who may invoke $connect.
func (g *Guard) signature(p *Plan, r *Request, gr *Grant) *Refusal {
	req, ok := signedRequest(r)
	if !ok {
		return forbiddenSignature(&sigv4.Error{Type: sigv4.TypeIncomplete, Msg: "The request target cannot be read."})
	}
	var sig sigv4.Signature
	if err := sig.Read(req.Header, req.RawQuery); err != nil {
		return forbiddenSignature(err)
	}
	if sig.Service != service {
		return forbiddenSignature(&sigv4.Error{Type: sigv4.TypeInvalid, Msg: "Credential should be scoped to correct service: '" + service + "'."})
	}
	if sig.Region != p.app.Region {
		return forbiddenSignature(&sigv4.Error{Type: sigv4.TypeInvalid, Msg: "Credential should be scoped to a valid region: '" + p.app.Region + "'."})
	}
	// A copy: what stays with the connection must not keep the whole header there.
	accessKey := strings.Clone(sig.AccessKeyID)
	caller, known := g.caller(accessKey)
	switch {
	case known:
		if err := g.keys.Verify(&sig, req, caller.Secret, g.cfg.Now()); err != nil {
			return forbiddenSignature(err)
		}
		if caller.Token != "" && subtle.ConstantTimeCompare([]byte(caller.Token), []byte(sig.Token)) != 1 {
			return forbiddenSignature(unknownKey())
		}
	case !g.cfg.AnyCaller:
		return forbiddenSignature(unknownKey())
	case !current(&sig, g.cfg.Now()):
		return forbiddenSignature(&sigv4.Error{Type: sigv4.TypeInvalid, Msg: "Signature expired or not yet current."})
	}
	caller.complete(p.app, accessKey)
	gr.Identity = &event.Identity{AccountID: caller.AccountID, Caller: caller.UserID, User: caller.UserID, UserARN: caller.UserARN, AccessKey: caller.AccessKey}
	if caller.Policies == nil {
		return nil
	}
	gr.policies, gr.values = caller.Policies, handshakeFacts(r, &caller, p.app.Region).values
	req2 := iam.Request{Action: invokeAction, Resource: p.methodARN, Values: gr.values}
	if g.decide(caller.Policies, &req2) {
		return nil
	}
	return accessDenied(notAuthorized(&caller, invokeAction, p.methodARN), "the policies of "+caller.UserARN+" do not allow "+invokeAction+" on "+p.methodARN)
}

// current reports whether a signature that cannot be verified is at least of now.
func current(sig *sigv4.Signature, now time.Time) bool {
	life := sigv4.Skew
	if sig.Presigned && sig.Expires > 0 {
		life = sig.Expires
	}
	return !now.After(sig.Time.Add(life)) && !now.Add(sigv4.Skew).Before(sig.Time)
}

func unknownKey() error {
	return &sigv4.Error{Type: "UnrecognizedClientException", Msg: "The security token included in the request is invalid."}
}

// forbiddenSignature is 403 with the error's own type and text. The text may quote
// what the client sent, so the log gets the type only.
func forbiddenSignature(err error) *Refusal {
	e, ok := errors.AsType[*sigv4.Error](err)
	if !ok {
		return forbidden("the signature cannot be checked")
	}
	return &Refusal{Status: http.StatusForbidden, Type: e.Type, Message: e.Msg, Cause: "the signature was not accepted: " + e.Type}
}

func notAuthorized(c *Caller, action, resource string) string {
	return "User: " + c.UserARN + " is not authorized to perform: " + action + " on resource: " + resource
}

// signedRequest is the handshake as it was signed: what stood on the request line.
func signedRequest(r *Request) (*sigv4.Request, bool) {
	target := r.Target
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return nil, false
		}
		target = rest[i:]
	}
	if !strings.HasPrefix(target, "/") {
		return nil, false
	}
	path, query, _ := strings.Cut(target, "?")
	fields := make(sigv4.Fields, 0, len(r.Handshake.Headers))
	for _, f := range r.Handshake.Headers {
		fields = append(fields, sigv4.Field{Name: f.Name, Value: f.Value})
	}
	return &sigv4.Request{Method: http.MethodGet, Host: r.Host, Path: path, RawQuery: query, Header: fields}, true
}

func (g *Guard) caller(accessKeyID string) (Caller, bool) {
	if g.cfg.Callers == nil {
		return Caller{}, false
	}
	return g.cfg.Callers(accessKeyID)
}

// complete fills in what was not configured.
func (c *Caller) complete(app *model.App, accessKeyID string) {
	if c.AccessKey == "" {
		c.AccessKey = accessKeyID
	}
	if c.AccountID == "" {
		c.AccountID = app.AccountID
	}
	if c.UserID == "" {
		c.UserID = c.AccessKey
	}
	if c.UserARN == "" {
		c.UserARN = "arn:" + app.Partition + ":iam::" + c.AccountID + ":user/" + c.UserID
	}
}

// Manage decides whether a caller may use the callback API on a connection: the action
// execute-api:ManageConnections. arn names the connection below its stage, as
// [ConnectionARN] makes it, and method goes between the two, as in policies:
// "…:{api}/{stage}/POST/@connections/{id}". The error is a *fault.Error of the kind
// Forbidden with the type AccessDeniedException.
func (g *Guard) Manage(caller Caller, method, arn string) error {
	if caller.Policies == nil {
		return nil
	}
	stage, connection, ok := strings.Cut(arn, "/@connections")
	resource := stage + "/" + method + "/@connections" + connection
	req := iam.Request{Action: manageAction, Resource: resource, Values: callerFacts(&caller).values}
	if ok && g.decide(caller.Policies, &req) {
		return nil
	}
	return fault.Typed(fault.Forbidden, "AccessDeniedException", "%s", notAuthorized(&caller, manageAction, resource))
}

// ConnectionARN is what Manage asks about.
func ConnectionARN(app *model.App, api *model.API, stage *model.Stage, connectionID string) string {
	return StageARN(app, api, stage) + "/@connections/" + connectionID
}
