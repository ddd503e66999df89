package integration

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

func TestHTTPMapsBothWays(t *testing.T) {
	b, x := newBackend(t)
	in := &model.Integration{LogicalID: "Back", Type: model.HTTP, Method: "PUT", URI: b.URL + "/items/{id}", TemplateSelectionExpression: "${request.body.kind}",
		RequestParameters: map[string]string{"integration.request.path.id": "route.request.body.action", "integration.request.querystring.c": "context.connectionId",
			"integration.request.header.Content-Type": "'text/x-order'", "integration.request.header.Host": "'orders.example.test:8080'"},
		RequestTemplates: map[string]string{"big": `{"who":"$context.authorizer.principalId","kind":$input.json('$.kind')}`},
		Responses: []*model.IntegrationResponse{
			{Key: `/2\d\d/`, TemplateSelectionExpression: "${integration.response.header.X-Lang}", Templates: map[string]string{
				"de": `Antwort $input.path('$.n') von $context.status`, "$default": `answer $input.path('$.n')`}},
			{Key: `/4\d\d/`, TemplateSelectionExpression: "${integration.response.multivalueheader.X-Lang}", Templates: map[string]string{"de,en": "refused"}},
		}}
	plan := Compile(in)
	if plan.Err() != nil {
		t.Fatal(plan.Err())
	}
	answers := func(status int, body string, languages ...string) {
		b.answers(func(w http.ResponseWriter) {
			w.Header()["X-Lang"] = languages
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
	for _, v := range []struct {
		status    int
		languages []string
		want      string
		kind      fault.Kind
	}{
		{200, []string{"de"}, "Antwort 7 von 200", 0},
		{201, []string{"fr"}, "answer 7", 0},
		{404, []string{"de", "en"}, "refused", 0},
		{404, []string{"en"}, `{"n":7}`, 0}, // no template fits: the body as it is
		{500, nil, "", fault.Upstream},
		{302, nil, "", fault.Internal},
	} {
		answers(v.status, `{"n":7}`, v.languages...)
		resp, err := x.Call(t.Context(), request(plan, event.TypeMessage))
		if v.want == "" {
			if !fault.Is(err, v.kind) || !strings.Contains(err.Error(), "no integration response fits") {
				t.Errorf("%d: %+v, %v", v.status, resp, err)
			}
			continue
		}
		if err != nil || string(resp.Body) != v.want || resp.Status != v.status {
			t.Errorf("%d %v: %q, %v; want %q", v.status, v.languages, resp.Body, err, v.want)
		}
	}
	if b.method != "PUT" || b.uri != "/items/placeOrder?c=Qa1zTdYbrRcCJ4w%3D" || b.body != `{"who":"user-77","kind":"big"}` ||
		b.header.Get("Content-Type") != "text/x-order" || b.host != "orders.example.test:8080" {
		t.Errorf("%s %s %s %q %v", b.method, b.host, b.uri, b.body, b.header)
	}
	answers(200, "{}")
	r := request(plan, event.TypeMessage)
	r.Body = []byte(`{"action":"x","kind":"small"}`)
	if _, err := x.Call(t.Context(), r); err != nil || b.body != string(r.Body) {
		t.Errorf("passed through: %q, %v", b.body, err)
	}
}

// One-way: nothing is sent, no integration response is needed, and a back end that
// refuses is an error all the same (loss is never silent).
func TestHTTPOneWay(t *testing.T) {
	b, x := newBackend(t)
	plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL})
	r := request(plan, event.TypeMessage)
	r.TwoWay = false
	if resp, err := x.Call(t.Context(), r); err != nil || resp.Body != nil || b.body != string(r.Body) {
		t.Errorf("%+v, %v, %q", resp, err, b.body)
	}
	b.answers(func(w http.ResponseWriter) { w.Write(make([]byte, MaxResponse+1)) })
	if _, err := x.Call(t.Context(), r); err != nil {
		t.Errorf("an answer that nobody reads: %v", err)
	}
	b.answers(func(w http.ResponseWriter) { w.WriteHeader(500); io.WriteString(w, "sold out") })
	if _, err := x.Call(t.Context(), r); !fault.Is(err, fault.Upstream) || !strings.Contains(err.Error(), "status 500: sold out") {
		t.Errorf("a refusal: %v", err)
	}
	r.TwoWay = true
	b.answers(func(w http.ResponseWriter) {})
	if _, err := x.Call(t.Context(), r); !fault.Is(err, fault.Internal) || !strings.Contains(err.Error(), "no integration response fits status 200") {
		t.Errorf("two-way without integration responses: %v", err)
	}
}

func TestHTTPDecidesHandshakes(t *testing.T) {
	b, x := newBackend(t)
	for _, v := range []struct {
		name     string
		status   int
		answers  []*model.IntegrationResponse
		want     int
		protocol string
		err      string
	}{
		{"no responses", 200, nil, 200, "", ""},
		{"no responses, refused", 403, nil, 403, "", ""},
		{"status", 403, []*model.IntegrationResponse{{Key: "$default"}}, 403, "", ""},
		{"template", 500, []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": `#if($context.status == "500"){"statusCode":401}#end`}}}, 401, "", ""},
		{"template without status", 200, []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": "hello"}}}, 200, "", ""},
		{"template with nonsense", 200, []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": `{"statusCode":99}`}}}, 0, "", "not an HTTP status"},
		{"none fits", 403, []*model.IntegrationResponse{{Key: "/200/"}}, 0, "", "status 403"},
		{"protocol", 200, []*model.IntegrationResponse{{Key: "/200/", Parameters: map[string]string{"route.response.header.Sec-WebSocket-Protocol": "integration.response.header.X-P"}}}, 200, "chat.v1", ""},
		{"protocol of the body", 200, []*model.IntegrationResponse{{Key: "/200/", Parameters: map[string]string{"route.response.header.sec-websocket-protocol": "integration.response.body.p"}}}, 200, "v2", ""},
		{"protocol with a space", 200, []*model.IntegrationResponse{{Key: "/200/", Parameters: map[string]string{"route.response.header.Sec-WebSocket-Protocol": "'a b'"}}}, 0, "", "not the name of a protocol"},
		{"other header", 200, []*model.IntegrationResponse{{Key: "/200/", Parameters: map[string]string{"route.response.header.X-Other": "'a b'"}}}, 200, "", ""},
	} {
		b.answers(func(w http.ResponseWriter) {
			w.Header().Set("X-P", "chat.v1")
			w.WriteHeader(v.status)
			io.WriteString(w, `{"p":"v2"}`)
		})
		plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL, Responses: v.answers})
		resp, err := x.Call(t.Context(), request(plan, event.TypeConnect))
		if v.err != "" {
			if err == nil || !strings.Contains(err.Error(), v.err) {
				t.Errorf("%s: %+v, %v", v.name, resp, err)
			}
		} else if err != nil || resp.Status != v.want || resp.Protocol != v.protocol || resp.Body != nil {
			t.Errorf("%s: %+v, %v; want %d %q", v.name, resp, err, v.want, v.protocol)
		}
	}
	if b.body != "" || b.header.Get("Sec-WebSocket-Key") != "k" {
		t.Errorf("the back end got %q and %v", b.body, b.header)
	}
}

func TestPassthrough(t *testing.T) {
	b, x := newBackend(t)
	some := map[string]string{"a": "A"}
	for _, v := range []struct {
		behavior, expr string
		templates      map[string]string
		want           string // "": 415
	}{
		{"", "", nil, "raw"},
		{"WHEN_NO_MATCH", "", nil, "raw"},
		{"WHEN_NO_MATCH", "b", some, "raw"},
		{"WHEN_NO_TEMPLATES", "b", some, ""},
		{"WHEN_NO_TEMPLATES", "", nil, "raw"},
		{"NEVER", "", nil, ""},
		{"NEVER", "b", some, ""},
		{"NEVER", "a", some, "A"},
		{"NEVER", `\$default`, map[string]string{"$default": "D"}, "D"},
		{"NEVER", "$default", map[string]string{`\$default`: "D"}, "D"},
		{"NEVER", "", map[string]string{"application/json": "J"}, "J"},
		{"NEVER", "", map[string]string{"application/json": "J", "$default": "D"}, "D"},
		{"NEVER", "b", map[string]string{"application/json": "J"}, ""}, // the fall-back is for no expression
		{"NEVER", "${request.body.k}", map[string]string{"$default": "D"}, "D"},
	} {
		plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL, PassthroughBehavior: v.behavior, TemplateSelectionExpression: v.expr,
			RequestTemplates: v.templates, Responses: []*model.IntegrationResponse{{Key: "$default"}}})
		r := request(plan, event.TypeMessage)
		r.Body = []byte("raw")
		b.body = ""
		_, err := x.Call(t.Context(), r)
		e, _ := err.(*fault.Error)
		if b.body != v.want || (err != nil) != (v.want == "") || err != nil && (e.Kind != fault.BadRequest || e.Type != UnsupportedMedia) {
			t.Errorf("%s, %q, %v: %q, %v", v.behavior, v.expr, v.templates, b.body, err)
		}
	}
}

