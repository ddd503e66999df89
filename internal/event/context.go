package event

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// Context looks up a $context variable of an event (Developer Guide, mapping
// template reference for WebSocket APIs).
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
	case "identity.sourceIp":
		return c.SourceIP, true
	case "identity.userAgent":
		return c.UserAgent, c.UserAgent != ""
	}
	if name, ok := strings.CutPrefix(path, "authorizer."); ok && c.Authorizer != nil {
		v := authorizerValue(c.Authorizer, name)
		return v.String(), v.Exists()
	}
	return "", false
}

// IsContext reports whether $context has such a variable.
func IsContext(path string) bool {
	if name, ok := strings.CutPrefix(path, "authorizer."); ok {
		return name != ""
	}
	_, ok := Context(&Connection{UserAgent: "x"}, &Call{MessageID: "x"}, TypeMessage, path)
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
