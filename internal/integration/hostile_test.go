package integration

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/fault"
	"github.com/livegate/livegate/internal/model"
)

// rawBackend keeps the head of every request as it came over the wire, and writes answer.
func rawBackend(t *testing.T, answer string) (url string, head func() string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heads := make(chan string, 16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReader(c)
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				b.WriteString(line)
				if err != nil || line == "\r\n" {
					break
				}
			}
			heads <- b.String()
			io.WriteString(c, answer)
			if strings.HasPrefix(answer, "HTTP/1.1 101") {
				t.Cleanup(func() { c.Close() })
				continue
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String(), func() string {
		select {
		case h := <-heads:
			return h
		case <-time.After(5 * time.Second):
			t.Fatal("no request came")
			return ""
		}
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

func fieldLines(head, name string) (values []string) {
	for line := range strings.Lines(head) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// A client that sends a header in another spelling must not put its value beside the
// one that the project maps: the back end could believe either.
func TestMappedHeadersStandAlone(t *testing.T) {
	url, head := rawBackend(t, okAnswer)
	x := New(Config{})
	plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: url, RequestParameters: map[string]string{
		"integration.request.header.connectionId":    "context.connectionId",
		"integration.request.header.user-agent":      "'mapped'",
		"integration.request.header.accept-encoding": "'identity'",
		"integration.request.header.X-Api-Key":       "'k'",
	}})
	for _, kind := range []string{event.TypeConnect, event.TypeMessage, event.TypeDisconnect} {
		r := request(plan, kind)
		if kind == event.TypeConnect {
			r.Handshake.Headers = append(r.Handshake.Headers, event.Field{Name: "connectionid", Value: "evil"}, event.Field{Name: "CONNECTIONID", Value: "evil"},
				event.Field{Name: "x-amzn-apigateway-api-id", Value: "evil"}, event.Field{Name: "uSER-agent", Value: "evil"}, event.Field{Name: "ACCEPT-encoding", Value: "gzip"})
		}
		if _, err := x.Call(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := head()
		for name, want := range map[string]string{"connectionId": r.Conn.ID, "User-Agent": "mapped", "Accept-Encoding": "identity", "X-Api-Key": "k", "X-Amzn-Apigateway-Api-Id": r.Conn.APIID} {
			if values := fieldLines(got, name); len(values) != 1 || values[0] != want {
				t.Errorf("%s: %s is sent as %q, want %q alone", kind, name, values, want)
			}
		}
	}
}

// Two mappings to one header are the project's mistake; which of them counts must not
// depend on the order of a Go map.
func TestMappedHeadersOfServicesStandAlone(t *testing.T) {
	s := &services{status: 200, content: "application/json", answer: "{}"}
	x := New(Config{Services: s})
	plan := Compile(&model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:sqs:path/1/q", Responses: []*model.IntegrationResponse{{Key: "$default"}}, RequestParameters: map[string]string{
		"integration.request.header.Content-Type": "'text/first'", "integration.request.header.content-type": "'text/last'"}})
	for range 50 {
		if _, err := x.Call(t.Context(), request(plan, event.TypeMessage)); err != nil {
			t.Fatal(err)
		}
		if got := s.request.Header["Content-Type"]; len(got) != 1 || got[0] != "text/last" {
			t.Fatalf("Content-Type is %q", got)
		}
	}
}

// {name} in the query or the host of a URI is filled by a client's value as well.
func TestPathParametersStayInTheirPlace(t *testing.T) {
	for _, v := range []struct{ uri, value, want string }{
		{"http://127.0.0.1:1/items/{id}", "a b/../c?d#e", "http://127.0.0.1:1/items/a%20b%2F..%2Fc%3Fd%23e"},
		{"http://127.0.0.1:1/items?id={id}&x=1", "7&admin=true", "http://127.0.0.1:1/items?id=7%26admin%3Dtrue&x=1"},
		{"http://127.0.0.1:1/items?id={id}", "a+b c", "http://127.0.0.1:1/items?id=a%2Bb+c"},
		{"http://127.0.0.1:1/items?id={id}", "..", "http://127.0.0.1:1/items?id=.."},
		{"http://{id}.example.test/", "tenant-7", "http://tenant-7.example.test/"},
		{"http://api-{id}/", "evil.example.test", "http://api-evil.example.test/"},
		{"http://tenant-{id}:8080/", "x@127.0.0.1", ""},
		{"http://tenant-{id}:8080/", "x:80", ""},
		{"http://127.0.0.1:1{id}/x", "@evil.example.test", ""},
		{"http://127.0.0.1:1{id}/x", "/y", ""},
	} {
		// A host with a parameter is no URL; a stage variable may bring one all the same.
		plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: "http://${stageVariables.rest}", RequestParameters: map[string]string{"integration.request.path.id": "route.request.body.id"}})
		if plan.Err() != nil {
			t.Errorf("%s: %v", v.uri, plan.Err())
			continue
		}
		r := request(plan, event.TypeMessage)
		r.StageVariables = map[string]string{"rest": strings.TrimPrefix(v.uri, "http://")}
		r.Body = []byte(`{"id":"` + v.value + `"}`)
		req, err := r.httpRequest(t.Context(), r.vars(), nil)
		switch {
		case v.want == "" && err == nil:
			t.Errorf("%s with %q became %s", v.uri, v.value, req.URL)
		case v.want != "" && (err != nil || req.URL.String() != v.want):
			t.Errorf("%s with %q became %v, %v; want %s", v.uri, v.value, req, err, v.want)
		}
	}
}

