package sigv4

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Names of the presigned query parameters. They are case-sensitive on AWS.
const (
	queryAlgorithm  = "X-Amz-Algorithm"
	queryCredential = "X-Amz-Credential"
	queryDate       = "X-Amz-Date"
	queryExpires    = "X-Amz-Expires"
	querySigned     = "X-Amz-SignedHeaders"
	querySignature  = "X-Amz-Signature"
	queryToken      = "X-Amz-Security-Token"
)

// maxSignedHeaders bounds the work an unverified header can cause.
const maxSignedHeaders = 100

// Parse reads the signature of a request. Errors are *[Error]: TypeMissing when
// there is none, TypeIncomplete when there is one that cannot be read. Whether
// the signature is right is for [Signature.Verify].
func Parse(header http.Header, rawQuery string) (*Signature, error) {
	var room [4]Field
	fields := room[:0]
	for _, name := range [...]string{"Authorization", "X-Amz-Date", "Date", "X-Amz-Security-Token"} {
		for _, v := range header[name] { // the canonical form, in which servers keep names
			fields = append(fields, Field{name, v})
		}
	}
	// One allocation for both: SDKs sign four to eight headers.
	s := &struct {
		Signature
		room [8]string
	}{}
	s.SignedHeaders = s.room[:0]
	if err := s.Read(fields, rawQuery); err != nil {
		return nil, err
	}
	return &s.Signature, nil
}

// Read is Parse into a signature that may have been used before, for callers that
// read many. Its strings are parts of those it was given.
func (s *Signature) Read(header Fields, rawQuery string) error {
	*s = Signature{SignedHeaders: s.SignedHeaders[:0]}
	auth, n := header.get("Authorization")
	presigned := rawQuery != "" && (strings.Contains(rawQuery, queryAlgorithm) || strings.Contains(rawQuery, querySignature))
	switch {
	case n > 1:
		return incomplete("The request has more than one Authorization header.")
	case n == 1 && strings.HasPrefix(auth, "AWS4-"):
		if presigned && queryHas(rawQuery, querySignature) {
			return incomplete("The request is signed twice: in the Authorization header and in the query string.")
		}
		return s.readHeader(auth, header)
	case presigned:
		return s.readQuery(rawQuery)
	}
	return errMissing()
}

// queryHas reports whether the query holds a parameter, undecodable ones aside.
func queryHas(rawQuery, name string) bool {
	q, _ := url.ParseQuery(rawQuery)
	return q.Has(name)
}

// readHeader reads "AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…".
// Separators are commas with or without spaces; order does not matter.
func (s *Signature) readHeader(auth string, header Fields) error {
	algorithm, rest, _ := strings.Cut(auth, " ")
	if algorithm != Algorithm {
		return incomplete("Unsupported AWS 'algorithm': '" + printable(algorithm) + "'; only " + Algorithm + " is supported.")
	}
	var credential, signature, signed string
	others := false
	for more := true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || value == "" {
			return incomplete("Authorization header has a part that is not Name=Value: '" + printable(part) + "'.")
		}
		var to *string
		switch name {
		case "Credential":
			to = &credential
		case "Signature":
			to = &signature
		case "SignedHeaders":
			to = &signed
		default:
			others = true
			continue
		}
		if *to != "" {
			return incomplete("Authorization header has '" + printable(name) + "' twice.")
		}
		*to = value
	}
	for _, p := range [...]struct{ name, value string }{{"Credential", credential}, {"Signature", signature}, {"SignedHeaders", signed}} {
		if p.value == "" {
			return incomplete("Authorization header requires '" + p.name + "' parameter.")
		}
	}
	if others {
		return incomplete("Authorization header has parameters other than Credential, SignedHeaders and Signature.")
	}
	when, _ := header.get("X-Amz-Date")
	if when == "" {
		when, _ = header.get("Date")
	}
	if when == "" {
		return incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	s.Token, _ = header.get("X-Amz-Security-Token")
	return s.fill(credential, signed, signature, when)
}

func (s *Signature) readQuery(rawQuery string) error {
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return incomplete("The query string cannot be decoded.")
	}
	for _, name := range []string{queryAlgorithm, queryCredential, queryDate, querySigned, querySignature} {
		if len(q[name]) != 1 || q[name][0] == "" {
			return incomplete("A presigned request needs the query parameter '" + name + "' exactly once.")
		}
	}
	for _, name := range []string{queryExpires, queryToken} {
		if len(q[name]) > 1 {
			return incomplete("A presigned request may have the query parameter '" + name + "' only once.")
		}
	}
	if q.Get(queryAlgorithm) != Algorithm {
		return incomplete("Unsupported AWS 'algorithm': '" + printable(q.Get(queryAlgorithm)) + "'; only " + Algorithm + " is supported.")
	}
	s.Presigned, s.Token = true, q.Get(queryToken)
	if v := q.Get(queryExpires); v != "" {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || n == 0 || time.Duration(n)*time.Second > MaxExpires {
			return incomplete("X-Amz-Expires must be a number of seconds between 1 and 604800.")
		}
		s.Expires = time.Duration(n) * time.Second
	}
	return s.fill(q.Get(queryCredential), q.Get(querySigned), q.Get(querySignature), q.Get(queryDate))
}

