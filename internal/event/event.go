// Package event writes the exact JSON that API Gateway WebSocket APIs hand to
// Lambda functions: CONNECT, MESSAGE and DISCONNECT proxy events (Developer
// Guide, "Set up a WebSocket API integration request", 2024 samples), and what a
// Lambda authorizer is asked ("Control access to WebSocket APIs with Lambda REQUEST
// authorizers"). It also knows every $context variable.
//
// Events are written by hand, in AWS's key order, into a caller's buffer: the
// MESSAGE event is on the path of every message, and encoding/json costs ten
// times as much. Members without a value are left out, never null (the shape in
// use since about 2021; code that tests `=== undefined` depends on it).
//
// Any valid UTF-8 round-trips through a JSON decoder byte for byte; bytes that
// are not UTF-8 become U+FFFD. The package never blocks, keeps nothing and does
// not know who sends events. Test it with golden files: testdata/*.json.
package event

import (
	"encoding/base64"
	"strconv"
	"time"
)

// Connection is what is constant for one connection.
type Connection struct {
	ID         string // 16 characters
	APIID      string
	Stage      string
	DomainName string // host the client used, or the API's AWS-shaped name for local hosts
	SourceIP   string
	// UserAgent is left out of the event when empty.
	UserAgent string
	// ConnectedAt is when the handshake started, in Unix milliseconds.
	ConnectedAt int64
	// Authorizer is the authorizer's context as a JSON object ([AppendGrant] makes it);
	// nil without one.
	Authorizer []byte
	// Identity is the caller that signed the handshake, or its API key; nil: nobody.
	Identity *Identity
}

// Identity is who a client is to AWS. An empty member is left out of events. Which
// of them AWS shows on WebSocket APIs is not documented; these are the ones its
// events have a place for (unconfirmed).
type Identity struct {
	PrincipalOrgID string
	UserARN        string // "arn:aws:iam::111122223333:user/ann"
	AccountID      string
	Caller         string // the caller's unique id, "AIDA…"
	AccessKey      string // access key id
	User           string // the same as Caller
	APIKey         string // its value
	APIKeyID       string
}

// Call is what is constant for one event.
type Call struct {
	RouteKey  string
	RequestID string // also extendedRequestId
	MessageID string // MESSAGE only
	At        time.Time
	// StageVariables is the stage's variables as a JSON object ([StageVariables]);
	// nil when it has none.
	StageVariables []byte
	// Outcome is what came of it so far, for $context variables; nil: nothing yet.
	Outcome *Outcome
}

// Handshake is what only a CONNECT event shows.
type Handshake struct {
	Headers []Field // as the client sent them
	Query   string  // raw query string
	TraceID string  // X-Amzn-Trace-Id, unless the client sent a root of its own
}

// Field is one header field or query parameter.
type Field struct{ Name, Value string }

// Types of a WebSocket event, requestContext.eventType.
const (
	TypeConnect    = "CONNECT"
	TypeMessage    = "MESSAGE"
	TypeDisconnect = "DISCONNECT"
)

// AppendConnect appends the $connect event.
func AppendConnect(dst []byte, c *Connection, call *Call, h *Handshake) []byte {
	dst = append(dst, '{')
	dst = appendFields(dst, "headers", "multiValueHeaders", Headers(c, h))
	dst = append(dst, ',')
	if query := Query(h.Query); len(query) > 0 {
		dst = appendFields(dst, "queryStringParameters", "multiValueQueryStringParameters", query)
		dst = append(dst, ',')
	}
	dst = appendStageVariables(dst, call)
	dst = appendHead(dst, c, call, TypeConnect)
	return append(dst, `,"isBase64Encoded":false}`...)
}

// AppendMessage appends a MESSAGE event; body is the message's text.
func AppendMessage(dst []byte, c *Connection, call *Call, body []byte) []byte {
	dst = appendMessageHead(dst, c, call)
	dst = AppendString(dst, body)
	return append(dst, `,"isBase64Encoded":false}`...)
}

// AppendBinaryMessage appends the MESSAGE event of a binary message, with its bytes in
// base64. AWS has no such event: it refuses binary messages. The shape is that of its
// other proxy events with isBase64Encoded.
func AppendBinaryMessage(dst []byte, c *Connection, call *Call, body []byte) []byte {
	dst = append(appendMessageHead(dst, c, call), '"')
	dst = base64.StdEncoding.AppendEncode(dst, body)
	return append(dst, `","isBase64Encoded":true}`...)
}

func appendMessageHead(dst []byte, c *Connection, call *Call) []byte {
	dst = append(dst, '{')
	dst = appendStageVariables(dst, call)
	dst = appendHead(dst, c, call, TypeMessage)
	return append(dst, `,"body":`...)
}

