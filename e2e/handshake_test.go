package e2e

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func TestHandshakeOutcomes(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	for _, c := range []struct {
		query  string
		status int
		body   string // "" = not checked
	}{
		{"mode=status&status=301", 301, ""},
		{"mode=status&status=400", 400, ""},
		{"mode=status&status=401", 401, ""},
		{"mode=status&status=403", 403, ""},
		{"mode=status&status=501", 501, ""},
		{"mode=throw", 502, "Internal server error"},
		{"mode=exit", 502, "Internal server error"},
		{"mode=garbage", 502, "Internal server error"},
		{"mode=hang", 502, "Internal server error"},
	} {
		t.Run(c.query, func(t *testing.T) {
			p := p.in(t)
			s, no := dialing{}.try(t, p.url(c.query))
			if s != nil {
				t.Fatalf("accepted, want %d", c.status)
			}
			if no.Status != c.status || !strings.Contains(no.Body, c.body) {
				t.Fatalf("answered with %d %s, want %d %s", no.Status, no.Body, c.status, c.body)
			}
		})
	}
	t.Run("accepted after all that", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, p.url("tag=fine"), dialing{})
		s.call("echo", "hello")
		s.expect("hello")
	})
	t.Run("refused connections have no $disconnect", func(t *testing.T) {
		p := p.in(t)
		if got := p.records(func(r record) bool { return r.Kind == "disconnect" && r.Tag != "fine" }); len(got) > 0 {
			t.Fatalf("$disconnect ran for %+v", got)
		}
	})
	t.Run("unknown stage", func(t *testing.T) {
		p := p.in(t)
		url := strings.Replace(p.stage("test").WebSocketURL, "/test", "/nope", 1)
		_, no := dialing{}.try(t, url)
		if no == nil || no.Status != 403 || no.Body != `{"message":"Forbidden"}` {
			t.Fatalf("answered with %+v, want 403 Forbidden", no)
		}
	})
	t.Run("a header decides nothing but is seen", func(t *testing.T) {
		p := p.in(t)
		header := http.Header{"X-Custom": {"one", "two"}, "User-Agent": {"e2e/1"}}
		s := dial(t, p.url("tag=event&tag=last&x=a%20b"), dialing{Header: header})
		s.call("echo", "x")
		s.expect("x")
		p.checkConnectEvent(p.recorded("connect", "last"))
	})
}

// checkConnectEvent looks at what real clients and a real function see of a CONNECT
// event; its exact form, key by key, is tested in package event.
func (p *probe) checkConnectEvent(r record) {
	p.t.Helper()
	var e struct {
		Headers           map[string]string   `json:"headers"`
		MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
		Query             map[string]string   `json:"queryStringParameters"`
		MultiValueQuery   map[string][]string `json:"multiValueQueryStringParameters"`
		Context           struct {
			RouteKey, EventType, Stage, DomainName, APIID, ConnectionID string
			ConnectedAt                                                 int64
			Identity                                                    struct{ SourceIP, UserAgent string }
		} `json:"requestContext"`
	}
	if err := json.Unmarshal(r.Event, &e); err != nil {
		p.t.Fatal(err)
	}
	for name, want := range map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Port": "443", "User-Agent": "e2e/1", "Host": e.Context.DomainName} {
		if e.Headers[name] != want {
			p.t.Errorf("header %s is %q, want %q (headers: %v)", name, e.Headers[name], want, e.Headers)
		}
	}
	if got := e.MultiValueHeaders["X-Custom"]; len(got) != 2 {
		p.t.Errorf("multiValueHeaders X-Custom = %q", got)
	}
	if e.Query["x"] != "a b" || e.Query["tag"] != "last" || len(e.MultiValueQuery["tag"]) != 2 {
		p.t.Errorf("query strings %v, %v", e.Query, e.MultiValueQuery)
	}
	host := p.status.APIs[0].ID + ".execute-api." + p.status.Region + ".amazonaws.com"
	if e.Context.DomainName != host || e.Context.Stage != "test" || e.Context.EventType != "CONNECT" || e.Context.RouteKey != "$connect" {
		p.t.Errorf("requestContext %+v, want domain name %s", e.Context, host)
	}
	if e.Context.Identity.UserAgent != "e2e/1" || !strings.Contains("127.0.0.1 ::1", e.Context.Identity.SourceIP) {
		p.t.Errorf("identity %+v", e.Context.Identity)
	}
}

func TestSubprotocolComesFromTheConnectAnswer(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url("mode=protocol&protocol=orders.v2"), dialing{Protocols: []string{"orders.v1", "orders.v2"}})
	if got := s.ws.Subprotocol(); got != "orders.v2" {
		t.Errorf("subprotocol %q, want orders.v2", got)
	}
	s = dial(t, p.url("tag=none"), dialing{Protocols: []string{"orders.v1"}})
	if got := s.header.Get("Sec-WebSocket-Protocol"); got != "" {
		t.Errorf("subprotocol %q without one in the $connect answer", got)
	}
}

func TestURLFormsAndTLS(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	id, stage := p.status.APIs[0].ID, p.stage("test")
	host := strings.TrimPrefix(p.origin(), "http://")
	for name, c := range map[string]struct {
		url string
		how dialing
	}{
		"stage":               {url: stage.WebSocketURL},
		"stage and slash":     {url: stage.WebSocketURL + "/"},
		"api id and stage":    {url: "ws://" + host + "/" + id + "/test"},
		"api id as host":      {url: "ws://" + host + "/test", how: dialing{Host: id + "." + host}},
		"AWS-shaped host":     {url: "ws://" + host + "/test", how: dialing{Host: id + ".execute-api." + p.status.Region + ".amazonaws.com"}},
		"TLS":                 {url: stage.SecureWebSocketURL, how: dialing{TLS: p.trust()}},
		"TLS, IPv4 address":   {url: strings.Replace(stage.SecureWebSocketURL, "localhost", "127.0.0.1", 1), how: dialing{TLS: p.trust()}},
		"TLS 1.2":             {url: stage.SecureWebSocketURL, how: dialing{TLS: &tls.Config{RootCAs: p.trust().RootCAs, MaxVersion: tls.VersionTLS12}}},
		"TLS, AWS-shaped SNI": {url: stage.SecureWebSocketURL, how: dialing{TLS: &tls.Config{RootCAs: p.trust().RootCAs, ServerName: id + ".execute-api." + p.status.Region + ".amazonaws.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := dial(t, c.url, c.how)
			s.call("echo", name)
			s.expect(name)
			s.close(websocket.StatusNormalClosure, "")
		})
	}
}
