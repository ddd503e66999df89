package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/coder/websocket"
)

// localCredentials are accepted by livegate dev like any others.
func localCredentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: "AKIAENDTOENDENDTOEND", SecretAccessKey: "end-to-end"}
}

// answer is what an HTTP request got.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// signed sends a request that is signed for execute-api as the AWS SDK for Go does it.
func (g *gate) signed(method, url, host, body string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	sum := sha256.Sum256([]byte(body))
	err = v4.NewSigner().SignHTTP(context.Background(), localCredentials(), req, hex.EncodeToString(sum[:]), "execute-api", g.status.Region, time.Now())
	if err != nil {
		g.t.Fatal(err)
	}
	return send(g.t, req, nil)
}

func send(t testing.TB, req *http.Request, client *http.Client) answer {
	t.Helper()
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: frameWithin,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(bytes.TrimSpace(body))}
}

func TestConnectionsAPI(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	s := dial(t, p.url("tag=a"), dialing{Header: http.Header{"User-Agent": {"e2e/2"}}})
	id := p.recorded("connect", "a").ConnectionID
	escaped := strings.ReplaceAll(id, "=", "%3D")
	api, stage := p.status.APIs[0].ID, p.stage("test")
	awsHost := api + ".execute-api." + p.status.Region + ".amazonaws.com"

	for name, c := range map[string]struct{ url, host string }{
		"management URL":       {stage.ManagementURL + "/@connections/" + escaped, ""},
		"id not escaped":       {stage.ManagementURL + "/@connections/" + id, ""},
		"at sign escaped":      {stage.ManagementURL + "/%40connections/" + escaped, ""},
		"doubled slash":        {stage.ManagementURL + "//@connections/" + escaped, ""},
		"api id and stage":     {p.origin() + "/" + api + "/test/@connections/" + escaped, ""},
		"without stage":        {p.origin() + "/@connections/" + escaped, ""},
		"api id as host":       {p.origin() + "/test/@connections/" + escaped, api + ".localhost"},
		"AWS-shaped host":      {p.origin() + "/test/@connections/" + escaped, awsHost},
		"AWS host, no mapping": {p.origin() + "/test/@connections/" + escaped, strings.ToUpper(awsHost)},
	} {
		t.Run("POST, "+name, func(t *testing.T) {
			s := s.in(t)
			p := p.in(t)
			if got := p.signed("POST", c.url, c.host, "to "+name); got.Status != 200 || got.Body != "" {
				t.Fatalf("answered with %+v, want an empty 200", got)
			}
			s.expect("to " + name)
		})
	}
	url := stage.ManagementURL + "/@connections/" + escaped
	t.Run("GET", func(t *testing.T) { p.in(t).checkInspect(p.signed("GET", url, "", "")) })
	t.Run("too large", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		if got := p.signed("POST", url, "", strings.Repeat("x", 128<<10)); got.Status != 200 {
			t.Fatalf("128 KB answered with %d %s", got.Status, got.Body)
		}
		if n := len(s.next()); n != 128<<10 {
			t.Fatalf("frame of %d bytes", n)
		}
		got := p.signed("POST", url, "", strings.Repeat("x", 128<<10+1))
		checkError(t, got, 413, "PayloadTooLargeException")
	})
	t.Run("unsigned", func(t *testing.T) {
		s := s.in(t)
		req, err := http.NewRequest("POST", url, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		if got := send(t, req, nil); got.Status != 403 {
			t.Fatalf("answered with %+v, want 403", got)
		}
		s.expectSilence()
	})
	t.Run("nobody", func(t *testing.T) {
		p := p.in(t)
		for _, other := range []string{"AAAAAAAAAAAAAAA%3D", "gone%3D", "x"} {
			got := p.signed("POST", stage.ManagementURL+"/@connections/"+other, "", "x")
			if got.Status != 410 && got.Status != 400 {
				t.Errorf("id %s answered with %+v", other, got)
			}
		}
		checkError(t, p.signed("POST", stage.ManagementURL+"/@connections/AAAAAAAAAAAAAAA%3D", "", "x"), 410, "GoneException")
	})
	t.Run("DELETE", func(t *testing.T) {
		s := s.in(t)
		p := p.in(t)
		if got := p.signed("DELETE", url, "", ""); got.Status != 204 && got.Status != 200 {
			t.Fatalf("answered with %+v", got)
		}
		s.expectClose(websocket.StatusNormalClosure, "Connection Closed Normally")
		if r := p.recorded("disconnect", "a"); r.Code != 1000 || r.Reason != "Connection Closed Normally" {
			t.Errorf("$disconnect with %d %q", r.Code, r.Reason)
		}
		for _, method := range []string{"POST", "GET", "DELETE"} {
			checkError(t, p.signed(method, url, "", ""), 410, "GoneException")
		}
	})
}

