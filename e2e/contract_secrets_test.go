package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// canary is part of every secret of these tests. It must be found nowhere.
const canary = "cAnArY7Q"

// traces is everything an instance leaves behind or shows: what it printed, the files
// of its data directory (tables and the journal among them) and those named, its
// status, its metrics and its event stream from the beginning.
func (g *gate) traces(files ...string) map[string][]byte {
	g.t.Helper()
	found := map[string][]byte{}
	if out, code := command(g.t, "status", "--json", "--data-dir", g.launch.DataDir); code == 0 {
		found["status --json"] = []byte(out)
	}
	found["metrics"] = []byte(g.get("/_livegate/metrics", "", nil).Body)
	found["events"] = g.stream()
	for _, dir := range append(files, g.launch.DataDir) {
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			if found[path], err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
				return nil // a temporary file
			}
			return err
		})
		if err != nil {
			g.t.Fatal(err)
		}
	}
	found["output"] = []byte(g.out.String())
	return found
}

// stream is what the event stream brings within a moment.
func (g *gate) stream() []byte {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), silence)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.origin()+"/_livegate/api/events?after=0", nil)
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body) // it ends by our own time-out
	if resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte("data:")) {
		g.t.Fatalf("the event stream answered %d %.200s", resp.StatusCode, text)
	}
	return text
}

// expectNo looks for secrets in everything an instance leaves behind.
func (g *gate) expectNo(secrets []string, files ...string) {
	g.t.Helper()
	for where, text := range g.traces(files...) {
		for _, secret := range secrets {
			i := bytes.Index(text, []byte(secret))
			if i < 0 {
				continue
			}
			line := text[bytes.LastIndexByte(text[:i], '\n')+1:]
			if end := bytes.IndexByte(line, '\n'); end >= 0 {
				line = line[:end]
			}
			g.t.Errorf("%s holds %.12s…: %.300s", where, secret, line)
		}
	}
}

// Handshakes with secrets everywhere, let in and refused, in every way to authorize
// them.
func TestHandshakesLeaveNoSecrets(t *testing.T) {
	op := newIssuer(t)
	logs := filepath.Join(t.TempDir(), "access.log")
	credentials := credentialsFile(t, map[string]string{everybody: "", "AKIA" + canary: ""})
	p := startGuarded(t, "--parameter-overrides", "Issuer="+op.url, "--access-log", logs, "--credentials", credentials)
	good := op.token(claims{"sub": "ada"})
	stolen := op.signed(op.newKey("x"), claims{"sub": canary})
	with := func(name, value string) dialing {
		return dialing{Header: http.Header{name: {value}, "Cookie": {"session=" + canary}, "X-Tenant": {"acme"}}}
	}
	tokens, doors, keyed, signed := p.door("tokens"), p.door("doors"), p.door("keyed"), p.door("signed")
	open := []*socket{
		dial(t, tokens+"?tag=a", with("Authorization", "Bearer "+good)),
		dial(t, tokens, dialing{Protocols: []string{"bearer", good}}),
		dial(t, tokens+"?access_token="+good, dialing{}),
		dial(t, doors+"?token=allow&password="+canary, with("Authorization", "Basic "+canary)),
	}
	for _, c := range []struct {
		url    string
		how    dialing
		status int
	}{
		{tokens, with("Authorization", "Bearer "+stolen), 401},
		{tokens + "?access_token=" + stolen, dialing{}, 401},
		{tokens + "?access_token=" + canary, dialing{}, 401},
		{tokens, dialing{Protocols: []string{"bearer", stolen}}, 401},
		{doors + "?token=" + canary, with("Authorization", canary), 500}, // an answer that is none
		{doors + "/more?token=" + canary, dialing{}, 403},
		{keyed, with("X-Api-Key", canary+canary+canary), 403},
		{keyed + "/?x=" + canary, dialing{}, 403},
		{signed, with("Authorization", "AWS4-HMAC-SHA256 Credential="+canary+", SignedHeaders=host, Signature="+canary), 403},
		{signed + "?X-Amz-Security-Token=" + canary, p.signer("AKIA"+canary).header(t, signed), 403},
	} {
		c.how.refused(t, c.url, c.status)
	}
	quota := dial(t, keyed, dialing{Header: http.Header{"X-Api-Key": {"quota-key-of-the-end-to-end-tests"}}})
	quota.whoami()
	sign := p.signer(everybody).header(t, signed)
	open = append(open, quota, dial(t, signed, sign))
	renew, err := json.Marshal(map[string]string{"action": "renew", "token": good})
	if err != nil {
		t.Fatal(err)
	}
	open[0].send(string(renew))
	open[0].next()
	for _, s := range open {
		s.send(`{"action":"nowhere","password":"` + canary + `"}`)
		s.expectError("Forbidden")
		s.send(canary)
		s.expectError("Forbidden")
	}
	s := open[0] // its stage has data trace: what looks like a secret is left out
	s.send(`{"action":"whoami","token":"` + canary + `","nested":{"apiKey":"` + canary + `"},"text":"Bearer ` + canary + `"}`)
	s.next()
	s = open[1]
	s.send(`{"action":"renew","token":"` + stolen + `"}`)
	s.expectError("Unauthorized")
	s.close(websocket.StatusNormalClosure, "")

	parts := strings.Split(good, ".")
	signature := strings.SplitAfter(sign.Header.Get("Authorization"), "Signature=")[1]
	secrets := []string{canary, parts[1], parts[2], strings.Split(stolen, ".")[2], signature, "quota-key-of-the-end-to-end-tests", "secret-of-" + everybody}
	// The plan's key stands in the template, which is not below the data directory.
	p.expectNo(secrets, logs)
	// Killed, the journal is what the next start finds: it holds no secret either.
	p.kill()
	p.gate = p.again()
	p.expectNo(secrets, logs)
}

