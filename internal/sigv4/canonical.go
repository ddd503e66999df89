package sigv4

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// escape appends s with everything but RFC 3986 unreserved characters (and
// slashes, if kept) percent-encoded.
func escape(b []byte, s string, slash bool) []byte {
	for i := range len(s) {
		c := s[i]
		if alnum(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && slash {
			b = append(b, c)
			continue
		}
		b = append(b, '%', upperHex[c>>4], upperHex[c&15])
	}
	return b
}

// appendPath appends the canonical path of a path as sent, or, folded, of what it
// is with runs of slashes made one.
//
// Worked example, a callback to connection "X=": SDKs send
// "/dev/@connections/X%3D" and sign "/dev/%40connections/X%253D". An endpoint
// with a trailing slash sends "/dev//@connections/X%3D": Go and JS v2 sign the
// empty segment, JS v3 and botocore sign without it. If only the first form
// verified, two public apps would get 403 for the slash in their template.
//
// Dot segments are never resolved: a router that does not resolve them would
// see another path than the one that was signed.
func appendPath(b []byte, raw, service string) []byte {
	if raw == "" {
		raw = "/"
	}
	if s3(service) {
		return append(b, escapeOnce(raw)...)
	}
	return escape(b, raw, true)
}

// s3 reports whether a service signs its path as sent, encoded once.
func s3(service string) bool {
	return service == "s3" || strings.HasPrefix(service, "s3-") || service == "s3express"
}

// escapeOnce brings each segment into the one canonical encoding.
func escapeOnce(raw string) string {
	var b []byte
	for i, seg := range strings.Split(raw, "/") {
		if i > 0 {
			b = append(b, '/')
		}
		if plain, err := url.PathUnescape(seg); err == nil {
			seg = plain
		}
		b = escape(b, seg, false)
	}
	return string(b)
}

// fold makes runs of slashes one.
func fold(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

// canonicalQuery decodes every parameter, encodes it in the one canonical way
// and sorts after encoding. "+" is a space, because that is what handlers read.
// A presigned request's own signature is left out, and only there: one that is
// signed in its header covers whatever somebody may have added by that name.
func (s *Signature) canonicalQuery(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	type param struct{ name, value string }
	var list []param
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err != nil {
			return "", err
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return "", err
		}
		if n != querySignature || !s.Presigned {
			list = append(list, param{string(escape(nil, n, false)), string(escape(nil, v, false))})
		}
	}
	slices.SortFunc(list, func(a, b param) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String(), nil
}

// appendHeaders appends the header block: one "name:value\n" per signed header.
func (s *Signature) appendHeaders(b []byte, r *Request, host string) ([]byte, error) {
	for _, name := range s.SignedHeaders {
		b = append(append(b, name...), ':')
		if name == "host" {
			b = append(appendFolded(b, host), '\n')
			continue
		}
		n := 0
		for i := range r.Header {
			f := &r.Header[i]
			if len(f.Name) != len(name) || !strings.EqualFold(f.Name, name) {
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = appendFolded(b, f.Value)
		}
		switch {
		case n > 0:
		case name == "content-length" && r.Length >= 0:
			b = strconv.AppendInt(b, r.Length, 10)
		default:
			return b, invalid("The signed header '" + printable(name) + "' is not in the request.")
		}
		b = append(b, '\n')
	}
	return b, nil
}

// appendFolded trims a value and makes runs of spaces one.
func appendFolded(b []byte, v string) []byte {
	v = strings.Trim(v, " \t")
	space := false
	for i := range len(v) {
		if v[i] == ' ' && space {
			continue
		}
		space = v[i] == ' '
		b = append(b, v[i])
	}
	return b
}