// checkError checks status and error type as SDKs read them.
func checkError(t testing.TB, got answer, status int, kind string) {
	t.Helper()
	if got.Status != status || got.Header.Get("X-Amzn-Errortype") != kind {
		t.Fatalf("answered with %d, x-amzn-errortype %q, body %s; want %d %s", got.Status, got.Header.Get("X-Amzn-Errortype"), got.Body, status, kind)
	}
}

func (p *probe) checkInspect(got answer) {
	p.t.Helper()
	var state struct {
		ConnectedAt, LastActiveAt time.Time
		Identity                  struct{ SourceIP, UserAgent string }
	}
	if err := json.Unmarshal([]byte(got.Body), &state); got.Status != 200 || err != nil {
		p.t.Fatalf("answered with %+v (%v)", got, err)
	}
	if time.Since(state.ConnectedAt).Abs() > time.Minute || state.LastActiveAt.Before(state.ConnectedAt) || state.Identity.UserAgent != "e2e/2" {
		p.t.Fatalf("state %+v", state)
	}
}

// A function that posts to the connection whose $connect it runs waits for something
// that can only happen after it has returned. On AWS it gets a 410 at once; were the
// post held instead, the 3 s time-out of the function would fail the handshake.
func TestPostsDuringConnect(t *testing.T) {
	p := startProbe(t, launch{}, nil)
	t.Run("from inside: 410 at once, and the handshake succeeds", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, p.url("mode=post&tag=inside"), dialing{})
		r := p.recorded("post", "inside")
		if r.Status != 410 || r.Error != "GoneException" || r.Millis > 2000 {
			t.Errorf("post ended with %+v, want 410 GoneException at once", r)
		}
		s.expectSilence()
	})
	t.Run("from a function it waits for: 410 at once", func(t *testing.T) {
		p := p.in(t)
		dial(t, p.url("mode=sync&tag=sync"), dialing{})
		if r := p.recorded("post", "sync"); r.Status != 410 || r.Millis > 2000 {
			t.Errorf("post ended with %+v, want 410 at once", r)
		}
	})
	t.Run("from a function nobody waits for: held, first frame after the 101", func(t *testing.T) {
		p := p.in(t)
		s := dial(t, p.url("mode=async&ms=1200&tag=async"), dialing{})
		s.expect("by async")
		if r := p.recorded("post", "async"); r.Status != 200 {
			t.Errorf("post ended with %+v, want 200", r)
		}
	})
	t.Run("held, then refused: 410, nothing delivered", func(t *testing.T) {
		p := p.in(t)
		s, no := dialing{}.try(t, p.url("mode=async&ms=800&status=403&tag=refused"))
		if s != nil || no.Status != 403 {
			t.Fatalf("handshake ended with %+v", no)
		}
		if r := p.recorded("post", "refused"); r.Status != 410 {
			t.Errorf("post ended with %+v, want 410", r)
		}
	})
	t.Run("to another open connection from inside $connect: delivered", func(t *testing.T) {
		p := p.in(t)
		other := dial(t, p.url("tag=other"), dialing{})
		id := p.recorded("connect", "other").ConnectionID
		s := dial(t, p.url("tag=sender"), dialing{})
		s.call("post", map[string]string{"tag": "across", "to": id, "text": "hello"})
		other.expect("hello")
	})
}
