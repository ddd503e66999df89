package event

import (
	"net/url"
	"slices"
	"strings"
)

// List is header fields or query parameters grouped by name, in the order they
// are shown. Of a repeated name the single-value maps show the last value (REST
// rule) and the multi-value maps all of them.
type List []Values

// Values is one name with its values, at least one.
type Values struct {
	Name   string
	Values []string
}

// Get returns the values of a name, compared without case; nil when absent.
func (l List) Get(name string) []string {
	for i := range l {
		if strings.EqualFold(l[i].Name, name) {
			return l[i].Values
		}
	}
	return nil
}

// canonical is the spelling API Gateway gives to the header names it knows; other
// names keep the client's spelling.
var canonical = map[string]string{
	"accept":                   "Accept",
	"accept-encoding":          "Accept-Encoding",
	"accept-language":          "Accept-Language",
	"authorization":            "Authorization",
	"cache-control":            "Cache-Control",
	"cookie":                   "Cookie",
	"host":                     "Host",
	"origin":                   "Origin",
	"pragma":                   "Pragma",
	"referer":                  "Referer",
	"sec-fetch-dest":           "Sec-Fetch-Dest",
	"sec-fetch-mode":           "Sec-Fetch-Mode",
	"sec-fetch-site":           "Sec-Fetch-Site",
	"sec-gpc":                  "Sec-GPC",
	"sec-websocket-extensions": "Sec-WebSocket-Extensions",
	"sec-websocket-key":        "Sec-WebSocket-Key",
	"sec-websocket-protocol":   "Sec-WebSocket-Protocol",
	"sec-websocket-version":    "Sec-WebSocket-Version",
	"user-agent":               "User-Agent",
	"x-amzn-trace-id":          "X-Amzn-Trace-Id",
	"x-forwarded-for":          "X-Forwarded-For",
	"x-forwarded-port":         "X-Forwarded-Port",
	"x-forwarded-proto":        "X-Forwarded-Proto",
}

// Headers returns the headers of a CONNECT event: the client's, without
// Connection, Upgrade and Content-Length, with Host as AWS would have seen it and
// with the four headers the service adds. Those are there on a plain ws://
// listener too: public authorizers decide on X-Forwarded-Proto being "https".
// Names are sorted without regard to case, as in AWS's samples.
func Headers(c *Connection, h *Handshake) List {
	out := received(c, h)
	out.sort()
	return out
}

// AuthorizerHeaders returns the headers of an authorizer's event: those of the CONNECT
// event, and the three that make a request an upgrade, spelled as in AWS's sample.
func AuthorizerHeaders(c *Connection, h *Handshake) List {
	out := received(c, h)
	out = append(out, Values{"Connection", []string{"upgrade"}}, Values{"content-length", []string{"0"}}, Values{"Upgrade", []string{"websocket"}})
	out.sort()
	return out
}

func received(c *Connection, h *Handshake) List {
	out := make(List, 0, len(h.Headers)+8)
	for _, f := range h.Headers {
		switch {
		case strings.EqualFold(f.Name, "Connection"), strings.EqualFold(f.Name, "Upgrade"),
			strings.EqualFold(f.Name, "Content-Length"), strings.EqualFold(f.Name, "Transfer-Encoding"):
			continue
		}
		out = out.add(f.Name, f.Value)
	}
	out = out.set("Host", c.DomainName)
	forwarded := c.SourceIP
	if prior := out.Get("X-Forwarded-For"); len(prior) > 0 {
		forwarded = strings.Join(prior, ", ") + ", " + c.SourceIP
	}
	out = out.set("X-Forwarded-For", forwarded)
	out = out.set("X-Forwarded-Port", "443")
	out = out.set("X-Forwarded-Proto", "https")
	if trace := out.Get("X-Amzn-Trace-Id"); len(trace) == 0 || !strings.HasPrefix(trace[0], "Root=1-") {
		out = out.set("X-Amzn-Trace-Id", h.TraceID)
	}
	return out
}

func (l List) sort() {
	slices.SortStableFunc(l, func(a, b Values) int {
		return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
}

func (l List) add(name, value string) List {
	for i := range l {
		if strings.EqualFold(l[i].Name, name) {
			l[i].Values = append(l[i].Values, value)
			return l
		}
	}
	if known, ok := canonical[strings.ToLower(name)]; ok {
		name = known
	}
	return append(l, Values{name, []string{value}})
}

func (l List) set(name, value string) List {
	for i := range l {
		if strings.EqualFold(l[i].Name, name) {
			l[i] = Values{name, []string{value}}
			return l
		}
	}
	return append(l, Values{name, []string{value}})
}

// Query parses a raw query string, names in order of appearance. Names are
// compared exactly. An escape that is malformed stays as the client wrote it.
func Query(raw string) List {
	var out List
next:
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, value = unescape(name), unescape(value)
		for i := range out {
			if out[i].Name == name {
				out[i].Values = append(out[i].Values, value)
				continue next
			}
		}
		out = append(out, Values{name, []string{value}})
	}
	return out
}

func unescape(s string) string {
	if t, err := url.QueryUnescape(s); err == nil {
		return t
	}
	return s
}

func appendFields(dst []byte, single, multi string, l List) []byte {
	dst = AppendString(dst, single)
	dst = append(dst, ":{"...)
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, v.Name)
		dst = append(dst, ':')
		dst = AppendString(dst, v.Values[len(v.Values)-1])
	}
	dst = append(dst, "},"...)
	dst = AppendString(dst, multi)
	dst = append(dst, ":{"...)
	for i, v := range l {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, v.Name)
		dst = append(dst, ":["...)
		for j, s := range v.Values {
			if j > 0 {
				dst = append(dst, ',')
			}
			dst = AppendString(dst, s)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}
