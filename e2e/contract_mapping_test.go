package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/coder/websocket"
)

// asked is a request that the back end got.
type asked struct {
	Method, Target, Body string
	Header               http.Header
}

// startMappings runs testdata/mappings with a back end of the test's, and returns what
// that one is asked.
func startMappings(t testing.TB, args ...string) (*gate, <-chan asked) {
	t.Helper()
	need(t, "node")
	requests := make(chan asked, 64)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		requests <- asked{r.Method, r.URL.RequestURI(), string(body), r.Header}
		switch {
		case strings.Contains(r.URL.Path, "gone"):
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"why": "sold out"}`)
		case strings.Contains(r.URL.Path, "broken"):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			fmt.Fprint(w, `{"number": 4711, "internal": "not for clients"}`)
		}
	}))
	t.Cleanup(backend.Close)
	args = append(args, "--parameter-overrides", "Backend="+backend.URL)
	return launch{Dir: copyApp(t, "mappings"), Args: args}.start(t), requests
}

// row is the only connection in the table; nil when there is none.
func (g *gate) row() map[string]types.AttributeValue {
	g.t.Helper()
	found, err := g.database().Scan(g.t.Context(), &dynamodb.ScanInput{TableName: aws.String("mappings-connections"), ConsistentRead: aws.Bool(true)})
	if err != nil || len(found.Items) > 1 {
		g.t.Fatalf("%d connections in the table (%v)", len(found.Items), err)
	}
	if len(found.Items) == 0 {
		return nil
	}
	return found.Items[0]
}

// Connections are kept in a table by the gateway alone.
func TestConnectionsInATableWithoutAFunction(t *testing.T) {
	g, _ := startMappings(t)
	url := g.stage("test").WebSocketURL
	s := dial(t, url+"?name="+`O%27Neil%20%22%C3%A9%22`, dialing{Header: http.Header{"User-Agent": {"e2e/3"}}})
	row := g.row()
	for name, want := range map[string]string{"name": `O'Neil "é"`, "agent": "e2e/3", "greeting": "hello"} {
		if got, ok := row[name].(*types.AttributeValueMemberS); !ok || got.Value != want {
			t.Errorf("%s is %#v, want %q", name, row[name], want)
		}
	}
	if ttl, ok := row["ttl"].(*types.AttributeValueMemberN); !ok || len(ttl.Value) != 10 || strings.Contains(ttl.Value, ".") {
		t.Errorf("ttl is %#v, want seconds", row["ttl"])
	}
	s.call("who", nil)
	s.expectJSON(`{"count": 1, "names": ["O'Neil \"é\""]}`)
	s.close(websocket.StatusNormalClosure, "")
	eventually(t, frameWithin, func() error {
		if left := g.row(); left != nil {
			return fmt.Errorf("after $disconnect the table holds %v", left)
		}
		return nil
	})
	t.Run("a killed connection leaves nothing either", func(t *testing.T) {
		g := g.in(t)
		dial(t, url+"?name=Ada", dialing{})
		if g.row() == nil {
			t.Fatal("nothing in the table")
		}
		g.kill()
		g = g.again()
		eventually(t, frameWithin, func() error {
			if left := g.row(); left != nil {
				return fmt.Errorf("the table holds %v", left)
			}
			return nil
		})
	})
}

