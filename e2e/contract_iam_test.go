package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"
)

// signer signs handshakes as the AWS SDK for Go does.
type signer struct {
	key            aws.Credentials
	region         string
	service        string
	at             time.Time
	expiresSeconds string // of presigned URLs
}

func (g *gate) signer(id string) signer {
	return signer{key: aws.Credentials{AccessKeyID: id, SecretAccessKey: "secret-of-" + id}, region: g.status.Region, service: "execute-api", at: time.Now(), expiresSeconds: "60"}
}

func (s signer) request(t testing.TB, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, strings.Replace(url, "ws", "http", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// emptyHash is the SHA-256 of no body.
func emptyHash() string {
	sum := sha256.Sum256(nil)
	return hex.EncodeToString(sum[:])
}

// header signs in headers.
func (s signer) header(t testing.TB, url string) dialing {
	t.Helper()
	req := s.request(t, url)
	if err := v4.NewSigner().SignHTTP(context.Background(), s.key, req, emptyHash(), s.service, s.region, s.at); err != nil {
		t.Fatal(err)
	}
	return dialing{Header: req.Header}
}

// presigned signs in the query.
func (s signer) presigned(t testing.TB, url string) string {
	t.Helper()
	req := s.request(t, url)
	query := req.URL.Query()
	query.Set("X-Amz-Expires", s.expiresSeconds)
	req.URL.RawQuery = query.Encode()
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), s.key, req, emptyHash(), s.service, s.region, s.at)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(signed, "http", "ws", 1)
}

// credentialsFile is a --credentials file: every key's secret is "secret-of-" and its
// id. The values are policies in JSON; "" may do everything.
func credentialsFile(t testing.TB, policies map[string]string) string {
	t.Helper()
	all := map[string]map[string]any{}
	for id, policy := range policies {
		one := map[string]any{"secretAccessKey": "secret-of-" + id, "user": strings.ToLower(strings.TrimPrefix(id, "AKIA"))}
		if policy != "" {
			one["policies"] = []json.RawMessage{json.RawMessage(policy)}
		}
		all[id] = one
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	everybody = "AKIAEVERYTHINGALLOWED"
	invoker   = "AKIAINVOKEONLYTWO"
	poster    = "AKIAPOSTERONLY"
	denied    = "AKIADENIEDBYPOLICY"
)

func startWithCredentials(t testing.TB) *probe {
	t.Helper()
	return startGuarded(t, "--credentials", credentialsFile(t, map[string]string{
		everybody: "",
		invoker: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke",
			"Resource": ["arn:aws:execute-api:*:*:*/prod/$connect", "arn:aws:execute-api:*:*:*/prod/whoami"]}]}`,
		poster: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "execute-api:ManageConnections",
			"Resource": "arn:aws:execute-api:*:*:*/prod/POST/@connections/*"}]}`,
		denied: `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "execute-api:*", "Resource": "*"},
			{"Effect": "Deny", "Action": "execute-api:Invoke", "Resource": "*", "Condition": {"IpAddress": {"aws:SourceIp": ["127.0.0.0/8", "::1/128"]}}}]}`,
	}))
}

