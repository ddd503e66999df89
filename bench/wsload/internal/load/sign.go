//go:build linux

package load

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
	"time"
)

// Signer writes AWS Signature Version 4 headers for @connections posts (IAM User
// Guide, "Create a signed AWS API request"). Not safe for concurrent use.
type Signer struct {
	Key, Secret, Token string
	Region             string
	// Looks writes a well-formed header with a signature that is nobody's: what a
	// gateway that does not know the key has to parse, and nothing more.
	Looks bool

	second int64 // what follows belongs to this one
	stamp  string
	scope  string
	mac    hash.Hash
}

const signedHeaders = "host;x-amz-date"

// append adds the headers for one POST to dst.
func (s *Signer) append(dst []byte, host, path string, body []byte) []byte {
	if now := time.Now().UTC(); now.Unix() != s.second {
		s.begin(now)
	}
	headers := signedHeaders
	if s.Token != "" {
		headers += ";x-amz-security-token"
	}
	signature := "4af0c1f2a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e"
	if !s.Looks {
		signature = s.signature(host, path, headers, body)
	}
	dst = append(dst, "X-Amz-Date: "+s.stamp+"\r\n"...)
	if s.Token != "" {
		dst = append(dst, "X-Amz-Security-Token: "+s.Token+"\r\n"...)
	}
	return append(dst, "Authorization: AWS4-HMAC-SHA256 Credential="+s.Key+"/"+s.scope+
		", SignedHeaders="+headers+", Signature="+signature+"\r\n"...)
}

func (s *Signer) begin(now time.Time) {
	day := now.Format("20060102")
	s.second, s.stamp = now.Unix(), now.Format("20060102T150405Z")
	s.scope = day + "/" + s.Region + "/execute-api/aws4_request"
	key := []byte("AWS4" + s.Secret)
	for _, part := range []string{day, s.Region, "execute-api", "aws4_request"} {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(part))
		key = m.Sum(nil)
	}
	s.mac = hmac.New(sha256.New, key)
}

func (s *Signer) signature(host, path, headers string, body []byte) string {
	payload := sha256.Sum256(body)
	// The canonical URI of all services but S3 is the path encoded once more.
	canonical := "POST\n" + strings.ReplaceAll(path, "%", "%25") + "\n\nhost:" + host + "\nx-amz-date:" + s.stamp + "\n"
	canonical = strings.Replace(canonical, "/@", "/%40", 1)
	if s.Token != "" {
		canonical += "x-amz-security-token:" + s.Token + "\n"
	}
	canonical += "\n" + headers + "\n" + hex.EncodeToString(payload[:])
	digest := sha256.Sum256([]byte(canonical))
	s.mac.Reset()
	s.mac.Write([]byte("AWS4-HMAC-SHA256\n" + s.stamp + "\n" + s.scope + "\n" + hex.EncodeToString(digest[:])))
	return hex.EncodeToString(s.mac.Sum(nil))
}
