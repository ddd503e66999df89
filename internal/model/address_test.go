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