func TestSignedHandshakes(t *testing.T) {
	p := startWithCredentials(t)
	url := p.door("signed")
	t.Run("signature in the headers", func(t *testing.T) {
		s := dial(t, url+"?tag=header&b=2&a=1%202", p.signer(everybody).header(t, url+"?tag=header&b=2&a=1%202"))
		got := s.whoami().Identity
		for name, want := range map[string]string{"accessKey": everybody, "accountId": p.status.AccountID, "userArn": "arn:aws:iam::" + p.status.AccountID + ":user/everythingallowed"} {
			if got[name] != want {
				t.Errorf("identity.%s is %v, want %s (%v)", name, got[name], want, got)
			}
		}
	})
	t.Run("signature in the query", func(t *testing.T) {
		dial(t, p.signer(everybody).presigned(t, url+"?tag=query&x=a%2Fb"), dialing{}).whoami()
	})
	for name, c := range map[string]struct {
		change func(*signer)
		kind   string
	}{
		"unknown key":     {func(s *signer) { s.key.AccessKeyID = "AKIANOBODYKNOWSTHIS" }, "UnrecognizedClientException"},
		"wrong secret":    {func(s *signer) { s.key.SecretAccessKey = "guess" }, "InvalidSignatureException"},
		"another service": {func(s *signer) { s.service = "dynamodb" }, ""},
		"another region":  {func(s *signer) { s.region = "eu-north-1" }, ""},
		"long ago":        {func(s *signer) { s.at = s.at.Add(-time.Hour) }, "InvalidSignatureException"},
		"from the future": {func(s *signer) { s.at = s.at.Add(time.Hour) }, "InvalidSignatureException"},
	} {
		t.Run(name, func(t *testing.T) {
			s := p.signer(everybody)
			c.change(&s)
			for where, no := range map[string]*refusal{
				"headers": s.header(t, url).refused(t, url, 403),
				"query":   dialing{}.refused(t, s.presigned(t, url), 403),
			} {
				if got := no.Header.Get("X-Amzn-Errortype"); got == "" || c.kind != "" && got != c.kind {
					t.Errorf("in the %s: x-amzn-errortype %q, want %s (%s)", where, got, c.kind, no.Body)
				}
			}
		})
	}
	t.Run("not signed", func(t *testing.T) {
		if no := (dialing{}).refused(t, url, 403); no.Header.Get("X-Amzn-Errortype") != "MissingAuthenticationTokenException" || !strings.Contains(no.Body, "Missing Authentication Token") {
			t.Errorf("answered with %+v", no)
		}
	})
	t.Run("a query that was not signed", func(t *testing.T) {
		p.signer(everybody).header(t, url+"?user=ada").refused(t, url+"?user=eve", 403)
		dialing{}.refused(t, strings.Replace(p.signer(everybody).presigned(t, url+"?user=ada"), "user=ada", "user=eve", 1), 403)
	})
	t.Run("a header that was not signed so", func(t *testing.T) {
		how := p.signer(everybody).header(t, url)
		how.Header.Set("X-Amz-Date", time.Now().Add(-time.Minute).UTC().Format("20060102T150405Z"))
		how.refused(t, url, 403)
	})
	t.Run("a URL of another API", func(t *testing.T) {
		other := p.door("keyed")
		how := p.signer(everybody).header(t, other)
		how.refused(t, url, 403)
	})
	t.Run("a presigned URL that has expired", func(t *testing.T) {
		s := p.signer(everybody)
		s.at, s.expiresSeconds = s.at.Add(-2*time.Minute), "60"
		dialing{}.refused(t, s.presigned(t, url), 403)
	})
	t.Run("policies", func(t *testing.T) { p.in(t).checkInvokePolicies(url) })
}

func (p *probe) checkInvokePolicies(url string) {
	p.t.Helper()
	s := dial(p.t, url, p.signer(invoker).header(p.t, url))
	s.whoami()
	s.call("secret", nil)
	s.expectError("Forbidden")
	s.whoami() // it stays open
	for _, id := range []string{poster, denied} {
		no := p.signer(id).header(p.t, url).refused(p.t, url, 403)
		if !strings.Contains(no.Body, "is not authorized to perform: execute-api:Invoke on resource: arn:aws:execute-api:") || no.Header.Get("X-Amzn-Errortype") != "AccessDeniedException" {
			p.t.Errorf("%s was answered with %+v", id, no)
		}
	}
}

// Without --credentials a well-formed signature of anybody's key will do, because SDKs
// on a laptop sign with whatever there is; a stale one will not.
func TestSignedHandshakesWithoutCredentials(t *testing.T) {
	p := startGuarded(t)
	url := p.door("signed")
	s := p.signer("AKIAANYBODYATALL")
	if got := dial(t, url, s.header(t, url)).whoami().Identity["accessKey"]; got != "AKIAANYBODYATALL" {
		t.Errorf("identity.accessKey is %v", got)
	}
	dialing{}.refused(t, url, 403)
	s.at = s.at.Add(-time.Hour)
	s.header(t, url).refused(t, url, 403)
}

