package cfn

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The SAM translator's public inputs are its specification: point SAM_TRANSLATOR
// at a checkout of aws/serverless-application-model to run them. Each success
// input must give exactly the resources of its output, by logical id and type,
// with equal properties; each error input must be refused where the mistake is.
// The rules themselves are in testdata/eval and TestWebSocketAPIRefusals.
func TestSAMTranslatorInputs(t *testing.T) {
	dir := os.Getenv("SAM_TRANSLATOR")
	if dir == "" {
		t.Skip("SAM_TRANSLATOR names no checkout of aws/serverless-application-model")
	}
	dir = filepath.Join(dir, "tests", "translator")
	good, _ := filepath.Glob(filepath.Join(dir, "input", "websocket_api*.yaml"))
	bad, _ := filepath.Glob(filepath.Join(dir, "input", "error_websocket_api*.yaml"))
	if len(good) == 0 || len(bad) == 0 {
		t.Fatalf("%s holds no WebSocket inputs", dir)
	}
	passed := 0
	for _, path := range good {
		if t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) { success(t, path) }) {
			passed++
		}
	}
	refused := 0
	for _, path := range bad {
		if t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) { refusal(t, path) }) {
			refused++
		}
	}
	t.Logf("%d of %d success inputs load as the translator says; %d of %d error inputs are refused", passed, len(good), refused, len(bad))
}

// translated reads an input as `sam deploy` would: with the transform, and with a
// value for each parameter, so that only the input's own rules are at work.
func translated(t *testing.T, path string) *Template {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return Load(filepath.Base(path), append([]byte("Transform: "+TransformSAM+"\n"), data...), inputBinding())
}

func inputBinding() Binding {
	params := "MyDomainName=ws.example.com\nMyDomainCert=arn:cert\nHostedZoneId=Z123\nMyRestRegionalDomainName=ws.example.com\nMyRestRegionalDomainCert=arn:cert\n"
	b := binding(params, nil)
	b.Attributes = func(r *Resource, attr string, at Pos) (*Node, []string) {
		if attr == "" || r.Type == "AWS::ApiGatewayV2::Api" && attr == "ApiId" { // one value
			return Text(r.ID, at), nil
		}
		return Text(r.ID+"."+attr, at), nil
	}
	return b
}

func success(t *testing.T, path string) {
	got := translated(t, path)
	for _, p := range got.Problems() {
		if p.Severity == Error {
			t.Error(p)
		}
	}
	data, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(path)), "output", strings.TrimSuffix(filepath.Base(path), ".yaml")+".json"))
	if err != nil {
		t.Fatal(err)
	}
	// The outputs were made without parameter values; a deployment has them, and
	// they are part of the hashes in logical ids.
	s := &samResource{Template: got}
	for name, value := range map[string]string{"MyDomainName": "ws.example.com", "MyRestRegionalDomainName": "ws.example.com", "HostedZoneId": "Z123"} {
		ref := MapOf(Pos{}, Entry{Key: "Ref", Value: Text(name, Pos{})})
		bare := &samResource{Template: &Template{}}
		data = []byte(strings.ReplaceAll(string(data), bare.suffix(ref), s.suffix(Text(value, Pos{}))))
	}
	want := Load("output.json", data, inputBinding())
	for _, w := range want.Resources {
		g := got.Resource(w.ID)
		if g == nil {
			t.Errorf("%s (%s) is missing", w.ID, w.Type)
			continue
		}
		if g.Type != w.Type {
			t.Errorf("%s is a %s, want %s", w.ID, g.Type, w.Type)
		}
		compare(t, w.ID, w.Type, got.Eval(g.Properties).JSON(), want.Eval(w.Properties).JSON())
	}
	for _, g := range got.Resources {
		if want.Resource(g.ID) == nil {
			t.Errorf("%s (%s) should not be there", g.ID, g.Type)
		}
	}
}

// compare looks at every property of what the WebSocket transform makes, and at
// those of a function that something here uses.
func compare(t *testing.T, id, typ, got, want string) {
	t.Helper()
	var g, w map[string]any
	if json.Unmarshal([]byte(got), &g) != nil || json.Unmarshal([]byte(want), &w) != nil {
		t.Fatalf("%s: %s, want %s", id, got, want)
	}
	if typ == "AWS::IAM::Role" {
		return // what a role allows is not decided by the template's transform here
	}
	if typ == "AWS::Lambda::Function" {
		for _, key := range []string{"Handler", "Runtime", "Environment", "Role"} {
			if !reflect.DeepEqual(g[key], w[key]) {
				t.Errorf("%s.%s is %v, want %v", id, key, g[key], w[key])
			}
		}
		return
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s (%s) is\n%s\nwant\n%s", id, typ, got, want)
	}
}

