package event

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Context looks up a $context variable of an event (Developer Guide, mapping
// template reference and logging variables for WebSocket APIs). ok is false for a
// name that is none, and for one without a value here.
//
// $context.authorizer.x is the property x of what the authorizer said, and if there
// is none, what is known about the authorizer's run.
func Context(c *Connection, call *Call, eventType, path string) (value string, ok bool) {
	switch path {
	case "connectionId":
		return c.ID, true
	case "apiId":
		return c.APIID, true
	case "stage":
		return c.Stage, true
	case "domainName":
		return c.DomainName, true
	case "connectedAt":
		return strconv.FormatInt(c.ConnectedAt, 10), true
	case "eventType":
		return eventType, true
	case "messageDirection":
		return "IN", true
	case "messageId":
		return call.MessageID, call.MessageID != ""
	case "routeKey":
		return call.RouteKey, true
	case "requestId", "extendedRequestId":
		return call.RequestID, true
	case "requestTime":
		return string(AppendTime(nil, call.At)), true
	case "requestTimeEpoch":
		return strconv.FormatInt(call.At.UnixMilli(), 10), true
	}
	if name, ok := strings.CutPrefix(path, "identity."); ok {
		return c.identity(name)
	}
	if name, ok := strings.CutPrefix(path, "authorizer."); ok && c.Authorizer != nil {
		if v := authorizerValue(c.Authorizer, name); v.Exists() {
			return v.String(), true
		}
	}
	if call.Outcome == nil {
		return "", false
	}
	return call.Outcome.variable(path)
}

// identity looks up $context.identity.name.
func (c *Connection) identity(name string) (string, bool) {
	switch name {
	case "sourceIp":
		return c.SourceIP, true
	case "userAgent":
		return text(c.UserAgent)
	}
	id := c.Identity
	if id == nil {
		return "", false
	}
	switch name {
	case "accountId":
		return text(id.AccountID)
	case "apiKey":
		return text(id.APIKey)
	case "apiKeyId":
		return text(id.APIKeyID)
	case "accessKey":
		return text(id.AccessKey)
	case "caller":
		return text(id.Caller)
	case "principalOrgId":
		return text(id.PrincipalOrgID)
	case "user":
		return text(id.User)
	case "userArn":
		return text(id.UserARN)
	}
	return "", false
}

// IsContext reports whether $context has such a variable, be it one that never has a
// value here (Cognito identities, WAF).
func IsContext(path string) bool {
	switch path {
	case "identity.cognitoAuthenticationProvider", "identity.cognitoAuthenticationType", "identity.cognitoIdentityId",
		"identity.cognitoIdentityPoolId", "waf.error", "waf.latency", "waf.status":
		return true
	}
	if name, ok := strings.CutPrefix(path, "authorizer."); ok {
		return name != ""
	}
	phase := Phase{Status: 1, BackendStatus: 1, RequestID: "x", Error: "x"}
	everything := Call{MessageID: "x", Outcome: &Outcome{Status: 1, Error: Failure{"x", "x", "x"},
		Integration: phase, Authorizer: phase, Authorize: phase, Authenticate: phase}}
	somebody := Connection{UserAgent: "x", Identity: &Identity{"x", "x", "x", "x", "x", "x", "x", "x"}}
	_, ok := Context(&somebody, &everything, TypeMessage, path)
	return ok
}

func authorizerValue(object []byte, name string) (found gjson.Result) {
	gjson.ParseBytes(object).ForEach(func(key, value gjson.Result) bool {
		if key.String() == name {
			found = value
		}
		return true
	})
	return found
}
