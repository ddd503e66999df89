package awsapi

import (
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/sigv4"
)

// protocol is one of the wire protocols of AWS SDKs (Smithy: awsJson1_0,
// awsJson1_1, rpcv2Cbor, restJson1, awsQuery, ec2Query, restXml).
type protocol uint8

const (
	restJSON protocol = iota
	json10            // application/x-amz-json-1.0, X-Amz-Target
	json11            // application/x-amz-json-1.1, X-Amz-Target
	cbor              // application/cbor, Smithy-Protocol
	query             // form in, XML out
	ec2               // query with an error document of its own
	restXML           // S3, Route 53, CloudFront
)

// protocolOf tells the protocol by what the request carries; only REST XML has
// no mark of its own and is known by the services that speak it.
func protocolOf(r *http.Request, service string) protocol {
	switch content := r.Header.Get("Content-Type"); {
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor":
		return cbor
	case r.Header.Get("X-Amz-Target") != "" && strings.HasPrefix(content, "application/x-amz-json-1.1"):
		return json11
	case r.Header.Get("X-Amz-Target") != "":
		return json10
	case service == "ec2":
		return ec2
	case strings.HasPrefix(content, "application/x-www-form-urlencoded") || hasAction(r.URL.RawQuery):
		return query
	}
	switch service {
	case "s3", "s3express", "route53", "cloudfront":
		return restXML
	}
	return restJSON
}

func hasAction(rawQuery string) bool {
	q, _ := url.ParseQuery(rawQuery)
	return q.Get("Action") != ""
}

// call is one request on its way through the door.
type call struct {
	w        http.ResponseWriter
	r        *http.Request
	scope    sigv4.Scope
	protocol protocol
	body     []byte // set by readBody and unknownService
	again    replay // of body
	rec      recorder
}

// operation names what was asked for, as far as the protocol says:
// "ListBuckets", or method and path for REST.
func (c *call) operation() string {
	switch c.protocol {
	case json10, json11:
		t := c.r.Header.Get("X-Amz-Target")
		return printable(t[strings.LastIndexByte(t, '.')+1:])
	case cbor:
		return printable(c.r.URL.Path[strings.LastIndexByte(c.r.URL.Path, '/')+1:])
	case query, ec2:
		q, _ := url.ParseQuery(c.r.URL.RawQuery)
		form, _ := url.ParseQuery(string(c.body))
		if a := form.Get("Action"); a != "" {
			return printable(a)
		}
		if a := q.Get("Action"); a != "" {
			return printable(a)
		}
	}
	return printable(c.r.Method + " " + c.r.URL.Path)
}

// printable keeps a caller's words short and on one line.
func printable(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

// refusal is an error ready for the wire.
type refusal struct {
	status int
	code   string // with "Exception", as JSON protocols name it
	msg    string
}

func (f *refusal) Error() string { return f.code + ": " + f.msg }

func isMissing(err error) bool {
	e, ok := errors.AsType[*sigv4.Error](err)
	return ok && e.Type == sigv4.TypeMissing
}

func errUnknownKey() error {
	return &refusal{http.StatusForbidden, "UnrecognizedClientException", "The security token included in the request is invalid."}
}

// asRefusal gives a signature error the status that services of the protocol
// answer with: 400 for the JSON RPC ones, 403 for the others.
func asRefusal(err error, p protocol) *refusal {
	if f, ok := errors.AsType[*refusal](err); ok {
		return f
	}
	f := &refusal{status: http.StatusForbidden, code: sigv4.TypeInvalid, msg: err.Error()}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		f.code, f.msg = e.Type, e.Msg
	}
	if p == json10 || p == json11 || p == cbor {
		f.status = http.StatusBadRequest
	}
	return f
}

// xmlCodes are the names that XML protocols use where they differ by more than
// the missing "Exception".
var xmlCodes = map[string]string{
	"InvalidSignatureException":   "SignatureDoesNotMatch",
	"UnrecognizedClientException": "InvalidClientTokenId",
}

// xmlError is the <Error> element of all XML protocols.
type xmlError struct {
	Type    string `xml:"Type,omitempty"`
	Code    string `xml:"Code"`
	Message string `xml:"Message"`
}

// fail writes a refusal in the caller's protocol.
func (c *call) fail(f *refusal) {
	rid := requestID()
	head := c.w.Header()
	head.Set("X-Amzn-Requestid", rid)
	head.Set("X-Amzn-Errortype", f.code)
	code := strings.TrimSuffix(f.code, "Exception")
	if name := xmlCodes[f.code]; name != "" {
		code = name
	}
	xe := xmlError{Code: code, Message: f.msg}
	var content string
	var body []byte
	switch c.protocol {
	case json10, json11:
		content = "application/x-amz-json-1.0"
		if c.protocol == json11 {
			content = "application/x-amz-json-1.1"
		}
		body = marshal(map[string]string{"__type": f.code, "message": f.msg})
	case cbor:
		content = "application/cbor"
		head.Set("Smithy-Protocol", "rpc-v2-cbor")
		body = cborStrings("__type", f.code, "message", f.msg)
	case query:
		content, xe.Type = "text/xml", "Sender"
		body = marshalXML(struct {
			XMLName   xml.Name `xml:"ErrorResponse"`
			Error     xmlError
			RequestID string `xml:"RequestId"`
		}{Error: xe, RequestID: rid})
	case ec2:
		content = "text/xml"
		body = marshalXML(struct {
			XMLName   xml.Name `xml:"Response"`
			Error     xmlError `xml:"Errors>Error"`
			RequestID string   `xml:"RequestID"`
		}{Error: xe, RequestID: rid})
	case restXML:
		content = "application/xml"
		head.Set("X-Amz-Request-Id", rid)
		body = marshalXML(struct {
			XMLName   xml.Name `xml:"Error"`
			Code      string
			Message   string
			RequestID string `xml:"RequestId"`
		}{Code: code, Message: f.msg, RequestID: rid})
	default:
		content = "application/json"
		body = marshal(map[string]string{"message": f.msg})
	}
	head.Set("Content-Type", content)
	c.w.WriteHeader(f.status)
	c.w.Write(body)
}

// marshal cannot fail on maps of strings.
func marshal(v map[string]string) []byte {
	b, _ := json.Marshal(v)
	return b
}

// marshalXML cannot fail on structs of strings; characters that XML cannot hold
// become U+FFFD.
func marshalXML(v any) []byte {
	b, _ := xml.Marshal(v)
	return append([]byte(xml.Header), b...)
}

// cborStrings encodes a map of text strings (RFC 8949 §3.1: major types 5 and 3).
func cborStrings(pairs ...string) []byte {
	b := []byte{0xa0 | byte(len(pairs)/2)}
	for _, s := range pairs {
		switch n := len(s); {
		case n < 24:
			b = append(b, 0x60|byte(n))
		case n < 256:
			b = append(b, 0x78, byte(n))
		default:
			b = binary.BigEndian.AppendUint16(append(b, 0x79), uint16(n))
		}
		b = append(b, s...)
	}
	return b
}
