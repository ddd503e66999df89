package integration

import (
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/selection"
)

// parameters are compiled RequestParameters (§4.5 of the reference), in the order
// of their destinations.
type parameters []parameter

type parameter struct {
	place  string // "header", "querystring", "path"
	name   string
	source *selection.Mapping
}

const destinations = "integration.request.header.NAME, .querystring.NAME or .path.NAME"

// parameterName is PARAM_NAME of "Data mapping for WebSocket APIs".
var parameterName = regexp.MustCompile(`^[a-zA-Z0-9._$-]+$`)

// framing are headers that decide where a request ends or which hop it belongs to.
// A value that a client chose must never get there (request smuggling, RFC 9112
// §11.2), so mapping to one is refused when the deployment is made.
var framing = []string{
	"Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// compileParameters compiles a map of destination → source. paths, when not nil,
// are the names of the URI's path parameters.
func compileParameters(in map[string]string, paths []string) (parameters, error) {
	var out parameters
	for _, dest := range slices.Sorted(maps.Keys(in)) {
		rest, ok := strings.CutPrefix(dest, "integration.request.")
		place, name, dotted := strings.Cut(rest, ".")
		switch {
		case !ok || !dotted || !parameterName.MatchString(name) || !slices.Contains([]string{"header", "querystring", "path"}, place):
			return nil, fault.New(fault.BadRequest, "RequestParameters key %q: want %s", dest, destinations)
		case place == "header" && slices.Contains(framing, http.CanonicalHeaderKey(name)):
			return nil, fault.New(fault.BadRequest, "RequestParameters key %q: the header %s belongs to the connection and cannot be mapped", dest, name)
		case place == "path" && paths != nil && !slices.Contains(paths, name):
			return nil, fault.New(fault.BadRequest, "RequestParameters key %q: the IntegrationUri has no {%s}", dest, name)
		}
		m, err := selection.CompileMapping(in[dest])
		if err != nil {
			return nil, fault.New(fault.BadRequest, "RequestParameters %q: %s", dest, fault.Message(err))
		}
		if m.Response() {
			return nil, fault.New(fault.BadRequest, "RequestParameters %q: %s is there only after the call; use route.request.…, context.…, stageVariables.… or 'text'", dest, in[dest])
		}
		out = append(out, parameter{place, name, m})
	}
	return out, nil
}

// pathNames finds {name} in a URI; "${stageVariables.x}" is none. nil when a stage
// variable may bring some along.
func pathNames(uri string) []string {
	if strings.Contains(uri, stageOpen) {
		return nil
	}
	names := []string{}
	for _, found := range pathName.FindAllStringSubmatch(uri, -1) {
		names = append(names, found[1])
	}
	return names
}

var pathName = regexp.MustCompile(`\{([a-zA-Z0-9._$-]+)\+?\}`)

// outgoing is a request to a back end while it is put together.
type outgoing struct {
	target string
	query  url.Values
	header http.Header
	host   string // "" is the target's
}

// apply evaluates the parameters of one call. Sources that are not there leave
// their destination out. Values are checked again here, whatever the handshake's
// parser accepted: a header from a query string or a body was never one.
func (ps parameters) apply(p *Plan, out *outgoing, vars *selection.Vars) error {
	for i := range ps {
		m := &ps[i]
		value, found := m.source.Value(vars)
		if !found {
			continue
		}
		switch m.place {
		case "path":
			if out.target, found = fill(out.target, m.name, value); !found {
				return fault.New(fault.Upstream, "integration %s: the value mapped to path parameter %s would lead to another path or host", p.name, m.name)
			}
		case "querystring":
			out.query.Add(m.name, value)
		default:
			// Refused, never repaired: what is cut out of a header splits a request.
			if i := badHeaderByte(value); i >= 0 {
				return fault.New(fault.Upstream, "integration %s: the value mapped to header %s holds a line break or control character (byte %d is %#02x)", p.name, m.name, i+1, value[i])
			}
			if strings.EqualFold(m.name, "Host") {
				if !hostText.MatchString(value) {
					return fault.New(fault.Upstream, "integration %s: the value mapped to Host is not a host name", p.name)
				}
				out.host = value
				continue
			}
			put(out.header, m.name, value)
		}
	}
	return nil
}

// put makes values the only ones of a header, whatever its spelling elsewhere: of
// "connectionid" from a client beside the "connectionId" of a mapping, a back end
// would take either. Names stay as written, but for two that the HTTP client adds
// itself where it does not see them.
func put(h http.Header, name string, values ...string) {
	for other := range h {
		if strings.EqualFold(other, name) {
			delete(h, other)
		}
	}
	if known := http.CanonicalHeaderKey(name); known == "User-Agent" || known == "Accept-Encoding" {
		name = known
	}
	h[name] = values
}

// fill puts a value where {name} stands in a URL, or in what follows its host. In a
// query "&" ends a value and in a path it does not; in a host nothing can be escaped.
// ok is false when the value would be more than the part it stands for.
func fill(target, name, value string) (filled string, ok bool) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(target, "{"+name)
		after, closed := strings.CutPrefix(strings.TrimPrefix(rest, "+"), "}")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		if !closed { // {nameAndMore}
			b.WriteString("{" + name)
			target = rest
			continue
		}
		front := b.String()
		if _, host, absolute := strings.Cut(front, "://"); absolute && front[0] != '/' {
			front = host
		}
		switch {
		case strings.Contains(front, "?"):
			b.WriteString(url.QueryEscape(value))
		case strings.Contains(front, "/"):
			if value == "." || value == ".." || value == "" {
				return "", false
			}
			b.WriteString(url.PathEscape(value))
		default:
			if !labels.MatchString(value) {
				return "", false
			}
			b.WriteString(value)
		}
		target = after
	}
}

// labels are a part of a host name.
var labels = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

// badHeaderByte finds what RFC 9110 §5.5 does not allow in a field value; -1: nothing.
func badHeaderByte(s string) int {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return i
		}
	}
	return -1
}

var hostText = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)
