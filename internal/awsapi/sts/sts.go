// Package sts is the one operation of AWS STS that needs no identity provider:
// GetCallerIdentity. Its answer is what templates, SDKs and scripts read the
// account id from.
//
// It is an http.Handler; the signature was checked before. The caller is the
// access key that signed: a function's worker is answered as the assumed role
// "livegate" with the function's name as session, any other key as the user
// "livegate". Answers are XML, or JSON for "Accept: application/json", as STS has
// it. Other actions answer 501 and are named.
//
// Source: AWS STS API Reference, GetCallerIdentity; Query protocol.
package sts

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/livegate/livegate/internal/id"
	"github.com/livegate/livegate/internal/sigv4"
)

const maxForm = 64 << 10

// Config is what a Handler needs.
type Config struct {
	Account   string // 12 digits
	Partition string // "" means "aws"
	// Function names the function that a worker's access key belongs to; nil
	// knows none.
	Function func(accessKeyID string) (name string, ok bool)
}

// Handler serves STS. Make one with New.
type Handler struct{ cfg Config }

// New makes a Handler.
func New(cfg Config) *Handler {
	if cfg.Partition == "" {
		cfg.Partition = "aws"
	}
	if cfg.Function == nil {
		cfg.Function = func(string) (string, bool) { return "", false }
	}
	return &Handler{cfg: cfg}
}

type identity struct {
	Arn     string
	UserID  string `xml:"UserId" json:"UserId"`
	Account string
}

type metadata struct {
	RequestID string `xml:"RequestId" json:"RequestId"`
}

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	action, err := action(r)
	if err != nil {
		fail(w, http.StatusBadRequest, "MalformedQueryString", "The request's form cannot be read.")
		return
	}
	switch action {
	case "GetCallerIdentity":
		h.callerIdentity(w, r)
	case "":
		fail(w, http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action.")
	default:
		fail(w, http.StatusNotImplemented, "NotImplemented", fmt.Sprintf(
			"Livegate's local STS has no operation %s, only GetCallerIdentity. To use the real service, start with --aws-passthrough sts.", action))
	}
}

// action reads the Action parameter from the form or, for GET, the query.
func action(r *http.Request) (string, error) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
		if err != nil {
			return "", err
		}
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "", err
		}
		if a := form.Get("Action"); a != "" {
			return a, nil
		}
	}
	return q.Get("Action"), nil
}

func (h *Handler) callerIdentity(w http.ResponseWriter, r *http.Request) {
	key := ""
	if sig, err := sigv4.Parse(r.Header, r.URL.RawQuery); err == nil {
		key = sig.AccessKeyID
	}
	who := identity{
		Account: h.cfg.Account,
		UserID:  unique("AIDA", "user"),
		Arn:     fmt.Sprintf("arn:%s:iam::%s:user/livegate", h.cfg.Partition, h.cfg.Account),
	}
	if fn, ok := h.cfg.Function(key); ok {
		who.UserID = unique("AROA", "role") + ":" + fn
		who.Arn = fmt.Sprintf("arn:%s:sts::%s:assumed-role/livegate/%s", h.cfg.Partition, h.cfg.Account, fn)
	}
	meta := metadata{id.NewUUID()}
	w.Header().Set("X-Amzn-Requestid", meta.RequestID)
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		write(w, http.StatusOK, "application/json", encodeJSON(map[string]any{
			"GetCallerIdentityResponse": map[string]any{"GetCallerIdentityResult": who, "ResponseMetadata": meta},
		}))
		return
	}
	write(w, http.StatusOK, "text/xml", encodeXML(struct {
		XMLName  xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		Result   identity `xml:"GetCallerIdentityResult"`
		Metadata metadata `xml:"ResponseMetadata"`
	}{Result: who, Metadata: meta}))
}

// unique is a stable unique id in IAM's shape: a four-letter prefix and 17
// characters.
func unique(prefix, what string) string {
	return prefix + strings.ToUpper(id.Stable(17, "sts", what))
}

func fail(w http.ResponseWriter, status int, code, message string) {
	meta := id.NewUUID()
	w.Header().Set("X-Amzn-Requestid", meta)
	type awsError struct{ Type, Code, Message string }
	write(w, status, "text/xml", encodeXML(struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     awsError
		RequestID string `xml:"RequestId"`
	}{Error: awsError{"Sender", code, message}, RequestID: meta}))
}

func write(w http.ResponseWriter, status int, content string, body []byte) {
	w.Header().Set("Content-Type", content)
	w.WriteHeader(status)
	w.Write(body)
}

// encodeXML and encodeJSON cannot fail on structs of strings.
func encodeXML(v any) []byte  { b, _ := xml.Marshal(v); return b }
func encodeJSON(v any) []byte { b, _ := json.Marshal(v); return b }
