package conn

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// request is a head that passed every rule of an opening handshake.
type request struct {
	host     string
	path     string // decoded
	rawPath  string
	rawQuery string
	key      string
}

// checkUpgrade applies RFC 6455 §4.2.1, and what RFC 9112 demands of any request
// whose end two parsers must agree on. Both ways into an upgrade pass here: the
// first request of a connection, and a later one that net/http read.
func checkUpgrade(h *head) (*request, error) {
	if h.minor != 1 {
		return nil, badRequest("An upgrade needs HTTP/1.1")
	}
	if _, n := h.get("Content-Length"); n > 0 {
		return nil, badRequest("An upgrade has no body: Content-Length refused")
	}
	if _, n := h.get("Transfer-Encoding"); n > 0 {
		return nil, badRequest("An upgrade has no body: Transfer-Encoding refused")
	}
	host, n := h.get("Host")
	if n != 1 {
		return nil, badRequest("Exactly one Host header expected")
	}
	version, n := h.get("Sec-WebSocket-Version")
	if n > 1 {
		return nil, badRequest("Duplicate Sec-WebSocket-Version")
	}
	if version != "13" {
		r := refuse(http.StatusUpgradeRequired, "Only WebSocket version 13 is spoken")
		r.headers = []Header{{"Sec-WebSocket-Version", "13"}}
		return nil, r
	}
	key, n := h.get("Sec-WebSocket-Key")
	if n != 1 || !validKey(key) {
		return nil, badRequest("One Sec-WebSocket-Key of 16 base64-encoded bytes expected")
	}
	if err := wellFormed(h); err != nil {
		return nil, err
	}
	r := &request{host: host, key: key}
	if err := r.setTarget(h.target); err != nil {
		return nil, err
	}
	if !validHost(r.host) {
		return nil, badRequest("Invalid Host")
	}
	return r, nil
}

// validKey: base64 of 16 bytes (RFC 6455 §4.1 item 7). The unused bits of the
// last character are not looked at: clients exist that draw 24 characters.
func validKey(key string) bool {
	var b [18]byte
	n, err := base64.StdEncoding.Decode(b[:], []byte(key[:min(len(key), 25)]))
	return len(key) == 24 && err == nil && n == 16
}

// setTarget reads origin-form ("/path?query") and absolute-form
// ("http://host/path"), whose host then replaces the Host header (RFC 9112
// §3.2.1, §3.2.2).
func (r *request) setTarget(target string) error {
	if strings.IndexByte(target, '#') >= 0 {
		return badRequest("Fragment in request target")
	}
	if target[0] != '/' {
		scheme, rest, ok := strings.Cut(target, "://")
		if !ok || !absoluteScheme(scheme) {
			return badRequest("Request target is neither a path nor a URL")
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		r.host, target = rest[:end], rest[end:]
		if r.host == "" {
			return badRequest("Request target without host")
		}
		if target == "" || target[0] == '?' {
			target = "/" + target
		}
	}
	r.rawPath, r.rawQuery, _ = strings.Cut(target, "?")
	path, err := url.PathUnescape(r.rawPath)
	if err != nil {
		return badRequest("Malformed escape in request target")
	}
	for i := range len(path) {
		if path[i] < ' ' || path[i] == 0x7f {
			return badRequest("Control character in request target")
		}
	}
	r.path = path
	return nil
}

func absoluteScheme(s string) bool {
	switch strings.ToLower(s) {
	case "http", "https", "ws", "wss":
		return true
	}
	return false
}

// validHost: a name, an IPv4 or a bracketed IPv6 address, and an optional port
// (RFC 9110 §7.2), without the userinfo and escapes that URLs also allow: no
// client sends those, and parsers differ on them.
func validHost(host string) bool {
	name, port := host, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		name, port = host[:i], host[i+1:]
	}
	for i := range len(port) {
		if port[i] < '0' || port[i] > '9' {
			return false
		}
	}
	if strings.HasPrefix(name, "[") {
		addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
		return err == nil && addr.Is6() && addr.Zone() == "" && strings.HasSuffix(name, "]")
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~':
		default:
			return false
		}
	}
	return name != "" && len(port) <= 5
}

// acceptKey proves that the handshake was understood (RFC 6455 §4.2.2 item 5.4).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// offered splits Sec-WebSocket-Protocol, all its lines, in order of preference.
func offered(headers []Header) []string {
	var all []string
	for i := range headers {
		if !strings.EqualFold(headers[i].Name, "Sec-WebSocket-Protocol") {
			continue
		}
		for item := range strings.SplitSeq(headers[i].Value, ",") {
			if item = strings.Trim(item, " \t"); item != "" {
				all = append(all, item)
			}
		}
	}
	return all
}
