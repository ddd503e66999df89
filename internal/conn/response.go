package conn

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/livegate/livegate/internal/fault"
)

// messageBody is {"message":"…"}, the body of AWS's own refusals.
func messageBody(text string) []byte {
	b, err := json.Marshal(struct {
		Message string `json:"message"`
	}{text})
	if err != nil {
		panic(err) // a string always marshals
	}
	return b
}

func (r *refusal) response() []byte {
	return appendResponse(nil, r.status, r.headers, messageBody(r.text))
}

// appendResponse appends a complete HTTP/1.1 response after which the
// connection closes. headers must be valid.
func appendResponse(b []byte, status int, headers []Header, body []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"...)
	typed := false
	for _, h := range headers {
		switch strings.ToLower(h.Name) {
		case "date", "connection", "content-length", "transfer-encoding":
			continue // ours to say
		case "content-type":
			typed = true
		}
		b = appendHeader(b, h.Name, h.Value)
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		return append(b, "Connection: close\r\n\r\n"...)
	}
	if len(body) > 0 && !typed {
		b = append(b, "Content-Type: application/json\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\nConnection: close\r\n\r\n"...)
	return append(b, body...)
}

func appendHeader(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// validHeaders refuses what could end a header line or the head early (CRLF
// injection through a function's answer).
func validHeaders(headers []Header) error {
	for _, h := range headers {
		if !isToken(h.Name) || !isFieldValue(h.Value) {
			return fault.New(fault.Upstream, "header %q is not valid in an HTTP response", h.Name)
		}
	}
	return nil
}