// After 101 the connection is nobody's: reading from it would outlast every time-out.
func TestSwitchingProtocolsIsNoAnswer(t *testing.T) {
	url, _ := rawBackend(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for _, typ := range []model.IntegrationType{model.HTTPProxy, model.HTTP} {
		plan := Compile(&model.Integration{Type: typ, URI: url, Timeout: 50 * time.Millisecond, Responses: []*model.IntegrationResponse{{Key: "$default"}}})
		done := make(chan error, 1)
		go func() {
			_, err := New(Config{}).Call(context.Background(), request(plan, event.TypeConnect))
			done <- err
		}()
		select {
		case err := <-done:
			if !fault.Is(err, fault.Upstream) && !fault.Is(err, fault.Timeout) {
				t.Errorf("%s: %v", typ, err)
			}
		case <-time.After(3 * time.Second):
			t.Fatalf("%s: the call hangs", typ)
		}
	}
}

// What a client put into a query string is often a token.
func TestErrorsDoNotShowMappedValues(t *testing.T) {
	dead := httptest.NewServer(nil)
	dead.Close()
	big := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, MaxResponse+1)) }))
	defer big.Close()
	for _, url := range []string{dead.URL, big.URL} {
		plan := Compile(&model.Integration{Type: model.HTTPProxy, URI: url + "/x?key=canary", RequestParameters: map[string]string{"integration.request.querystring.token": "'canary'"}})
		_, err := New(Config{}).Call(t.Context(), request(plan, event.TypeMessage))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("error %v", err)
		}
	}
}

// On a type without templates CONVERT_TO_TEXT means the same as on one with them.
func TestHTTPProxyEncodesBytes(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = string(b)
	}))
	defer s.Close()
	r := request(Compile(&model.Integration{Type: model.HTTPProxy, URI: s.URL, ContentHandling: toText}), event.TypeMessage)
	r.Body, r.Binary = []byte{0, 255, 1}, true
	if _, err := New(Config{HTTP: s.Client()}).Call(t.Context(), r); err != nil || got != "AP8B" {
		t.Errorf("sent %q, %v", got, err)
	}
}

// Brackets that a client sends must not become stack: 128 KB of them cost tens of
// megabytes for each message in a recursive validator.
func TestDeepJSONIsCheap(t *testing.T) {
	x := New(Config{Functions: invoke(func(context.Context, model.Invocation) (model.InvokeResult, error) {
		return model.InvokeResult{Payload: []byte(`{"a":` + strings.Repeat("[", 6<<20))}, nil
	})})
	deep := []byte(strings.Repeat("[", 128<<10))
	for name, plan := range map[string]*Plan{
		"AWS":       Compile(&model.Integration{Type: model.AWS, URI: functionPath + "f/invocations", Responses: []*model.IntegrationResponse{{Key: "$default"}}}),
		"MOCK":      Compile(&model.Integration{Type: model.Mock, Responses: []*model.IntegrationResponse{{Key: "$default"}}}),
		"AWS_PROXY": Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "f/invocations"}),
	} {
		r := request(plan, event.TypeMessage)
		r.Body = deep
		before := stackInUse()
		done := make(chan error)
		go func() {
			_, err := x.Call(context.Background(), r)
			done <- err
			<-done
		}()
		err := <-done
		grown := stackInUse() - before
		close(done)
		if err == nil {
			t.Errorf("%s: taken", name)
		}
		if grown > 4<<20 {
			t.Errorf("%s: the stack grew by %d bytes", name, grown)
		}
	}
}

// Of duplicate members the last one counts, as in the parsers of the service.
func TestMockStatusOfDuplicateMembers(t *testing.T) {
	if got, err := mockStatus(`{"statusCode":200,"statusCode":403}`); got != 403 || err != nil {
		t.Errorf("status %d, %v", got, err)
	}
}

func stackInUse() int {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.StackInuse)
}
