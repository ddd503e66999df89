package gateway_test

import (
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/model"
)

// Stages of one API share its routes and nothing else: variables, and who is there.
func TestStagesAreSeparate(t *testing.T) {
	s := newStand(t, nil, options{app: func(a *model.App) {
		a.APIs[0].Stages = []*model.Stage{
			{Name: "prod", Deployed: true, Variables: map[string]string{"table": "live"}},
			{Name: "beta", Deployed: true, Variables: map[string]string{"table": "test"}},
		}
	}}, lambda("$connect", "connect"))
	for stage, table := range map[string]string{"prod": "live", "beta": "test"} {
		c, _, err := s.dial("/"+stage, nil)
		if err != nil {
			t.Fatal(err)
		}
		connected := s.next("connect")
		if got := connected.event["stageVariables"].(map[string]any)["table"]; got != table || connected.context("stage") != stage {
			t.Fatalf("event %s", connected.in.Payload)
		}
		path := "/@connections/" + strings.ReplaceAll(connected.connectionID(), "=", "%3D")
		for _, other := range []string{"prod", "beta"} {
			want := 410 // a connection of another stage is not there
			if other == stage {
				want = 200
			}
			if resp, _ := s.request("POST", "/"+other+path, "someone", []byte("hi")); resp.StatusCode != want {
				t.Errorf("a post to %s about a connection of %s: %d", other, stage, resp.StatusCode)
			}
		}
		c.expect("hi")
	}
}

// A custom domain: keys of several levels, the longest wins, no stage in the URL of a
// client or a callback; the default endpoint can be switched off.
func TestCustomDomains(t *testing.T) {
	s := newStand(t, nil, options{app: func(a *model.App) {
		api := a.APIs[0]
		api.DisableExecuteAPIEndpoint = true
		api.Stages = append(api.Stages, &model.Stage{Name: "beta", Deployed: true})
		a.Domains = []*model.Domain{{Name: "ws.example.test", Mappings: []model.Mapping{
			{Key: "chat", APIID: api.ID, Stage: "prod"}, {Key: "chat/v2/eu", APIID: api.ID, Stage: "beta"}}}}
	}}, lambda("$connect", "connect"))
	for path, stage := range map[string]string{"/chat": "prod", "/chat/": "prod", "/chat/v2/eu": "beta"} {
		c, _, err := s.dial(path, &websocket.DialOptions{Host: "ws.example.test"})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		connected := s.next("connect")
		if connected.context("stage") != stage || connected.context("domainName") != "ws.example.test" {
			t.Fatalf("%s: event %s", path, connected.in.Payload)
		}
		s.host = "ws.example.test"
		resp, _ := s.request("POST", strings.TrimSuffix(path, "/")+"/@connections/"+strings.ReplaceAll(connected.connectionID(), "=", "%3D"), "someone", []byte("hi"))
		if resp.StatusCode != 200 {
			t.Errorf("%s: the callback: %d", path, resp.StatusCode)
		}
		c.expect("hi")
	}
	for host, path := range map[string]string{host: "/prod", "ws.example.test": "/prod", "other.example.test": "/chat"} {
		if _, body := s.refused(path, &websocket.DialOptions{Host: host}, 403); body != `{"message":"Forbidden"}` {
			t.Errorf("%s%s: %s", host, path, body)
		}
	}
	s.refused("/chat/v2", &websocket.DialOptions{Host: "ws.example.test"}, 403) // "chat" and something after it
}
