package event

import "strconv"

// AppendAuthorize appends what a REQUEST authorizer is asked (Developer Guide, "Control
// access to WebSocket APIs with Lambda REQUEST authorizers"). methodARN is
// "arn:aws:execute-api:{region}:{account}:{api}/{stage}/$connect". Unlike in the
// CONNECT event, headers holds Connection, Upgrade and content-length, maps without
// entries are there and empty, and nobody is known yet: no authorizer, no identity
// but the address.
func AppendAuthorize(dst []byte, c *Connection, call *Call, h *Handshake, methodARN string) []byte {
	dst = append(dst, `{"type":"REQUEST","methodArn":`...)
	dst = AppendString(dst, methodARN)
	dst = append(dst, ',')
	dst = appendFields(dst, "headers", "multiValueHeaders", AuthorizerHeaders(c, h))
	dst = append(dst, ',')
	dst = appendFields(dst, "queryStringParameters", "multiValueQueryStringParameters", Query(h.Query))
	dst = append(dst, `,"stageVariables":`...)
	if call.StageVariables == nil {
		dst = append(dst, '{', '}')
	} else {
		dst = append(dst, call.StageVariables...)
	}
	dst = append(dst, ',')
	stranger := *c
	stranger.Authorizer, stranger.Identity = nil, nil
	dst = appendHead(dst, &stranger, call, TypeConnect)
	return append(dst, '}')
}

// Property is one entry of an authorizer's context, its value already text.
type Property struct{ Name, Value string }

// AppendGrant appends requestContext.authorizer as later events have it: principalId,
// integrationLatency (a number, in milliseconds), then the context. A property named
// like one of the first two is left out: the authorizer's own word on who somebody is
// must not be the second of two.
func AppendGrant(dst []byte, principalID string, latencyMillis int64, context []Property) []byte {
	dst = append(dst, `{"principalId":`...)
	dst = AppendString(dst, principalID)
	dst = append(dst, `,"integrationLatency":`...)
	dst = strconv.AppendInt(dst, latencyMillis, 10)
	for _, p := range context {
		if p.Name == "principalId" || p.Name == "integrationLatency" {
			continue
		}
		dst = append(dst, ',')
		dst = AppendString(dst, p.Name)
		dst = append(dst, ':')
		dst = AppendString(dst, p.Value)
	}
	return append(dst, '}')
}
