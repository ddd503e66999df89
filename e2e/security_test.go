package e2e

import (
	"bufio"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/chromedp/chromedp"
)

// attack is what a page somewhere on the web tries on the developer's port. Each line
// is "what: what became of it".
const attack = `
async function attack(target, connection) {
  const seen = {};
  const attempt = async (name, path, options) => {
    try {
      const answer = await fetch(target + path, options);
      seen[name] = answer.type + " " + answer.status + " " + (await answer.text()).slice(0, 80);
    } catch (err) {
      seen[name] = "refused";
    }
  };
  const simple = (body, type) => ({ method: "POST", mode: "no-cors", credentials: "include", body, headers: { "Content-Type": type ?? "text/plain" } });
  const item = JSON.stringify({ TableName: "probe-items", Item: { id: { S: "evil" } } });
  await attempt("simple write", "/", simple(item));
  await attempt("simple write, target in the query", "/?X-Amz-Target=DynamoDB_20120810.PutItem", simple(item));
  await attempt("simple callback", "/test/@connections/" + connection, simple("evil"));
  await attempt("simple invoke", "/_livegate/api/invoke?function=probe-poster", simple('{"kind":"post","tag":"evil","endpoint":"https://x","connectionId":"x","data":"x"}'));
  await attempt("simple Lambda call", "/2015-03-31/functions/probe-poster/invocations", simple('{"kind":"post","tag":"evil","endpoint":"https://x","connectionId":"x","data":"x"}'));
  await attempt("read status", "/_livegate/api/status", { credentials: "include" });
  await attempt("read the start page", "/", {});
  await attempt("signed write", "/", { method: "POST", body: item, headers: { "X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": "application/x-amz-json-1.0",
    Authorization: "AWS4-HMAC-SHA256 Credential=AKIAEVILEVILEVILEVIL/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=" + "0".repeat(64) } });
  await attempt("signed in the query", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEVILEVILEVILEVIL%2F20260101%2Fus-east-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0".repeat(64), simple(item));
  await new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = target + "/_livegate/api/status";
    script.onload = () => { seen["as a script"] = "loaded"; resolve(); };
    script.onerror = () => { seen["as a script"] = "refused"; resolve(); };
    document.head.append(script);
  });
  return seen;
}`

// A page from another origin, in a real browser, against a running instance.
func TestPagesFromElsewhereCanDoNothing(t *testing.T) {
	page := browser(t, "MAP evil.test 127.0.0.1, MAP rebind.test 127.0.0.1")
	p := startProbe(t, launch{}, nil)
	victim := dial(t, p.url("tag=victim"), dialing{})
	id := url.PathEscape(p.recorded("connect", "victim").ConnectionID)

	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<!doctype html><title>evil</title><script>%s</script>", attack)
	}))
	defer site.Close()
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	for _, target := range []string{p.origin(), strings.Replace(p.origin(), "localhost", "127.0.0.1", 1)} {
		do(t, page, chromedp.Navigate("http://evil.test:"+port+"/"))
		seen := eval[map[string]string](t, page, fmt.Sprintf("attack(%q, %q)", target, id))
		if len(seen) != 10 {
			t.Errorf("%d attempts were made: %v", len(seen), seen)
		}
		for what, outcome := range seen {
			// Opaque means that the browser let the page send it and kept the answer to
			// itself: whether it did any harm is checked below.
			if outcome != "refused" && !strings.HasPrefix(outcome, "opaque ") {
				t.Errorf("%s of %s: %s", what, target, outcome)
			}
		}
	}
	victim.expectSilence()
	if got := p.records(func(r record) bool { return r.Tag == "evil" }); len(got) > 0 {
		t.Errorf("a page made a function run: %+v", got)
	}
	items, err := p.database().Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("probe-items")})
	if err != nil || items.Count != 0 {
		t.Errorf("a page wrote %d items (%v)", items.Count, err)
	}

	t.Run("rebinding", func(t *testing.T) {
		do(t, page, chromedp.Navigate("http://rebind.test:"+strconv.Itoa(p.launch.Port)+"/"))
		text := eval[string](t, page, "document.documentElement.innerText")
		if strings.Contains(text, "probe") || strings.Contains(text, "ConnectFunction") {
			t.Errorf("a foreign name shows the start page:\n%s", text)
		}
		for _, path := range []string{"/", "/_livegate/api/status", "/_livegate/api/health", "/test/@connections/" + id} {
			if got := p.get(path, "rebind.test:"+strconv.Itoa(p.launch.Port), nil); got.Status != 403 && got.Status != 421 {
				t.Errorf("GET %s under a foreign Host: %d %s", path, got.Status, got.Body)
			}
		}
		if _, no := (dialing{Host: "rebind.test"}).try(t, p.url("")); no == nil || no.Status != 403 {
			t.Errorf("upgrade under a foreign Host: %+v", no)
		}
	})
	t.Run("framing", func(t *testing.T) {
		h := p.get("/", "", nil).Header
		if !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") && h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("the start page may be framed: %v", h)
		}
	})
	t.Run("its own page works", func(t *testing.T) {
		do(t, page, chromedp.Navigate(p.origin()+"/"))
		shows(t, page, "body", "probe")
	})
}

