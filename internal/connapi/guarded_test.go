package connapi_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/livegate/livegate/internal/bound"
	"github.com/livegate/livegate/internal/connapi"
	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/model"
)

func trustApp() *model.App {
	a := app()
	a.Domains[0].TrustStore = "clients-ca.pem"
	return a
}

// By way of a domain that wants client certificates nobody comes in without one, on
// either door; other names of the API are as they were.
func TestClientCertificates(t *testing.T) {
	c := id.NewConn(id.NewNodeKey()).String()
	shown := &x509.Certificate{Raw: []byte("device-1")}
	var asked string
	certified := func(key string, d *model.Domain, secure bool, chain []*x509.Certificate) error {
		asked = key + " " + d.Name
		if !secure || len(chain) != 1 || chain[0] != shown {
			return errors.New("a secret detail")
		}
		return nil
	}
	for _, v := range []struct {
		name, host, path string
		tls              *tls.ConnectionState
		certified        func(string, *model.Domain, bool, []*x509.Certificate) error
		status           int
	}{
		{"good", "ws.example.test", "/chat", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown}}, certified, 200},
		{"another case and a port", "WS.example.test.:443", "//chat/", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown}}, certified, 200},
		{"none", "ws.example.test", "/chat", &tls.ConnectionState{}, certified, 403},
		{"another", "ws.example.test", "/chat", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}, certified, 403},
		{"no TLS", "ws.example.test", "/chat", nil, certified, 403},
		{"nobody checks", "ws.example.test", "/chat", &tls.ConnectionState{PeerCertificates: []*x509.Certificate{shown}}, nil, 403},
		{"the API's own name", apiHost, "/prod", nil, certified, 200},
	} {
		t.Run(v.name, func(t *testing.T) {
			b := &book{}
			h := connapi.New(connapi.Config{App: trustApp, Registry: b, Check: check("secret"), Certified: v.certified})
			path := v.path + "/@connections/" + c
			asked = ""
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("hello"))
			r.Host, r.TLS = v.host, v.tls
			for _, f := range signedHeader(t, "POST", v.host, path, "hello") {
				r.Header.Set(f.Name, f.Value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != v.status || (b.asked == "") != (v.status != 200) || strings.Contains(w.Body.String(), "secret") {
				t.Fatalf("%d %s, asked %q", w.Code, w.Body, b.asked)
			}
			if v.host != apiHost && v.certified != nil && asked != key.ID+" ws.example.test" {
				t.Errorf("asked for %q", asked)
			}
			// An event loop leaves the decision to the other door, and everything else as it is.
			b.asked = ""
			_, ok := h.ServeHot(nil, hot("POST", v.host, path, signedHeader(t, "POST", v.host, path, "hello"), "hello"))
			if ok != (v.host == apiHost) || !ok && b.asked != "" {
				t.Errorf("hot: %v, asked %q", ok, b.asked)
			}
		})
	}
}

// Callbacks are a part of the account's throttle, on both doors; who may not call takes
// nothing from it.
func TestThrottle(t *testing.T) {
	c := id.NewConn(id.NewNodeKey()).String()
	path := "/prod/@connections/" + c
	account := bound.NewRate(0.0001, 2)
	var takes atomic.Int32
	b := &book{}
	s, h := serveBook(t, connapi.Config{Check: check("secret"), Take: func(lane int) bool { takes.Add(1); return account.Take(lane) }}, b)
	good := signedHeader(t, "POST", apiHost, path, "x")
	const want = `{"message":"Too Many Requests"}`
	for _, path := range []string{path, "/nope/@connections/" + c, "/prod/@connections/short"} {
		if resp, _ := s.do("POST", apiHost, path, []byte("x"), false); resp.StatusCode == 200 {
			t.Error(path)
		}
	}
	if resp, _ := s.do("POST", apiHost, "/nope/@connections/"+c, []byte("x"), true); resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
	if n := takes.Load(); n != 0 {
		t.Fatalf("%d were taken", n)
	}
	if out, ok := h.ServeHot(nil, hot("POST", apiHost, path, good, "x")); !ok || !bytes.HasPrefix(out, []byte("HTTP/1.1 200")) {
		t.Fatalf("%s", out)
	}
	if resp, _ := s.do("POST", apiHost, path, []byte("x"), true); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	b.asked = ""
	for _, method := range []string{"POST", "GET", "DELETE"} {
		resp, body := s.do(method, apiHost, path, nil, true)
		if resp.StatusCode != 429 || resp.Header.Get("x-amzn-errortype") != "LimitExceededException" || body != want {
			t.Errorf("%s: %s %s %v", method, resp.Status, body, resp.Header)
		}
	}
	out, ok := h.ServeHot(nil, hot("POST", apiHost, path, good, "x"))
	if !ok || !bytes.HasPrefix(out, []byte("HTTP/1.1 429 ")) || !bytes.Contains(out, []byte("\r\nx-amzn-errortype: LimitExceededException\r\n")) || !bytes.HasSuffix(out, []byte(want)) {
		t.Errorf("%s", out)
	}
	if b.asked != "" {
		t.Errorf("the registry was asked to %s", b.asked)
	}
	if n := h.Stats().Status[429]; n != 4 {
		t.Errorf("%d answers of 429", n)
	}
}
