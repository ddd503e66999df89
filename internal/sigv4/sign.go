package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Key is a set of credentials. Token is "" for long-lived ones.
type Key struct{ ID, Secret, Token string }

// Scope is what a signature is for.
type Scope struct{ Region, Service string }

// Sign signs a client's request in its headers: X-Amz-Date, X-Amz-Security-Token
// and Authorization are set, an older signature replaced. Host, Content-Type and
// every X-Amz-* header are signed. body is what will be sent; r.Body is left
// alone. A request whose X-Amz-Content-Sha256 is UNSIGNED-PAYLOAD keeps it.
func Sign(r *http.Request, body []byte, key Key, scope Scope, at time.Time) {
	at = at.UTC()
	r.Header.Del("Authorization")
	r.Header.Set("X-Amz-Date", at.Format(timeFormat))
	r.Header.Del("X-Amz-Security-Token")
	if key.Token != "" {
		r.Header.Set("X-Amz-Security-Token", key.Token)
	}
	s := newSignature(key, scope, at)
	s.SignedHeaders = []string{"host"}
	for name := range r.Header {
		name = strings.ToLower(name)
		if name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			s.SignedHeaders = append(s.SignedHeaders, name)
		}
	}
	slices.Sort(s.SignedHeaders)
	hash := r.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	r.Header.Set("Authorization", Algorithm+" Credential="+key.ID+"/"+s.scope()+
		", SignedHeaders="+strings.Join(s.SignedHeaders, ";")+
		", Signature="+s.compute(r, key.Secret, hash))
}

// Presign signs a client's request in its query string, for an empty body. Only
// Host is signed. A life of 0 leaves X-Amz-Expires out.
func Presign(r *http.Request, key Key, scope Scope, at time.Time, life time.Duration) {
	at = at.UTC()
	s := newSignature(key, scope, at)
	s.SignedHeaders = []string{"host"}
	add := url.Values{
		queryAlgorithm:  {Algorithm},
		queryCredential: {key.ID + "/" + s.scope()},
		queryDate:       {at.Format(timeFormat)},
		querySigned:     {"host"},
	}
	if key.Token != "" {
		add.Set(queryToken, key.Token)
	}
	if life > 0 {
		add.Set(queryExpires, strconv.Itoa(int(life/time.Second)))
	}
	if r.URL.RawQuery != "" {
		r.URL.RawQuery += "&"
	}
	r.URL.RawQuery += add.Encode()
	hash := UnsignedPayload
	if !s3(scope.Service) {
		sum := sha256.Sum256(nil)
		hash = hex.EncodeToString(sum[:])
	}
	r.URL.RawQuery += "&" + querySignature + "=" + s.compute(r, key.Secret, hash)
}

func newSignature(key Key, scope Scope, at time.Time) *Signature {
	return &Signature{Time: at, Credential: Credential{
		AccessKeyID: key.ID, Date: at.Format(dateFormat), Region: scope.Region, Service: scope.Service,
	}}
}

// compute signs r as it stands. Errors cannot occur here that would not also be
// the client's own malformed URL, which http.NewRequest refused before; the
// signature of such a request simply does not verify.
func (s *Signature) compute(r *http.Request, secret, hash string) string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	req := &Request{Method: r.Method, Header: FieldsOf(r.Header), Length: -1}
	query, _ := s.canonicalQuery(r.URL.RawQuery)
	key := signingKey(secret, s.Date, s.Region, s.Service)
	canonical, _ := s.appendCanonical(nil, req, host, r.URL.EscapedPath(), query, []byte(hash))
	sum := s.sign(canonical, &key)
	return string(sum[:])
}
