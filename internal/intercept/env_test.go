package intercept

import (
	"slices"
	"strings"
	"testing"
)

func TestEnv(t *testing.T) {
	env := Env(Environment{Address: "127.0.0.1:3001", User: "ASIA1", Secret: "a/b@c:d", Region: "eu-west-1", Bundle: "/x/bundle.pem", NoProxy: "corp.example, *"})
	want := []string{
		"HTTPS_PROXY=http://ASIA1:a%2Fb%40c%3Ad@127.0.0.1:3001",
		"https_proxy=http://ASIA1:a%2Fb%40c%3Ad@127.0.0.1:3001",
		"NO_PROXY=localhost,127.0.0.1,::1,corp.example",
		"no_proxy=localhost,127.0.0.1,::1,corp.example",
		"AWS_ENDPOINT_URL=http://127.0.0.1:3001",
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCOUNT_ID_ENDPOINT_MODE=disabled",
		"AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1",
		"AWS_CA_BUNDLE=/x/bundle.pem", "REQUESTS_CA_BUNDLE=/x/bundle.pem", "SSL_CERT_FILE=/x/bundle.pem",
		"CURL_CA_BUNDLE=/x/bundle.pem", "NODE_EXTRA_CA_CERTS=/x/bundle.pem",
	}
	if !slices.Equal(env, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(env, "\n"), strings.Join(want, "\n"))
	}
	for _, v := range Env(Environment{Address: "127.0.0.1:3001"}) {
		if strings.Contains(v, "CA_") || strings.HasPrefix(v, "AWS_REGION") {
			t.Errorf("without bundle and region: %s", v)
		}
	}
}

func TestNoProxyKeepsAWSAtHome(t *testing.T) {
	value, dropped := NoProxy(" localhost,corp.example,.corp,10.0.0.0/8,*,amazonaws.com,.amazonaws.com,*.amazonaws.com:443,us-east-1.amazonaws.com,com,.aws,api.aws,,notamazonaws.com")
	if value != "localhost,127.0.0.1,::1,corp.example,.corp,10.0.0.0/8,notamazonaws.com" {
		t.Errorf("value %s", value)
	}
	if len(dropped) != 8 {
		t.Errorf("dropped %q", dropped)
	}
}

func TestHosts(t *testing.T) {
	domains := []string{"WS.example.org", "*.chat.example"}
	hosts := Hosts(func() []string { return domains })
	for host, want := range map[string]bool{
		"ws.example.org": true, "WS.EXAMPLE.ORG.": true, "x.ws.example.org": false, "example.org": false,
		"a.chat.example": true, "a.b.chat.example": false, "chat.example": false, ".chat.example": false,
		"sqs.us-east-1.amazonaws.com": true, "amazonaws.com": false, "evilamazonaws.com": false,
	} {
		if hosts(host) != want {
			t.Errorf("%s: not %v", host, want)
		}
	}
	domains = nil // after a reload
	if hosts("ws.example.org") {
		t.Error("a domain that is gone is intercepted")
	}
	if Hosts(nil)("ws.example.org") {
		t.Error("no domains at all")
	}
}