// fill sets the parts that both forms share.
func (s *Signature) fill(credential, signed, signature, when string) error {
	if err := s.Credential.parse(credential); err != nil {
		return err
	}
	if strings.Count(signed, ";") >= maxSignedHeaders {
		return incomplete("SignedHeaders names more than 100 headers.")
	}
	for rest, more := signed, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, ";")
		s.SignedHeaders = append(s.SignedHeaders, name)
	}
	for i, name := range s.SignedHeaders {
		if !token(name) || name != strings.ToLower(name) {
			return incomplete("SignedHeaders must be lower-case header names joined by ';', got '" + printable(signed) + "'.")
		}
		// Sorted and unique is what the scheme prescribes; anything else would let
		// two lists describe one request.
		if i > 0 && name <= s.SignedHeaders[i-1] {
			return incomplete("SignedHeaders must be sorted and without duplicates.")
		}
	}
	if !hex64(signature) {
		return incomplete("Signature must be 64 lower-case hexadecimal digits.")
	}
	s.Signature = signature
	at, err := parseTime(when)
	if err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '" + printable(when) + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	s.Time = at
	if day, ok := parseDate(s.Date); !ok || !day.Equal(at.Truncate(24*time.Hour)) {
		return invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			s.Date + "' != '" + at.Format(dateFormat) + "', from '" + printable(when) + "'.")
	}
	return nil
}

// parse reads "AKID/20261122/us-east-1/dynamodb/aws4_request". Access key ids
// may hold slashes in other schemes; on AWS they are word characters.
func (c *Credential) parse(s string) error {
	var p [5]string
	n := strings.Count(s, "/") + 1
	for i, rest := 0, s; i < len(p); i++ {
		p[i], rest, _ = strings.Cut(rest, "/")
	}
	if n != 5 || p[4] != terminator {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/aws4_request, got '" + printable(s) + "'.")
	}
	for _, part := range p[:4] {
		if part == "" || len(part) > 128 || !word(part) {
			return incomplete("Credential has an empty or malformed element: '" + printable(s) + "'.")
		}
	}
	if _, ok := parseDate(p[1]); !ok {
		return incomplete("Credential's date must be YYYYMMDD, got '" + printable(p[1]) + "'.")
	}
	*c = Credential{AccessKeyID: p[0], Date: p[1], Region: p[2], Service: p[3]}
	return nil
}

// parseDate reads yyyymmdd, a day that there is. Like parseTime it does by hand what
// time.Parse does with any layout: requests are many.
func parseDate(s string) (time.Time, bool) {
	year, month, day := number(s, 0, 4), number(s, 4, 2), number(s, 6, 2)
	if len(s) != len(dateFormat) || year < 0 || month < 0 || day < 0 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t, t.Month() == time.Month(month) && t.Day() == day // else another day was meant
}

// number is the n digits of s at a place; -1 when they are none.
func number(s string, at, n int) int {
	if len(s) < at+n {
		return -1
	}
	sum := 0
	for i := at; i < at+n; i++ {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		sum = sum*10 + int(s[i]-'0')
	}
	return sum
}

// parseTime reads X-Amz-Date, or a Date header in HTTP's format.
func parseTime(s string) (time.Time, error) {
	if len(s) == len(timeFormat) && s[8] == 'T' && s[15] == 'Z' {
		day, ok := parseDate(s[:8])
		hour, minute, second := number(s, 9, 2), number(s, 11, 2), number(s, 13, 2)
		if ok && hour >= 0 && hour < 24 && minute >= 0 && minute < 60 && second >= 0 && second < 60 {
			return day.Add(time.Duration(hour*3600+minute*60+second) * time.Second), nil
		}
	}
	if t, err := time.Parse(timeFormat, s); err == nil {
		return t, nil
	}
	t, err := http.ParseTime(s)
	return t.UTC(), err
}

func hex64(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// word reports whether s is made of the characters of key ids, regions and
// service names.
func word(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !alnum(c) && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// token reports whether s is an RFC 9110 §5.6.2 token: a possible header name.
func token(s string) bool {
	for i := range len(s) {
		if c := s[i]; !alnum(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func alnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// printable makes a client's bytes fit for an error text: short, and without
// control characters that could break a header or a log line.
func printable(s string) string {
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
