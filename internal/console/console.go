// Package console is the page at / of the dev port: what runs, a small test
// client, the live log. Hand-written HTML, CSS and JavaScript modules, embedded.
//
// It promises: pages load nothing from anywhere else and run no inline script
// (Content-Security-Policy); payloads and log lines are shown as text, never as
// markup; the page cannot be framed. The HTML holds no data: everything comes from
// the control API, which decides who may read.
//
// It knows no engine. Test it in a real browser (console_test.go does).
package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed page
var files embed.FS

// Prefix is the path under which assets are served; the page itself is at "/".
const Prefix = "/_livegate/"

// policy: nothing but our own files, and WebSockets to wherever the developer points the
// test client (another stage, an AWS endpoint). style-src stays 'self': no inline styles.
const policy = "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

type asset struct {
	body []byte
	kind string
	tag  string
}

// Handler serves the page and its assets. Paths that are not theirs get 404.
type Handler struct{ assets map[string]asset }

// New returns the console.
func New() *Handler {
	h := &Handler{assets: map[string]asset{}}
	// Reading embedded files cannot fail: an error here is a file that the binary
	// was built without, and shows as its 404.
	_ = fs.WalkDir(files, "page", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		body, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		at := Prefix + strings.TrimPrefix(name, "page/")
		if name == "page/index.html" {
			at = "/"
		}
		sum := sha256.Sum256(body)
		h.assets[at] = asset{body: body, kind: kindOf(path.Ext(name)), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
		return nil
	})
	return h
}

// kindOf is explicit: mime.TypeByExtension reads the machine's files and may
// answer text/plain for .js, which browsers refuse to run as a module.
func kindOf(ext string) string {
	switch ext {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}

// ServeHTTP serves GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, ok := h.assets[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	header := w.Header()
	header.Set("Content-Type", a.kind)
	header.Set("ETag", a.tag)
	header.Set("Cache-Control", "no-cache") // ask again: the binary may be another one
	header.Set("Content-Security-Policy", policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
}

var _ http.Handler = (*Handler)(nil)
