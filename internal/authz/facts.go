package authz

import "strings"

// facts are what conditions of policies ask about, by condition key ("AWS global
// condition context keys", those that a WebSocket handshake can have); "": not known. A
// connection keeps them for its messages, so they are one piece of memory, and looking
// one up allocates nothing.
type facts [factCount]string

const (
	factSourceIP = iota
	factSecure
	factRegion
	factAgent
	factReferer
	factUserID
	factPrincipal
	factAccount
	factType
	factUserName
	factCount
)

// values are those of a condition key, given in lower case.
func (f *facts) values(key string) []string {
	var i int
	switch key {
	case "aws:sourceip":
		i = factSourceIP
	case "aws:securetransport":
		i = factSecure
	case "aws:requestedregion":
		i = factRegion
	case "aws:useragent":
		i = factAgent
	case "aws:referer":
		i = factReferer
	case "aws:userid":
		i = factUserID
	case "aws:principalarn":
		i = factPrincipal
	case "aws:principalaccount":
		i = factAccount
	case "aws:principaltype":
		i = factType
	case "aws:username":
		i = factUserName
	default:
		return nil
	}
	if f[i] == "" {
		return nil
	}
	return f[i : i+1 : i+1]
}

// callerFacts are about a caller; nil is nobody known.
func callerFacts(c *Caller) *facts {
	f := &facts{}
	if c == nil {
		return f
	}
	f[factUserID], f[factPrincipal], f[factAccount], f[factType] = c.UserID, c.UserARN, c.AccountID, "User"
	// An assumed role has no user name: policies with ${aws:username} do not apply.
	if _, name, ok := strings.Cut(c.UserARN, ":user/"); ok {
		f[factUserName] = name[strings.LastIndexByte(name, '/')+1:]
	} else if strings.Contains(c.UserARN, ":assumed-role/") {
		f[factType] = "AssumedRole"
	}
	return f
}

// handshakeFacts are about a handshake and whoever signed it.
func handshakeFacts(r *Request, caller *Caller, region string) *facts {
	f := callerFacts(caller)
	f[factSourceIP], f[factRegion], f[factAgent], f[factSecure] = r.Conn.SourceIP, region, r.Conn.UserAgent, "false"
	if r.Secure {
		f[factSecure] = "true"
	}
	if v, ok := headerValue(r.Handshake.Headers, "Referer"); ok {
		f[factReferer] = strings.Clone(v) // nobody else keeps that header
	}
	return f
}
