package event

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/rogpeppe/go-internal/txtar"
)

const methodARN = "arn:aws:execute-api:eu-west-1:111122223333:k3v9x1m2qz/prod/$connect"

// matrixEvent makes the event that a name of testdata/matrix.txtar stands for.
func matrixEvent(name string) []byte {
	p := strings.Split(name, "/")
	c := connection()
	call := Call{RouteKey: "$connect", RequestID: "Qa1zT0pXrRcFh2k=", At: time.UnixMilli(1754395986102)}
	switch p[1] {
	case "custom":
		c.Authorizer = AppendGrant(nil, "user-77", 31, []Property{{"plan", "gold"}, {"principalId", "root"}, {"seats", "5"}, {"integrationLatency", "0"}, {"trial", "false"}})
	case "iam":
		c.Identity = &Identity{UserARN: "arn:aws:iam::111122223333:user/ann", AccountID: "111122223333", Caller: "AIDAEXAMPLE", AccessKey: "AKIDEXAMPLE000000001", User: "AIDAEXAMPLE"}
	}
	if p[2] == "custom" {
		c.DomainName = "ws.example.test"
	}
	if p[3] == "variables" {
		call.StageVariables = StageVariables(map[string]string{"table": "orders", "region": "eu"})
	}
	h := &Handshake{TraceID: "Root=1-66b0c1d2-0a1b2c3d4e5f60718293a4b5", Query: "tenant=blue", Headers: []Field{
		{"Host", "localhost"}, {"Connection", "keep-alive, Upgrade"}, {"Upgrade", "WebSocket"}, {"Content-Length", "0"},
		{"Sec-WebSocket-Key", "bW9ja2tleW1vY2trZXkxMg=="}, {"Sec-WebSocket-Version", "13"}, {"User-Agent", "acme-client/2.4"},
	}}
	switch p[0] {
	case "connect":
		return AppendConnect(nil, c, &call, h)
	case "authorize":
		return AppendAuthorize(nil, c, &call, h, methodARN)
	case "message":
		call.RouteKey, call.RequestID, call.MessageID, call.At = "placeOrder", "Qa2CpFYtrRcFh2k=", "Qa2CpfZ1rRcCJ4w=", time.UnixMilli(1754396050377)
		return AppendMessage(nil, c, &call, []byte(`{"action":"placeOrder","sku":"A-9"}`))
	}
	call.RouteKey, call.RequestID, call.At = "$disconnect", "Qa4XyHZ0rRcF9uA=", time.UnixMilli(1754396660212)
	return AppendDisconnect(nil, c, &call, 1001, "Going away")
}

// Every event type × authorizer × domain × stage variables, byte for byte, and
// readable by the types that Go functions use.
func TestMatrix(t *testing.T) {
	a, err := txtar.ParseFile("testdata/matrix.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) != 3*3*2*2+4 {
		t.Fatalf("%d events", len(a.Files))
	}
	for _, f := range a.Files {
		var want bytes.Buffer
		if err := json.Compact(&want, f.Data); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		got := matrixEvent(f.Name)
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s:\n got %s\nwant %s", f.Name, got, want.Bytes())
			continue
		}
		if strings.HasPrefix(f.Name, "authorize/") {
			decodeAuthorize(t, f.Name, got)
			continue
		}
		var e events.APIGatewayWebsocketProxyRequest
		d := json.NewDecoder(bytes.NewReader(got))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Errorf("%s: %v", f.Name, err)
			continue
		}
		grant, _ := e.RequestContext.Authorizer.(map[string]any)
		switch custom, iam := strings.Contains(f.Name, "/custom/"), strings.Contains(f.Name, "/iam/"); {
		case iam && (e.RequestContext.Identity.UserArn != "arn:aws:iam::111122223333:user/ann" || e.RequestContext.Identity.AccessKey == ""):
			t.Errorf("%s: %+v", f.Name, e.RequestContext.Identity)
		case custom && strings.Split(f.Name, "/")[1] == "custom" && (grant["principalId"] != "user-77" || grant["seats"] != "5" || grant["integrationLatency"] != float64(31)):
			t.Errorf("%s: %+v", f.Name, grant)
		}
	}
}

func decodeAuthorize(t *testing.T, name string, raw []byte) {
	t.Helper()
	var e events.APIGatewayCustomAuthorizerRequestTypeRequest
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if e.Type != "REQUEST" || e.MethodArn != methodARN || e.Headers["Upgrade"] != "websocket" || e.MultiValueHeaders["Connection"][0] != "upgrade" ||
		e.QueryStringParameters["tenant"] != "blue" || e.StageVariables == nil || e.RequestContext.APIID != "k3v9x1m2qz" || e.RequestContext.Identity.SourceIP != "198.51.100.23" {
		t.Errorf("%s: %+v", name, e)
	}
}

