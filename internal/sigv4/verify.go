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
	if err := s.fresh(now); err != nil {
		return err
	}
	if err := s.covers(r); err != nil {
		return err
	}
	hash, err := s.payloadHash(r)
	if err != nil {
		return err
	}
	query, err := canonicalQuery(r.RawQuery)
	if err != nil {
		return invalid("The query string cannot be decoded: '" + printable(r.RawQuery) + "'.")
	}
	key := signingKey(secret, s.Date, s.Region, s.Service)
	for _, host := range hosts(r.Host) {
		headers, err := s.canonicalHeaders(r, host)
		if err != nil {
			return err
		}
		for _, path := range paths(r.Path, s.Service) {
			want := s.sign(key, r.Method, path, query, headers, hash)
			if subtle.ConstantTimeCompare([]byte(want), []byte(s.Signature)) == 1 {
				return nil
			}
		}
	}
	return errMismatch()
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
		if r.Header.Get(date) == "" {
			date = "date"
		}
		if !slices.Contains(s.SignedHeaders, date) {
			return invalid("'" + date + "' must be a 'SignedHeader' in the AWS Authorization.")
		}
	}
	for name := range r.Header {
		name = strings.ToLower(name)
		// X-Amz-User-Agent only describes the client, and some browsers' SDKs set
		// it after signing.
		if strings.HasPrefix(name, "x-amz-") && name != "x-amz-user-agent" && !slices.Contains(s.SignedHeaders, name) {
			return invalid("There were headers present in the request which were not signed: " + printable(name))
		}
	}
	return nil
}

// payloadHash is the last line of the canonical request. A declared hash must
// be that of the body that arrived: otherwise a signed request could be given
// another body.
func (s *Signature) payloadHash(r *Request) (string, error) {
	declared := r.Header.Values("X-Amz-Content-Sha256")
	if s.Presigned && s3(s.Service) {
		return UnsignedPayload, nil
	}
	if len(declared) > 1 {
		return "", invalid("The request has more than one X-Amz-Content-Sha256 header.")
	}
	if len(declared) == 1 && slices.Contains(s.SignedHeaders, "x-amz-content-sha256") {
		if declared[0] == UnsignedPayload || declared[0] == unsignedTrailer {
			return declared[0], nil
		}
		if strings.HasPrefix(declared[0], "STREAMING-") {
			return "", invalid("Chunk-signed payloads (" + printable(declared[0]) + ") are not supported.")
		}
	}
	sum := sha256.Sum256(r.Body)
	hash := hex.EncodeToString(sum[:])
	if len(declared) == 1 && declared[0] != hash {
		return "", invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return hash, nil
}

// sign computes the signature of a canonical request (its six parts joined by
// newlines; the header block ends in a newline of its own).
func (s *Signature) sign(key []byte, method, path, query, headers, hash string) string {
	b := make([]byte, 0, 512+len(path)+len(query)+len(headers))
	b = append(append(b, method...), '\n')
	b = append(append(b, path...), '\n')
	b = append(append(b, query...), '\n')
	b = append(append(b, headers...), '\n')
	for i, h := range s.SignedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, h...)
	}
	b = append(append(b, '\n'), hash...)
	sum := sha256.Sum256(b)
	text := Algorithm + "\n" + s.Time.Format(timeFormat) + "\n" + s.scope() + "\n" + hex.EncodeToString(sum[:])
	return hex.EncodeToString(mac(key, text))
}

// signingKey derives the key of one day, region and service.
func signingKey(secret, date, region, service string) []byte {
	k := mac([]byte("AWS4"+secret), date)
	k = mac(k, region)
	k = mac(k, service)
	return mac(k, terminator)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// hosts are the spellings of Host that a client may have signed: what it sent,
// and the same without the port (measured: browser apps that sign
// location.hostname).
func hosts(host string) []string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		if strings.Contains(name, ":") {
			name = "[" + name + "]"
		}
		return []string{host, name}
	}
	return []string{host}
}
