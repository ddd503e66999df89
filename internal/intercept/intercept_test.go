package intercept

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAWSCallsStayHome(t *testing.T) {
	k := newKit(t, Config{Dial: func(context.Context, string) (net.Conn, error) { return nil, errNoRoute }})
	for _, host := range []string{
		"dynamodb.us-east-1.amazonaws.com", "abc.execute-api.eu-west-1.amazonaws.com", "sts.amazonaws.com",
		"dynamodb.cn-north-1.amazonaws.com.cn", "lambda.us-east-1.api.aws", "x.lambda-url.us-east-1.on.aws",
	} {
		if got, want := k.get("https://"+host+"/dev/x"), "local "+host+" GET /dev/x"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if d := k.dials(); len(d) != 0 {
		t.Errorf("something was dialled: %v", d)
	}
}

func TestHTTP2InsideTunnel(t *testing.T) {
	k := newKit(t, Config{})
	resp, err := k.client().Get("https://dynamodb.us-east-1.amazonaws.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Fatalf("spoke %s", resp.Proto)
	}
}

func TestOnlyWorkersMayConnect(t *testing.T) {
	k := newKit(t, Config{})
	for name, auth := range map[string]string{
		"none":           "",
		"wrong secret":   "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":guess")),
		"no colon":       "Basic " + base64.StdEncoding.EncodeToString([]byte(user+secret)),
		"empty":          "Basic " + base64.StdEncoding.EncodeToString([]byte(":")),
		"bearer":         "Bearer " + secret,
		"not base64":     "Basic !!!",
		"secret in user": "Basic " + base64.StdEncoding.EncodeToString([]byte(secret+":"+user)),
	} {
		status, body, _, _ := k.connect("dynamodb.us-east-1.amazonaws.com:443", auth, "")
		if !strings.HasPrefix(status, "407") {
			t.Errorf("%s: %s %s", name, status, body)
		}
	}
	if len(k.logged()) != 0 {
		t.Errorf("logs: %v", k.logged())
	}
	var zero Proxy = *New(Config{})
	rec := httptest.NewRecorder()
	r := httptest.NewRequest("CONNECT", "http://dynamodb.us-east-1.amazonaws.com:443", nil)
	r.Header.Set("Proxy-Authorization", "Basic Og==")
	zero.ServeHTTP(rec, r)
	if rec.Code != 407 || rec.Header().Get("Proxy-Authenticate") == "" {
		t.Errorf("a Proxy without Auth answers %d", rec.Code)
	}
}

func TestOtherHostsAreTunnelledUntouched(t *testing.T) {
	addr := echo(t)
	k := newKit(t, Config{
		Resolve: names(map[string][]string{"api.example.org": {"93.184.216.34"}}),
		Dial:    to(addr),
	})
	_, _, c, br := k.connect("api.example.org:8443", basic(), "early ")
	io.WriteString(c, "late")
	c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(br)
	if err != nil || string(got) != "early late" {
		t.Fatalf("%q %v", got, err)
	}
	if d := k.dials(); !slices.Equal(d, []string{"93.184.216.34:8443"}) {
		t.Fatalf("dialled %v: it must be the address that was checked", d)
	}
}

func TestNextAddressIsTried(t *testing.T) {
	addr := echo(t)
	var n atomic.Int32
	k := newKit(t, Config{
		Resolve: names(map[string][]string{"api.example.org": {"2606:2800::1", "93.184.216.34"}}),
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			if n.Add(1) == 1 {
				return nil, errNoRoute
			}
			return to(addr)(ctx, a)
		},
	})
	if status, body, _, _ := k.connect("api.example.org:443", basic(), ""); !strings.HasPrefix(status, "200") {
		t.Fatal(status, body)
	}
}

