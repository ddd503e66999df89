package model

import "testing"

func app() *App {
	one := &API{ID: "k3v9x1m2qz", Stages: []*Stage{{Name: "Prod"}, {Name: "dev"}}}
	two := &API{ID: "abcdefghij", Stages: []*Stage{{Name: "dev"}}}
	return &App{Region: "eu-west-1", URLSuffix: "amazonaws.com", APIs: []*API{one, two},
		Domains: []*Domain{
			{Name: "ws.example.test", Mappings: []Mapping{{Key: "", APIID: two.ID, Stage: "dev"}, {Key: "chat", APIID: one.ID, Stage: "Prod"}}},
			{Name: "*.wild.test", Mappings: []Mapping{{APIID: one.ID, Stage: "dev"}}},
		}}
}

func TestLocate(t *testing.T) {
	a := app()
	for _, c := range []struct {
		host, path string
		want       string // "api/stage rest", "" for no match
	}{
		{"localhost:3001", "/Prod", "k3v9x1m2qz/Prod "},
		{"localhost:3001", "/Prod/", "k3v9x1m2qz/Prod "},
		{"127.0.0.1", "/Prod//@connections/abc=", "k3v9x1m2qz/Prod /@connections/abc="},
		{"localhost", "/dev", ""}, // two APIs have it
		{"localhost", "/abcdefghij/dev", "abcdefghij/dev "},
		{"localhost", "/abcdefghij/dev/@connections/x", "abcdefghij/dev /@connections/x"},
		{"localhost", "/abcdefghij/nope", ""},
		{"localhost", "/", ""},
		{"k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com", "/dev/@connections/a", "k3v9x1m2qz/dev /@connections/a"},
		{"K3V9X1M2QZ.execute-api.eu-west-1.amazonaws.com:443", "/Prod", "k3v9x1m2qz/Prod "},
		{"k3v9x1m2qz.localhost:3001", "/Prod", "k3v9x1m2qz/Prod "},
		{"k3v9x1m2qz.localhost.:3001", "/Prod", "k3v9x1m2qz/Prod "},
		{"ws.example.test.", "/", "abcdefghij/dev "},
		{"zzzzzzzzzz.execute-api.eu-west-1.amazonaws.com", "/dev", ""},
		{"ws.example.test", "/", "abcdefghij/dev "},
		{"ws.example.test", "", "abcdefghij/dev "},
		{"ws.example.test", "/@connections/x", "abcdefghij/dev /@connections/x"},
		{"ws.example.test", "/chat", "k3v9x1m2qz/Prod "},
		{"ws.example.test", "/chat/@connections/x", "k3v9x1m2qz/Prod /@connections/x"},
		{"ws.example.test", "/chatty", "abcdefghij/dev /chatty"},
		{"a.wild.test", "/", "k3v9x1m2qz/dev "},
		{"a.b.wild.test", "/", ""},
		{"localhost", "/@connections/x", "abcdefghij/dev /@connections/x"}, // the only API with one stage
	} {
		got := ""
		if addr, ok := a.Locate(c.host, c.path); ok {
			got = addr.API.ID + "/" + addr.Stage.Name + " " + addr.Rest
		}
		if got != c.want {
			t.Errorf("Locate(%q, %q) = %q, want %q", c.host, c.path, got, c.want)
		}
	}
}

func TestWebSocketURLIsShortWhileUnique(t *testing.T) {
	a := app()
	if got := a.WebSocketURL("ws://localhost:3001", a.APIs[0], a.APIs[0].Stages[0]); got != "ws://localhost:3001/Prod" {
		t.Fatal(got)
	}
	if got := a.WebSocketURL("ws://localhost:3001", a.APIs[1], a.APIs[1].Stages[0]); got != "ws://localhost:3001/abcdefghij/dev" {
		t.Fatal(got)
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "LocalHost": "localhost", "a.b:80": "a.b", "a.b.:80": "a.b", "[::1]:80": "::1", "[::1]": "[::1]", "::1": "::1", ":80": "", "a:": "a",
		"[": "[", "[]:1": "", "a:b:c": "a:b:c", "[x:1": "[x:1",
	} {
		if got := HostName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// Every handshake and every callback is located: that allocates nothing.
func TestLocateDoesNotAllocate(t *testing.T) {
	a := app()
	for _, c := range [][2]string{
		{"localhost:3001", "/Prod"}, {"127.0.0.1:3001", "/Prod/@connections/abc="}, {"k3v9x1m2qz.execute-api.eu-west-1.amazonaws.com", "/dev"},
		{"ws.example.test", "/chat"}, {"localhost", "/abcdefghij/dev"},
	} {
		if n := testing.AllocsPerRun(100, func() {
			if _, ok := a.Locate(c[0], c[1]); !ok {
				t.Fatal(c)
			}
		}); n > 0 {
			t.Errorf("%v: %v allocations", c, n)
		}
	}
}

func TestExactDomainsComeBeforeWildcards(t *testing.T) {
	wild, exact := &Domain{Name: "*.example.com"}, &Domain{Name: "API.example.com"}
	for _, app := range []*App{{Domains: []*Domain{wild, exact}}, {Domains: []*Domain{exact, wild}}} {
		for host, want := range map[string]*Domain{"api.example.com": exact, "chat.example.com": wild, "example.com": nil} {
			if got := app.Domain(host); got != want {
				t.Errorf("%s is %v", host, got)
			}
		}
	}
}