// as is the environment of a client that signs with another key.
func (g *gate) as(id, dir, name string, args ...string) (string, error) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY=secret-of-"+id, "AWS_SESSION_TOKEN=",
		"AWS_REGION="+g.status.Region, "AWS_DEFAULT_REGION="+g.status.Region, "AWS_EC2_METADATA_DISABLED=true",
		"NO_PROXY=localhost,127.0.0.1", "no_proxy=localhost,127.0.0.1", "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestManageConnectionsPolicies(t *testing.T) {
	dir := npmInstall(t, "clients")
	p := startWithCredentials(t)
	url, management := p.door("signed"), p.api("signed").Stages[0].ManagementURL
	s := dial(t, url+"?tag=open", p.signer(invoker).header(t, url+"?tag=open"))
	id := p.recorded("connect", "open").ConnectionID
	const no, stranger = "AccessDeniedException 403", "UnrecognizedClientException 403"
	for _, c := range []struct{ key, post, get, delete string }{
		{"AKIANOBODYKNOWSTHIS", stranger, stranger, stranger},
		{invoker, no, no, no},
		{poster, "ok", no, no},
	} {
		t.Run(c.key, func(t *testing.T) {
			s, p := s.in(t), p.in(t)
			out, err := p.as(c.key, dir, "node", "manage.mjs", management, id)
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			want := "PostToConnectionCommand: " + c.post + "\nGetConnectionCommand: " + c.get + "\nDeleteConnectionCommand: " + c.delete
			if got := strings.TrimSpace(out); got != want {
				t.Errorf("printed\n%s\nwant\n%s", got, want)
			}
			if c.post == "ok" { // and it is the first thing that comes
				s.expect("from the service")
			}
		})
	}
	t.Run("aws apigatewaymanagementapi", func(t *testing.T) {
		command := need(t, "aws")
		s, p := s.in(t), p.in(t)
		args := []string{"apigatewaymanagementapi", "--endpoint-url", management}
		if out, err := p.as(poster, ".", command, append(args, "delete-connection", "--connection-id", id)...); err == nil || !strings.Contains(out, "AccessDeniedException") {
			t.Errorf("delete-connection with a poster's key: %v\n%s", err, out)
		}
		if out, err := p.as(everybody, ".", command, append(args, "delete-connection", "--connection-id", id)...); err != nil {
			t.Errorf("delete-connection: %v\n%s", err, out)
		}
		s.expectClose(websocket.StatusNormalClosure, "Connection Closed Normally")
	})
}

func TestAPIKeysAndUsagePlans(t *testing.T) {
	p := startGuarded(t)
	url := p.door("keyed")
	key := func(name string) dialing {
		return dialing{Header: http.Header{"X-Api-Key": {name + "-key-of-the-end-to-end-tests"}}}
	}
	t.Run("no key, no such key, one that is off, one without a plan", func(t *testing.T) {
		for name, how := range map[string]dialing{"none": {}, "unknown": key("no-such"), "off": key("off"), "loose": key("loose")} {
			if no := how.refused(t, url, 403); no.Body != `{"message":"Forbidden"}` || no.Header.Get("X-Amzn-Errortype") != "ForbiddenException" {
				t.Errorf("%s: answered with %+v", name, no)
			}
		}
	})
	t.Run("quota", func(t *testing.T) {
		s := dial(t, url, key("quota"))
		if got := s.whoami().Identity; got["apiKey"] != "quota-key-of-the-end-to-end-tests" || got["apiKeyId"] == "" {
			t.Errorf("identity %v", got)
		}
		s.whoami()
		s.call("whoami", nil)
		s.expectError("Limit Exceeded")
		if no := key("quota").refused(t, url, 429); no.Body != `{"message":"Limit Exceeded"}` {
			t.Errorf("answered with %+v", no)
		}
	})
	t.Run("throttle", func(t *testing.T) {
		s := dial(t, url, key("slow"))
		s.whoami()
		s.call("whoami", nil)
		s.expectError("Too Many Requests")
		if no := key("slow").refused(t, url, 429); no.Body != `{"message":"Too Many Requests"}` {
			t.Errorf("answered with %+v", no)
		}
	})
}