func TestUnreachable(t *testing.T) {
	k := newKit(t, Config{
		Resolve:     names(map[string][]string{"down.example": {"93.184.216.34"}, "slow.example": {"93.184.216.35"}}),
		DialTimeout: 50 * time.Millisecond,
		Dial: func(ctx context.Context, a string) (net.Conn, error) {
			if strings.HasPrefix(a, "93.184.216.35") {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, errNoRoute
		},
	})
	for target, want := range map[string]string{"down.example:443": "502", "slow.example:443": "504", "absent.example:443": "502"} {
		status, body, _, _ := k.connect(target, basic(), "")
		if !strings.HasPrefix(status, want) || !strings.Contains(body, target) {
			t.Errorf("%s: %s %s", target, status, body)
		}
	}
	for _, target := range []string{"x.example:0", "x.example:99999", "x..example:443", ":443", "a_b/c:443"} {
		c, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: %s\r\n\r\n", target, target, basic())
		answer, _ := io.ReadAll(c)
		c.Close()
		if !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
			t.Errorf("%s: %q", target, answer)
		}
	}
}

func TestMapHost(t *testing.T) {
	addr := echo(t)
	k := newKit(t, Config{Offline: true, MapHost: map[string]string{
		"Api.example.org": addr, "other.example.org:8443": addr, "s3.us-east-1.amazonaws.com": addr, "gone.example": "127.0.0.1:1",
	}})
	for _, target := range []string{"api.example.org:443", "API.example.org:80", "other.example.org:8443", "s3.us-east-1.amazonaws.com:443"} {
		status, body, c, br := k.connect(target, basic(), "x")
		c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(br)
		if !strings.HasPrefix(status, "200") || string(got) != "x" {
			t.Errorf("%s: %s %s %q", target, status, body, got)
		}
	}
	if status, body, _, _ := k.connect("other.example.org:443", basic(), ""); !strings.HasPrefix(status, "403") {
		t.Errorf("another port of a mapped host: %s %s", status, body)
	}
	if status, body, _, _ := k.connect("gone.example:443", basic(), ""); !strings.HasPrefix(status, "502") || !strings.Contains(body, "127.0.0.1:1 (--map-host)") {
		t.Errorf("dead fixture: %s %s", status, body)
	}
}

func TestOfflineRefusesByNameAndTellsOnce(t *testing.T) {
	k := newKit(t, Config{Offline: true, Passthrough: PassthroughHosts([]string{"s3"})})
	for range 3 {
		status, body, _, _ := k.connect("api.example.org:443", basic(), "")
		if !strings.HasPrefix(status, "403") || !strings.Contains(body, "api.example.org:443") || !strings.Contains(body, "--map-host api.example.org=") {
			t.Fatal(status, body)
		}
	}
	k.connect("s3.us-east-1.amazonaws.com:443", basic(), "")
	if got := k.get("https://dynamodb.us-east-1.amazonaws.com/"); !strings.HasPrefix(got, "local") {
		t.Errorf("interception offline: %s", got)
	}
	logs := k.logged()
	if len(logs) != 2 || !strings.Contains(logs[0], "api.example.org") || !strings.Contains(logs[1], "s3.us-east-1") {
		t.Errorf("logs: %q", logs)
	}
	if len(k.dials()) != 0 {
		t.Errorf("offline, and yet dialled %v", k.dials())
	}
}

