package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/livegate/livegate/internal/app"
	"github.com/livegate/livegate/internal/client"
	"github.com/livegate/livegate/internal/localca"
)

// startEcho runs conformance-echo and returns the URL it printed.
func startEcho(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	c, _, errs := stub(t, func(context.Context, app.Config, func(client.Status)) error { return nil })
	r, w := io.Pipe()
	c.out = w
	done := make(chan int, 1)
	go func() {
		done <- c.execute(ctx, append([]string{"conformance-echo", "--listen", "127.0.0.1:0"}, args...))
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "echoing at ")
	if err != nil || !ok {
		t.Fatalf("%q %v %s", line, err, errs)
	}
	t.Cleanup(func() {
		cancel(errInterrupted)
		if code := <-done; code != exitOK {
			t.Errorf("exit code %d: %s", code, errs)
		}
	})
	return url
}

// writeLeaf writes a certificate for localhost and its key as PEM files.
func writeLeaf(t *testing.T, ca *localca.CA) (cert, key string) {
	t.Helper()
	leaf, err := ca.Leaf("localhost")
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestConformanceEcho(t *testing.T) {
	ca, err := localca.Open(filepath.Join(t.TempDir(), "ca"))
	if err != nil {
		t.Fatal(err)
	}
	cert, key := writeLeaf(t, ca)
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer insecure.CloseIdleConnections()
	for name, args := range map[string][]string{
		"ws": nil, "wss": {"--tls-cert", cert, "--tls-key", key},
		"ws portable": {"--engine", "portable"}, "wss portable": {"--engine", "portable", "--tls-cert", cert, "--tls-key", key},
	} {
		t.Run(name, func(t *testing.T) {
			url := startEcho(t, args...)
			if scheme, _, _ := strings.Cut(name, " "); !strings.HasPrefix(url, scheme+"://127.0.0.1:") {
				t.Errorf("at %s", url)
			}
			c, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: insecure})
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			// Far over every limit that the product has.
			large := bytes.Repeat([]byte{0xff, 0, 'x'}, 4<<20)
			for _, m := range []struct {
				kind websocket.MessageType
				data []byte
			}{{websocket.MessageText, []byte("grüße")}, {websocket.MessageText, nil}, {websocket.MessageBinary, []byte{0xff}}, {websocket.MessageBinary, large}} {
				if err := c.Write(t.Context(), m.kind, m.data); err != nil {
					t.Fatal(err)
				}
				kind, data, err := c.Read(t.Context())
				if err != nil || kind != m.kind || !bytes.Equal(data, m.data) {
					t.Fatalf("%v, %d bytes came back as %v, %d bytes (%v)", m.kind, len(m.data), kind, len(data), err)
				}
			}
			if err := c.Close(websocket.StatusCode(4000), "done"); err != nil && !errors.Is(err, io.EOF) {
				t.Errorf("close: %v", err)
			}
		})
	}
}
