package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/livegate/livegate/internal/event"
)

func logged(format string, c *event.Connection, o *event.Outcome) string {
	call := event.Call{RouteKey: "join", RequestID: "Qa2CpFYtrRcFh2k=", MessageID: "Qa2CpfFYtrRcFh2=", At: time.UnixMilli(1754395986102), Outcome: o}
	return compileAccessLog(format).line(c, &call, event.TypeMessage)
}

func TestAccessLogFormats(t *testing.T) {
	c := &event.Connection{ID: "Qa1zTdYbrRcCJ4w=", APIID: "k3v9x1m2qz", Stage: "prod", DomainName: "ws.example.test", SourceIP: "198.51.100.23",
		UserAgent: `evil", "admin": "yes` + "\n{}", ConnectedAt: 1754395986101, Authorizer: []byte(`{"principalId":"user-77","plan":"gold"}`),
		Identity: &event.Identity{APIKey: "0123456789abcdefghijWXYZ", APIKeyID: "k1"}}
	o := &event.Outcome{Status: 500, Error: event.Failure{Message: "Internal server error"}, Integration: event.Phase{Status: 502, Latency: 12}}
	for _, v := range []struct{ format, want string }{
		// The four presets of the console: CLF, JSON, XML, CSV.
		{`$context.identity.sourceIp $context.identity.caller $context.identity.user [$context.requestTime] "$context.eventType $context.routeKey $context.connectionId" $context.status $context.requestId`,
			`198.51.100.23 - - [05/Aug/2025:12:13:06 +0000] "MESSAGE join Qa1zTdYbrRcCJ4w=" 500 Qa2CpFYtrRcFh2k=`},
		{`{"requestId":"$context.requestId","routeKey":"$context.routeKey","status":"$context.status"}`, `{"requestId":"Qa2CpFYtrRcFh2k=","routeKey":"join","status":"500"}`},
		{`<request id="$context.requestId"><ip>$context.identity.sourceIp</ip></request>`, `<request id="Qa2CpFYtrRcFh2k="><ip>198.51.100.23</ip></request>`},
		{`$context.identity.sourceIp,$context.apiId,$context.stage`, `198.51.100.23,k3v9x1m2qz,prod`},
		{`$context.error.messageString $context.error.message $context.integrationLatency $context.integration.status $context.authorizer.plan $context.authorizer.principalId`,
			`"Internal server error" Internal server error 12 502 gold user-77`},
		{`$context.nope $context.waf.status $context.identity.cognitoIdentityId $contextual $ $context. x`, `- - - $contextual $ - x`},
		{`$context.stage.`, `prod.`},
		{`$context.identity.apiKey $context.identity.apiKeyId`, `****WXYZ k1`},
		{"two\r\nlines\n", "two lines"},
		{``, ``},
	} {
		if got := logged(v.format, c, o); got != v.want {
			t.Errorf("%s:\n got %s\nwant %s", v.format, got, v.want)
		}
	}
	// A client cannot write a member or a line of its own.
	line := logged(`{"ua":"$context.identity.userAgent"}`, c, o)
	var m map[string]string
	if err := json.Unmarshal([]byte(line), &m); err != nil || len(m) != 1 || m["ua"] != c.UserAgent || strings.Contains(line, "\n") {
		t.Errorf("%s: %v %v", line, m, err)
	}
}

// Every variable of the Developer Guide's list is known, and "-" without a value.
func TestAccessLogVariables(t *testing.T) {
	for _, name := range strings.Fields(`apiId stage domainName requestId extendedRequestId connectionId messageId eventType routeKey connectedAt requestTime
		requestTimeEpoch status authorizer.error authorizer.integrationLatency authorizer.integrationStatus authorizer.latency authorizer.requestId
		authorizer.status authorizer.principalId authorizer.property authorize.error authorize.latency authorize.status authenticate.error
		authenticate.latency authenticate.status waf.error waf.latency waf.status error.message error.messageString error.responseType
		error.validationErrorString identity.accountId identity.apiKey identity.apiKeyId identity.caller identity.cognitoAuthenticationProvider
		identity.cognitoAuthenticationType identity.cognitoIdentityId identity.cognitoIdentityPoolId identity.principalOrgId identity.sourceIp
		identity.user identity.userAgent identity.userArn integration.error integration.integrationStatus integration.latency integration.requestId
		integration.status integrationLatency awsEndpointRequestId integrationStatus integrationErrorMessage`) {
		if !event.IsContext(name) {
			t.Errorf("$context.%s is unknown", name)
		}
		if got := logged("$context."+name, &event.Connection{}, &event.Outcome{}); got == "" || strings.Contains(got, "context") {
			t.Errorf("$context.%s: %q", name, got)
		}
	}
}

func TestAccessLogIsBounded(t *testing.T) {
	c := &event.Connection{UserAgent: strings.Repeat("é", 50_000)}
	got := logged("$context.identity.userAgent|$context.stage", c, nil)
	if len(got) > 2*maxLogValue || !utf8.ValidString(got) || !strings.HasSuffix(got, "|-") {
		t.Errorf("%d bytes", len(got))
	}
	got = logged(strings.Repeat("$context.identity.userAgent ", 100), c, nil)
	if len(got) > maxLogLine+8 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzAccessLog(f *testing.F) {
	f.Add("$context.identity.userAgent", "x\"y")
	f.Add(`{"a":"$context.authorizer.x"}`, "\xff\n")
	f.Fuzz(func(t *testing.T, format, agent string) {
		got := logged(format, &event.Connection{UserAgent: agent}, nil)
		if !utf8.ValidString(got) || strings.ContainsAny(got, "\n\r") || len(got) > maxLogLine+8 {
			t.Fatalf("%q, %q: %q", format, agent, got)
		}
	})
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		`{"action":"x","token":"abc","n":1}`:                `{"action":"x","token":"****","n":1}`,
		`{"accessToken" : "a\"b", "user":"ann"}`:            `{"accessToken" : "****", "user":"ann"}`,
		`{"password":12345}`:                                `{"password":"****"}`,
		`{"a":{"apiKey":"k","x":"Bearer abc.def"}}`:         `{"a":{"apiKey":"****","x":"Bearer ****"}}`,
		`{"x":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"}`: `{"x":"****"}`,
		`{"secret":"never closed`:                           `{"secret":"****"`,
		"plain \xff":                                        "plain \uFFFD",
	} {
		if got := redact([]byte(in), false); got != want {
			t.Errorf("%s:\n got %s\nwant %s", in, got, want)
		}
	}
	if got := redact([]byte(strings.Repeat("x", 5000)), false); len(got) > maxTrace+8 {
		t.Errorf("%d bytes", len(got))
	}
	if redact([]byte("x"), true) != "(binary)" {
		t.Error("bytes in a log")
	}
}
