package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/tools/txtar"
)

const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func readRequest(t testing.TB, raw []byte) (*http.Request, []byte) {
	t.Helper()
	head, body, _ := bytes.Cut(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n\n"))
	raw = append(bytes.ReplaceAll(append(head, "\n\n"...), []byte("\n"), []byte("\r\n")), body...)
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

func verify(r *http.Request, body []byte, secret string, now time.Time) error {
	s, err := Parse(r.Header, r.URL.RawQuery)
	if err != nil {
		return err
	}
	return s.Verify(FromHTTP(r, body), secret, now)
}

func vectors(t testing.TB) []txtar.File {
	a, err := txtar.ParseFile("testdata/clients.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) < 10 {
		t.Fatalf("only %d vectors", len(a.Files))
	}
	return a.Files
}

func TestRealClientsVerify(t *testing.T) {
	for _, f := range vectors(t) {
		t.Run(f.Name, func(t *testing.T) {
			r, body := readRequest(t, f.Data)
			s, err := Parse(r.Header, r.URL.RawQuery)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(FromHTTP(r, body), secret, s.Time.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			if err := s.Verify(FromHTTP(r, body), secret+"x", s.Time); err == nil {
				t.Fatal("verifies with another secret")
			}
			if s.AccessKeyID != "AKIDEXAMPLE" || s.Region != "us-east-1" || s.Token == "" {
				t.Fatalf("parsed %+v", s)
			}
		})
	}
}

// The example of AWS's own documentation of the scheme.
func TestDocumentedExample(t *testing.T) {
	r, _ := http.NewRequest("GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	Sign(r, nil, Key{ID: "AKIDEXAMPLE", Secret: secret}, Scope{"us-east-1", "iam"}, at)
	const want = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, " +
		"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
	if got := r.Header.Get("Authorization"); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// What AWS's Go signer signs verifies, with paths and queries of every kind of
// character.
func TestAgreesWithAWSSigner(t *testing.T) {
	urls := []string{
		"https://h.example/", "https://h.example", "https://h.example/dev/@connections/X-1_a=",
		"https://h.example/dev/@connections/X-1_a%3D", "https://h.example/dev//@connections/a%2Fb",
		"https://h.example/a%20b/~c*d'(e)!;f:g?x=1&x=0&y=%2F%20%2B&z", "https://h.example:8443/p?a-b=1&a%2Fb=2&%C3%A9=%E2%82%AC",
		"https://h.example/%E2%82%AC?q=a+b",
	}
	for _, raw := range urls {
		for _, service := range []string{"execute-api", "s3"} {
			body := []byte("body of " + raw)
			sum := sha256.Sum256(body)
			r, err := http.NewRequest("POST", raw, bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "text/plain")
			r.Header.Set("X-Amz-Meta-Spaces", "  a   b  c ")
			r.Header["X-Amz-Twice"] = []string{"one", "two"}
			hash := hex.EncodeToString(sum[:])
			r.Header.Set("X-Amz-Content-Sha256", hash)
			signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
			creds := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret, SessionToken: "T"}
			if err := signer.SignHTTP(context.Background(), creds, r, hash, service, "eu-west-1", noon); err != nil {
				t.Fatal(err)
			}
			// S3's own encoding of a path is that of the wire; where Go leaves
			// reserved characters bare the two signers may differ.
			if service == "s3" && strings.ContainsAny(r.URL.EscapedPath(), "@=*'();!:") {
				continue
			}
			if err := verify(r, body, secret, noon); err != nil {
				t.Errorf("%s %s: %v", service, raw, err)
			}
		}
	}
}

func TestPresignRoundTrip(t *testing.T) {
	r, _ := http.NewRequest("GET", "https://a.execute-api.us-east-1.amazonaws.com/dev?room=a%20b", nil)
	Presign(r, Key{"AKID", secret, "TOK/EN+="}, Scope{"us-east-1", "execute-api"}, noon, time.Minute)
	for name, c := range map[string]struct {
		at   time.Time
		want string
	}{
		"at once":   {noon, ""},
		"in time":   {noon.Add(time.Minute), ""},
		"too late":  {noon.Add(time.Minute + time.Second), "Signature expired"},
		"clock off": {noon.Add(-4 * time.Minute), ""},
		"far ahead": {noon.Add(-6 * time.Minute), "not yet current"},
	} {
		err := verify(r, nil, secret, c.at)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := verify(r, []byte("x"), secret, noon); err == nil {
		t.Error("a body was added and it verifies")
	}
	// A presigned URL is given away; whoever has it must not turn it into another
	// operation by adding a header that nobody signed.
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.DeleteTable")
	if err := verify(r, nil, secret, noon); err == nil {
		t.Error("an operation was added and it verifies")
	}
	r.Header.Del("X-Amz-Target")
	signer := v4.NewSigner()
	p, _ := http.NewRequest("GET", "https://a.execute-api.us-east-1.amazonaws.com/dev?X-Amz-Expires=60", nil)
	sum := sha256.Sum256(nil)
	uri, _, err := signer.PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: "A", SecretAccessKey: secret, SessionToken: "T+/="}, p, hex.EncodeToString(sum[:]), "execute-api", "us-east-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := http.NewRequest("GET", uri, nil)
	if err := verify(q, nil, secret, noon.Add(59*time.Second)); err != nil {
		t.Error(err)
	}
	if err := verify(q, nil, secret, noon.Add(61*time.Second)); err == nil {
		t.Error("AWS-presigned request outlives its X-Amz-Expires")
	}
}

func TestSkew(t *testing.T) {
	r, _ := http.NewRequest("POST", "https://h/", strings.NewReader("x"))
	Sign(r, []byte("x"), Key{ID: "A", Secret: secret}, Scope{"r", "s"}, noon)
	for off, ok := range map[time.Duration]bool{
		0: true, Skew: true, -Skew: true, Skew + time.Second: false, -Skew - time.Second: false, 24 * time.Hour: false,
	} {
		if err := verify(r, []byte("x"), secret, noon.Add(off)); (err == nil) != ok {
			t.Errorf("clock off by %v: %v", off, err)
		}
	}
}

func TestHostMayBeSignedWithoutPort(t *testing.T) {
	for _, host := range []string{"localhost:3001", "[::1]:3001"} {
		r, _ := http.NewRequest("GET", "http://x/", nil)
		r.Host = withoutPort(host)
		Sign(r, nil, Key{ID: "A", Secret: secret}, Scope{"r", "s"}, noon)
		r.Host = host
		if err := verify(r, nil, secret, noon); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	signed := func() *http.Request {
		r, _ := http.NewRequest("POST", "https://h/p?q=1", nil)
		r.Header.Set("X-Amz-Target", "T.Get")
		Sign(r, []byte("b"), Key{ID: "AKID", Secret: secret, Token: "t"}, Scope{"r", "s"}, noon)
		return r
	}
	edit := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, from) {
				t.Fatalf("%q is not in %q", from, h)
			}
			r.Header.Set("Authorization", strings.Replace(h, from, to, 1))
		}
	}
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   string // AWS type
	}{
		"unsigned":              {func(r *http.Request) { r.Header.Del("Authorization") }, TypeMissing},
		"basic":                 {func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") }, TypeMissing},
		"bearer":                {func(r *http.Request) { r.Header.Set("Authorization", "Bearer AWS4-HMAC-SHA256") }, TypeMissing},
		"only the algorithm":    {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256") }, TypeIncomplete},
		"sigv4a":                {edit(Algorithm, "AWS4-ECDSA-P256-SHA256"), TypeIncomplete},
		"two headers":           {func(r *http.Request) { r.Header.Add("Authorization", "x") }, TypeIncomplete},
		"signed twice":          {func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=1" }, TypeIncomplete},
		"short scope":           {edit("/aws4_request", ""), TypeIncomplete},
		"empty key id":          {edit("AKID/", "/"), TypeIncomplete},
		"slash in key id":       {edit("AKID", "AK/ID"), TypeIncomplete},
		"bad date":              {edit("/20261122/", "/20261322/"), TypeIncomplete},
		"other day":             {edit("/20261122/", "/20261121/"), TypeInvalid},
		"no signature":          {edit("Signature=", "Sig="), TypeIncomplete},
		"upper-case header":     {edit("host;", "Host;"), TypeIncomplete},
		"unsorted":              {edit("host;x-amz-date", "x-amz-date;host"), TypeIncomplete},
		"host unsigned":         {edit("SignedHeaders=host;", "SignedHeaders="), TypeInvalid},
		"date unsigned":         {edit("x-amz-date;", ""), TypeInvalid},
		"target unsigned":       {edit(";x-amz-target", ""), TypeInvalid},
		"new x-amz header":      {func(r *http.Request) { r.Header.Set("X-Amz-Invocation-Type", "Event") }, TypeInvalid},
		"target changed":        {func(r *http.Request) { r.Header.Set("X-Amz-Target", "T.Put") }, TypeInvalid},
		"signed header gone":    {func(r *http.Request) { r.Header.Del("X-Amz-Target") }, TypeInvalid},
		"method":                {func(r *http.Request) { r.Method = "PUT" }, TypeInvalid},
		"host":                  {func(r *http.Request) { r.Host = "evil" }, TypeInvalid},
		"path":                  {func(r *http.Request) { r.URL.Path = "/P" }, TypeInvalid},
		"dot segments":          {func(r *http.Request) { r.URL.Path = "/x/../p" }, TypeInvalid},
		"query":                 {func(r *http.Request) { r.URL.RawQuery += "&r=2" }, TypeInvalid},
		"query not decodable":   {func(r *http.Request) { r.URL.RawQuery = "q=%zz" }, TypeInvalid},
		"token":                 {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "u") }, TypeInvalid},
		"time moved":            {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20261122T120001Z") }, TypeInvalid},
		"hash of another body":  {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", strings.Repeat("0", 64)) }, TypeInvalid},
		"unsigned body claimed": {func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload) }, TypeInvalid},
		"line break in the key": {edit("AKID", "AK\nID"), TypeIncomplete},
	} {
		t.Run(name, func(t *testing.T) {
			r := signed()
			c.change(r)
			err := verify(r, []byte("b"), secret, noon)
			e, ok := err.(*Error)
			if !ok || e.Type != c.want {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if strings.ContainsAny(e.Msg, "\r\n") {
				t.Fatalf("message breaks lines: %q", e.Msg)
			}
		})
	}
	if err := verify(signed(), []byte("c"), secret, noon); err == nil {
		t.Error("another body verifies")
	}
}

func TestUnsignedPayload(t *testing.T) {
	r, _ := http.NewRequest("PUT", "https://b.s3.us-east-1.amazonaws.com/k", nil)
	r.Header.Set("X-Amz-Content-Sha256", UnsignedPayload)
	Sign(r, nil, Key{ID: "A", Secret: secret}, Scope{"us-east-1", "s3"}, noon)
	if err := verify(r, []byte("anything"), secret, noon); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
	if err := verify(r, nil, secret, noon); err == nil || !strings.Contains(err.Error(), "not supported") {
		t.Fatalf("chunk signatures: %v", err)
	}
}

// meaning is everything in a request that a signature must protect.
func meaning(r *http.Request, body []byte, signed []string) string {
	q, _ := url.ParseQuery(r.URL.RawQuery)
	var b strings.Builder
	fmt.Fprintln(&b, r.Method, r.Host, r.URL.EscapedPath(), q.Encode(), hex.EncodeToString(body))
	for _, name := range signed {
		for _, v := range r.Header.Values(name) {
			fmt.Fprintln(&b, name, strings.Join(strings.Fields(v), " "))
		}
	}
	return b.String()
}

// Flip every bit of every signed request: what still verifies must still mean
// the same.
func TestMutantsAreRefused(t *testing.T) {
	for _, f := range vectors(t) {
		r, body := readRequest(t, f.Data)
		s, err := Parse(r.Header, r.URL.RawQuery)
		if err != nil {
			t.Fatal(err)
		}
		want := meaning(r, body, s.SignedHeaders)
		var wire bytes.Buffer
		fmt.Fprintf(&wire, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
		r.Header.Write(&wire)
		if r.Header.Get("Content-Length") == "" && len(body) > 0 {
			fmt.Fprintf(&wire, "Content-Length: %d\r\n", len(body))
		}
		wire.WriteString("\r\n")
		wire.Write(body)
		tried, same := 0, 0
		for i := range wire.Bytes() {
			for bit := range 8 {
				m := bytes.Clone(wire.Bytes())
				m[i] ^= 1 << bit
				mr, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(m)))
				if err != nil {
					continue
				}
				mb, err := io.ReadAll(mr.Body)
				if err != nil {
					continue
				}
				tried++
				if verify(mr, mb, secret, s.Time) != nil {
					continue
				}
				same++
				if got := meaning(mr, mb, s.SignedHeaders); got != want {
					t.Fatalf("%s: byte %d bit %d changed the request and it verifies:\n%s\nwas\n%s", f.Name, i, bit, got, want)
				}
			}
		}
		if tried < 1000 || same > tried/4 {
			t.Fatalf("%s: %d mutants tried, %d meant the same: the test does not test", f.Name, tried, same)
		}
	}
}

func TestHostScope(t *testing.T) {
	for host, want := range map[string]string{
		"dynamodb.us-east-1.amazonaws.com":               "dynamodb us-east-1",
		"DynamoDB.US-East-1.AmazonAWS.com:443":           "dynamodb us-east-1",
		"dynamodb.us-east-1.amazonaws.com.":              "dynamodb us-east-1",
		"dynamodb.cn-north-1.amazonaws.com.cn":           "dynamodb cn-north-1",
		"dynamodb.us-east-1.api.aws":                     "dynamodb us-east-1",
		"dynamodb-fips.us-gov-west-1.amazonaws.com":      "dynamodb us-gov-west-1",
		"123456789012.ddb.us-east-1.amazonaws.com":       "dynamodb us-east-1",
		"streams.dynamodb.us-east-1.amazonaws.com":       "dynamodb us-east-1",
		"lambda.eu-central-1.amazonaws.com":              "lambda eu-central-1",
		"lambda.eu-central-1.api.aws":                    "lambda eu-central-1",
		"x1.lambda-url.us-east-1.on.aws":                 "lambda us-east-1",
		"sts.amazonaws.com":                              "sts ",
		"sts.us-west-2.amazonaws.com":                    "sts us-west-2",
		"abc.execute-api.us-east-1.amazonaws.com":        "execute-api us-east-1",
		"s3.amazonaws.com":                               "s3 ",
		"my.bucket.s3.ap-southeast-2.amazonaws.com":      "s3 ap-southeast-2",
		"b.s3.dualstack.us-east-1.amazonaws.com":         "s3 us-east-1",
		"b.s3-us-west-2.amazonaws.com":                   "s3 us-west-2",
		"b.s3-accelerate.amazonaws.com":                  "s3 ",
		"us-east-1.queue.amazonaws.com":                  "sqs us-east-1",
		"sqs.us-east-1.amazonaws.com":                    "sqs us-east-1",
		"email.us-east-1.amazonaws.com":                  "ses us-east-1",
		"sync-states.us-east-1.amazonaws.com":            "states us-east-1",
		"x.appsync-api.us-east-1.amazonaws.com":          "appsync us-east-1",
		"vpce-1-2.dynamodb.us-east-1.vpce.amazonaws.com": "dynamodb us-east-1",
		"secretsmanager.il-central-1.amazonaws.com":      "secretsmanager il-central-1",
	} {
		got, ok := HostScope(host)
		if !ok || got.Service+" "+got.Region != want {
			t.Errorf("%s: %+v %v, want %s", host, got, ok, want)
		}
	}
	for _, host := range []string{"", "amazonaws.com", "example.org", "evilamazonaws.com", "dynamodb.us-east-1.amazonaws.com.evil.org", "localhost:3001", "127.0.0.1"} {
		if s, ok := HostScope(host); ok {
			t.Errorf("%q is taken for an AWS host: %+v", host, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, v := range vectors(f) {
		r, _ := readRequest(f, v.Data)
		f.Add(r.Header.Get("Authorization"), r.Header.Get("X-Amz-Date"), r.URL.RawQuery)
	}
	f.Add("AWS4-HMAC-SHA256 Credential=,=,", "", "X-Amz-Algorithm=&X-Amz-Signature=%")
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		h := http.Header{}
		if auth != "" {
			h.Set("Authorization", auth)
		}
		h.Set("X-Amz-Date", date)
		s, err := Parse(h, query)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("error of another type: %T", err)
			}
			return
		}
		if !hex64(s.Signature) || !slices.IsSorted(s.SignedHeaders) || s.AccessKeyID == "" || s.Date != s.Time.Format(dateFormat) {
			t.Fatalf("accepted %+v", s)
		}
		r := &Request{Method: "GET", Host: "h", Path: "/", RawQuery: query, Header: FieldsOf(h)}
		if s.Verify(r, "another secret", s.Time) == nil {
			t.Fatal("verified with a secret that did not sign")
		}
	})
}

// A signature in the header covers the whole query. One name was left out of it
// that only a presigned request may add after signing.
func TestNothingMayJoinASignedQuery(t *testing.T) {
	now := time.Now()
	r, _ := http.NewRequest("GET", "https://a.execute-api.us-east-1.amazonaws.com/dev?a=b", nil)
	Sign(r, nil, Key{ID: "AKID", Secret: "secret"}, Scope{"us-east-1", "execute-api"}, now)
	if err := verify(r, nil, "secret", now); err != nil {
		t.Fatal(err)
	}
	for _, extra := range []string{"&X-Amz-Signature=x", "&X%2DAmz-Signature=x", "&X-Amz-Signatur%65=x"} {
		q := r.Clone(r.Context())
		q.URL.RawQuery += extra
		if err := verify(q, nil, "secret", now); err == nil {
			t.Errorf("%s was added to a signed request, which still verifies", extra)
		}
	}
}

// A remembered key verifies the same requests as a fresh one, and only those.
func TestKeys(t *testing.T) {
	var k Keys
	r, _ := http.NewRequest("POST", "https://a.execute-api.us-east-1.amazonaws.com/dev/@connections/X-1_a%3D", nil)
	check := func(region string, secret string) error {
		Sign(r, nil, Key{ID: "A", Secret: "right"}, Scope{region, "execute-api"}, noon)
		s, err := Parse(r.Header, "")
		if err != nil {
			t.Fatal(err)
		}
		return k.Verify(s, FromHTTP(r, nil), secret, noon)
	}
	for range 2 {
		if err := check("us-east-1", "right"); err != nil {
			t.Fatal(err)
		}
		if check("us-east-1", "wrong") == nil {
			t.Fatal("verified with a secret that did not sign")
		}
	}
	if len(k.derived) != 1 {
		t.Fatalf("%d keys: one that verified nothing is kept", len(k.derived))
	}
	for i := range 2 * maxKeys {
		if err := check(fmt.Sprint("region-", i), "right"); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.derived); n > maxKeys {
		t.Fatalf("%d keys", n)
	}
}

func TestMacIsHMAC(t *testing.T) {
	key := [32]byte{1, 2, 3}
	for n := range 1000 {
		text := bytes.Repeat([]byte{'x'}, n)
		h := hmac.New(sha256.New, key[:])
		h.Write(text)
		if got := mac(&key, text); !bytes.Equal(got[:], h.Sum(nil)) {
			t.Fatalf("%d bytes", n)
		}
	}
}

// BenchmarkKeys is a callback as an event loop verifies it.
func BenchmarkKeys(b *testing.B) {
	r, _ := http.NewRequest("POST", "https://a.execute-api.us-east-1.amazonaws.com/dev/@connections/X-1_a%3D", nil)
	body := make([]byte, 128)
	Sign(r, body, Key{ID: "A", Secret: secret, Token: "t"}, Scope{"us-east-1", "execute-api"}, noon)
	req := FromHTTP(r, body)
	var k Keys
	var s Signature
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Read(req.Header, ""); err != nil {
			b.Fatal(err)
		}
		if err := k.Verify(&s, req, secret, noon); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	r, _ := http.NewRequest("POST", "https://a.execute-api.us-east-1.amazonaws.com/dev/@connections/X-1_a%3D", nil)
	body := make([]byte, 128)
	Sign(r, body, Key{ID: "A", Secret: secret, Token: "t"}, Scope{"us-east-1", "execute-api"}, noon)
	b.ReportAllocs()
	for b.Loop() {
		if err := verify(r, body, secret, noon); err != nil {
			b.Fatal(err)
		}
	}
}
