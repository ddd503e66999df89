// Package sigv4 reads, verifies and makes AWS Signature Version 4, the scheme
// every AWS SDK signs its requests with.
//
// A signature arrives in the Authorization header or, presigned, in the query
// string. [Parse] reads either without needing a secret, which is enough to
// learn who calls (the access key id) and what for (region and service).
// [Signature.Verify] rebuilds the canonical request from exactly the headers
// the client says it signed and compares in constant time.
//
// What is accepted, beyond the letter of the scheme, is what real clients send:
//   - The path is encoded once more than it was sent, as every service but S3
//     wants it. Some SDKs fold "//" before they sign and still send "//" (JS v3,
//     botocore), others sign what they send (Go, JS v2): both verify.
//   - The Host may have been signed without its port.
//
// What is refused, although a lenient reader could let it pass: a signature
// that leaves out Host or the date, one that leaves out an X-Amz-* header that
// is there (otherwise X-Amz-Target could be swapped under a valid signature), a
// scope of another day, a body that is not the one that was hashed.
//
// The package does no I/O and keeps no state but what a caller's [Keys] hold. It
// never sees whole requests it does not need: callers hand it a [Request], built
// from an *http.Request by [FromHTTP] or by hand for other transports. All
// functions are safe for concurrent use.
//
// Source: "Create a signed AWS API request", AWS IAM User Guide
// (reference_sigv-create-signed-request).
package sigv4

import (
	"net/http"
	"strings"
	"time"
)

// Algorithm is the only algorithm: SigV4A (asymmetric) is not supported, as on
// API Gateway.
const Algorithm = "AWS4-HMAC-SHA256"

const (
	timeFormat = "20060102T150405Z"
	dateFormat = "20060102"
	terminator = "aws4_request"

	// UnsignedPayload stands in for the body's hash when the client did not sign
	// the body (TLS protects it).
	UnsignedPayload = "UNSIGNED-PAYLOAD"

	// unsignedTrailer is the same for a body in chunks with a checksum behind them.
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

	// Skew is how far a client's clock may be off in either direction.
	Skew = 5 * time.Minute

	// MaxExpires is the longest life of a presigned request: seven days.
	MaxExpires = 7 * 24 * time.Hour
)

// Credential is the credential scope: who signed, and for what.
type Credential struct {
	AccessKeyID string
	Date        string // yyyymmdd, UTC
	Region      string
	Service     string // signing name: "dynamodb", "execute-api", "lambda"
}

// scope is the credential without the access key id.
func (c Credential) scope() string {
	return c.Date + "/" + c.Region + "/" + c.Service + "/" + terminator
}

// Signature is a parsed, not yet verified signature.
type Signature struct {
	Credential
	SignedHeaders []string // lower case, in the order given
	Signature     string   // 64 lower-case hex digits
	Time          time.Time
	Token         string        // session token; "" without one
	Presigned     bool          // it came in the query string
	Expires       time.Duration // presigned only; 0 when not given
}

// Field is one header line. Names are compared without case.
type Field struct{ Name, Value string }

// Fields are a request's header lines, repeated names in order. Host need not be
// among them.
type Fields []Field

// FieldsOf takes a header map apart.
func FieldsOf(h http.Header) Fields {
	out := make(Fields, 0, len(h)+4)
	for name, values := range h {
		for _, v := range values {
			out = append(out, Field{name, v})
		}
	}
	return out
}

// get is the first value of a field and how many lines have it.
func (f Fields) get(name string) (value string, n int) {
	for i := range f {
		if len(f[i].Name) == len(name) && strings.EqualFold(f[i].Name, name) {
			if n++; n == 1 {
				value = f[i].Value
			}
		}
	}
	return value, n
}

// Request is the part of an HTTP request that a signature covers.
type Request struct {
	Method   string
	Host     string // as sent, with its port
	Path     string // as sent: still percent-encoded, without the query
	RawQuery string // as sent, without "?"
	Header   Fields // Host is taken from the field above
	Body     []byte
	// Length is the Content-Length, for headers maps that do not hold it.
	// -1 means unknown.
	Length int64
}

// FromHTTP takes a server-side request apart. The path comes from the request
// line, so that neither Go's URL normalisation nor a handler that rewrote r.URL
// changes what was signed. The body is passed in because the caller must keep it.
func FromHTTP(r *http.Request, body []byte) *Request {
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	if target, ok := originForm(r.RequestURI); ok {
		path, query, _ = strings.Cut(target, "?")
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return &Request{
		Method: r.Method, Host: host, Path: path, RawQuery: query,
		Header: FieldsOf(r.Header), Body: body, Length: r.ContentLength,
	}
}

// originForm strips scheme and authority from an absolute-form request target.
func originForm(target string) (string, bool) {
	if strings.HasPrefix(target, "/") {
		return target, true
	}
	_, rest, ok := strings.Cut(target, "://")
	if !ok {
		return "", false
	}
	i := strings.IndexAny(rest, "/?")
	if i < 0 {
		return "/", true
	}
	if rest[i] == '?' {
		return "/" + rest[i:], true
	}
	return rest[i:], true
}

// Error is a refusal in AWS's words. Type is the name an SDK sees in
// x-amzn-errortype or __type, e.g. "InvalidSignatureException".
type Error struct {
	Type string
	Msg  string
}

func (e *Error) Error() string { return e.Type + ": " + e.Msg }

// AWS error types of this package.
const (
	TypeMissing    = "MissingAuthenticationTokenException" // no signature at all
	TypeIncomplete = "IncompleteSignatureException"        // one that cannot be read
	TypeInvalid    = "InvalidSignatureException"           // one that does not match, or is too old
)

func incomplete(msg string) error { return &Error{Type: TypeIncomplete, Msg: msg} }
func invalid(msg string) error    { return &Error{Type: TypeInvalid, Msg: msg} }

// errMissing is AWS's whole text for an unsigned request.
func errMissing() error { return &Error{Type: TypeMissing, Msg: "Missing Authentication Token"} }

// errMismatch is AWS's text for a signature that does not match.
func errMismatch() error {
	return invalid("The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}
