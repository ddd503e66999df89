package integration

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

// FuzzMapping: no template, expression, mapping source or message makes an
// integration panic, run on, or send a request that is two.
func FuzzMapping(f *testing.F) {
	for _, s := range []struct{ template, expr, source, key, answer, body string }{
		{`{"a":$input.json('$.a'),"id":"$context.connectionId"}`, "${request.body.k}", "route.request.body.a", "/2../", "$input.path('$.x')", `{"a":[1,{"b":"c"}],"k":"$default"}`},
		{`#foreach($e in $input.path('$.l'))$util.urlEncode($e)#if($foreach.hasNext)&#end#end`, `\$default`, "context.authorizer.seats", "$default", "#set($x=$util.parseJson($input.body))$x", `{"l":["a b","ü"]}`},
		{`$util.escapeJavaScript($input.body).replaceAll("\\'","'")`, "", "'literal'", "200", "", "it's\r\ntext"},
		{`$input.json('$..a[?(@.b > 1)]')`, "x", "stageVariables.v", "/(a|b)*/", "$context.status", `{"a":[{"b":2}]}`},
	} {
		f.Add(s.template, s.expr, s.source, s.key, s.answer, []byte(s.body))
	}
	stub := &services{status: 200, content: "application/json", answer: `{"x":[1,"two",null]}`}
	x := New(Config{Services: stub, Functions: invoke(func(_ context.Context, in model.Invocation) (model.InvokeResult, error) {
		return model.InvokeResult{Payload: in.Payload}, nil
	})})
	f.Fuzz(func(t *testing.T, template, expr, source, key, answer string, body []byte) {
		for _, uri := range []string{"arn:aws:apigateway:eu-west-1:sqs:path/1/{p}", functionPath + "f/invocations"} {
			params := map[string]string{"integration.request.header.X-V": source, "integration.request.querystring.v": source}
			if strings.Contains(uri, "{p}") {
				params["integration.request.path.p"] = source
			}
			plan := Compile(&model.Integration{Type: model.AWS, URI: uri, TemplateSelectionExpression: expr, RequestTemplates: map[string]string{"$default": template},
				RequestParameters: params, Responses: []*model.IntegrationResponse{{Key: key, Templates: map[string]string{"$default": answer}}}})
			for _, kind := range []string{event.TypeConnect, event.TypeMessage, event.TypeDisconnect} {
				r := request(plan, kind)
				r.StageVariables = map[string]string{"v": "a/../b"}
				if kind == event.TypeMessage {
					r.Body = body
				}
				stub.request = nil
				began := time.Now()
				resp, err := x.Call(t.Context(), r)
				if took := time.Since(began); took > 5*time.Second {
					t.Fatalf("took %v", took)
				}
				if err == nil && len(resp.Body) > MaxResponse {
					t.Fatalf("an answer of %d bytes", len(resp.Body))
				}
				checkWire(t, stub.request)
			}
		}
	})
}

// checkWire fails for a request that is more than one on the wire.
func checkWire(t *testing.T, r *http.Request) {
	if r == nil {
		return
	}
	if i := badHeaderByte(r.Header.Get("X-V")); i >= 0 {
		t.Fatalf("header %q", r.Header.Get("X-V"))
	}
	if uri := r.URL.RequestURI(); strings.ContainsAny(uri, " \r\n") || strings.Contains(uri, "/../") || !strings.HasPrefix(uri, "/1/") {
		t.Fatalf("URI %q", uri)
	}
	if r.URL.Host != "sqs.eu-west-1.amazonaws.com" {
		t.Fatalf("host %q", r.URL.Host)
	}
}