func TestContentHandling(t *testing.T) {
	b, x := newBackend(t)
	open := New(Config{HTTP: b.Client(), Bytes: true})
	raw := "\x00\xff"
	encoded := base64.StdEncoding.EncodeToString([]byte(raw))
	for _, v := range []struct {
		name, request, response string
		template                string
		body, answer            string
		sent                    string // to the back end
		got                     string // by the client; "!" means an error
		x                       *Executor
		binary                  bool
	}{
		{name: "pass through", body: "text", answer: "é", sent: "text", got: "é", x: x},
		{name: "base64 to bytes", request: toBinary, body: encoded, answer: "ok", sent: raw, got: "ok", x: x},
		{name: "not base64", request: toBinary, body: "***", got: "!", x: x},
		{name: "template to bytes", request: toBinary, template: "$input.path('$.data')", body: `{"data":"` + encoded + `"}`, answer: "ok", sent: raw, got: "ok", x: x},
		{name: "text stays text", request: toText, body: "text", answer: "ok", sent: "text", got: "ok", x: x},
		{name: "bytes to base64", request: toText, body: raw, answer: "ok", sent: encoded, got: "ok", x: x},
		{name: "bytes back", body: "m", answer: raw, sent: "m", got: "!", x: x},
		{name: "bytes back to base64", response: toText, body: "m", answer: raw, sent: "m", got: encoded, x: x},
		{name: "base64 back to text", response: toBinary, body: "m", answer: "w6k=", sent: "m", got: "é", x: x},
		{name: "base64 back to bytes", response: toBinary, body: "m", answer: encoded, sent: "m", got: "!", x: x},
		{name: "no base64 back", response: toBinary, body: "m", answer: "***", sent: "m", got: "!", x: x},
		{name: "bytes back where bytes may be", body: "m", answer: raw, sent: "m", got: raw, x: open, binary: true},
		{name: "base64 back where bytes may be", response: toBinary, body: "m", answer: "w6k=", sent: "m", got: "é", x: open, binary: true},
	} {
		in := &model.Integration{Type: model.HTTP, URI: b.URL, ContentHandling: v.request, Responses: []*model.IntegrationResponse{{Key: "$default", ContentHandling: v.response}}}
		if v.template != "" {
			in.RequestTemplates = map[string]string{"$default": v.template}
		}
		b.answers(func(w http.ResponseWriter) { io.WriteString(w, v.answer) })
		r := request(Compile(in), event.TypeMessage)
		r.Body = []byte(v.body)
		b.body = ""
		resp, err := v.x.Call(t.Context(), r)
		if b.body != v.sent || (err != nil) != (v.got == "!") || err == nil && string(resp.Body) != v.got || resp.Binary != v.binary {
			t.Errorf("%s: sent %q, got %q (%v), %v", v.name, b.body, resp.Body, resp.Binary, err)
		}
	}
}

