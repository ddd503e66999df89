package awsapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/sigv4"
)

// endpointPrefixes are the first labels of AWS's host names where they are not
// the signing name.
var endpointPrefixes = map[string]string{
	"ses":     "email",
	"iotdata": "data.iot",
	"bedrock": "bedrock-runtime",
}

// streams reports whether a request's body was not hashed for its signature: it
// may be of any size and need not be read to verify the signature.
func streams(r *http.Request) bool {
	switch r.Header.Get("X-Amz-Content-Sha256") {
	case sigv4.UnsignedPayload, unsignedTrailer:
		return true
	}
	return false
}

// unsignedTrailer marks bodies in chunks with a checksum behind them (S3 over
// TLS in SDKs of 2025 and later).
const unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

// passOn forwards a call to AWS. A call that one of our workers signed is signed
// anew with the user's credentials, after its own signature was verified:
// otherwise any process on the machine could have its calls signed by naming a
// worker's key. A call with a foreign key goes out as it is, for functions that
// bring credentials of their own.
func (h *Handler) passOn(c *call, sig *sigv4.Signature, body []byte, ours bool, err error) {
	if err != nil {
		h.refuse(c, err)
		return
	}
	host := c.r.Host
	if !sigv4.AWSHost(host) {
		host = endpoint(c.scope)
	}
	var key sigv4.Key
	if ours {
		if key, err = h.credentials(); err != nil {
			h.refuse(c, &refusal{http.StatusForbidden, "UnrecognizedClientException", fmt.Sprintf(
				"--aws-passthrough %s needs AWS credentials of yours to sign the call with: %v", c.scope.Service, err)})
			return
		}
	}
	if body != nil {
		c.r.Body = io.NopCloser(bytes.NewReader(body))
		c.r.ContentLength = int64(len(body))
	}
	proxy := &httputil.ReverseProxy{
		Transport:     h.cfg.Transport,
		FlushInterval: -1,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL = target(pr.In, host)
			pr.Out.Host = host
			if ours {
				resign(pr.Out, sig, body, key, c.scope, h)
			}
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			c.fail(&refusal{http.StatusBadGateway, "BadGatewayException", fmt.Sprintf("Livegate could not reach https://%s: %v", host, err)})
		},
	}
	proxy.ServeHTTP(c.w, c.r)
}

func (h *Handler) credentials() (sigv4.Key, error) {
	if h.cfg.Credentials == nil {
		return sigv4.Key{}, fmt.Errorf("none are configured")
	}
	return h.cfg.Credentials()
}

// target is the request's own URL on another host, path and query as sent.
func target(r *http.Request, host string) *url.URL {
	u := *r.URL
	u.Scheme, u.Host = "https", host
	return &u
}

// resign replaces a worker's signature.
func resign(out *http.Request, sig *sigv4.Signature, body []byte, key sigv4.Key, scope sigv4.Scope, h *Handler) {
	if sig.Presigned {
		q := out.URL.Query()
		for _, name := range []string{"Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"} {
			q.Del("X-Amz-" + name)
		}
		out.URL.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	}
	if scope.Service == "s3" && out.Header.Get("X-Amz-Content-Sha256") == "" {
		out.Header.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
	}
	sigv4.Sign(out, body, key, scope, h.cfg.Now())
}

// endpoint is AWS's host for a service, when a call came by AWS_ENDPOINT_URL.
func endpoint(s sigv4.Scope) string {
	prefix := s.Service
	if p := endpointPrefixes[s.Service]; p != "" {
		prefix = p
	}
	suffix := ".amazonaws.com"
	if strings.HasPrefix(s.Region, "cn-") {
		suffix += ".cn"
	}
	switch s.Service {
	case "iam", "route53", "cloudfront", "globalaccelerator", "organizations":
		return prefix + suffix
	}
	return prefix + "." + s.Region + suffix
}