func refusal(t *testing.T, path string) {
	problems := translated(t, path).Problems()
	i := slices.IndexFunc(problems, func(p Problem) bool {
		return p.Severity == Error && p.Code == "sam-websocket-api" && p.Resource == "WSApi" && p.Pos.Line > 1 && p.Hint != ""
	})
	if i < 0 {
		t.Errorf("not refused for its own mistake: %v", problems)
		return
	}
	t.Log(problems[i])
}

// The refusals, each with the line it must stand on (@) and a word of what it says.
func TestWebSocketAPIRefusals(t *testing.T) {
	const head = "Transform: " + TransformSAM + "\nResources:\n  Ws:\n    Type: AWS::Serverless::WebSocketApi\n    Properties:\n"
	const routes = "      Routes: {$connect: {FunctionArn: f}}\n"
	const selection = "      RouteSelectionExpression: $request.body.action\n"
	for name, c := range map[string]struct {
		body, says string
		line       int
	}{
		"no routes":                  {selection, "needs Routes", 3},
		"empty routes":               {selection + "      Routes: {}\n", "at least one route", 7},
		"routes as a list":           {selection + "      Routes: [a]\n", "must be a map", 7},
		"no selection expression":    {routes, "RouteSelectionExpression", 3},
		"route without a function":   {selection + "      Routes:\n        $connect: {IntegrationTimeout: 5}\n", "must have associated function", 8},
		"route that is an intrinsic": {selection + "      Routes:\n        $default: !Sub x\n", "must have associated function", 8},
		"route key":                  {selection + "      Routes:\n        $other: {FunctionArn: f}\n", "must be alphanumeric", 8},
		"parameters of a message":    {selection + "      Routes:\n        $default:\n          FunctionArn: f\n          RequestParameters: {a: b}\n", "only supported for the $connect route", 10},
		"auth without $connect":      {selection + "      Routes: {$default: {FunctionArn: f}}\n      Auth: {AuthType: NONE}\n", "only available if there is a $connect route", 8},
		"auth without a type":        {selection + routes + "      Auth: {AuthArn: a}\n", "AuthType must be specified", 8},
		"unknown auth type":          {selection + routes + "      Auth: {AuthType: JWT}\n", "cannot be \"JWT\"", 8},
		"custom auth without arn":    {selection + routes + "      Auth: {AuthType: CUSTOM}\n", "AuthArn must be specified", 8},
		"iam auth with more":         {selection + routes + "      Auth: {AuthType: AWS_IAM, Name: n}\n", "takes no further settings", 8},
		"no auth with more":          {selection + routes + "      Auth: {AuthType: none, AuthArn: n}\n", "takes no further settings", 8},
		"auth as a list":             {selection + routes + "      Auth: [a]\n", "Auth of Ws must be a map", 8},
		"stage $default":             {selection + routes + "      StageName: $default\n", "cannot be named $default", 8},
		"ip address type":            {selection + routes + "      IpAddressType: ipv6\n", "IpAddressType", 8},
		"log settings as a list":     {selection + routes + "      AccessLogSettings: [{Format: x}]\n", "AccessLogSettings of Ws must be a map", 8},
		"default settings as text":   {selection + routes + "      DefaultRouteSettings: x\n", "DefaultRouteSettings of Ws must be a map", 8},
		"route settings as a list":   {selection + routes + "      RouteSettings: [x]\n", "RouteSettings of Ws must be a map", 8},
		"base path as a function":    {selection + routes + "      Domain: {DomainName: d, CertificateArn: c, BasePath: [!Sub x]}\n", "Basepath must be a string", 8},
		"base path with a space":     {selection + routes + "      Domain: {DomainName: d, CertificateArn: c, BasePath: a b}\n", "Invalid Basepath", 8},
		"domain without certificate": {selection + routes + "      Domain: {DomainName: d}\n", "both DomainName and CertificateArn", 8},
		"edge domain":                {selection + routes + "      Domain: {DomainName: d, CertificateArn: c, EndpointConfiguration: EDGE}\n", "REGIONAL", 8},
		"mutual tls":                 {selection + routes + "      Domain: {DomainName: d, CertificateArn: c, MutualTlsAuthentication: {TruststoreUri: s3://a/b}}\n", "Mutual TLS", 8},
		"zone without id":            {selection + routes + "      Domain: {DomainName: d, CertificateArn: c, Route53: {Region: a}}\n", "HostedZoneId", 8},
	} {
		t.Run(name, func(t *testing.T) {
			var errors []Problem
			for _, p := range Load("t.yaml", []byte(head+c.body), binding("", nil)).Problems() {
				if p.Severity == Error {
					errors = append(errors, p)
				}
			}
			if len(errors) != 1 || errors[0].Code != "sam-websocket-api" || errors[0].Resource != "Ws" || errors[0].Pos.Line != c.line ||
				!strings.Contains(errors[0].Message, c.says) || errors[0].Hint == "" {
				t.Errorf("want one error on line %d that says %q and what to do, got %v", c.line, c.says, errors)
			}
		})
	}
}
