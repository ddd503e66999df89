package event

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

const domain = "k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com"

func connection() *Connection {
	return &Connection{
		ID: "Qa1zTdYbrRcCJ4w=", APIID: "k3v9x1m2qz", Stage: "prod", DomainName: domain,
		SourceIP: "198.51.100.23", UserAgent: "acme-client/2.4", ConnectedAt: 1754395986101,
	}
}

var authorizer = []byte(`{"principalId":"user-77","integrationLatency":31,"plan":"gold","seats":"5","trial":"false"}`)

func samples() map[string][]byte {
	vars := StageVariables(map[string]string{"table": "orders", "region": "eu"})
	withAuthorizer := connection()
	withAuthorizer.Authorizer = authorizer
	bare := connection()
	bare.UserAgent = ""
	connect := &Call{RouteKey: "$connect", RequestID: "Qa1zT0pXrRcFh2k=", At: time.UnixMilli(1754395986102), StageVariables: vars}
	connectBare := *connect
	connectBare.StageVariables = nil
	const trace = "Root=1-66b0c1d2-0a1b2c3d4e5f60718293a4b5"
	return map[string][]byte{
		"connect.json": AppendConnect(nil, withAuthorizer, connect, &Handshake{
			TraceID: trace, Query: "tenant=green&tenant=blue&empty&sp+ace=%C3%A9%25zz&",
			Headers: []Field{
				{"host", "localhost:3001"}, {"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"content-length", "0"},
				{"x-tenant", "a"}, {"X-Tenant", "b"}, {"user-agent", "acme-client/2.4"}, {"X-Forwarded-Proto", "http"},
				{"Sec-Websocket-Version", "13"}, {"sec-websocket-key", "bW9ja2tleW1vY2trZXkxMg=="}, {"Sec-WebSocket-Protocol", "orders.v1"},
				{"Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"},
			},
		}),
		"connect_bare.json": AppendConnect(nil, bare, &connectBare, &Handshake{Headers: []Field{
			{"Host", "x"}, {"X-Forwarded-For", "203.0.113.9"}, {"X-Amzn-Trace-Id", trace},
		}}),
		"message.json": AppendMessage(nil, withAuthorizer, &Call{
			RouteKey: "placeOrder", RequestID: "Qa2CpFYtrRcFh2k=", MessageID: "Qa2CpfZ1rRcCJ4w=", At: time.UnixMilli(1754396050377), StageVariables: vars,
		}, []byte(`{"action":"placeOrder","sku":"A-9"}`)),
		"disconnect.json": AppendDisconnect(nil, connection(), &Call{
			RouteKey: "$disconnect", RequestID: "Qa4XyHZ0rRcF9uA=", At: time.UnixMilli(1754396660212),
		}, 1001, "Going away"),
	}
}

// The golden files are the documented examples with data of our own; comparing
// compacted text compares every key, its order and its value.
func TestGolden(t *testing.T) {
	for name, got := range samples() {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, raw); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want.Bytes())
		}
	}
}

// The type that Go functions use must decode every event, strictly.
func TestDecodesInLambdaGo(t *testing.T) {
	for name, raw := range samples() {
		var e events.APIGatewayWebsocketProxyRequest
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if e.RequestContext.ConnectionID != "Qa1zTdYbrRcCJ4w=" || e.RequestContext.ConnectedAt != 1754395986101 || e.RequestContext.Identity.SourceIP != "198.51.100.23" {
			t.Errorf("%s: %+v", name, e.RequestContext)
		}
		if name == "disconnect.json" && (e.RequestContext.DisconnectStatusCode != 1001 || *e.RequestContext.DisconnectReason != "Going away") {
			t.Errorf("%s: %+v", name, e.RequestContext)
		}
	}
}

func TestTimeIsUTC(t *testing.T) {
	at := time.Date(2024, 2, 9, 20, 11, 43, 0, time.FixedZone("CEST", 2*3600))
	if got := string(AppendTime(nil, at)); got != "09/Feb/2024:18:11:43 +0000" {
		t.Fatal(got)
	}
}

func FuzzStringRoundTrips(f *testing.F) {
	for _, s := range []string{"", "plain", "q\"b\\s/", "\x00\x1f\u007f\u2028", "é🌍", "\xff\xc3", "\xed\xa0\x80", strings.Repeat("€", 50)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		enc := AppendString(nil, s)
		var got string
		if err := json.Unmarshal(enc, &got); err != nil {
			t.Fatalf("%q: %s: %v", s, enc, err)
		}
		if utf8.ValidString(s) && got != s {
			t.Fatalf("%q came back as %q", s, got)
		}
		if got != string([]rune(s)) { // every bad byte becomes one U+FFFD
			t.Fatalf("%q came back as %q, want %q", s, got, string([]rune(s)))
		}
		if !utf8.Valid(enc) {
			t.Fatalf("%q: the encoding is not UTF-8", s)
		}
		if !bytes.Equal(enc, AppendString(nil, []byte(s))) {
			t.Fatal("bytes and strings differ")
		}
	})
}

func TestMessageDoesNotAllocate(t *testing.T) {
	c, call := connection(), &Call{RouteKey: "ping", RequestID: "a", MessageID: "b", At: time.UnixMilli(1754396050377)}
	body := []byte(`{"action":"ping","text":"héllo 🌍"}`)
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = AppendMessage(buf[:0], c, call, body) }); n > 0 {
		t.Fatalf("%v allocations per event", n)
	}
}

func BenchmarkMessage(b *testing.B) {
	c, call := connection(), &Call{RouteKey: "sendMessage", RequestID: "Qa2CpFYtrRcFh2k=", MessageID: "Qa2CpfZ1rRcCJ4w=", At: time.UnixMilli(1754396050377)}
	c.UserAgent = strings.Repeat("Mozilla/5.0 ", 10)
	body := []byte(`{"action":"sendMessage","data":"` + strings.Repeat("x", 90) + `"}`)
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendMessage(buf[:0], c, call, body)
	}
}
