package integration

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/livegate/livegate/internal/event"
	"github.com/livegate/livegate/internal/model"
)

func BenchmarkFunction(b *testing.B) {
	plan := Compile(&model.Integration{Type: model.AWSProxy, URI: functionPath + "echo/invocations"})
	answer := []byte(`{"statusCode":200,"body":"pong"}`)
	x := New(Config{Functions: invoke(func(context.Context, model.Invocation) (model.InvokeResult, error) {
		return model.InvokeResult{Payload: answer}, nil
	})})
	r := request(plan, event.TypeMessage)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Call(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStaticMock(b *testing.B) {
	plan := Compile(&model.Integration{Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`},
		Responses: []*model.IntegrationResponse{{Key: "/200/", Templates: map[string]string{"$default": strings.Repeat("x", 128)}}}})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := plan.Fixed(); !ok {
			b.Fatal("not fixed")
		}
	}
}

func BenchmarkVelocityMock(b *testing.B) {
	plan := Compile(&model.Integration{Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`},
		Responses: []*model.IntegrationResponse{{Key: "/200/", Templates: map[string]string{"$default": `{"id":"$context.connectionId","at":$context.requestTimeEpoch,"stage":"$context.stage"}`}}}})
	benchmarkCall(b, New(Config{}), plan)
}

func BenchmarkService(b *testing.B) {
	plan := Compile(&model.Integration{Type: model.AWS, URI: "arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem",
		RequestTemplates: map[string]string{"$default": `{"TableName":"t","Item":{"id":{"S":"$context.connectionId"},"a":{"S":$input.json('$.action')}}}`},
		Responses:        []*model.IntegrationResponse{{Key: "/200/"}}})
	benchmarkCall(b, New(Config{Services: &services{status: 200, content: "application/x-amz-json-1.0", answer: "{}"}}), plan)
}

func BenchmarkHTTPProxy(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer s.Close()
	benchmarkCall(b, New(Config{HTTP: s.Client()}), Compile(&model.Integration{Type: model.HTTPProxy, URI: s.URL}))
}

func BenchmarkHTTP(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	defer s.Close()
	benchmarkCall(b, New(Config{HTTP: s.Client()}), Compile(&model.Integration{Type: model.HTTP, URI: s.URL,
		RequestTemplates: map[string]string{"$default": `{"id":"$context.connectionId","action":$input.json('$.action')}`},
		Responses:        []*model.IntegrationResponse{{Key: "/200/", Templates: map[string]string{"$default": "$input.path('$.action')"}}}}))
}

func benchmarkCall(b *testing.B, x *Executor, plan *Plan) {
	if plan.Err() != nil {
		b.Fatal(plan.Err())
	}
	r := request(plan, event.TypeMessage)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Call(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
