package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"time"
)

// Verify checks the signature against the request and the secret of its access
// key. now is the verifier's clock. A nil error means: this request, with this
// body, was signed by the holder of the secret, within the last five minutes (or
// the life a presigned request asked for). Errors are *[Error], TypeInvalid.
//
// A session token is covered by the signature but not checked otherwise: the
// caller compares [Signature.Token] if its keys have tokens.
func (s *Signature) Verify(r *Request, secret string, now time.Time) error {
	key := signingKey(secret, s.Date, s.Region, s.Service)
	return s.verify(r, now, &key)
}

func (s *Signature) verify(r *Request, now time.Time, key *[sha256.Size]byte) error {
	if err := s.fresh(now); err != nil {
		return err
	}
	if err := s.covers(r); err != nil {
		return err
	}
	var hashRoom [2 * sha256.Size]byte
	hash, err := s.appendPayloadHash(hashRoom[:0], r)
	if err != nil {
		return err
	}
	query, err := s.canonicalQuery(r.RawQuery)
	if err != nil {
		return invalid("The query string cannot be decoded: '" + printable(r.RawQuery) + "'.")
	}
	// What a client can have signed: the host as sent and without its port, the
	// path as sent and with its slashes folded.
	host, path := r.Host, r.Path
	for {
		var room [1024]byte
		canonical, err := s.appendCanonical(room[:0], r, host, path, query, hash)
		if err != nil {
			return err
		}
		want := s.sign(canonical, key)
		if subtle.ConstantTimeCompare(want[:], []byte(s.Signature)) == 1 {
			return nil
		}
		folded := fold(path)
		switch bare := withoutPort(host); {
		case folded != path && !s3(s.Service):
			path = folded
		case bare != host:
			host, path = bare, r.Path
		default:
			return errMismatch()
		}
	}
}

// fresh checks the time of signing.
func (s *Signature) fresh(now time.Time) error {
	now = now.UTC()
	life := Skew
	if s.Presigned && s.Expires > 0 {
		life = s.Expires
	}
	if end := s.Time.Add(life); now.After(end) {
		return invalid("Signature expired: " + s.Time.Format(timeFormat) + " is now earlier than " +
			now.Add(-life).Format(timeFormat) + " (" + now.Format(timeFormat) + " - " + minutes(life) + ")")
	}
	if now.Add(Skew).Before(s.Time) {
		return invalid("Signature not yet current: " + s.Time.Format(timeFormat) + " is still later than " +
			now.Add(Skew).Format(timeFormat) + " (" + now.Format(timeFormat) + " + " + minutes(Skew) + ")")
	}
	return nil
}

func minutes(d time.Duration) string {
	if d%time.Minute == 0 {
		return strings.TrimSuffix(d.String(), "m0s") + " min."
	}
	return d.String()
}

// covers checks that what decides the meaning of the request was signed.
func (s *Signature) covers(r *Request) error {
	if !slices.Contains(s.SignedHeaders, "host") {
		return invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	if !s.Presigned { // there the date is in the query, which is signed
		date := "x-amz-date"
		if v, _ := r.Header.get(date); v == "" {
			date = "date"
		}
		if !slices.Contains(s.SignedHeaders, date) {
			return invalid("'" + date + "' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	const prefix = "x-amz-"
	for i := range r.Header {
		name := r.Header[i].Name
		if len(name) < len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		// X-Amz-User-Agent only describes the client, and some browsers' SDKs set
		// it after signing.
		if !strings.EqualFold(name, "x-amz-user-agent") && !s.signed(name) {
			return invalid("There were headers present in the request which were not signed: " + printable(strings.ToLower(name)))
		}
	}
	return nil
}

func (s *Signature) signed(name string) bool {
	for _, h := range s.SignedHeaders {
		if len(h) == len(name) && strings.EqualFold(h, name) {
			return true
		}
	}
	return false
}

// appendPayloadHash appends the last line of the canonical request. A declared
// hash must be that of the body that arrived: otherwise a signed request could be
// given another body.
func (s *Signature) appendPayloadHash(b []byte, r *Request) ([]byte, error) {
	declared, n := r.Header.get("X-Amz-Content-Sha256")
	if s.Presigned && s3(s.Service) {
		return append(b, UnsignedPayload...), nil
	}
	if n > 1 {
		return nil, invalid("The request has more than one X-Amz-Content-Sha256 header.")
	}
	if n == 1 && s.signed("x-amz-content-sha256") {
		if declared == UnsignedPayload || declared == unsignedTrailer {
			return append(b, declared...), nil
		}
		if strings.HasPrefix(declared, "STREAMING-") {
			return nil, invalid("Chunk-signed payloads (" + printable(declared) + ") are not supported.")
		}
	}
	sum := sha256.Sum256(r.Body)
	b = hex.AppendEncode(b, sum[:])
	if n == 1 && declared != string(b) {
		return nil, invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return b, nil
}

// appendCanonical builds the canonical request: six parts joined by newlines; the
// header block ends in a newline of its own.
func (s *Signature) appendCanonical(b []byte, r *Request, host, path, query string, hash []byte) ([]byte, error) {
	b = append(append(b, r.Method...), '\n')
	b = append(appendPath(b, path, s.Service), '\n')
	b = append(append(b, query...), '\n')
	b, err := s.appendHeaders(b, r, host)
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	for i, h := range s.SignedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, h...)
	}
	return append(append(b, '\n'), hash...), nil
}

// sign signs a canonical request; 64 lower-case hex digits.
func (s *Signature) sign(canonical []byte, key *[sha256.Size]byte) (out [2 * sha256.Size]byte) {
	var room [256]byte
	sum := sha256.Sum256(canonical)
	b := append(room[:0], Algorithm+"\n"...)
	b = append(s.Time.AppendFormat(b, timeFormat), '\n')
	b = append(append(b, s.Date...), '/')
	b = append(append(b, s.Region...), '/')
	b = append(append(b, s.Service...), "/"+terminator+"\n"...)
	b = hex.AppendEncode(b, sum[:])
	sum = mac(key, b)
	hex.Encode(out[:], sum[:])
	return out
}

// signingKey derives the key of one day, region and service.
func signingKey(secret, date, region, service string) [sha256.Size]byte {
	h := hmac.New(sha256.New, []byte("AWS4"+secret)) // of any length
	h.Write([]byte(date))
	k := [sha256.Size]byte(h.Sum(nil))
	k = mac(&k, []byte(region))
	k = mac(&k, []byte(service))
	return mac(&k, []byte(terminator))
}

// mac is HMAC-SHA256 (RFC 2104) with a key that is shorter than a block. Package
// hmac does the same with nine allocations, four times per request.
func mac(key *[sha256.Size]byte, text []byte) [sha256.Size]byte {
	var room [sha256.BlockSize + 256]byte
	for i := range sha256.BlockSize {
		room[i] = 0x36
	}
	for i, c := range key {
		room[i] ^= c
	}
	inner := sha256.Sum256(append(room[:sha256.BlockSize], text...))
	for i := range sha256.BlockSize {
		room[i] ^= 0x36 ^ 0x5c
	}
	return sha256.Sum256(append(room[:sha256.BlockSize], inner[:]...))
}

// withoutPort is a Host as browser apps sign it that take it from
// location.hostname (measured).
func withoutPort(host string) string {
	name, _, err := net.SplitHostPort(host)
	switch {
	case err != nil:
		return host
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}