// What a client writes must not end a header, a request or a path (S20).
func TestSmuggling(t *testing.T) {
	b, x := newBackend(t)
	for _, typ := range []model.IntegrationType{model.HTTP, model.HTTPProxy} {
		plan := Compile(&model.Integration{Type: typ, URI: b.URL + "/in/{v}/out", Responses: []*model.IntegrationResponse{{Key: "$default"}},
			RequestParameters: map[string]string{"integration.request.header.X-V": "route.request.body.h", "integration.request.header.Host": "route.request.body.host",
				"integration.request.querystring.v": "route.request.body.q", "integration.request.path.v": "route.request.body.p"}})
		for _, v := range []struct{ body, uri, text string }{
			{`{"h":"a\r\nX-Evil: 1","p":"v"}`, "", "line break or control character"},
			{`{"h":"a\nGET /evil HTTP/1.1","p":"v"}`, "", "line break or control character"},
			{`{"h":"a\u0000b","p":"v"}`, "", "line break or control character"},
			{`{"h":"a\u007fb","p":"v"}`, "", "line break or control character"},
			{`{"h":" \r\n","p":"v"}`, "", "line break or control character"},
			{`{"host":"evil.test/x\r\n","p":"v"}`, "", "control character"},
			{`{"host":"evil.test/x","p":"v"}`, "", "not a host name"},
			{`{"host":"a b","p":"v"}`, "", "not a host name"},
			{`{"p":".."}`, "", "another path"},
			{`{"p":"."}`, "", "another path"},
			{`{"p":""}`, "", "another path"},
			{`{"p":"../../admin?x=1#y"}`, "/in/..%2F..%2Fadmin%3Fx=1%23y/out", ""},
			{`{"p":"a\r\nb {v}"}`, "/in/a%0D%0Ab%20%7Bv%7D/out", ""},
			{`{"p":"v","q":"a&b=c\r\n#"}`, "/in/v/out?v=a%26b%3Dc%0D%0A%23", ""},
			{`{"h":"tab\tand é are fine","p":"v"}`, "/in/v/out", ""},
		} {
			r := request(plan, event.TypeMessage)
			r.Body = []byte(v.body)
			b.uri = ""
			_, err := x.Call(t.Context(), r)
			if v.text != "" && (!fault.Is(err, fault.Upstream) || !strings.Contains(err.Error(), v.text)) || v.text == "" && err != nil || b.uri != v.uri || b.header.Get("X-Evil") != "" {
				t.Errorf("%s %s: %v, the back end saw %q", typ, v.body, err, b.uri)
			}
		}
	}
}