func TestPassthrough(t *testing.T) {
	addr := echo(t)
	k := newKit(t, Config{
		Passthrough: PassthroughHosts([]string{"s3", "ses"}), Dial: to(addr),
		Resolve: names(map[string][]string{"b.s3.us-east-1.amazonaws.com": {"52.1.1.1"}, "email.us-east-1.amazonaws.com": {"52.1.1.2"}}),
	})
	for _, host := range []string{"b.s3.us-east-1.amazonaws.com", "email.us-east-1.amazonaws.com"} {
		if status, body, _, _ := k.connect(host+":443", basic(), ""); !strings.HasPrefix(status, "200") {
			t.Errorf("%s: %s %s", host, status, body)
		}
	}
	if got := k.get("https://sqs.us-east-1.amazonaws.com/"); !strings.HasPrefix(got, "local") {
		t.Errorf("a service that is not named: %s", got)
	}
	if d := k.dials(); !slices.Equal(d, []string{"52.1.1.1:443", "52.1.1.2:443"}) {
		t.Errorf("dialled %v", d)
	}
	for host, want := range map[string]bool{"ses.example.org": false, "email.eu-west-1.amazonaws.com": true, "s3-x.evil": false, "s3tables.us-east-1.amazonaws.com": false} {
		if PassthroughHosts([]string{" SES", "email", "S3"})(host) != want {
			t.Errorf("%s: not %v", host, want)
		}
	}
	if PassthroughHosts(nil)("s3.amazonaws.com") || PassthroughHosts([]string{""})("amazonaws.com") {
		t.Error("nothing named, something passes")
	}
}

func TestCloseEndsTunnels(t *testing.T) {
	k := newKit(t, Config{MapHost: map[string]string{"a.example": echo(t)}})
	_, _, c, br := k.connect("a.example:443", basic(), "x")
	if b, err := br.ReadByte(); err != nil || b != 'x' {
		t.Fatal(err)
	}
	k.proxy.Close()
	if _, err := io.ReadAll(br); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	c.Close()
	if status, _, _, br := k.connect("a.example:443", basic(), ""); strings.HasPrefix(status, "200") {
		if got, _ := io.ReadAll(br); len(got) != 0 {
			t.Fatal("a tunnel after Close")
		}
	}
}

func TestAbsoluteForm(t *testing.T) {
	fixture := plainServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("Proxy-Connection") != "" {
			t.Error("proxy credentials were passed on")
		}
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "fixture %s %s", r.Host, r.URL.RequestURI())
	})
	k := newKit(t, Config{MapHost: map[string]string{"api.example.org": fixture}, Offline: true})
	for url, want := range map[string]string{
		"http://api.example.org/a%2Fb?x=1":                  "fixture api.example.org /a%2Fb?x=1",
		"http://dynamodb.us-east-1.amazonaws.com/p":         "local dynamodb.us-east-1.amazonaws.com GET /p",
		"http://other.example.org/":                         "Livegate: other.example.org:80 was not called: Livegate runs with --offline",
		"http://api.example.org/redirect":                   "Livegate: 169.254.169.254:80 was not called",
		"http://abc.execute-api.us-east-1.amazonaws.com:80": "local abc.execute-api.us-east-1.amazonaws.com:80 GET /",
	} {
		if got := k.get(url); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	resp, err := http.Get("http://" + k.address + "/plain")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "local "+k.address+" GET /plain" {
		t.Errorf("origin-form request: %s", body)
	}
	http.DefaultClient.CloseIdleConnections()

	rec := httptest.NewRecorder()
	k.proxy.ServeHTTP(rec, httptest.NewRequest("GET", "http://api.example.org/", nil))
	if rec.Code != 407 {
		t.Errorf("absolute form without credentials: %d", rec.Code)
	}
	rec = httptest.NewRecorder()
	r := httptest.NewRequest("GET", "ftp://api.example.org/", nil)
	r.Header.Set("Proxy-Authorization", basic())
	k.proxy.ServeHTTP(rec, r)
	if rec.Code != 400 {
		t.Errorf("ftp: %d", rec.Code)
	}
}

func TestCONNECTOverHTTP2IsRefused(t *testing.T) {
	p := New(Config{Auth: func(string, string) bool { return true }, Serve: func(net.Conn) { t.Error("served") }})
	rec := httptest.NewRecorder() // cannot be hijacked, like an h2 stream
	p.ServeHTTP(rec, httptest.NewRequest("CONNECT", "http://sts.amazonaws.com:443", nil))
	if rec.Code != http.StatusHTTPVersionNotSupported {
		t.Fatal(rec.Code)
	}
}