// A program on the machine can do what pages cannot, but not without the secrets.
func TestSecretsOfTheDevPort(t *testing.T) {
	p := startProbe(t, launch{Args: []string{"--offline"}}, nil)
	t.Run("running something needs the token", func(t *testing.T) {
		for _, authorization := range []string{"", "Bearer guess"} {
			req, err := http.NewRequest("POST", p.origin()+"/_livegate/api/invoke?function=probe-poster", strings.NewReader(`{"kind":"post","tag":"guess"}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", authorization)
			req.Header.Set("Content-Type", "application/json")
			if got := send(t, req, nil); got.Status != 401 && got.Status != 403 {
				t.Errorf("invoke with %q: %d %s", authorization, got.Status, got.Body)
			}
		}
		if got := p.records(func(r record) bool { return r.Tag == "guess" }); len(got) > 0 {
			t.Errorf("the function ran: %+v", got)
		}
	})
	t.Run("AWS endpoints need a signature", func(t *testing.T) {
		req, err := http.NewRequest("POST", p.status.EndpointURL, strings.NewReader(`{"TableName":"probe-items"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.Scan")
		if got := send(t, req, nil); got.Status < 400 {
			t.Errorf("answered with %+v", got)
		}
	})
	t.Run("CONNECT needs the worker's secret", func(t *testing.T) {
		for _, auth := range []string{"", "Proxy-Authorization: Basic bm9ib2R5Omd1ZXNz\r\n"} {
			if got := p.connect("dynamodb.us-east-1.amazonaws.com:443", auth); got != 407 {
				t.Errorf("CONNECT with %q answered with %d, want 407", auth, got)
			}
		}
	})
	t.Run("a worker's tunnels", func(t *testing.T) {
		s := dial(t, p.url(""), dialing{})
		s.call("fault", "proxy")
		var statuses map[string]int
		if err := json.Unmarshal([]byte(s.next()), &statuses); err != nil || len(statuses) != 3 {
			t.Fatalf("%v %v", statuses, err)
		}
		for destination, got := range statuses {
			if got < 400 {
				t.Errorf("a tunnel to %s was opened (%d)", destination, got)
			}
		}
		p.in(t).says(`example\.com`) // --offline refuses by name
	})
	t.Run("the CA", func(t *testing.T) { p.in(t).checkCA() })
	t.Run("the run file", func(t *testing.T) {
		info, err := os.Stat(filepath.Join(p.launch.DataDir, "run.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("run.json: %v %v", info, err)
		}
	})
}

// connect asks for a tunnel and returns the status.
func (g *gate) connect(destination, header string) int {
	g.t.Helper()
	c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(g.launch.Port)))
	if err != nil {
		g.t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", destination, destination, header)
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: http.MethodConnect})
	if err != nil {
		g.t.Fatal(err)
	}
	return resp.StatusCode
}

// checkCA reads the certificate and the modes of everything beside it.
func (p *probe) checkCA() {
	p.t.Helper()
	text, err := os.ReadFile(p.status.CAFile)
	if err != nil {
		p.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		p.t.Fatal(err)
	}
	if !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) == 0 {
		p.t.Errorf("the CA has no critical name constraints: %v", cert.PermittedDNSDomains)
	}
	keys := 0
	err = filepath.WalkDir(filepath.Dir(p.status.CAFile), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(content), "PRIVATE KEY") {
			return err
		}
		keys++
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			p.t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || keys == 0 {
		p.t.Errorf("%d private keys beside %s (%v)", keys, p.status.CAFile, err)
	}
}