// Messages that fail in every way a mapping can, which is when error texts are made.
func TestFailedMessagesLeaveNoSecrets(t *testing.T) {
	logs := filepath.Join(t.TempDir(), "access.log")
	g, _ := startMappings(t, "--access-log", logs)
	s := dial(t, g.stage("test").WebSocketURL, dialing{Header: http.Header{"Authorization": {canary}, "Cookie": {canary}}})
	for name, message := range map[string]string{
		"model: wrong type":              `{"action":"post","kind":"text","text":{"` + canary + `":1}}`,
		"model: too long":                `{"action":"post","kind":"text","text":"` + canary + canary + `"}`,
		"model: pattern":                 `{"action":"post","kind":"picture","url":"` + canary + `"}`,
		"model: no such kind":            `{"action":"post","kind":"` + canary + `"}`,
		"not JSON":                       canary,
		"back end: refused":              `{"action":"order","kind":"car","sku":"broken","token":"` + canary + `"}`,
		"back end: path that leads away": `{"action":"order","kind":"car","sku":"..","title":"` + canary + `"}`,
		"function: event is not JSON":    `{"action":"price","amount":"` + canary + `","sku":"x"}`,
		"template: no JSON":              `{"action":"parse","text":"` + canary + `"}`,
		"mock: no status":                `{"action":"status","code":"` + canary + `"}`,
		"table: no such key":             `{"action":"get","key":"` + canary + `"}`,
		"function without a template":    `not json ` + canary,
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			s.send(message)
			if frame := s.next(); !strings.HasPrefix(frame, `{"message": "`) {
				t.Errorf("frame %s, want an error", frame)
			}
		})
	}
	dialing{}.refused(t, g.stage("test").WebSocketURL+"?name="+canary+"&fail="+canary, 502)
	s.close(websocket.StatusNormalClosure, "")
	eventually(t, frameWithin, func() error {
		if row := g.row(); row != nil {
			return errors.New("$disconnect has not run")
		}
		return nil
	})
	g.expectNo([]string{canary}, logs)
	if !strings.Contains(g.out.String(), "Price") {
		t.Errorf("the log says nothing about what failed:\n%s", g.out)
	}
}