// AppendDisconnect appends the $disconnect event. The four header keys, three of
// them with empty values, are literally what AWS sends.
func AppendDisconnect(dst []byte, c *Connection, call *Call, code int, reason string) []byte {
	dst = append(dst, `{"headers":{"Host":`...)
	dst = AppendString(dst, c.DomainName)
	dst = append(dst, `,"x-api-key":"","X-Forwarded-For":"","x-restapi":""},"multiValueHeaders":{"Host":[`...)
	dst = AppendString(dst, c.DomainName)
	dst = append(dst, `],"x-api-key":[""],"X-Forwarded-For":[""],"x-restapi":[""]},`...)
	dst = appendStageVariables(dst, call)
	dst = append(dst, `"requestContext":{"routeKey":`...)
	dst = AppendString(dst, call.RouteKey)
	dst = append(dst, `,"disconnectStatusCode":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = appendMiddle(dst, call, TypeDisconnect)
	dst = append(dst, `,"disconnectReason":`...)
	dst = AppendString(dst, reason)
	dst = appendTail(dst, c, call)
	return append(dst, `,"isBase64Encoded":false}`...)
}

// StageVariables encodes a stage's variables once per deployment; nil when there
// are none.
func StageVariables(vars map[string]string) []byte {
	if len(vars) == 0 {
		return nil
	}
	dst := []byte{'{'}
	for i, k := range sortedKeys(vars) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, k)
		dst = append(dst, ':')
		dst = AppendString(dst, vars[k])
	}
	return append(dst, '}')
}

func appendStageVariables(dst []byte, call *Call) []byte {
	if call.StageVariables == nil {
		return dst
	}
	dst = append(dst, `"stageVariables":`...)
	dst = append(dst, call.StageVariables...)
	return append(dst, ',')
}

// appendHead appends requestContext of CONNECT and MESSAGE events.
func appendHead(dst []byte, c *Connection, call *Call, eventType string) []byte {
	dst = append(dst, `"requestContext":{"routeKey":`...)
	dst = AppendString(dst, call.RouteKey)
	if eventType == TypeMessage {
		dst = append(dst, `,"messageId":`...)
		dst = AppendString(dst, call.MessageID)
	}
	dst = appendMiddle(dst, call, eventType)
	return appendTail(dst, c, call)
}

// appendIdentity writes the members in the order in which the 2019 shape, with all
// of them, had them.
func appendIdentity(dst []byte, c *Connection) []byte {
	dst = append(dst, `,"identity":{`...)
	if id := c.Identity; id != nil {
		dst = appendMember(dst, "principalOrgId", id.PrincipalOrgID)
		dst = appendMember(dst, "userArn", id.UserARN)
	}
	dst = appendMember(dst, "userAgent", c.UserAgent)
	if id := c.Identity; id != nil {
		dst = appendMember(dst, "accountId", id.AccountID)
		dst = appendMember(dst, "caller", id.Caller)
	}
	dst = append(dst, `"sourceIp":`...)
	dst = AppendString(dst, c.SourceIP)
	if id := c.Identity; id != nil {
		dst = append(dst, ',')
		dst = appendMember(dst, "accessKey", id.AccessKey)
		dst = appendMember(dst, "user", id.User)
		dst = appendMember(dst, "apiKey", id.APIKey)
		dst = appendMember(dst, "apiKeyId", id.APIKeyID)
		dst = dst[:len(dst)-1] // the last comma, be it the one before accessKey
	}
	return append(dst, '}')
}

// appendMember appends a member and a comma; nothing when it has no value.
func appendMember(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, '"', ':')
	dst = AppendString(dst, value)
	return append(dst, ',')
}

func appendMiddle(dst []byte, call *Call, eventType string) []byte {
	dst = append(dst, `,"eventType":"`...)
	dst = append(dst, eventType...)
	dst = append(dst, `","extendedRequestId":`...)
	dst = AppendString(dst, call.RequestID)
	dst = append(dst, `,"requestTime":"`...)
	dst = AppendTime(dst, call.At)
	return append(dst, `","messageDirection":"IN"`...)
}

func appendTail(dst []byte, c *Connection, call *Call) []byte {
	dst = append(dst, `,"stage":`...)
	dst = AppendString(dst, c.Stage)
	dst = append(dst, `,"connectedAt":`...)
	dst = strconv.AppendInt(dst, c.ConnectedAt, 10)
	dst = append(dst, `,"requestTimeEpoch":`...)
	dst = strconv.AppendInt(dst, call.At.UnixMilli(), 10)
	dst = appendIdentity(dst, c)
	dst = append(dst, `,"requestId":`...)
	dst = AppendString(dst, call.RequestID)
	dst = append(dst, `,"domainName":`...)
	dst = AppendString(dst, c.DomainName)
	dst = append(dst, `,"connectionId":`...)
	dst = AppendString(dst, c.ID)
	dst = append(dst, `,"apiId":`...)
	dst = AppendString(dst, c.APIID)
	if c.Authorizer != nil {
		dst = append(dst, `,"authorizer":`...)
		dst = append(dst, c.Authorizer...)
	}
	return append(dst, '}')
}
