package conn

import (
	"bytes"
	"net/http"
	"strings"
)

// Header is one header line, name as the client spelled it.
type Header struct{ Name, Value string }

// head is a parsed HTTP/1.1 request head (RFC 9112 §2–§5).
type head struct {
	method  string
	target  string
	minor   int // HTTP/1.minor
	headers []Header
}

// refusal is an HTTP answer instead of the one that was asked for.
type refusal struct {
	status  int
	text    string
	headers []Header
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, text string) *refusal { return &refusal{status: status, text: text} }

func badRequest(text string) *refusal { return refuse(http.StatusBadRequest, text) }

// headEnd finds the end of the head in b, of which the first from bytes were
// searched before. end = 0: not all there yet. Bytes that no line of a head may
// hold are refused as they arrive: a bare CR or LF is read differently by
// different parsers, which is what request smuggling lives on (RFC 9112 §2.2,
// §11.2).
func headEnd(b []byte, from int, lim HeadLimits) (end int, err error) {
	i := max(from-3, 0)
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n':
			if i == 0 || b[i-1] != '\r' {
				return 0, badRequest("Bare LF in request head")
			}
			if i >= 3 && b[i-2] == '\n' {
				if i+1 > lim.Total {
					return 0, refuse(http.StatusRequestHeaderFieldsTooLarge, "Request head too large")
				}
				return i + 1, nil
			}
		case c == 0:
			return 0, badRequest("NUL in request head")
		case i > 0 && b[i-1] == '\r':
			return 0, badRequest("Bare CR in request head")
		}
	}
	line := bytes.IndexByte(b, '\n')
	switch {
	case line < 0 && len(b) > lim.URL+len("GET  HTTP/1.1\r"):
		return 0, refuse(http.StatusRequestURITooLong, "Request target too long")
	case len(b) >= lim.Total:
		return 0, refuse(http.StatusRequestHeaderFieldsTooLarge, "Request head too large")
	}
	return 0, nil
}

// parseHead parses a whole head, the empty line included, as headEnd delimits
// it. The strings share one copy of b.
func parseHead(b []byte, lim HeadLimits) (*head, error) {
	h := &head{}
	if err := h.parse(string(b), lim); err != nil {
		return nil, err
	}
	return h, nil
}

// parse is parseHead into h, whose strings are parts of text.
func (h *head) parse(text string, lim HeadLimits) error {
	line, rest, ok := strings.Cut(text, "\r\n")
	if !ok {
		return badRequest("Malformed request line")
	}
	if err := h.requestLine(line, lim); err != nil {
		return err
	}
	n := strings.Count(rest, "\r\n") - 1
	if n > lim.Headers {
		return refuse(http.StatusRequestHeaderFieldsTooLarge, "Too many header lines")
	}
	if h.headers = h.headers[:0]; cap(h.headers) < n {
		h.headers = make([]Header, 0, n)
	}
	for {
		line, rest, ok = strings.Cut(rest, "\r\n")
		if !ok {
			return badRequest("Request head without end")
		}
		if line == "" {
			return nil
		}
		f, err := headerLine(line)
		if err != nil {
			return err
		}
		h.headers = append(h.headers, f)
	}
}

// clone is h with strings of its own.
func (h *head) clone() *head {
	all := &head{method: strings.Clone(h.method), target: strings.Clone(h.target), minor: h.minor, headers: make([]Header, len(h.headers))}
	for i, f := range h.headers {
		all.headers[i] = Header{strings.Clone(f.Name), strings.Clone(f.Value)}
	}
	return all
}

// requestLine reads "METHOD SP target SP HTTP/1.x", single spaces, nothing else
// (RFC 9112 §3).
func (h *head) requestLine(line string, lim HeadLimits) error {
	method, rest, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || !isToken(method) || target == "" {
		return badRequest("Malformed request line")
	}
	if len(target) > lim.URL {
		return refuse(http.StatusRequestURITooLong, "Request target too long")
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] >= 0x7f {
			return badRequest("Invalid character in request target")
		}
	}
	switch version {
	case "HTTP/1.1":
		h.minor = 1
	case "HTTP/1.0":
		h.minor = 0
	default:
		return refuse(http.StatusHTTPVersionNotSupported, "HTTP version not supported")
	}
	h.method, h.target = method, target
	return nil
}

// headerLine reads "name:OWS value OWS" (RFC 9112 §5). A line that starts with
// white space would continue the one before (obs-fold, §5.2): refused, as is
// white space before the colon (§5.1).
func headerLine(line string) (Header, error) {
	if line[0] == ' ' || line[0] == '\t' {
		return Header{}, badRequest("Folded header line")
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return Header{}, badRequest("Malformed header name")
	}
	value = strings.Trim(value, " \t")
	if !isFieldValue(value) {
		return Header{}, badRequest("Invalid character in header value")
	}
	return Header{name, value}, nil
}

// get is the first value of a header and how many lines carry it.
func (h *head) get(name string) (value string, n int) {
	for i := range h.headers {
		if strings.EqualFold(h.headers[i].Name, name) {
			if n == 0 {
				value = h.headers[i].Value
			}
			n++
		}
	}
	return value, n
}

// hasToken reports whether a comma-separated list header holds token, in any of
// its lines (RFC 9110 §5.6.1, §7.6.1).
func (h *head) hasToken(name, token string) bool {
	for i := range h.headers {
		if strings.EqualFold(h.headers[i].Name, name) && listHas(h.headers[i].Value, token) {
			return true
		}
	}
	return false
}

func listHas(list, token string) bool {
	for len(list) > 0 {
		var item string
		item, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// isUpgrade: a GET that asks for a WebSocket (RFC 6455 §4.2.1).
func (h *head) isUpgrade() bool {
	return h.method == http.MethodGet && h.hasToken("Upgrade", "websocket") && h.hasToken("Connection", "upgrade")
}

// isToken: one or more tchar (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// isFieldValue: visible characters, space, tab and obs-text (RFC 9110 §5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