// The headers of the client's own hop stay there.
func TestConnectHeadersOfTheHop(t *testing.T) {
	b, x := newBackend(t)
	r := request(Compile(&model.Integration{Type: model.HTTPProxy, URI: b.URL}), event.TypeConnect)
	for _, name := range framing {
		r.Handshake.Headers = append(r.Handshake.Headers, event.Field{Name: strings.ToLower(name), Value: "chunked"})
	}
	if _, err := x.Call(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, name := range framing {
		if got := b.header.Get(name); got != "" && got != "0" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestMetadataIsOutOfReach(t *testing.T) {
	for _, v := range []struct{ address, text string }{
		{"http://169.254.169.254/latest/", "link-local"}, {"http://169.254.170.2/", "link-local"}, {"http://[fe80::1]/", "link-local"},
		{"http://[::ffff:169.254.169.254]/", "link-local"}, {"http://[::ffff:a9fe:a9fe]/", "link-local"}, {"http://[64:ff9b::a9fe:a9fe]/", "link-local"},
		{"http://[2002:a9fe:a9fe::1]/", "link-local"}, {"http://[::169.254.169.254]/", "link-local"},
		{"http://[fd00:ec2::254]/", "metadata"}, {"http://100.100.100.200/", "metadata"}, {"http://168.63.129.16/", "metadata"},
	} {
		for _, typ := range []model.IntegrationType{model.HTTP, model.HTTPProxy} {
			plan := Compile(&model.Integration{Type: typ, URI: v.address})
			_, err := New(Config{}).Call(t.Context(), request(plan, event.TypeMessage))
			if err == nil || !strings.Contains(err.Error(), v.text) {
				t.Errorf("%s %s: %v", typ, v.address, err)
			}
		}
	}
	for _, good := range []string{"127.0.0.1", "::1", "10.0.0.1", "203.0.113.7", "2001:db8::1", "64:ff9b::cb00:7107", "fd12::1"} {
		if err := checkAddress(netip.MustParseAddr(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// A name that leads somewhere harmless the first time and to the metadata service
// the second (DNS rebinding) gets no further than the socket.
func TestRebinding(t *testing.T) {
	harmless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "harmless") }))
	defer harmless.Close()
	var asked atomic.Int32
	tr := transport(fakeDNS(t, func() [4]byte {
		if asked.Add(1) == 1 {
			return [4]byte{127, 0, 0, 1}
		}
		return [4]byte{169, 254, 169, 254}
	}))
	tr.DisableKeepAlives = true
	x := New(Config{HTTP: &http.Client{Transport: tr}})
	_, port, _ := strings.Cut(strings.TrimPrefix(harmless.URL, "http://"), ":")
	plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: "http://rebind.example.test:" + port + "/"})
	if resp, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err != nil || string(resp.Body) != "harmless" {
		t.Fatalf("first: %+v, %v", resp, err)
	}
	if _, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Fatalf("second: %v", err)
	}
}

// fakeDNS answers A queries with what next says.
func fakeDNS(t *testing.T, next func() [4]byte) *net.Resolver {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: next()}}}
			}
			if out, err := m.Pack(); err == nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestProxyOfTheEnvironmentIsNoWayRound(t *testing.T) {
	via := func(raw string) error {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return behindProxy(u.Hostname())
	}
	for _, bad := range []string{"http://169.254.169.254/", "http://0xa9fea9fe/", "http://2852039166/", "http://0251.0376.0251.0376/", "http://169.254.43518/", "http://metadata.google.internal./", "http://[fd00:ec2::254]/"} {
		if err := via(bad); !fault.Is(err, fault.Forbidden) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, good := range []string{"http://example.test/", "http://203.0.113.7/", "http://cafe.test/", "http://0xcafe.test/"} {
		if err := via(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// Redirects are handed on: whoever answers 302 must not choose where our headers go.
func TestRedirectsAreNotFollowed(t *testing.T) {
	b, x := newBackend(t)
	hits := 0
	b.answers(func(w http.ResponseWriter) {
		hits++
		w.Header().Set("Location", "http://169.254.169.254/latest/")
		w.WriteHeader(302)
		io.WriteString(w, "moved")
	})
	plan := Compile(&model.Integration{Type: model.HTTP, URI: b.URL, Responses: []*model.IntegrationResponse{{Key: "/302/"}}})
	if resp, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err != nil || string(resp.Body) != "moved" || resp.Status != 302 || hits != 1 {
		t.Fatalf("%+v, %v, %d requests", resp, err, hits)
	}
}