// expectJSON reads a frame and compares it as JSON.
func (s *socket) expectJSON(want string) {
	s.t.Helper()
	frame := s.next()
	var a, b any
	if err := json.Unmarshal([]byte(frame), &a); err != nil {
		s.t.Fatalf("frame %q: %v", frame, err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		s.t.Fatal(err)
	}
	if got, wanted := fmt.Sprint(a), fmt.Sprint(b); got != wanted {
		s.t.Fatalf("frame %s, want %s", frame, want)
	}
}

func TestMockWithTemplates(t *testing.T) {
	g, _ := startMappings(t)
	s := dial(t, g.stage("test").WebSocketURL, dialing{})
	s.send(`{"action":"sum","numbers":[1,2]}`)
	s.expectJSON(`{"route": "sum", "status": "200", "greeting": "hello"}`)
	s.send(`{"action":"sum","numbers":[]}`)
	s.expectJSON(`{"problem": "no numbers"}`)
	s.send(`{"action":"quiet","numbers":[1]}`) // the same integration, one-way
	s.expectSilence()
}

func TestHTTPWithTemplates(t *testing.T) {
	g, requests := startMappings(t)
	s := dial(t, g.stage("test").WebSocketURL, dialing{})
	for _, c := range []struct{ send, target, body, frame string }{
		{`{"action":"order","kind":"book","sku":"a b/../c?d","title":"War & \"Peace\""}`, "/v1/orders/a%20b%2F..%2Fc%3Fd?stage=test", `{"title": "War & \"Peace\"", "kind": "book"}`, `{"ordered": 4711}`},
		{`{"action":"order","kind":"car","sku":"7"}`, "/v1/orders/7?stage=test", `{"kind": "thing"}`, `{"ordered": 4711}`},
		{`{"action":"order","kind":"car","sku":"gone"}`, "/v1/orders/gone?stage=test", `{"kind": "thing"}`, `{"refused": "sold out"}`},
	} {
		s.send(c.send)
		s.expectJSON(c.frame)
		got := <-requests
		if got.Method != "PUT" || got.Target != c.target || got.Body != c.body {
			t.Errorf("the back end got %s %s %s, want PUT %s %s", got.Method, got.Target, got.Body, c.target, c.body)
		}
		if got.Header.Get("X-Fixed") != "literal" || len(got.Header.Get("Connection-Id")) != 16 || got.Header.Get("X-Amzn-Apigateway-Api-Id") != g.status.APIs[0].ID {
			t.Errorf("with headers %v", got.Header)
		}
	}
	t.Run("a status that no response is for", func(t *testing.T) {
		s := s.in(t)
		s.send(`{"action":"order","kind":"car","sku":"broken"}`)
		s.expectError("Internal server error")
		s.send(`{"action":"order","kind":"car","sku":"7"}`)
		s.expectJSON(`{"ordered": 4711}`)
	})
}

func TestFunctionsBehindTemplates(t *testing.T) {
	g, _ := startMappings(t)
	s := dial(t, g.stage("test").WebSocketURL, dialing{})
	s.send(`{"action":"price","sku":"plain","amount":3}`)
	s.expectJSON(`{"total": 15}`)
	s.send(`{"action":"price","sku":"rare","amount":3}`)
	s.expectJSON(`{"error": "SoldOut: nothing left of rare"}`)
	// An error that fits no pattern takes the default, where there is no total.
	s.send(`{"action":"price","sku":"cursed","amount":3}`)
	if frame := s.next(); strings.Contains(frame, "15") {
		t.Errorf("frame %s", frame)
	}
}

func TestModelsThrottlesAndLogs(t *testing.T) {
	logs := filepath.Join(t.TempDir(), "access.log")
	g, _ := startMappings(t, "--access-log", logs)
	s := dial(t, g.stage("test").WebSocketURL, dialing{Header: http.Header{"User-Agent": {"e2e \"quoted\"\x09/4"}}})
	t.Run("models", func(t *testing.T) {
		s := s.in(t)
		for _, good := range []string{`{"action":"post","kind":"text","text":"hello"}`, `{"action":"post","kind":"picture","url":"https://x"}`} {
			s.send(good)
			s.expectJSON(`{"ok": true}`)
		}
		for _, bad := range []string{
			`{"action":"post","kind":"text"}`,
			`{"action":"post","kind":"text","text":""}`,
			`{"action":"post","kind":"text","text":"much too long"}`,
			`{"action":"post","kind":"text","text":5}`,
			`{"action":"post","kind":"picture","url":"ftp://x"}`,
			`{"action":"post","kind":"film","url":"https://x"}`,
			`{"action":"post"}`,
		} {
			s.send(bad)
			s.expectError("Invalid request body")
		}
	})
	t.Run("throttle of a route", func(t *testing.T) {
		s := s.in(t)
		for range 2 {
			s.call("slow", nil)
			s.expectJSON(`{"ok": true}`)
		}
		s.call("slow", nil)
		s.expectError("Too Many Requests")
		s.call("traced", nil) // other routes are as they were
		s.expectJSON(`{"ok": true}`)
	})
	t.Run("data trace", func(t *testing.T) {
		s := s.in(t)
		s.send(`{"action":"traced","note":"for the log","password":"hunter22"}`)
		s.expectJSON(`{"ok": true}`)
		g := g.in(t)
		g.says(`trace: route traced .*message \{"action":"traced","note":"for the log","password":"\*\*\*\*"\}`)
		g.says(`trace: route traced .*answer \{"ok": true\}`)
		if text := g.out.String(); strings.Contains(text, "hunter22") || strings.Contains(text, "much too long") {
			t.Errorf("the log holds a password, or a message of a route without data trace:\n%s", text)
		}
	})
	s.close(websocket.StatusNormalClosure, "")
	t.Run("access log", func(t *testing.T) { checkAccessLog(t, logs) })
}

// line is one of the access log.
type line struct{ RequestID, Connection, Event, Route, Status, Agent, Error, Validation string }

func checkAccessLog(t *testing.T, path string) {
	t.Helper()
	var all []line
	eventually(t, frameWithin, func() error {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = nil
		for raw := range strings.Lines(string(text)) {
			var l line
			if err := json.Unmarshal([]byte(raw), &l); err != nil {
				return fmt.Errorf("%w in %q", err, raw)
			}
			all = append(all, l)
		}
		if len(all) == 0 || all[len(all)-1].Event != "DISCONNECT" {
			return fmt.Errorf("the last of %d lines is not of the $disconnect", len(all))
		}
		return nil
	})
	if len(all) != 1+2+7+3+2+1 {
		t.Errorf("%d lines: %+v", len(all), all)
	}
	seen := map[string]int{}
	for _, l := range all {
		seen[l.Event+" "+l.Route+" "+l.Status+" "+l.Error]++
		if l.Connection != all[0].Connection || len(l.RequestID) != 16 || !strings.HasPrefix(l.Agent, `e2e "quoted"`) {
			t.Errorf("line %+v", l)
		}
		if (l.Status == "400") != (l.Validation != "-") {
			t.Errorf("line %+v", l)
		}
	}
	for what, n := range map[string]int{"CONNECT $connect 200 -": 1, "MESSAGE post 200 -": 2, "MESSAGE post 400 Invalid request body": 7, "MESSAGE slow 200 -": 2,
		"MESSAGE slow 429 Too Many Requests": 1, "MESSAGE traced 200 -": 2, "DISCONNECT $disconnect 200 -": 1} {
		if seen[what] != n {
			t.Errorf("%d lines %q, want %d (%v)", seen[what], what, n, seen)
		}
	}
}
