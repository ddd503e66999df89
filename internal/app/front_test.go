package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/sigv4"
)

// get sends a request under another Host name and returns status and body.
func (r *running) get(req *http.Request, host string) (int, string) {
	r.t.Helper()
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func (r *running) request(method, path string) *http.Request {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.status.EndpointURL+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

// A function stored "dev/photo.png" in a bucket while a stage was called "dev", and
// got API Gateway's 403 Forbidden: the path alone had decided that the request was
// for the stage. With --aws-passthrough s3 it would never have reached the bucket.
func TestAStagesNameIsFreeInOtherServicesPaths(t *testing.T) {
	r := start(t, Config{})
	for _, host := range []string{"bucket.s3.us-east-1.amazonaws.com", "127.0.0.1"} {
		req := r.request("PUT", "/dev/photo.png")
		req.Host = host
		sigv4.Sign(req, nil, sigv4.Key{ID: "AKIDEXAMPLE", Secret: "anything"}, sigv4.Scope{Region: "us-east-1", Service: "s3"}, time.Now())
		if code, body := r.get(req, host); code != http.StatusNotImplemented || !strings.Contains(body, "s3") {
			t.Errorf("%s: %d %s", host, code, body)
		}
	}
}

// A function opened wss://realtime.example.org/dev, a host given to --map-host, and
// talked to its own application: what is not an HTTP request went straight to the
// gateway, which found a stage called "dev".
func TestAMappedHostIsNeverOurOwnAPI(t *testing.T) {
	fixture := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("fixture")) }))
	defer fixture.Close()
	r := start(t, Config{MapHosts: map[string]string{"Realtime.example.org": strings.TrimPrefix(fixture.URL, "http://")}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections) // the reverse proxy's
	for _, host := range []string{"realtime.example.org", "REALTIME.example.org.:443"} {
		if code, body := r.get(r.request("GET", "/dev"), host); code != http.StatusOK || body != "fixture" {
			t.Errorf("%s: %d %s", host, code, body)
		}
		c, resp, err := websocket.Dial(t.Context(), r.status.APIs[0].Stages[0].WebSocketURL, &websocket.DialOptions{Host: host})
		if err == nil {
			c.CloseNow()
			t.Fatalf("%s: a WebSocket to our own stage", host)
		}
		if resp.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: %d", host, resp.StatusCode)
		}
	}
}

// With --allow-host .tunnel.example the start page came up under a tunnel's name
// and stayed empty: the control API compared the name with another rule than the
// front door, and refused it.
func TestEveryDoorHasTheSameHostRule(t *testing.T) {
	r := start(t, Config{AllowHosts: []string{".tunnel.example"}})
	for _, path := range []string{"/", "/_livegate/api/status"} {
		if code, body := r.get(r.request("GET", path), "a1b2.tunnel.example"); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, body)
		}
		if code, _ := r.get(r.request("GET", path), "tunnel.example.evil.org"); code != http.StatusForbidden {
			t.Errorf("%s under a foreign name: %d", path, code)
		}
	}
}

// An SDK that honours AWS_ENDPOINT_URL calls us by our own address: the service is in
// the signature only, and --map-host was not asked.
func TestAMappedServiceAnswersAtTheEndpoint(t *testing.T) {
	hosts := make(chan string, 1)
	fixture := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hosts <- r.Host
		_, _ = w.Write([]byte(`{"SecretString":"s"}`))
	}))
	defer fixture.Close()
	const host = "secretsmanager.us-east-1.amazonaws.com"
	r := start(t, Config{MapHosts: map[string]string{host: strings.TrimPrefix(fixture.URL, "http://")}})
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections) // the reverse proxy's
	req := r.request("POST", "/")
	req.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
	sigv4.Sign(req, nil, sigv4.Key{ID: "any", Secret: "any"}, sigv4.Scope{Region: "us-east-1", Service: "secretsmanager"}, time.Now())
	if code, body := r.get(req, req.Host); code != http.StatusOK || !strings.Contains(body, "SecretString") {
		t.Fatalf("%d %s", code, body)
	}
	if got := <-hosts; got != host {
		t.Errorf("the fixture was called as %s", got)
	}
}
