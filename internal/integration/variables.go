package integration

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/selection"
)

// vars is what mappings and selection expressions of this call may read.
// Handshake headers and query parameters exist on $connect only.
func (r *Request) vars() *selection.Vars {
	v := &selection.Vars{Body: r.Body, Context: r.context, StageVariables: r.StageVariables}
	if r.Handshake != nil {
		var headers, query event.List
		v.Header = func(name string) []string {
			if headers == nil {
				headers = event.Headers(r.Conn, r.Handshake)
			}
			return headers.Get(name)
		}
		v.Query = func(name string) []string {
			if query == nil {
				query = event.Query(r.Handshake.Query)
			}
			for _, q := range query {
				if q.Name == name {
					return q.Values
				}
			}
			return nil
		}
	}
	return v
}

// context looks up a $context variable (Developer Guide, mapping template
// reference for WebSocket APIs).
func (r *Request) context(path string) (string, bool) {
	c, call := r.Conn, &r.Call
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
		return r.Type, true
	case "messageDirection":
		return "IN", true
	case "messageId":
		return call.MessageID, call.MessageID != ""
	case "routeKey":
		return call.RouteKey, true
	case "requestId", "extendedRequestId":
		return call.RequestID, true
	case "requestTime":
		return string(event.AppendTime(nil, call.At)), true
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

func authorizerValue(object json.RawMessage, name string) (found gjson.Result) {
	gjson.ParseBytes(object).ForEach(func(key, value gjson.Result) bool {
		if key.String() == name {
			found = value
		}
		return true
	})
	return found
}
