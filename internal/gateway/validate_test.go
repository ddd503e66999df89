package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/livegate/livegate/internal/integration"
	"github.com/livegate/livegate/internal/model"

	"github.com/livegate/livegate/internal/gateway"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/registry"
)

// modelled gives the route "sendMessage" the models of the Developer Guide's example.
func modelled(app *model.App) {
	app.APIs[0].Models = []*model.Model{
		{Name: "chat", Schema: `{"type":"object","required":["text"],"properties":{"text":{"type":"string","maxLength":5}}}`},
		{Name: "address", Schema: `{"type":"object","required":["street"]}`},
		{Name: "user", Schema: `{"properties":{"home":{"$ref":"https://apigateway.amazonaws.com/restapis/k3v9x1m2qz/models/address"}}}`},
	}
	rt := app.APIs[0].Route("sendMessage")
	rt.ModelSelectionExpression = "$request.body.messageType"
	rt.RequestModels = map[string]string{"chat": "chat", "email": "address", "user": "user"}
}

// A34: nothing is called for a message that does not fit, the client gets the exact
// frame, and the log says what is wrong.
func TestVectorA34Models(t *testing.T) {
	s := newStand(t, map[string]handler{"send": reply("ok")}, options{app: modelled}, twoWay(lambda("sendMessage", "send")), lambda("$connect", "connect"))
	c := s.connect()
	connectionID := s.next("connect").connectionID()
	for _, v := range []struct{ message, log string }{
		{`{"action":"sendMessage","messageType":"email"}`, `at the top: the property "street" is missing`},
		{`{"action":"sendMessage","messageType":"chat","text":7}`, "at /text: it is of type number, want string"},
		{`{"action":"sendMessage","messageType":"chat","text":"too long"}`, "at /text: it has 8 characters, want at most 5"},
		{`{"action":"sendMessage","messageType":"user","home":{}}`, `at /home: the property "street" is missing`},
		{`{"action":"sendMessage","messageType":"none"}`, "no model fits the ModelSelectionExpression $request.body.messageType"},
		{`{"action":"sendMessage"}`, "no model fits"},
	} {
		c.send(v.message)
		c.expectError("Invalid request body", connectionID)
		if !strings.Contains(s.logText(), v.log) {
			t.Errorf("%s: the log lacks %q", v.message, v.log)
		}
	}
	if len(s.calls) != 0 {
		t.Fatalf("%s ran", (<-s.calls).function)
	}
	c.send(`{"action":"sendMessage","messageType":"chat","text":"hello"}`)
	c.expect("ok")
	c.send(`{"action":"sendMessage","messageType":"user","home":{"street":"x"}}`)
	c.expect("ok")
	if n := s.gateway.Stats(); n.Invalid != 6 {
		t.Errorf("stats %+v", n)
	}
	if m := s.gateway.Metrics()[0]; m.ClientError != 6 || m.MessageCount != 16 {
		t.Errorf("metrics %+v", m)
	}
}

// $default takes what no other key does, not JSON included, however it is written; a
// MOCK route is checked too.
func TestDefaultModel(t *testing.T) {
	for _, key := range []string{"$default", `\$default`} {
		ping := twoWay(&model.Route{Key: "$default", Integration: &model.Integration{
			Type: model.Mock, RequestTemplates: map[string]string{"$default": `{"statusCode":200}`},
			Responses: []*model.IntegrationResponse{{Key: "$default", Templates: map[string]string{"$default": "pong"}}},
		}})
		ping.ModelSelectionExpression, ping.RequestModels = "$default", map[string]string{key: "m"}
		s := newStand(t, nil, options{app: func(a *model.App) { a.APIs[0].Models = []*model.Model{{Name: "m", Schema: `{"type":"object"}`}} }}, ping, lambda("$connect", "connect"))
		c := s.connect()
		connectionID := s.next("connect").connectionID()
		c.send("hello")
		c.expectError("Invalid request body", connectionID)
		c.send(`[]`)
		c.expectError("Invalid request body", connectionID)
		c.send(`{}`)
		c.expect("pong")
	}
}

// Models without an expression check nothing, as on AWS.
func TestModelsWithoutExpression(t *testing.T) {
	s := newStand(t, nil, options{app: func(a *model.App) {
		modelled(a)
		a.APIs[0].Route("sendMessage").ModelSelectionExpression = ""
	}}, lambda("sendMessage", "send"))
	s.connect().send(`{"action":"sendMessage","messageType":"email"}`)
	s.next("send")
}

// A model that cannot be read stops a deployment, with where it was written.
func TestBadModelStopsADeployment(t *testing.T) {
	g, err := gateway.New(gateway.Config{Registry: registry.New(registry.Config{Node: id.NewNodeKey()}), Integrations: integration.New(integration.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	app := testApp(lambda("sendMessage", "send"))
	modelled(app)
	app.APIs[0].Models[0].Schema, app.APIs[0].Models[0].Pos = `{"type":"strin"}`, model.Pos{File: "template.yaml", Line: 12}
	err = g.Deploy(app)
	if err == nil || !strings.Contains(err.Error(), "template.yaml:12") || !strings.Contains(err.Error(), "at /type") {
		t.Fatal(err)
	}
	app.APIs[0].Models = app.APIs[0].Models[1:]
	if err = g.Deploy(app); err == nil || !strings.Contains(err.Error(), `there is no model "chat"`) {
		t.Fatal(err)
	}
}

// Messages that are checked keep their place among the others.
func TestModelsKeepTheOrder(t *testing.T) {
	const n = 200
	s := newStand(t, nil, options{app: modelled}, lambda("sendMessage", "all"), lambda("$default", "all"))
	c := s.connect()
	for i := range n {
		if i%2 == 0 {
			c.send(`{"action":"sendMessage","messageType":"chat","text":"x"}`)
		} else {
			c.send("plain")
		}
	}
	for i := range n {
		body := s.next("all").event["body"].(string)
		if (body == "plain") != (i%2 == 1) {
			t.Fatalf("message %d is %q", i, body)
		}
	}
}

// A message that takes a validator long is refused soon, and holds up nobody else.
func TestModelBomb(t *testing.T) {
	s := newStand(t, nil, options{app: func(a *model.App) {
		modelled(a)
		a.APIs[0].Models[0].Schema = `{"definitions":{"d":{"allOf":[{"items":{"$ref":"#/definitions/d"}},{"items":{"$ref":"#/definitions/d"}}]}},"properties":{"text":{"$ref":"#/definitions/d"}}}`
	}}, lambda("sendMessage", "send"), twoWay(lambda("ping", "ping")), lambda("$connect", "connect"))
	c := s.connect()
	started := time.Now()
	c.send(`{"action":"sendMessage","messageType":"chat","text":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`)
	c.expectError("Invalid request body", s.next("connect").connectionID())
	if took := time.Since(started); took > 3*time.Second {
		t.Errorf("%v", took)
	}
}
