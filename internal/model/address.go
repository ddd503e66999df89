package model

import (
	"net/url"
	"strings"
)

// Address is what a URL of the gateway names: an API, one of its stages and what
// follows (nothing for a client, "/@connections/…" for a callback).
type Address struct {
	API   *API
	Stage *Stage
	Rest  string // decoded path after the stage; "" or starts with "/"
	// Custom is the custom domain that was used, nil for execute-api and local forms.
	Custom *Domain
}

// ExecuteAPIHost is the AWS-shaped host name of an API:
// "{apiId}.execute-api.{region}.amazonaws.com".
func (a *App) ExecuteAPIHost(api *API) string {
	return api.ID + ".execute-api." + a.Region + "." + a.URLSuffix
}

// Locate finds what a request addresses. host is the Host header (a port is
// ignored), path the decoded URL path. Forms, in order:
//
//	{domain}/{mappingKey}…                      custom domain: no stage segment
//	{apiId}.execute-api.{region}.amazonaws.com/{stage}…
//	{apiId}.localhost/{stage}…
//	…/{apiId}/{stage}…                          any other host
//	…/{stage}…                                  while only one API has that stage
//	…/@connections/…                            while there is only one stage at all
//
// Doubled slashes count as one: SDKs given an endpoint with a trailing slash
// send "/dev//@connections/…". ok is false when nothing matches; API is set when
// the host named one, so that a caller can tell an unknown stage from an unknown
// host.
func (a *App) Locate(host, path string) (addr Address, ok bool) {
	host = HostName(host)
	if d := a.Domain(host); d != nil {
		return a.mapped(d, path)
	}
	first, rest := cut(path)
	label, suffix, _ := strings.Cut(host, ".")
	if suffix == "localhost" || strings.HasPrefix(suffix, "execute-api.") {
		for _, api := range a.APIs {
			if api.ID == label {
				addr.API = api
				addr.Stage = api.Stage(first)
				addr.Rest = rest
				return addr, addr.Stage != nil
			}
		}
		return addr, false
	}
	for _, api := range a.APIs {
		if api.ID == first {
			name, tail := cut(rest)
			addr = Address{API: api, Stage: api.Stage(name), Rest: tail}
			return addr, addr.Stage != nil
		}
	}
	matches := 0
	for _, api := range a.APIs {
		if s := api.Stage(first); s != nil {
			matches++
			addr = Address{API: api, Stage: s, Rest: rest}
		} else if first == "@connections" && len(api.Stages) == 1 {
			matches++
			addr = Address{API: api, Stage: api.Stages[0], Rest: "/" + first + rest}
		}
	}
	if matches == 1 {
		return addr, true
	}
	return Address{}, false
}

// Domain finds the custom domain of a host name (no port): the exact name before a
// wildcard; nil when there is none.
func (a *App) Domain(host string) *Domain {
	var wild *Domain
	for _, d := range a.Domains {
		switch {
		case strings.EqualFold(d.Name, host):
			return d
		case wild == nil && d.Matches(host):
			wild = d
		}
	}
	return wild
}

// HostName takes the name out of a Host header: lower case, without port, brackets
// and the root label's dot, which resolvers allow.
func HostName(host string) string {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		switch end := strings.IndexByte(host, ']'); {
		case host[0] == '[' && end == i-1:
			host = host[1:end]
		case host[0] != '[' && strings.IndexByte(host, ':') == i:
			host = host[:i]
		}
	}
	return strings.TrimSuffix(host, ".")
}

// Stage finds a stage by name; nil when there is none.
func (api *API) Stage(name string) *Stage {
	for _, s := range api.Stages {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Route finds a route by its exact key; nil when there is none.
func (api *API) Route(key string) *Route {
	for _, r := range api.Routes {
		if r.Key == key {
			return r
		}
	}
	return nil
}

// mapped resolves a custom domain: the longest mapping key that is a whole-segment
// prefix of the path wins.
func (a *App) mapped(d *Domain, path string) (addr Address, ok bool) {
	addr.Custom = d
	trimmed := collapse(path)
	best := -1
	for _, m := range d.Mappings {
		key := "/" + m.Key
		if m.Key == "" {
			key = ""
		}
		if len(key) <= best || (trimmed != key && !strings.HasPrefix(trimmed, key+"/")) {
			continue
		}
		for _, api := range a.APIs {
			if api.ID == m.APIID {
				if s := api.Stage(m.Stage); s != nil {
					best, ok = len(key), true
					addr.API, addr.Stage, addr.Rest = api, s, trim(trimmed[len(key):])
				}
			}
		}
	}
	return addr, ok
}

// Matches reports whether a host name (no port) is this domain's; a wildcard
// covers one label.
func (d *Domain) Matches(host string) bool {
	host = strings.ToLower(host)
	suffix, ok := strings.CutPrefix(strings.ToLower(d.Name), "*.")
	if !ok {
		return strings.EqualFold(d.Name, host)
	}
	_, tail, ok := strings.Cut(host, ".")
	return ok && tail == suffix
}

// cut splits "/a/b/c" into "a" and "/b/c"; a lone trailing slash is dropped.
func cut(path string) (first, rest string) {
	path = strings.TrimPrefix(collapse(path), "/")
	i := strings.IndexByte(path, '/')
	if i < 0 {
		return path, ""
	}
	return path[:i], trim(path[i:])
}

func trim(path string) string {
	if path == "/" {
		return ""
	}
	return path
}

func collapse(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// WebSocketURL is the local client URL of a stage under base
// ("ws://localhost:3001"): the short form while the stage name is unique in the
// application, else with the API id in front.
func (a *App) WebSocketURL(base string, api *API, stage *Stage) string {
	n := 0
	for _, other := range a.APIs {
		if other.Stage(stage.Name) != nil {
			n++
		}
	}
	if n == 1 {
		return base + "/" + url.PathEscape(stage.Name)
	}
	return base + "/" + api.ID + "/" + url.PathEscape(stage.Name)
}