// Nobody is known when the authorizer is asked, whatever the connection holds.
func TestAuthorizeKnowsNobody(t *testing.T) {
	c := connection()
	c.Authorizer, c.Identity = authorizer, &Identity{APIKey: "secret"}
	e := string(AppendAuthorize(nil, c, &Call{RouteKey: "$connect"}, &Handshake{}, methodARN))
	if strings.Contains(e, "secret") || strings.Contains(e, "user-77") {
		t.Error(e)
	}
	if !strings.Contains(e, `"queryStringParameters":{},"multiValueQueryStringParameters":{},"stageVariables":{},`) {
		t.Error(e)
	}
	if c.Authorizer == nil || c.Identity == nil {
		t.Error("the connection was changed")
	}
}

// Every $context variable of the Developer Guide's two lists, with its value.
func TestContextVariables(t *testing.T) {
	c := connection()
	c.Authorizer = []byte(`{"principalId":"user-77","integrationLatency":31,"plan":"gold","status":"mine"}`)
	c.Identity = &Identity{"o-1", "arn:u", "1111", "AIDA", "AKID", "AIDA", "key", "keyid"}
	call := &Call{RouteKey: "send", RequestID: "r", MessageID: "m", At: time.UnixMilli(1754396050377), Outcome: &Outcome{
		Status: 500, Error: Failure{`Internal "server" error`, "INTEGRATION_FAILURE", "[a]"},
		Integration: Phase{Status: 502, BackendStatus: 200, Latency: 12, RequestID: "i", Error: "boom"},
		Authorizer:  Phase{Status: 403, BackendStatus: 200, Latency: 7, RequestID: "a", Error: "no"},
		Authorize:   Phase{Status: 403, Latency: 1, Error: "denied"}, Authenticate: Phase{Status: 200},
	}}
	want := map[string]string{
		"apiId": "k3v9x1m2qz", "stage": "prod", "domainName": domain, "requestId": "r", "extendedRequestId": "r", "connectionId": "Qa1zTdYbrRcCJ4w=",
		"messageId": "m", "eventType": "MESSAGE", "routeKey": "send", "connectedAt": "1754395986101", "requestTime": "05/Aug/2025:12:14:10 +0000",
		"requestTimeEpoch": "1754396050377", "messageDirection": "IN", "status": "500",
		"authorizer.principalId": "user-77", "authorizer.plan": "gold", "authorizer.integrationLatency": "31", "authorizer.status": "mine",
		"authorizer.error": "no", "authorizer.integrationStatus": "200", "authorizer.latency": "7", "authorizer.requestId": "a",
		"authorize.error": "denied", "authorize.latency": "1", "authorize.status": "403", "authenticate.status": "200", "authenticate.latency": "0",
		"error.message": `Internal "server" error`, "error.messageString": `"Internal \"server\" error"`, "error.responseType": "INTEGRATION_FAILURE", "error.validationErrorString": "[a]",
		"identity.accountId": "1111", "identity.apiKey": "key", "identity.apiKeyId": "keyid", "identity.accessKey": "AKID", "identity.caller": "AIDA",
		"identity.principalOrgId": "o-1", "identity.sourceIp": "198.51.100.23", "identity.user": "AIDA", "identity.userAgent": "acme-client/2.4", "identity.userArn": "arn:u",
		"integration.error": "boom", "integrationErrorMessage": "boom", "integration.integrationStatus": "200", "integrationStatus": "200",
		"integration.latency": "12", "integrationLatency": "12", "integration.requestId": "i", "awsEndpointRequestId": "i", "integration.status": "502",
	}
	for name, value := range want {
		if got, ok := Context(c, call, TypeMessage, name); !ok || got != value {
			t.Errorf("$context.%s is %q, %v; want %q", name, got, ok, value)
		}
		if !IsContext(name) {
			t.Errorf("$context.%s is not known", name)
		}
	}
	// Known, and without a value here.
	for _, name := range []string{"authenticate.error", "waf.error", "waf.latency", "waf.status", "identity.cognitoIdentityId", "identity.cognitoIdentityPoolId",
		"identity.cognitoAuthenticationType", "identity.cognitoAuthenticationProvider", "authorizer.nope"} {
		if v, ok := Context(c, call, TypeMessage, name); ok || !IsContext(name) {
			t.Errorf("$context.%s is %q, known %v", name, v, IsContext(name))
		}
	}
	// Nothing has come of a new request yet, and nobody is known.
	for name := range want {
		v, ok := Context(&Connection{}, &Call{}, TypeConnect, name)
		base, _, group := strings.Cut(name, ".")
		if ok && (group && base != "identity" || v != "" && strings.HasPrefix(name, "identity.")) {
			t.Errorf("$context.%s is %q on a new request", name, v)
		}
	}
	for _, name := range []string{"", "nope", "identity", "identity.", "identity.nope", "authorizer.", "error", "integration.nope"} {
		if IsContext(name) {
			t.Errorf("$context.%s is known", name)
		}
	}
}

func TestIdentityDoesNotAllocate(t *testing.T) {
	c, call := connection(), &Call{RouteKey: "ping", RequestID: "a", MessageID: "b", At: time.UnixMilli(1754396050377)}
	c.Identity = &Identity{UserARN: "arn", AccountID: "1", Caller: "c", AccessKey: "k", User: "u", APIKey: "a", APIKeyID: "i"}
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = AppendMessage(buf[:0], c, call, nil) }); n > 0 {
		t.Fatalf("%v allocations per event", n)
	}
}
